/* SPDX-License-Identifier: MIT */
/*
 * tick.c - housekeeping.
 *
 * What only one member should do is guarded by a lease in the header: a hint
 * that saves work. Everything done under it is safe when several do it, so a
 * holder that died or stopped is simply passed over.
 */
#include "store/tick.h"

#include "shm/adopt.h"
#include "shm/granule.h"
#include "shm/lane.h"
#include "shm/member.h"
#include "shm/slab.h"
#include "store/expiry.h"
#include "store/map.h"
#include "store/resize.h"
#include "sys/fault.h"
#include "sys/sys.h"

#include <errno.h>
#include <stdlib.h>

#define MS UINT64_C(1000000)
#define TIDY_NS       (100 * MS)  /* idle lanes, the dead, the expired      */
#define SLOW_NS       (1000 * MS) /* counting, punching, shrinking          */
#define APPETITE_MAX  1024u       /* granules: 64 MiB                       */
#define REPUNCH_NS    (10000 * MS)
#define LEASE_LATE    8u          /* of 64 ms: a janitor not seen for longer is passed over */
#define PUNCH_AGE_NS  (1000 * MS) /* a late reader's copy is long over      */
#define PUNCH_MOST    8192u       /* granules a pass: 512 MiB               */
#define RECLAIM_SLICE 64u
#define RECLAIM_MOST  2048u       /* extents of an idle lane a pass         */
#define SWEEP_FEW     64u         /* rows whose locks are looked at in one go; if there are no more, every TIDY_NS */
#define IDLE_NS       (6 * MS)    /* for each member: all idle ones together wake up that seldom */
#define IDLE_MAX_NS   (6000 * MS)

struct tick {
	uint64_t tidy_at, slow_at; /* pool's clock, ns */
	uint64_t sweep_at_ms;
	bool sweep_all;
	struct ltz_adoption adoption; /* under way if its word is not 0 */
	unsigned look_at;          /* rows from here on are still to be asked whether their member is dead */
	unsigned up;               /* so many below it are up */
	bool punched_all;          /* a destroyed pool's memory was given back */
	uint64_t destroyed_at;
	uint64_t appetite;         /* granules: what growth has shown to be worth having ready; halved every second */
	uint64_t used;             /* granules at the last look; more now: the pool grows */
	uint64_t repunch_at;
	uint64_t resize_again_at;
	uint64_t resizing, resized; /* under that root: buckets below it are done */
};

int ltz__tick_init(struct ltz_mem *mem)
{
	struct tick *tick = LTZ_PTR_CALL(NULL, calloc(1, sizeof(*tick)));

	if (!tick)
		return -ENOMEM;
	tick->look_at = SHM_ROWS; /* nobody was told to look yet */
	mem->tick = tick;
	return 0;
}

void ltz__tick_deinit(struct ltz_mem *mem)
{
	free(mem->tick);
	mem->tick = NULL;
}

/* ---- leases ---------------------------------------------------------------------- */

static uint64_t lease_make(const struct ltz_mem *mem, uint64_t now_ns)
{
	return (uint64_t)mem->row_index << 52 | mem->generation << 24 | ((now_ns >> 26) & 0xffffff);
}

/* Has this member the lease? Takes it if nobody else has renewed it lately. */
static bool take_lease(struct ltz_mem *mem, uint64_t *lease, uint64_t now_ns)
{
	uint64_t word = load_acquire(lease), mine = lease_make(mem, now_ns);

	if (word >> 24 != mine >> 24 && word) {
		uint64_t age = (mine - word) & 0xffffff;

		if (age <= LEASE_LATE)
			return false;
	}
	return word == mine || cas_acq_rel(lease, word, mine);
}

/* ---- the index ------------------------------------------------------------------- */

/*
 * After a resize: the service lane works under the new root, so the table it
 * made before can go at once, and unused lines are cut before the next resize
 * is measured by them.
 */
