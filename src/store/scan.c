/* SPDX-License-Identifier: MIT */
/*
 * scan.c - going over all keys while others write and the index grows.
 *
 * A cursor is a position in hash order. One step takes the authoritative
 * bucket that covers it, returns the bucket's keys at or after the position,
 * and goes on at the bucket's end. A bucket is never split, so a key that is
 * there all the time is in exactly one step, whatever the table's size is by
 * then: bucket numbers are leading hash bits, which every size keeps in order.
 */
#include "guard/wipe.h"
#include "shm/granule.h"
#include "shm/slab.h"
#include "store/map.h"
#include "store/seal.h"
#include "store/table.h"
#include "sys/fault.h"

#include <errno.h>
#include <stdlib.h>

enum { RESTART = 100, NO_ROOM };

struct out {
	uint8_t *buf;
	size_t capacity, used, needed; /* needed: of this bucket alone */
	size_t found;
	const ltz_key *prefix;
	uint64_t now_ms;
	bool stored;   /* the keys as they lie in the pool, of hidden names the marks; nothing is opened */
	uint8_t *name; /* else, in a sealed pool: LTZ_KEY_MAX bytes for one key */
};

/* One bucket's place in hash order. last: its last position. */
struct range {
	uint64_t from, last;
};

static bool in_range(const struct ltz_mem *mem, uint64_t word, const struct range *range)
{
	unsigned bits = hash_bits(mem);
	uint64_t position = (word & ~(SLOT_FROZEN | SLOT_RECORD)) >> mem->ref_bits << (64 - bits);

	return position >= range->from && position <= range->last;
}

/* key: in the pool or private. */
static bool has_prefix(const struct ltz_scan_entry *entry, const uint8_t *key, const ltz_key *prefix)
{
	return !prefix || (entry->type == prefix->type && entry->size >= prefix->size && equal_in_pool(key, prefix->data, prefix->size));
}

/*
 * The key of a record and where it lies. 0; LTZ_NOT_FOUND: the record is none
 * that a scan shows, as it was tampered with; or a failure.
 */
static int key_at(struct ltz_mem *mem, const struct out *out, const struct shm_record *rec, uint64_t version,
                  const struct ltz_look *look, struct ltz_scan_entry *entry, const uint8_t **key)
{
	int result;

	entry->version = version;
	entry->size = meta_key_size(look->meta);
	entry->type = (uint8_t)meta_key_type(look->meta);
	*key = (const uint8_t *)rec + look->key_offset;
	if (likely(!mem->seal || out->stored))
		return 0;
	if (!mem->hidden_names && !has_prefix(entry, *key, out->prefix))
		return 0; /* the caller sees that too; the tag is not worth its time */
	result = ltz__seal_name(mem->seal, rec, version, look, out->name, &entry->size, &entry->type);
	*key = out->name;
	return result == -EBADMSG ? LTZ_NOT_FOUND : result;
}

/* Appends one key; what it wrote counts only after the bucket was validated. 0, RESTART, or a failure. */
static int append(struct ltz_mem *mem, struct out *out, const uint64_t *slot, uint64_t word)
{
	uint64_t ref = word & mem->ref_mask, room = ref_room(mem, ref), version;
	const struct shm_record *rec = at_ref(mem, ref);
	struct ltz_scan_entry entry = {0};
	struct ltz_look look;
	const uint8_t *key;
	size_t bytes;
	int result;

	if (room < sizeof(*rec))
		return RESTART;
	version = load_acquire(&rec->version);
	if (!version || !record_look(rec, room, load_acquire(&rec->meta), &look))
		return RESTART;
	result = key_at(mem, out, rec, version, &look, &entry, &key);
	if (result < 0)
		return result;
	bytes = (sizeof(entry) + entry.size + 7) & ~(size_t)7;
	if (result == 0 && look.expires_ms > out->now_ms && has_prefix(&entry, key, out->prefix)) {
		out->needed += bytes;
		if (out->used + bytes <= out->capacity) {
			uint8_t *to = out->buf + out->used;

			memset(to + bytes - 8, 0, 8);
			memcpy(to, &entry, sizeof(entry));
			copy_from_pool(to + sizeof(entry), key, entry.size);
			out->used += bytes;
			out->found++;
		}
	}
	fence_acquire();
	if (slot && (load_acquire(slot) & ~SLOT_FROZEN) != word)
		return RESTART;
	return load_acquire(&rec->version) == version ? 0 : RESTART;
}

