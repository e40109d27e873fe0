/* SPDX-License-Identifier: MIT */
/* test_wipe.c - what is wiped is gone, to the byte; every differing bit is seen. */
#include "guard/wipe.h"

#include <stdint.h>
#include <string.h>

#include "harness.h"

TEST(exactly_the_bytes_asked_for_are_wiped)
{
	uint8_t bytes[40], zeros[40] = { 0 };

	for (size_t size = 0; size <= 32; size++) {
		memset(bytes, 0xa5, sizeof(bytes));
		ltz__wipe(bytes + 4, size);
		EXPECT_EQ_MEM(bytes + 4, zeros, size);
		EXPECT_EQ_U64(bytes[3], 0xa5);
		EXPECT_EQ_U64(bytes[4 + size], 0xa5);
	}
}

TEST(every_differing_bit_is_seen)
{
	uint8_t a[33], b[33];

	for (size_t i = 0; i < sizeof(a); i++)
		a[i] = (uint8_t)test_random();
	memcpy(b, a, sizeof(b));
	EXPECT_TRUE(ltz__same(a, b, sizeof(a)));
	for (size_t bit = 0; bit < 8 * sizeof(a); bit++) {
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
		EXPECT_TRUE(!ltz__same(a, b, sizeof(a)));
		EXPECT_TRUE(ltz__same(a, b, bit / 8));
		b[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

TEST(nothing_is_the_same_as_nothing)
{
	EXPECT_TRUE(ltz__same("a", "b", 0));
}
