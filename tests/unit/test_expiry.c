/* SPDX-License-Identifier: MIT */
/* test_expiry.c - the sweep: what has expired goes, what has not stays, and a sweep that died holds nothing up. */
#include "store/expiry.h"

#include "store/due.h"

#include "../stress/pools.h"
#include "sys/fault.h"

static uint64_t next_ms;

static uint64_t sweep(struct ltz_mem *mem, bool all)
{
	return ltz__sweep(mem, &mem->lane[LANE_SERVICE], all, &next_ms);
}

static void put_for(struct ltz_mem *mem, uint64_t number, uint64_t ttl_ms)
{
	struct ltz_hkey key = key_of_number(mem, &number);

	ASSERT_EQ_INT(put_ttl(mem, &key, &number, 8, ttl_ms), 0);
}

/* The due word of the extent that holds a key's record. */
static uint64_t *due_of(struct ltz_mem *mem, uint64_t number)
{
	struct ltz_hkey key = key_of_number(mem, &number);
	struct ltz_place place;

	ASSERT_EQ_INT(ltz__block_place(mem, *pool_slot(mem, &key) & mem->ref_mask, &place), 0);
	return &place.extent->due;
}

TEST(what_has_expired_goes_and_the_rest_stays)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);
	uint64_t now = map_now_ms(mem);

	for (uint64_t i = 0; i < 1000; i++)
		put_for(mem, i, i % 2 ? 5000 : 100000);
	for (uint64_t i = 1000; i < 1100; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
	EXPECT_EQ_U64(sweep(mem, false), 0);
	EXPECT_TRUE(next_ms >= now + 5000 && next_ms <= now + 5000 + 60000);
	EXPECT_EQ_U64(ltz__map_count(mem), 1100);
	pool_travel(mem, 70 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 500);
	EXPECT_EQ_U64(ltz__map_count(mem), 600);
	EXPECT_TRUE(next_ms >= now + 100000 && next_ms <= now + 160000);
	EXPECT_EQ_U64(sweep(mem, false), 0);
	for (uint64_t i = 0; i < 1000; i += 2)
		EXPECT_EQ_INT(get_number(mem, i, &(uint64_t){ 0 }, 8, NULL), 0);
	EXPECT_CLEAN(mem);
	pool_travel(mem, 100 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 500);
	EXPECT_EQ_U64(ltz__map_count(mem), 100);
	EXPECT_EQ_U64(next_ms, SHM_NEVER);
	EXPECT_EQ_U64(load_relaxed(&mem->header->expired), 1000);
	EXPECT_CLEAN(mem);
}

TEST(records_of_every_size_are_swept)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 0);
	static const uint8_t value[3000000];
	const uint64_t sizes[] = { 0, 1, 100, 5000, 70000, 600000, 3000000 };

	for (uint64_t i = 0; i < 7; i++) {
		struct ltz_hkey key = key_of_number(mem, &i);

		ASSERT_EQ_INT(put_ttl(mem, &key, value, sizes[i], 3000), 0);
	}
	EXPECT_EQ_U64(sweep(mem, true), 0);
	pool_travel(mem, 4 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 7);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
}

TEST(any_member_sweeps_the_records_of_all)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0), *other = pool_join_again(mem);

	for (uint64_t i = 0; i < 100; i++)
		put_for(i % 2 ? mem : other, i, 3000);
	pool_travel(mem, 4 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 100);
	EXPECT_EQ_U64(ltz__map_count(other), 0);
	EXPECT_CLEAN(mem);
}

TEST(a_key_that_was_set_anew_is_not_swept)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);

	for (uint64_t i = 0; i < 30; i++)
		put_for(mem, i, 3000);
	for (uint64_t i = 0; i < 10; i++) /* for ever */
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
	for (uint64_t i = 10; i < 20; i++)
		put_for(mem, i, 300000);
	pool_travel(mem, 4 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 10);
	EXPECT_NUMBERS(mem, 20);
	EXPECT_EQ_U64(ltz__map_count(mem), 20);
	EXPECT_CLEAN(mem);
}

TEST(an_extent_is_visited_only_when_it_is_due)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);
	uint64_t *due, before;

	put_for(mem, 1, 50000);
	due = due_of(mem, 1);
	before = load_acquire(due);
	EXPECT_EQ_U64(sweep(mem, false), 0);
	EXPECT_EQ_U64(load_acquire(due), before);
	EXPECT_EQ_U64(next_ms, before);
	store_release(due, before - 49000); /* lower than need be: costs a visit, which puts it right */
	pool_travel(mem, 3 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 0);
	EXPECT_EQ_U64(load_acquire(due), before);
}

/* A writer lowers due while the extent is being swept: its record must not be forgotten. */
TEST(a_record_that_came_during_the_sweep_is_not_forgotten)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);
	uint64_t *due, marker;

	put_for(mem, 1, 50000);
	due = due_of(mem, 1);
	marker = UINT64_C(1) << 63 | map_now_ms(mem);
	store_release(due, marker);
	put_for(mem, 2, 3000);
	EXPECT_TRUE(due_of(mem, 2) == due);
	EXPECT_TRUE(load_acquire(due) < marker); /* higher than any time: replaced */
	pool_travel(mem, 4 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 1);
	EXPECT_EQ_INT(get_number(mem, 1, &(uint64_t){ 0 }, 8, NULL), 0);
	EXPECT_CLEAN(mem);
}

/*
 * Two sweeps of one extent, the first of which saw nothing before the record of
 * a day; another record came between their beginnings, and the second one is
 * stopped for ever: the first one's end must not hide what only it would see.
 */
