/* SPDX-License-Identifier: MIT */
/* test_xaes.c - XAES-256-GCM: the published vectors, nonces that never meet, and chunks that cannot be moved. */
#include "guard/xaes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "hex.h"
#include "shake.h"
#include "sys/fault.h"

#define CHUNK LTZ_XAES_CHUNK_BYTES
#define TAG   LTZ_XAES_TAG_BYTES

static struct ltz_xaes *keyed(const uint8_t *key)
{
	struct ltz_xaes *xaes;

	ASSERT_EQ_INT(ltz__xaes_new(&xaes, key), 0);
	return xaes;
}

static struct ltz_xaes *keyed_with(uint8_t fill)
{
	uint8_t key[LTZ_XAES_KEY_BYTES];

	memset(key, fill, sizeof(key));
	return keyed(key);
}

/* C2SP XAES-256-GCM, "Test vectors": in the first the highest bit of L is 0, in the second 1. */
TEST(c2sp_vectors)
{
	static const struct {
		uint8_t fill;
		const char *aad, *sealed, *tag;
	} vectors[] = {
		{ 1, "", "ce546ef63c9cc60765923609", "b33a9a1974e96e52daf2fcf7075e2271" },
		{ 3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a17943", "7fd083bf3fdb41abd740a21f71eb769d" },
	};
	const uint8_t *nonce = (const uint8_t *)"ABCDEFGHIJKLMNOPQRSTUVWX";
	struct ltz_bytes text = text_bytes("XAES-256-GCM");

	for (size_t i = 0; i < 2; i++) {
		struct ltz_xaes *xaes = keyed_with(vectors[i].fill);
		struct ltz_bytes aad = text_bytes(vectors[i].aad);
		uint8_t out[12], tag[TAG];
		struct ltz_room room = { out, sizeof(out) };

		ASSERT_EQ_INT(ltz__xaes_seal(xaes, nonce, aad, &text, 1, out, tag), 0);
		EXPECT_HEX(out, sizeof(out), vectors[i].sealed);
		EXPECT_HEX(tag, sizeof(tag), vectors[i].tag);
		ASSERT_EQ_INT(ltz__xaes_open(xaes, nonce, aad, out, &room, 1, tag), 0);
		EXPECT_EQ_MEM(out, "XAES-256-GCM", 12);
		ltz__xaes_free(xaes);
	}
}

/* One iteration of the accumulated test: input from rng, ciphertext and tag to hash. Some are opened again. */
static void accumulate(struct shake *rng, struct shake *hash, bool open_again)
{
	uint8_t key[LTZ_XAES_KEY_BYTES], nonce[LTZ_XAES_NONCE_BYTES], text[255], aad[255], out[255], tag[TAG], size;
	struct ltz_bytes part = { text, 0 }, associated = { aad, 0 };
	struct ltz_room room = { out, 0 };
	struct ltz_xaes *xaes;

	shake_squeeze(rng, key, sizeof(key));
	shake_squeeze(rng, nonce, sizeof(nonce));
	shake_squeeze(rng, &size, 1);
	shake_squeeze(rng, text, part.size = room.size = size);
	shake_squeeze(rng, &size, 1);
	shake_squeeze(rng, aad, associated.size = size);
	xaes = keyed(key);
	ASSERT_EQ_INT(ltz__xaes_seal(xaes, nonce, associated, &part, 1, out, tag), 0);
	shake_absorb(hash, out, part.size);
	shake_absorb(hash, tag, sizeof(tag));
	if (open_again) {
		ASSERT_EQ_INT(ltz__xaes_open(xaes, nonce, associated, out, &room, 1, tag), 0);
		ASSERT_TRUE(memcmp(out, text, part.size) == 0);
	}
	ltz__xaes_free(xaes);
}

static void expect_accumulated(unsigned iterations, const char *wanted)
{
	struct shake rng = { .at = 0 }, hash = { .at = 0 };
	uint8_t out[32];

	shake_finish(&rng);
	for (unsigned i = 0; i < iterations; i++)
		accumulate(&rng, &hash, i % 100 == 0 || iterations <= 10000);
	shake_finish(&hash);
	shake_squeeze(&hash, out, sizeof(out));
	EXPECT_HEX(out, sizeof(out), wanted);
}

/* C2SP XAES-256-GCM, "Accumulated randomized tests", which also gives the beginning of the stream. */
TEST(the_vectors_stream_begins_as_printed)
{
	struct shake rng = { .at = 0 };
	uint8_t out[16];

	shake_finish(&rng);
	shake_squeeze(&rng, out, sizeof(out));
	EXPECT_HEX(out, sizeof(out), "7f9c2ba4e88f827d616045507605853e");
}

TEST(c2sp_accumulated_10_000)
{
	expect_accumulated(10000, "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939");
}

TEST_WITH_LIMIT(c2sp_accumulated_1_000_000, 120)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	test_skip("a minute and more under a sanitizer; the 10,000 run");
#else
	expect_accumulated(1000000, "2163ae1445985a30b60585ee67daa55674df06901b890593e824b8a7c885ab15");
#endif
}

