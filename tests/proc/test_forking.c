/* SPDX-License-Identifier: MIT */
/* test_forking.c - fork() in a process that uses pools. */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "proc.h"

struct shared {
	const char *dir;
	ltz_pool *pool;
	struct test_gate ready, go;
};

static void use_in_child(void *context)
{
	struct shared *shared = context;
	int64_t number = 0;

	EXPECT_THREADS(1);
	EXPECT_EQ_INT(get_number(shared->pool, "k", &number), 0);
	EXPECT_EQ_INT(number, 1);
	EXPECT_EQ_INT(set_number(shared->pool, "child", 2), 0);
	EXPECT_EQ_U64(count_members(shared->pool), 2);
	EXPECT_STR(ltz_name(shared->pool), "forked");
	ltz_close(shared->pool);
	EXPECT_THREADS(1);
}

TEST(a_forked_child_is_a_member_of_its_own)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);
	int64_t number = 0;

	ASSERT_EQ_INT(ltz_create("forked", &options, &shared.pool), 0);
	ASSERT_EQ_INT(set_number(shared.pool, "k", 1), 0);
	test_wait(test_fork(use_in_child, &shared));
	EXPECT_EQ_INT(get_number(shared.pool, "child", &number), 0);
	EXPECT_EQ_INT(number, 2);
	POLL_UNTIL(count_members(shared.pool) == 1);
	EXPECT_THREADS(2);
	ltz_close(shared.pool);
	EXPECT_EQ_U64(count_entries(shared.dir), 0);
}

static void do_nothing(void *context)
{
	struct shared *shared = context;

	test_gate_open(&shared->ready);
	test_gate_wait(&shared->go);
}

TEST(a_child_that_uses_no_handle_is_no_member)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);

	test_gate_init(&shared.ready);
	test_gate_init(&shared.go);
	ASSERT_EQ_INT(ltz_create("forked", &options, &shared.pool), 0);
	pid_t child = test_fork(do_nothing, &shared);
	test_gate_wait(&shared.ready);
	EXPECT_EQ_U64(count_members(shared.pool), 1);
	EXPECT_EQ_INT(set_number(shared.pool, "k", 1), 0);
	test_gate_open(&shared.go);
	test_wait(child);
	ltz_close(shared.pool);
}

TEST(a_child_lives_on_when_its_parent_is_killed)
{
	const char *dir = test_directory();
	struct role role, other;

	role_start(&role, dir);
	role_start(&other, dir);
	ASSERT_EQ_INT(role_ask(&role, "create orphan 64"), 0);
	ASSERT_EQ_INT(role_ask(&role, "set k 1"), 0);
	EXPECT_EQ_INT(role_ask(&role, "fork"), 0);
	ASSERT_OK(waitpid(role.pid, NULL, 0));
	/* Nobody has joined since: the child comes back by what it kept. */
	EXPECT_EQ_INT(role_value(&role, "get k"), 1);
	POLL_UNTIL(role_value(&role, "members") == 1);
	ASSERT_EQ_INT(role_ask(&other, "connect orphan 0"), 0);
	EXPECT_EQ_INT(role_value(&other, "get k"), 1);
	EXPECT_EQ_INT(role_ask(&role, "set k 2"), 0);
	EXPECT_EQ_INT(role_value(&other, "get k"), 2);
	role_forget(&role);
	role_end(&other);
}

static void use_in_grandchild(void *context)
{
	struct shared *shared = context;

	EXPECT_EQ_INT(set_number(shared->pool, "grandchild", 3), 0);
}

static void fork_unused(void *context)
{
	test_wait(test_fork(use_in_grandchild, context));
}

static void fork_used(void *context)
{
	struct shared *shared = context;

	EXPECT_EQ_INT(set_number(shared->pool, "child", 2), 0);
	test_wait(test_fork(use_in_grandchild, context));
	EXPECT_EQ_INT(set_number(shared->pool, "child", 4), 0);
}

