/* SPDX-License-Identifier: MIT */
/* test_bucket.c - how often somebody may guess. Time is what the test says it is. */
#include "pool/bucket.h"

#include <pthread.h>

#include "harness.h"

#define TOKEN LTZ_BUCKET_TOKEN_NS
#define NOW UINT64_C(1000000000000)

static unsigned take_all(uint64_t *word, uint64_t now_ns)
{
	unsigned taken = 0;

	while (taken < 100 && ltz__bucket_take(word, now_ns) == 0)
		taken++;
	return taken;
}

TEST(a_burst_then_three_a_second)
{
	uint64_t word = 0;

	EXPECT_EQ_U64(take_all(&word, NOW), LTZ_BUCKET_BURST);
	EXPECT_EQ_U64(ltz__bucket_take(&word, NOW), TOKEN);
	EXPECT_EQ_U64(ltz__bucket_take(&word, NOW + TOKEN - 1), 1);
	EXPECT_EQ_U64(take_all(&word, NOW + TOKEN), 1);
	EXPECT_EQ_U64(take_all(&word, NOW + 4 * TOKEN), 3);
	EXPECT_EQ_U64(take_all(&word, NOW + 3600 * 3 * TOKEN), LTZ_BUCKET_BURST);
}

TEST(ten_seconds_of_guessing_give_five_and_thirty)
{
	uint64_t word = 0;
	unsigned taken = 0;

	for (uint64_t ns = 0; ns < 30 * TOKEN; ns += 1000000)
		taken += take_all(&word, NOW + ns);
	EXPECT_EQ_U64(taken, LTZ_BUCKET_BURST + 29);
}

TEST(what_is_given_back_can_be_taken)
{
	uint64_t word = 0;

	take_all(&word, NOW);
	ltz__bucket_give_back(&word);
	EXPECT_EQ_U64(take_all(&word, NOW), 1);
	for (int i = 0; i < 100; i++) {
		ltz__bucket_give_back(&word);
		EXPECT_EQ_U64(ltz__bucket_take(&word, NOW), 0);
	}
	EXPECT_EQ_U64(take_all(&word, NOW), 0);
	word = 1;
	ltz__bucket_give_back(&word);
	EXPECT_EQ_U64(take_all(&word, NOW), LTZ_BUCKET_BURST);
}

TEST(garbage_heals_within_four_seconds_and_gives_no_more_than_a_burst)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t word = i == 0 ? UINT64_MAX : test_random() >> test_random_below(64);

		EXPECT_TRUE(take_all(&word, NOW) <= LTZ_BUCKET_BURST);
		EXPECT_EQ_U64(take_all(&word, NOW), 0);
		EXPECT_TRUE(ltz__bucket_take(&word, NOW) <= TOKEN + 2000000000u);
		EXPECT_EQ_U64(take_all(&word, NOW + LTZ_BUCKET_BURST * TOKEN + 2000000000u), LTZ_BUCKET_BURST);
	}
}

TEST(who_is_late_gives_nothing_away)
{
	uint64_t word = 0;

	take_all(&word, NOW);
	EXPECT_TRUE(ltz__bucket_take(&word, NOW - 1000000000u) != 0);
	EXPECT_EQ_U64(take_all(&word, NOW), 0);
}

static uint64_t shared_word;

static void *take_in_thread(void *taken)
{
	for (int i = 0; i < 100000; i++)
		*(unsigned *)taken += ltz__bucket_take(&shared_word, NOW) == 0;
	return NULL;
}

static void *borrow_in_thread(void *unused)
{
	for (int i = 0; i < 100000; i++)
		if (ltz__bucket_take(&shared_word, NOW) == 0)
			ltz__bucket_give_back(&shared_word);
	return unused;
}

static void run_threads(void *(*run)(void *), unsigned *taken)
{
	enum { THREADS = 4 };
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		ASSERT_EQ_INT(pthread_create(&threads[i], NULL, run, &taken[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

TEST(members_share_it)
{
	unsigned taken[4] = { 0 };

	run_threads(take_in_thread, taken);
	EXPECT_EQ_U64(taken[0] + taken[1] + taken[2] + taken[3], LTZ_BUCKET_BURST);
	for (unsigned i = 0; i < 2; i++)
		ltz__bucket_give_back(&shared_word);
	run_threads(borrow_in_thread, taken);
	EXPECT_EQ_U64(take_all(&shared_word, NOW), 2);
}