/* More prefixes than there are places, in any order, by one object; each record was sealed by another. */
TEST(readers_of_many_prefixes_always_use_the_right_subkey)
{
	enum { PREFIXES = 40 };
	struct ltz_xaes *reader = keyed_with(9);
	uint8_t nonces[PREFIXES][LTZ_XAES_NONCE_BYTES], sealed[PREFIXES][4], tags[PREFIXES][TAG];

	for (unsigned i = 0; i < PREFIXES; i++) {
		struct ltz_xaes *writer = keyed_with(9);
		struct ltz_bytes part = { &i, sizeof(i) };
		uint8_t prefix[LTZ_XAES_PREFIX_BYTES] = { 0 };

		prefix[i % LTZ_XAES_PREFIX_BYTES] = (uint8_t)i; /* 0: a prefix like an unused place */
		ltz__xaes_nonce(nonces[i], prefix, i);
		ASSERT_EQ_INT(ltz__xaes_seal(writer, nonces[i], text_bytes("a"), &part, 1, sealed[i], tags[i]), 0);
		ltz__xaes_free(writer);
	}
	for (int round = 0; round < 5000; round++) {
		unsigned limit = round % 500 < 250 ? 12 : PREFIXES; /* stretches that fit the places, and that do not */
		unsigned i = (unsigned)test_random_below(limit), opened = ~i;
		struct ltz_room room = { &opened, sizeof(opened) };

		ASSERT_EQ_INT(ltz__xaes_open(reader, nonces[i], text_bytes("a"), sealed[i], &room, 1, tags[i]), 0);
		ASSERT_EQ_U64(opened, i);
		if (round % 7 == 0) { /* an own record in between, under any prefix */
			uint8_t again[4], tag[TAG];
			struct ltz_bytes part = { &i, sizeof(i) };

			ASSERT_EQ_INT(ltz__xaes_seal(reader, nonces[i], text_bytes("a"), &part, 1, again, tag), 0);
			ASSERT_TRUE(memcmp(again, sealed[i], 4) == 0 && memcmp(tag, tags[i], TAG) == 0);
		}
	}
	ltz__xaes_free(reader);
}

