/* SPDX-License-Identifier: MIT */
/* granule.c - owner words. Procedure names are those of docs/design/protocol-memory.md. */
#include "shm/granule.h"

#include "base/canary.h"
#include "shm/member.h"
#include "sys/fault.h"
#include "sys/sys.h"

#include <errno.h>

/* Hints are plain additions that a kill may falsify; the janitor corrects them. */
static void hint_add(uint64_t *hint, uint64_t delta) { fetch_add_relaxed(hint, delta); }

uint64_t ltz__granules_high(const struct ltz_mem *mem)
{
	uint64_t high = load_acquire(&mem->header->granules_high);

	return high < mem->granules ? high : mem->granules;
}

/* ---- claiming -------------------------------------------------------------------- */

/* PART(head) -> FREE for parts [1, n); the reverse of taking them. */
static void free_parts(struct ltz_mem *mem, uint64_t head, unsigned n, uint64_t now)
{
	for (unsigned i = 1; i < n && head + i < mem->granules; i++)
		if (owner_cas(mem, head + i, owner_part(head), owner_free(now))) {
			LTZ_CRASH_POINT("shm.part_freed");
			hint_add(&mem->header->free_hint, 1);
		}
}

/* CLAIM EXTENT 1 and 2 at this very place. n - 1 parts behind the head; false: somebody else was there. */
static bool claim_at(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, unsigned n)
{
	uint64_t word = owner_load(mem, head), claim = owner_make(OWNER_CLAIM, lane->label, n);

	if (owner_kind(word) != OWNER_FREE || !owner_cas(mem, head, word, claim))
		return false;
	LTZ_CRASH_POINT("shm.head_claimed");
	for (unsigned i = 1; i < n; i++) {
		word = owner_load(mem, head + i);
		if (owner_kind(word) == OWNER_FREE && owner_cas(mem, head + i, word, owner_part(head))) {
			LTZ_CRASH_POINT("shm.part_claimed");
			continue;
		}
		/* roll back; no scan needed: the CLAIM came from FREE */
		uint64_t now = ltz__mem_now_ns(mem);
		for (unsigned k = 1; k < i; k++) {
			owner_cas(mem, head + k, owner_part(head), owner_free(now));
			LTZ_CRASH_POINT("shm.claim_undone_part");
		}
		owner_cas(mem, head, claim, owner_free(now));
		LTZ_CRASH_POINT("shm.claim_undone");
		return false;
	}
	hint_add(&mem->header->free_hint, -(uint64_t)n);
	LTZ_CRASH_POINT("shm.claimed");
	/* a late reader of what was here must see that it was unlinked if it sees what is written next. pairs with: store/read.c:try_slot */
	fence_release();
	return true;
}

/* A stretch of n granules of this kind in [from, to); its start, or -1. */
static int64_t find_stretch(struct ltz_mem *mem, enum owner_kind kind, uint64_t from, uint64_t to, unsigned n)
{
	unsigned length = 0;

	for (uint64_t g = from; g < to; g++) {
		length = owner_kind(owner_load(mem, g)) == kind ? length + 1 : 0;
		if (length == n)
			return (int64_t)(g - n + 1);
	}
	return -1;
}

#define CLAIM_TRIES 64

/* Takes n FREE granules somewhere. -EAGAIN: there are none side by side. */
static int64_t claim_free(struct ltz_mem *mem, struct ltz_lane *lane, unsigned n, bool trust_hint)
{
	uint64_t high = ltz__granules_high(mem), from = load_relaxed(&mem->header->free_low);
	uint64_t free_hint = load_relaxed(&mem->header->free_hint);

	if (trust_hint && (int64_t)free_hint < (int64_t)n)
		return -EAGAIN;
	for (int pass = 0; pass < 2; pass++, from = 0) {
		uint64_t g = from < high ? from : 0;

		for (;;) {
			int64_t found = find_stretch(mem, OWNER_FREE, g, high, n);

			if (found < 0)
				break;
			if (claim_at(mem, lane, (uint64_t)found, n)) {
				if (n == 1)
					store_relaxed(&mem->header->free_low, (uint64_t)found + 1);
				return found;
			}
			g = (uint64_t)found + 1;
		}
	}
	return -EAGAIN;
}

