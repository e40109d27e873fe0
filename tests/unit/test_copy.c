/* SPDX-License-Identifier: MIT */
/* test_copy.c - copies into and out of the pool: every size, every alignment, nothing beside it. */
#include "base/copy.h"

#include "harness.h"

#define SIZE_MAX_TRIED 200u
#define GUARD          32u

static uint8_t from[SIZE_MAX_TRIED + 2 * GUARD], to[SIZE_MAX_TRIED + 2 * GUARD];

static void fill(void)
{
	for (size_t i = 0; i < sizeof(from); i++) {
		from[i] = (uint8_t)(i * 37 + 11);
		to[i] = 0xee;
	}
}

/* Ends the test unless exactly [at, at + size) of `to` is what `from` has at `source`. */
static void expect_copied(size_t at, size_t source, size_t size)
{
	for (size_t i = 0; i < sizeof(to); i++) {
		uint8_t want = i >= at && i < at + size ? from[source + i - at] : 0xee;

		if (to[i] != want)
			test_fail(TEST_AT(TEST_ASSERT), "size %zu, from %zu to %zu: byte %zu is 0x%02x, not 0x%02x", size,
			          source, at, i, to[i], want);
	}
}

TEST(every_size_and_alignment_is_copied_and_nothing_else)
{
	for (size_t size = 0; size <= SIZE_MAX_TRIED; size++)
		for (size_t shift = 0; shift < 16; shift++) {
			fill();
			copy_bytes(to + GUARD + shift, from + 3, size);
			expect_copied(GUARD + shift, 3, size);
			fill();
			copy_from_pool(to + GUARD, from + shift, size);
			expect_copied(GUARD, shift, size);
		}
}

TEST(a_small_copy_is_right_for_each_of_its_sizes)
{
	for (size_t size = 0; size <= COPY_INLINE_MAX; size++) {
		fill();
		copy_small(to + GUARD, from + 1, size);
		expect_copied(GUARD, 1, size);
	}
}

TEST(a_copy_to_the_pool_and_back_is_the_same)
{
	static uint8_t large[3][70001];

	for (size_t i = 0; i < sizeof(large[0]); i++)
		large[0][i] = (uint8_t)test_random();
	copy_to_pool(large[1], large[0], sizeof(large[0]));
	copy_from_pool(large[2], large[1], sizeof(large[0]));
	EXPECT_EQ_MEM(large[2], large[0], sizeof(large[0]));
}

TEST(nothing_is_copied_from_nowhere)
{
	fill();
	copy_bytes(to + GUARD, NULL, 0);
	expect_copied(GUARD, 0, 0);
	EXPECT_TRUE(equal_in_pool(to, NULL, 0));
}

TEST(zeroing_stops_at_its_end)
{
	uint64_t words[12];

	for (unsigned count = 0; count <= 8; count++) {
		memset(words, 0xff, sizeof(words));
		zero_in_pool(words + 2, count * 8);
		for (unsigned i = 0; i < 12; i++)
			EXPECT_EQ_U64(words[i], i >= 2 && i < 2 + count ? 0 : UINT64_MAX);
	}
}

TEST(equal_bytes_are_equal_whatever_lies_beside_them)
{
	for (size_t size = 0; size <= SIZE_MAX_TRIED; size++)
		for (size_t shift = 0; shift < 8; shift++) {
			fill();
			memcpy(to + GUARD + shift, from + 5, size);
			if (!equal_in_pool(to + GUARD + shift, from + 5, size))
				test_fail(TEST_AT(TEST_ASSERT), "%zu equal bytes are not equal", size);
		}
}

TEST(one_different_bit_anywhere_is_noticed)
{
	for (size_t size = 1; size <= SIZE_MAX_TRIED; size++)
		for (size_t i = 0; i < size; i++) {
			fill();
			memcpy(to + GUARD, from, size);
			to[GUARD + i] ^= (uint8_t)(1u << (i % 8));
			if (equal_in_pool(to + GUARD, from, size))
				test_fail(TEST_AT(TEST_ASSERT), "size %zu: byte %zu differs, nobody noticed", size, i);
		}
}
