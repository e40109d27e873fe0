/* SPDX-License-Identifier: MIT */
/*
 * test_storm_short.c - ten seconds of tests/storm, and its canaries.
 *
 * `make storm` is the long one. LTZ_TEST_SEED is the storm's seed too.
 */
#include "proc.h"

/* Runs the storm; its report is the test's output. Returns its exit status. */
static int storm(const char *seconds, const char *canary)
{
	char seed[32], *arguments[] = { "storm", "-s", (char *)seconds, "-r", seed, "-c", (char *)canary, "-w", "4", NULL };
	pid_t child;
	int status;

	snprintf(seed, sizeof seed, "%" PRIu64, test_seed());
	if (canary == NULL)
		arguments[5] = NULL;
	fflush(NULL);
	ASSERT_OK(child = fork());
	if (child == 0) {
		execv(LTZ_TEST_BIN "/storm", arguments);
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0)
		ASSERT_EQ_INT(errno, EINTR);
	ASSERT_TRUE(WIFEXITED(status));
	return WEXITSTATUS(status);
}

TEST_WITH_LIMIT(a_short_storm_leaves_what_was_acknowledged, 150)
{
	EXPECT_EQ_INT(storm("10", NULL), 0);
}

TEST_WITH_LIMIT(the_storm_notices_one_wrong_byte, 100)
{
	EXPECT_EQ_INT(storm("4", "value"), 1);
}

TEST_WITH_LIMIT(the_storm_notices_an_acknowledged_write_that_was_not_done, 100)
{
	EXPECT_EQ_INT(storm("4", "forget"), 1);
}

TEST_WITH_LIMIT(the_storm_notices_an_addition_that_was_not_done, 100)
{
	EXPECT_EQ_INT(storm("4", "count"), 1);
}

TEST_WITH_LIMIT(the_storm_notices_a_key_that_comes_back, 100)
{
	EXPECT_EQ_INT(storm("4", "undelete"), 1);
}

TEST_WITH_LIMIT(the_storm_notices_a_key_too_many, 100)
{
	EXPECT_EQ_INT(storm("4", "leak"), 1);
}