void ltz__granules_form(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, unsigned n,
                        enum owner_kind kind, unsigned low)
{
	bool done = owner_cas(mem, head, owner_make(OWNER_CLAIM, lane->label, n), owner_make(kind, lane->label, low));

	LTZ_ASSERT(done);
	(void)done;
	LTZ_CRASH_POINT("shm.formed");
}

/* ---- giving back -------------------------------------------------------------------- */

static void lower_free_low(struct ltz_mem *mem, uint64_t head)
{
	if (load_relaxed(&mem->header->free_low) > head)
		store_relaxed(&mem->header->free_low, head);
}

void ltz__granules_release(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, unsigned n)
{
	uint64_t now = ltz__mem_now_ns(mem);

	if (canary(CANARY_HEAD_FIRST))
		owner_cas(mem, head, owner_make(OWNER_CLAIM, lane->label, n), owner_free(now));
	free_parts(mem, head, n, now);
	if (owner_cas(mem, head, owner_make(OWNER_CLAIM, lane->label, n), owner_free(now))) {
		LTZ_CRASH_POINT("shm.head_freed");
		hint_add(&mem->header->free_hint, 1);
	}
	lower_free_low(mem, head);
}

void ltz__granules_cut(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, unsigned n, unsigned keep, enum owner_kind kind)
{
	uint64_t now = ltz__mem_now_ns(mem);

	for (unsigned i = n; i-- > keep;)
		if (owner_cas(mem, head + i, owner_part(head), owner_free(now))) {
			LTZ_CRASH_POINT("shm.part_cut");
			hint_add(&mem->header->free_hint, 1);
		}
	owner_cas(mem, head, owner_make(kind, lane->label, n), owner_make(kind, lane->label, keep));
	LTZ_CRASH_POINT("shm.shortened");
	lower_free_low(mem, head + keep);
}

static uint64_t granule_file_offset(const struct ltz_mem *mem, uint64_t granule)
{
	return mem->geometry.space_offset + granule_offset(granule);
}

bool ltz__granules_teardown(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, unsigned n)
{
	free_parts(mem, head, n, ltz__mem_now_ns(mem));
	/* VIRGIN with memory behind it would not be found again if nobody has written there: repunch sees data only */
	if (!canary(CANARY_NO_PUNCH) && ltz__sys_punch(mem->fd, granule_file_offset(mem, head), SHM_GRANULE) < 0)
		return false;
	LTZ_CRASH_POINT("shm.teardown_punched");
	if (owner_cas(mem, head, owner_make(OWNER_CLAIM, lane->label, n), 0)) {
		LTZ_CRASH_POINT("shm.torn_down");
		hint_add(&mem->header->committed_hint, (uint64_t)-1);
	}
	if (load_relaxed(&mem->header->virgin_low) > head)
		store_relaxed(&mem->header->virgin_low, head);
	return true;
}

/* ---- memory from the system --------------------------------------------------------------- */

/* The owner words of granules below `end` have memory behind them. */
static int back_owners(struct ltz_mem *mem, uint64_t end)
{
	/* relaxed: only this process' own record of what it need not ask the kernel again */
	uint64_t backed = load_relaxed(&mem->owners_backed);
	uint64_t from = backed * 8 & ~UINT64_C(4095), to = (end * 8 + 4095) & ~UINT64_C(4095);
	int result;

	if (end <= backed)
		return 0;
	result = ltz__sys_commit(mem->fd, mem->geometry.owners_offset + from, to - from);
	if (result < 0)
		return result;
	LTZ_CRASH_POINT("shm.owners_backed");
	raise_acq_rel(&mem->owners_backed, to / 8 < mem->granules ? to / 8 : mem->granules);
	return 0;
}

