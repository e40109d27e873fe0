/* SPDX-License-Identifier: MIT */
/*
 * reclaim.c - RECLAIM and RELEASE EXTENT of docs/design/protocol-memory.md, by
 * the owning lane, in batches: one barrier and one scan of hazards for many
 * blocks.
 */
#include "base/canary.h"
#include "shm/granule.h"
#include "shm/slab.h"
#include "sys/fault.h"

#include <stdlib.h>

#define BATCH_WORDS 1024u
#define WORTH_A_SCAN 32u /* blocks */

struct batch {
	uint32_t words, blocks, leaving;
	struct batch_word {
		uint32_t extent;
		uint32_t word;
		uint64_t bits;
	} word[BATCH_WORDS];
};

static bool extent_shape(const struct ltz_mem *mem, const struct ltz_lane *lane, const struct ltz_extent *extent, struct ltz_shape *shape)
{
	uint64_t owner = extent->state == EXTENT_SLAB ? owner_make(OWNER_SLAB, lane->label, extent->cls)
	                                              : owner_make(OWNER_RUN, lane->label, extent->granules);

	return (extent->state == EXTENT_SLAB || extent->state == EXTENT_RUN) &&
	       ltz__extent_shape(mem, extent->granule, owner, shape) == 0;
}

static uint64_t block_ref(const struct ltz_shape *shape, uint32_t word, unsigned bit)
{
	return shape->first_ref + (uint64_t)(word * 64 + bit) * shape->units;
}

/* Steps 1 and 2 for one word: notes its retired blocks and ends their versions. */
static void collect_word(struct ltz_mem *mem, const struct ltz_shape *shape, const struct shm_extent *shm,
                         uint32_t extent, uint32_t word, struct batch *batch)
{
	/* acquire: whoever retired them is done with them. pairs with: shm/slab.c:ltz__block_retire */
	uint64_t bits = load_acquire(&shm->bits[shape->words + word]);
	uint32_t left = shape->blocks - word * 64;

	if (left < 64)
		bits &= (UINT64_C(1) << left) - 1;
	if (!bits)
		return;
	batch->word[batch->words++] = (struct batch_word){extent, word, bits};
	/* release, as every store to memory that has served before. pairs with: store/read.c:try_slot */
	for (; bits; bits &= bits - 1, batch->blocks++) {
		store_release(&at_ref(mem, block_ref(shape, word, (unsigned)__builtin_ctzll(bits)))->version, 0);
		LTZ_CRASH_POINT("shm.version_ended");
	}
}

/* Step 5 for one word: of its blocks, those that no hazard names: retired bits first, then alloc bits. */
static uint64_t free_word(struct ltz_mem *mem, struct ltz_lane *lane, const struct batch_word *entry, const struct ltz_hazards *hazards)
{
	const struct ltz_extent *extent = &lane->extent[entry->extent];
	struct shm_extent *shm = at_granule(mem, extent->granule);
	uint64_t *alloc = &shm->bits[entry->word], mask = 0;
	struct ltz_shape shape;

	if (!extent_shape(mem, lane, extent, &shape))
		return 0;
	for (uint64_t bits = entry->bits; bits; bits &= bits - 1) {
		uint64_t ref = block_ref(&shape, entry->word, (unsigned)__builtin_ctzll(bits));

		if (!ltz__hazards_hold(hazards, ref, ref + 1))
			mask |= bits & -bits;
	}
	if (!mask)
		return 0;
	if (canary(CANARY_BITS_SWAPPED))
		store_release(alloc, load_relaxed(alloc) & ~mask);
	fetch_and_relaxed(&shm->bits[shape.words + entry->word], ~mask);
	LTZ_CRASH_POINT("shm.retired_cleared");
	/* release: a scanner that sees the block free sees it not retired */
	store_release(alloc, load_relaxed(alloc) & ~mask);
	LTZ_CRASH_POINT("shm.alloc_cleared");
	if (extent->state == EXTENT_SLAB)
		ltz__extent_list(lane, entry->extent);
	return (uint64_t)__builtin_popcountll(mask);
}

static bool is_empty(const struct ltz_shape *shape, const struct shm_extent *shm)
{
	for (uint32_t i = 0; i < shape->words; i++)
		if (load_relaxed(&shm->bits[i]))
			return false;
	return true;
}

/* RELEASE EXTENT step 1: nobody finds blocks in it any more; the scan is still to come. */
static bool begin_release(struct ltz_mem *mem, struct ltz_lane *lane, struct ltz_extent *extent)
{
	uint64_t owner = extent->state == EXTENT_SLAB ? owner_make(OWNER_SLAB, lane->label, extent->cls)
	                                              : owner_make(OWNER_RUN, lane->label, extent->granules);

	if (!owner_cas(mem, extent->granule, owner, owner_make(OWNER_CLAIM, lane->label, extent->granules)))
		return false;
	LTZ_CRASH_POINT("shm.leaving");
	extent->state = EXTENT_LEAVING;
	return true;
}

static bool is_current(const struct ltz_lane *lane, const struct ltz_extent *extent, uint32_t i)
{
	unsigned c = CLS_INDEX(extent->cls) + (extent->cls & CLS_EXPIRING ? CLASSES_MAX : 0);

	return extent->state == EXTENT_SLAB && lane->cursor[c].extent == i + 1;
}

