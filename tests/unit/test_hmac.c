/* SPDX-License-Identifier: MIT */
/* test_hmac.c - HMAC-SHA256: the published vectors, in one part and in many, and tags that must not pass. */
#include "guard/hmac.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "harness.h"
#include "hex.h"

#define AA_131                                                                                     \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* RFC 4231, section 4: test cases 1 to 7; the tag of case 5 is printed cut to 128 bits. */
static const struct {
	const char *key, *message, *tag;
} vectors[] = {
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "4869205468657265",
	  "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
	{ "4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
	  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
	{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
	  "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
	{ "0102030405060708090a0b0c0d0e0f10111213141516171819",
	  "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
	  "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b" },
	{ "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c", "546573742057697468205472756e636174696f6e",
	  "a3b6167473100ee06e0c796c2955552b" },
	{ AA_131, "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d20486173682"
	          "04b6579204669727374",
	  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
	{ AA_131, "5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73697a6520"
	          "6b657920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e20546865206b6579"
	          "206e6565647320746f20626520686173686564206265666f7265206265696e6720757365642062792074686520484d"
	          "414320616c676f726974686d2e",
	  "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2" },
};
#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

static struct ltz_hmac keyed(const char *hex_key)
{
	struct hex key = unhex(hex_key);
	struct ltz_hmac hmac;

	ASSERT_EQ_INT(ltz__hmac_init(&hmac, bytes_of(&key)), 0);
	return hmac;
}

TEST(rfc_4231_vectors)
{
	for (size_t i = 0; i < VECTORS; i++) {
		struct ltz_hmac hmac = keyed(vectors[i].key);
		struct hex message = unhex(vectors[i].message), tag = unhex(vectors[i].tag);
		struct ltz_bytes part = bytes_of(&message);
		uint8_t out[LTZ_HMAC_BYTES];

		for (int again = 0; again < 2; again++) { /* the key serves more than once */
			memset(out, 0, sizeof(out));
			ltz__hmac(&hmac, &part, 1, out);
			EXPECT_HEX(out, tag.size, vectors[i].tag);
			EXPECT_EQ_INT(ltz__hmac_verify(&hmac, &part, 1, bytes_of(&tag)), 0);
		}
	}
}

TEST(parts_make_one_message_wherever_it_is_cut)
{
	struct ltz_hmac hmac = keyed(vectors[6].key);
	struct hex message = unhex(vectors[6].message);

	for (size_t a = 0; a <= message.size; a++) {
		size_t b = a + test_random_below(message.size - a + 1);
		struct ltz_bytes parts[4] = {
			{ message.bytes, a }, { NULL, 0 }, { message.bytes + a, b - a }, { message.bytes + b, message.size - b },
		};
		uint8_t out[LTZ_HMAC_BYTES];

		ltz__hmac(&hmac, parts, 4, out);
		EXPECT_HEX(out, sizeof(out), vectors[6].tag);
	}
}

/* Not published: Python's hmac module. */
TEST(an_empty_message_and_an_empty_key_have_a_tag)
{
	struct ltz_hmac hmac;
	uint8_t out[LTZ_HMAC_BYTES];

	ASSERT_EQ_INT(ltz__hmac_init(&hmac, (struct ltz_bytes){ NULL, 0 }), 0);
	ltz__hmac(&hmac, NULL, 0, out);
	EXPECT_HEX(out, sizeof(out), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* Not published: the tag of 4,096 tags one after the other, by Python's hmac module. */
TEST(every_size_of_key_and_message_around_a_block_is_right)
{
	static uint8_t bytes[130], tags[64 * 64 * LTZ_HMAC_BYTES];
	struct ltz_hmac whole;
	uint8_t out[LTZ_HMAC_BYTES];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(7 * i + 1);
	for (size_t k = 0; k < 64; k++) {
		struct ltz_hmac hmac;

		ASSERT_EQ_INT(ltz__hmac_init(&hmac, (struct ltz_bytes){ bytes, k + 33 }), 0);
		for (size_t m = 0; m < 64; m++) {
			struct ltz_bytes part = { bytes, m + 33 };

			ltz__hmac(&hmac, &part, 1, tags + (64 * k + m) * LTZ_HMAC_BYTES);
		}
	}
	ASSERT_EQ_INT(ltz__hmac_init(&whole, text_bytes("all")), 0);
	ltz__hmac(&whole, &(struct ltz_bytes){ tags, sizeof(tags) }, 1, out);
	EXPECT_HEX(out, sizeof(out), "4bb0a30585b4f9576b5f5a5381c4dff3e6c698fe16fd34f87d6b4c8349c8b08a");
}

TEST(a_tag_with_a_wrong_bit_does_not_pass)
{
	struct ltz_hmac hmac = keyed(vectors[1].key);
	struct hex message = unhex(vectors[1].message), tag = unhex(vectors[1].tag);
	struct ltz_bytes part = bytes_of(&message);

	for (size_t bit = 0; bit < 8 * tag.size; bit++) {
		tag.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		EXPECT_EQ_INT(ltz__hmac_verify(&hmac, &part, 1, bytes_of(&tag)), -EBADMSG);
		tag.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	part.size--;
	EXPECT_EQ_INT(ltz__hmac_verify(&hmac, &part, 1, bytes_of(&tag)), -EBADMSG);
}

TEST(a_tag_of_too_few_or_too_many_bytes_is_no_tag)
{
	struct ltz_hmac hmac = keyed(vectors[0].key);
	struct hex message = unhex(vectors[0].message), tag = unhex(vectors[0].tag);
	struct ltz_bytes part = bytes_of(&message);

	for (size_t size = 0; size <= 40; size++) {
		int wanted = size < LTZ_HMAC_BYTES_MIN || size > LTZ_HMAC_BYTES ? -EINVAL : 0;

		EXPECT_EQ_INT(ltz__hmac_verify(&hmac, &part, 1, (struct ltz_bytes){ tag.bytes, size }), wanted);
	}
}

static struct ltz_hmac shared;

static void *tag_often(void *context)
{
	struct hex message = unhex(vectors[3].message);
	struct ltz_bytes part = bytes_of(&message);
	uint8_t out[LTZ_HMAC_BYTES];

	(void)context;
	for (int i = 0; i < 2000; i++) {
		ltz__hmac(&shared, &part, 1, out);
		if (i % 100 == 0)
			EXPECT_HEX(out, sizeof(out), vectors[3].tag);
	}
	return NULL;
}

TEST(threads_share_one_key)
{
	pthread_t threads[4];

	shared = keyed(vectors[3].key);
	for (int i = 0; i < 4; i++)
		ASSERT_EQ_INT(pthread_create(&threads[i], NULL, tag_often, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}
