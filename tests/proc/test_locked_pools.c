/* SPDX-License-Identifier: MIT */
/*
 * test_locked_pools.c - passwords between real processes: who is let in, who is
 * not, how often one may guess, and what travels to children.
 */
#include <sys/socket.h>

#include "base/error.h"
#include "proc.h"

#define PASSWORD "correct horse battery staple"

static struct ltz_open_options with_key(const char *dir, const char *key, unsigned flags)
{
	struct ltz_open_options options = options_in(dir);

	options.key = key;
	options.key_size = key != NULL ? strlen(key) : 0;
	options.flags = flags;
	return options;
}

/* Raw keys cost no time. */
static const uint8_t raw_key[32] = "thirty-two bytes that are random";

static struct ltz_open_options with_raw_key(const char *dir, unsigned flags)
{
	struct ltz_open_options options = options_in(dir);

	options.key = raw_key;
	options.key_size = sizeof raw_key;
	options.flags = flags | LTZ_RAW_KEY;
	return options;
}

/* A member with the raw key, in a process of its own, until its input ends. */
static void expect_connect(const struct ltz_open_options *options, int expected, const char *detail)
{
	ltz_pool *pool = NULL;
	unsigned before = count_descriptors();

	EXPECT_EQ_INT(ltz_connect("locked", options, &pool), expected);
	if (expected < 0) {
		EXPECT_TRUE(pool == NULL);
		EXPECT_CONTAINS(ltz_error_detail(), detail);
		POLL_UNTIL(count_descriptors() <= before); /* less: it may have counted a connection of our own join */
	}
	ltz_close(pool);
}

TEST(who_knows_the_password_is_let_in_and_nobody_else)
{
	const char *dir = test_directory();
	struct role role;
	struct ltz_open_options options = with_key(dir, "wrong horse", 0);
	ltz_pool *pool;

	role_start(&role, dir);
	role_tell(&role, "key password-of-one-word %u", LTZ_AUTH);
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	ASSERT_EQ_INT(role_ask(&role, "create locked 8"), 0);
	ASSERT_EQ_INT(role_ask(&role, "set k 7"), 0);

	expect_connect(&options, -EKEYREJECTED, "wrong");
	EXPECT_EQ_U64(ltz_retry_after_ms(), 0);
	options = with_key(dir, NULL, 0);
	expect_connect(&options, -EKEYREJECTED, "none was given");
	options = with_raw_key(dir, 0);
	expect_connect(&options, -EKEYREJECTED, "not a raw key");
	options = with_key(dir, "password-of-one-word", 0);
	ASSERT_EQ_INT(ltz_connect("locked", &options, &pool), 0);
	int64_t number = 0;
	EXPECT_EQ_INT(get_number(pool, "k", &number), 0);
	EXPECT_EQ_INT(number, 7);
	EXPECT_EQ_U64(ltz_flags(pool), LTZ_AUTH);

	/* The newcomer can serve others, when the maker is gone. */
	role_kill(&role);
	role_start(&role, dir);
	role_tell(&role, "key password-of-one-word 0");
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	ASSERT_EQ_INT(role_ask(&role, "connect locked 0"), 0);
	EXPECT_EQ_INT(role_value(&role, "get k"), 7);
	ltz_close(pool);
	role_end(&role);
	EXPECT_EQ_U64(count_entries(dir), 0);
}

TEST(a_process_that_has_joined_must_give_the_key_again)
{
	const char *dir = test_directory();
	struct ltz_open_options options = with_key(dir, PASSWORD, LTZ_ENCRYPTION), wrong = with_key(dir, "x", 0);
	ltz_pool *pool, *second;

	ASSERT_EQ_INT(ltz_create("locked", &options, &pool), 0);
	EXPECT_EQ_U64(ltz_flags(pool), LTZ_AUTH | LTZ_ENCRYPTION);
	expect_connect(&wrong, -EKEYREJECTED, "wrong");
	wrong = with_key(dir, NULL, 0);
	expect_connect(&wrong, -EKEYREJECTED, "none was given");
	options.flags = 0;
	ASSERT_EQ_INT(ltz_connect("locked", &options, &second), 0);
	EXPECT_EQ_U64(count_members(pool), 1);
	ltz_close(second);
	ltz_close(pool);
}

TEST(keys_that_cannot_be_are_refused)
{
	static char much[LTZ_PASSWORD_MAX + 1];
	const char *dir = test_directory();
	struct ltz_open_options options = with_key(dir, NULL, LTZ_AUTH);
	ltz_pool *pool = NULL;

	EXPECT_EQ_INT(ltz_create("locked", &options, &pool), -EINVAL);
	options = with_key(dir, NULL, LTZ_ENCRYPTION);
	EXPECT_EQ_INT(ltz_create("locked", &options, &pool), -EINVAL);
	options = with_key(dir, "needless", 0);
	EXPECT_EQ_INT(ltz_create("locked", &options, &pool), -EINVAL);
	options = with_key(dir, "", LTZ_AUTH);
	EXPECT_EQ_INT(ltz_create("locked", &options, &pool), -EINVAL);
	options = with_key(dir, "too short for a raw key", LTZ_AUTH | LTZ_RAW_KEY);
	EXPECT_EQ_INT(ltz_create("locked", &options, &pool), -EINVAL);
	memset(much, 'x', sizeof much);
	options = with_key(dir, NULL, LTZ_AUTH);
	options.key = much, options.key_size = sizeof much;
	EXPECT_EQ_INT(ltz_create("locked", &options, &pool), -EINVAL);
	EXPECT_EQ_U64(count_entries(dir), 0);
	options.key_size--;
	EXPECT_EQ_INT(ltz_create("locked", &options, &pool), 0);
	ltz_close(pool);

	options = options_in(dir);
	ASSERT_EQ_INT(ltz_create("locked", &options, &pool), 0);
	options = with_key(dir, "needless", 0);
	ltz_pool *second;
	EXPECT_EQ_INT(ltz_connect("locked", &options, &second), -EKEYREJECTED);
	EXPECT_CONTAINS(ltz_error_detail(), "no password");
	EXPECT_EQ_INT(ltz_destroy("locked", &options), -EKEYREJECTED);
	EXPECT_EQ_INT(set_number(pool, "k", 1), 0);
	ltz_close(pool);
}

TEST(destroying_needs_the_key)
{
	const char *dir = test_directory();
	struct ltz_open_options options = with_raw_key(dir, LTZ_AUTH), none = options_in(dir);
	uint8_t other[32] = "another key of thirty-two bytes";
	struct ltz_open_options wrong = with_raw_key(dir, 0);
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_create("locked", &options, &pool), 0);
	unsigned before = count_descriptors();
	EXPECT_EQ_INT(ltz_destroy("locked", &none), -EKEYREJECTED);
	wrong.key = other;
	EXPECT_EQ_INT(ltz_destroy("locked", &wrong), -EKEYREJECTED);
	POLL_UNTIL(count_descriptors() <= before);
	EXPECT_EQ_INT(set_number(pool, "k", 1), 0);
	options.flags = LTZ_RAW_KEY;
	EXPECT_EQ_INT(ltz_destroy("locked", &options), 0);
	EXPECT_EQ_INT(set_number(pool, "k", 1), -ESHUTDOWN);
	ltz_close(pool);
	EXPECT_EQ_U64(count_entries(dir), 0);
}