/* Begins the release of an empty extent, unless it is better kept. */
static void consider_release(struct ltz_mem *mem, struct ltz_lane *lane, uint32_t i, enum reclaim_mode mode, struct batch *batch)
{
	struct ltz_extent *extent = &lane->extent[i];
	struct ltz_shape shape;

	if (!extent_shape(mem, lane, extent, &shape) || is_current(lane, extent, i) ||
	    !is_empty(&shape, at_granule(mem, extent->granule)))
		return;
	if (mode == RECLAIM_CHEAP && extent->state == EXTENT_SLAB && !granules_scarce(mem)) {
		unsigned c = CLS_INDEX(extent->cls) + (extent->cls & CLS_EXPIRING ? CLASSES_MAX : 0);

		if (lane->cursor[c].room == i + 1 && !lane->extent[i].next)
			return; /* its class' only slab with room */
	}
	if (begin_release(mem, lane, extent))
		batch->leaving++;
}

/* RELEASE EXTENT steps 2 to 4, or TEARDOWN, of what waits; hazards were read after its CLAIM. */
static void finish_release(struct ltz_mem *mem, struct ltz_lane *lane, uint32_t i, const struct ltz_hazards *hazards)
{
	struct ltz_extent *extent = &lane->extent[i];
	uint64_t from = (uint64_t)extent->granule << (SHM_GRANULE_LOG2 - SHM_UNIT_LOG2);
	uint64_t to = from + ((uint64_t)extent->granules << (SHM_GRANULE_LOG2 - SHM_UNIT_LOG2));

	if (ltz__hazards_hold(hazards, from, to))
		return; /* somebody may still set a bit in it: later */
	if (extent->state == EXTENT_LEAVING)
		ltz__granules_release(mem, lane, extent->granule, extent->granules);
	else if (!ltz__granules_teardown(mem, lane, extent->granule, extent->granules))
		return; /* later */
	ltz__extent_forget(lane, i);
}

static bool waits(const struct ltz_extent *extent) { return extent->state == EXTENT_LEAVING || extent->state == EXTENT_UNKNOWN; }

/* Phase one over extents [from, from + n) of the ring; returns how many fitted into the batch. */
static uint32_t collect(struct ltz_mem *mem, struct ltz_lane *lane, uint32_t from, uint32_t n, struct batch *batch)
{
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = (from + k) % lane->extents;
		struct ltz_shape shape;

		if (waits(&lane->extent[i]))
			batch->leaving++;
		if (!extent_shape(mem, lane, &lane->extent[i], &shape))
			continue;
		if (batch->words + shape.words > BATCH_WORDS)
			return k;
		for (uint32_t w = 0; w < shape.words; w++)
			collect_word(mem, &shape, at_granule(mem, lane->extent[i].granule), i, w, batch);
	}
	return n;
}

/* One batch: collect, scan, free, release. */
static uint64_t reclaim_batch(struct ltz_mem *mem, struct ltz_lane *lane, uint32_t from, uint32_t *n,
                              enum reclaim_mode mode, struct batch *batch)
{
	struct ltz_hazards hazards;
	uint64_t freed = 0;
	bool worth;

	batch->words = batch->blocks = batch->leaving = 0;
	*n = collect(mem, lane, from, *n, batch);
	worth = batch->blocks >= WORTH_A_SCAN || mode == RECLAIM_IDLE;
	for (uint32_t k = 0; k < batch->words && !worth; k++) /* a run is worth it alone */
		worth = lane->extent[batch->word[k].extent].state == EXTENT_RUN;
	if (batch->words && worth) {
		ltz__hazards_read(mem, &hazards); /* steps 3 and 4 */
		for (uint32_t k = 0; k < batch->words; k++)
			freed += free_word(mem, lane, &batch->word[k], &hazards);
		ltz__hazards_free(&hazards);
	}
	if (freed || mode == RECLAIM_IDLE)
		for (uint32_t k = 0; k < *n; k++)
			consider_release(mem, lane, (from + k) % lane->extents, mode, batch);
	if (!batch->leaving)
		return freed;
	ltz__hazards_read(mem, &hazards);
	for (uint32_t k = 0; k < *n; k++)
		if (waits(&lane->extent[(from + k) % lane->extents]))
			finish_release(mem, lane, (from + k) % lane->extents, &hazards);
	ltz__hazards_free(&hazards);
	return freed;
}

uint64_t ltz__lane_reclaim(struct ltz_mem *mem, struct ltz_lane *lane, uint32_t most, enum reclaim_mode mode)
{
	struct batch *batch;
	uint64_t freed = 0;
	uint32_t left = most < lane->extents ? most : lane->extents;

	if (!left)
		return 0;
	batch = LTZ_PTR_CALL(NULL, malloc(sizeof(*batch)));
	if (!batch)
		return 0;
	while (left) {
		uint32_t n = left < 256 ? left : 256;

		lane->reclaim_at %= lane->extents;
		freed += reclaim_batch(mem, lane, lane->reclaim_at, &n, mode, batch);
		lane->reclaim_at += n;
		left -= n;
		if (!n)
			break; /* cannot be: one extent has at most 32 words */
	}
	free(batch);
	return freed;
}