TEST(a_record_opens_under_its_own_nonce_and_key_only)
{
	struct ltz_xaes *xaes = keyed_with(5), *other = keyed_with(6);
	uint8_t prefix[LTZ_XAES_PREFIX_BYTES] = { 1 }, nonce[LTZ_XAES_NONCE_BYTES], sealed[6], out[6], tag[TAG];
	struct ltz_bytes part = text_bytes("secret"), aad = text_bytes("key, expiry");
	struct ltz_room room = { out, sizeof(out) };

	ltz__xaes_nonce(nonce, prefix, 77);
	ASSERT_EQ_INT(ltz__xaes_seal(xaes, nonce, aad, &part, 1, sealed, tag), 0);
	for (unsigned bit = 0; bit < 8 * sizeof(nonce); bit++) {
		nonce[bit / 8] ^= (uint8_t)(1u << bit % 8);
		EXPECT_EQ_INT(ltz__xaes_open(xaes, nonce, aad, sealed, &room, 1, tag), -EBADMSG);
		nonce[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	EXPECT_EQ_INT(ltz__xaes_open(other, nonce, aad, sealed, &room, 1, tag), -EBADMSG);
	EXPECT_EQ_INT(ltz__xaes_open(xaes, nonce, text_bytes("key, Expiry"), sealed, &room, 1, tag), -EBADMSG);
	EXPECT_EQ_INT(ltz__xaes_open(xaes, nonce, aad, sealed, &room, 1, tag), 0);
	ltz__xaes_free(xaes);
	ltz__xaes_free(other);
	ltz__xaes_free(NULL);
}

/* ---- nonces and chunks ------------------------------------------------------------------- */

TEST(a_nonce_is_prefix_chunk_and_counter)
{
	struct hex prefix = unhex("a0a1a2a3a4a5a6a7a8a9aaab");
	uint8_t nonce[LTZ_XAES_NONCE_BYTES];
	struct ltz_xaes_chunk chunk;

	ltz__xaes_nonce(nonce, prefix.bytes, UINT64_C(0x0102030405060708));
	EXPECT_HEX(nonce, sizeof(nonce), "a0a1a2a3a4a5a6a7a8a9aaab000000000102030405060708");
	ASSERT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, 3 * CHUNK, 0), 0);
	EXPECT_HEX(chunk.nonce, sizeof(nonce), "a0a1a2a3a4a5a6a7a8a9aaab000000010102030405060708");
	ASSERT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, 3 * CHUNK, 2), 0);
	EXPECT_HEX(chunk.nonce, sizeof(nonce), "a0a1a2a3a4a5a6a7a8a9aaab800000030102030405060708");
}

TEST(chunks_cover_a_value_of_any_size_exactly)
{
	static const uint64_t sizes[] = { 0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 7 * CHUNK + 123, UINT64_C(1) << 33 };
	uint8_t nonce[LTZ_XAES_NONCE_BYTES] = { 0 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t count = ltz__xaes_chunks(sizes[i]), covered = 0;
		struct ltz_xaes_chunk chunk;

		for (uint64_t index = 0; index < count; index++) {
			ASSERT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, sizes[i], index), 0);
			ASSERT_EQ_U64(chunk.offset, covered);
			ASSERT_TRUE(index + 1 == count || chunk.size == CHUNK);
			ASSERT_TRUE(chunk.size > 0 || sizes[i] == 0);
			ASSERT_EQ_U64(chunk.nonce[12] >> 7, index + 1 == count);
			covered += chunk.size;
		}
		EXPECT_EQ_U64(covered, sizes[i]);
		EXPECT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, sizes[i], count), -EINVAL);
	}
}

TEST(chunks_that_cannot_be_are_refused)
{
	const uint64_t most = ((UINT64_C(1) << 31) - 1) * CHUNK;
	uint8_t nonce[LTZ_XAES_NONCE_BYTES] = { 0 };
	struct ltz_xaes_chunk chunk, again;

	EXPECT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, most, (UINT64_C(1) << 31) - 2), 0);
	EXPECT_HEX(chunk.nonce + 12, 4, "ffffffff");
	EXPECT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, most, (UINT64_C(1) << 31) - 1), -EINVAL);
	EXPECT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, most + 1, 0), -EINVAL);
	EXPECT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, UINT64_MAX, 0), -EINVAL);
	EXPECT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, CHUNK, UINT64_MAX), -EINVAL);
	ASSERT_EQ_INT(ltz__xaes_chunk(&chunk, nonce, CHUNK, 0), 0);
	EXPECT_EQ_INT(ltz__xaes_chunk(&again, chunk.nonce, CHUNK, 0), -EINVAL); /* a chunk of a chunk */
}

