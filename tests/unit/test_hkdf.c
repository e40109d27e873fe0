/* SPDX-License-Identifier: MIT */
/* test_hkdf.c - HKDF-SHA256: the published vectors, in both steps and in one, and its bounds. */
#include "guard/hkdf.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "harness.h"
#include "hex.h"

/* RFC 5869, appendix A.1 to A.3. */
static const struct {
	const char *input, *salt, *info, *prk, *out;
} vectors[] = {
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c", "f0f1f2f3f4f5f6f7f8f9",
	  "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5",
	  "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865" },
	{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f"
	  "303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
	  "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f"
	  "909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
	  "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf"
	  "e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
	  "06a6b88c5853361a06104c9ceb35b45cef760014904671014a193f40c15fc244",
	  "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09"
	  "da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87" },
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
	  "19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04",
	  "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8" },
};

TEST(rfc_5869_vectors)
{
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct hex input = unhex(vectors[i].input), salt = unhex(vectors[i].salt), info = unhex(vectors[i].info);
		uint8_t prk[LTZ_HKDF_PRK_BYTES], out[100];
		struct ltz_room room = { out, strlen(vectors[i].out) / 2 };

		ASSERT_EQ_INT(ltz__hkdf_extract(bytes_of(&salt), bytes_of(&input), prk), 0);
		EXPECT_HEX(prk, sizeof(prk), vectors[i].prk);
		ASSERT_EQ_INT(ltz__hkdf_expand(prk, bytes_of(&info), room), 0);
		EXPECT_HEX(out, room.size, vectors[i].out);
		memset(out, 0, sizeof(out));
		ASSERT_EQ_INT(ltz__hkdf(bytes_of(&salt), bytes_of(&input), bytes_of(&info), room), 0);
		EXPECT_HEX(out, room.size, vectors[i].out);
		EXPECT_EQ_U64(out[room.size], 0);
	}
}

/* What is shorter is the beginning of what is longer, to the last byte there can be. */
TEST(every_length_is_a_beginning_of_the_longest)
{
	static uint8_t longest[LTZ_HKDF_OUT_BYTES_MAX], out[LTZ_HKDF_OUT_BYTES_MAX + 1];
	uint8_t prk[LTZ_HKDF_PRK_BYTES] = { 7 };

	ASSERT_EQ_INT(ltz__hkdf_expand(prk, text_bytes("i"), (struct ltz_room){ longest, sizeof(longest) }), 0);
	/* Not published: the last 16 bytes by the cryptography package for Python. */
	EXPECT_HEX(longest + sizeof(longest) - 16, 16, "e7f98ef4298cff10e94072dc4ef0165a");
	for (size_t size = 1; size < sizeof(longest); size += 1 + size / 7) {
		out[size] = 0xee;
		ASSERT_EQ_INT(ltz__hkdf_expand(prk, text_bytes("i"), (struct ltz_room){ out, size }), 0);
		EXPECT_EQ_MEM(out, longest, size);
		EXPECT_EQ_U64(out[size], 0xee);
	}
}

TEST(no_bytes_and_too_many_are_refused)
{
	static uint8_t out[LTZ_HKDF_OUT_BYTES_MAX + 1];
	uint8_t prk[LTZ_HKDF_PRK_BYTES] = { 0 };

	EXPECT_EQ_INT(ltz__hkdf_expand(prk, text_bytes("i"), (struct ltz_room){ out, sizeof(out) }), -EINVAL);
	EXPECT_EQ_INT(ltz__hkdf_expand(prk, text_bytes("i"), (struct ltz_room){ NULL, 0 }), -EINVAL);
	EXPECT_EQ_INT(ltz__hkdf(text_bytes(""), text_bytes("k"), text_bytes("i"), (struct ltz_room){ NULL, 0 }), -EINVAL);
}

static void *expand_often(void *context)
{
	struct hex input = unhex(vectors[0].input), salt = unhex(vectors[0].salt), info = unhex(vectors[0].info);
	uint8_t out[42];

	(void)context;
	for (int i = 0; i < 200; i++) {
		EXPECT_EQ_INT(ltz__hkdf(bytes_of(&salt), bytes_of(&input), bytes_of(&info), (struct ltz_room){ out, 42 }), 0);
		if (i % 20 == 0)
			EXPECT_HEX(out, sizeof(out), vectors[0].out);
	}
	return NULL;
}

TEST(threads_do_not_disturb_each_other)
{
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		ASSERT_EQ_INT(pthread_create(&threads[i], NULL, expand_often, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
