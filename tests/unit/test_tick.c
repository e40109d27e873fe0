/* SPDX-License-Identifier: MIT */
/* test_tick.c - housekeeping: the index keeps its size, memory comes ahead and goes back, one member does it for all. */
#include "store/tick.h"

#include "../stress/pools.h"
#include "store/resize.h"
#include "sys/fault.h"

static void fill(struct ltz_mem *mem, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
}

/* Ticks until it wants to rest; returns how many it took. */
static unsigned settle(struct ltz_mem *mem)
{
	unsigned n = 1;

	while (ltz__tick(mem) == 0 && n < 10000)
		n++;
	return n;
}

/* ---- the index -------------------------------------------------------------------------------------- */

TEST(the_index_grows_with_its_records)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 0);

	for (uint64_t n = 0; n < 50000; n += 1000) {
		fill(mem, n, n + 1000);
		EXPECT_TRUE(settle(mem) < 1000);
	}
	EXPECT_NUMBERS(mem, 50000);
	EXPECT_TRUE(pool_table(mem).buckets * 5 >= 50000);      /* about 4 a bucket */
	EXPECT_TRUE(pool_table(mem).buckets <= 50000);
	pool_tick(mem, 3); /* idle lanes let go of the old ones */
	EXPECT_EQ_U64(extents_of_kind(mem, OWNER_TABLE), 1);
	EXPECT_EQ_U64(claimed_entries(mem), 1);
	EXPECT_CLEAN(mem);
}

TEST(the_index_shrinks_when_its_records_are_gone)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 4);

	for (uint64_t n = 0; n < 20000; n += 500) {
		fill(mem, n, n + 500);
		settle(mem);
	}
	ASSERT_TRUE(pool_table(mem).log2 >= 12);
	for (uint64_t i = 100; i < 20000; i++)
		ASSERT_EQ_INT(drop_number(mem, i), 0);
	for (unsigned i = 0; i < 20; i++) {
		pool_travel(mem, 2 * SECOND_NS);
		settle(mem);
	}
	EXPECT_TRUE(pool_table(mem).log2 <= 8);
	EXPECT_TRUE(pool_table(mem).log2 >= 5);
	EXPECT_NUMBERS(mem, 100);
	for (uint64_t i = 0; i < 100; i++)
		ASSERT_EQ_INT(drop_number(mem, i), 0);
	for (unsigned i = 0; i < 20; i++) {
		pool_travel(mem, 2 * SECOND_NS);
		settle(mem);
	}
	EXPECT_EQ_U64(pool_table(mem).log2, 4); /* never below what the pool was made with */
	EXPECT_EQ_U64(extents_of_kind(mem, OWNER_TABLE), 1);
	EXPECT_CLEAN(mem);
}

/* Keys of one bucket need a line in a table of any size: resizing does not help, and must not go on for ever. */
TEST(a_bucket_that_stays_full_does_not_keep_the_service_busy)
{
	for (unsigned log2 = 1; log2 <= 4; log2++)
		for (unsigned keys = 6; keys <= 20; keys++) {
			struct ltz_mem *mem = pool_new(8 * MIB, log2);
			uint64_t number = 0;

			for (unsigned i = 0; i < keys; i++) {
				number_in_bucket(mem, 8, 77, &number);
				ASSERT_EQ_INT(put_number(mem, number, "x", 1), 0);
			}
			for (unsigned i = 0; i < 5; i++) {
				pool_travel(mem, 2 * SECOND_NS);
				if (settle(mem) > 100)
					test_fail(TEST_AT(TEST_ASSERT), "log2 %u, %u keys of one bucket: %llu resizes and no end", log2, keys,
					          (unsigned long long)load_relaxed(&mem->header->resizes));
			}
			EXPECT_TRUE(load_relaxed(&mem->header->resizes) <= 12);
			EXPECT_EQ_U64(ltz__map_count(mem), keys);
			pool_leave(mem);
		}
}

