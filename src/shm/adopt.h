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

/* An adoption under way in this process. Begun with row and word, proven dead by ltz__member_dead. */
struct ltz_adoption {
	unsigned row;
	uint64_t word;    /* of the row: its generation */
	uint64_t granule; /* below it all is done       */
};

/*
 * Goes on settling a dead member, whose extents become those of a lane of
 * this process. most: work of this call, in granules and blocks looked at.
 * 1: done, and this call released the row. 0: done by somebody else.
 * -EAGAIN: there is more. -ENOMEM: no private memory; to be tried again.
 */
int ltz__adopt_slice(struct ltz_mem *mem, struct ltz_adoption *adoption, uint64_t most);

/* All of it. 1, 0, -ENOMEM as above. */
int ltz__adopt(struct ltz_mem *mem, unsigned row, uint64_t word);

#endif
