/* SPDX-License-Identifier: MIT */
/* test_gcm.c - AES-256-GCM: NIST's vectors both ways, in place and in parts, and nothing that does not belong together. */
#include "guard/gcm.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gcm_vectors.h"
#include "harness.h"
#include "hex.h"
#include "sys/fault.h"

#define GOOD (sizeof(gcm_good) / sizeof(gcm_good[0]))
#define BAD  (sizeof(gcm_bad) / sizeof(gcm_bad[0]))

struct unhexed {
	struct hex key, nonce, aad, text, sealed, tag;
};

static struct unhexed unhex_vector(const struct gcm_vector *vector)
{
	return (struct unhexed){ unhex(vector->key), unhex(vector->nonce), unhex(vector->aad),
		                 unhex(vector->text), unhex(vector->sealed), unhex(vector->tag) };
}

static struct ltz_gcm keyed(const uint8_t *key)
{
	struct ltz_gcm gcm;

	ASSERT_EQ_INT(ltz__gcm_init(&gcm, key), 0);
	return gcm;
}

static int seal(struct ltz_gcm *gcm, const struct unhexed *v, struct ltz_bytes part, void *out, uint8_t tag[16])
{
	return ltz__gcm_seal(gcm, v->nonce.bytes, bytes_of(&v->aad), &part, 1, out, tag);
}

static int open_one(struct ltz_gcm *gcm, const struct unhexed *v, const void *in, struct ltz_room room)
{
	return ltz__gcm_open(gcm, v->nonce.bytes, bytes_of(&v->aad), in, &room, 1, v->tag.bytes);
}

TEST(nist_vectors_seal)
{
	for (size_t i = 0; i < GOOD; i++) {
		struct unhexed v = unhex_vector(&gcm_good[i]);
		struct ltz_gcm gcm = keyed(v.key.bytes);
		uint8_t out[64], tag[LTZ_GCM_TAG_BYTES];

		for (int again = 0; again < 2; again++) {
			ASSERT_EQ_INT(seal(&gcm, &v, bytes_of(&v.text), out, tag), 0);
			EXPECT_HEX(out, v.text.size, gcm_good[i].sealed);
			EXPECT_HEX(tag, sizeof(tag), gcm_good[i].tag);
		}
		ltz__gcm_deinit(&gcm);
	}
}

TEST(nist_vectors_open)
{
	for (size_t i = 0; i < GOOD; i++) {
		struct unhexed v = unhex_vector(&gcm_good[i]);
		struct ltz_gcm gcm = keyed(v.key.bytes);
		uint8_t out[64];

		for (int again = 0; again < 2; again++) {
			ASSERT_EQ_INT(open_one(&gcm, &v, v.sealed.bytes, (struct ltz_room){ out, v.sealed.size }), 0);
			EXPECT_HEX(out, v.sealed.size, gcm_good[i].text);
		}
		ltz__gcm_deinit(&gcm);
	}
}

TEST(nist_vectors_that_must_fail_do_and_leave_nothing)
{
	for (size_t i = 0; i < BAD; i++) {
		struct unhexed v = unhex_vector(&gcm_bad[i]);
		struct ltz_gcm gcm = keyed(v.key.bytes);
		uint8_t out[64], zeros[64] = { 0 };

		memset(out, 1, sizeof(out));
		EXPECT_EQ_INT(open_one(&gcm, &v, v.sealed.bytes, (struct ltz_room){ out, v.sealed.size }), -EBADMSG);
		EXPECT_EQ_MEM(out, zeros, v.sealed.size);
		ltz__gcm_deinit(&gcm);
	}
}

