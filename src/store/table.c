/* SPDX-License-Identifier: MIT */
/* table.c - walking, helping, migrating: what all who change the index share. */
#include "store/table.h"

#include "base/canary.h"
#include "sys/fault.h"

#include <errno.h>

#define LINES_MAX ((BUCKET_SLOTS_MAX - BUCKET_SLOTS) / LINE_SLOTS)

static int next_line(const struct ltz_table *table, uint64_t link, struct shm_line **line)
{
	if (link > table->lines)
		return -EUCLEAN;
	*line = &table->line[link - 1];
	return 0;
}

int ltz__walk_next(struct ltz_walk *w)
{
	uint64_t link = load_acquire(w->link);
	struct shm_line *line;

	if (!link)
		return 0;
	w->first += w->count;
	if (w->first >= BUCKET_SLOTS_MAX || next_line(w->table, link, &line) < 0)
		return -EUCLEAN;
	w->slot = line->slot;
	w->link = &line->link;
	w->count = LINE_SLOTS;
	return 1;
}

uint64_t *ltz__slot_at(const struct ltz_table *table, struct shm_bucket *bucket, unsigned e)
{
	struct ltz_walk w;

	walk_begin(&w, table, bucket);
	while (e >= w.first + w.count)
		if (ltz__walk_next(&w) <= 0)
			return NULL;
	return &w.slot[e - w.first];
}

int ltz__root_read(const struct ltz_mem *mem, struct ltz_root *root) { return root_read(mem, root); }

int ltz__table_enter(struct ltz_mem *mem, struct ltz_lane *lane, struct ltz_root *root)
{
	for (;;) {
		int result = root_read(mem, root); /* W1 */
		uint64_t th = (uint64_t)root_gen(root->word) + 1;

		/* A root read while the table it names went away can be nonsense; it is then no longer the root. */
		if (likely(lane->th == th))
			return result;
		if (result == -ESHUTDOWN)
			return result;
		store_release(&lane->shm->th, th); /* W2. pairs with: shm/lane.c:ltz__table_hazard */
		lane->th = th;
		LTZ_CRASH_POINT("store.table_entered");
		fence_hazard(mem);
		if (load_acquire(&mem->header->root) == root->word) /* W3 */
			return result;
	}
}

/* ---- HELP ------------------------------------------------------------------------ */

int ltz__help(const struct ltz_table *table, struct shm_bucket *bucket, uint64_t a, uint64_t b)
{
	uint64_t *slot = ltz__slot_at(table, bucket, ctrl_slot(a)), x;

	if (!slot)
		return load_acquire(&bucket->ctrl.a) == a ? -EUCLEAN : 0;
	x = load_acquire(slot);                      /* H1 */
	if (load_acquire(&bucket->ctrl.a) != a)      /* H2; H1 before H2 is the rule */
		return 0;
	if (!(x & SLOT_RECORD))
		cas_seq_cst(slot, x, b);             /* H3: publishes the record, whose block was complete at W20 */
	LTZ_CRASH_POINT("store.slot_helped");
	cas_pair(&bucket->ctrl, a, b, ctrl_next(a, CTRL_IDLE, 0), 0); /* H4 */
	LTZ_CRASH_POINT("store.insert_finished");
	return 0;
}

/* ---- lines ------------------------------------------------------------------------- */

/* A zeroed line that is nobody else's: the lane's spare one, or the table's next. Returns number + 1, or 0. */
static uint64_t take_line(struct ltz_lane *lane, const struct ltz_table *table, uint64_t born, uint64_t keep)
{
	uint64_t word;

	if (lane->spare_line && lane->spare_table == born) {
		uint64_t line = lane->spare_line;

		lane->spare_line = 0;
		return line;
	}
	do {
		word = load_acquire(&table->shm->lines);
		if (lines_used(word) + keep >= lines_room(word) || lines_used(word) >= table->lines)
			return 0;
	} while (!cas_acq_rel(&table->shm->lines, word, word + 1));
	LTZ_CRASH_POINT("store.line_taken");
	return lines_used(word) + 1;
}

