/* SPDX-License-Identifier: MIT */
/* test_classes.c - size classes and the way from a ref to its block: arithmetic, without any pool. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "shm/slab.h"

#define GRANULES 128u
#define UNITS_A_GRANULE (SHM_GRANULE >> SHM_UNIT_LOG2)

static uint64_t owners[GRANULES];

/* Enough of an attachment for arithmetic; its space is an address that nobody touches. */
static struct ltz_mem *arithmetic(void)
{
	static struct ltz_mem mem;

	mem.space = (uint8_t *)(uintptr_t)(UINT64_C(1) << 40);
	mem.granules = GRANULES;
	mem.space_bytes = granule_offset(GRANULES);
	mem.units = mem.space_bytes >> SHM_UNIT_LOG2;
	mem.owners = owners;
	ltz__classes_init(&mem);
	return &mem;
}

static void own(uint64_t head, unsigned kind, unsigned low, unsigned granules)
{
	memset(owners, 0, sizeof(owners));
	owners[head] = owner_make(kind, label_make(3, 2, 9), low);
	for (unsigned i = 1; i < granules; i++)
		owners[head + i] = owner_part(head);
}

static uint64_t base_of(uint64_t head) { return head * UNITS_A_GRANULE; }

TEST(classes_fit_their_tables)
{
	struct ltz_mem *mem = arithmetic();

	EXPECT_TRUE(mem->classes > 0 && mem->classes <= CLASSES_MAX && mem->classes <= 256);
	EXPECT_EQ_U64(mem->cls[0].units, 1);
	EXPECT_EQ_U64(mem->cls[mem->classes - 1].units, 512 * 1024 / 32);
}

TEST(steps_between_classes_are_small)
{
	struct ltz_mem *mem = arithmetic();

	for (unsigned c = 1; c < mem->classes; c++) {
		uint32_t smaller = mem->cls[c - 1].units, units = mem->cls[c].units, step = units - smaller;

		EXPECT_TRUE(units > smaller);
		if (units <= 16)
			EXPECT_EQ_U64(step, 1);
		else if (units <= 256)
			EXPECT_TRUE(step * 16 <= smaller);
		else
			EXPECT_TRUE(step * 8 <= smaller);
	}
}

TEST(every_size_gets_the_smallest_class_that_holds_it)
{
	struct ltz_mem *mem = arithmetic();
	unsigned want = 0;

	for (uint64_t units = 0; units <= 16384; units++) {
		while (mem->cls[want].units < units)
			want++;
		if (ltz__class_of(mem, units) != want)
			test_fail(TEST_AT(TEST_ASSERT), "%llu units get class %u, not %u", (unsigned long long)units,
			          ltz__class_of(mem, units), want);
	}
	EXPECT_EQ_U64(ltz__class_of(mem, 16385), mem->classes);
	EXPECT_EQ_U64(ltz__class_of(mem, UINT64_MAX >> 5), mem->classes);
}

TEST(blocks_lie_behind_the_header_and_waste_a_sixteenth_at_most)
{
	struct ltz_mem *mem = arithmetic();

	for (unsigned c = 0; c < mem->classes; c++) {
		const struct ltz_class *cls = &mem->cls[c];
		uint64_t total = (uint64_t)cls->granules * UNITS_A_GRANULE, used = (uint64_t)cls->blocks * cls->units;

		EXPECT_TRUE(cls->blocks > 0 && cls->granules > 0 && cls->granules <= 32);
		EXPECT_TRUE((uint64_t)cls->words * 64 >= cls->blocks);
		EXPECT_TRUE((uint64_t)cls->first_units * 32 >= sizeof(struct shm_extent) + 2 * 8u * cls->words);
		EXPECT_EQ_U64(cls->first_units % 2, 0); /* cache lines */
		EXPECT_TRUE(cls->first_units + used <= total);
		if (total - used > total / 16)
			test_fail(TEST_AT(TEST_EXPECT), "class %u (%u bytes): %llu of %llu units are lost", c, cls->units * 32,
			          (unsigned long long)(total - used), (unsigned long long)total);
	}
}

