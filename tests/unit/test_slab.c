/* SPDX-License-Identifier: MIT */
/* test_slab.c - blocks: allocated apart from each other, freed, retired; extents made and listed. */
#include <errno.h>

#include "../stress/pools.h"

static struct ltz_lane *lane_of(struct ltz_mem *mem) { return &mem->lane[LANE_SERVICE]; }

static int alloc(struct ltz_mem *mem, uint64_t bytes, bool expiring, struct ltz_block *block)
{
	return ltz__block_alloc(mem, lane_of(mem), bytes, expiring, block);
}

static uint64_t alloc_ref(struct ltz_mem *mem, uint64_t bytes)
{
	struct ltz_block block = { 0 };

	ASSERT_EQ_INT(alloc(mem, bytes, false, &block), 0);
	return block.ref;
}

static struct ltz_place place_of(struct ltz_mem *mem, uint64_t ref)
{
	struct ltz_place place;

	ASSERT_EQ_INT(ltz__block_place(mem, ref, &place), 0);
	return place;
}

static bool is_allocated(struct ltz_mem *mem, uint64_t ref)
{
	struct ltz_place place = place_of(mem, ref);

	return load_acquire(place.alloc) & place.bit;
}

static bool is_retired(struct ltz_mem *mem, uint64_t ref)
{
	struct ltz_place place = place_of(mem, ref);

	return load_acquire(place.retired) & place.bit;
}

TEST(a_block_of_every_class_holds_what_was_asked)
{
	struct ltz_mem *mem = bare_new(256 * MIB);

	for (unsigned c = 0; c < mem->classes; c++) {
		uint64_t largest = mem->cls[c].units * UINT64_C(32), smallest = c ? mem->cls[c - 1].units * UINT64_C(32) + 1 : 1;
		struct ltz_block a, b;

		ASSERT_EQ_INT(alloc(mem, largest, false, &a), 0);
		ASSERT_EQ_INT(alloc(mem, smallest, false, &b), 0);
		EXPECT_EQ_U64(a.bytes, largest);
		EXPECT_EQ_U64(b.bytes, largest); /* the same class: the next block */
		if (mem->cls[c].blocks > 1)
			EXPECT_EQ_U64(b.ref - a.ref, mem->cls[c].units);
		EXPECT_TRUE(is_allocated(mem, a.ref) && !is_retired(mem, a.ref));
		EXPECT_EQ_U64(at_ref(mem, a.ref)->version, 0);
		memset(at_ref(mem, a.ref), 0xff, a.bytes); /* is backed, and touches nobody: */
		EXPECT_TRUE(is_allocated(mem, b.ref));
		EXPECT_EQ_U64(at_ref(mem, b.ref)->version, 0);
	}
}

TEST(blocks_never_overlap)
{
	struct ltz_mem *mem = bare_new(64 * MIB);
	uint8_t *taken = calloc(1, mem->units);
	struct ltz_block block;

	for (unsigned i = 0; i < 20000; i++) {
		uint64_t bytes = 1 + test_random_below(i % 100 ? 600 : 70000);

		ASSERT_EQ_INT(alloc(mem, bytes, test_random_below(2), &block), 0);
		ASSERT_TRUE(block.bytes >= bytes && block.bytes % 32 == 0);
		ASSERT_TRUE(block.ref + block.bytes / 32 <= mem->units);
		for (uint64_t u = 0; u < block.bytes / 32; u++)
			ASSERT_EQ_U64(taken[block.ref + u]++, 0);
		if (block.bytes < 256 && test_random_below(3) == 0) {
			ltz__block_free(mem, lane_of(mem), block.ref);
			memset(taken + block.ref, 0, block.bytes / 32);
		}
	}
	free(taken);
}

TEST(a_slab_is_filled_to_the_last_block_before_the_next_one_is_made)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	const struct ltz_class *cls = &mem->cls[ltz__class_of(mem, 4)];
	uint64_t first = alloc_ref(mem, 128);

	for (unsigned i = 1; i < cls->blocks; i++)
		ASSERT_EQ_U64(alloc_ref(mem, 128), first + i * (uint64_t)cls->units);
	EXPECT_EQ_U64(pool_counts(mem).slab, cls->granules);
	EXPECT_TRUE(ref_granule(alloc_ref(mem, 128)) != ref_granule(first));
	EXPECT_EQ_U64(pool_counts(mem).slab, 2u * cls->granules);
}

