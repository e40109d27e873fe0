/* SPDX-License-Identifier: MIT */
/* slab.c - allocating, retiring and freeing blocks. Procedure names are those of docs/design/protocol-memory.md. */
#include "shm/slab.h"

#include "shm/granule.h"
#include "sys/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- a lane's list of extents ------------------------------------------------------ */

static int grow_extents(struct ltz_lane *lane)
{
	uint32_t room = lane->extents_room ? 2 * lane->extents_room : 64;
	struct ltz_extent *more = LTZ_PTR_CALL(NULL, realloc(lane->extent, room * sizeof(*more)));

	if (!more)
		return -ENOMEM;
	lane->extent = more;
	lane->extents_room = room;
	return 0;
}

int ltz__extent_reserve(struct ltz_lane *lane)
{
	return lane->unused || lane->extents < lane->extents_room ? 0 : grow_extents(lane);
}

int ltz__extent_add(struct ltz_lane *lane, const struct ltz_extent *extent)
{
	uint32_t i;

	if (lane->unused) {
		i = lane->unused - 1;
		lane->unused = lane->extent[i].next;
	} else {
		if (ltz__extent_reserve(lane) < 0)
			return -ENOMEM;
		i = lane->extents++;
	}
	lane->extent[i] = *extent;
	lane->extent[i].listed = 0;
	lane->extent[i].next = 0;
	return (int)i;
}

void ltz__extent_forget(struct ltz_lane *lane, uint32_t i)
{
	struct ltz_extent *extent = &lane->extent[i];

	extent->state = EXTENT_NONE;
	if (extent->listed)
		return; /* whoever takes it out of its list puts it among the unused */
	extent->next = lane->unused;
	lane->unused = i + 1;
}

static struct ltz_cursor *cursor_of(struct ltz_lane *lane, unsigned cls)
{
	return &lane->cursor[CLS_INDEX(cls) + (cls & CLS_EXPIRING ? CLASSES_MAX : 0)];
}

void ltz__extent_list(struct ltz_lane *lane, uint32_t i)
{
	struct ltz_extent *extent = &lane->extent[i];
	struct ltz_cursor *cursor = cursor_of(lane, extent->cls);

	if (cursor->extent == i + 1)
		cursor->behind = 1; /* it is current: its earlier words are looked at once more before it is left */
	if (extent->listed || cursor->extent == i + 1)
		return;
	extent->listed = 1;
	extent->next = cursor->room;
	cursor->room = i + 1;
}

/* ---- the cursor ------------------------------------------------------------------------ */

static uint64_t valid_bits(const struct ltz_class *cls, uint32_t word)
{
	uint32_t left = cls->blocks - word * 64;

	return left >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << left) - 1;
}

static void set_cursor(struct ltz_mem *mem, struct ltz_lane *lane, struct ltz_cursor *cursor, uint32_t i)
{
	const struct ltz_extent *extent = &lane->extent[i];
	const struct ltz_class *cls = &mem->cls[CLS_INDEX(extent->cls)];
	struct shm_extent *shm = at_granule(mem, extent->granule);

	cursor->alloc = shm->bits;
	cursor->word = 0;
	cursor->behind = 0;
	cursor->extent = i + 1;
	cursor->base_ref = ((uint64_t)extent->granule << (SHM_GRANULE_LOG2 - SHM_UNIT_LOG2)) + cls->first_units;
	cursor->free_mask = ~load_relaxed(&shm->bits[0]) & valid_bits(cls, 0);
}

static void drop_cursor(struct ltz_lane *lane, struct ltz_cursor *cursor)
{
	uint32_t extent = cursor->extent;

	cursor->alloc = NULL;
	cursor->free_mask = 0;
	cursor->behind = 0;
	cursor->extent = 0;
	if (extent)
		ltz__extent_list(lane, extent - 1); /* at worst it has no room: then it leaves the list when tried */
}