static void settle_tables(struct ltz_mem *mem, struct ltz_lane *lane)
{
	struct ltz_root root;

	if (ltz__table_enter(mem, lane, &root) < 0)
		return;
	ltz__tables_tend(mem, lane);
	ltz__lane_reclaim(mem, lane, RECLAIM_MOST, RECLAIM_IDLE);
}

/* Do no two buckets overflow the one that they become? Writers keep to that bound; an earlier shrink may exceed it. */
static bool fits_smaller(const struct ltz_root *root)
{
	for (uint64_t t = 0; t < root->cur.buckets; t++) {
		struct ltz_walk walk;
		int more;

		walk_begin(&walk, &root->cur, &root->cur.shm->bucket[t]);
		while ((more = ltz__walk_next(&walk)) > 0)
			;
		if (more < 0 || walk.first + walk.count > BUCKET_SLOTS_WRITERS)
			return false;
	}
	return true;
}

static void shrink_index(struct ltz_mem *mem, struct ltz_lane *lane)
{
	struct ltz_root root;

	if (ltz__table_enter(mem, lane, &root) < 0 || has_prev(&root) || root.cur.log2 <= mem->geometry.table_log2)
		return;
	if (ltz__map_count(mem) * 4 < root.cur.buckets * 3 && fits_smaller(&root)) {
		ltz__resize_begin(mem, lane, &root, root.cur.log2 - 1); /* the next ticks go on */
		LTZ_CRASH_POINT("store.shrink_begun");
	}
}

/* A slice of a resize under way. 1: there is more. */
static int go_on_resizing(struct ltz_mem *mem, struct tick *tick, struct ltz_lane *lane, const struct ltz_root *root)
{
	int result;

	if (tick->resizing != root->word) {
		tick->resizing = root->word;
		tick->resized = 0;
	}
	result = ltz__resize_slice(mem, lane, root, &tick->resized);
	if (result == 0) {
		settle_tables(mem, lane);
		shrink_index(mem, lane); /* many sizes too large: one after the other, not one a second */
	}
	return result >= 0;
}

/*
 * To begin a resize is to walk the whole pool, as its records are counted. All
 * members are rung for it at about the same time: one does it. 0: it has begun.
 */
static int begin_resize(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root)
{
	unsigned log2;
	int result;

	if (!take_lease(mem, &mem->header->resizer, ltz__mem_now_ns(mem)))
		return -EAGAIN;
	/* many lines but few records: lines left behind by records that are gone; the same size anew is enough */
	log2 = ltz__map_count(mem) * 2 > root->cur.buckets * 5 ? root->cur.log2 + 1 : root->cur.log2;
	result = ltz__resize_begin(mem, lane, root, log2);
	store_release(&mem->header->resizer, 0);
	return result;
}

/* Begins a resize that is wanted, or goes on with one. 1: call again soon. */
static int tend_index(struct ltz_mem *mem, struct tick *tick, struct ltz_lane *lane)
{
	struct ltz_root root;

	if (ltz__table_enter(mem, lane, &root) < 0)
		return 0;
	if (has_prev(&root))
		return go_on_resizing(mem, tick, lane, &root);
	if (!ltz__resize_wanted(&root) || ltz__mem_now_ns(mem) < tick->resize_again_at)
		return 0;
	if (begin_resize(mem, lane, &root) == 0)
		return 1;
	tick->resize_again_at = ltz__mem_now_ns(mem) + TIDY_NS; /* no memory for it, or another does it: not at every ring */
	return 0;
}

/* ---- memory ------------------------------------------------------------------------- */

/* How many FREE granules there should be: 1/16 of what is used, 2 to 64 MiB. */
static uint64_t reserve_wanted(const struct ltz_mem *mem)
{
	uint64_t committed = load_relaxed(&mem->header->committed_hint), free_now = load_relaxed(&mem->header->free_hint);
	uint64_t wanted = (int64_t)(committed - free_now) > 0 ? (committed - free_now) / 16 : 0;

	return wanted < 32 ? 32 : wanted > 1024 ? 1024 : wanted;
}

