/* SPDX-License-Identifier: MIT */
/* test_meeting.c - processes that know only a name meet in one pool. */
#include <sys/resource.h>

#include "proc.h"
#include "sys/fault.h"

TEST(two_unrelated_processes_see_each_others_writes)
{
	const char *dir = test_directory();
	struct role a, b;

	role_start(&a, dir);
	role_start(&b, dir);
	ASSERT_EQ_INT(role_ask(&a, "create meeting 64"), 0);
	ASSERT_EQ_INT(role_ask(&b, "connect meeting 0"), 0);
	ASSERT_EQ_INT(role_ask(&a, "set from-a 17"), 0);
	EXPECT_EQ_INT(role_value(&b, "get from-a"), 17);
	ASSERT_EQ_INT(role_ask(&b, "set from-b 18"), 0);
	EXPECT_EQ_INT(role_value(&a, "get from-b"), 18);
	EXPECT_EQ_INT(role_value(&a, "members"), 2);
	role_end(&a);
	EXPECT_EQ_INT(role_value(&b, "get from-b"), 18);
	role_end(&b);
	EXPECT_EQ_INT(ltz_exists("meeting", dir), -ENOENT);
	EXPECT_EQ_U64(count_entries(dir), 0);
}

TEST(results_of_create_and_connect)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	ltz_pool *pool = NULL, *second = NULL;

	EXPECT_EQ_INT(ltz_connect("nobody", &options, &pool), -ENOENT);
	EXPECT_CONTAINS(ltz_error_detail(), "nobody");
	ASSERT_EQ_INT(ltz_create("taken", &options, &pool), 0);
	EXPECT_STR(ltz_name(pool), "taken");
	EXPECT_EQ_INT(ltz_create("taken", &options, &second), -EEXIST);
	EXPECT_CONTAINS(ltz_error_detail(), "taken");
	EXPECT_EQ_INT(ltz_exists("taken", dir), 0);
	EXPECT_TRUE(second == NULL);
	ltz_close(pool);
	ltz_close(NULL);
	EXPECT_EQ_INT(ltz_connect("taken", &options, &pool), -ENOENT);
	EXPECT_TRUE(strlen(ltz_strerror(-ENOENT)) > 0);
}

TEST(bad_names_are_refused)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	char long_name[LTZ_NAME_MAX + 2];
	const char *bad[] = { "", ".hidden", "a/b", "a b", "ä", "a\n", long_name };
	ltz_pool *pool;

	memset(long_name, 'n', sizeof long_name - 1);
	long_name[sizeof long_name - 1] = '\0';
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		EXPECT_EQ_INT(ltz_create(bad[i], &options, &pool), -EINVAL);
		EXPECT_EQ_INT(ltz_connect(bad[i], &options, &pool), -EINVAL);
		EXPECT_EQ_INT(ltz_exists(bad[i], dir), -EINVAL);
		EXPECT_EQ_INT(ltz_destroy(bad[i], &options), -EINVAL);
	}
	long_name[LTZ_NAME_MAX] = '\0';
	ASSERT_EQ_INT(ltz_create(long_name, &options, &pool), 0);
	EXPECT_EQ_INT(ltz_exists(long_name, dir), 0);
	EXPECT_STR(ltz_name(pool), long_name);
	ltz_close(pool);
	EXPECT_EQ_INT(ltz_create("A-Z.0_9", &options, &pool), 0);
	ltz_close(pool);
}

TEST(handles_of_one_process_share_one_membership)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir), readonly = options_in(dir);
	unsigned before = count_descriptors();
	ltz_pool *a, *b, *c;
	int64_t number = 0;

	readonly.flags = LTZ_READONLY;
	ASSERT_EQ_INT(ltz_create("shared", &options, &a), 0);
	unsigned with_one = count_descriptors();
	ASSERT_EQ_INT(ltz_connect("shared", &options, &b), 0);
	ASSERT_EQ_INT(ltz_connect("shared", &readonly, &c), 0);
	EXPECT_EQ_U64(count_descriptors(), with_one);
	EXPECT_EQ_U64(count_members(a), 1);
	EXPECT_EQ_INT(set_number(a, "k", 5), 0);
	EXPECT_EQ_INT(set_number(c, "k", 6), -EROFS);
	EXPECT_TRUE((ltz_flags(c) & LTZ_READONLY) != 0 && (ltz_flags(b) & LTZ_READONLY) == 0);
	ltz_close(a);
	ltz_close(b);
	EXPECT_EQ_INT(get_number(c, "k", &number), 0);
	EXPECT_EQ_INT(number, 5);
	ltz_close(c);
	EXPECT_EQ_U64(count_descriptors(), before);
	EXPECT_THREADS(1);
}

