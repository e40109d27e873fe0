/* SPDX-License-Identifier: MIT */
/*
 * test_failing_locked.c - the system says no to the n-th call, for every n, in
 * each call that joins a locked pool or hands one over (tests/oom has the open
 * ones).
 */
#include "proc.h"
#include "sys/fault.h"

#ifdef LTZ_FAULTS

#define CALLS_MAX 400 /* more than any call here makes */

static const int errors[] = { ENOMEM, EMFILE, EIO };

static int ignore(void *context, const struct ltz_pool_info *info)
{
	(void)context;
	(void)info;
	return 0;
}

/* Does work() with its n-th call failing. False: it did not make that many. */
static bool fail_nth(uint64_t n, int error, int (*work)(void *), void *context, int *result)
{
	ltz__fault_set_call(LTZ_FAULT_THREAD, n, error);
	*result = work(context);
	bool reached = ltz__fault_calls(LTZ_FAULT_THREAD) >= n;
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	return reached;
}

struct task {
	const char *dir;
	struct ltz_open_options options;
	ltz_pool *pool;
};

static struct task task_in(const char *dir)
{
	/* Little patience: a call that fails may look like a member that does not answer. */
	return (struct task){ .dir = dir, .options = { .dir = dir, .timeout_ms = 300, .max_size_bytes = 8 << 20 } };
}

/* For every n and error: work, then undo if it succeeded. */
static void fail_each_call(struct task *task, int (*work)(void *), void (*undo)(struct task *))
{
	unsigned descriptors = count_descriptors();

	for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++) {
		uint64_t n = 1;
		int result;
		while (fail_nth(n, errors[e], work, task, &result)) {
			ASSERT_TRUE(n < CALLS_MAX);
			if (result == 0)
				undo(task);
			else
				EXPECT_TRUE(result < 0);
			if (count_descriptors() != descriptors)
				test_fail(TEST_AT(TEST_ASSERT), "%u descriptors, expected %u, after call %d failed with %d: result %d",
				          count_descriptors(), descriptors, (int)n, errors[e], result);
			EXPECT_THREADS(1);
			EXPECT_EQ_INT(ltz_list(task->dir, ignore, NULL), 0);
			n++;
		}
		EXPECT_EQ_INT(result, 0); /* nothing failed in the last round */
		undo(task);
		printf("%d calls\n", (int)n - 1);
	}
}

static void close_pool(struct task *task)
{
	EXPECT_EQ_INT(set_number(task->pool, "k", 1), 0);
	ltz_close(task->pool);
}

static int create(void *context)
{
	struct task *task = context;

	return ltz_create("failing", &task->options, &task->pool);
}

static const char raw_key[32] = "one-word";

static struct ltz_open_options locked_options(const char *dir, unsigned flags)
{
	return (struct ltz_open_options){
		.dir = dir, .timeout_ms = 300, .flags = flags | LTZ_RAW_KEY, .key = raw_key, .key_size = sizeof raw_key,
	};
}

static int connect_locked(void *context)
{
	struct task *task = context;
	struct ltz_open_options options = locked_options(task->dir, 0);

	return ltz_connect("failing", &options, &task->pool);
}

/* Hands the pool over to this process itself, which then has a second handle. */
static int hand_over(void *context)
{
	struct task *task = context;
	struct ltz_open_options options = { .dir = task->dir };
	int fds[LTZ_EXPORT_FDS], r = ltz_export(task->pool, fds);
	ltz_pool *second;

	if (r == 0)
		r = ltz_import("failing", fds, &options, &second);
	if (r == 0)
		ltz_close(second);
	return r;
}

TEST_WITH_LIMIT(locked_pools_survive_each_failing_call, 120)
{
	struct task task = task_in(test_directory());
	struct role role;
	uint64_t n = 1;
	int result;

	task.options = locked_options(task.dir, LTZ_AUTH);
	task.options.max_size_bytes = 8 << 20;
	fail_each_call(&task, create, close_pool);
	role_start(&role, task.dir);
	role_tell(&role, "key %s %u", raw_key, LTZ_AUTH | LTZ_RAW_KEY);
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	ASSERT_EQ_INT(role_ask(&role, "create failing 64"), 0);
	fail_each_call(&task, connect_locked, close_pool);

	ASSERT_EQ_INT(connect_locked(&task), 0);
	unsigned descriptors = count_descriptors();
	for (; fail_nth(n, EMFILE, hand_over, &task, &result); n++) {
		EXPECT_TRUE(result <= 0);
		POLL_UNTIL(count_descriptors() <= descriptors); /* less: a connection may have been counted */
	}
	EXPECT_EQ_INT(result, 0);
	ltz_close(task.pool);
	role_end(&role);
	EXPECT_EQ_U64(count_entries(task.dir), 0);
}

#else

TEST(faults_are_compiled_in)
{
	test_skip("built without LTZ_FAULTS");
}

#endif
