/* SPDX-License-Identifier: MIT */
/* test_lane.c - lanes: one thread each, versions that never come back, and a scan that misses no hazard. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "../stress/pools.h"

static struct ltz_hazards read_hazards(struct ltz_mem *mem)
{
	struct ltz_hazards hazards;

	ltz__hazards_read(mem, &hazards);
	return hazards;
}

static bool holds(struct ltz_mem *mem, uint64_t ref)
{
	struct ltz_hazards hazards = read_hazards(mem);
	bool held = ltz__hazards_hold(&hazards, ref, ref + 1);

	ltz__hazards_free(&hazards);
	return held;
}

/* ---- taking ---------------------------------------------------------------------------------- */

TEST(a_thread_gets_the_same_lane_again_and_never_the_service_lane)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	struct ltz_lane *lane = lane_take(mem);

	EXPECT_TRUE(lane >= &mem->lane[LANE_FIRST] && lane < &mem->lane[SHM_LANES]);
	EXPECT_EQ_U64(lane->used, 1);
	EXPECT_TRUE(lane->cursor != NULL);
	EXPECT_TRUE(!lane_try(lane));
	EXPECT_EQ_U64(lane->shm->working, 1); /* for check: what is half done there is no damage ... */
	lane_give(lane);
	EXPECT_EQ_U64(lane->shm->working, 0); /* ... and from here on it is */
	EXPECT_TRUE(lane_take(mem) == lane);
	EXPECT_TRUE(mem->row->lanes_used > lane->index); /* or no scan would look at it */
}

TEST(a_busy_lane_sends_a_thread_to_the_next)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	bool seen[SHM_LANES] = { false };

	for (unsigned i = LANE_FIRST; i < SHM_LANES; i++) {
		struct ltz_lane *lane = lane_take(mem);

		ASSERT_TRUE(lane != NULL && lane->index >= LANE_FIRST && lane->index < SHM_LANES);
		EXPECT_TRUE(!seen[lane->index]);
		seen[lane->index] = true;
		EXPECT_EQ_U64(label_lane(lane->label), lane->index);
		EXPECT_TRUE(lane->shm == &mem->row->lane[lane->index]);
	}
	EXPECT_EQ_U64(mem->row->lanes_used, SHM_LANES);
}

#define THREADS 24 /* more than there are lanes */
static struct ltz_mem *shared;
static unsigned users[SHM_LANES], collisions;

static void *take_and_give(void *context)
{
	(void)context;
	for (unsigned i = 0; i < 2000; i++) {
		struct ltz_lane *lane = lane_take(shared);

		if (__atomic_fetch_add(&users[lane->index], 1, __ATOMIC_RELAXED))
			__atomic_fetch_add(&collisions, 1, __ATOMIC_RELAXED);
		if (i % 16 == 0)
			sched_yield(); /* with the lane, so that others must look for another */
		__atomic_fetch_sub(&users[lane->index], 1, __ATOMIC_RELAXED);
		lane_give(lane);
	}
	return NULL;
}

TEST(two_threads_are_never_in_one_lane)
{
	pthread_t thread[THREADS];

	shared = bare_new(2 * MIB);
	for (unsigned i = 0; i < THREADS; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, take_and_give, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], NULL), 0);
	EXPECT_EQ_U64(collisions, 0);
	for (unsigned i = 0; i < SHM_LANES; i++)
		EXPECT_EQ_U64(shared->lane[i].busy, 0);
}

/* ---- versions ------------------------------------------------------------------------------------ */

