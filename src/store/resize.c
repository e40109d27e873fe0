/* SPDX-License-Identifier: MIT */
/* resize.c - step names are those of docs/design/protocol-index.md, section 4. */
#include "store/resize.h"

#include "shm/granule.h"
#include "shm/member.h"
#include "shm/slab.h"
#include "sys/fault.h"

#include <errno.h>

/*
 * Lines a settled table keeps: about 0.2 lines a bucket are in use when it is
 * full (4 records a bucket), and writers go on while the next one is made.
 */
static uint64_t usual_lines(uint64_t buckets) { return buckets * 3 / 8; }

bool ltz__resize_wanted(const struct ltz_root *root)
{
	uint64_t used = lines_used(load_relaxed(&root->cur.shm->lines)), settled = load_relaxed(&root->cur.shm->settled);

	/* and more than the keys needed when the table was new: else a resize would not help */
	return !has_prev(root) && used * 5 > root->cur.buckets && (used - settled) * 16 > root->cur.buckets;
}

/* ---- the memory of a table ---------------------------------------------------------- */

/* Lanes that come while a migration goes on, and lines lost by members killed in it. */
#define LATE_LANES 256u

uint64_t ltz__lines_for_migration(struct ltz_mem *mem, const struct ltz_table *from, unsigned log2)
{
	uint64_t used = lines_used(load_acquire(&from->shm->lines));
	uint64_t lanes = (uint64_t)ltz__rows_high(mem) * SHM_LANES + LATE_LANES;

	if (used > from->lines)
		used = from->lines;
	if (log2 > from->log2)
		return 2 * used + lanes; /* a source's records fall into two targets */
	if (log2 == from->log2)
		return used + lanes;
	return used + from->buckets / 2 + lanes; /* a target takes two sources */
}

/* No line of the table is given out any more: what migration needs is then known for certain. */
static void close_lines(const struct ltz_table *table)
{
	uint64_t word;

	do {
		word = load_acquire(&table->shm->lines);
	} while (lines_room(word) != lines_used(word) &&
	         !cas_acq_rel(&table->shm->lines, word, lines_used(word) << 32 | lines_used(word)));
	LTZ_CRASH_POINT("store.lines_closed");
}

static int claim_entry(struct ltz_mem *mem, const struct ltz_lane *lane)
{
	for (unsigned id = 1; id < SHM_TABLES; id++) {
		struct shm_table_entry *entry = &mem->directory[id];

		uint64_t claim = load_acquire(&entry->claim);

		/*
		 * Free, or left by somebody who died while it gave the entry back. Life
		 * first, then the place, is the rule: what a dead member stored is final,
		 * a living one may be about to store the place of the next root's table.
		 */
		if (claim && (ltz__label_lives(mem, claim) || load_acquire(&entry->place)))
			continue;
		if (!cas_acq_rel(&entry->claim, claim, lane->label | 1))
			continue;
		LTZ_CRASH_POINT("store.entry_claimed");
		store_release(&entry->place, 0);
		store_release(&entry->born, 0);
		LTZ_CRASH_POINT("store.entry_reset");
		return (int)id;
	}
	return -ENOSPC;
}

static void free_entry(struct ltz_mem *mem, unsigned id, uint64_t head)
{
	struct shm_table_entry *entry = &mem->directory[id & (SHM_TABLES - 1)];
	uint64_t claim = load_acquire(&entry->claim);

	if (load_acquire(&entry->place) != head + 1)
		return; /* not this table's: given back already */
	store_release(&entry->place, 0);
	LTZ_CRASH_POINT("store.entry_emptied");
	cas_acq_rel(&entry->claim, claim, 0);
	LTZ_CRASH_POINT("store.entry_freed");
}

/* R4 to R6: a zeroed table in no root, owned by the lane. Returns its index in lane->extent. */
static int64_t make_table(struct ltz_mem *mem, struct ltz_lane *lane, unsigned log2, uint64_t lines, uint64_t born)
{
	uint64_t bytes = sizeof(struct shm_table) + (UINT64_C(64) << log2) + lines * 64;
	uint64_t n = (bytes + SHM_GRANULE - 1) >> SHM_GRANULE_LOG2;
	struct ltz_extent extent;
	struct shm_table *shm;
	int64_t head;
	int id, index;

	if (n > SHM_RUN_MAX)
		return -ENOSPC;
	id = claim_entry(mem, lane);
	if (id < 0)
		return id;
	head = ltz__granules_claim(mem, lane, (unsigned)n);
	if (head < 0) {
		ltz__process_reclaim(mem, lane);
		head = ltz__granules_claim(mem, lane, (unsigned)n);
	}
	if (head < 0)
		goto no_granules;
	extent = (struct ltz_extent){.granule = (uint32_t)head, .granules = (uint32_t)n, .state = EXTENT_TABLE, .table_id = (uint32_t)id};
	index = ltz__extent_add(lane, &extent);
	if (index < 0) {
		ltz__granules_release(mem, lane, (uint64_t)head, (unsigned)n);
		head = -ENOSPC;
		goto no_granules;
	}
	shm = at_granule(mem, (uint64_t)head);
	zero_in_pool(shm, n << SHM_GRANULE_LOG2);
	LTZ_CRASH_POINT("store.table_zeroed");
	lines = (granule_offset(n) - sizeof(struct shm_table) - (UINT64_C(64) << log2)) / 64;
	store_relaxed(&shm->id, (uint64_t)id);
	store_relaxed(&shm->log2, log2);
	store_relaxed(&shm->lines, lines << 32);
	LTZ_CRASH_POINT("store.table_written");
	ltz__granules_form(mem, lane, (uint64_t)head, (unsigned)n, OWNER_TABLE, (unsigned)n);
	store_release(&mem->directory[id].born, born);
	LTZ_CRASH_POINT("store.entry_dated");
	store_release(&mem->directory[id].place, (uint64_t)head + 1);
	LTZ_CRASH_POINT("store.entry_placed");
	return index;

no_granules:
	cas_acq_rel(&mem->directory[id].claim, lane->label | 1, 0);
	LTZ_CRASH_POINT("store.entry_unclaimed");
	return head;
}