static int take_slots(struct ltz_mem *mem, struct out *out, const struct ltz_table *table, struct shm_bucket *bucket,
                      uint64_t pending, const struct range *range)
{
	struct ltz_walk walk;
	int result;

	walk_begin(&walk, table, bucket);
	do {
		for (unsigned i = 0; i < walk.count; i++) {
			uint64_t w = load_acquire(&walk.slot[i]) & ~SLOT_FROZEN;

			if (!(w & SLOT_RECORD) || w == pending || !in_range(mem, w, range))
				continue;
			result = append(mem, out, &walk.slot[i], w);
			if (result)
				return result;
		}
		result = ltz__walk_next(&walk);
	} while (result > 0);
	return result < 0 ? RESTART : 0;
}

static int take_bucket(struct ltz_mem *mem, struct out *out, const struct ltz_table *table, struct shm_bucket *bucket,
                       const struct range *range)
{
	uint64_t a = load_acquire(&bucket->ctrl.a), pending = 0;
	int result;

	if (ctrl_state(a) == CTRL_UNBORN)
		return RESTART;
	if (ctrl_state(a) == CTRL_PENDING) {
		pending = load_acquire(&bucket->ctrl.b);
		if ((pending & SLOT_RECORD) && in_range(mem, pending, range)) {
			result = append(mem, out, NULL, pending);
			if (result)
				return result;
		}
	}
	result = take_slots(mem, out, table, bucket, pending, range);
	if (result)
		return result;
	fence_acquire();
	return load_acquire(&bucket->ctrl.a) == a ? 0 : RESTART; /* a key may have changed its slot */
}

static uint64_t last_of(uint64_t bucket, unsigned log2) { return ((bucket + 1) << (64 - log2)) - 1; }

/* The bucket that covers range->from; sets range->last. */
static int take_place(struct ltz_mem *mem, struct out *out, struct range *range)
{
	struct ltz_root root;
	struct shm_bucket *bucket;
	uint64_t t;
	int result = ltz__root_read(mem, &root);

	if (result < 0)
		return result == -ESHUTDOWN ? result : RESTART;
	t = bucket_of_hash(range->from, root.cur.log2);
	bucket = &root.cur.shm->bucket[t];
	range->last = last_of(t, root.cur.log2);
	if (ctrl_state(load_acquire(&bucket->ctrl.a)) != CTRL_UNBORN) {
		result = take_bucket(mem, out, &root.cur, bucket, range);
	} else if (has_prev(&root)) {
		uint64_t s = bucket_of_hash(range->from, root.prev.log2), last = last_of(s, root.prev.log2);

		if (last < range->last)
			range->last = last;
		result = take_bucket(mem, out, &root.prev, &root.prev.shm->bucket[s], range);
		if (ctrl_state(load_acquire(&bucket->ctrl.a)) != CTRL_UNBORN)
			return RESTART;
	} else {
		return RESTART;
	}
	return load_acquire(&mem->header->root) == root.word ? result : RESTART;
}

/* take_place until it is valid. 0, NO_ROOM (nothing was added; out->needed says how much), or a failure. */
static int take_validated(struct ltz_mem *mem, struct out *out, struct range *range)
{
	size_t used = out->used, found = out->found;

	for (unsigned i = 0; i < RESTARTS_MAX; i++) {
		int result;

		out->used = used;
		out->found = found;
		out->needed = 0;
		result = take_place(mem, out, range);
		if (result == RESTART)
			continue;
		if (result == 0 && used + out->needed > out->capacity) {
			out->used = used;
			out->found = found;
			return NO_ROOM;
		}
		return result;
	}
	return damage_or_end(mem, -EUCLEAN);
}

