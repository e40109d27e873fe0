/* SPDX-License-Identifier: MIT */
/*
 * table.h - the lock-free index: words, places, and the steps that writers,
 * helpers and migrators share. Step names (W5, H3, M4 ...) are those of
 * docs/design/protocol-index.md.
 *
 * A table is 2^log2 buckets of one cache line and, behind them, lines that
 * full buckets append. Bucket number = leading bits of the key's hash. The
 * slot word carries enough hash bits to choose a bucket in any table, so
 * migration never looks into a block.
 */
#ifndef LTZ_STORE_TABLE_H
#define LTZ_STORE_TABLE_H

#include "shm/lane.h"
#include "store/record.h"

#include <errno.h>

/* ---- ctrl ----------------------------------------------------------------- */

enum ctrl_state { CTRL_UNBORN = 0, CTRL_IDLE = 1, CTRL_PENDING = 2, CTRL_FROZEN = 3 };

LTZ_INLINE unsigned ctrl_state(uint64_t a) { return a >> 8 & 3; }
LTZ_INLINE unsigned ctrl_slot(uint64_t a) { return a & 0xff; }
/* The next word a: seq + 1. */
LTZ_INLINE uint64_t ctrl_next(uint64_t a, enum ctrl_state state, unsigned slot)
{
	return ((a >> 10) + 1) << 10 | (uint64_t)state << 8 | slot;
}

/* ---- places: checked addresses ---------------------------------------------- */

struct ltz_table {
	struct shm_table *shm;
	struct shm_line *line;
	uint64_t lines;   /* that fit into granule space behind the buckets */
	uint64_t buckets;
	unsigned log2;
	unsigned id;
};

/* The table of that number and size; false: the directory says nonsense. */
LTZ_INLINE bool table_at(const struct ltz_mem *mem, unsigned id, unsigned log2, struct ltz_table *t)
{
	uint64_t place = load_acquire(&mem->directory[id].place) - 1, end;

	if (unlikely(place >= mem->granules || !log2))
		return false;
	t->buckets = UINT64_C(1) << log2;
	end = granule_offset(place) + sizeof(struct shm_table) + t->buckets * 64;
	if (unlikely(end > mem->space_bytes))
		return false;
	t->shm = at_granule(mem, place);
	t->line = (struct shm_line *)(t->shm->bucket + t->buckets);
	t->lines = (mem->space_bytes - end) / 64;
	t->log2 = log2;
	t->id = id;
	return true;
}

LTZ_INLINE uint64_t bucket_of_hash(uint64_t hash, unsigned log2) { return hash >> (64 - log2); }
/* The bucket a slot word belongs to, in a table of that size. */
LTZ_INLINE uint64_t bucket_of_word(const struct ltz_mem *mem, uint64_t word, unsigned log2)
{
	return (word & ~(SLOT_FROZEN | SLOT_RECORD)) >> mem->ref_bits >> (hash_bits(mem) - log2);
}

/* A walk over a bucket's slots in order, through its lines. */
struct ltz_walk {
	const struct ltz_table *table;
	uint64_t *slot;   /* of the current bucket or line */
	uint64_t *link;
	unsigned count;   /* slots in it                   */
	unsigned first;   /* number of its first slot      */
};

LTZ_INLINE void walk_begin(struct ltz_walk *w, const struct ltz_table *table, struct shm_bucket *bucket)
{
	*w = (struct ltz_walk){table, bucket->slot, &bucket->link, BUCKET_SLOTS, 0};
}

/* On to the next line. 1: there is one, 0: none, -EUCLEAN. */
int ltz__walk_next(struct ltz_walk *w);

/* Address of slot number e, or NULL. */
uint64_t *ltz__slot_at(const struct ltz_table *table, struct shm_bucket *bucket, unsigned e);

/* ---- working under a root ------------------------------------------------------ */

struct ltz_root {
	uint64_t word;
	struct ltz_table cur, prev; /* prev.shm NULL: none */
};

/* W1 to W3: the current root, with the lane's table hazard naming its gen. 0, -ESHUTDOWN, -EUCLEAN. */
int ltz__table_enter(struct ltz_mem *mem, struct ltz_lane *lane, struct ltz_root *root);

/* Without a hazard, for readers; validated by them at the end. */
LTZ_INLINE int root_read(const struct ltz_mem *mem, struct ltz_root *root)
{
	uint64_t word = load_acquire(&mem->header->root);

	root->word = word;
	root->prev.shm = NULL;
	if (unlikely(!root_cur(word)))
		return word == ROOT_DESTROYED ? -ESHUTDOWN : -EUCLEAN;
	if (unlikely(root_cur_log2(word) > hash_bits(mem) || !table_at(mem, root_cur(word), root_cur_log2(word), &root->cur)))
		return -EUCLEAN;
	if (likely(!root_prev(word)))
		return 0;
	if (root_prev_log2(word) > hash_bits(mem) || !table_at(mem, root_prev(word), root_prev_log2(word), &root->prev))
		return -EUCLEAN;
	return 0;
}
int ltz__root_read(const struct ltz_mem *mem, struct ltz_root *root);

LTZ_INLINE bool has_prev(const struct ltz_root *root) { return root->prev.shm != NULL; }

/* ---- helping and migrating -------------------------------------------------------- */

/* HELP(bucket, a, b): finishes a pending insert. */
int ltz__help(const struct ltz_table *table, struct shm_bucket *bucket, uint64_t a, uint64_t b);

/* MIGRATE(t): brings bucket number t of cur to life. root has prev; the lane's hazard says its gen. 0, -ENOSPC, -EUCLEAN. */
int ltz__migrate(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root, uint64_t t);

/*
 * Appends a line behind *link, which was read as 0 (W22). keep: lines that
 * must stay for others. 0 also when somebody else did. -ENOSPC: none is left.
 */
int ltz__line_append(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_table *table, uint64_t *link, uint64_t keep);

LTZ_INLINE uint64_t lines_room(uint64_t word) { return word >> 32; }
LTZ_INLINE uint64_t lines_used(uint64_t word) { return word & 0xffffffff; }

/* ---- a bound for every retry loop -------------------------------------------------- */

/*
 * A restart means that somebody else made progress; so many in a row mean
 * that the pool's words contradict each other.
 */
#define RESTARTS_MAX 4000000u

/* What a call that ends with -EUCLEAN says if the pool was destroyed under it. */
LTZ_INLINE int damage_or_end(const struct ltz_mem *mem, int result)
{
	return result == -EUCLEAN && ltz__mem_destroyed(mem) ? -ESHUTDOWN : result;
}

#endif