/* Begins the release of a table: nothing leads to it any more. The lane's next reclaim ends it. */
static void leave_table(struct ltz_mem *mem, struct ltz_lane *lane, struct ltz_extent *extent)
{
	free_entry(mem, extent->table_id, extent->granule);
	if (owner_cas(mem, extent->granule, owner_make(OWNER_TABLE, lane->label, extent->granules),
	              owner_make(OWNER_CLAIM, lane->label, extent->granules))) {
		LTZ_CRASH_POINT("store.table_leaving");
		extent->state = EXTENT_LEAVING;
	}
}

/* ---- RESIZE ---------------------------------------------------------------------------- */

#define SLICE       4096u /* buckets: about a millisecond */
#define SLICE_SMALL 256u

static int migrate_slice(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root, uint64_t *at, uint64_t slice)
{
	uint64_t settled, end = *at + slice < root->cur.buckets ? *at + slice : root->cur.buckets;

	for (; *at < end; ++*at) { /* R9 */
		int result;

		if (ctrl_state(load_acquire(&root->cur.shm->bucket[*at].ctrl.a)) != CTRL_UNBORN)
			continue;
		result = ltz__migrate(mem, lane, root, *at);
		if (result < 0)
			return result;
	}
	if (*at < root->cur.buckets)
		return 1;
	/* only a hint; release as every store to memory that has served before. pairs with: store/read.c:try_slot */
	store_release(&root->cur.shm->settled, lines_used(load_relaxed(&root->cur.shm->lines)));
	settled = root_make(root->cur.id, root->cur.log2, 0, 0, root_gen(root->word) + 1);
	LTZ_CRASH_POINT("store.table_settled");
	if (cas_seq_cst(&mem->header->root, root->word, settled)) { /* R11 */
		LTZ_CRASH_POINT("store.prev_dropped");
		fetch_add_relaxed(&mem->header->resizes, 1);
	}
	/* R12 is the owner's: ltz__tables_tend sees that the old table is in no root. */
	return 0;
}

#define GEN_LAST 0xfffffff0u /* hazards compare gens: they must not wrap. 136 years at one resize a second */

int ltz__resize_slice(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root, uint64_t *at)
{
	return migrate_slice(mem, lane, root, at, SLICE);
}

int ltz__resize_help(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root)
{
	if (lane->resizing != root->word) {
		lane->resizing = root->word;
		lane->resized = 0;
	}
	return migrate_slice(mem, lane, root, &lane->resized, SLICE_SMALL);
}

int ltz__resize_begin(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root, unsigned log2)
{
	uint64_t gen = root_gen(root->word) + UINT64_C(1), buckets = UINT64_C(1) << log2, lines;
	int64_t made;

	if (has_prev(root))
		return 0; /* one at a time: R8 would drop what the last one has not yet migrated */
	if (log2 > hash_bits(mem) || log2 > 31 || log2 < 1 || gen >= GEN_LAST)
		return -ENOSPC;
	/* what migration needs, as far as is known; a quarter line a bucket for those who write meanwhile */
	lines = ltz__lines_for_migration(mem, &root->cur, log2) + lines_used(load_acquire(&root->cur.shm->lines)) / 8;
	made = make_table(mem, lane, log2, lines + buckets / 4 + 64, gen);
	if (made < 0)
		return (int)made;
	close_lines(&root->cur);
	if (lines_room(load_acquire(&((struct shm_table *)at_granule(mem, lane->extent[made].granule))->lines)) <
	            ltz__lines_for_migration(mem, &root->cur, log2) || /* grew beyond what was foreseen: once more */
	    !cas_seq_cst(&mem->header->root, root->word,              /* R8 */
	                 root_make(lane->extent[made].table_id, log2, root->cur.id, root->cur.log2, (uint32_t)gen))) {
		leave_table(mem, lane, &lane->extent[made]);
		return 0;
	}
	LTZ_CRASH_POINT("store.root_switched");
	return 0;
}

