/* SPDX-License-Identifier: MIT */
/*
 * read.c - readers. Step names are those of docs/design/protocol-index.md,
 * section 5.
 *
 * A reader stores nothing and needs no hazard: everything it reads may be
 * garbage until the root was read again at the end. An impossible value means
 * restart; only restarts without end mean damage.
 */
#include "store/map.h"
#include "store/seal.h"
#include "store/table.h"

#include <errno.h>

enum { RESTART = 100, HIT, MISS };

struct answer {
	void *buf;
	size_t capacity;
	bool truncated;
	uint64_t version;
	struct ltz_look look;
};

/* In a sealed pool. A bad tag is an answer like any other: it counts once the record was found unchanged. */
static LTZ_NOINLINE int read_sealed(const struct ltz_mem *mem, const struct ltz_hkey *key, const struct shm_record *rec, struct answer *out)
{
	int result;

	if (!record_has_key(rec, &out->look, key, hkey_data(key)))
		return MISS;
	result = ltz__seal_read(mem->seal, key, rec, out->version, &out->look, out->buf, out->capacity);

	out->truncated = result == LTZ_TRUNCATED;
	return result < 0 ? result : HIT;
}

/*
 * G6: reads the key; if it is ours, copies the value. HIT, MISS (another's),
 * RESTART (no record), or a failure; nothing of it counts before validation.
 */
LTZ_INLINE int read_record(const struct ltz_mem *mem, const struct ltz_hkey *key, const struct shm_record *rec,
                           uint64_t room, struct answer *out)
{
	/* acquire: the content belongs to the version read before, or is found stale by its re-read */
	if (unlikely(!record_look(rec, room, load_acquire(&rec->meta), &out->look)))
		return RESTART;
	if (unlikely(mem->seal))
		return read_sealed(mem, key, rec, out);
	if (unlikely(!record_has_key(rec, &out->look, key, key->data)))
		return MISS;
	out->truncated = out->look.size > out->capacity;
	if (likely(!out->truncated))
		record_copy_value(rec, &out->look, out->version, out->buf);
	return HIT;
}

/* G3: is the record that is being inserted ours? HIT or a failure (to be validated by the root), MISS: go on with the slots. */
static LTZ_NOINLINE int try_pending(const struct ltz_mem *mem, const struct ltz_hkey *key, const struct shm_bucket *bucket,
                                    uint64_t a, struct answer *out)
{
	uint64_t b = load_acquire(&bucket->ctrl.b), ref = b & mem->ref_mask, room = ref_room(mem, ref);
	const struct shm_record *rec = at_ref(mem, ref);
	int result;

	if (((b ^ key->word) & mem->tag_mask) || room < sizeof(*rec))
		return MISS;
	out->version = load_acquire(&rec->version);
	result = read_record(mem, key, rec, room, out);
	if (result == MISS || result == RESTART)
		return MISS; /* another key's: needs no validation */
	fence_acquire();
	return load_acquire(&bucket->ctrl.a) == a ? result : RESTART;
}

/* G5 to G7 for a slot word with our hash bits. HIT, MISS (another key's), RESTART, or a failure. */
LTZ_INLINE int try_slot(const struct ltz_mem *mem, const struct ltz_hkey *key, const uint64_t *slot, uint64_t word, struct answer *out)
{
	uint64_t ref = word & mem->ref_mask, room = ref_room(mem, ref);
	const struct shm_record *rec = at_ref(mem, ref);
	int result;

	if (unlikely(room < sizeof(*rec)))
		return RESTART;
	out->version = load_acquire(&rec->version); /* G5. pairs with: store/edit.c:complete */
	result = read_record(mem, key, rec, room, out);
	fence_acquire();
	if (unlikely((load_acquire(slot) & ~SLOT_FROZEN) != word)) /* G7: slot, then version */
		return RESTART;
	if (unlikely(load_acquire(&rec->version) != out->version || !out->version))
		return RESTART; /* version 0: freed, or a page that was given back */
	return result;
}

