/* SPDX-License-Identifier: MIT */
/* test_atomic.c - shared words: what each access does, alone and from several threads. */
#include "base/atomic.h"

#include <pthread.h>

#include "harness.h"

#define THREADS 4
#define TURNS   20000u

static void run_threads(void *(*body)(void *context))
{
	pthread_t thread[THREADS];

	for (uintptr_t i = 0; i < THREADS; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, body, (void *)i), 0);
	for (unsigned i = 0; i < THREADS; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], NULL), 0);
}

TEST(loads_see_what_stores_wrote)
{
	uint64_t word = 0;

	store_relaxed(&word, 7);
	EXPECT_EQ_U64(load_relaxed(&word), 7);
	store_release(&word, UINT64_MAX);
	EXPECT_EQ_U64(load_acquire(&word), UINT64_MAX);
}

TEST(a_swap_needs_the_expected_word)
{
	uint64_t word = 5;

	EXPECT_TRUE(!cas_acq_rel(&word, 4, 9));
	EXPECT_TRUE(!cas_seq_cst(&word, 6, 9));
	EXPECT_EQ_U64(word, 5);
	EXPECT_TRUE(cas_acq_rel(&word, 5, 6));
	EXPECT_TRUE(cas_seq_cst(&word, 6, UINT64_MAX));
	EXPECT_EQ_U64(word, UINT64_MAX);
}

TEST(read_modify_write_returns_the_old_word)
{
	uint64_t word = 0xf0;

	EXPECT_EQ_U64(exchange_seq_cst(&word, 0x11), 0xf0);
	EXPECT_EQ_U64(fetch_add_relaxed(&word, UINT64_MAX), 0x11);
	EXPECT_EQ_U64(fetch_or_release(&word, 0x0f), 0x10);
	EXPECT_EQ_U64(fetch_or_seq_cst(&word, UINT64_C(1) << 63), 0x1f);
	EXPECT_EQ_U64(fetch_and_relaxed(&word, ~UINT64_C(1)), UINT64_C(1) << 63 | 0x1f);
	EXPECT_EQ_U64(word, UINT64_C(1) << 63 | 0x1e);
	count_own(&word);
	EXPECT_EQ_U64(word, UINT64_C(1) << 63 | 0x1f);
}

TEST(raise_only_raises)
{
	uint64_t word = 99;

	raise_acq_rel(&word, 98);
	EXPECT_EQ_U64(word, 99);
	raise_acq_rel(&word, UINT64_MAX);
	EXPECT_EQ_U64(word, UINT64_MAX);
}

static uint64_t shared_word, shared_high, shared_bits[2], wins;

static void *use_words(void *context)
{
	uint64_t id = (uintptr_t)context;

	for (uint64_t i = 0; i < TURNS; i++) {
		uint64_t word;

		fetch_add_relaxed(&shared_word, 1);
		raise_acq_rel(&shared_high, i * THREADS + id);
		fetch_or_release(&shared_bits[0], UINT64_C(1) << (id * 16 + i % 16));
		do
			word = load_acquire(&wins);
		while (!cas_acq_rel(&wins, word, word + 1));
	}
	return NULL;
}

TEST(no_thread_s_change_of_a_word_is_lost)
{
	run_threads(use_words);
	EXPECT_EQ_U64(shared_word, THREADS * TURNS);
	EXPECT_EQ_U64(wins, THREADS * TURNS);
	EXPECT_EQ_U64(shared_high, THREADS * TURNS - 1);
	EXPECT_EQ_U64(shared_bits[0], UINT64_MAX);
	EXPECT_EQ_U64(shared_bits[1], 0);
}

TEST(a_pair_is_swapped_only_if_both_halves_are_expected)
{
	struct word_pair around[3] = { { 1, 2 }, { 3, 4 }, { 5, 6 } };

	EXPECT_EQ_U64((uintptr_t)&around[1] % 16, 0);
	EXPECT_TRUE(!cas_pair(&around[1], 3, 5, 7, 8));
	EXPECT_TRUE(!cas_pair(&around[1], 4, 4, 7, 8));
	EXPECT_TRUE(!cas_pair(&around[1], 4, 3, 7, 8));
	EXPECT_EQ_U64(around[1].a, 3);
	EXPECT_EQ_U64(around[1].b, 4);
	EXPECT_TRUE(cas_pair(&around[1], 3, 4, UINT64_MAX, 8));
	EXPECT_EQ_U64(around[1].a, UINT64_MAX);
	EXPECT_EQ_U64(around[1].b, 8);
	EXPECT_EQ_U64(around[0].b, 2);
	EXPECT_EQ_U64(around[2].a, 5);
}

TEST(a_pair_can_be_swapped_for_itself)
{
	struct word_pair pair = { 0, 0 };

	EXPECT_TRUE(cas_pair(&pair, 0, 0, 0, 0));
	EXPECT_EQ_U64(pair.a | pair.b, 0);
}

static struct word_pair shared_pair;
static uint64_t torn;

static uint64_t partner(uint64_t a) { return a * UINT64_C(0x9e3779b97f4a7c15) + 1; }

/* Adds 1 to a, TURNS times, and keeps b its partner. Looks at the halves as the index does: a, b, a again. */
static void *use_pair(void *context)
{
	(void)context;
	for (unsigned i = 0; i < TURNS;) {
		uint64_t a = load_acquire(&shared_pair.a), b = load_acquire(&shared_pair.b);

		if (load_acquire(&shared_pair.a) == a && b != partner(a))
			fetch_add_relaxed(&torn, 1);
		i += cas_pair(&shared_pair, a, partner(a), a + 1, partner(a + 1));
	}
	return NULL;
}

TEST(pairs_from_several_threads_are_never_torn_nor_lost)
{
	shared_pair = (struct word_pair){ 0, partner(0) };
	run_threads(use_pair);
	EXPECT_EQ_U64(load_acquire(&shared_pair.a), THREADS * TURNS);
	EXPECT_EQ_U64(load_acquire(&shared_pair.b), partner(THREADS * TURNS));
	EXPECT_EQ_U64(torn, 0);
}

static uint64_t flag[2], saw_none;
static pthread_barrier_t start;

/* Dekker: with a full fence between own store and the other's load, at least one of the two sees the other. */
static void *meet(void *context)
{
	unsigned me = (unsigned)(uintptr_t)context;

	for (unsigned i = 1; i <= 2000 && me < 2; i++) {
		static uint64_t seen[2];

		pthread_barrier_wait(&start);
		store_relaxed(&flag[me], i);
		fence_full();
		store_relaxed(&seen[me], load_relaxed(&flag[1 - me]) == i);
		pthread_barrier_wait(&start);
		if (me == 0 && !load_relaxed(&seen[0]) && !load_relaxed(&seen[1]))
			saw_none++;
	}
	return NULL;
}

TEST(a_full_fence_keeps_store_before_load)
{
	ASSERT_EQ_INT(pthread_barrier_init(&start, NULL, 2), 0);
	run_threads(meet);
	EXPECT_EQ_U64(saw_none, 0);
	pthread_barrier_destroy(&start);
}
