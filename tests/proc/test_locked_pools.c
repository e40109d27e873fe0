/* SPDX-License-Identifier: MIT */
/*
 * test_locked_pools.c - passwords between real processes: who is let in, who is
 * not, how often one may guess, and what travels to children.
 */
#include <grp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proc.h"
#include "pool/registry.h"
#include "shm/format.h"

#define PASSWORD "correct-horse-battery-staple" /* a role takes one word */

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

/* ---- other members, other users, other times -------------------------------------------- */

static void connect_with_raw_key(void *context)
{
	struct ltz_open_options options = with_raw_key(context, 0);
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_connect("locked", &options, &pool), 0);
	EXPECT_EQ_INT(set_number(pool, "k", 1), 0);
	ltz_close(pool);
}

TEST(many_who_know_the_key_do_not_wait_for_each_other_s_turn)
{
	enum { CROWD = 40 };
	const char *dir = test_directory();
	struct ltz_open_options options = with_raw_key(dir, LTZ_AUTH);
	pid_t crowd[CROWD];
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_create("locked", &options, &pool), 0);
	for (int i = 0; i < CROWD; i++)
		crowd[i] = test_fork(connect_with_raw_key, (void *)dir);
	for (int i = 0; i < CROWD; i++)
		test_wait(crowd[i]);
	ltz_close(pool);
}

TEST(stopped_members_cost_the_timeout)
{
	const char *dir = test_directory();
	struct ltz_open_options options = with_raw_key(dir, 0);
	struct role role;
	ltz_pool *pool;

	role_start(&role, dir);
	role_tell(&role, "key one-word %u", LTZ_AUTH | LTZ_RAW_KEY);
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	ASSERT_EQ_INT(role_ask(&role, "create locked 8"), 0);
	ASSERT_OK(kill(role.pid, SIGSTOP));
	options.timeout_ms = 300;
	EXPECT_EQ_INT(ltz_connect("locked", &options, &pool), -ETIMEDOUT);
	ASSERT_OK(kill(role.pid, SIGCONT));
	role_end(&role);
}

/* What a process of another user gets, that speaks the protocol: nothing. */
static void ask_as_another(void *context)
{
	struct sockaddr_un address;
	struct { uint64_t magic; uint32_t version; int32_t what; char name[104]; } hello = {
		0x6c61747a65726f31ull, 1, 1, "locked" };
	char answer[256], control[256];
	struct iovec part = { answer, sizeof answer };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct ltz_open_options options = with_raw_key(context, 0);
	ltz_pool *pool;

	ASSERT_OK(setgroups(0, NULL));
	ASSERT_OK(setgid(65534));
	ASSERT_OK(setuid(65534));
	EXPECT_EQ_INT(ltz_connect("locked", &options, &pool), -EACCES);
	EXPECT_EQ_INT(ltz_destroy("locked", &options), -EACCES);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	address = address_of(context, "locked");
	ASSERT_OK(connect(fd, (struct sockaddr *)&address, sizeof address));
	ASSERT_OK(send(fd, &hello, sizeof hello, 0));
	EXPECT_EQ_INT(recvmsg(fd, &message, 0), 16);
	EXPECT_EQ_INT(((int32_t *)answer)[3], -EACCES);
	EXPECT_EQ_U64(message.msg_controllen, 0);
}

TEST(another_user_gets_nothing_even_where_it_can_reach_the_socket)
{
	const char *dir = test_directory();
	struct ltz_open_options options = with_raw_key(dir, LTZ_AUTH);
	struct sockaddr_un address;
	char folder[200];
	ltz_pool *pool;

	if (geteuid() != 0)
		test_skip("only root can become another user");
	ASSERT_EQ_INT(ltz_create("locked", &options, &pool), 0);
	address = address_of(dir, "locked");
	snprintf(folder, sizeof folder, "%s/locked.pool", dir);
	ASSERT_OK(chmod(address.sun_path, 0666));
	ASSERT_OK(chmod(folder, 0755));
	ASSERT_OK(chmod(dir, 0755));
	test_wait(test_fork(ask_as_another, (void *)dir));
	ASSERT_OK(chmod(dir, 0700));
	EXPECT_EQ_INT(set_number(pool, "k", 1), 0);
	EXPECT_EQ_U64(count_members(pool), 1);
	ltz_close(pool);
}