/*
 * Claims VIRGIN granules from `from` on, at most want; returns how many. What
 * a stretch of claims by one lane may hold without a part between them: each
 * is an extent of one granule.
 */
static unsigned claim_virgins(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t from, unsigned want)
{
	uint64_t claim = owner_make(OWNER_CLAIM, lane->label, 1);
	unsigned got = 0;

	while (got < want && from + got < mem->granules && owner_load(mem, from + got) == OWNER_VIRGIN &&
	       owner_cas(mem, from + got, OWNER_VIRGIN, claim)) {
		LTZ_CRASH_POINT("shm.virgin_claimed");
		got++;
	}
	return got;
}

static void turn_claims(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t from, unsigned n, uint64_t to)
{
	uint64_t claim = owner_make(OWNER_CLAIM, lane->label, 1);

	for (unsigned i = 0; i < n; i++) {
		owner_cas(mem, from + i, claim, to);
		LTZ_CRASH_POINT("shm.claim_turned"); /* VIRGIN <-> FREE, of a stretch */
	}
}

/*
 * What is committed or punched at a time: 2 MiB, less than a millisecond. The
 * kernel lets one fallocate of a file at a time through: a writer who needs one
 * granule waits behind a long one, and finds nothing FREE before it ends. And
 * who is stopped in the middle keeps so much from all others, not more.
 */
#define STEP 32u

/* What everybody but the lane is just taking. Of who died meanwhile too, until that is settled. */
static uint64_t taking_of_others(const struct ltz_mem *mem, const struct shm_lane *own)
{
	unsigned rows = ltz__rows_high(mem);
	uint64_t sum = 0;

	for (unsigned r = 0; r < rows; r++) {
		const struct shm_row *row = &mem->rows[r];
		uint64_t lanes = row_up(load_acquire(&row->word)) ? load_acquire(&row->lanes_used) : 0;

		for (unsigned i = 0; i < lanes && i < SHM_LANES; i++) {
			/* acquire: 0 again means that the system counts it as used. pairs with: shm/granule.c:took */
			uint64_t taking = &row->lane[i] != own ? load_acquire(&row->lane[i].taking) : 0;

			sum += taking < mem->granules ? taking : mem->granules;
		}
	}
	return sum;
}

uint64_t ltz__granules_coming(const struct ltz_mem *mem) { return taking_of_others(mem, NULL); }

/* The lane takes no more: everything it took is there. */
static void took(struct ltz_lane *lane)
{
	store_release(&lane->shm->taking, 0); /* pairs with: shm/granule.c:taking_of_others */
}

/*
 * How many of `want` granules the lane may take from the system; less than
 * `least`: -ENOSPC. The caller ends with took().
 *
 * The system is asked, and taken from later. Two who ask at the same time would
 * be told of the same bytes, and beyond a cgroup's limit the kernel kills. So
 * each first says what it wants, and counts what the others said before it
 * asks: whatever the order, one of two sees the other. Where it is scarce, both
 * may get less than there is.
 */
static int64_t may_take(struct ltz_mem *mem, struct ltz_lane *lane, unsigned least, unsigned want)
{
	uint64_t others, left;

	exchange_seq_cst(&lane->shm->taking, want);
	others = taking_of_others(mem, lane->shm);
	left = ltz__sys_available_bytes() >> SHM_GRANULE_LOG2;
	left = left > others ? left - others : 0;
	if (left >= want)
		return want;
	if (left < least) {
		took(lane);
		return -ENOSPC;
	}
	if (left > STEP && least <= STEP)
		left = STEP; /* no more than soon is done: the others want some too */
	store_release(&lane->shm->taking, left);
	return (int64_t)left;
}

