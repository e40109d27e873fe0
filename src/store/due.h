/* SPDX-License-Identifier: MIT */
/*
 * due.h - an extent's due word: when a record in it expires first. Writers
 * lower it, the sweep (store/expiry.c) resets it.
 */
#ifndef LTZ_STORE_DUE_H
#define LTZ_STORE_DUE_H

#include "shm/format.h"

/*
 * While an extent is swept its due word is DUE_SWEEPING | whose row | when the
 * sweep began: higher than any time, so that a writer's lowering replaces it,
 * and nobody else's. A sweep that died leaves it, and counts as over after a
 * second.
 */
#define DUE_SWEEPING   (UINT64_C(1) << 63)
#define DUE_ROW_SHIFT 50u
#define DUE_TIME ((UINT64_C(1) << DUE_ROW_SHIFT) - 1)
static_assert(SHM_ROWS <= 1u << (63 - DUE_ROW_SHIFT), "a row fits between flag and time");
#define DUE_SWEEP_LATE 1000u /* ms */

LTZ_INLINE bool due_is_come(uint64_t due, uint64_t now)
{
	if (due == SHM_NEVER)
		return false;
	if (due & DUE_SWEEPING)
		return (due & DUE_TIME) + DUE_SWEEP_LATE <= now;
	return due <= now;
}

/* What a sweep puts there while it works. */
LTZ_INLINE uint64_t due_marker(unsigned row, uint64_t now)
{
	return DUE_SWEEPING | (uint64_t)row << DUE_ROW_SHIFT | (now & DUE_TIME);
}

/*
 * Says that the extent is due by then. A writer does so before it publishes a
 * record that expires and after it has stored the version: the sweep resets due
 * first and reads versions afterwards, so one of the two sees the other.
 */
LTZ_INLINE void due_announce(struct shm_extent *extent, uint64_t expires_ms)
{
	for (;;) {
		/* a full barrier also when nothing changes. pairs with: store/expiry.c:sweep_extent */
		uint64_t due = fetch_or_seq_cst(&extent->due, 0), lower = expires_ms;

		/* what the marker stands for must still be looked at if its sweep never ends */
		if (due != SHM_NEVER && (due & DUE_SWEEPING) && (due & DUE_TIME) + DUE_SWEEP_LATE < lower)
			lower = (due & DUE_TIME) + DUE_SWEEP_LATE;
		if (due <= lower || cas_seq_cst(&extent->due, due, lower))
			return;
	}
}

/*
 * Ends a sweep that put marker there. If it is there no more, a writer or
 * another sweep came meanwhile: that sweep's marker is left its promise too.
 */
LTZ_INLINE void due_settle(struct shm_extent *extent, uint64_t marker, uint64_t next_ms)
{
	if (!cas_seq_cst(&extent->due, marker, next_ms))
		due_announce(extent, next_ms);
}

#endif