static int compare_words(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

TEST(versions_are_unique_over_lanes_and_members_and_never_0)
{
	struct ltz_mem *mem[2] = { bare_new(2 * MIB), NULL };
	static uint64_t version[4 * 5000];
	size_t n = 0;

	mem[1] = bare_join(ltz__mem_fd(mem[0]));
	for (unsigned i = 0; i < 5000; i++) /* more than a batch */
		for (unsigned m = 0; m < 2; m++)
			for (unsigned l = 0; l < 2; l++)
				version[n++] = lane_version(mem[m], &mem[m]->lane[l]);
	qsort(version, n, sizeof(*version), compare_words);
	EXPECT_TRUE(version[0] >= 1);
	EXPECT_TRUE(version[n - 1] < UINT64_C(1) << 62);
	for (size_t i = 1; i < n; i++)
		ASSERT_TRUE(version[i] != version[i - 1]);
}

/* ---- hazards ----------------------------------------------------------------------------------------- */

TEST(a_scan_finds_every_kind_of_hazard_of_every_member)
{
	struct ltz_mem *mem[3] = { bare_new(2 * MIB), NULL, NULL };

	mem[1] = bare_join(ltz__mem_fd(mem[0]));
	mem[2] = bare_join(ltz__mem_fd(mem[0]));
	for (unsigned m = 0; m < 3; m++)
		for (unsigned l = 0; l < SHM_LANES; l++) {
			ASSERT_EQ_INT(ltz__lane_open(mem[m], &mem[m]->lane[l]), 0);
			store_release(&mem[m]->lane[l].shm->hw, 1000 + m * 100 + l);
			store_release(&mem[m]->lane[l].shm->hr, 2000 + m * 100 + l);
		}
	for (unsigned m = 0; m < 3; m++)
		for (unsigned v = 0; v < SHM_VIEWS; v++)
			store_release(&mem[m]->row->view[v], 3000 + m * 100 + v);
	for (unsigned m = 0; m < 3; m++) {
		struct ltz_hazards hazards;

		store_release(&mem[m]->row->views_used, SHM_VIEWS);
		hazards = read_hazards(mem[m]);
		EXPECT_EQ_U64(hazards.count, 2 * SHM_LANES * 3 + SHM_VIEWS * (m + 1)); /* own ones too */
		for (uint32_t i = 1; i < hazards.count; i++)
			EXPECT_TRUE(hazards.ref[i - 1] <= hazards.ref[i]);
		EXPECT_TRUE(ltz__hazards_hold(&hazards, 1000 + m * 100 + 15, 1000 + m * 100 + 16));
		EXPECT_TRUE(ltz__hazards_hold(&hazards, 3000 + m * 100 + 63, 3000 + m * 100 + 64));
		ltz__hazards_free(&hazards);
	}
}

TEST(nothing_held_is_nothing_found)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	struct ltz_hazards hazards = read_hazards(mem);

	EXPECT_EQ_U64(hazards.count, 0);
	EXPECT_TRUE(!ltz__hazards_hold(&hazards, 0, UINT64_MAX));
	ltz__hazards_free(&hazards);
}

TEST(a_range_is_held_by_what_lies_in_it_and_not_at_its_end)
{
	uint64_t refs[] = { 10, 20, 20, 30 };
	struct ltz_hazards hazards = { .ref = refs, .count = 4 };

	EXPECT_TRUE(ltz__hazards_hold(&hazards, 10, 11));
	EXPECT_TRUE(ltz__hazards_hold(&hazards, 0, 11));
	EXPECT_TRUE(ltz__hazards_hold(&hazards, 20, 21));
	EXPECT_TRUE(ltz__hazards_hold(&hazards, 30, UINT64_MAX));
	EXPECT_TRUE(!ltz__hazards_hold(&hazards, 0, 10));
	EXPECT_TRUE(!ltz__hazards_hold(&hazards, 11, 20));
	EXPECT_TRUE(!ltz__hazards_hold(&hazards, 21, 30));
	EXPECT_TRUE(!ltz__hazards_hold(&hazards, 31, UINT64_MAX));
}

TEST(a_scan_that_failed_holds_everything)
{
	struct ltz_hazards hazards = { .failed = true };

	EXPECT_TRUE(ltz__hazards_hold(&hazards, 5, 6));
}

TEST(a_dead_member_s_hazards_count_until_its_row_is_released)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0), *other = pool_join_again(mem);

	store_release(&other->lane[0].shm->hw, 4711);
	pool_leave(other);
	EXPECT_TRUE(holds(mem, 4711));
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 1);
	EXPECT_TRUE(!holds(mem, 4711));
}

TEST(damaged_lane_counts_stay_inside_the_row)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	struct ltz_hazards hazards;

	store_release(&mem->row->lanes_used, UINT64_MAX);
	store_release(&mem->row->views_used, UINT64_MAX);
	store_release(&mem->row->lane[15].hr, 5);
	hazards = read_hazards(mem);
	EXPECT_EQ_U64(hazards.count, 1);
	ltz__hazards_free(&hazards);
}

/* ---- table hazards ------------------------------------------------------------------------------------- */

TEST(a_table_hazard_counts_from_birth_up_to_the_drop)
{
	struct ltz_mem *mem = bare_new(2 * MIB), *other = bare_join(ltz__mem_fd(mem));

	EXPECT_TRUE(!ltz__table_hazard(mem, 0, UINT64_MAX));
	store_release(&other->lane[0].shm->th, 7 + 1); /* works under gen 7 */
	EXPECT_TRUE(ltz__table_hazard(mem, 7, 8));
	EXPECT_TRUE(ltz__table_hazard(mem, 3, 8));
	EXPECT_TRUE(ltz__table_hazard(mem, 0, 100));
	EXPECT_TRUE(!ltz__table_hazard(mem, 8, 9));
	EXPECT_TRUE(!ltz__table_hazard(mem, 3, 7)); /* dropped by the root of gen 7 */
	store_release(&other->lane[0].shm->th, 0 + 1); /* gen 0 is a gen */
	EXPECT_TRUE(ltz__table_hazard(mem, 0, 1));
	bare_leave(other);
	EXPECT_TRUE(ltz__table_hazard(mem, 0, 1)); /* a row counts until it is released */
	store_release(&mem->rows[1].word, row_word(1, 0));
	EXPECT_TRUE(!ltz__table_hazard(mem, 0, 1));
}
