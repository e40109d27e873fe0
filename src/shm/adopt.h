/* SPDX-License-Identifier: MIT */
/*
 * adopt.h - giving back what a dead member held.
 *
 * Any number of members may adopt the same one at the same time, and may die
 * or stop while doing it: every extent is taken by one compare-and-swap and
 * swept afterwards by its new owner; nobody clears a dead row's fields; the
 * row is released by one compare-and-swap on its generation.
 */
#ifndef LTZ_SHM_ADOPT_H
#define LTZ_SHM_ADOPT_H

#include "shm/attachment.h"

/*
 * Settles the member (row, generation of word), proven dead by
 * ltz__member_dead. Its extents become those of a lane of this process.
 * 1: this call released the row. 0: somebody else did. Negative: to be tried
 * again (no private memory).
 */
int ltz__adopt(struct ltz_mem *mem, unsigned row, uint64_t word);

#endif