void ltz__lane_drop_cursors(struct ltz_lane *lane)
{
	for (unsigned i = 0; i < 2 * CLASSES_MAX; i++)
		if (lane->cursor[i].extent)
			drop_cursor(lane, &lane->cursor[i]);
}

/* Goes on to the next word of the current slab that has a free block. */
static bool advance_word(const struct ltz_class *cls, struct ltz_cursor *cursor)
{
	if (!cursor->alloc)
		return false;
	while (!cursor->free_mask && cursor->word + 1 < cls->words) {
		cursor->word++;
		cursor->free_mask = ~load_relaxed(&cursor->alloc[cursor->word]) & valid_bits(cls, cursor->word);
	}
	return cursor->free_mask != 0;
}

/* Makes the next slab with room current. */
static bool next_listed(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_class *cls, struct ltz_cursor *cursor)
{
	while (cursor->room) {
		uint32_t i = cursor->room - 1;
		struct ltz_extent *extent = &lane->extent[i];

		cursor->room = extent->next;
		extent->listed = 0;
		if (extent->state != EXTENT_SLAB) {
			if (extent->state == EXTENT_NONE)
				ltz__extent_forget(lane, i);
			continue;
		}
		set_cursor(mem, lane, cursor, i);
		if (cursor->free_mask || advance_word(cls, cursor))
			return true;
		cursor->alloc = NULL;
		cursor->extent = 0;
	}
	return false;
}

/* ---- new extents --------------------------------------------------------------------------- */

/* CLAIM EXTENT; the header is written inside CLAIM. Returns the entry's index or a failure. */
static int64_t make_extent(struct ltz_mem *mem, struct ltz_lane *lane, enum owner_kind kind, unsigned low,
                           uint32_t granules, uint32_t words)
{
	int64_t head = ltz__granules_claim(mem, lane, granules);
	struct ltz_extent extent;
	struct shm_extent *shm;
	int index;

	if (head < 0)
		return head;
	extent = (struct ltz_extent){
		.granule = (uint32_t)head, .granules = granules, .cls = (uint16_t)(kind == OWNER_SLAB ? low : 0),
		.state = kind == OWNER_SLAB ? EXTENT_SLAB : EXTENT_RUN,
	};
	index = ltz__extent_add(lane, &extent);
	if (index < 0) {
		ltz__granules_release(mem, lane, (uint64_t)head, granules);
		return -ENOSPC;
	}
	shm = at_granule(mem, (uint64_t)head);
	/* release, all of it: a value that lay here may still be being copied. pairs with: store/read.c:try_slot */
	store_release(&shm->due, SHM_NEVER);
	for (uint32_t i = 0; i < words; i++) /* retired, then alloc */
		store_release(&shm->bits[words + i], 0);
	for (uint32_t i = 0; i < words; i++)
		store_release(&shm->bits[i], 0);
	LTZ_CRASH_POINT("shm.header_written");
	ltz__granules_form(mem, lane, (uint64_t)head, granules, kind, low);
	return index;
}

/* ---- ALLOC ------------------------------------------------------------------------------------- */

/* Steps 1 to 3. The block's version must read 0 before its alloc bit reads 1, and before any content. */
LTZ_INLINE void take_block(struct ltz_mem *mem, uint64_t *alloc, uint64_t bit, uint64_t ref)
{
	/* release: in a new extent this may be where a value is still being copied. pairs with: store/read.c:try_slot */
	store_release(&at_ref(mem, ref)->version, 0);
	LTZ_CRASH_POINT("shm.version_reset");
	/* pairs with: shm/adopt.c:adopt_intent (alloc bit, then version) */
	store_release(alloc, load_relaxed(alloc) | bit);
	LTZ_CRASH_POINT("shm.block_taken");
	/* content after version 0: a late reader of the block's last life must see that it ended */
	fence_release();
}

