/* SPDX-License-Identifier: MIT */
/* test_reclaim.c - retired blocks come back when nobody can be using them, and empty extents leave. */
#include <errno.h>
#include <pthread.h>

#include "../stress/pools.h"

static struct ltz_lane *lane_of(struct ltz_mem *mem) { return &mem->lane[LANE_SERVICE]; }

static uint64_t alloc(struct ltz_mem *mem, uint64_t bytes)
{
	struct ltz_block block = { 0 };

	ASSERT_EQ_INT(ltz__block_alloc(mem, lane_of(mem), bytes, false, &block), 0);
	store_release(&at_ref(mem, block.ref)->version, lane_version(mem, lane_of(mem)));
	return block.ref;
}

static uint64_t reclaim(struct ltz_mem *mem, enum reclaim_mode mode)
{
	return ltz__lane_reclaim(mem, lane_of(mem), UINT32_MAX, mode);
}

/* 1: allocated, 2: retired, 3: both; -1: no block any more. */
static int bits_of(struct ltz_mem *mem, uint64_t ref)
{
	struct ltz_place place;

	if (ltz__block_place(mem, ref, &place) < 0)
		return -1;
	return (load_acquire(place.alloc) & place.bit ? 1 : 0) | (load_acquire(place.retired) & place.bit ? 2 : 0);
}

/* n blocks of a size, retired. */
static void alloc_retired(struct ltz_mem *mem, uint64_t bytes, uint64_t *ref, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		ref[i] = alloc(mem, bytes);
	for (unsigned i = 0; i < n; i++)
		ltz__block_retire(mem, ref[i]);
}

TEST(retired_blocks_come_free_and_others_stay)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t keep = alloc(mem, 64), ref[100];

	alloc_retired(mem, 64, ref, 100);
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), 100);
	EXPECT_EQ_INT(bits_of(mem, keep), 1);
	EXPECT_TRUE(at_ref(mem, keep)->version != 0);
	for (unsigned i = 0; i < 100; i++) {
		EXPECT_EQ_INT(bits_of(mem, ref[i]), 0);
		EXPECT_EQ_U64(at_ref(mem, ref[i])->version, 0); /* before the scan: who saw it must restart */
	}
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), 0);
}

TEST(every_class_and_runs_come_back)
{
	struct ltz_mem *mem = bare_new(256 * MIB);
	uint64_t ref[CLASSES_MAX + 1];
	unsigned n = 0;

	for (; n < mem->classes; n++)
		ref[n] = alloc(mem, mem->cls[n].units * UINT64_C(32));
	ref[n++] = alloc(mem, 3 * MIB);
	for (unsigned i = 0; i < n; i++)
		ltz__block_retire(mem, ref[i]);
	ltz__lane_drop_cursors(lane_of(mem));
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), n);
	EXPECT_EQ_U64(pool_counts(mem).slab + pool_counts(mem).run + pool_counts(mem).claimed, 0);
	EXPECT_EQ_U64(load_relaxed(&mem->header->free_hint), pool_counts(mem).free);
}

TEST(a_hazard_of_any_member_keeps_its_block)
{
	struct ltz_mem *mem = bare_new(8 * MIB), *other = bare_join(ltz__mem_fd(mem));
	uint64_t ref[100];

	alloc_retired(mem, 64, ref, 100);
	ASSERT_EQ_INT(ltz__lane_open(other, &other->lane[5]), 0);
	store_release(&other->lane[5].shm->hw, ref[7]);
	store_release(&other->lane[5].shm->hr, ref[8]);
	store_release(&other->row->view[60], ref[9]);
	store_release(&other->row->views_used, 61);
	store_release(&mem->lane[0].shm->hr, ref[10]); /* an own one counts as well */
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), 96);
	for (unsigned i = 0; i < 100; i++)
		EXPECT_EQ_INT(bits_of(mem, ref[i]), i >= 7 && i <= 10 ? 3 : 0);
	store_release(&other->lane[5].shm->hw, 0);
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), 1);
	EXPECT_EQ_INT(bits_of(mem, ref[7]), 0);
	store_release(&other->lane[5].shm->hr, 0);
	store_release(&other->row->view[60], 0);
	store_release(&mem->lane[0].shm->hr, 0);
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), 3);
}

