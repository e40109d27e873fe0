/* SPDX-License-Identifier: MIT */
/*
 * member.h - rows: who is in the pool, and who is proven dead.
 *
 * Alive means: the write lock on the row's byte is held. The kernel drops it
 * after the process' address space is gone, so a member whose lock is free
 * can write no more. Never a pid, never a heartbeat.
 */
#ifndef LTZ_SHM_MEMBER_H
#define LTZ_SHM_MEMBER_H

#include "shm/attachment.h"

/* Takes a free row for mem (mem->fd carries the lock). -EBUSY: none is free. -ENOSPC. */
int ltz__member_join(struct ltz_mem *mem);

/* This member's own row. */
unsigned ltz__member_row(const struct ltz_mem *mem);

/* Rows below it may be up. */
unsigned ltz__rows_high(const struct ltz_mem *mem);

/*
 * A full fence on every member's threads. Negative: it could not be had, so
 * nothing may be concluded from hazards that are read next.
 */
int ltz__members_barrier(const struct ltz_mem *mem);

/* Is the member that this label (of an owner word or claim) names still up? */
bool ltz__label_lives(const struct ltz_mem *mem, uint64_t word);

/*
 * The next row after `row`, going round, in which a member is up whose pid
 * means something here: its row word and pid. false: none but ourselves.
 */
bool ltz__member_next(const struct ltz_mem *mem, unsigned *row, uint64_t *word, uint32_t *pid);

/*
 * Is the member in this row proven dead? 1: it is, its row word is in *word.
 * 0, or negative: it cannot be told now. Not for the own row (a lock of our
 * own description does not show).
 */
int ltz__member_dead(const struct ltz_mem *mem, unsigned row, uint64_t *word);

#endif