TEST(lines_left_by_records_that_are_gone_are_compacted)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 9);

	fill(mem, 0, 8000); /* no tick: many lines */
	for (uint64_t i = 500; i < 8000; i++)
		ASSERT_EQ_INT(drop_number(mem, i), 0);
	ASSERT_TRUE(lines_used(load_acquire(&pool_table(mem).shm->lines)) > 500);
	for (unsigned i = 0; i < 4; i++) {
		pool_travel(mem, 2 * SECOND_NS);
		settle(mem);
	}
	EXPECT_EQ_U64(pool_table(mem).log2, 9);
	EXPECT_TRUE(lines_used(load_acquire(&pool_table(mem).shm->lines)) < 50);
	EXPECT_NUMBERS(mem, 500);
	EXPECT_CLEAN(mem);
}

TEST(a_resize_that_another_is_about_to_begin_is_left_to_it)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 4);
	unsigned log2 = pool_table(mem).log2;

	fill(mem, 0, 300);
	store_release(&mem->header->resizer, label_make(7, 0, 1) << 8 | (ltz__mem_now_ns(mem) >> 26 & 0xffffff));
	for (unsigned i = 0; i < 3; i++)
		ltz__tick(mem);
	EXPECT_EQ_U64(pool_table(mem).log2, log2);
	pool_travel(mem, 2 * SECOND_NS); /* it died over it */
	settle(mem);
	EXPECT_TRUE(pool_table(mem).log2 > log2);
	EXPECT_EQ_U64(load_acquire(&mem->header->resizer), 0);
	EXPECT_NUMBERS(mem, 300);
}

TEST(a_resize_that_another_began_is_ended)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 9), *other = pool_join_again(mem);
	struct ltz_root root;

	fill(mem, 0, 1000);
	ASSERT_EQ_INT(ltz__table_enter(other, my_lane(other), &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(other, my_lane(other), &root, 10), 0); /* and is stopped */
	settle(mem);
	EXPECT_EQ_U64(pool_table(mem).log2, 10);
	EXPECT_NUMBERS(mem, 1000);
}

/* ---- memory ------------------------------------------------------------------------------------------ */

TEST(memory_comes_ahead_of_need)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 0);

	ltz__tick(mem);
	EXPECT_TRUE(pool_counts(mem).free >= 16);
	EXPECT_EQ_U64(load_relaxed(&mem->header->free_hint), pool_counts(mem).free);
}

TEST(what_others_are_committing_is_not_committed_again)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 0), *other = pool_join_again(mem);
	uint64_t before;

	pool_tick(mem, 2);
	while (ltz__granules_claim(mem, &mem->lane[LANE_SERVICE], 1) >= 0 && pool_counts(mem).free)
		;
	store_release(&other->lane[LANE_SERVICE].shm->taking, 64);
	before = pool_backed_bytes(mem);
	pool_tick(mem, 1);
	EXPECT_TRUE(pool_backed_bytes(mem) <= before);
	store_release(&other->lane[LANE_SERVICE].shm->taking, 0);
	pool_tick(mem, 1);
	EXPECT_TRUE(pool_backed_bytes(mem) >= before + 2 * MIB);
}

TEST(a_small_pool_is_not_overdrawn_by_what_comes_ahead)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0);
	static char value[30000];
	uint64_t n = 0;

	pool_tick(mem, 3);
	while (put_number(mem, n, value, sizeof(value)) == 0) {
		ltz__tick(mem);
		n++;
	}
	EXPECT_TRUE(n >= 50); /* of 30,000 bytes each in 2 MiB less a table and some */
	pool_tick(mem, 3);
	EXPECT_CLEAN(mem);
}

static void expect_memory_back(struct ltz_mem *mem, uint64_t peak)
{
	uint64_t now;

	for (unsigned i = 0; i < 25; i++) {
		pool_travel(mem, 2 * SECOND_NS);
		settle(mem);
	}
	now = pool_backed_bytes(mem);
	if (now * 20 > peak)
		test_fail(TEST_AT(TEST_EXPECT), "%llu of %llu KiB are still there", (unsigned long long)(now >> 10),
		          (unsigned long long)(peak >> 10));
	EXPECT_EQ_U64(pool_counts(mem).slab + pool_counts(mem).run + pool_counts(mem).claimed, 0);
}