TEST(a_block_in_use_is_not_given_out_again)
{
	struct ltz_mem *mem = bare_new(2 * MIB), *other = bare_join(ltz__mem_fd(mem));
	struct ltz_block block;
	uint64_t held = alloc(mem, 64);

	ltz__block_retire(mem, held);
	store_release(&other->lane[0].shm->hw, held);
	while (ltz__block_alloc(mem, lane_of(mem), 64, false, &block) == 0)
		ASSERT_TRUE(block.ref != held);
	EXPECT_EQ_INT(bits_of(mem, held), 3);
}

TEST(an_empty_slab_goes_back)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	static uint64_t ref[5000];
	uint64_t slabs;

	alloc_retired(mem, 64, ref, 5000); /* several slabs */
	slabs = pool_counts(mem).slab;
	ASSERT_TRUE(slabs >= 4);
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), 5000);
	EXPECT_EQ_U64(pool_counts(mem).slab, 1); /* the current one */
	ltz__lane_drop_cursors(lane_of(mem));
	reclaim(mem, RECLAIM_IDLE);
	EXPECT_EQ_U64(pool_counts(mem).slab + pool_counts(mem).claimed, 0);
	EXPECT_EQ_INT(bits_of(mem, ref[0]), -1);
	for (uint32_t i = 0; i < lane_of(mem)->extents; i++)
		EXPECT_TRUE(lane_of(mem)->extent[i].state == EXTENT_NONE || lane_of(mem)->extent[i].listed);
}

TEST(a_slab_with_one_live_block_stays)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t keep = alloc(mem, 64);

	ltz__lane_drop_cursors(lane_of(mem));
	reclaim(mem, RECLAIM_IDLE);
	EXPECT_EQ_INT(bits_of(mem, keep), 1);
	EXPECT_EQ_U64(pool_counts(mem).slab, mem->cls[ltz__class_of(mem, 2)].granules);
}

/* RELEASE EXTENT: late writers may still set a bit in what a hazard names. */
TEST(an_extent_with_a_hazard_inside_waits_as_a_claim)
{
	struct ltz_mem *mem = bare_new(8 * MIB), *other = bare_join(ltz__mem_fd(mem));
	uint64_t ref = alloc(mem, 40000), head = ref_granule(ref);
	unsigned n = mem->cls[ltz__class_of(mem, 40000 / 32)].granules;

	ASSERT_TRUE(n > 1);
	ltz__block_free(mem, lane_of(mem), ref); /* never published, never retired: no hazard is looked for */
	ltz__lane_drop_cursors(lane_of(mem));
	store_release(&other->lane[0].shm->hw, (head + n - 1) * 2048 + 77); /* anywhere in it, and no block */
	reclaim(mem, RECLAIM_IDLE);
	EXPECT_EQ_U64(owner_load(mem, head), owner_make(OWNER_CLAIM, lane_of(mem)->label, n));
	EXPECT_EQ_U64(owner_load(mem, head + 1), owner_part(head));
	reclaim(mem, RECLAIM_IDLE);
	EXPECT_EQ_U64(owner_kind(owner_load(mem, head)), OWNER_CLAIM);
	store_release(&other->lane[0].shm->hw, (head + n) * 2048); /* the first unit behind it */
	reclaim(mem, RECLAIM_CHEAP);
	EXPECT_EQ_U64(owner_kind(owner_load(mem, head)), OWNER_FREE);
	EXPECT_EQ_U64(owner_kind(owner_load(mem, head + n - 1)), OWNER_FREE);
}

TEST(an_unknown_claim_is_torn_down_once_no_hazard_is_in_it)
{
	struct ltz_mem *mem = bare_new(8 * MIB), *other = bare_join(ltz__mem_fd(mem));
	int64_t head = ltz__granules_claim(mem, lane_of(mem), 3);
	struct ltz_extent extent = { .granule = (uint32_t)head, .granules = 3, .state = EXTENT_UNKNOWN };

	ASSERT_OK(head);
	ASSERT_OK(ltz__extent_add(lane_of(mem), &extent));
	store_release(&other->lane[0].shm->hr, (uint64_t)head * 2048 + 4);
	reclaim(mem, RECLAIM_IDLE);
	EXPECT_EQ_U64(owner_kind(owner_load(mem, (uint64_t)head)), OWNER_CLAIM);
	store_release(&other->lane[0].shm->hr, 0);
	reclaim(mem, RECLAIM_IDLE);
	EXPECT_EQ_U64(owner_load(mem, (uint64_t)head), 0);
	EXPECT_EQ_U64(owner_kind(owner_load(mem, (uint64_t)head + 2)), OWNER_FREE);
}