int ltz__resize(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root)
{
	struct ltz_root now = *root;
	uint64_t at = 0;
	int result;

	if (!has_prev(root)) {
		result = ltz__resize_begin(mem, lane, root, root->cur.log2 + 1);
		if (result == 0)
			result = ltz__table_enter(mem, lane, &now); /* the hazard must name the new gen */
		if (result < 0 || !has_prev(&now))
			return result;
	}
	do {
		result = ltz__resize_slice(mem, lane, &now, &at);
	} while (result > 0);
	return result;
}

int ltz__table_first(struct ltz_mem *mem, struct ltz_lane *lane)
{
	unsigned log2 = mem->geometry.table_log2;
	struct shm_table *shm;
	int64_t made;

	if (load_acquire(&mem->header->root))
		return 0;
	made = make_table(mem, lane, log2, usual_lines(UINT64_C(1) << log2), 1);
	if (made < 0)
		return (int)made;
	shm = at_granule(mem, lane->extent[made].granule);
	for (uint64_t t = 0; t < UINT64_C(1) << log2; t++) /* nothing to migrate: all born */
		store_release(&shm->bucket[t].ctrl.a, ctrl_next(0, CTRL_IDLE, 0));
	LTZ_CRASH_POINT("store.first_born");
	if (!cas_seq_cst(&mem->header->root, 0, root_make(lane->extent[made].table_id, log2, 0, 0, 1))) {
		leave_table(mem, lane, &lane->extent[made]);
		return 0;
	}
	LTZ_CRASH_POINT("store.first_published");
	return 0;
}

/* ---- a table's later life ---------------------------------------------------------------- */

/*
 * Gives back whole granules of lines that nobody took: parts from the tail
 * first, then the head's word. Death in between leaves a TABLE that is longer
 * than its parts, which release and teardown allow.
 */
static void cut_lines(struct ltz_mem *mem, struct ltz_lane *lane, struct ltz_extent *extent, unsigned log2)
{
	struct shm_table *shm = at_granule(mem, extent->granule);
	uint64_t word = load_acquire(&shm->lines), buckets = UINT64_C(1) << log2;
	uint64_t keep = lines_used(word) + lines_used(word) / 8 + 64, bytes, n;

	if (keep < usual_lines(buckets))
		keep = usual_lines(buckets);
	bytes = sizeof(*shm) + buckets * 64 + keep * 64;
	n = (bytes + SHM_GRANULE - 1) >> SHM_GRANULE_LOG2;
	if (n >= extent->granules)
		return;
	keep = (granule_offset(n) - sizeof(*shm) - buckets * 64) / 64;
	/* less room already: somebody died between the two steps below */
	if (lines_room(word) > keep && !cas_acq_rel(&shm->lines, word, keep << 32 | lines_used(word)))
		return; /* the next time */
	LTZ_CRASH_POINT("store.lines_cut");
	ltz__granules_cut(mem, lane, extent->granule, extent->granules, (unsigned)n, OWNER_TABLE);
	extent->granules = (uint32_t)n;
}

void ltz__entries_tend(struct ltz_mem *mem)
{
	for (unsigned id = 1; id < SHM_TABLES; id++) {
		struct shm_table_entry *entry = &mem->directory[id];
		uint64_t claim = load_acquire(&entry->claim), place;

		if (!claim || ltz__label_lives(mem, claim))
			continue;
		place = load_acquire(&entry->place) - 1;
		if (place < mem->granules && owner_kind(owner_load(mem, place)) == OWNER_TABLE &&
		    load_acquire(&((struct shm_table *)at_granule(mem, place))->id) == id)
			continue; /* goes with the table, whoever owns that */
		cas_acq_rel(&entry->claim, claim, 0);
		LTZ_CRASH_POINT("store.entry_swept");
	}
}

static bool in_root(const struct ltz_mem *mem, uint64_t root, const struct ltz_extent *extent)
{
	unsigned id = extent->table_id;

	return id && id < SHM_TABLES && (root_cur(root) == id || root_prev(root) == id) &&
	       load_acquire(&mem->directory[id].place) == (uint64_t)extent->granule + 1;
}

void ltz__tables_tend(struct ltz_mem *mem, struct ltz_lane *lane)
{
	uint64_t root = load_acquire(&mem->header->root);
	bool fenced = false;

	for (uint32_t i = 0; i < lane->extents; i++) {
		struct ltz_extent *extent = &lane->extent[i];
		uint64_t born = 0;

		if (extent->state != EXTENT_TABLE)
			continue;
		if (in_root(mem, root, extent)) {
			if (!root_prev(root) && root_cur(root) == extent->table_id)
				cut_lines(mem, lane, extent, root_cur_log2(root));
			continue;
		}
		if (!fenced && ltz__members_barrier(mem) < 0) /* pairs with: store/table.c:ltz__table_enter */
			return;
		fenced = true;
		if (extent->table_id && extent->table_id < SHM_TABLES &&
		    load_acquire(&mem->directory[extent->table_id].place) == (uint64_t)extent->granule + 1)
			born = load_acquire(&mem->directory[extent->table_id].born);
		if (!ltz__table_hazard(mem, born, root_gen(root)))
			leave_table(mem, lane, extent);
	}
}