/* One context, other keys, sealing and opening by turns, a failure in between. */
TEST(one_context_serves_both_ways_and_every_key)
{
	struct unhexed first = unhex_vector(&gcm_good[0]);
	struct ltz_gcm gcm = keyed(first.key.bytes);

	for (size_t i = 0; i < GOOD; i++) {
		struct unhexed v = unhex_vector(&gcm_good[i]), bad = unhex_vector(&gcm_bad[i % BAD]);
		uint8_t out[64], tag[LTZ_GCM_TAG_BYTES];

		ASSERT_EQ_INT(ltz__gcm_rekey(&gcm, bad.key.bytes), 0);
		EXPECT_EQ_INT(open_one(&gcm, &bad, bad.sealed.bytes, (struct ltz_room){ out, bad.sealed.size }), -EBADMSG);
		ASSERT_EQ_INT(ltz__gcm_rekey(&gcm, v.key.bytes), 0);
		ASSERT_EQ_INT(open_one(&gcm, &v, v.sealed.bytes, (struct ltz_room){ out, v.sealed.size }), 0);
		EXPECT_HEX(out, v.sealed.size, gcm_good[i].text);
		ASSERT_EQ_INT(seal(&gcm, &v, bytes_of(&v.text), out, tag), 0);
		EXPECT_HEX(out, v.text.size, gcm_good[i].sealed);
		EXPECT_HEX(tag, sizeof(tag), gcm_good[i].tag);
	}
	ltz__gcm_deinit(&gcm);
	ltz__gcm_deinit(&gcm); /* nothing left to free */
}

TEST(every_wrong_bit_anywhere_is_refused)
{
	struct unhexed v = unhex_vector(&gcm_good[GOOD - 1]);
	struct ltz_gcm gcm = keyed(v.key.bytes);
	struct hex *fields[] = { &v.nonce, &v.aad, &v.sealed, &v.tag };
	uint8_t out[64];
	struct ltz_room room = { out, v.sealed.size };

	for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
		ASSERT_TRUE(fields[f]->size > 0);
		for (size_t bit = 0; bit < 8 * fields[f]->size; bit++) {
			fields[f]->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
			EXPECT_EQ_INT(open_one(&gcm, &v, v.sealed.bytes, room), -EBADMSG);
			fields[f]->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
		if (fields[f] != &v.nonce && fields[f] != &v.tag) {
			fields[f]->size--;
			room.size = v.sealed.size;
			EXPECT_EQ_INT(open_one(&gcm, &v, v.sealed.bytes, room), -EBADMSG);
			fields[f]->size++;
			room.size = v.sealed.size;
		}
	}
	EXPECT_EQ_INT(open_one(&gcm, &v, v.sealed.bytes, room), 0);
	v.key.bytes[31] ^= 1;
	ASSERT_EQ_INT(ltz__gcm_rekey(&gcm, v.key.bytes), 0);
	EXPECT_EQ_INT(open_one(&gcm, &v, v.sealed.bytes, room), -EBADMSG);
	ltz__gcm_deinit(&gcm);
}

#define BULK 5000

/* Cuts size bytes into three pieces anywhere. */
static void cut(size_t size, size_t ends[3])
{
	ends[0] = test_random_below(size + 1);
	ends[1] = ends[0] + test_random_below(size - ends[0] + 1);
	ends[2] = size;
}

