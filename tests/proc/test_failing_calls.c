/* SPDX-License-Identifier: MIT */
/*
 * test_failing_calls.c - the system says no to the n-th call, for every n, in
 * each call that joins or leaves; and a process dies between any two steps.
 *
 * After a failure: a clean result, no descriptor and no thread left over, and
 * the same call succeeds when the system allows it again. A name may be left
 * over where its removal failed; the next list removes it.
 */
#include <sys/resource.h>

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

static void undo_nothing(struct task *task)
{
	(void)task;
}

static int create(void *context)
{
	struct task *task = context;

	return ltz_create("failing", &task->options, &task->pool);
}

TEST(create_survives_each_failing_call)
{
	struct task task = task_in(test_directory());

	fail_each_call(&task, create, close_pool);
	EXPECT_EQ_U64(count_entries(task.dir), 0);
}

static int connect_by_name(void *context)
{
	struct task *task = context;
	struct ltz_open_options options = { .dir = task->dir, .timeout_ms = 300 };

	return ltz_connect("failing", &options, &task->pool);
}

TEST_WITH_LIMIT(connect_survives_each_failing_call, 60)
{
	struct task task = task_in(test_directory());
	struct role role;

	role_start(&role, task.dir);
	ASSERT_EQ_INT(role_ask(&role, "create failing 64"), 0);
	fail_each_call(&task, connect_by_name, close_pool);
	EXPECT_EQ_INT(role_value(&role, "get k"), 1);
	role_end(&role);
	EXPECT_EQ_U64(count_entries(task.dir), 0);
}

/* The same behind a raw key. */
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

static int list(void *context)
{
	return ltz_list(((struct task *)context)->dir, ignore, NULL);
}

static int exists(void *context)
{
	return ltz_exists("failing", ((struct task *)context)->dir);
}

TEST_WITH_LIMIT(list_and_exists_survive_each_failing_call, 60)
{
	struct task task = task_in(test_directory());
	struct role role;

	role_start(&role, task.dir);
	ASSERT_EQ_INT(role_ask(&role, "create failing 64"), 0);
	fail_each_call(&task, list, undo_nothing);
	fail_each_call(&task, exists, undo_nothing);
	EXPECT_EQ_INT(ltz_exists("failing", task.dir), 0); /* no failure is taken for nobody */
	role_end(&role);
}

/* Makes a pool in another process and destroys it from here. */
static int destroy(void *context)
{
	struct task *task = context;

	return ltz_destroy("failing", &task->options);
}

TEST_WITH_LIMIT(destroy_survives_each_failing_call, 60)
{
	struct task task = task_in(test_directory());
	unsigned descriptors;
	struct role role;

	role_start(&role, task.dir);
	descriptors = count_descriptors();
	for (uint64_t n = 1;; n++) {
		int result = role_ask(&role, "create failing 64");
		ASSERT_TRUE(result == 0 || result == -EEXIST); /* destroyed halves are gone by then */
		bool reached = fail_nth(n, ENOMEM, destroy, &task, &result);
		EXPECT_EQ_U64(count_descriptors(), descriptors);
		if (!reached) {
			EXPECT_EQ_INT(result, 0);
			break;
		}
		EXPECT_TRUE(result <= 0);
		EXPECT_EQ_INT(role_ask(&role, "close"), 0);
		POLL_UNTIL(ltz_exists("failing", task.dir) == -ENOENT);
	}
	EXPECT_EQ_INT(role_ask(&role, "set k 1"), -ESHUTDOWN);
	role_end(&role);
	EXPECT_EQ_INT(list(&task), 0);
	EXPECT_EQ_U64(count_entries(task.dir), 0);
}

static int close_it(void *context)
{
	ltz_close(((struct task *)context)->pool);
	return 0;
}

TEST(close_survives_each_failing_call)
{
	struct task task = task_in(test_directory());
	unsigned descriptors = count_descriptors();
	int result;
	bool reached = true;

	for (uint64_t n = 1; reached; n++) {
		ASSERT_EQ_INT(create(&task), 0);
		reached = fail_nth(n, ENOMEM, close_it, &task, &result);
		EXPECT_EQ_U64(count_descriptors(), descriptors);
		EXPECT_THREADS(1);
		EXPECT_EQ_INT(list(&task), 0);
		EXPECT_EQ_U64(count_entries(task.dir), 0);
	}
}

static uint64_t revive_n;

