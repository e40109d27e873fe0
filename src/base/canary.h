/* SPDX-License-Identifier: MIT */
/*
 * canary.h - rules broken on purpose, to see that the tests notice.
 *
 * Only tests/crash builds a copy of the core with LTZ_CANARY; everywhere else
 * canary() is 0 and nothing of it is compiled.
 */
#ifndef LTZ_BASE_CANARY_H
#define LTZ_BASE_CANARY_H

#ifdef LTZ_CANARY
enum ltz_canary {
	CANARY_NONE,
	CANARY_NO_INTENT,    /* store/edit.c: VW is not stored                          */
	CANARY_NO_HAZARD,    /* store/edit.c: HW is not stored                          */
	CANARY_HAZARD_SHORT, /* store/edit.c: HW ends before the old block is retired   */
	CANARY_NO_HELP,      /* store/table.c: pending inserts of others are left alone */
	CANARY_NO_FREEZE,    /* store/table.c: slots are copied without freezing them   */
	CANARY_BITS_SWAPPED, /* shm/reclaim.c: alloc bits go before retired bits        */
	CANARY_NO_PROOF,     /* shm/member.c: the lock is not looked at                 */
	CANARY_ROW_EARLY,    /* shm/adopt.c: the row is released before the work        */
	CANARY_NO_SWEEP,     /* shm/adopt.c: an adopted extent is not swept             */
	CANARY_HEAD_FIRST,   /* shm/granule.c: the head of an extent goes before its parts */
	CANARY_NO_PUNCH,     /* shm/granule.c: a torn down granule keeps its memory     */
	CANARY_NO_AAD,       /* store/seal_box.c: nothing binds a record to its place   */
	CANARY_FORK_SEALS,   /* sys/memory.c: a forked child has its parent's prefix    */
	CANARY_TAG_CUT,      /* store/seal_mac.c: four bytes of a tag are compared      */
};

extern unsigned ltz__canary; /* the rule that is broken; defined by the test */
#define canary(rule) (ltz__canary == (rule))
#else
#define canary(rule) 0
#endif

#endif