TEST(pieces_and_in_place_give_the_same_as_one_whole)
{
	static uint8_t text[BULK], whole[BULK], out[BULK];
	uint8_t key[LTZ_GCM_KEY_BYTES] = { 5 }, nonce[LTZ_GCM_NONCE_BYTES] = { 6 };
	uint8_t whole_tag[LTZ_GCM_TAG_BYTES], tag[LTZ_GCM_TAG_BYTES];
	struct ltz_gcm gcm = keyed(key);
	struct ltz_bytes aad = text_bytes("header");

	for (int round = 0; round < 500; round++) {
		size_t size = test_random_below(round % 2 ? 100 : BULK), a[3], b[3];
		struct ltz_bytes part = { text, size };

		for (size_t i = 0; i < size; i++)
			text[i] = (uint8_t)test_random();
		nonce[0] = (uint8_t)round;
		ASSERT_EQ_INT(ltz__gcm_seal(&gcm, nonce, aad, &part, 1, whole, whole_tag), 0);

		cut(size, a);
		struct ltz_bytes parts[] = { { text, a[0] }, { text + a[0], a[1] - a[0] }, { text + a[1], size - a[1] } };
		ASSERT_EQ_INT(ltz__gcm_seal(&gcm, nonce, aad, parts, 3, out, tag), 0);
		EXPECT_EQ_MEM(out, whole, size);
		EXPECT_EQ_MEM(tag, whole_tag, sizeof(tag));

		cut(size, b); /* in place, both ways, cut elsewhere */
		memcpy(out, text, size);
		struct ltz_bytes own[] = { { out, b[0] }, { out + b[0], b[1] - b[0] }, { out + b[1], size - b[1] } };
		ASSERT_EQ_INT(ltz__gcm_seal(&gcm, nonce, aad, own, 3, out, tag), 0);
		EXPECT_EQ_MEM(out, whole, size);
		EXPECT_EQ_MEM(tag, whole_tag, sizeof(tag));
		struct ltz_room rooms[] = { { out, a[0] }, { out + a[0], a[1] - a[0] }, { out + a[1], size - a[1] } };
		ASSERT_EQ_INT(ltz__gcm_open(&gcm, nonce, aad, out, rooms, 3, tag), 0);
		EXPECT_EQ_MEM(out, text, size);
	}
	ltz__gcm_deinit(&gcm);
}

TEST(a_refused_record_leaves_no_room_unwiped)
{
	struct unhexed v = unhex_vector(&gcm_good[GOOD - 1]);
	struct ltz_gcm gcm = keyed(v.key.bytes);
	uint8_t a[20], b[31], zeros[51] = { 0 };
	struct ltz_room rooms[] = { { a, sizeof(a) }, { b, sizeof(b) } };

	ASSERT_EQ_U64(v.sealed.size, sizeof(a) + sizeof(b));
	memset(a, 1, sizeof(a));
	memset(b, 1, sizeof(b));
	v.tag.bytes[0] ^= 1;
	EXPECT_EQ_INT(ltz__gcm_open(&gcm, v.nonce.bytes, bytes_of(&v.aad), v.sealed.bytes, rooms, 2, v.tag.bytes),
	              -EBADMSG);
	EXPECT_EQ_MEM(a, zeros, sizeof(a));
	EXPECT_EQ_MEM(b, zeros, sizeof(b));
	v.tag.bytes[0] ^= 1;
	EXPECT_EQ_INT(ltz__gcm_open(&gcm, v.nonce.bytes, bytes_of(&v.aad), v.sealed.bytes, rooms, 2, v.tag.bytes), 0);
	ltz__gcm_deinit(&gcm);
}