static int order(const void *a, const void *b)
{
	return memcmp(a, b, LTZ_XAES_NONCE_BYTES);
}

/* Records of every few sizes, each number used once for a name and once for a value in chunks. */
TEST(no_two_sealings_of_an_attachment_share_a_nonce)
{
	enum { MOST = 60000 };
	static uint8_t nonces[MOST][LTZ_XAES_NONCE_BYTES];
	uint8_t prefix[LTZ_XAES_PREFIX_BYTES] = { 3 };
	struct ltz_xaes_chunk chunk;
	size_t used = 0;

	for (uint64_t counter = 0; counter < 2000; counter++) {
		uint64_t size = test_random_below(40 * CHUNK);
		uint8_t *record = nonces[used++];

		ltz__xaes_nonce(record, prefix, counter);
		for (uint64_t i = 0; i < ltz__xaes_chunks(size); i++) {
			ASSERT_EQ_INT(ltz__xaes_chunk(&chunk, record, size, i), 0);
			ASSERT_TRUE(used < MOST);
			memcpy(nonces[used++], chunk.nonce, LTZ_XAES_NONCE_BYTES);
		}
	}
	qsort(nonces, used, LTZ_XAES_NONCE_BYTES, order);
	for (size_t i = 1; i < used; i++)
		ASSERT_TRUE(order(nonces[i - 1], nonces[i]) != 0);
}

/* A value sealed as a caller would do it: chunk by chunk through one buffer, tags beside. */
struct value {
	uint64_t size;
	uint8_t nonce[LTZ_XAES_NONCE_BYTES];
	uint8_t *sealed;
	uint8_t tags[8][TAG];
};

static uint8_t content(uint64_t i)
{
	return (uint8_t)(i * 131 >> 7);
}

static struct value seal_value(struct ltz_xaes *xaes, uint64_t size, uint64_t counter, const char *aad)
{
	static const uint8_t prefix[LTZ_XAES_PREFIX_BYTES] = { 8 };
	static uint8_t buffer[CHUNK];
	struct value value = { .size = size, .sealed = malloc(size + CHUNK) };
	struct ltz_xaes_chunk chunk;

	ASSERT_TRUE(value.sealed != NULL && ltz__xaes_chunks(size) <= 8);
	ltz__xaes_nonce(value.nonce, prefix, counter);
	for (uint64_t i = 0; i < ltz__xaes_chunks(size); i++) {
		ASSERT_EQ_INT(ltz__xaes_chunk(&chunk, value.nonce, size, i), 0);
		for (size_t j = 0; j < chunk.size; j++)
			buffer[j] = content(chunk.offset + j);
		struct ltz_bytes part = { buffer, chunk.size };
		ASSERT_EQ_INT(ltz__xaes_seal(xaes, chunk.nonce, text_bytes(aad), &part, 1, buffer, value.tags[i]), 0);
		memcpy(value.sealed + chunk.offset, buffer, chunk.size);
	}
	return value;
}

/* Opens all chunks into one piece of memory, in place: 0, or the first failure. */
static int open_value(struct ltz_xaes *xaes, const struct value *value, const char *aad)
{
	uint8_t *out = malloc(value->size + 1);
	int result = 0;

	ASSERT_TRUE(out != NULL);
	memcpy(out, value->sealed, value->size);
	for (uint64_t i = 0; i < ltz__xaes_chunks(value->size) && result == 0; i++) {
		struct ltz_xaes_chunk chunk;

		ASSERT_EQ_INT(ltz__xaes_chunk(&chunk, value->nonce, value->size, i), 0);
		struct ltz_room room = { out + chunk.offset, chunk.size };
		result = ltz__xaes_open(xaes, chunk.nonce, text_bytes(aad), room.data, &room, 1, value->tags[i]);
	}
	for (uint64_t i = 0; i < value->size && result == 0; i++)
		ASSERT_EQ_U64(out[i], content(i));
	free(out);
	return result;
}

