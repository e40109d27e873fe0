/* SPDX-License-Identifier: MIT */
/* test_futex.c - waiting on a word that another process changes. */
#include "sys/sys.h"

#include <errno.h>
#include <sys/mman.h>

#include "harness.h"

struct shared {
	uint32_t word, woken;
	struct test_gate ready;
};

static struct shared *share(void)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ASSERT_TRUE(shared != MAP_FAILED);
	test_gate_init(&shared->ready);
	return shared;
}

TEST(a_word_that_already_differs_is_not_waited_for)
{
	uint32_t word = 1;

	EXPECT_EQ_INT(ltz__sys_futex_wait(&word, 0, UINT64_MAX), 0);
}

TEST(a_wait_ends_at_its_time)
{
	uint64_t start_ns = ltz__sys_boottime_ns();
	uint32_t word = 1;

	EXPECT_EQ_INT(ltz__sys_futex_wait(&word, 1, 20000000), -ETIMEDOUT);
	EXPECT_TRUE(ltz__sys_boottime_ns() - start_ns >= 20000000);
}

static void sleep_until_changed(void *context)
{
	struct shared *shared = context;

	test_gate_open(&shared->ready);
	while (__atomic_load_n(&shared->word, __ATOMIC_ACQUIRE) == 0)
		EXPECT_EQ_INT(ltz__sys_futex_wait(&shared->word, 0, UINT64_MAX), 0);
}

TEST(another_process_wakes_the_sleeper)
{
	struct shared *shared = share();
	pid_t child = test_fork(sleep_until_changed, shared);

	test_gate_wait(&shared->ready);
	__atomic_store_n(&shared->word, 1, __ATOMIC_RELEASE);
	EXPECT_OK(ltz__sys_futex_wake(&shared->word, 1));
	test_wait(child);
}

static void sleep_on_readonly(void *context)
{
	struct shared *shared = context;

	ASSERT_OK(mprotect(shared, 4096, PROT_READ));
	test_gate_open(&shared->ready);
	while (__atomic_load_n(&shared->word, __ATOMIC_ACQUIRE) == 0)
		EXPECT_EQ_INT(ltz__sys_futex_wait(&shared->word, 0, UINT64_MAX), 0);
}

TEST(the_word_may_be_mapped_read_only)
{
	struct shared *shared = share();
	pid_t child = test_fork(sleep_on_readonly, shared);

	test_gate_wait(&shared->ready);
	__atomic_store_n(&shared->word, 1, __ATOMIC_RELEASE);
	EXPECT_OK(ltz__sys_futex_wake(&shared->word, 1));
	test_wait(child);
}

TEST(wake_says_how_many)
{
	uint32_t word = 0;

	EXPECT_EQ_INT(ltz__sys_futex_wake(&word, 5), 0);
}
