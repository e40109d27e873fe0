/* SPDX-License-Identifier: MIT */
/* ops.c - the public operations: arguments checked, then the map. What they promise is in latzero.h. */
#include "pool/pool.h"
#include "store/map.h"

#include <errno.h>

/* Longest remaining life: 2^53 ms, 285,000 years; what a double of milliseconds still counts exactly. */
#define TTL_MAX_MS (UINT64_C(1) << 53)

static inline bool key_is_valid(const ltz_key *key) { return key->size <= LTZ_KEY_MAX && key->type >= 1 && key->type <= 7; }

/* The memory behind the handle, and the hashed key. */
static inline int enter_read(ltz_pool *pool, const ltz_key *key, struct ltz_mem **mem, struct ltz_hkey *hkey)
{
	int result;

	if (!key_is_valid(key))
		return -EINVAL;
	result = ltz__pool_enter(pool, mem);
	if (result < 0)
		return result;
	hkey_init(*mem, hkey, key->type, key->data, key->size);
	return 0;
}

static inline int enter_write(ltz_pool *pool, const ltz_key *key, struct ltz_mem **mem, struct ltz_hkey *hkey)
{
	return pool->readonly ? -EROFS : enter_read(pool, key, mem, hkey);
}

int ltz_get(ltz_pool *pool, const ltz_key *key, void *buf, size_t capacity, ltz_item *item)
{
	struct ltz_mem *mem;
	struct ltz_hkey hkey;
	int result = enter_read(pool, key, &mem, &hkey);

	return result < 0 ? result : ltz__map_get(mem, &hkey, buf, capacity, item);
}

int ltz_set(ltz_pool *pool, const ltz_key *key, const ltz_value *value, const struct ltz_set_options *options, uint64_t *version)
{
	struct ltz_mem *mem;
	struct ltz_hkey hkey;
	int result = enter_write(pool, key, &mem, &hkey);

	if (result < 0)
		return result;
	if (options && (options->ttl_ms > TTL_MAX_MS || options->flags >= LTZ_IF_VERSION << 1))
		return -EINVAL;
	return ltz__map_set(mem, &hkey, value, options, version);
}

int ltz_delete(ltz_pool *pool, const ltz_key *key, uint64_t if_version)
{
	struct ltz_mem *mem;
	struct ltz_hkey hkey;
	int result = enter_write(pool, key, &mem, &hkey);

	return result < 0 ? result : ltz__map_delete(mem, &hkey, if_version);
}

int ltz_pop(ltz_pool *pool, const ltz_key *key, void *buf, size_t capacity, ltz_item *item)
{
	struct ltz_mem *mem;
	struct ltz_hkey hkey;
	int result = enter_write(pool, key, &mem, &hkey);

	return result < 0 ? result : ltz__map_pop(mem, &hkey, buf, capacity, item);
}

static bool is_number(ltz_number n) { return n.type == LTZ_INT64 || n.type == LTZ_FLOAT64; }

int ltz_add(ltz_pool *pool, const ltz_key *key, ltz_number by, ltz_number initial, ltz_number *sum, uint8_t *item_type)
{
	struct ltz_mem *mem;
	struct ltz_hkey hkey;
	int result = enter_write(pool, key, &mem, &hkey);

	if (result < 0)
		return result;
	if (!is_number(by) || !is_number(initial))
		return -EINVAL;
	return ltz__map_add(mem, &hkey, by, initial, sum, item_type);
}

int ltz_expire(ltz_pool *pool, const ltz_key *key, uint64_t ttl_ms)
{
	struct ltz_mem *mem;
	struct ltz_hkey hkey;
	int result = enter_write(pool, key, &mem, &hkey);

	if (result < 0)
		return result;
	return ttl_ms > TTL_MAX_MS ? -EINVAL : ltz__map_expire(mem, &hkey, ttl_ms);
}

/* ---- many keys ------------------------------------------------------------------------ */

#define PREFETCH_MOST 64u

void ltz_prefetch(ltz_pool *pool, const ltz_key *keys, size_t count)
{
	struct ltz_hkey hkey[PREFETCH_MOST];
	struct ltz_mem *mem;

	if (count > PREFETCH_MOST)
		count = PREFETCH_MOST;
	if (ltz__pool_enter(pool, &mem) < 0 || !ltz__map_is_far(mem))
		return; /* what is near needs no hint, and hashing twice is not free */
	for (size_t i = 0; i < count; i++) {
		if (!key_is_valid(&keys[i]))
			return;
		hkey_init(mem, &hkey[i], keys[i].type, keys[i].data, keys[i].size);
		ltz__map_prefetch_bucket(mem, &hkey[i]);
	}
	for (size_t i = 0; i < count; i++)
		ltz__map_prefetch_record(mem, &hkey[i]);
}

int ltz_count(ltz_pool *pool, uint64_t *count)
{
	struct ltz_mem *mem;
	int result = ltz__pool_enter(pool, &mem);

	if (result < 0)
		return result;
	if (ltz__mem_destroyed(mem))
		return -ESHUTDOWN;
	*count = ltz__map_count(mem);
	return 0;
}

int ltz_clear(ltz_pool *pool, uint64_t *removed)
{
	struct ltz_mem *mem;
	int result = pool->readonly ? -EROFS : ltz__pool_enter(pool, &mem);

	return result < 0 ? result : ltz__map_clear(mem, removed);
}

int ltz_scan(ltz_pool *pool, uint64_t *cursor, size_t count, const ltz_key *prefix, void *buf, size_t capacity, size_t *used)
{
	struct ltz_mem *mem;
	int result = ltz__pool_enter(pool, &mem);

	if (result < 0)
		return result;
	if (prefix && !key_is_valid(prefix))
		return -EINVAL;
	return ltz__map_scan(mem, cursor, count, prefix, buf, capacity, used);
}
