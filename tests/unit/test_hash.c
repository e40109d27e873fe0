/* SPDX-License-Identifier: MIT */
/* test_hash.c - the key hash: a known one, keyed by seed and type, even in its leading bits. */
#include "base/hash.h"

#include <string.h>

#include "harness.h"

#define TYPE_STEP UINT64_C(0x9E3779B97F4A7C15) /* what one more in the type adds to the seed */

/* XXH3_64bits and XXH3_64bits_withSeed of nothing: from the reference implementation's own sanity table. */
TEST(it_is_xxh3)
{
	EXPECT_EQ_U64(hash_key(0, 0, "", 0), UINT64_C(0x2D06800538D394C2));
	EXPECT_EQ_U64(hash_key(-TYPE_STEP, 1, "", 0), UINT64_C(0x2D06800538D394C2));
	EXPECT_EQ_U64(hash_key(UINT64_C(0x9E3779B185EBCA8D), 0, "", 0), UINT64_C(0xA8A6B918B2F0364A));
}

TEST(the_same_key_always_has_the_same_hash)
{
	char here[] = "a key that is long enough for another path of the hash, and some more", there[sizeof(here) + 1];

	for (size_t size = 0; size < sizeof(here); size++) {
		memcpy(there + 1, here, size);
		EXPECT_EQ_U64(hash_key(42, 1, here, size), hash_key(42, 1, there + 1, size));
	}
}

TEST(seed_type_and_length_each_change_the_hash)
{
	for (unsigned type = 1; type < 8; type++) {
		EXPECT_TRUE(hash_key(1, type, "abc", 3) != hash_key(2, type, "abc", 3));
		for (unsigned other = 1; other < type; other++)
			EXPECT_TRUE(hash_key(1, type, "abc", 3) != hash_key(1, other, "abc", 3));
	}
	EXPECT_TRUE(hash_key(1, 1, "\0\0", 1) != hash_key(1, 1, "\0\0", 2));
	EXPECT_TRUE(hash_key(1, 1, "", 0) != hash_key(1, 2, "", 0));
}

/* The bucket number is the leading bits, the slot's tag those behind. */
TEST(keys_that_differ_little_spread_over_all_buckets)
{
	static unsigned bucket[256], tag[256];
	const unsigned keys = 65536, expected = keys / 256; /* standard deviation 16 */
	uint64_t seed = test_random();

	for (uint64_t i = 0; i < keys; i++) {
		uint64_t hash = hash_key(seed, 3, &i, sizeof(i));

		bucket[hash >> 56]++;
		tag[hash >> 40 & 0xff]++;
	}
	for (unsigned i = 0; i < 256; i++) {
		EXPECT_TRUE(bucket[i] > expected / 2 && bucket[i] < expected * 3 / 2);
		EXPECT_TRUE(tag[i] > expected / 2 && tag[i] < expected * 3 / 2);
	}
}
