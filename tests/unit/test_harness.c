/* SPDX-License-Identifier: MIT */
/*
 * test_harness.c - canaries: the harness must notice what goes wrong.
 *
 * Each bad thing runs in a child whose end is then looked at, as this program
 * itself has to pass. The last test runs the program once more with tests that
 * exist only then.
 */
#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int status_of(void (*body)(void *))
{
	pid_t child = test_fork(body, NULL);
	int status = -1;

	ASSERT_EQ_INT(waitpid(child, &status, 0), child);
	return status;
}

static void expect_wrong_number(void *context)
{
	(void)context;
	EXPECT_EQ_U64(1, 2);
}

static void expect_wrong_text(void *context)
{
	(void)context;
	EXPECT_STR("a", "b");
}

static void expect_wrong_bytes(void *context)
{
	(void)context;
	EXPECT_EQ_MEM("ab", "ac", 2);
}

static void assert_then_run_on(void *context)
{
	(void)context;
	ASSERT_OK(-2);
	_exit(0);
}

static void all_is_well(void *context)
{
	(void)context;
	EXPECT_EQ_INT(-1, -1);
	EXPECT_CONTAINS("haystack", "stack");
}

TEST(failed_comparisons_fail_the_process)
{
	EXPECT_EQ_INT(WEXITSTATUS(status_of(expect_wrong_number)), 1);
	EXPECT_EQ_INT(WEXITSTATUS(status_of(expect_wrong_text)), 1);
	EXPECT_EQ_INT(WEXITSTATUS(status_of(expect_wrong_bytes)), 1);
}

TEST(a_failed_assertion_ends_the_process)
{
	EXPECT_EQ_INT(WEXITSTATUS(status_of(assert_then_run_on)), 1);
}

TEST(good_comparisons_pass)
{
	EXPECT_EQ_INT(status_of(all_is_well), 0);
}

TEST(the_random_sequence_follows_the_seed)
{
	uint64_t a = test_random();

	EXPECT_TRUE(a != test_random());
	EXPECT_TRUE(test_random_below(10) < 10);
}

TEST(the_directory_is_private_and_there)
{
	EXPECT_EQ_INT(access(test_directory(), R_OK | W_OK | X_OK), 0);
}

/* ---- the runner ------------------------------------------------------------------- */

#define ONLY_THEN "LTZ_TEST_CANARIES"

static void passes(void)
{
	puts("text of a good test");
}

static void fails(void)
{
	EXPECT_STR("left", "right");
}

static void crashes(void)
{
	raise(SIGKILL);
}

static void hangs(void)
{
	for (;;)
		pause();
}

static void skips(void)
{
	test_skip("for this reason");
}

static void leaves_a_process(void)
{
	if (fork() == 0)
		hangs();
}

static struct test_case canaries[] = {
	{ "passes", passes, 30, NULL }, { "fails", fails, 30, NULL },
	{ "crashes", crashes, 30, NULL }, { "hangs", hangs, 1, NULL },
	{ "skips", skips, 30, NULL }, { "leaves_a_process", leaves_a_process, 30, NULL },
};

__attribute__((constructor)) static void register_canaries(void)
{
	for (size_t i = 0; getenv(ONLY_THEN) != NULL && i < sizeof(canaries) / sizeof(canaries[0]); i++)
		test_register(&canaries[i]);
}

static void be_the_canaries(void *context)
{
	int *ends = context;

	dup2(ends[1], STDOUT_FILENO);
	close(ends[1]);
	setenv(ONLY_THEN, "1", 1);
	execl("/proc/self/exe", "canaries", "passes", "fails", "crashes", "hangs", "skips", "leaves_a_process",
	      (char *)NULL);
}

TEST(the_runner_notices_every_bad_end)
{
	char output[8192] = "";
	int ends[2], status;
	size_t used = 0;
	ssize_t n;
	pid_t child;

	ASSERT_OK(pipe(ends));
	child = test_fork(be_the_canaries, ends);
	close(ends[1]);
	/* Ends only when everybody who can write has gone: also the process left behind. */
	while ((n = read(ends[0], output + used, sizeof(output) - 1 - used)) > 0)
		used += (size_t)n;
	ASSERT_EQ_INT(waitpid(child, &status, 0), child);
	EXPECT_EQ_INT(WEXITSTATUS(status), 1);
	EXPECT_CONTAINS(output, "FAILED fails: status 1");
	EXPECT_CONTAINS(output, "\"left\" is \"left\", \"right\" is \"right\"");
	EXPECT_CONTAINS(output, "FAILED crashes: signal 9");
	EXPECT_CONTAINS(output, "FAILED hangs: no end after");
	EXPECT_CONTAINS(output, "skipped skips: for this reason");
	EXPECT_TRUE(strstr(output, "text of a good test") == NULL);
	EXPECT_CONTAINS(output, "\n1 skipped\n2 passed, 3 failed\n");
}