TEST(expiring_records_have_extents_of_their_own)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	struct ltz_block a, b;

	ASSERT_EQ_INT(alloc(mem, 100, false, &a), 0);
	ASSERT_EQ_INT(alloc(mem, 100, true, &b), 0);
	EXPECT_TRUE(ref_granule(a.ref) != ref_granule(b.ref));
	EXPECT_TRUE(!(owner_low(owner_load(mem, ref_granule(a.ref))) & CLS_EXPIRING));
	EXPECT_TRUE(owner_low(owner_load(mem, ref_granule(b.ref))) & CLS_EXPIRING);
	EXPECT_EQ_U64(place_of(mem, a.ref).extent->due, SHM_NEVER);
	EXPECT_EQ_U64(place_of(mem, b.ref).extent->due, SHM_NEVER);
}

TEST(large_blocks_are_runs_of_as_many_granules_as_needed)
{
	struct ltz_mem *mem = bare_new(64 * MIB);
	const uint64_t sizes[] = { 512 * KIB + 1, 1 * MIB - 128, 1 * MIB - 127, 5 * MIB };
	const unsigned granules[] = { 9, 16, 17, 81 };

	for (unsigned i = 0; i < 4; i++) {
		struct ltz_block block;
		uint64_t owner;

		ASSERT_EQ_INT(alloc(mem, sizes[i], false, &block), 0);
		owner = owner_load(mem, ref_granule(block.ref));
		EXPECT_EQ_U64(owner_kind(owner), OWNER_RUN);
		EXPECT_EQ_U64(owner_low(owner), granules[i]);
		EXPECT_TRUE(block.bytes >= sizes[i]);
		EXPECT_TRUE(is_allocated(mem, block.ref));
		memset(at_ref(mem, block.ref), 0xff, block.bytes);
	}
	EXPECT_EQ_U64(pool_counts(mem).run, 9 + 16 + 17 + 81);
}

TEST(a_size_beyond_every_extent_is_refused)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	struct ltz_block block = { .ref = 5 };

	EXPECT_EQ_INT(alloc(mem, SHM_RUN_MAX * SHM_GRANULE, false, &block), -ENOSPC);
	EXPECT_EQ_INT(alloc(mem, UINT64_C(1) << 62, false, &block), -ENOSPC);
	EXPECT_EQ_INT(alloc(mem, 3 * MIB, false, &block), -ENOSPC);
	EXPECT_EQ_U64(block.ref, 5);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
}

/* ---- freeing --------------------------------------------------------------------------------- */

TEST(a_freed_block_is_the_next_one_given)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t a = alloc_ref(mem, 64), b = alloc_ref(mem, 64);

	ltz__block_free(mem, lane_of(mem), a);
	EXPECT_TRUE(!is_allocated(mem, a) && !is_retired(mem, a) && is_allocated(mem, b));
	EXPECT_EQ_U64(alloc_ref(mem, 64), a);
	store_release(&at_ref(mem, a)->version, 99);
	ltz__block_free(mem, lane_of(mem), a);
	EXPECT_EQ_U64(alloc_ref(mem, 64), a);
	EXPECT_EQ_U64(at_ref(mem, a)->version, 0); /* ended before the bit was set again */
}

TEST(only_the_owning_lane_can_free_a_block)
{
	struct ltz_mem *mem = bare_new(8 * MIB), *other = bare_join(ltz__mem_fd(mem));
	uint64_t ref = alloc_ref(mem, 64);

	ltz__block_free(other, lane_of(other), ref);
	EXPECT_TRUE(is_allocated(mem, ref));
	ASSERT_EQ_INT(ltz__lane_open(mem, &mem->lane[1]), 0);
	ltz__block_free(mem, &mem->lane[1], ref);
	EXPECT_TRUE(is_allocated(mem, ref));
	ltz__block_free(mem, lane_of(mem), mem->units + 5);
	ltz__block_free(mem, lane_of(mem), ref + 1);
	EXPECT_TRUE(is_allocated(mem, ref));
}

/* ---- retiring ----------------------------------------------------------------------------------- */