TEST(a_pool_reached_by_two_paths_is_one_membership)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir), other;
	char path[4096];
	ltz_pool *a, *b;

	snprintf(path, sizeof path, "%s/", dir);
	other = options_in(path);
	ASSERT_EQ_INT(ltz_create("paths", &options, &a), 0);
	ASSERT_EQ_INT(ltz_connect("paths", &other, &b), 0);
	EXPECT_EQ_U64(count_members(b), 1);
	ltz_close(a);
	ltz_close(b);
}

TEST(a_readonly_process_can_become_a_writer)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir), readonly = options_in(dir);
	struct role holder;
	ltz_pool *reader, *writer;
	int64_t number = 0;

	readonly.flags = LTZ_READONLY;
	role_start(&holder, dir);
	ASSERT_EQ_INT(role_ask(&holder, "create upgrade 64"), 0);
	ASSERT_EQ_INT(role_ask(&holder, "set k 1"), 0);
	ASSERT_EQ_INT(ltz_connect("upgrade", &readonly, &reader), 0);
	EXPECT_EQ_INT(get_number(reader, "k", &number), 0);
	EXPECT_EQ_INT(number, 1);
	EXPECT_EQ_INT(set_number(reader, "k", 2), -EROFS);
	ASSERT_EQ_INT(ltz_connect("upgrade", &options, &writer), 0);
	EXPECT_EQ_INT(set_number(writer, "k", 2), 0);
	EXPECT_EQ_INT(get_number(reader, "k", &number), 0);
	EXPECT_EQ_INT(number, 2);
	ltz_close(reader);
	ltz_close(writer);
	role_end(&holder);
}

TEST(flags_of_the_pool_reach_every_member)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	ltz_pool *pool;

	options.flags = LTZ_NO_PICKLE;
	ASSERT_EQ_INT(ltz_create("flags", &options, &pool), 0);
	EXPECT_EQ_INT(ltz_flags(pool), LTZ_NO_PICKLE);
	ltz_close(pool);
	options.flags = LTZ_READONLY;
	EXPECT_EQ_INT(ltz_create("flags", &options, &pool), -EINVAL);
	options.flags = LTZ_NO_PICKLE;
	EXPECT_EQ_INT(ltz_connect("flags", &options, &pool), -EINVAL);
}

TEST(any_member_lets_the_next_one_in)
{
	const char *dir = test_directory();
	struct role creator, second, third;

	role_start(&creator, dir);
	role_start(&second, dir);
	role_start(&third, dir);
	ASSERT_EQ_INT(role_ask(&creator, "create relay 64"), 0);
	ASSERT_EQ_INT(role_ask(&creator, "set k 1"), 0);
	ASSERT_EQ_INT(role_ask(&second, "connect relay 0"), 0);
	role_kill(&creator);
	ASSERT_EQ_INT(role_ask(&third, "connect relay 0"), 0);
	EXPECT_EQ_INT(role_value(&third, "get k"), 1);
	role_kill(&second);
	EXPECT_EQ_INT(role_value(&third, "get k"), 1);
	EXPECT_EQ_INT(ltz_exists("relay", dir), 0);
	role_end(&third);
	EXPECT_EQ_U64(count_entries(dir), 0);
}

TEST(eight_processes_on_one_counter_lose_nothing)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct role roles[8];
	ltz_pool *pool;
	int64_t sum = 0;

	ASSERT_EQ_INT(ltz_create("counter", &options, &pool), 0);
	for (int i = 0; i < 8; i++) {
		role_start(&roles[i], dir);
		ASSERT_EQ_INT(role_ask(&roles[i], "connect counter 0"), 0);
	}
	for (int i = 0; i < 8; i++)
		role_tell(&roles[i], "add counter 5000");
	for (int i = 0; i < 8; i++)
		EXPECT_EQ_INT(role_hear(&roles[i], NULL), 0);
	EXPECT_EQ_INT(get_number(pool, "counter", &sum), 0);
	EXPECT_EQ_INT(sum, 8 * 5000);
	expect_sound(pool);
	for (int i = 0; i < 8; i++)
		role_end(&roles[i]);
	ltz_close(pool);
}