TEST_WITH_LIMIT(memory_goes_back_after_clear, 60)
{
	struct ltz_mem *mem = pool_new(512 * MIB, 0);
	static const uint64_t sizes[] = { 20, 100, 500, 3000, 20000, 100000, 1000000 };
	static const char value[1000000];
	uint64_t peak, removed;

	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t i = 0; i < 30000; i++) {
			ASSERT_EQ_INT(put_number(mem, i, value, sizes[i % 400 ? i % 4 : 4 + i / 400 % 3]), 0);
			if (i % 1000 == 0)
				ltz__tick(mem);
		}
		settle(mem);
		peak = pool_backed_bytes(mem);
		EXPECT_TRUE(peak > 40 * MIB);
		ASSERT_EQ_INT(ltz__map_clear(mem, &removed), 0);
		EXPECT_EQ_U64(removed, 30000);
		expect_memory_back(mem, peak > 128 * MIB ? peak : 128 * MIB); /* 2 to 64 MiB ready for use are not too much */
	}
	EXPECT_CLEAN(mem);
}

TEST(what_was_given_back_is_not_taken_again)
{
	struct ltz_mem *mem = pool_new(512 * MIB, 0);
	static const char value[400000];
	uint64_t least = UINT64_MAX;

	for (uint64_t i = 0; i < 400; i++) { /* grows so fast that 64 MiB are made ready */
		ASSERT_EQ_INT(put_number(mem, i, value, sizeof(value)), 0);
		if (i % 40 == 0)
			ltz__tick(mem);
	}
	ASSERT_EQ_INT(ltz__map_clear(mem, NULL), 0);
	for (unsigned i = 0; i < 12; i++) {
		uint64_t now;

		pool_travel(mem, 2 * SECOND_NS);
		settle(mem);
		now = pool_backed_bytes(mem);
		EXPECT_TRUE(now <= least);
		least = now < least ? now : least;
	}
	EXPECT_TRUE(least < 8 * MIB);
}

TEST_WITH_LIMIT(a_peak_of_a_gigabyte_goes_back_to_a_twentieth, 120)
{
	struct ltz_mem *mem = pool_new(2048 * MIB, 0);
	static const char value[400000];
	uint64_t peak;

	for (uint64_t i = 0; i < 2700; i++)
		ASSERT_EQ_INT(put_number(mem, i, value, sizeof(value)), 0);
	peak = pool_backed_bytes(mem);
	EXPECT_TRUE(peak > 1024 * MIB);
	ASSERT_EQ_INT(ltz__map_clear(mem, NULL), 0);
	expect_memory_back(mem, peak);
	EXPECT_CLEAN(mem);
}

TEST(memory_that_has_just_come_free_stays_for_a_second)
{
	struct ltz_mem *mem = pool_new(256 * MIB, 0);
	static const char value[60000];
	uint64_t peak;

	for (uint64_t i = 0; i < 1000; i++)
		ASSERT_EQ_INT(put_number(mem, i, value, sizeof(value)), 0);
	ASSERT_EQ_INT(ltz__map_clear(mem, NULL), 0);
	peak = pool_backed_bytes(mem);
	pool_travel(mem, 2 * SECOND_NS);
	ltz__tick(mem); /* reclaims, releases */
	EXPECT_TRUE(pool_backed_bytes(mem) + MIB >= peak); /* readers may be late */
	pool_travel(mem, 2 * SECOND_NS);
	pool_tick(mem, 3);
	EXPECT_TRUE(pool_backed_bytes(mem) < peak / 2);
}

/* ---- idle lanes, dead members, the janitor ------------------------------------------------------------------ */

TEST(an_idle_lane_pins_no_table_and_a_used_one_keeps_its_slab)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);
	struct ltz_lane *lane;

	fill(mem, 0, 10);
	lane = &mem->lane[ltz__lane_hint];
	EXPECT_TRUE(lane->th != 0);
	pool_tick(mem, 1);
	EXPECT_TRUE(lane->th != 0); /* used since the last tidying */
	pool_tick(mem, 1);
	EXPECT_EQ_U64(lane->th, 0);
	EXPECT_EQ_U64(load_acquire(&lane->shm->th), 0);
	fill(mem, 10, 20);
	EXPECT_NUMBERS(mem, 20);
}

TEST(ticks_settle_the_dead)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0), *other = pool_join_again(mem);

	fill(other, 0, 1000);
	pool_leave(other);
	pool_tick(mem, 1);
	EXPECT_EQ_U64(load_relaxed(&mem->header->recovered), 1);
	EXPECT_NUMBERS(mem, 1000);
	EXPECT_CLEAN(mem);
}