TEST(retiring_marks_exactly_the_block_in_every_class)
{
	struct ltz_mem *mem = bare_new(256 * MIB);

	for (unsigned c = 0; c < mem->classes; c++) {
		uint64_t bytes = mem->cls[c].units * UINT64_C(32), ref[3];

		for (unsigned i = 0; i < 3; i++)
			ref[i] = alloc_ref(mem, bytes);
		ltz__block_retire(mem, ref[1]);
		if (is_retired(mem, ref[0]) || !is_retired(mem, ref[1]) || is_retired(mem, ref[2]))
			test_fail(TEST_AT(TEST_EXPECT), "class %u, %llu bytes: wrong block retired", c, (unsigned long long)bytes);
		EXPECT_TRUE(is_allocated(mem, ref[1]));
	}
}

TEST(every_block_of_a_slab_can_be_retired)
{
	struct ltz_mem *mem = bare_new(64 * MIB);
	const uint64_t sizes[] = { 32, 64, 96, 512, 3000, 40000, 500000 };

	for (unsigned s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		const struct ltz_class *cls = &mem->cls[ltz__class_of(mem, (sizes[s] + 31) / 32)];

		for (unsigned i = 0; i < cls->blocks; i++) {
			uint64_t ref = alloc_ref(mem, sizes[s]);

			EXPECT_TRUE(!is_retired(mem, ref));
			ltz__block_retire(mem, ref);
			ASSERT_TRUE(is_retired(mem, ref));
		}
	}
}

TEST(a_run_can_be_retired)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t ref = alloc_ref(mem, 2 * MIB);

	ltz__block_retire(mem, ref);
	EXPECT_TRUE(is_retired(mem, ref));
}

TEST(retiring_garbage_changes_nothing)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t ref = alloc_ref(mem, 96), head = ref_granule(ref) * 2048, run = alloc_ref(mem, 1 * MIB);
	struct ltz_place slab_place = place_of(mem, ref), run_place = place_of(mem, run);
	struct shm_extent *slab = slab_place.extent;
	uint64_t before[64];

	memcpy(before, slab, sizeof(before));
	ltz__block_retire(mem, mem->units);
	ltz__block_retire(mem, UINT64_MAX);
	ltz__block_retire(mem, 0);
	for (uint64_t r = head; r < head + 2048; r++)
		if ((r - ref) % 3 != 0 || r < ref) /* no block boundary */
			ltz__block_retire(mem, r);
	for (uint64_t r = ref_granule(run) * 2048; r < run + 100; r++)
		if (r != run)
			ltz__block_retire(mem, r);
	for (uint64_t g = 0; g < mem->granules; g++)
		if (owner_kind(owner_load(mem, g)) == OWNER_FREE || owner_kind(owner_load(mem, g)) == OWNER_VIRGIN)
			ltz__block_retire(mem, g * 2048 + 4);
	EXPECT_EQ_MEM(slab, before, sizeof(before));
	EXPECT_EQ_U64(load_acquire(run_place.retired), 0);
}

/* ---- lists of extents ----------------------------------------------------------------------------- */

TEST(forgotten_entries_are_used_again)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	struct ltz_lane *lane = lane_of(mem);
	struct ltz_extent extent = { .granule = 1, .granules = 1, .state = EXTENT_RUN };
	int first = ltz__extent_add(lane, &extent), second;

	ASSERT_OK(first);
	for (unsigned i = 0; i < 1000; i++) { /* beyond the first room */
		second = ltz__extent_add(lane, &extent);
		ASSERT_EQ_INT(second, first + 1 + (int)i);
	}
	ltz__extent_forget(lane, (uint32_t)first);
	ltz__extent_forget(lane, (uint32_t)second);
	EXPECT_EQ_INT(ltz__extent_add(lane, &extent), second);
	EXPECT_EQ_INT(ltz__extent_add(lane, &extent), first);
	EXPECT_EQ_INT(ltz__extent_add(lane, &extent), second + 1);
}

TEST(an_extent_that_is_listed_is_forgotten_only_when_it_leaves_its_list)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	struct ltz_lane *lane = lane_of(mem);
	uint64_t ref = alloc_ref(mem, 64), again;
	uint32_t index;

	ltz__lane_drop_cursors(lane); /* lists it */
	for (index = 0; lane->extent[index].granule != ref_granule(ref); index++)
		;
	EXPECT_EQ_U64(lane->extent[index].listed, 1);
	ltz__extent_list(lane, index); /* twice in a list would be a ring */
	ltz__extent_forget(lane, index);
	again = alloc_ref(mem, 64);
	EXPECT_TRUE(ref_granule(again) != ref_granule(ref));
	EXPECT_EQ_U64(lane->extents, 1); /* its entry became the new slab's */
}

