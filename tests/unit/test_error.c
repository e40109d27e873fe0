/* SPDX-License-Identifier: MIT */
/* test_error.c - one line for every result, one detail for every thread. */
#include "base/error.h"

#include <pthread.h>
#include <string.h>

#include <latzero.h>

#include "harness.h"

TEST(every_outcome_has_a_line_of_its_own)
{
	for (int a = LTZ_OK; a <= LTZ_OVERFLOW; a++)
		for (int b = a + 1; b <= LTZ_OVERFLOW; b++)
			EXPECT_TRUE(strcmp(ltz__strerror(a), ltz__strerror(b)) != 0);
}

TEST(documented_failures_say_what_they_mean_here)
{
	EXPECT_STR(ltz__strerror(-ENOENT), "no such pool");
	EXPECT_STR(ltz__strerror(-EUCLEAN), "the pool is damaged");
	EXPECT_STR(ltz__strerror(-EROFS), "this handle is read-only");
	EXPECT_CONTAINS(ltz__strerror(-ESHUTDOWN), "destroyed");
}

TEST(unknown_results_have_a_line_too)
{
	for (int result = -5000; result <= 5000; result++)
		EXPECT_TRUE(ltz__strerror(result)[0] != '\0');
	EXPECT_STR(ltz__strerror(-4000), "unexpected error of the system");
	EXPECT_STR(ltz__strerror(4000), "unknown result");
}

TEST(fail_returns_its_result_and_keeps_the_detail)
{
	EXPECT_STR(ltz__detail(), "");
	EXPECT_EQ_INT(ltz__fail(-EACCES, "'%s' is %d", "x", 7), -EACCES);
	EXPECT_STR(ltz__detail(), "'x' is 7");
	EXPECT_EQ_INT(ltz__fail(0, NULL), 0);
	EXPECT_STR(ltz__detail(), "");
}

TEST(a_long_detail_is_cut)
{
	char text[1000];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ltz__fail(-EINVAL, "%s", text);
	EXPECT_EQ_U64(strlen(ltz__detail()), 400);
}

static void *other_thread(void *context)
{
	(void)context;
	EXPECT_STR(ltz__detail(), "");
	ltz__fail(-EINVAL, "theirs");
	return NULL;
}

TEST(details_of_threads_do_not_mix)
{
	pthread_t thread;

	ltz__fail(-EINVAL, "ours");
	ASSERT_EQ_INT(pthread_create(&thread, NULL, other_thread, NULL), 0);
	pthread_join(thread, NULL);
	EXPECT_STR(ltz__detail(), "ours");
}