/* COMMIT of a stretch that starts at or after `from`: CLAIM each, one fallocate, FREE each. */
static int64_t commit_stretch(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t from, unsigned want)
{
	unsigned got;
	int result;

	/* first, so that a walk of adoption sees every claim. pairs with: shm/granule.c:ltz__granules_high */
	raise_acq_rel(&mem->header->granules_high, from + want < mem->granules ? from + want : mem->granules);
	LTZ_CRASH_POINT("shm.high_raised");
	got = claim_virgins(mem, lane, from, want);
	if (!got)
		return 0;
	result = ltz__sys_commit(mem->fd, granule_file_offset(mem, from), granule_offset(got));
	if (result < 0) {
		ltz__sys_punch(mem->fd, granule_file_offset(mem, from), granule_offset(got));
		LTZ_CRASH_POINT("shm.commit_undone");
		turn_claims(mem, lane, from, got, OWNER_VIRGIN);
		return -ENOSPC;
	}
	LTZ_CRASH_POINT("shm.committed");
	turn_claims(mem, lane, from, got, owner_free(ltz__mem_now_ns(mem)));
	hint_add(&mem->header->free_hint, got);
	hint_add(&mem->header->committed_hint, got);
	lower_free_low(mem, from);
	return got;
}

/* Where n VIRGIN granules lie side by side; the lowest place. -ENOSPC. */
static int64_t find_virgins(struct ltz_mem *mem, unsigned n)
{
	uint64_t high = ltz__granules_high(mem), low = load_relaxed(&mem->header->virgin_low);
	int64_t found = find_stretch(mem, OWNER_VIRGIN, low < high ? low : high, high, n);

	if (found >= 0)
		return found;
	/* nothing within: the frontier, together with VIRGIN ones right below it */
	while (high > low && owner_load(mem, high - 1) == OWNER_VIRGIN)
		high--;
	if (high + n <= mem->granules)
		return (int64_t)high;
	found = find_stretch(mem, OWNER_VIRGIN, 0, ltz__granules_high(mem), n); /* the hint may be too high */
	return found >= 0 ? found : -ENOSPC;
}

/* At least `least` side by side, up to want. 0: others were quicker, each time; what they committed is FREE or theirs. */
static int64_t commit_somewhere(struct ltz_mem *mem, struct ltz_lane *lane, unsigned least, unsigned want)
{
	for (int i = 0; i < CLAIM_TRIES; i++) {
		int64_t from = find_virgins(mem, least), got;
		uint64_t end;

		if (from < 0)
			return from;
		end = (uint64_t)from + want < mem->granules ? (uint64_t)from + want : mem->granules;
		if (back_owners(mem, end) < 0)
			return -ENOSPC;
		got = commit_stretch(mem, lane, (uint64_t)from, want);
		if (got < 0)
			return got;
		if (least == 1 && got)
			store_relaxed(&mem->header->virgin_low, (uint64_t)(from + got));
		if (got >= least)
			return got;
	}
	return 0;
}

int64_t ltz__granules_commit(struct ltz_mem *mem, struct ltz_lane *lane, unsigned least, unsigned want)
{
	int64_t affordable = may_take(mem, lane, least, want), done = 0, got = 0;

	if (affordable < 0)
		return affordable;
	while (done < affordable) {
		unsigned left = (unsigned)(affordable - done), step = left < STEP ? left : STEP;

		got = commit_somewhere(mem, lane, done ? 1 : least, step < least && !done ? least : step);
		if (got <= 0)
			break;
		done += got;
	}
	took(lane);
	return done ? done : got;
}

/* ---- when the system gives no more, or nothing lies side by side ------------------------- */

/* Commits the VIRGIN ones of granules [from, end). */
static bool commit_virgins(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t from, uint64_t end)
{
	unsigned virgins = 0;
	bool done = true;

	for (uint64_t g = from; g < end; g++)
		virgins += owner_kind(owner_load(mem, g)) == OWNER_VIRGIN;
	if (!virgins)
		return true;
	if (may_take(mem, lane, virgins, virgins) < 0)
		return false;
	for (uint64_t g = from; g < end && done; g++)
		if (owner_kind(owner_load(mem, g)) == OWNER_VIRGIN)
			done = commit_stretch(mem, lane, g, (unsigned)(end - g)) >= 0;
	took(lane);
	return done;
}

