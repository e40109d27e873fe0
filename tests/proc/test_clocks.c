/* SPDX-License-Identifier: MIT */
/*
 * test_clocks.c - members in different time namespaces, where the machine has
 * booted at another time: a record lives as long for all of them.
 */
#include <sched.h>

#include "proc.h"

#define AHEAD_S 100000 /* so much longer ago, for what is started after go_elsewhere */
#define TTL_MS  1000000
#define SLACK_MS 100000

/* From here on the children of this process are in another time namespace. */
static void go_elsewhere(void)
{
	FILE *file;

	if (unshare(CLONE_NEWTIME) != 0)
		test_skip("no time namespaces here: %s", strerror(errno));
	file = fopen("/proc/self/timens_offsets", "w");
	ASSERT_TRUE(file != NULL);
	ASSERT_TRUE(fprintf(file, "boottime %d 0\n", AHEAD_S) > 0);
	ASSERT_EQ_INT(fclose(file), 0);
}

static void set_ttl(ltz_pool *pool, const char *text)
{
	const struct ltz_set_options options = { .ttl_ms = TTL_MS };
	const ltz_value value = { .data = "x", .size = 1, .type = LTZ_BYTES };
	const ltz_key key = key_of(text);

	ASSERT_EQ_INT(ltz_set(pool, &key, &value, &options, NULL), 0);
}

static void expect_ttl(ltz_pool *pool, const char *text)
{
	const ltz_key key = key_of(text);
	ltz_item item = { .ttl_ms = -2 };
	char value;

	EXPECT_EQ_INT(ltz_get(pool, &key, &value, 1, &item), 0);
	EXPECT_TRUE(item.ttl_ms > TTL_MS - SLACK_MS && item.ttl_ms <= TTL_MS + SLACK_MS);
}

struct shared {
	const char *dir;
	ltz_pool *pool;
};

static void read_and_write(ltz_pool *pool)
{
	expect_ttl(pool, "here");
	set_ttl(pool, "there");
	expect_ttl(pool, "there");
}

static void join_elsewhere(void *context)
{
	const struct shared *shared = context;
	struct ltz_open_options options = options_in(shared->dir);
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_connect("clocks", &options, &pool), 0);
	read_and_write(pool);
	ltz_close(pool);
}

TEST(a_member_that_joins_from_elsewhere_is_told_the_time)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);
	struct role maker;

	role_start(&maker, shared.dir);
	ASSERT_EQ_INT(role_ask(&maker, "create clocks 8"), 0);
	go_elsewhere(); /* our children; not ourselves */
	ASSERT_EQ_INT(ltz_connect("clocks", &options, &shared.pool), 0);
	set_ttl(shared.pool, "here");
	ltz_close(shared.pool);
	test_wait(test_fork(join_elsewhere, &shared));
	ASSERT_EQ_INT(ltz_connect("clocks", &options, &shared.pool), 0);
	expect_ttl(shared.pool, "there");
	ltz_close(shared.pool);
	role_end(&maker);
}

static void use_elsewhere(void *context) { read_and_write(((struct shared *)context)->pool); }

TEST(a_child_that_is_forked_elsewhere_knows_the_time)
{
	struct shared shared = { .dir = test_directory() };
	struct ltz_open_options options = options_in(shared.dir);

	ASSERT_EQ_INT(ltz_create("clocks", &options, &shared.pool), 0);
	set_ttl(shared.pool, "here");
	go_elsewhere();
	test_wait(test_fork(use_elsewhere, &shared));
	expect_ttl(shared.pool, "there");
	ltz_close(shared.pool);
}

TEST(who_is_handed_a_pool_elsewhere_knows_the_time)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct role role;
	ltz_pool *pool;
	int fds[LTZ_EXPORT_FDS];

	ASSERT_EQ_INT(ltz_create("clocks", &options, &pool), 0);
	set_ttl(pool, "here");
	ASSERT_EQ_INT(ltz_export(pool, fds), 0);
	fds[0] = dup(fds[0]); /* for the role: without close-on-exec */
	fds[1] = dup(fds[1]);
	go_elsewhere();
	role_start(&role, dir);
	role_tell(&role, "import clocks %d %d %d", fds[0], fds[1], fds[2]);
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	EXPECT_EQ_INT(role_ask(&role, "get here"), 0);
	role_end(&role);
	ltz_close(pool);
}