TEST(values_in_chunks_come_back_whole)
{
	static const uint64_t sizes[] = { 0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 17, 8 * CHUNK };
	struct ltz_xaes *xaes = keyed_with(4);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct value value = seal_value(xaes, sizes[i], i, "aad");

		EXPECT_EQ_INT(open_value(xaes, &value, "aad"), 0);
		EXPECT_EQ_INT(open_value(xaes, &value, "add"), -EBADMSG);
		free(value.sealed);
	}
	ltz__xaes_free(xaes);
}

static void swap_chunks(struct value *value, size_t a, size_t b)
{
	static uint8_t buffer[CHUNK];
	uint8_t tag[TAG];

	memcpy(buffer, value->sealed + a * CHUNK, CHUNK);
	memcpy(value->sealed + a * CHUNK, value->sealed + b * CHUNK, CHUNK);
	memcpy(value->sealed + b * CHUNK, buffer, CHUNK);
	memcpy(tag, value->tags[a], TAG);
	memcpy(value->tags[a], value->tags[b], TAG);
	memcpy(value->tags[b], tag, TAG);
}

TEST(chunks_cannot_be_swapped_dropped_added_or_borrowed)
{
	struct ltz_xaes *xaes = keyed_with(4);
	struct value value = seal_value(xaes, 4 * CHUNK, 1, "aad"), other = seal_value(xaes, 4 * CHUNK, 2, "aad");

	swap_chunks(&value, 0, 1);
	EXPECT_EQ_INT(open_value(xaes, &value, "aad"), -EBADMSG);
	swap_chunks(&value, 0, 1);
	swap_chunks(&value, 2, 3);
	EXPECT_EQ_INT(open_value(xaes, &value, "aad"), -EBADMSG);
	swap_chunks(&value, 2, 3);

	for (uint64_t size = 0; size <= 5 * CHUNK; size += CHUNK) { /* cut off at a chunk's end, or with one more */
		value.size = size;
		EXPECT_EQ_INT(open_value(xaes, &value, "aad"), size == 4 * CHUNK ? 0 : -EBADMSG);
	}
	value.size = 4 * CHUNK - 1;
	EXPECT_EQ_INT(open_value(xaes, &value, "aad"), -EBADMSG);
	value.size = 4 * CHUNK;

	memcpy(value.sealed + CHUNK, other.sealed + CHUNK, CHUNK); /* the same chunk of another value */
	memcpy(value.tags[1], other.tags[1], TAG);
	EXPECT_EQ_INT(open_value(xaes, &value, "aad"), -EBADMSG);
	memcpy(other.nonce, value.nonce, sizeof(other.nonce)); /* all of another value */
	EXPECT_EQ_INT(open_value(xaes, &other, "aad"), -EBADMSG);
	free(value.sealed);
	free(other.sealed);
	ltz__xaes_free(xaes);
}

/* An only chunk and a record sealed as one are not each other, though all else is the same. */
TEST(a_record_is_no_chunk)
{
	struct ltz_xaes *xaes = keyed_with(4);
	struct value value = seal_value(xaes, 10, 1, "aad");
	uint8_t out[10];
	struct ltz_room room = { out, sizeof(out) };

	EXPECT_EQ_INT(open_value(xaes, &value, "aad"), 0);
	EXPECT_EQ_INT(ltz__xaes_open(xaes, value.nonce, text_bytes("aad"), value.sealed, &room, 1, value.tags[0]),
	              -EBADMSG);
	free(value.sealed);
	ltz__xaes_free(xaes);
}

/* ---- processes, threads, failures --------------------------------------------------------- */

