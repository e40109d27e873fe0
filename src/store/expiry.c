/* SPDX-License-Identifier: MIT */
/* expiry.c - the sweep. */
#include "store/expiry.h"

#include "shm/granule.h"
#include "shm/slab.h"
#include "store/due.h"
#include "store/map.h"
#include "sys/fault.h"

#include <stdlib.h>

/* Deletes the record in block ref if it has expired. Returns when it is to be looked at again, or SHM_NEVER. */
static uint64_t sweep_block(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t ref, uint64_t bytes, uint64_t now,
                            uint8_t *key_copy, uint64_t *deleted)
{
	const struct shm_record *rec = at_ref(mem, ref);
	/* 0: not complete; its writer lowers due after this. pairs with: store/due.h:due_announce */
	uint64_t version = load_acquire(&rec->version), meta = load_acquire(&rec->meta);
	struct ltz_look look;
	struct ltz_hkey key;

	if (!version || !record_look(rec, bytes, meta, &look) || look.expires_ms == SHM_NEVER)
		return SHM_NEVER;
	if (look.expires_ms > now)
		return look.expires_ms;
	copy_from_pool(key_copy, (const uint8_t *)rec + look.key_offset, meta_key_size(meta));
	fence_acquire();
	if (load_acquire(&rec->version) != version)
		return look.expires_ms; /* in other hands meanwhile: look again soon */
	hkey_init_stored(mem, &key, meta_key_type(meta), key_copy, meta_key_size(meta));
	if (ltz__map_expel(mem, lane, &key, ref, now) != 0)
		return now + DUE_SWEEP_LATE; /* not yet published, or of a dead writer: adoption settles that */
	LTZ_CRASH_POINT("store.expelled");
	++*deleted;
	return SHM_NEVER;
}

static uint64_t sweep_extent(struct ltz_mem *mem, struct ltz_lane *lane, struct shm_extent *extent,
                             const struct ltz_shape *shape, uint64_t now, uint8_t *key_copy, uint64_t *deleted)
{
	uint64_t marker = due_marker(mem->row_index, now), next = SHM_NEVER;

	exchange_seq_cst(&extent->due, marker); /* before versions are read. pairs with: store/due.h:due_announce */
	LTZ_CRASH_POINT("store.sweep_marked");
	for (uint32_t w = 0; w < shape->words; w++) {
		uint64_t bits = load_acquire(&extent->bits[w]) & ~load_acquire(&extent->bits[shape->words + w]);

		for (; bits; bits &= bits - 1) {
			uint64_t index = w * 64 + (unsigned)__builtin_ctzll(bits), again;

			if (index >= shape->blocks)
				break;
			again = sweep_block(mem, lane, shape->first_ref + index * shape->units, shape->bytes, now, key_copy, deleted);
			if (again < next)
				next = again;
		}
	}
	due_settle(extent, marker, next);
	LTZ_CRASH_POINT("store.sweep_closed");
	return next;
}

/*
 * The recovery hazard keeps the extent what its owner word says: its release
 * waits for whoever names a block in it. pairs with: shm/reclaim.c:finish_release
 */
static uint64_t sweep_pinned(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, uint64_t owner,
                             const struct ltz_shape *shape, uint64_t now, uint8_t *key_copy, uint64_t *deleted)
{
	uint64_t next = SHM_NEVER;

	store_release(&lane->shm->hr, shape->first_ref);
	LTZ_CRASH_POINT("store.sweep_pinned");
	fence_hazard(mem);
	if (owner_load(mem, head) == owner)
		next = sweep_extent(mem, lane, at_granule(mem, head), shape, now, key_copy, deleted);
	store_release(&lane->shm->hr, 0);
	LTZ_CRASH_POINT("store.sweep_released");
	return next;
}

uint64_t ltz__sweep(struct ltz_mem *mem, struct ltz_lane *lane, bool all, uint64_t *next_ms)
{
	uint64_t high = ltz__granules_high(mem), now = map_now_ms(mem), deleted = 0;
	uint8_t *key_copy = LTZ_PTR_CALL(NULL, malloc(LTZ_KEY_MAX + 1));

	*next_ms = key_copy ? SHM_NEVER : now; /* no memory: at the next tick */
	for (uint64_t g = 0; key_copy && g < high; g++) {
		uint64_t owner = owner_load(mem, g), due;
		struct shm_extent *extent = at_granule(mem, g);
		struct ltz_shape shape;

		if (owner_kind(owner) == OWNER_SLAB ? !(owner_low(owner) & CLS_EXPIRING) : owner_kind(owner) != OWNER_RUN)
			continue;
		due = load_acquire(&extent->due);
		if (due == SHM_NEVER || ltz__extent_shape(mem, g, owner, &shape) < 0)
			continue;
		if (all || due_is_come(due, now))
			due = sweep_pinned(mem, lane, g, owner, &shape, now, key_copy, &deleted);
		if (due < *next_ms)
			*next_ms = due;
	}
	free(key_copy);
	if (deleted)
		fetch_add_relaxed(&mem->header->expired, deleted);
	return deleted;
}