TEST(the_end_of_a_sweep_hides_nothing_that_another_one_was_to_see)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);
	uint64_t now = map_now_ms(mem), *due;

	put_for(mem, 1, 86400000);
	put_for(mem, 2, 3000);
	due = due_of(mem, 1);
	ASSERT_TRUE(due_of(mem, 2) == due);
	store_release(due, due_marker(7, now)); /* the second one's, which replaced the first one's */
	due_settle((struct shm_extent *)due, due_marker(6, now), now + 86400000);
	EXPECT_TRUE(!due_is_come(load_acquire(due), now));
	EXPECT_TRUE(due_is_come(load_acquire(due), now + DUE_SWEEP_LATE));
	pool_travel(mem, 4 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 1);
	EXPECT_EQ_INT(get_number(mem, 1, &(uint64_t){ 0 }, 8, NULL), 0);
	EXPECT_CLEAN(mem);
}

/* ---- a sweep that died ------------------------------------------------------------------------------- */

TEST(a_marker_left_by_a_dead_sweep_is_passed_over_after_a_second)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);
	uint64_t *due;

	put_for(mem, 1, 100);
	put_for(mem, 2, 100000);
	due = due_of(mem, 1);
	pool_travel(mem, 10 * SECOND_NS);
	store_release(due, UINT64_C(1) << 63 | map_now_ms(mem));
	EXPECT_EQ_U64(sweep(mem, false), 0); /* somebody is at it, as far as is known */
	pool_travel(mem, 2 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 1);
	EXPECT_TRUE(load_acquire(due) < UINT64_C(1) << 63);
	EXPECT_EQ_U64(load_acquire(due), next_ms);
	EXPECT_CLEAN(mem);
}

static void stop_in_a_sweep(struct ltz_mem *me)
{
	for (uint64_t g = 0; g < ltz__granules_high(me); g++) {
		uint64_t owner = owner_load(me, g);

		if (owner_kind(owner) == OWNER_SLAB && (owner_low(owner) & CLS_EXPIRING)) {
			struct shm_extent *extent = at_granule(me, g);

			store_release(&extent->due, UINT64_C(1) << 63 | map_now_ms(me));
			store_release(&me->lane[LANE_SERVICE].shm->hr, g * 2048 + 4);
		}
	}
}

TEST(a_janitor_that_died_in_its_sweep_leaves_nothing_unswept)
{
	struct ltz_mem *mem = survivor_of(16 * MIB, 0);

	for (uint64_t i = 0; i < 100; i++)
		put_for(mem, i, 100);
	die_in(stop_in_a_sweep);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 1);
	pool_travel(mem, 2 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, true), 100);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
	pool_tick(mem, 3);
	EXPECT_EQ_U64(pool_counts(mem).slab + pool_counts(mem).claimed, 0); /* its hazard does not stay */
}

static void leave_an_expiring_private_block(struct ltz_mem *me)
{
	struct ltz_block block;
	struct ltz_place place;

	put_for(me, 1, 100);
	ASSERT_EQ_INT(ltz__block_alloc(me, my_lane(me), 40, true, &block), 0);
	memcpy(at_ref(me, block.ref), at_ref(me, block.ref - block.bytes / 32), 40); /* complete, of a key that is there, in no slot */
	ASSERT_EQ_INT(ltz__block_place(me, block.ref, &place), 0);
	due_announce(place.extent, map_now_ms(me));
}

TEST(an_expired_block_of_the_dead_that_nobody_published_is_left_to_adoption)
{
	struct ltz_mem *mem = survivor_of(16 * MIB, 0);

	die_in(leave_an_expiring_private_block);
	pool_travel(mem, 5 * SECOND_NS);
	EXPECT_EQ_U64(sweep(mem, false), 1);
	EXPECT_EQ_U64(ltz__map_count(mem), 1); /* not ours to free */
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 1);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
}

/* ---- by the service thread ------------------------------------------------------------------------------- */

TEST(ticks_sweep_and_len_follows)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);

	for (uint64_t i = 0; i < 500; i++)
		put_for(mem, i, 2000);
	ltz__tick(mem);
	EXPECT_EQ_U64(ltz__map_count(mem), 500);
	pool_travel(mem, 3 * SECOND_NS); /* at most a second after expiry */
	ltz__tick(mem);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
	pool_tick(mem, 4);
	EXPECT_EQ_U64(pool_counts(mem).slab + pool_counts(mem).claimed, 0);
}

/* Another janitor has long planned its next sweep when a short-lived record comes. */
TEST(a_short_ttl_is_noticed_though_the_next_sweep_was_far_away)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0), *other = pool_join_again(mem);

	put_for(mem, 1, 3600000);
	pool_tick(mem, 2); /* the next sweep is in an hour, it thinks */
	put_for(other, 2, 1500);
	pool_travel(mem, 3 * SECOND_NS);
	ltz__tick(mem);
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
}

#ifdef LTZ_FAULTS

TEST(a_sweep_without_memory_is_wanted_again_at_once)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);
	struct ltz_hkey key = key_of(mem, "key");
	uint64_t next_ms;

	ASSERT_EQ_INT(put_ttl(mem, &key, "", 0, 1000), 0);
	pool_travel(mem, 2 * SECOND_NS);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, ENOMEM);
	EXPECT_EQ_U64(ltz__sweep(mem, &mem->lane[LANE_SERVICE], false, &next_ms), 0);
	EXPECT_TRUE(next_ms <= map_now_ms(mem));
	EXPECT_EQ_U64(ltz__sweep(mem, &mem->lane[LANE_SERVICE], false, &next_ms), 1);
}

#endif