/* G4 over one bucket or line. MISS: go on. */
LTZ_INLINE int try_slots(const struct ltz_mem *mem, const struct ltz_hkey *key, const uint64_t *slots, unsigned count, struct answer *out)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t w = load_acquire(&slots[i]) & ~SLOT_FROZEN;
		int result;

		if (likely((w ^ key->word) & mem->tag_mask))
			continue;
		result = try_slot(mem, key, &slots[i], w, out);
		if (result != MISS)
			return result;
	}
	return MISS;
}

static LTZ_NOINLINE int try_lines(const struct ltz_mem *mem, const struct ltz_hkey *key, const struct ltz_table *table,
                                  struct shm_bucket *bucket, struct answer *out)
{
	struct ltz_walk walk;
	int result;

	walk_begin(&walk, table, bucket);
	while ((result = ltz__walk_next(&walk)) > 0) {
		result = try_slots(mem, key, walk.slot, walk.count, out);
		if (result != MISS)
			return result;
	}
	return result < 0 ? RESTART : MISS;
}

/* G2 to G8 in one table. own_a: ctrl.a of bucket. */
LTZ_INLINE int try_bucket(const struct ltz_mem *mem, const struct ltz_hkey *key, const struct ltz_table *table,
                          struct shm_bucket *bucket, uint64_t a, struct answer *out)
{
	int result;

	if (unlikely(ctrl_state(a) == CTRL_PENDING)) {
		result = try_pending(mem, key, bucket, a, out);
		if (result != MISS)
			return result;
	}
	result = try_slots(mem, key, bucket->slot, BUCKET_SLOTS, out);
	if (result == MISS && load_acquire(&bucket->link))
		result = try_lines(mem, key, table, bucket, out);
	return result;
}

/* Old mode: the key's bucket is not yet born; the previous table holds the truth. */
static LTZ_NOINLINE int try_prev(const struct ltz_mem *mem, const struct ltz_hkey *key, const struct ltz_root *root,
                                 const struct shm_bucket *unborn, struct answer *out)
{
	struct shm_bucket *bucket;
	uint64_t a;
	int result;

	if (!has_prev(root))
		return RESTART;
	bucket = &root->prev.shm->bucket[bucket_of_hash(key->hash, root->prev.log2)];
	a = load_acquire(&bucket->ctrl.a);
	if (ctrl_state(a) == CTRL_UNBORN)
		return RESTART;
	result = try_bucket(mem, key, &root->prev, bucket, a, out);
	if (result == RESTART)
		return RESTART;
	fence_acquire();
	return ctrl_state(load_acquire(&unborn->ctrl.a)) == CTRL_UNBORN ? result : RESTART; /* G8 */
}

static LTZ_NOINLINE int try_get(const struct ltz_mem *mem, const struct ltz_hkey *key, struct answer *out)
{
	struct ltz_root root;
	struct shm_bucket *bucket;
	uint64_t a;
	int result = root_read(mem, &root); /* G1 */

	if (unlikely(result < 0))
		return result == -ESHUTDOWN ? result : RESTART;
	bucket = &root.cur.shm->bucket[bucket_of_hash(key->hash, root.cur.log2)];
	a = load_acquire(&bucket->ctrl.a); /* G2 */
	if (likely(ctrl_state(a) != CTRL_UNBORN))
		result = try_bucket(mem, key, &root.cur, bucket, a, out);
	else
		result = try_prev(mem, key, &root, bucket, out);
	if (unlikely(load_acquire(&mem->header->root) != root.word)) /* G9 */
		return RESTART;
	return result;
}

/*
 * try_get for the usual case, without ever leaving the line: no resize under
 * way, no insert pending, no line appended. HIT, MISS, or RESTART: what it saw
 * needs the whole procedure.
 */