int ltz__line_append(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_table *table, uint64_t *link, uint64_t keep)
{
	uint64_t born = load_acquire(&mem->directory[table->id].born);
	uint64_t line = take_line(lane, table, born, keep);

	if (!line)
		return load_acquire(link) ? 0 : -ENOSPC;
	/* publishes a line of zeros. pairs with: store/table.c:ltz__walk_next */
	if (!cas_seq_cst(link, 0, line)) {
		LTZ_CRASH_POINT("store.line_lost");
		lane->spare_table = born;
		lane->spare_line = line;
		return 0;
	}
	LTZ_CRASH_POINT("store.line_linked");
	return 0;
}

/* ---- MIGRATE -------------------------------------------------------------------------- */

struct target {
	const struct ltz_table *table;
	struct shm_bucket *bucket;
	struct ltz_walk walk; /* where position j lies */
	unsigned j;
};

/* M4: position j of the target gets w, unless it has it. */
static int put_next(struct ltz_mem *mem, struct ltz_lane *lane, struct target *to, uint64_t w)
{
	while (to->j >= to->walk.first + to->walk.count) {
		int result = ltz__walk_next(&to->walk);

		if (result < 0)
			return result;
		if (result == 0) {
			result = ltz__line_append(mem, lane, to->table, to->walk.link, 0);
			if (result < 0)
				return result;
		}
	}
	cas_seq_cst(&to->walk.slot[to->j - to->walk.first], 0, w); /* whoever was first put the same word here */
	LTZ_CRASH_POINT("store.slot_copied");
	to->j++;
	return 0;
}

/* M1 and M2: no new record comes into the source bucket any more. */
static int freeze_bucket(const struct ltz_table *table, struct shm_bucket *bucket)
{
	for (unsigned i = 0; i < RESTARTS_MAX; i++) {
		uint64_t a = load_acquire(&bucket->ctrl.a);

		switch (ctrl_state(a)) {
		case CTRL_FROZEN:
			return 0;
		case CTRL_PENDING: {
			int result = ltz__help(table, bucket, a, load_acquire(&bucket->ctrl.b));

			if (result < 0)
				return result;
			break;
		}
		case CTRL_IDLE:
			if (cas_pair(&bucket->ctrl, a, 0, ctrl_next(a, CTRL_FROZEN, 0), 0)) {
				LTZ_CRASH_POINT("store.bucket_frozen");
				return 0;
			}
			break;
		default:
			return -EUCLEAN; /* a source bucket was born before its table became prev */
		}
	}
	return -EUCLEAN;
}

/* M1 to M4 for source bucket s. */
static int migrate_source(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_table *from,
                          uint64_t s, struct target *to, uint64_t t)
{
	struct shm_bucket *bucket = &from->shm->bucket[s];
	struct ltz_walk walk;
	int result = freeze_bucket(from, bucket);

	if (result < 0)
		return result;
	walk_begin(&walk, from, bucket);
	do {
		for (unsigned i = 0; i < walk.count; i++) {
			uint64_t bit = canary(CANARY_NO_FREEZE) ? 0 : SLOT_FROZEN;
			uint64_t w = fetch_or_seq_cst(&walk.slot[i], bit) & ~SLOT_FROZEN; /* M3 */

			LTZ_CRASH_POINT("store.slot_frozen");
			if (!(w & SLOT_RECORD) || bucket_of_word(mem, w, to->table->log2) != t)
				continue;
			result = put_next(mem, lane, to, w);
			if (result < 0)
				return result;
		}
		result = ltz__walk_next(&walk);
	} while (result > 0);
	return result;
}

int ltz__migrate(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root, uint64_t t)
{
	const struct ltz_table *cur = &root->cur, *prev = &root->prev;
	struct target to = {.table = cur, .bucket = &cur->shm->bucket[t]};
	uint64_t first, count;

	walk_begin(&to.walk, cur, to.bucket);
	if (cur->log2 >= prev->log2) {
		first = t >> (cur->log2 - prev->log2);
		count = 1;
	} else {
		first = t << (prev->log2 - cur->log2);
		count = UINT64_C(1) << (prev->log2 - cur->log2);
	}
	for (uint64_t s = first; s < first + count; s++) {
		int result = migrate_source(mem, lane, prev, s, &to, t);

		if (result < 0)
			return result;
	}
	/* M5: born; full barrier, so its slots are there for whoever sees it. The result does not matter. */
	cas_pair(&to.bucket->ctrl, 0, 0, ctrl_next(0, CTRL_IDLE, 0), 0);
	LTZ_CRASH_POINT("store.bucket_born");
	return 0;
}
