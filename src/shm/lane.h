/* SPDX-License-Identifier: MIT */
/*
 * lane.h - a writer's workspace: taken by one thread at a time, its hazards
 * seen by every scanner.
 */
#ifndef LTZ_SHM_LANE_H
#define LTZ_SHM_LANE_H

#include "shm/attachment.h"

/* Lane 0 belongs to the service thread, the others to callers. */
#define LANE_SERVICE 0u
#define LANE_FIRST   1u

int ltz__lanes_init(struct ltz_mem *mem);
void ltz__lanes_deinit(struct ltz_mem *mem);

/* Makes the lane known to scanners and gives it its private memory. -ENOMEM. */
int ltz__lane_open(struct ltz_mem *mem, struct ltz_lane *lane);

extern __thread uint32_t ltz__lane_hint __attribute__((tls_model("initial-exec")));

LTZ_INLINE bool lane_try(struct ltz_lane *lane)
{
	if (__atomic_exchange_n(&lane->busy, 1, __ATOMIC_ACQUIRE))
		return false;
	/* who sees anything done in the lane sees this too: that is published by release. pairs with: store/check.c:is_under_way */
	store_relaxed(&lane->shm->working, 1);
	return true;
}

LTZ_INLINE void lane_give(struct ltz_lane *lane)
{
	/* after everything done in it. pairs with: store/check.c:is_under_way */
	store_release(&lane->shm->working, 0);
	__atomic_store_n(&lane->busy, 0, __ATOMIC_RELEASE);
}

/* A free lane other than the service thread's; waits only for this process' own threads. NULL: no memory. */
struct ltz_lane *ltz__lane_take_slow(struct ltz_mem *mem);

LTZ_INLINE struct ltz_lane *lane_take(struct ltz_mem *mem)
{
	struct ltz_lane *lane = &mem->lane[ltz__lane_hint];

	if (likely(lane_try(lane))) {
		if (likely(lane->cursor != NULL)) {
			lane->used = 1;
			return lane;
		}
		lane_give(lane);
	}
	return ltz__lane_take_slow(mem);
}

/* Unique for ever; from the lane's batch. */
LTZ_INLINE uint64_t lane_version(struct ltz_mem *mem, struct ltz_lane *lane)
{
	if (unlikely(lane->next_version == lane->end_version)) {
		const uint64_t batch = 4096;
		/* relaxed: only the uniqueness of what the addition gives out matters */
		lane->next_version = fetch_add_relaxed(&mem->header->next_version, batch);
		lane->end_version = lane->next_version + batch;
	}
	return lane->next_version++;
}

/* ---- scanning hazards -------------------------------------------------------- */

/* The refs that some member may be using, sorted; from one scan. */
struct ltz_hazards {
	uint64_t *ref;
	uint32_t count, room;
	bool failed; /* no barrier or no private memory for them: everything counts as in use */
};

/*
 * A full barrier on all members, then a look at every hazard of every row
 * that is up. What was unlinked before the call and is not in the result is
 * used by nobody. Free with ltz__hazards_free.
 */
void ltz__hazards_read(struct ltz_mem *mem, struct ltz_hazards *hazards);
void ltz__hazards_free(struct ltz_hazards *hazards);
/* Is a ref in [from, to) in use? */
bool ltz__hazards_hold(const struct ltz_hazards *hazards, uint64_t from, uint64_t to);

/* Does a table hazard name a gen from born up to, not including, dropped? Call after a barrier. */
bool ltz__table_hazard(const struct ltz_mem *mem, uint64_t born, uint64_t dropped);

#endif