/*
 * n granules side by side of which some are FREE and the others VIRGIN: the
 * VIRGIN ones are committed where they lie. -EAGAIN: there is no such place.
 */
static int64_t claim_mixed(struct ltz_mem *mem, struct ltz_lane *lane, unsigned n)
{
	uint64_t high = ltz__granules_high(mem), end = high + n < mem->granules ? high + n : mem->granules;
	unsigned length = 0;

	if (back_owners(mem, end) < 0)
		return -EAGAIN;
	for (uint64_t g = 0; g < end; g++) {
		unsigned kind = owner_kind(owner_load(mem, g));

		length = kind == OWNER_FREE || kind == OWNER_VIRGIN ? length + 1 : 0;
		if (length < n)
			continue;
		if (!commit_virgins(mem, lane, g + 1 - n, g + 1))
			return -EAGAIN;
		if (claim_at(mem, lane, g + 1 - n, n))
			return (int64_t)(g + 1 - n);
		length = 0;
	}
	return -EAGAIN;
}

/* Is somebody alive in the middle of committing or giving back? Then there may be more in a moment. */
static bool claims_under_way(const struct ltz_mem *mem)
{
	uint64_t high = ltz__granules_high(mem);

	for (uint64_t g = 0; g < high; g++)
		if (owner_kind(owner_load(mem, g)) == OWNER_CLAIM)
			return true;
	return false;
}

#define LAST_TRIES 32 /* with a yield before each: a fallocate of 2 MiB is over by then, a stopped member is not waited for */

/* The hints may be wrong, after a kill or beside their correction; what is claimed may be FREE in a moment. */
static int64_t claim_after_all(struct ltz_mem *mem, struct ltz_lane *lane, unsigned n)
{
	for (int i = 0; i < LAST_TRIES; i++) {
		int64_t got = claim_free(mem, lane, n, false);

		if (got < 0 && n > 1)
			got = claim_mixed(mem, lane, n);
		if (got >= 0)
			return got;
		if (!claims_under_way(mem))
			break;
		ltz__sys_yield();
	}
	return -ENOSPC;
}

/* 1 MiB; but nothing more than is needed where others are taking some too: each waits for those before it. */
#define INLINE_STEP 16u

int64_t ltz__granules_claim(struct ltz_mem *mem, struct ltz_lane *lane, unsigned n)
{
	if (n > SHM_RUN_MAX || n > mem->granules)
		return -ENOSPC;
	for (int i = 0; i < (n < 256 ? CLAIM_TRIES : 4); i++) { /* a large one that is robbed each time: rather none */
		int64_t got = claim_free(mem, lane, n, true);

		if (got >= 0)
			return got;
		/* Inline, so little. The service thread takes larger steps. */
		got = ltz__granules_commit(mem, lane, n, n < INLINE_STEP && !ltz__granules_coming(mem) ? INLINE_STEP : n);
		if (got < 0)
			return claim_after_all(mem, lane, n);
		if (mem->ring)
			mem->ring(mem->ring_context);
	}
	return -ENOSPC; /* others took every granule that we committed */
}

/* ---- memory to the system ---------------------------------------------------------------------- */

static bool old_enough(uint64_t word, uint64_t before) { return owner_kind(word) == OWNER_FREE && (word >> 3) <= before; }

/* SHRINK of the stretch of old FREE granules that ends right below `end`; returns its length. Negative: they stay FREE. */
static int64_t punch_stretch(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t end, uint64_t before, uint64_t now, unsigned most)
{
	uint64_t claim = owner_make(OWNER_CLAIM, lane->label, 1), from = end;
	unsigned n;
	int result;

	while (end - from < most && from > 0) {
		uint64_t word = owner_load(mem, from - 1);

		if (!old_enough(word, before) || !owner_cas(mem, from - 1, word, claim))
			break;
		from--;
		LTZ_CRASH_POINT("shm.idle_claimed");
	}
	n = (unsigned)(end - from);
	if (!n)
		return 0;
	hint_add(&mem->header->free_hint, -(uint64_t)n);
	result = ltz__sys_punch(mem->fd, granule_file_offset(mem, from), granule_offset(n));
	if (result < 0) { /* nothing was: a later pass tries again */
		turn_claims(mem, lane, from, n, owner_free(now));
		hint_add(&mem->header->free_hint, n);
		return result;
	}
	LTZ_CRASH_POINT("shm.punched");
	turn_claims(mem, lane, from, n, OWNER_VIRGIN);
	hint_add(&mem->header->committed_hint, -(uint64_t)n);
	if (load_relaxed(&mem->header->virgin_low) > from)
		store_relaxed(&mem->header->virgin_low, from);
	return n;
}