/*
 * Geometric, 2 to 64 MiB: each time that writers have used up most of what
 * was there, twice as much is made ready, so that they seldom have to do it.
 */
static void commit_ahead(struct ltz_mem *mem, struct tick *tick, struct ltz_lane *lane)
{
	uint64_t committed = load_relaxed(&mem->header->committed_hint), used = committed - load_relaxed(&mem->header->free_hint);
	uint64_t wanted = reserve_wanted(mem);
	int64_t free_now = (int64_t)(committed - used);

	/* only while it grows: else what was just given back would be taken again */
	if (wanted < tick->appetite && (int64_t)(used - tick->used) > 0)
		wanted = tick->appetite;
	tick->used = used;
	if (free_now < (int64_t)wanted / 2 + 1) /* a thousand members that look at the same moment need it once */
		free_now += (int64_t)ltz__granules_coming(mem);
	if (free_now >= (int64_t)wanted / 2 + 1)
		return;
	if (free_now < (int64_t)wanted / 4)
		tick->appetite = 2 * wanted < APPETITE_MAX ? 2 * wanted : APPETITE_MAX;
	ltz__granules_commit(mem, lane, 1, (unsigned)wanted);
}

static void punch_idle(struct ltz_mem *mem, struct ltz_lane *lane)
{
	uint64_t keep = 2 * reserve_wanted(mem), free_now = load_relaxed(&mem->header->free_hint);

	if ((int64_t)free_now > (int64_t)keep) {
		uint64_t most = free_now - keep;

		ltz__granules_punch(mem, lane, PUNCH_AGE_NS, most < PUNCH_MOST ? most : PUNCH_MOST);
	}
}

/* ---- this process' idle lanes ---------------------------------------------------------- */

/*
 * What others retired in the slabs of a lane in use, beyond the little that
 * its own allocations look at. In slices, so that its threads seldom find it
 * taken. false: one of them has it now.
 */
static bool reclaim_busy_lane(struct ltz_mem *mem, struct ltz_lane *lane)
{
	for (uint32_t done = 0; done < lane->extents && done < RECLAIM_MOST; done += RECLAIM_SLICE) {
		ltz__lane_reclaim(mem, lane, RECLAIM_SLICE, RECLAIM_CHEAP);
		lane_give(lane);
		ltz__sys_yield();
		if (!lane_try(lane))
			return false;
	}
	return true;
}

/* Returns whether the lane is still ours to give. */
static bool tidy_lane(struct ltz_mem *mem, struct ltz_lane *lane, bool idle)
{
	ltz__tables_tend(mem, lane);
	if (!idle && lane->index != LANE_SERVICE)
		return reclaim_busy_lane(mem, lane);
	ltz__lane_drop_cursors(lane);
	ltz__lane_reclaim(mem, lane, RECLAIM_MOST, RECLAIM_IDLE);
	if (lane->th) { /* an idle lane pins no table */
		store_release(&lane->shm->th, 0);
		LTZ_CRASH_POINT("store.table_exited");
		lane->th = 0;
	}
	return true;
}

/*
 * How long an idle member sleeps: not less than `least`, and the longer the
 * more of them there are. 1,024 that wake up ten times a second need a quarter
 * of a processor for nothing.
 */
static uint64_t idle_ns(const struct ltz_mem *mem, uint64_t least)
{
	uint64_t up = load_relaxed(&mem->members->up_hint), wanted = up < SHM_ROWS ? up * IDLE_NS : IDLE_MAX_NS;

	if (wanted > IDLE_MAX_NS)
		wanted = IDLE_MAX_NS;
	return wanted > least ? wanted : least;
}