/* Block i of a slab must be found by its ref; returns false at the first that is not. */
static bool block_is_found(const struct ltz_mem *mem, uint64_t head, const struct ltz_class *cls, uint32_t i)
{
	uint64_t ref = base_of(head) + cls->first_units + (uint64_t)i * cls->units;
	struct shm_extent *extent = at_granule(mem, head);
	struct ltz_place place;
	int result = ltz__block_place(mem, ref, &place);

	if (result == 0 && place.head == head && place.extent == extent && place.bytes == cls->units * 32u &&
	    place.alloc == &extent->bits[i / 64] && place.retired == &extent->bits[cls->words + i / 64] &&
	    place.bit == UINT64_C(1) << i % 64)
		return true;
	test_fail(TEST_AT(TEST_EXPECT), "%u-byte blocks: number %u of %u (ref %llu) is not found: %d", cls->units * 32, i,
	          cls->blocks, (unsigned long long)ref, result);
	return false;
}

TEST(every_block_of_every_class_is_found_by_its_ref)
{
	struct ltz_mem *mem = arithmetic();

	for (unsigned c = 0; c < mem->classes; c++)
		for (unsigned expiring = 0; expiring < 2; expiring++) {
			const struct ltz_class *cls = &mem->cls[c];

			own(17, OWNER_SLAB, c | (expiring ? CLS_EXPIRING : 0), cls->granules);
			for (uint32_t i = 0; i < cls->blocks; i++)
				if (!block_is_found(mem, 17, cls, i))
					break;
		}
}

TEST(a_ref_that_is_no_block_boundary_is_refused)
{
	struct ltz_mem *mem = arithmetic();
	struct ltz_place place;

	for (unsigned c = 0; c < mem->classes; c++) {
		const struct ltz_class *cls = &mem->cls[c];
		uint64_t first = base_of(17) + cls->first_units, end = first + (uint64_t)cls->blocks * cls->units;
		uint64_t last = base_of(17 + cls->granules);

		own(17, OWNER_SLAB, c, cls->granules);
		for (uint64_t ref = base_of(17); ref < last; ref++) {
			bool boundary = ref >= first && ref < end && (ref - first) % cls->units == 0;

			if (boundary || ltz__block_place(mem, ref, &place) == -EUCLEAN)
				continue;
			test_fail(TEST_AT(TEST_EXPECT), "%u-byte blocks: ref %llu (first %llu, end %llu) is taken", cls->units * 32,
			          (unsigned long long)ref, (unsigned long long)first, (unsigned long long)end);
			break;
		}
	}
}

TEST(a_run_is_one_block_to_its_end)
{
	struct ltz_mem *mem = arithmetic();

	for (unsigned n = 1; n <= 40; n += 13) {
		struct ltz_shape shape;
		struct ltz_place place;

		own(20, OWNER_RUN, n, n);
		ASSERT_EQ_INT(ltz__extent_shape(mem, 20, owners[20], &shape), 0);
		EXPECT_EQ_U64(shape.blocks, 1);
		EXPECT_EQ_U64(shape.granules, n);
		EXPECT_EQ_U64((shape.first_ref - base_of(20)) * 32 + shape.bytes, n * SHM_GRANULE);
		EXPECT_TRUE((shape.first_ref - base_of(20)) * 32 >= sizeof(struct shm_extent) + 16);
		EXPECT_EQ_U64(shape.first_ref * 32 % 64, 0); /* values may ask for 64 */
		EXPECT_EQ_INT(ltz__block_place(mem, shape.first_ref, &place), 0);
		EXPECT_EQ_U64(place.bytes, shape.bytes);
		for (uint64_t ref = base_of(20); ref < base_of(20 + n); ref++)
			if (ref != shape.first_ref)
				ASSERT_EQ_INT(ltz__block_place(mem, ref, &place), -EUCLEAN);
	}
}