static void take_from_cursor(struct ltz_mem *mem, const struct ltz_class *cls, struct ltz_cursor *cursor, struct ltz_block *block)
{
	unsigned bit = (unsigned)__builtin_ctzll(cursor->free_mask);

	cursor->free_mask &= cursor->free_mask - 1;
	block->ref = cursor->base_ref + (cursor->word * 64 + bit) * (uint64_t)cls->units;
	block->bytes = (uint64_t)cls->units << SHM_UNIT_LOG2;
	take_block(mem, &cursor->alloc[cursor->word], UINT64_C(1) << bit, block->ref);
}

/* How many extents a reclaim on the way of an allocation may look at. */
#define RECLAIM_STEP     32u
#define RECLAIM_STEP_RUN 128u /* a large value is worth a longer look */

/* The current slab is full: another one with room, a cheap reclaim, a new slab. */
static LTZ_NOINLINE bool refill_cursor(struct ltz_mem *mem, struct ltz_lane *lane, unsigned cls_id, struct ltz_cursor *cursor)
{
	const struct ltz_class *cls = &mem->cls[CLS_INDEX(cls_id)];
	int64_t made;

	if (advance_word(cls, cursor))
		return true;
	if (cursor->behind) { /* blocks of words gone by came free meanwhile */
		set_cursor(mem, lane, cursor, cursor->extent - 1);
		if (cursor->free_mask || advance_word(cls, cursor))
			return true;
	}
	cursor->alloc = NULL;
	cursor->behind = 0;
	cursor->extent = 0; /* from here on it is an extent like others: reclaim lists it again */
	if (next_listed(mem, lane, cls, cursor))
		return true;
	if (unlikely(granules_scarce(mem))) { /* a slab for every size is more than a small pool has */
		ltz__lane_drop_cursors(lane);
		ltz__lane_reclaim(mem, lane, UINT32_MAX, RECLAIM_IDLE);
	} else {
		ltz__lane_reclaim(mem, lane, RECLAIM_STEP, RECLAIM_CHEAP);
	}
	if (next_listed(mem, lane, cls, cursor))
		return true;
	made = make_extent(mem, lane, OWNER_SLAB, cls_id, cls->granules, cls->words);
	if (made < 0)
		return false;
	set_cursor(mem, lane, cursor, (uint32_t)made);
	return true;
}

void ltz__process_reclaim(struct ltz_mem *mem, struct ltz_lane *lane)
{
	for (unsigned i = 0; i < SHM_LANES; i++) {
		struct ltz_lane *other = &mem->lane[i];

		if (other != lane && !lane_try(other))
			continue;
		if (other->cursor) {
			ltz__lane_drop_cursors(other);
			ltz__lane_reclaim(mem, other, UINT32_MAX, RECLAIM_IDLE);
		}
		if (other != lane)
			lane_give(other);
	}
}

/* A larger block from a slab that has room; better than none in a full pool. */
static bool take_larger(struct ltz_mem *mem, struct ltz_lane *lane, unsigned cls_id, struct ltz_block *block)
{
	for (unsigned c = CLS_INDEX(cls_id); c < mem->classes; c++) {
		struct ltz_cursor *cursor = cursor_of(lane, c | (cls_id & CLS_EXPIRING));

		if (cursor->free_mask || advance_word(&mem->cls[c], cursor) || next_listed(mem, lane, &mem->cls[c], cursor)) {
			take_from_cursor(mem, &mem->cls[c], cursor, block);
			return true;
		}
	}
	return false;
}

static int alloc_run(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t bytes, struct ltz_block *block)
{
	uint64_t granules = (bytes + sizeof(struct shm_extent) + 64 + SHM_GRANULE - 1) >> SHM_GRANULE_LOG2;
	struct ltz_shape shape;
	struct shm_extent *shm;
	int64_t made;

	if (granules > SHM_RUN_MAX)
		return -ENOSPC;
	ltz__lane_reclaim(mem, lane, RECLAIM_STEP_RUN, RECLAIM_CHEAP);
	made = make_extent(mem, lane, OWNER_RUN, (unsigned)granules, (uint32_t)granules, 1);
	if (made < 0) {
		ltz__process_reclaim(mem, lane);
		made = make_extent(mem, lane, OWNER_RUN, (unsigned)granules, (uint32_t)granules, 1);
		if (made < 0)
			return (int)made;
	}
	shm = at_granule(mem, lane->extent[made].granule);
	ltz__extent_shape(mem, lane->extent[made].granule, owner_make(OWNER_RUN, lane->label, (unsigned)granules), &shape);
	block->ref = shape.first_ref;
	block->bytes = shape.bytes;
	take_block(mem, &shm->bits[0], 1, block->ref);
	return 0;
}