/* Returns when there may be something to tidy again: soon if a lane is used, later if it only owns memory that others may retire. */
static uint64_t tidy_lanes(struct ltz_mem *mem)
{
	bool own = false, used = false;

	for (unsigned i = 0; i < SHM_LANES; i++) {
		struct ltz_lane *lane = &mem->lane[i];

		if (!lane_try(lane)) {
			used = true;
			continue;
		}
		if (lane->cursor) {
			bool idle = !lane->used;

			lane->used = 0;
			used |= !idle;
			own |= lane->extents > 0;
			if (!tidy_lane(mem, lane, idle))
				continue;
		}
		lane_give(lane);
	}
	return used ? TIDY_NS : idle_ns(mem, own ? TIDY_NS : 5 * TIDY_NS);
}

/* ---- the janitor's work ------------------------------------------------------------------ */

static bool is_janitor(struct ltz_mem *mem, uint64_t now_ns)
{
	if (!take_lease(mem, &mem->header->janitor, now_ns))
		return false;
	LTZ_CRASH_POINT("store.lease_renewed");
	return true;
}

int ltz__adopt_dead(struct ltz_mem *mem)
{
	unsigned rows = ltz__rows_high(mem);
	int settled = 0, failure = 0;

	for (unsigned r = 0; r < rows; r++) {
		uint64_t word;
		int result = ltz__member_dead(mem, r, &word);

		if (result > 0)
			result = ltz__adopt(mem, r, word);
		if (result < 0)
			failure = result; /* the others all the same */
		else
			settled += result;
	}
	if (settled)
		ltz__entries_tend(mem);
	return failure < 0 ? failure : settled;
}

/* Work between two looks at what else there is to do; about a millisecond. */
#define ADOPT_SLICE 8192u

/* A slice of the adoption under way. Returns whether there is more. */
static bool go_on_adopting(struct ltz_mem *mem, struct tick *tick)
{
	int result;

	if (!tick->adoption.word)
		return false;
	result = ltz__adopt_slice(mem, &tick->adoption, ADOPT_SLICE);
	if (result == -EAGAIN)
		return true;
	if (result > 0) {
		ltz__entries_tend(mem);
		tick->sweep_all = true; /* it may have died in the middle of a sweep */
	}
	tick->adoption.word = 0;
	return false;
}

static void look_at_all(struct tick *tick) { tick->look_at = tick->up = 0; }

/* Looks at the next rows, until one's member is dead: its adoption begins. */
static void find_dead(struct ltz_mem *mem, struct tick *tick)
{
	unsigned rows = ltz__rows_high(mem), end = tick->look_at + SWEEP_FEW;

	if (tick->look_at >= rows)
		return;
	for (; !tick->adoption.word && tick->look_at < rows && tick->look_at < end; tick->look_at++) {
		uint64_t word;

		if (ltz__member_dead(mem, tick->look_at, &word) > 0)
			tick->adoption = (struct ltz_adoption){.row = tick->look_at, .word = word};
		else
			tick->up += row_up(word);
	}
	if (tick->look_at == rows)
		store_relaxed(&mem->members->up_hint, tick->up);
}

/* A slice of one look over all rows. Returns whether there is more. */
static bool settle_dead(struct ltz_mem *mem, struct tick *tick)
{
	find_dead(mem, tick);
	return go_on_adopting(mem, tick) || tick->look_at < ltz__rows_high(mem);
}

bool ltz__settle_row(struct ltz_mem *mem, unsigned row)
{
	struct tick *tick = mem->tick;
	uint64_t word;

	if (mem->readonly || ltz__mem_destroyed(mem) || ltz__member_dead(mem, row, &word) <= 0)
		return false;
	if (tick->adoption.word) {
		look_at_all(tick); /* one after the other */
		return true;
	}
	tick->adoption = (struct ltz_adoption){.row = row, .word = word};
	go_on_adopting(mem, tick);
	return true;
}

/* Returns whether the dead are still being looked for. */
static bool tidy_pool(struct ltz_mem *mem, struct tick *tick, struct ltz_lane *lane, bool slow)
{
	uint64_t now_ms = map_now_ms(mem);

	if (slow || ltz__rows_high(mem) <= SWEEP_FEW)
		look_at_all(tick);
	if (slow || tick->sweep_all || now_ms >= tick->sweep_at_ms) {
		bool all = tick->sweep_all;

		tick->sweep_all = false;
		ltz__sweep(mem, lane, all, &tick->sweep_at_ms);
	}
	return settle_dead(mem, tick);
}

