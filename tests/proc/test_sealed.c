/* SPDX-License-Identifier: MIT */
/*
 * test_sealed.c - other test programs, run once more: those of the map in
 * sealed pools, where all must be as in open ones; and test_seal on a core
 * with a rule of sealing broken on purpose, which it must notice.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

#define LTZ_CANARY
#include "base/canary.h"

unsigned ltz__canary; /* nobody here asks */

extern char **environ;

/* The exit status of a test program; tests: parts of the names of its tests, NULL at the end. */
static int status_of(const char *program, const char *const *tests)
{
	const char *arguments[16] = { program };
	unsigned count = 1;
	int status;
	pid_t child;

	for (; tests && *tests; tests++)
		arguments[count++] = *tests;
	ASSERT_EQ_INT(posix_spawn(&child, program, NULL, NULL, (char *const *)(uintptr_t)arguments, environ), 0);
	ASSERT_EQ_INT(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- sealed pools ----------------------------------------------------------------------- */

static void run_in(const char *kind)
{
	/* all but those that look at a record's bytes, or join the memory alone */
	static const char *const programs[] = {
		LTZ_TEST_BIN "/test_check", LTZ_TEST_BIN "/test_expiry", LTZ_TEST_BIN "/test_map",    LTZ_TEST_BIN "/test_read",
		LTZ_TEST_BIN "/test_refers", LTZ_TEST_BIN "/test_resize", LTZ_TEST_BIN "/test_scan", LTZ_TEST_BIN "/test_tick",
		LTZ_TEST_BIN "/test_threads",
	};

	setenv("LTZ_TEST_POOL", kind, 1);
	for (unsigned i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		if (status_of(programs[i], NULL) != 0)
			test_fail(TEST_AT(TEST_EXPECT), "%s fails in pools that are %s", programs[i], kind);
}

TEST_WITH_LIMIT(the_map_is_the_same_in_locked_pools, 600) { run_in("locked"); }
TEST_WITH_LIMIT(the_map_is_the_same_in_encrypted_pools, 600) { run_in("encrypted"); }

/* ---- canaries ----------------------------------------------------------------------------- */

static int status_with(unsigned canary)
{
	static const char *const tests[] = { "no_byte_of", "older_value", "fits_no_other", "another_pool", "forked_child", NULL };
	char number[16];

	if (access(LTZ_TEST_BIN "/seal_canaries", X_OK) < 0)
		test_skip("this build has no core whose rules can be broken");
	snprintf(number, sizeof(number), "%u", canary);
	setenv("LTZ_CANARY", number, 1);
	return status_of(LTZ_TEST_BIN "/seal_canaries", tests);
}

TEST_WITH_LIMIT(with_all_rules_kept_nothing_is_noticed, 300) { EXPECT_EQ_INT(status_with(CANARY_NONE), 0); }
TEST_WITH_LIMIT(associated_data_left_out_is_noticed, 300) { EXPECT_EQ_INT(status_with(CANARY_NO_AAD), 1); }
TEST_WITH_LIMIT(a_prefix_kept_after_fork_is_noticed, 300) { EXPECT_EQ_INT(status_with(CANARY_FORK_SEALS), 1); }
TEST_WITH_LIMIT(tags_compared_in_part_are_noticed, 300) { EXPECT_EQ_INT(status_with(CANARY_TAG_CUT), 1); }