TEST(what_overlaps_halfway_is_refused_untouched)
{
	uint8_t key[LTZ_GCM_KEY_BYTES] = { 0 }, nonce[LTZ_GCM_NONCE_BYTES] = { 0 }, tag[LTZ_GCM_TAG_BYTES];
	uint8_t memory[64], before[64];
	struct ltz_gcm gcm = keyed(key);
	struct ltz_bytes none = { NULL, 0 };

	for (size_t i = 0; i < sizeof(memory); i++)
		memory[i] = before[i] = (uint8_t)i;
	for (size_t shift = 1; shift < 20; shift++) {
		struct ltz_bytes up = { memory, 20 }, down = { memory + shift, 20 };
		struct ltz_room room_up = { memory, 20 }, room_down = { memory + shift, 20 };

		EXPECT_EQ_INT(ltz__gcm_seal(&gcm, nonce, none, &up, 1, memory + shift, tag), -EINVAL);
		EXPECT_EQ_INT(ltz__gcm_seal(&gcm, nonce, none, &down, 1, memory, tag), -EINVAL);
		EXPECT_EQ_INT(ltz__gcm_open(&gcm, nonce, none, memory + shift, &room_up, 1, tag), -EINVAL);
		EXPECT_EQ_INT(ltz__gcm_open(&gcm, nonce, none, memory, &room_down, 1, tag), -EINVAL);
	}
	/* the second part lies where the first one's ciphertext goes */
	struct ltz_bytes swapped[] = { { memory + 10, 10 }, { memory, 10 } };
	struct ltz_room rooms[] = { { memory + 10, 10 }, { memory, 10 } };
	EXPECT_EQ_INT(ltz__gcm_seal(&gcm, nonce, none, swapped, 2, memory, tag), -EINVAL);
	EXPECT_EQ_INT(ltz__gcm_open(&gcm, nonce, none, memory, rooms, 2, tag), -EINVAL);
	EXPECT_EQ_MEM(memory, before, sizeof(memory));
	/* side by side is apart */
	struct ltz_bytes left = { memory, 20 }, right = { memory + 20, 20 };
	EXPECT_EQ_INT(ltz__gcm_seal(&gcm, nonce, none, &left, 1, memory + 20, tag), 0);
	EXPECT_EQ_INT(ltz__gcm_seal(&gcm, nonce, none, &right, 1, memory, tag), 0);
	ltz__gcm_deinit(&gcm);
}

TEST(too_much_of_anything_is_refused)
{
	uint8_t key[LTZ_GCM_KEY_BYTES] = { 0 }, nonce[LTZ_GCM_NONCE_BYTES] = { 0 }, tag[LTZ_GCM_TAG_BYTES] = { 0 };
	uint8_t byte = 0;
	struct ltz_gcm gcm = keyed(key);
	struct ltz_bytes none = { NULL, 0 }, long_aad = { &byte, (size_t)1 << 31 };
	struct ltz_bytes large = { &byte, LTZ_GCM_BYTES_MAX + 1 }, sum[] = { { &byte, LTZ_GCM_BYTES_MAX }, { &byte, 1 } };
	struct ltz_bytes wrapping[] = { { &byte, 1 }, { &byte, SIZE_MAX } };
	struct ltz_room large_room = { &byte, LTZ_GCM_BYTES_MAX + 1 }, wrapping_rooms[] = { { &byte, 1 }, { &byte, SIZE_MAX } };

	EXPECT_EQ_INT(ltz__gcm_seal(&gcm, nonce, long_aad, NULL, 0, &byte, tag), -EINVAL);
	EXPECT_EQ_INT(ltz__gcm_open(&gcm, nonce, long_aad, &byte, NULL, 0, tag), -EINVAL);
	EXPECT_EQ_INT(ltz__gcm_seal(&gcm, nonce, none, &large, 1, &byte, tag), -EINVAL);
	EXPECT_EQ_INT(ltz__gcm_seal(&gcm, nonce, none, sum, 2, &byte, tag), -EINVAL);
	EXPECT_EQ_INT(ltz__gcm_seal(&gcm, nonce, none, wrapping, 2, &byte, tag), -EINVAL);
	EXPECT_EQ_INT(ltz__gcm_open(&gcm, nonce, none, &byte, &large_room, 1, tag), -EINVAL);
	EXPECT_EQ_INT(ltz__gcm_open(&gcm, nonce, none, &byte, wrapping_rooms, 2, tag), -EINVAL);
	ltz__gcm_deinit(&gcm);
}

static void use_vector(const struct gcm_vector *vector, int times)
{
	struct unhexed v = unhex_vector(vector);
	struct ltz_gcm gcm = keyed(v.key.bytes);
	uint8_t out[64], tag[LTZ_GCM_TAG_BYTES];

	for (int i = 0; i < times; i++) {
		EXPECT_EQ_INT(seal(&gcm, &v, bytes_of(&v.text), out, tag), 0);
		EXPECT_EQ_MEM(tag, v.tag.bytes, sizeof(tag));
		EXPECT_EQ_INT(open_one(&gcm, &v, out, (struct ltz_room){ out, v.sealed.size }), 0);
		EXPECT_EQ_MEM(out, v.text.bytes, v.text.size);
	}
	ltz__gcm_deinit(&gcm);
}