TEST_WITH_LIMIT(two_hundred_and_fifty_six_processes_join_at_once, 120)
{
	enum { COUNT = 256 };
	const char *dir = test_directory();
	static struct role roles[COUNT];

	for (int i = 0; i < COUNT; i++)
		role_start(&roles[i], dir);
	ASSERT_EQ_INT(role_ask(&roles[0], "create crowd 64"), 0);
	for (int i = 1; i < COUNT; i++)
		role_tell(&roles[i], "connect crowd 60000");
	for (int i = 1; i < COUNT; i++)
		ASSERT_EQ_INT(role_hear(&roles[i], NULL), 0);
	EXPECT_EQ_INT(role_value(&roles[COUNT - 1], "members"), COUNT);
	for (int i = 0; i < COUNT; i++)
		role_tell(&roles[i], "add k 1");
	for (int i = 0; i < COUNT; i++)
		EXPECT_EQ_INT(role_hear(&roles[i], NULL), 0);
	EXPECT_EQ_INT(role_value(&roles[1], "get k"), COUNT);
	for (int i = 0; i < COUNT; i++)
		role_forget(&roles[i]);
	for (int i = 0; i < COUNT; i++)
		test_wait(roles[i].pid);
	EXPECT_EQ_INT(ltz_exists("crowd", dir), -ENOENT);
}

TEST(descriptors_let_a_child_process_in)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct role role;
	ltz_pool *pool;
	int fds[LTZ_EXPORT_FDS], copies[2];

	ASSERT_EQ_INT(ltz_create("handed", &options, &pool), 0);
	ASSERT_EQ_INT(set_number(pool, "k", 3), 0);
	ASSERT_EQ_INT(ltz_export(pool, fds), 0);
	EXPECT_EQ_INT(fds[2], -1);
	ASSERT_OK(copies[0] = dup(fds[0])); /* without close-on-exec */
	ASSERT_OK(copies[1] = dup(fds[1]));
	close(fds[0]);
	close(fds[1]);
	role_start(&role, dir);
	close(copies[0]);
	close(copies[1]);
	role_tell(&role, "import handed %d %d -1", copies[0], copies[1]);
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	EXPECT_EQ_INT(role_value(&role, "get k"), 3);
	EXPECT_EQ_U64(count_members(pool), 2);
	ltz_close(pool);
	ASSERT_EQ_INT(ltz_connect("handed", &options, &pool), 0);
	ltz_close(pool);
	role_end(&role);
	EXPECT_EQ_U64(count_entries(dir), 0);
}

TEST(import_refuses_what_is_no_pool)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	unsigned before = count_descriptors();
	ltz_pool *pool = NULL;
	int fds[LTZ_EXPORT_FDS] = { -1, -1, -1 };

	ASSERT_OK(pipe(fds));
	EXPECT_EQ_INT(ltz_import("piped", fds, &options, &pool), -EPROTO);
	EXPECT_TRUE(pool == NULL);
	EXPECT_EQ_U64(count_descriptors(), before);
}

TEST(a_member_without_a_free_descriptor_lets_others_in_later)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct role role;
	struct rlimit limit, none;
	ltz_pool *pool;

	role_start(&role, dir);
	ASSERT_EQ_INT(ltz_create("starved", &options, &pool), 0);
	ASSERT_OK(getrlimit(RLIMIT_NOFILE, &limit));
	none = limit;
	none.rlim_cur = 0; /* those that are open stay so */
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &none));
	EXPECT_EQ_INT(role_ask(&role, "connect starved 150"), -ETIMEDOUT);
	EXPECT_EQ_INT(set_number(pool, "k", 1), 0);
	ASSERT_OK(setrlimit(RLIMIT_NOFILE, &limit));
	EXPECT_EQ_INT(role_ask(&role, "connect starved 0"), 0);
	role_end(&role);
	ltz_close(pool);
}

#ifdef LTZ_FAULTS

TEST(a_member_that_cannot_tell_who_asks_is_asked_again)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct role role;
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_create("asked", &options, &pool), 0);
	role_start(&role, dir);
	for (uint64_t n = 1; n <= 12; n++) {
		ltz__fault_set_call(LTZ_FAULT_PROCESS, n, EIO); /* of the service thread: this one makes none */
		EXPECT_EQ_INT(role_ask(&role, "connect asked 0"), 0);
		ltz__fault_set_call(LTZ_FAULT_PROCESS, 0, 0);
		EXPECT_EQ_INT(role_ask(&role, "close"), 0);
	}
	role_end(&role);
	ltz_close(pool);
}

TEST(a_first_call_without_memory_is_not_the_last)
{
	const char *dir = test_directory();

	ltz__fault_set_calls_from(LTZ_FAULT_THREAD, 1, ENOMEM);
	EXPECT_EQ_INT(ltz_exists("none", dir), -ENOMEM);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	EXPECT_EQ_INT(ltz_exists("none", dir), -ENOENT);
}

#endif