TEST(a_fork_of_a_fork_works)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);
	int64_t number = 0;

	ASSERT_EQ_INT(ltz_create("forked", &options, &shared.pool), 0);
	test_wait(test_fork(fork_unused, &shared));
	EXPECT_EQ_INT(get_number(shared.pool, "grandchild", &number), 0);
	EXPECT_EQ_INT(number, 3);
	test_wait(test_fork(fork_used, &shared));
	EXPECT_EQ_INT(get_number(shared.pool, "child", &number), 0);
	EXPECT_EQ_INT(number, 4);
	POLL_UNTIL(count_members(shared.pool) == 1);
	ltz_close(shared.pool);
}

static void join_in_child(void *context)
{
	struct shared *shared = context;
	struct ltz_open_options options = options_in(shared->dir);
	ltz_pool *again, *fresh;

	/* The same pool by its name: shares the membership that the child makes by itself. */
	ASSERT_EQ_INT(ltz_connect("forked", &options, &again), 0);
	EXPECT_EQ_U64(count_members(again), 2);
	EXPECT_EQ_INT(set_number(shared->pool, "child", 1), 0);
	EXPECT_EQ_U64(count_members(again), 2);
	ASSERT_EQ_INT(ltz_create("childs-own", &options, &fresh), 0);
	ltz_close(again);
	ltz_close(shared->pool);
	ltz_close(fresh);
}

TEST(a_child_can_join_by_name)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);

	ASSERT_EQ_INT(ltz_create("forked", &options, &shared.pool), 0);
	test_wait(test_fork(join_in_child, &shared));
	EXPECT_EQ_INT(set_number(shared.pool, "k", 1), 0);
	ltz_close(shared.pool);
	EXPECT_EQ_U64(count_entries(shared.dir), 0);
}

static void expect_shutdown(void *context)
{
	struct shared *shared = context;

	test_gate_open(&shared->ready);
	test_gate_wait(&shared->go);
	EXPECT_EQ_INT(set_number(shared->pool, "k", 1), -ESHUTDOWN);
	ltz_close(shared->pool);
}

TEST(a_child_sees_that_the_pool_was_destroyed_meanwhile)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);

	test_gate_init(&shared.ready);
	test_gate_init(&shared.go);
	ASSERT_EQ_INT(ltz_create("forked", &options, &shared.pool), 0);
	pid_t child = test_fork(expect_shutdown, &shared);
	test_gate_wait(&shared.ready);
	EXPECT_EQ_INT(ltz_destroy("forked", &options), 0);
	test_gate_open(&shared.go);
	test_wait(child);
	ltz_close(shared.pool);
}

TEST(the_thread_can_stay_stopped_until_told)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);
	struct role role;

	role_start(&role, shared.dir);
	ASSERT_EQ_INT(ltz_create("forked", &options, &shared.pool), 0);
	EXPECT_THREADS(2);
	ltz_defer_restart(1);
	pid_t child = fork();
	ASSERT_OK(child);
	if (child == 0)
		_exit(0);
	EXPECT_THREADS(1);
	EXPECT_EQ_INT(set_number(shared.pool, "k", 1), 0);
	ltz_restart();
	EXPECT_THREADS(2);
	EXPECT_EQ_INT(role_ask(&role, "connect forked 0"), 0);
	ltz_defer_restart(0);
	test_wait(child);
	role_end(&role);
	ltz_close(shared.pool);
	ltz_restart();
	EXPECT_THREADS(1);
}

static void *hammer(void *context)
{
	struct shared *shared = context;
	struct ltz_open_options options = options_in(shared->dir);

	for (int i = 0; i < 300; i++) {
		char name[32]; /* a new one each time: a child may hold the last one's socket a little longer */
		ltz_pool *pool;
		snprintf(name, sizeof name, "short-lived-%d", i);
		EXPECT_EQ_INT(set_number(shared->pool, "hammer", i), 0);
		ASSERT_EQ_INT(ltz_create(name, &options, &pool), 0);
		EXPECT_EQ_INT(ltz_exists(name, shared->dir), 0);
		ltz_close(pool);
	}
	return NULL;
}

static void set_one(void *context)
{
	struct shared *shared = context;

	EXPECT_EQ_INT(set_number(shared->pool, "child", 1), 0);
}

static void *connect_to_stopped(void *context)
{
	struct shared *shared = context;
	struct ltz_open_options options = { .dir = shared->dir, .timeout_ms = 3000 };
	ltz_pool *pool;

	EXPECT_EQ_INT(ltz_connect("stopped", &options, &pool), -ETIMEDOUT);
	return NULL;
}