static void *use_in_thread(void *vector)
{
	use_vector(vector, 1000);
	return NULL;
}

TEST(threads_with_a_context_each_do_not_disturb_each_other)
{
	pthread_t threads[8];

	for (size_t i = 0; i < 8; i++)
		ASSERT_EQ_INT(pthread_create(&threads[i], NULL, use_in_thread, (void *)(uintptr_t)&gcm_good[i]), 0);
	for (size_t i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
}

struct inherited {
	struct ltz_gcm gcm;
	struct unhexed v;
};

static void use_inherited(void *context)
{
	struct inherited *from = context;
	uint8_t out[64], tag[LTZ_GCM_TAG_BYTES];

	EXPECT_EQ_INT(seal(&from->gcm, &from->v, bytes_of(&from->v.text), out, tag), 0);
	EXPECT_EQ_MEM(tag, from->v.tag.bytes, sizeof(tag));
	ltz__gcm_deinit(&from->gcm);
}

TEST(a_child_and_its_parent_each_go_on_with_their_copy)
{
	struct inherited from = { .v = unhex_vector(&gcm_good[7]) };
	pid_t child;

	from.gcm = keyed(from.v.key.bytes);
	child = test_fork(use_inherited, &from);
	use_inherited(&from);
	test_wait(child);
}

/* Not published: the tag by the cryptography package for Python. */
TEST(long_content_is_sealed_as_one)
{
	const size_t size = (3u << 20) + 5;
	uint8_t key[LTZ_GCM_KEY_BYTES] = { 1 }, nonce[LTZ_GCM_NONCE_BYTES] = { 2 }, tag[LTZ_GCM_TAG_BYTES];
	uint8_t *memory = malloc(size);
	struct ltz_gcm gcm = keyed(key);
	struct ltz_bytes parts[] = { { memory, 7 }, { memory + 7, size - 7 } };
	struct ltz_room room = { memory, size };

	ASSERT_TRUE(memory != NULL);
	for (size_t i = 0; i < size; i++)
		memory[i] = (uint8_t)(i * 31 >> 3);
	ASSERT_EQ_INT(ltz__gcm_seal(&gcm, nonce, text_bytes("aad"), parts, 2, memory, tag), 0);
	EXPECT_HEX(tag, sizeof(tag), "e36cdd6445104f6f11a15fe4902ce4cf");
	EXPECT_HEX(memory + size - 16, 16, "7db57c65422beb3a4afee3550696d750");
	ASSERT_EQ_INT(ltz__gcm_open(&gcm, nonce, text_bytes("aad"), memory, &room, 1, tag), 0);
	for (size_t i = 0; i < size; i++)
		ASSERT_EQ_U64(memory[i], (uint8_t)(i * 31 >> 3));
	ltz__gcm_deinit(&gcm);
	free(memory);
}

#ifdef LTZ_FAULTS
TEST(a_context_that_cannot_be_had_is_an_error_and_nothing_to_free)
{
	uint8_t key[LTZ_GCM_KEY_BYTES] = { 0 };

	for (uint64_t n = 1; n < 20; n++) {
		struct ltz_gcm gcm = { (void *)8 };
		int result;

		ltz__fault_set_call(LTZ_FAULT_THREAD, n, ENOMEM);
		result = ltz__gcm_init(&gcm, key);
		ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
		if (result == 0) {
			ltz__gcm_deinit(&gcm);
			EXPECT_TRUE(n > 1);
			return;
		}
		EXPECT_TRUE(result == -ENOMEM || result == -ENOPKG);
		EXPECT_TRUE(gcm.context == NULL);
	}
	EXPECT_TRUE(!"it never worked");
}
#endif
