/* SPDX-License-Identifier: MIT */
/* test_secret.c - the page of keys: read-only once frozen, each process's own to keep or drop. */
#include "guard/secret.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

static const char keys[] = "thirty-two bytes that are secret";

/* Takes the place of libc's, to see what a page holds when it is let go. */
static const char *watched;
static char last_seen[LTZ_SECRET_BYTES];

int munmap(void *address, size_t size)
{
	if (address == watched && address != NULL)
		memcpy(last_seen, address, sizeof(last_seen));
	return (int)syscall(SYS_munmap, address, size);
}

static bool mapped(const void *page)
{
	unsigned char in_core;

	return mincore((void *)(uintptr_t)page, 1, &in_core) == 0;
}

/* Leaves only private memory to be had. */
static void forbid_hidden(void)
{
	struct rlimit limit = { LTZ_SECRET_BYTES - 1, LTZ_SECRET_BYTES - 1 };

	ASSERT_OK(setrlimit(RLIMIT_FSIZE, &limit));
}

static struct ltz_secret written(void)
{
	struct ltz_secret secret;

	ASSERT_OK(ltz__secret_init(&secret));
	ASSERT_TRUE(secret.bytes != NULL);
	memcpy((char *)secret.bytes + LTZ_SECRET_BYTES - sizeof(keys), keys, sizeof(keys));
	ASSERT_OK(ltz__secret_freeze(&secret));
	return secret;
}

static void expect_keys(const struct ltz_secret *secret)
{
	EXPECT_STR((char *)secret->bytes + LTZ_SECRET_BYTES - sizeof(keys), keys);
}

static void write_to_it(const struct ltz_secret *secret)
{
	struct rlimit no_core = { 0, 0 };

	setrlimit(RLIMIT_CORE, &no_core);
	*(volatile char *)secret->bytes = 1;
}

TEST(a_frozen_page_keeps_its_keys_and_takes_no_others)
{
	struct ltz_secret secret = written();
	int status;
	pid_t child = fork();

	if (child == 0) {
		write_to_it(&secret);
		_exit(0);
	}
	ASSERT_EQ_INT(waitpid(child, &status, 0), child);
	EXPECT_TRUE(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
	expect_keys(&secret);
	ltz__secret_deinit(&secret);
}

TEST(after_deinit_the_page_is_gone_and_a_second_one_does_nothing)
{
	struct ltz_secret secret = written();
	void *page = secret.bytes;

	EXPECT_TRUE(mapped(page));
	ltz__secret_deinit(&secret);
	EXPECT_TRUE(!mapped(page));
	EXPECT_TRUE(secret.bytes == NULL);
	ltz__secret_deinit(&secret);
	ltz__secret_inherited(&secret);
}

struct family {
	struct ltz_secret secret;
	struct test_gate child_has_it, parent_dropped_it;
};

static void keep_it_after_the_parent(void *context)
{
	struct family *family = context;

	ltz__secret_inherited(&family->secret);
	expect_keys(&family->secret);
	EXPECT_TRUE(family->secret.how & LTZ_SYS_LOCKED);
	test_gate_open(&family->child_has_it);
	test_gate_wait(&family->parent_dropped_it);
	expect_keys(&family->secret);
	ltz__secret_deinit(&family->secret);
}

static void parent_drops_first(void)
{
	struct family family = { .secret = written() };
	pid_t child;

	test_gate_init(&family.child_has_it);
	test_gate_init(&family.parent_dropped_it);
	child = test_fork(keep_it_after_the_parent, &family);
	test_gate_wait(&family.child_has_it);
	ltz__secret_deinit(&family.secret);
	test_gate_open(&family.parent_dropped_it);
	test_wait(child);
}

static void drop_it(void *context)
{
	struct ltz_secret *secret = context;

	expect_keys(secret);
	ltz__secret_inherited(secret);
	ltz__secret_deinit(secret);
}

static void child_drops_first(void)
{
	struct ltz_secret secret = written();

	test_wait(test_fork(drop_it, &secret));
	expect_keys(&secret);
	ltz__secret_deinit(&secret);
}

TEST(a_child_keeps_the_keys_that_its_parent_drops)
{
	parent_drops_first();
}

TEST(a_parent_keeps_the_keys_that_its_child_drops)
{
	child_drops_first();
}

TEST(private_pages_are_as_independent)
{
	struct ltz_secret secret;

	forbid_hidden();
	ASSERT_OK(ltz__secret_init(&secret));
	EXPECT_EQ_U64(secret.how & LTZ_SYS_HIDDEN, 0);
	ltz__secret_deinit(&secret);
	parent_drops_first();
	child_drops_first();
}

TEST(a_private_page_is_wiped_before_it_is_let_go)
{
	static const char zeros[LTZ_SECRET_BYTES];
	struct ltz_secret secret;

	forbid_hidden();
	secret = written();
	watched = secret.bytes;
	memset(last_seen, 1, sizeof(last_seen));
	ltz__secret_deinit(&secret);
	EXPECT_EQ_MEM(last_seen, zeros, sizeof(zeros));
}

TEST(two_pages_are_two)
{
	struct ltz_secret a = written(), b = written();

	EXPECT_TRUE(a.bytes != b.bytes);
	ltz__secret_deinit(&a);
	expect_keys(&b);
	ltz__secret_deinit(&b);
}