static void *seal_and_open(void *context)
{
	struct ltz_xaes *xaes = keyed_with(2);
	uint8_t prefix[LTZ_XAES_PREFIX_BYTES] = { *(uint8_t *)context };

	for (uint64_t i = 0; i < 2000; i++) {
		uint8_t nonce[LTZ_XAES_NONCE_BYTES], tag[TAG], bytes[8];
		struct ltz_bytes part = { &i, sizeof(i) };
		struct ltz_room room = { bytes, sizeof(bytes) };

		ltz__xaes_nonce(nonce, prefix, i);
		ASSERT_EQ_INT(ltz__xaes_seal(xaes, nonce, text_bytes(""), &part, 1, bytes, tag), 0);
		ASSERT_EQ_INT(ltz__xaes_open(xaes, nonce, text_bytes(""), bytes, &room, 1, tag), 0);
		ASSERT_TRUE(memcmp(bytes, &i, sizeof(i)) == 0);
	}
	ltz__xaes_free(xaes);
	return NULL;
}

TEST(threads_with_an_object_each_do_not_disturb_each_other)
{
	pthread_t threads[4];
	uint8_t numbers[4] = { 1, 2, 3, 4 };

	for (int i = 0; i < 4; i++)
		ASSERT_EQ_INT(pthread_create(&threads[i], NULL, seal_and_open, &numbers[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

static void open_what_was_sealed_before(void *context)
{
	struct ltz_xaes *xaes = context;
	struct value value = seal_value(xaes, 100, 7, "aad");

	EXPECT_EQ_INT(open_value(xaes, &value, "aad"), 0);
	free(value.sealed);
	ltz__xaes_free(xaes);
}

TEST(a_child_goes_on_with_its_copy)
{
	struct ltz_xaes *xaes = keyed_with(4);
	struct value value = seal_value(xaes, 100, 7, "aad");
	pid_t child = test_fork(open_what_was_sealed_before, xaes);

	EXPECT_EQ_INT(open_value(xaes, &value, "aad"), 0);
	test_wait(child);
	free(value.sealed);
	ltz__xaes_free(xaes);
}

#ifdef LTZ_FAULTS
TEST(whatever_fails_the_object_is_usable_afterwards)
{
	uint8_t nonce[LTZ_XAES_NONCE_BYTES] = { 1 }, key[LTZ_XAES_KEY_BYTES] = { 0 }, out[4], tag[TAG];
	struct ltz_bytes part = { "abcd", 4 };
	struct ltz_room room = { out, sizeof(out) };

	for (uint64_t n = 1; n < 30; n++) {
		struct ltz_xaes *xaes = NULL;
		int made, sealed = -1, opened = -1;
		uint64_t calls;

		ltz__fault_set_call(LTZ_FAULT_THREAD, n, ENOMEM);
		made = ltz__xaes_new(&xaes, key);
		if (made == 0)
			sealed = ltz__xaes_seal(xaes, nonce, text_bytes(""), &part, 1, out, tag);
		if (sealed == 0)
			opened = ltz__xaes_open(xaes, nonce, text_bytes(""), out, &room, 1, tag);
		calls = ltz__fault_calls(LTZ_FAULT_THREAD);
		ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
		EXPECT_TRUE(made == 0 || made == -ENOMEM || made == -ENOPKG);
		EXPECT_TRUE((made == 0) == (xaes != NULL));
		if (made == 0) {
			EXPECT_TRUE(sealed == 0 || sealed == -ENOMEM);
			ASSERT_EQ_INT(ltz__xaes_seal(xaes, nonce, text_bytes(""), &part, 1, out, tag), 0);
			ASSERT_EQ_INT(ltz__xaes_open(xaes, nonce, text_bytes(""), out, &room, 1, tag), 0);
			EXPECT_EQ_MEM(out, "abcd", 4);
		}
		ltz__xaes_free(xaes);
		if (calls < n) {
			EXPECT_EQ_INT(opened, 0);
			return;
		}
	}
	EXPECT_TRUE(!"more calls than thought");
}
#endif
