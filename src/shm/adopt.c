/* SPDX-License-Identifier: MIT */
/* adopt.c - ADOPT of docs/design/protocol-memory.md. */
#include "shm/adopt.h"

#include "base/canary.h"
#include "shm/granule.h"
#include "shm/lane.h"
#include "shm/slab.h"
#include "sys/sys.h"

#include <errno.h>

/* A lane for the work: a caller's lane, so that what is adopted is allocated from again. */
static struct ltz_lane *take_lane(struct ltz_mem *mem)
{
	return ltz__lane_take_slow(mem);
}

/* Step 2 for one lane of the dead: was its last intent carried out but not noted? Then note it. */
static void adopt_intent(struct ltz_mem *mem, struct ltz_lane *lane, const struct shm_lane *dead)
{
	uint64_t ref = load_acquire(&dead->hw), version = load_acquire(&dead->vw);
	struct ltz_place place;

	if (!ref || !version || ref >= mem->units)
		return;
	store_release(&lane->shm->hr, ref);                                /* b */
	fence_hazard(mem);
	if (ltz__block_place(mem, ref, &place) == 0 &&                     /* c */
	    (load_acquire(place.alloc) & place.bit) &&                     /* d. pairs with: shm/slab.c:take_block */
	    load_acquire(&at_ref(mem, ref)->version) == version &&         /* e */
	    mem->index->refers(mem, lane, ref, place.bytes) == 0)          /* f */
		fetch_or_release(place.retired, place.bit);                /* g */
	store_release(&lane->shm->hr, 0);                                  /* h */
}

/* Step 3b for a slab or run just taken: what is allocated but in no index will never be. */
static void sweep(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, const struct ltz_shape *shape)
{
	struct shm_extent *shm = at_granule(mem, head);

	for (uint32_t w = 0; w < shape->words; w++) {
		uint64_t bits = load_acquire(&shm->bits[w]) & ~load_acquire(&shm->bits[shape->words + w]);

		for (; bits; bits &= bits - 1) {
			unsigned bit = (unsigned)__builtin_ctzll(bits);
			uint64_t index = w * 64 + bit;

			if (index >= shape->blocks)
				break;
			if (mem->index->refers(mem, lane, shape->first_ref + index * shape->units, shape->bytes) == 0)
				fetch_or_release(&shm->bits[shape->words + w], UINT64_C(1) << bit);
		}
	}
}

static bool label_is(uint64_t word, unsigned row, uint64_t generation)
{
	return label_row(word) == row && label_generation(word) == generation;
}

/* Remembers an extent taken; lists it if it may have room. */
static void remember(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, uint64_t word)
{
	unsigned kind = owner_kind(word), low = owner_low(word);
	struct ltz_extent extent = {.granule = (uint32_t)head, .granules = low};
	int index;

	switch (kind) {
	case OWNER_SLAB:
		extent.state = EXTENT_SLAB;
		extent.cls = (uint16_t)low;
		extent.granules = CLS_INDEX(low) < mem->classes ? mem->cls[CLS_INDEX(low)].granules : 1;
		break;
	case OWNER_RUN:
		extent.state = EXTENT_RUN;
		break;
	case OWNER_TABLE:
		extent.state = EXTENT_TABLE;
		extent.table_id = (uint32_t)load_acquire(&((struct shm_table *)at_granule(mem, head))->id);
		break;
	default:
		extent.state = EXTENT_UNKNOWN;
		break;
	}
	index = ltz__extent_add(lane, &extent);
	LTZ_ASSERT(index >= 0); /* room was made */
	if (kind == OWNER_SLAB && CLS_INDEX(low) < mem->classes)
		ltz__extent_list(lane, (uint32_t)index);
}

/* Step 3 for one granule. 1: an extent was taken; 0: not the dead one's; -ENOMEM. */
static int adopt_granule(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t g, unsigned row, uint64_t generation)
{
	struct ltz_shape shape;

	if (ltz__extent_reserve(lane) < 0)
		return -ENOMEM; /* before it is ours: then somebody else still finds it */
	for (;;) {
		uint64_t word = owner_load(mem, g), mine = (word & ~LABEL_MASK) | lane->label;

		if (!owner_labelled(word) || !label_is(word, row, generation))
			return 0;
		if (!owner_cas(mem, g, word, mine))
			continue; /* somebody else took it, or finished it */
		if (ltz__extent_shape(mem, g, word, &shape) == 0 && !canary(CANARY_NO_SWEEP))
			sweep(mem, lane, g, &shape);
		/* Only now may this lane allocate from it or reclaim in it. */
		remember(mem, lane, g, word);
		return 1;
	}
}

/* How many extents are taken before the lane is offered to this process' callers again. */
#define ADOPT_SLICE 64u

static int adopt_granules(struct ltz_mem *mem, unsigned row, uint64_t generation)
{
	uint64_t high = ltz__granules_high(mem), g = 0;

	while (g < high) {
		struct ltz_lane *lane = take_lane(mem);
		int result = 0;

		if (!lane)
			return -ENOMEM;
		for (unsigned taken = 0; g < high && taken < ADOPT_SLICE && result >= 0; g++) {
			result = adopt_granule(mem, lane, g, row, generation);
			taken += result > 0;
		}
		lane_give(lane);
		if (result < 0)
			return result;
	}
	return 0;
}

int ltz__adopt(struct ltz_mem *mem, unsigned row, uint64_t word)
{
	struct shm_row *dead = &mem->rows[row];
	uint64_t generation = row_generation(word);
	struct ltz_lane *lane = take_lane(mem);
	unsigned lanes = (unsigned)load_acquire(&dead->lanes_used);
	int result;

	if (!lane)
		return -ENOMEM;
	if (canary(CANARY_ROW_EARLY) && cas_seq_cst(&dead->word, word, row_word(generation, 0)))
		word = row_word(generation, 0);
	for (unsigned i = 0; i < lanes && i < SHM_LANES; i++)
		adopt_intent(mem, lane, &dead->lane[i]);
	lane_give(lane);
	result = adopt_granules(mem, row, generation);
	if (result < 0)
		return result; /* the row stays up: the next pass goes on */
	/* step 4 */
	if (!cas_seq_cst(&dead->word, word, row_word(generation, 0)))
		return 0;
	fetch_add_relaxed(&mem->header->recovered, 1);
	return 1;
}