TEST(what_a_large_member_left_is_settled_over_several_ticks)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 0), *large = pool_join_again(mem), *small = pool_join_again(mem);
	unsigned ticks = 0;

	fill(large, 0, 100000);
	fill(small, 100000, 101000);
	pool_leave(large);
	pool_leave(small);
	EXPECT_TRUE(ltz__settle_row(mem, 1)); /* as a pidfd tells */
	EXPECT_EQ_U64(load_relaxed(&mem->header->recovered), 0);
	EXPECT_TRUE(ltz__settle_row(mem, 2)); /* after the first */
	while (ltz__tick(mem) == 0 && ticks < 1000) /* it wants to be called again at once */
		ticks++;
	EXPECT_TRUE(ticks > 5);
	EXPECT_EQ_U64(load_relaxed(&mem->header->recovered), 2);
	EXPECT_NUMBERS(mem, 101000);
	EXPECT_CLEAN(mem);
}

/*
 * A member that is stopped for ever: what it wrote is everybody's, to read, to
 * replace and to delete. Only the memory of what is deleted stays its own; the
 * pool is full the sooner, and whole again when it is dead.
 */
TEST(what_a_stopped_member_wrote_is_in_use_until_it_is_dead)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0), *stopped = pool_join_again(mem);
	static const char value[3000];
	uint64_t n = 0, held;

	while (n < 4000 && put_number(stopped, n, value, sizeof(value)) == 0)
		n++;
	ASSERT_EQ_U64(n, 4000);
	held = pool_counts(mem).slab;
	for (uint64_t i = 0; i < n; i++)
		ASSERT_EQ_INT(drop_number(mem, i), 0);
	pool_tick(mem, 4);
	EXPECT_EQ_U64(pool_counts(mem).slab, held); /* all of it, and no more */
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	for (n = 0; put_number(mem, n, value, sizeof(value)) == 0;)
		n++;
	EXPECT_TRUE(n > 0 && n < 2000);
	EXPECT_EQ_INT(put_number(mem, n, value, sizeof(value)), -ENOSPC);
	EXPECT_EQ_INT(drop_number(mem, 1), 0);
	EXPECT_EQ_INT(put_number(mem, n, value, sizeof(value)), 0); /* our own memory comes and goes as ever */
	EXPECT_CLEAN(mem);
	pool_leave(stopped);
	pool_tick(mem, 4);
	for (n = 0; n < 4000; n++)
		ASSERT_EQ_INT(put_number(mem, n, value, sizeof(value)), 0);
	EXPECT_CLEAN(mem);
}

/* Only a stopped owner keeps it: one that merely does nothing has its service thread. */
TEST(an_idle_owner_gives_back_what_others_delete)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0), *idle = pool_join_again(mem);
	static const char value[3000];

	for (uint64_t i = 0; i < 1000; i++)
		ASSERT_EQ_INT(put_number(idle, i, value, sizeof(value)), 0);
	for (uint64_t i = 0; i < 1000; i++)
		ASSERT_EQ_INT(drop_number(mem, i), 0);
	pool_tick(mem, 3);
	EXPECT_TRUE(pool_counts(mem).slab > 0);
	pool_tick(idle, 3);
	EXPECT_EQ_U64(pool_counts(mem).slab + pool_counts(mem).claimed, 0);
	EXPECT_CLEAN(mem);
}

TEST(one_member_is_janitor_and_another_takes_over)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0), *other = pool_join_again(mem), *dead;
	uint64_t lease;

	pool_tick(mem, 1);
	lease = load_acquire(&mem->header->janitor);
	EXPECT_EQ_U64(lease >> 52, mem->row_index);
	ltz__mem_set_now(other, ltz__mem_now_ns(mem)); /* both know the pool's time */
	ltz__tick(other);
	EXPECT_EQ_U64(load_acquire(&mem->header->janitor), lease);
	dead = pool_join_again(mem);
	pool_leave(dead);
	pool_travel(other, 2 * SECOND_NS); /* the janitor has not been seen for long */
	ltz__tick(other);
	EXPECT_EQ_U64(load_acquire(&mem->header->janitor) >> 52, other->row_index);
	EXPECT_EQ_U64(load_relaxed(&mem->header->recovered), 1);
}

