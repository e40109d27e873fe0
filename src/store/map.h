/* SPDX-License-Identifier: MIT */
/*
 * map.h - the map as the pool floor sees it: joining, and every operation.
 * Arguments are checked by the callers; results are those of latzero.h.
 */
#ifndef LTZ_STORE_MAP_H
#define LTZ_STORE_MAP_H

#include <latzero.h>

#include "shm/attachment.h"
#include "store/record.h"

/* ltz__mem_attach, and the first table if the pool has none. */
int ltz__map_attach(int fd, const struct ltz_mem_options *options, struct ltz_mem **out);
void ltz__map_detach(struct ltz_mem *mem);
void ltz__map_abandon(struct ltz_mem *mem); /* in a forked child */

/* Milliseconds of the pool's clock, for expiry. */
LTZ_INLINE uint64_t map_now_ms(const struct ltz_mem *mem) { return ltz__mem_now_ns(mem) / 1000000; }

/* What remains until expires_ms, rounded down, but not 0 while the record is there; -1: it does not expire. */
LTZ_INLINE int64_t map_ttl_ms(uint64_t expires_ms, uint64_t now_ns)
{
	int64_t left = (int64_t)(expires_ms - (now_ns + 999999) / 1000000);

	return expires_ms == SHM_NEVER ? -1 : left > 0 ? left : 1;
}

/* GET of docs/design/protocol-index.md. Stores nothing in the pool but the own row's counters. */
int ltz__map_get(struct ltz_mem *mem, const struct ltz_hkey *key, void *buf, size_t capacity, ltz_item *item);

int ltz__map_set(struct ltz_mem *mem, const struct ltz_hkey *key, const ltz_value *value,
                 const struct ltz_set_options *options, uint64_t *version);
int ltz__map_delete(struct ltz_mem *mem, const struct ltz_hkey *key, uint64_t if_version);
int ltz__map_pop(struct ltz_mem *mem, const struct ltz_hkey *key, void *buf, size_t capacity, ltz_item *item);
int ltz__map_add(struct ltz_mem *mem, const struct ltz_hkey *key, ltz_number by, ltz_number initial,
                 ltz_number *sum, uint8_t *item_type);
int ltz__map_expire(struct ltz_mem *mem, const struct ltz_hkey *key, uint64_t ttl_ms);
/* Deletes the record in block ref if it is still the key's and past its expiry. 0, LTZ_NOT_FOUND. */
int ltz__map_expel(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_hkey *key, uint64_t ref, uint64_t now_ms);

/* Is the index so large that its lines are probably not near? */
bool ltz__map_is_far(const struct ltz_mem *mem);
void ltz__map_prefetch_bucket(struct ltz_mem *mem, const struct ltz_hkey *key);
void ltz__map_prefetch_record(struct ltz_mem *mem, const struct ltz_hkey *key);

int ltz__map_scan(struct ltz_mem *mem, uint64_t *cursor, size_t count, const ltz_key *prefix,
                  void *buf, size_t capacity, size_t *used);
int ltz__map_clear(struct ltz_mem *mem, uint64_t *removed);

/* Allocated, not retired blocks of all slabs and runs. */
uint64_t ltz__map_count(const struct ltz_mem *mem);

/* struct ltz_index_ops: for adoption. */
int ltz__map_refers(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t ref, uint64_t bytes);
void ltz__map_expect(const struct ltz_mem *mem, uint64_t ref, uint64_t bytes);

#endif
