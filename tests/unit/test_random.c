/* SPDX-License-Identifier: MIT */
/* test_random.c - all bytes asked for are filled, and differ. */
#include "sys/sys.h"

#include <string.h>

#include "harness.h"

TEST(two_keys_differ)
{
	uint8_t a[32], b[32];

	ASSERT_OK(ltz__sys_random(a, sizeof(a)));
	ASSERT_OK(ltz__sys_random(b, sizeof(b)));
	EXPECT_TRUE(memcmp(a, b, sizeof(a)) != 0);
}

TEST(large_requests_are_filled_to_the_end)
{
	static uint8_t bytes[1 << 20];
	size_t size = sizeof(bytes) - 1;
	int set = 0;

	ASSERT_OK(ltz__sys_random(bytes, size));
	for (size_t i = size - 64; i < size; i++)
		set += bytes[i] != 0;
	EXPECT_TRUE(set > 32); /* fails by chance once in 2^100 */
	EXPECT_EQ_U64(bytes[size], 0);
}

TEST(nothing_asked_nothing_written)
{
	uint8_t byte = 7;

	EXPECT_OK(ltz__sys_random(&byte, 0));
	EXPECT_EQ_U64(byte, 7);
}