static void count_in_child(void *context)
{
	EXPECT_EQ_U64(count_descriptors(), *(const unsigned *)context);
}

TEST(a_child_has_no_descriptor_of_a_join_under_way_in_another_thread)
{
	struct shared shared = { .dir = test_directory() };
	unsigned before;
	struct role role;
	pthread_t thread;

	role_start(&role, shared.dir);
	ASSERT_EQ_INT(role_ask(&role, "create stopped 64"), 0);
	ASSERT_OK(kill(role.pid, SIGSTOP));
	ASSERT_OK(waitpid(role.pid, NULL, WUNTRACED));
	before = count_descriptors();
	ASSERT_EQ_INT(pthread_create(&thread, NULL, connect_to_stopped, &shared), 0);
	POLL_UNTIL(count_descriptors() == before + 2); /* directory and connection */
	for (int i = 0; i < 10; i++)
		test_wait(test_fork(count_in_child, &before));
	pthread_join(thread, NULL);
	role_kill(&role);
}

static int count_pool(void *context, const struct ltz_pool_info *info)
{
	(void)info;
	++*(unsigned *)context;
	return 0;
}

TEST_WITH_LIMIT(fork_while_other_threads_join_and_leave, 60)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);
	pthread_t thread;

	ASSERT_EQ_INT(ltz_create("forked", &options, &shared.pool), 0);
	ASSERT_EQ_INT(pthread_create(&thread, NULL, hammer, &shared), 0);
	for (int i = 0; i < 60; i++)
		test_wait(test_fork(set_one, &shared));
	pthread_join(thread, NULL);
	POLL_UNTIL(count_members(shared.pool) == 1);
	expect_sound(shared.pool);
	ltz_close(shared.pool);
	unsigned seen = 0;
	EXPECT_EQ_INT(ltz_list(shared.dir, count_pool, &seen), 0);
	EXPECT_EQ_U64(seen, 0);
	EXPECT_EQ_U64(count_entries(shared.dir), 0);
}

TEST(a_raw_clone_is_refused)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_create("forked", &options, &shared.pool), 0);
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	ASSERT_OK(child);
	if (child == 0) {
		int connected = ltz_connect("forked", &options, &pool);
		int fds[LTZ_EXPORT_FDS], exported = ltz_export(shared.pool, fds);
		ltz_close(shared.pool);
		_exit(connected == -ENOTSUP && exported == -ENOTSUP ? 0 : 1);
	}
	test_wait(child);
	EXPECT_EQ_INT(set_number(shared.pool, "k", 1), 0);
	EXPECT_EQ_INT(ltz_exists("forked", shared.dir), 0);
	ltz_close(shared.pool);
}

static pid_t *clone_of; /* shared with the parent that makes it */

static void join_and_clone(void *context)
{
	struct shared *shared = context;
	struct ltz_open_options options = options_in(shared->dir);
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_connect("forked", &options, &pool), 0);
	pid_t clone = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
	if (clone == 0)
		for (;;)
			pause();
	*clone_of = clone;
	test_gate_open(&shared->ready);
	test_gate_wait(&shared->go);
}

/*
 * A limit: it has a copy of every descriptor, the lock of its parent's row
 * too, and no handler of ours has run in it. So its parent counts as alive as
 * long as it lives and does not exec. (A forked child that is stopped before
 * its handlers have run is the same, for as long as it is stopped.)
 */
TEST(a_raw_clone_keeps_its_dead_parent_s_row)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);
	pid_t child;

	clone_of = mmap(NULL, sizeof *clone_of, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(clone_of != MAP_FAILED);
	test_gate_init(&shared.ready);
	test_gate_init(&shared.go);
	ASSERT_EQ_INT(ltz_create("forked", &options, &shared.pool), 0);
	child = test_fork(join_and_clone, &shared);
	test_gate_wait(&shared.ready);
	test_kill(child);
	EXPECT_EQ_U64(count_members(shared.pool), 2);
	ASSERT_OK(kill(*clone_of, SIGKILL));
	POLL_UNTIL(count_members(shared.pool) == 1);
	ltz_close(shared.pool);
}