struct family {
	const char *dir;
	ltz_pool *pool;
};

/* ---- memory that lies ------------------------------------------------------------------------ */

static void meet_a_liar(void *context)
{
	struct family *family = context;
	struct ltz_open_options options = with_raw_key(family->dir, 0);
	ltz_pool *pool;

	ltz_close(family->pool);
	unsigned before = count_descriptors();
	EXPECT_EQ_INT(ltz_connect("locked", &options, &pool), -EUCLEAN);
	EXPECT_CONTAINS(ltz_error_detail(), "says");
	EXPECT_EQ_U64(count_descriptors(), before);
}

TEST(memory_that_denies_its_lock_is_refused)
{
	struct family family = { .dir = test_directory() };
	struct ltz_open_options options = with_raw_key(family.dir, LTZ_ENCRYPTION);
	int fds[LTZ_EXPORT_FDS];

	ASSERT_EQ_INT(ltz_create("locked", &options, &family.pool), 0);
	ASSERT_EQ_INT(ltz_export(family.pool, fds), 0);
	uint8_t *header = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	ASSERT_TRUE(header != MAP_FAILED);
	uint32_t *flags = &((struct shm_geometry *)header)->flags;
	ASSERT_EQ_U64(*flags & 0xff, LTZ_AUTH | LTZ_ENCRYPTION);
	*flags &= ~(uint32_t)LTZ_ENCRYPTION;
	test_wait(test_fork(meet_a_liar, &family));
	*flags &= ~(uint32_t)LTZ_AUTH;
	test_wait(test_fork(meet_a_liar, &family));
	ltz_close(family.pool);
}

/* How often the bytes are in what the file has memory for. */
static unsigned find_in_memory(int memfd, const void *bytes, size_t size)
{
	unsigned found = 0;
	off_t end = lseek(memfd, 0, SEEK_END), at = 0;
	uint8_t *memory = mmap(NULL, (size_t)end, PROT_READ, MAP_SHARED, memfd, 0);

	ASSERT_TRUE(memory != MAP_FAILED);
	while ((at = lseek(memfd, at, SEEK_DATA)) >= 0) {
		off_t hole = lseek(memfd, at, SEEK_HOLE);
		for (uint8_t *place = memory + at; (place = memmem(place, (size_t)(memory + hole - place), bytes, size)) != NULL; place++)
			found++;
		at = hole;
	}
	munmap(memory, (size_t)end);
	return found;
}

TEST(the_pool_s_memory_has_neither_password_nor_keys)
{
	const char *dir = test_directory();
	struct ltz_open_options options = with_key(dir, PASSWORD, LTZ_AUTH);
	const ltz_key key = key_of("k");
	const ltz_value value = { .data = "a value to be found", .size = 19, .type = LTZ_BYTES };
	struct role role;
	int fds[LTZ_EXPORT_FDS];
	ltz_pool *pool;

	options.max_size_bytes = 8 << 20;
	ASSERT_EQ_INT(ltz_create("locked", &options, &pool), 0);
	ASSERT_EQ_INT(ltz_set(pool, &key, &value, NULL, NULL), 0);
	ASSERT_EQ_INT(ltz_export(pool, fds), 0);
	role_start(&role, dir); /* somebody has been let in, somebody not */
	role_tell(&role, "key %s 0", "wrong");
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	EXPECT_EQ_INT(role_ask(&role, "connect locked 0"), -EKEYREJECTED);
	role_tell(&role, "key %s %u", PASSWORD, 0u);
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	EXPECT_EQ_INT(role_ask(&role, "connect locked 0"), 0);

	const struct ltz_keys *keys = &pool->membership->keys;
	EXPECT_TRUE(find_in_memory(fds[0], value.data, value.size) > 0); /* the search finds what is there */
	for (size_t half = 0; half < 2; half++) {
		EXPECT_EQ_U64(find_in_memory(fds[0], PASSWORD + half * 14, 14), 0);
		EXPECT_EQ_U64(find_in_memory(fds[0], ltz__keys_w(keys) + half * 16, 16), 0);
		EXPECT_EQ_U64(find_in_memory(fds[0], ltz__keys_pool_key(keys) + half * 16, 16), 0);
	}
	role_end(&role);
	ltz_close(pool);
}