TEST(a_dropped_cursor_s_slab_is_filled_on)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t a = alloc_ref(mem, 64), b;

	ltz__lane_drop_cursors(lane_of(mem));
	b = alloc_ref(mem, 64);
	EXPECT_EQ_U64(ref_granule(a), ref_granule(b));
	EXPECT_TRUE(a != b);
	EXPECT_EQ_U64(pool_counts(mem).slab, mem->cls[ltz__class_of(mem, 2)].granules);
}

/* ---- a full pool -------------------------------------------------------------------------------------- */

TEST(a_full_pool_gives_larger_blocks_before_it_refuses)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	uint64_t large = alloc_ref(mem, 1000);
	struct ltz_block block;

	while (alloc(mem, 64, false, &block) == 0 && block.bytes == 64)
		;
	EXPECT_TRUE(block.bytes > 64);
	EXPECT_EQ_U64(ref_granule(block.ref), ref_granule(large));
	while (alloc(mem, 64, false, &block) == 0)
		;
	EXPECT_EQ_INT(alloc(mem, 64, false, &block), -ENOSPC);
	EXPECT_EQ_INT(alloc(mem, 1000, false, &block), -ENOSPC);
	EXPECT_EQ_INT(alloc(mem, 1, true, &block), -ENOSPC);
}

TEST(a_full_pool_takes_back_what_its_lanes_hold_before_it_refuses)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	static uint64_t ref[70000];
	struct ltz_block block;
	unsigned n = 0;

	ASSERT_EQ_INT(ltz__lane_open(mem, &mem->lane[1]), 0);
	while (ltz__block_alloc(mem, &mem->lane[1], 64, false, &block) == 0)
		ref[n++] = block.ref;
	ASSERT_TRUE(n > 1000);
	EXPECT_EQ_INT(alloc(mem, 64, false, &block), -ENOSPC);
	for (unsigned i = 0; i < n; i++)
		ltz__block_retire(mem, ref[i]);
	/* retired in another lane of this process: that lane is not busy, so it can be asked */
	EXPECT_EQ_INT(alloc(mem, 64, false, &block), 0);
	EXPECT_EQ_INT(alloc(mem, 1 * MIB, false, &block), 0);
}

/* ---- blocks that come free behind the cursor ------------------------------------------------------------ */

/* Blocks of the current slab's earlier words are reclaimed, then the cursor is dropped, as the service thread does. */
TEST(a_dropped_cursor_forgets_what_came_free_behind_it)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	struct ltz_lane *lane = lane_of(mem);
	uint64_t ref[200];

	for (unsigned i = 0; i < 200; i++)
		ref[i] = alloc_ref(mem, 64);
	for (unsigned i = 0; i < 100; i++)
		ltz__block_retire(mem, ref[i]);
	EXPECT_EQ_U64(ltz__lane_reclaim(mem, lane, UINT32_MAX, RECLAIM_CHEAP), 100);
	ltz__lane_drop_cursors(lane);
	for (unsigned i = 0; i < 2000; i++)
		ASSERT_TRUE(ref_granule(alloc_ref(mem, 64)) < mem->granules);
}

TEST(blocks_that_came_free_behind_the_cursor_are_used_before_the_slab_is_left)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	const struct ltz_class *cls = &mem->cls[ltz__class_of(mem, 2)];
	uint64_t first = alloc_ref(mem, 64);

	for (unsigned i = 1; i < cls->blocks; i++)
		alloc_ref(mem, 64);
	for (unsigned i = 0; i < 64; i++)
		ltz__block_retire(mem, first + i * (uint64_t)cls->units);
	EXPECT_EQ_U64(ltz__lane_reclaim(mem, lane_of(mem), UINT32_MAX, RECLAIM_CHEAP), 64);
	for (unsigned i = 0; i < 64; i++)
		EXPECT_EQ_U64(ref_granule(alloc_ref(mem, 64)), ref_granule(first));
	EXPECT_TRUE(ref_granule(alloc_ref(mem, 64)) != ref_granule(first));
}