TEST(a_cheap_reclaim_does_nothing_for_a_handful)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t ref[32];

	alloc_retired(mem, 64, ref, 31);
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_CHEAP), 0);
	EXPECT_EQ_INT(bits_of(mem, ref[0]), 3);
	alloc_retired(mem, 64, ref + 31, 1);
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_CHEAP), 32);
}

TEST(a_cheap_reclaim_takes_a_run_alone)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t ref[1];

	alloc_retired(mem, 1 * MIB, ref, 1);
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_CHEAP), 1);
	EXPECT_EQ_U64(pool_counts(mem).run, 0);
}

TEST(a_reclaim_of_few_extents_goes_on_where_the_last_one_stopped)
{
	struct ltz_mem *mem = bare_new(64 * MIB);
	uint64_t ref[20], freed = 0;

	alloc_retired(mem, 1 * MIB, ref, 20);
	for (unsigned i = 0; i < 10; i++)
		freed += ltz__lane_reclaim(mem, lane_of(mem), 2, RECLAIM_CHEAP);
	EXPECT_EQ_U64(freed, 20);
}

TEST(more_blocks_than_a_batch_holds_come_back)
{
	struct ltz_mem *mem = bare_new(64 * MIB);
	static uint64_t ref[120000]; /* 60 slabs of 32 words: more than 1,024 words */

	alloc_retired(mem, 32, ref, 120000);
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), 120000);
	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), 0);
}

TEST(reclaimed_blocks_are_used_before_new_memory)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	static uint64_t ref[5000];
	uint64_t slabs = 0;

	for (unsigned round = 0; round < 20; round++) {
		alloc_retired(mem, 64, ref, 5000);
		if (round == 1)
			slabs = pool_counts(mem).slab;
	}
	EXPECT_TRUE(pool_counts(mem).slab <= slabs + 1);
}

TEST(an_empty_lane_has_nothing_to_reclaim)
{
	struct ltz_mem *mem = bare_new(2 * MIB);

	EXPECT_EQ_U64(reclaim(mem, RECLAIM_IDLE), 0);
}

/* ---- while others look ----------------------------------------------------------------------------- */

static int race_fd;
static uint64_t published, stop, reused_under_hazard;

/* A writer's W6, W7 on one word: while the hazard is valid the block must keep its version. */
static void *look(void *context)
{
	struct ltz_mem *mem = bare_join(race_fd);
	struct shm_lane *shm = mem->lane[0].shm;

	(void)context;
	while (!load_acquire(&stop)) {
		uint64_t ref = load_acquire(&published), version;

		if (!ref)
			continue;
		store_release(&shm->hw, ref);
		fence_hazard(mem);
		if (load_acquire(&published) != ref)
			continue;
		version = load_acquire(&at_ref(mem, ref)->version);
		for (unsigned i = 0; i < 50; i++) {
			uint64_t now = load_acquire(&at_ref(mem, ref)->version);

			/* 0: it is being reclaimed, which has to wait for us; another one: it was reused */
			if (now != version && now != 0)
				fetch_add_relaxed(&reused_under_hazard, 1);
		}
	}
	store_release(&shm->hw, 0);
	return NULL;
}

TEST(no_block_is_reused_under_a_valid_hazard)
{
	struct ltz_mem *mem;
	pthread_t thread[2];

	race_fd = pool_make(2 * MIB, 0);
	mem = bare_join(race_fd);
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, look, NULL), 0);
	for (unsigned i = 0; i < 60000; i++) {
		uint64_t ref = alloc(mem, 64), old = exchange_seq_cst(&published, ref);

		if (old)
			ltz__block_retire(mem, old);
		if (i % 40 == 0)
			reclaim(mem, RECLAIM_CHEAP);
	}
	store_release(&stop, 1);
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], NULL), 0);
	EXPECT_EQ_U64(reused_under_hazard, 0);
	EXPECT_TRUE(pool_counts(mem).slab < 20);
}