static void tidy_slowly(struct ltz_mem *mem, struct tick *tick, struct ltz_lane *lane, uint64_t now)
{
	struct ltz_granule_counts counts;

	ltz__entries_tend(mem);
	ltz__granules_count(mem, &counts);
	ltz__granules_correct_hints(mem, &counts);
	shrink_index(mem, lane);
	punch_idle(mem, lane);
	if (now >= tick->repunch_at) {
		ltz__granules_repunch(mem, lane);
		tick->repunch_at = now + REPUNCH_NS;
	}
}

/* ---- a destroyed pool ----------------------------------------------------------------------- */

/* Its memory goes back once nobody has read it for a second and no view is held. Whoever comes by does it. */
static uint64_t bury(struct ltz_mem *mem, struct tick *tick)
{
	uint64_t now = ltz__mem_now_ns(mem);

	if (tick->punched_all)
		return SLOW_NS;
	if (!tick->destroyed_at)
		tick->destroyed_at = now;
	if (now - tick->destroyed_at < PUNCH_AGE_NS)
		return TIDY_NS;
	for (unsigned r = 0; r < ltz__rows_high(mem); r++) {
		const struct shm_row *row = &mem->rows[r];

		for (unsigned v = 0; row_up(load_acquire(&row->word)) && v < SHM_VIEWS; v++)
			if (load_acquire(&row->view[v]))
				return TIDY_NS;
	}
	if (ltz__sys_punch(mem->fd, mem->geometry.space_offset, granule_offset(ltz__granules_high(mem))) < 0)
		return TIDY_NS; /* once more */
	LTZ_CRASH_POINT("store.buried");
	tick->punched_all = true;
	return SLOW_NS;
}

/* ---- tick ---------------------------------------------------------------------------------------- */

static uint64_t tick_writable(struct ltz_mem *mem, struct tick *tick, struct ltz_lane *lane)
{
	uint64_t now = ltz__mem_now_ns(mem);
	bool slow = now >= tick->slow_at, janitor;
	uint64_t wait;
	int more;

	more = tend_index(mem, tick, lane);
	more |= settle_dead(mem, tick);
	commit_ahead(mem, tick, lane);
	if (now < tick->tidy_at)
		return more ? 0 : tick->tidy_at - now;
	store_release(&mem->row->heartbeat_ms, (uint64_t)ltz__sys_unix_ms());
	janitor = is_janitor(mem, now);
	if (janitor) {
		more |= tidy_pool(mem, tick, lane, slow);
		if (slow)
			tidy_slowly(mem, tick, lane, now);
	}
	if (slow) {
		tick->slow_at = now + SLOW_NS;
		tick->appetite /= 2;
	}
	lane_give(lane);
	wait = tidy_lanes(mem);
	while (!lane_try(lane)) /* only this process' own reclaim takes it, for a moment */
		ltz__sys_yield();
	now = ltz__mem_now_ns(mem);
	tick->tidy_at = now + (janitor ? TIDY_NS : wait);
	return more ? 0 : tick->tidy_at - now;
}

uint64_t ltz__tick(struct ltz_mem *mem)
{
	struct tick *tick = mem->tick;
	struct ltz_lane *lane = &mem->lane[LANE_SERVICE];
	uint64_t next;

	if (mem->readonly) {
		store_release(&mem->row->heartbeat_ms, (uint64_t)ltz__sys_unix_ms());
		return idle_ns(mem, SLOW_NS);
	}
	if (ltz__mem_destroyed(mem))
		return bury(mem, tick);
	while (!lane_try(lane))
		ltz__sys_yield();
	next = tick_writable(mem, tick, lane);
	lane_give(lane);
	return next;
}
