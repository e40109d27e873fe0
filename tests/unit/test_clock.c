/* SPDX-License-Identifier: MIT */
/* test_clock.c - the clocks count in the unit they say, and never backwards. */
#include "sys/sys.h"

#include <time.h>

#include "harness.h"

TEST(boottime_never_goes_back)
{
	uint64_t last = ltz__sys_boottime_ns();

	for (int i = 0; i < 100000; i++) {
		uint64_t now = ltz__sys_boottime_ns();

		ASSERT_TRUE(now >= last);
		last = now;
	}
}

TEST(boottime_is_the_kernel_s_in_nanoseconds)
{
	struct timespec before, after;
	uint64_t now;

	clock_gettime(CLOCK_BOOTTIME, &before);
	now = ltz__sys_boottime_ns();
	clock_gettime(CLOCK_BOOTTIME, &after);
	EXPECT_TRUE(now >= (uint64_t)before.tv_sec * 1000000000u + (uint64_t)before.tv_nsec);
	EXPECT_TRUE(now <= (uint64_t)after.tv_sec * 1000000000u + (uint64_t)after.tv_nsec);
}

TEST(unix_time_is_in_milliseconds)
{
	int64_t s = time(NULL), ms = ltz__sys_unix_ms();

	EXPECT_TRUE(ms / 1000 >= s - 1);
	EXPECT_TRUE(ms / 1000 <= (int64_t)time(NULL) + 1);
}

TEST(yield_returns)
{
	ltz__sys_yield();
}