LTZ_INLINE int try_get_fast(const struct ltz_mem *mem, const struct ltz_hkey *key, struct answer *out)
{
	uint64_t root = load_acquire(&mem->header->root), offset, place; /* G1 */
	unsigned log2 = root_cur_log2(root);
	const struct shm_bucket *bucket;
	int result;

	if (unlikely(root_prev(root) || !log2))
		return RESTART;
	place = load_acquire(&mem->directory[root_cur(root)].place) - 1;
	offset = (place << SHM_GRANULE_LOG2) + sizeof(struct shm_table) + bucket_of_hash(key->hash, log2) * sizeof(*bucket);
	if (unlikely(place >= mem->granules || offset >= mem->space_bytes))
		return RESTART;
	bucket = (const struct shm_bucket *)(mem->space + offset);
	if (unlikely(ctrl_state(load_acquire(&bucket->ctrl.a)) != CTRL_IDLE)) /* G2; G3 is not due */
		return RESTART;
	result = try_slots(mem, key, bucket->slot, BUCKET_SLOTS, out);
	if (unlikely(result == MISS && load_acquire(&bucket->link)))
		return RESTART;
	return likely(load_acquire(&mem->header->root) == root) ? result : RESTART; /* G9; no G8 without prev */
}

int ltz__map_get(struct ltz_mem *mem, const struct ltz_hkey *key, void *buf, size_t capacity, ltz_item *item)
{
	struct answer out = {.buf = buf, .capacity = capacity};
	int64_t ttl = -1;
	int result = try_get_fast(mem, key, &out);

	for (unsigned i = 0; unlikely(result == RESTART) && i < RESTARTS_MAX; i++)
		result = try_get(mem, key, &out);
	if (unlikely(result < 0 || result == RESTART))
		return damage_or_end(mem, result < 0 ? result : -EUCLEAN);
	if (unlikely(result == HIT && out.look.expires_ms != SHM_NEVER)) {
		uint64_t now = ltz__mem_now_ns(mem); /* judged now, on the copy */

		if (out.look.expires_ms <= now / 1000000)
			result = MISS;
		ttl = map_ttl_ms(out.look.expires_ms, now);
	}
	if (unlikely(result == MISS)) {
		count_own(&mem->row->misses);
		return LTZ_NOT_FOUND;
	}
	count_own(&mem->row->hits);
	if (likely(item != NULL))
		*item = (ltz_item){.version = out.version, .size = out.look.size, .ttl_ms = ttl, .type = (uint8_t)meta_type(out.look.meta)};
	return unlikely(out.truncated) ? LTZ_TRUNCATED : 0;
}

/* ---- prefetching ---------------------------------------------------------------------- */

#define NEAR_LOG2 15u /* buckets: 2 MiB, about a processor's own cache */

bool ltz__map_is_far(const struct ltz_mem *mem) { return root_cur_log2(load_relaxed(&mem->header->root)) > NEAR_LOG2; }

static struct shm_bucket *likely_bucket(struct ltz_mem *mem, const struct ltz_hkey *key)
{
	struct ltz_root root;

	if (ltz__root_read(mem, &root) < 0)
		return NULL;
	return &root.cur.shm->bucket[bucket_of_hash(key->hash, root.cur.log2)];
}

void ltz__map_prefetch_bucket(struct ltz_mem *mem, const struct ltz_hkey *key)
{
	struct shm_bucket *bucket = likely_bucket(mem, key);

	if (bucket)
		__builtin_prefetch(bucket);
}

void ltz__map_prefetch_record(struct ltz_mem *mem, const struct ltz_hkey *key)
{
	const struct shm_bucket *bucket = likely_bucket(mem, key);

	for (unsigned i = 0; bucket && i < BUCKET_SLOTS; i++) {
		uint64_t w = load_relaxed(&bucket->slot[i]);

		if (((w ^ key->word) & mem->tag_mask) == 0 && ref_room(mem, w & mem->ref_mask)) {
			__builtin_prefetch(at_ref(mem, w & mem->ref_mask));
			__builtin_prefetch((const uint8_t *)at_ref(mem, w & mem->ref_mask) + 64);
		}
	}
}