static void revive(void *context)
{
	struct task *task = context;
	unsigned descriptors;
	int64_t number = 0;

	ltz__fault_set_call(LTZ_FAULT_THREAD, revive_n, ENOMEM);
	int result = get_number(task->pool, "k", &number);
	bool reached = ltz__fault_calls(LTZ_FAULT_THREAD) >= revive_n;
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	EXPECT_TRUE(result <= 0);
	EXPECT_EQ_INT(get_number(task->pool, "k", &number), 0);
	EXPECT_EQ_INT(number, 7);
	descriptors = count_descriptors();
	ltz_close(task->pool);
	EXPECT_TRUE(count_descriptors() < descriptors);
	_exit(reached ? 0 : 9);
}

TEST(a_forked_child_survives_each_failing_call_of_its_join)
{
	struct task task = task_in(test_directory());
	int status = 0;

	ASSERT_EQ_INT(create(&task), 0);
	ASSERT_EQ_INT(set_number(task.pool, "k", 7), 0);
	for (revive_n = 1; status == 0; revive_n++) {
		pid_t child = test_fork(revive, &task);
		ASSERT_OK(waitpid(child, &status, 0));
		ASSERT_TRUE(WIFEXITED(status));
		ASSERT_TRUE(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9);
	}
	ltz_close(task.pool);
}

TEST(a_member_without_a_free_descriptor_lets_others_in_later)
{
	const char *dir = test_directory();
	struct task task = task_in(dir);
	struct role role;
	struct rlimit limit, none;

	role_start(&role, dir);
	ASSERT_EQ_INT(create(&task), 0);
	ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 0; /* those that are open stay so */
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ_INT(role_ask(&role, "connect failing 150"), -ETIMEDOUT);
	EXPECT_EQ_INT(set_number(task.pool, "k", 1), 0);
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ_INT(role_ask(&role, "connect failing 0"), 0);
	role_end(&role);
	ltz_close(task.pool);
}

/* ---- dying between two steps ----------------------------------------------------------- */

struct death {
	const char *dir, *point;
	void (*act)(const struct death *death);
};

static void die_creating(const struct death *death)
{
	struct ltz_open_options options = options_in(death->dir);
	ltz_pool *pool;

	(void)ltz_create("mortal", &options, &pool);
}

static void die_connecting(const struct death *death)
{
	struct ltz_open_options options = options_in(death->dir);
	ltz_pool *pool;

	(void)ltz_connect("mortal", &options, &pool);
}

static void die_destroying(const struct death *death)
{
	struct ltz_open_options options = options_in(death->dir);

	(void)ltz_destroy("mortal", &options);
}

static void die_closing(const struct death *death)
{
	struct ltz_open_options options = options_in(death->dir);
	ltz_pool *pool;

	if (ltz_create("mortal", &options, &pool) == 0)
		ltz_close(pool);
}

static void die(void *context)
{
	const struct death *death = context;

	ltz__fault_set_crash(death->point, 1);
	death->act(death);
	_exit(0); /* the point was not met: the test notices */
}

static void expect_death(const char *dir, const char *point, void (*act)(const struct death *))
{
	struct death death = { dir, point, act };
	pid_t child = test_fork(die, &death);
	int status;

	ASSERT_OK(waitpid(child, &status, 0));
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		test_fail(TEST_AT(TEST_EXPECT), "did not die at %s", point);
}

/* The name can be taken, found and left as if nothing had been. */
static void expect_usable(const char *dir)
{
	struct ltz_open_options options = options_in(dir);
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_create("mortal", &options, &pool), 0);
	EXPECT_EQ_INT(set_number(pool, "k", 1), 0);
	EXPECT_EQ_INT(ltz_exists("mortal", dir), 0);
	ltz_close(pool);
	EXPECT_EQ_INT(ltz_list(dir, ignore, NULL), 0);
	EXPECT_EQ_U64(count_entries(dir), 0);
}

TEST(a_death_between_two_steps_leaves_a_usable_name)
{
	const char *dir = test_directory();
	struct role role;

	expect_death(dir, "pool.linked", die_creating);
	expect_usable(dir);
	expect_death(dir, "pool.published", die_creating);
	expect_death(dir, "pool.pruning", die_connecting);
	expect_usable(dir);
	expect_death(dir, "pool.unheard", die_closing);
	expect_usable(dir);

	role_start(&role, dir);
	ASSERT_EQ_INT(role_ask(&role, "create mortal 64"), 0);
	expect_death(dir, "pool.welcomed", die_connecting);
	EXPECT_EQ_INT(role_ask(&role, "set k 1"), 0);
	EXPECT_EQ_INT(ltz_exists("mortal", dir), 0);
	expect_death(dir, "pool.destroyed", die_destroying);
	EXPECT_EQ_INT(role_ask(&role, "set k 1"), -ESHUTDOWN);
	expect_usable(dir); /* while the old member still has its handle */
	role_end(&role);
}

#else

TEST(faults_are_compiled_in)
{
	test_skip("built without LTZ_FAULTS");
}

#endif
