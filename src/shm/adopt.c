/* SPDX-License-Identifier: MIT */
/* adopt.c - ADOPT of docs/design/protocol-memory.md. */
#include "shm/adopt.h"

#include "base/canary.h"
#include "shm/granule.h"
#include "shm/lane.h"
#include "shm/slab.h"
#include "sys/fault.h"
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
	LTZ_CRASH_POINT("shm.intent_pinned");
	fence_hazard(mem);
	if (ltz__block_place(mem, ref, &place) == 0 &&                     /* c */
	    (load_acquire(place.alloc) & place.bit) &&                     /* d. pairs with: shm/slab.c:take_block */
	    load_acquire(&at_ref(mem, ref)->version) == version &&         /* e */
	    mem->index->refers(mem, lane, ref, place.bytes) == 0)          /* f */
		fetch_or_release(place.retired, place.bit);                /* g */
	LTZ_CRASH_POINT("shm.intent_settled");
	store_release(&lane->shm->hr, 0);                                  /* h */
	LTZ_CRASH_POINT("shm.intent_released");
}

/* The questions to the index about one word's blocks go in two rounds, so that its cache misses overlap. */
static void sweep_word(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_shape *shape, uint64_t first_ref,
                       uint64_t bits, uint64_t *retired)
{
	for (uint64_t ask = bits; ask; ask &= ask - 1)
		mem->index->expect(mem, first_ref + (unsigned)__builtin_ctzll(ask) * shape->units, shape->bytes);
	for (; bits; bits &= bits - 1) {
		uint64_t ref = first_ref + (unsigned)__builtin_ctzll(bits) * shape->units;

		if (mem->index->refers(mem, lane, ref, shape->bytes) == 0) {
			fetch_or_release(retired, bits & -bits);
			LTZ_CRASH_POINT("shm.sweep_retired");
		}
	}
}

/* Step 3b for a slab or run just taken: what is allocated but in no index will never be. Returns its blocks. */
static uint32_t sweep(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, const struct ltz_shape *shape)
{
	struct shm_extent *shm = at_granule(mem, head);

	for (uint32_t w = 0; w < shape->words; w++) {
		uint64_t *retired = &shm->bits[shape->words + w];
		uint64_t bits = load_acquire(&shm->bits[w]) & ~load_acquire(retired);
		uint32_t left = shape->blocks - w * 64;

		if (left < 64)
			bits &= (UINT64_C(1) << left) - 1;
		sweep_word(mem, lane, shape, shape->first_ref + (uint64_t)w * 64 * shape->units, bits, retired);
	}
	return shape->blocks;
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

/* Step 3 for one granule. Returns how many blocks were looked at and one for itself, or -ENOMEM. */
static int64_t adopt_granule(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t g, const struct ltz_adoption *of)
{
	struct ltz_shape shape;

	for (;;) {
		uint64_t word = owner_load(mem, g), mine = (word & ~LABEL_MASK) | lane->label;
		uint32_t blocks = 0;

		if (!owner_labelled(word) || !label_is(word, of->row, row_generation(of->word)))
			return 1;
		if (ltz__extent_reserve(lane) < 0)
			return -ENOMEM; /* before it is ours: then somebody else still finds it */
		if (!owner_cas(mem, g, word, mine))
			continue; /* somebody else took it, or finished it */
		LTZ_CRASH_POINT("shm.extent_adopted");
		if (ltz__extent_shape(mem, g, word, &shape) == 0 && !canary(CANARY_NO_SWEEP))
			blocks = sweep(mem, lane, g, &shape);
		LTZ_CRASH_POINT("shm.extent_swept");
		/* Only now may this lane allocate from it or reclaim in it. */
		remember(mem, lane, g, word);
		LTZ_CRASH_POINT("shm.extent_remembered");
		return 1 + (int64_t)blocks;
	}
}

static int adopt_granules(struct ltz_mem *mem, struct ltz_lane *lane, struct ltz_adoption *adoption, uint64_t most)
{
	uint64_t high = ltz__granules_high(mem), work = 0;

	for (; adoption->granule < high && work < most; adoption->granule++) {
		int64_t more = adopt_granule(mem, lane, adoption->granule, adoption);

		if (more < 0)
			return (int)more;
		work += (uint64_t)more;
	}
	return adoption->granule < high ? -EAGAIN : 0;
}

int ltz__adopt_slice(struct ltz_mem *mem, struct ltz_adoption *adoption, uint64_t most)
{
	struct shm_row *dead = &mem->rows[adoption->row];
	unsigned lanes = (unsigned)load_acquire(&dead->lanes_used);
	struct ltz_lane *lane;
	int result;

	if (load_acquire(&dead->word) != adoption->word)
		return 0; /* others were faster */
	lane = take_lane(mem);
	if (!lane)
		return -ENOMEM;
	if (canary(CANARY_ROW_EARLY) &&
	    cas_seq_cst(&dead->word, adoption->word, row_word(row_generation(adoption->word), 0)))
		adoption->word = row_word(row_generation(adoption->word), 0);
	if (!adoption->granule) /* before the first extent is taken */
		for (unsigned i = 0; i < lanes && i < SHM_LANES; i++)
			adopt_intent(mem, lane, &dead->lane[i]);
	LTZ_CRASH_POINT("shm.intents_settled");
	result = adopt_granules(mem, lane, adoption, most);
	lane_give(lane);
	if (result < 0)
		return result; /* the row stays up: the next call goes on */
	LTZ_CRASH_POINT("shm.extents_settled");
	/* step 4 */
	if (!cas_seq_cst(&dead->word, adoption->word, row_word(row_generation(adoption->word), 0)))
		return 0;
	LTZ_CRASH_POINT("shm.row_released");
	fetch_add_relaxed(&mem->header->recovered, 1);
	return 1;
}

/* A lane is offered to this process' callers again after so much work. */
#define SLICE 65536u

int ltz__adopt(struct ltz_mem *mem, unsigned row, uint64_t word)
{
	struct ltz_adoption adoption = {.row = row, .word = word};
	int result;

	do
		result = ltz__adopt_slice(mem, &adoption, SLICE);
	while (result == -EAGAIN);
	return result;
}
