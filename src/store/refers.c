/* SPDX-License-Identifier: MIT */
/*
 * refers.c - "does the index name this block?", asked by adoption.
 *
 * A false no destroys live data; a false yes leaks one block. Only what is
 * authoritative for the key's hash counts: the bucket in the current table if
 * it is born, else its source in the previous one; the PENDING word as well as
 * the slots. Both answers are validated like a reader's, and the tables are
 * held by the lane's table hazard like a writer's.
 */
#include "store/map.h"
#include "store/table.h"

#include <errno.h>

enum { RESTART = -1, NO = 0, YES = 1 };

static int names(const struct ltz_table *table, struct shm_bucket *bucket, uint64_t a, uint64_t ref_mask, uint64_t ref)
{
	struct ltz_walk walk;
	int more;

	if (ctrl_state(a) == CTRL_PENDING && (load_acquire(&bucket->ctrl.b) & ref_mask) == ref)
		return YES;
	walk_begin(&walk, table, bucket);
	do {
		for (unsigned i = 0; i < walk.count; i++) {
			uint64_t w = load_acquire(&walk.slot[i]);

			if ((w & SLOT_RECORD) && (w & ref_mask) == ref)
				return YES;
		}
		more = ltz__walk_next(&walk);
	} while (more > 0);
	return more < 0 ? RESTART : NO;
}

static int ask(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t hash, uint64_t ref)
{
	struct ltz_root root;
	struct shm_bucket *target, *bucket;
	const struct ltz_table *table;
	uint64_t a;
	int answer;

	if (ltz__table_enter(mem, lane, &root) < 0)
		return YES; /* validated by W3: destroyed or damaged, so it cannot be told */
	table = &root.cur;
	target = bucket = &table->shm->bucket[bucket_of_hash(hash, table->log2)];
	a = load_acquire(&bucket->ctrl.a);
	if (ctrl_state(a) == CTRL_FROZEN)
		return RESTART; /* the root has changed */
	if (ctrl_state(a) == CTRL_UNBORN) {
		if (!has_prev(&root))
			return RESTART;
		table = &root.prev;
		bucket = &table->shm->bucket[bucket_of_hash(hash, table->log2)];
		a = load_acquire(&bucket->ctrl.a);
		if (ctrl_state(a) == CTRL_UNBORN)
			return RESTART;
	}
	answer = names(table, bucket, a, mem->ref_mask, ref);
	if (answer == RESTART || load_acquire(&bucket->ctrl.a) != a)
		return RESTART; /* words moved meanwhile */
	if (bucket != target && ctrl_state(load_acquire(&target->ctrl.a)) != CTRL_UNBORN)
		return RESTART; /* a frozen slot of a born target says nothing */
	return load_acquire(&mem->header->root) == root.word ? answer : RESTART;
}

/* The hash of the key in a block; false: never completed, so never published. */
static bool hash_of_block(const struct ltz_mem *mem, uint64_t ref, uint64_t bytes, uint64_t *hash)
{
	const struct shm_record *rec = at_ref(mem, ref);
	struct ltz_look look;
	uint64_t meta = load_acquire(&rec->meta);

	if (!record_look(rec, bytes, meta, &look))
		return false;
	*hash = hash_key(mem->seed, meta_key_type(meta), (const uint8_t *)rec + look.key_offset, meta_key_size(meta));
	return true;
}

void ltz__map_expect(const struct ltz_mem *mem, uint64_t ref, uint64_t bytes)
{
	struct ltz_root root;
	uint64_t hash;

	if (root_read(mem, &root) == 0 && hash_of_block(mem, ref, bytes, &hash))
		__builtin_prefetch(&root.cur.shm->bucket[bucket_of_hash(hash, root.cur.log2)]);
}

int ltz__map_refers(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t ref, uint64_t bytes)
{
	uint64_t hash;

	if (!hash_of_block(mem, ref, bytes, &hash))
		return NO;
	for (unsigned i = 0; i < RESTARTS_MAX; i++) {
		int answer = ask(mem, lane, hash, ref);

		if (answer != RESTART)
			return answer;
		if (ltz__mem_destroyed(mem))
			break;
	}
	return YES; /* cannot be told: rather a leak */
}