TEST(extents_that_cannot_be_are_refused)
{
	struct ltz_mem *mem = arithmetic();
	struct ltz_shape shape;
	uint64_t label = label_make(1, 1, 1);

	EXPECT_EQ_INT(ltz__extent_shape(mem, 5, owner_make(OWNER_SLAB, label, mem->classes), &shape), -EUCLEAN);
	EXPECT_EQ_INT(ltz__extent_shape(mem, 5, owner_make(OWNER_RUN, label, 0), &shape), -EUCLEAN);
	EXPECT_EQ_INT(ltz__extent_shape(mem, 5, owner_make(OWNER_RUN, label, GRANULES), &shape), -EUCLEAN);
	EXPECT_EQ_INT(ltz__extent_shape(mem, 5, owner_make(OWNER_RUN, label, GRANULES - 5), &shape), 0);
	EXPECT_EQ_INT(ltz__extent_shape(mem, 5, owner_make(OWNER_TABLE, label, 1), &shape), -EUCLEAN);
	EXPECT_EQ_INT(ltz__extent_shape(mem, 5, owner_make(OWNER_CLAIM, label, 1), &shape), -EUCLEAN);
	EXPECT_EQ_INT(ltz__extent_shape(mem, 5, owner_free(1), &shape), -EUCLEAN);
	EXPECT_EQ_INT(ltz__extent_shape(mem, 5, owner_part(4), &shape), -EUCLEAN);
	EXPECT_EQ_INT(ltz__extent_shape(mem, 5, 0, &shape), -EUCLEAN);
	EXPECT_EQ_INT(ltz__extent_shape(mem, GRANULES - 1, owner_make(OWNER_SLAB, label, mem->classes - 1), &shape), -EUCLEAN);
}

TEST(refs_outside_or_without_an_extent_are_refused)
{
	struct ltz_mem *mem = arithmetic();
	struct ltz_place place;

	own(3, OWNER_RUN, 2, 2);
	EXPECT_EQ_INT(ltz__block_place(mem, mem->units, &place), -EUCLEAN);
	EXPECT_EQ_INT(ltz__block_place(mem, UINT64_MAX, &place), -EUCLEAN);
	EXPECT_EQ_INT(ltz__block_place(mem, 0, &place), -EUCLEAN);
	EXPECT_EQ_INT(ltz__block_place(mem, base_of(9) + 4, &place), -EUCLEAN);
	owners[9] = owner_part(GRANULES + 7);
	EXPECT_EQ_INT(ltz__block_place(mem, base_of(9) + 4, &place), -EUCLEAN);
	owners[9] = owner_part(9);
	EXPECT_EQ_INT(ltz__block_place(mem, base_of(9) + 4, &place), -EUCLEAN);
}

/* Whatever owner words and refs say, a place lies inside granule space. */
TEST(garbage_never_leads_outside_of_granule_space)
{
	struct ltz_mem *mem = arithmetic();
	uint8_t *end = mem->space + mem->space_bytes;
	unsigned found = 0;

	for (unsigned round = 0; round < 2000; round++) {
		for (unsigned g = 0; g < GRANULES; g++) {
			unsigned kind = (unsigned)test_random_below(8);

			owners[g] = kind == OWNER_PART ? owner_part(test_random_below(GRANULES + 4))
			                               : owner_make(kind, test_random() & LABEL_MASK, (unsigned)test_random_below(200));
		}
		for (unsigned i = 0; i < 100; i++) {
			uint64_t ref = test_random_below(mem->units + 100);
			struct ltz_place place;

			if (ltz__block_place(mem, ref, &place) != 0)
				continue;
			found++;
			ASSERT_TRUE((uint8_t *)place.alloc >= mem->space && (uint8_t *)(place.retired + 1) <= end);
			ASSERT_TRUE(ref * 32 + place.bytes <= mem->space_bytes);
			ASSERT_TRUE(place.extent == at_granule(mem, place.head));
		}
	}
	EXPECT_TRUE(found > 0);
}