uint64_t ltz__granules_punch(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t age_ns, uint64_t most)
{
	uint64_t now = ltz__mem_now_ns(mem), before = now > age_ns ? (now - age_ns) >> 26 : 0, done = 0;

	for (uint64_t g = ltz__granules_high(mem); g > 0 && done < most;) {
		uint64_t step = most - done < STEP ? most - done : STEP;
		int64_t n = punch_stretch(mem, lane, g, before, now, (unsigned)step);

		if (n < 0)
			break;
		done += (uint64_t)n;
		g -= n ? (uint64_t)n : 1;
	}
	return done;
}

uint64_t ltz__granules_repunch(struct ltz_mem *mem, struct ltz_lane *lane)
{
	uint64_t high = ltz__granules_high(mem), done = 0;

	for (uint64_t g = 0; g < high; g++) {
		int64_t data;
		uint64_t end = g;

		while (end < high && owner_load(mem, end) == OWNER_VIRGIN)
			end++;
		if (end == g)
			continue;
		/* one question a stretch of VIRGIN granules; the answer is nearly always beyond it */
		data = ltz__sys_next_data(mem->fd, granule_file_offset(mem, g));
		if (data < 0)
			return done;
		g = (uint64_t)(data - (int64_t)mem->geometry.space_offset) >> SHM_GRANULE_LOG2;
		if (g < end && claim_virgins(mem, lane, g, 1)) {
			ltz__sys_punch(mem->fd, granule_file_offset(mem, g), SHM_GRANULE);
			LTZ_CRASH_POINT("shm.repunched");
			turn_claims(mem, lane, g, 1, OWNER_VIRGIN);
			done++;
		} else if (g >= end) {
			g = end - 1;
		}
	}
	return done;
}

/* ---- counting -------------------------------------------------------------------------------------- */

void ltz__granules_count(const struct ltz_mem *mem, struct ltz_granule_counts *counts)
{
	uint64_t high = ltz__granules_high(mem), *kind_of_head = &counts->claimed;

	*counts = (struct ltz_granule_counts){0};
	for (uint64_t g = 0; g < high; g++) {
		switch (owner_kind(owner_load(mem, g))) {
		case OWNER_VIRGIN: counts->virgin++; break;
		case OWNER_FREE: counts->free++; break;
		case OWNER_SLAB: counts->slab++, kind_of_head = &counts->slab; break;
		case OWNER_RUN: counts->run++, kind_of_head = &counts->run; break;
		case OWNER_TABLE: counts->table++, kind_of_head = &counts->table; break;
		case OWNER_PART: ++*kind_of_head; break; /* parts follow their head */
		default: counts->claimed++, kind_of_head = &counts->claimed; break;
		}
	}
}

void ltz__granules_correct_hints(struct ltz_mem *mem, const struct ltz_granule_counts *counts)
{
	uint64_t high = ltz__granules_high(mem), g = 0;

	store_relaxed(&mem->header->free_hint, counts->free);
	store_relaxed(&mem->header->committed_hint, high - counts->virgin);
	while (g < high && owner_kind(owner_load(mem, g)) != OWNER_VIRGIN)
		g++;
	store_relaxed(&mem->header->virgin_low, g);
	for (g = 0; g < high && owner_kind(owner_load(mem, g)) != OWNER_FREE; g++)
		;
	store_relaxed(&mem->header->free_low, g);
}