/* Results of ltz_scan. */
static int scan(struct ltz_mem *mem, struct out *out, uint64_t *cursor, size_t count, size_t *used)
{
	struct range range = {.from = *cursor};

	out->now_ms = map_now_ms(mem);
	do {
		int result = take_validated(mem, out, &range);

		if (result == NO_ROOM) {
			if (out->used)
				break;
			*used = out->needed;
			return LTZ_TRUNCATED;
		}
		if (result)
			return result;
		range.from = range.last + 1; /* 0: past the end */
	} while (range.from && out->found < count);
	*cursor = range.from;
	*used = out->used;
	return 0;
}

int ltz__map_scan(struct ltz_mem *mem, uint64_t *cursor, size_t count, const ltz_key *prefix,
                  void *buf, size_t capacity, size_t *used)
{
	struct out out = {.buf = buf, .capacity = capacity, .prefix = prefix};
	int result;

	if (mem->seal) {
		out.name = LTZ_PTR_CALL(NULL, calloc(1, LTZ_KEY_MAX));
		if (!out.name)
			return -ENOMEM;
	}
	result = scan(mem, &out, cursor, count, used);
	if (mem->seal)
		ltz__wipe(out.name, LTZ_KEY_MAX);
	free(out.name);
	return result;
}

/* ---- clear and count ------------------------------------------------------------------ */

static int delete_entries(struct ltz_mem *mem, const uint8_t *buf, size_t used, uint64_t *removed)
{
	for (size_t at = 0; at < used;) {
		struct ltz_scan_entry entry;
		struct ltz_hkey key;
		int result;

		memcpy(&entry, buf + at, sizeof(entry));
		hkey_init_stored(mem, &key, entry.type, buf + at + sizeof(entry), entry.size);
		result = ltz__map_delete(mem, &key, 0);
		if (result < 0)
			return result;
		*removed += result == 0;
		at += (sizeof(entry) + entry.size + 7) & ~(size_t)7;
	}
	return 0;
}

int ltz__map_clear(struct ltz_mem *mem, uint64_t *removed)
{
	uint64_t cursor = 0, count = 0;
	size_t capacity = LTZ_SCAN_BUFFER, used = 0;
	uint8_t *buf = LTZ_PTR_CALL(NULL, malloc(capacity));
	int result = buf ? 0 : -ENOMEM;

	while (result == 0) {
		struct out out = {.buf = buf, .capacity = capacity, .stored = true};

		result = scan(mem, &out, &cursor, 1000, &used);
		if (result == LTZ_TRUNCATED) {
			uint8_t *more = LTZ_PTR_CALL(NULL, realloc(buf, used));

			result = more ? 0 : -ENOMEM;
			if (more) {
				buf = more;
				capacity = used;
			}
			continue;
		}
		if (result == 0)
			result = delete_entries(mem, buf, used, &count);
		if (!cursor)
			break;
	}
	free(buf);
	if (removed)
		*removed = count;
	return result;
}

uint64_t ltz__map_count(const struct ltz_mem *mem)
{
	uint64_t high = ltz__granules_high(mem), count = 0;

	for (uint64_t g = 0; g < high; g++) {
		uint64_t owner = owner_load(mem, g);
		const struct shm_extent *extent = at_granule(mem, g);
		struct ltz_shape shape;

		if (owner_kind(owner) != OWNER_SLAB && owner_kind(owner) != OWNER_RUN)
			continue;
		if (ltz__extent_shape(mem, g, owner, &shape) < 0)
			continue;
		for (uint32_t w = 0; w < shape.words; w++) {
			uint64_t retired = load_acquire(&extent->bits[shape.words + w]);

			count += (uint64_t)__builtin_popcountll(load_acquire(&extent->bits[w]) & ~retired);
		}
	}
	return count;
}