/* ---- children ------------------------------------------------------------------------------ */

static void child_goes_on(void *context)
{
	struct family *family = context;
	struct ltz_open_options options = with_raw_key(family->dir, 0);
	struct role role;

	EXPECT_EQ_INT(set_number(family->pool, "k", 2), 0);
	/* It serves others: with the same keys. */
	role_start(&role, family->dir);
	role_tell(&role, "key %s %u", "one-word", LTZ_RAW_KEY);
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	EXPECT_EQ_INT(role_ask(&role, "connect locked 0"), 0);
	EXPECT_EQ_INT(role_value(&role, "get k"), 2);
	role_end(&role);
	options.key = "wrong key of exactly 32 bytes...";
	ltz_pool *second;
	EXPECT_EQ_INT(ltz_connect("locked", &options, &second), -EKEYREJECTED);
	ltz_close(family->pool);
}

TEST(a_forked_child_has_the_keys_without_its_parent)
{
	static const char word[32] = "one-word";
	struct family family = { .dir = test_directory() };
	struct ltz_open_options options = with_raw_key(family.dir, LTZ_AUTH);

	options.key = word;
	ASSERT_EQ_INT(ltz_create("locked", &options, &family.pool), 0);
	pid_t child = test_fork(child_goes_on, &family);
	ltz_close(family.pool);
	test_wait(child);
	EXPECT_EQ_U64(count_entries(family.dir), 0);
}

TEST(descriptors_carry_the_key_once)
{
	const char *dir = test_directory();
	struct ltz_open_options options = with_raw_key(dir, LTZ_AUTH), plain = options_in(dir);
	ltz_pool *pool, *second;
	struct role role;
	unsigned before;
	int fds[LTZ_EXPORT_FDS], copies[LTZ_EXPORT_FDS], again[LTZ_EXPORT_FDS];

	ASSERT_EQ_INT(ltz_create("locked", &options, &pool), 0);
	ASSERT_EQ_INT(set_number(pool, "k", 3), 0);
	before = count_descriptors();
	ASSERT_EQ_INT(ltz_export(pool, fds), 0);
	for (int i = 0; i < LTZ_EXPORT_FDS; i++) {
		ASSERT_OK(copies[i] = dup(fds[i])); /* without close-on-exec */
		ASSERT_OK(again[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0));
		close(fds[i]);
	}
	role_start(&role, dir);
	for (int i = 0; i < LTZ_EXPORT_FDS; i++)
		close(copies[i]);
	role_tell(&role, "import locked %d %d %d", copies[0], copies[1], copies[2]);
	ASSERT_EQ_INT(role_hear(&role, NULL), 0);
	EXPECT_EQ_INT(role_value(&role, "get k"), 3);
	EXPECT_EQ_INT(ltz_import("locked", again, &plain, &second), -EKEYREJECTED);
	EXPECT_CONTAINS(ltz_error_detail(), "taken");
	role_end(&role);
	POLL_UNTIL(count_descriptors() <= before);

	/* Without the key, the rest is worth nothing. */
	ASSERT_EQ_INT(ltz_export(pool, fds), 0);
	close(fds[2]);
	fds[2] = -1;
	EXPECT_TRUE(ltz_import("locked", fds, &plain, &second) < 0);
	POLL_UNTIL(count_descriptors() <= before);
	ltz_close(pool);
}

TEST(a_hardened_process_works_and_cannot_be_looked_into)
{
	const char *dir = test_directory();
	struct ltz_open_options options = with_raw_key(dir, LTZ_AUTH);
	ltz_pool *pool;

	ASSERT_EQ_INT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
	ASSERT_EQ_INT(ltz_harden(), 0);
	EXPECT_EQ_INT(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
	ASSERT_EQ_INT(ltz_create("locked", &options, &pool), 0);
	test_wait(test_fork(connect_with_raw_key, (void *)dir));
	ltz_close(pool);
}