int ltz__block_alloc(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t bytes, bool expiring, struct ltz_block *block)
{
	struct ltz_cursor *cursor;
	unsigned cls, id;

	if (unlikely(bytes > mem->space_bytes))
		return -ENOSPC;
	cls = ltz__class_of(mem, (bytes + 31) >> SHM_UNIT_LOG2);
	if (unlikely(cls == mem->classes))
		return alloc_run(mem, lane, bytes, block);
	id = cls | (expiring ? CLS_EXPIRING : 0);
	cursor = cursor_of(lane, id);
	if (unlikely(!cursor->free_mask) && !refill_cursor(mem, lane, id, cursor)) {
		ltz__process_reclaim(mem, lane);
		if (!refill_cursor(mem, lane, id, cursor))
			return take_larger(mem, lane, id, block) ? 0 : -ENOSPC;
	}
	take_from_cursor(mem, &mem->cls[cls], cursor, block);
	return 0;
}

void ltz__block_free(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t ref)
{
	struct ltz_cursor *cursor;
	struct ltz_place place;

	if (ltz__block_place(mem, ref, &place) < 0 || (place.owner & LABEL_MASK) != lane->label)
		return; /* damaged owner word: the block stays allocated, check() tells */
	store_release(place.alloc, load_relaxed(place.alloc) & ~place.bit);
	LTZ_CRASH_POINT("shm.block_freed");
	if (owner_kind(place.owner) != OWNER_SLAB)
		return;
	cursor = cursor_of(lane, owner_low(place.owner));
	if (cursor->alloc && place.alloc == &cursor->alloc[cursor->word])
		cursor->free_mask |= place.bit; /* may be taken again at once */
	else if (cursor->extent && lane->extent[cursor->extent - 1].granule == place.head)
		cursor->behind = 1;
}

/* The usual case: a slab of one granule. NULL: another kind of extent, or nonsense. */
static uint64_t *retired_word_in_slab(struct ltz_mem *mem, uint64_t ref, uint64_t *bit)
{
	uint64_t head = ref_granule(ref), owner = owner_load(mem, head), distance, index;
	const struct ltz_class *cls = &mem->cls[CLS_INDEX(owner_low(owner)) % CLASSES_MAX];
	struct shm_extent *extent = at_granule(mem, head);

	if (owner_kind(owner) != OWNER_SLAB)
		return NULL;
	distance = (ref & ((1u << (SHM_GRANULE_LOG2 - SHM_UNIT_LOG2)) - 1)) - cls->first_units;
	index = distance * cls->reciprocal >> 32;
	if (index >= cls->blocks || index * cls->units != distance)
		return NULL;
	*bit = UINT64_C(1) << index % 64;
	return &extent->bits[cls->words + index / 64];
}

void ltz__block_retire(struct ltz_mem *mem, uint64_t ref)
{
	struct ltz_place place;
	uint64_t *retired, bit;

	if (unlikely(ref >= mem->units))
		return;
	retired = retired_word_in_slab(mem, ref, &bit);
	if (unlikely(!retired)) {
		if (ltz__block_place(mem, ref, &place) < 0)
			return;
		retired = place.retired;
		bit = place.bit;
	}
	/* release: the unlink and all use of the block come before its reuse. pairs with: shm/reclaim.c:collect_word */
	fetch_or_release(retired, bit);
	LTZ_CRASH_POINT("shm.block_retired");
}