TEST(each_tick_says_when_the_next_is_wanted)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);

	for (unsigned i = 0; i < 10; i++) {
		uint64_t next = ltz__tick(mem);

		EXPECT_TRUE(next <= SECOND_NS);
		pool_travel(mem, next + SECOND_NS);
	}
	EXPECT_TRUE(mem->row->heartbeat_ms >= mem->row->joined_ms);
}

/* What a member that is not the janitor wants to wait after its tick. */
static uint64_t wait_with_members(struct ltz_mem *mem, uint64_t up)
{
	uint64_t wait;

	store_relaxed(&mem->members->up_hint, up);
	pool_travel(mem, 7 * SECOND_NS);
	store_release(&mem->header->janitor, label_make(7, 0, 1) << 8 | (ltz__mem_now_ns(mem) >> 26 & 0xffffff));
	wait = ltz__tick(mem);
	EXPECT_TRUE(wait <= 6 * SECOND_NS);
	return wait;
}

TEST(idle_members_look_up_the_more_seldom_the_more_there_are)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 0);
	uint64_t few, busy;

	wait_with_members(mem, 2);
	few = wait_with_members(mem, 2);
	EXPECT_TRUE(few >= SECOND_NS / 20 && few <= SECOND_NS / 2);
	EXPECT_TRUE(wait_with_members(mem, 1000) > 5 * SECOND_NS);
	EXPECT_TRUE(wait_with_members(mem, UINT64_MAX) > 5 * SECOND_NS);
	fill(mem, 0, 100);
	busy = wait_with_members(mem, 1000);
	EXPECT_TRUE(busy <= SECOND_NS / 10); /* it works: what others retire of it is to be had soon */
}

TEST(how_many_are_up_is_counted_with_the_dead)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0), *other = pool_join_again(mem), *dead = pool_join_again(mem);

	pool_leave(dead);
	store_relaxed(&mem->members->up_hint, 77);
	pool_tick(mem, 1);
	EXPECT_EQ_U64(load_relaxed(&mem->members->up_hint), 2);
	(void)other;
}

TEST(wrong_hints_are_put_right_by_ticks)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 0);

	fill(mem, 0, 100);
	store_relaxed(&mem->header->free_hint, (uint64_t)-1000);
	store_relaxed(&mem->header->free_low, UINT64_MAX);
	store_relaxed(&mem->header->virgin_low, UINT64_MAX);
	store_relaxed(&mem->header->committed_hint, UINT64_C(1) << 60);
	pool_tick(mem, 2);
	EXPECT_EQ_U64(load_relaxed(&mem->header->free_hint), pool_counts(mem).free);
	EXPECT_EQ_U64(load_relaxed(&mem->header->committed_hint), ltz__granules_high(mem) - pool_counts(mem).virgin);
	fill(mem, 100, 5000);
	EXPECT_NUMBERS(mem, 5000);
}

TEST(a_destroyed_pool_gives_its_memory_back_a_second_later)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 0);
	uint64_t before;

	fill(mem, 0, 100000);
	before = pool_backed_bytes(mem);
	ltz__mem_destroy(mem);
	ltz__tick(mem);
	EXPECT_EQ_U64(pool_backed_bytes(mem), before);
	store_release(&mem->row->view[3], 5); /* somebody looks at a value still */
	pool_tick(mem, 3);
	EXPECT_EQ_U64(pool_backed_bytes(mem), before);
	store_release(&mem->row->view[3], 0);
	pool_tick(mem, 1);
	EXPECT_TRUE(pool_backed_bytes(mem) < MIB);
	EXPECT_TRUE(ltz__tick(mem) > 0);
}

#ifdef LTZ_FAULTS

TEST(a_destroyed_pool_whose_memory_could_not_be_given_back_tries_again)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 0);

	fill(mem, 0, 100000);
	ltz__mem_destroy(mem);
	pool_tick(mem, 1);
	pool_travel(mem, 2 * SECOND_NS);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, ENOMEM);
	ltz__tick(mem);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	EXPECT_TRUE(pool_backed_bytes(mem) > MIB);
	pool_tick(mem, 1);
	EXPECT_TRUE(pool_backed_bytes(mem) < MIB);
}

#endif
