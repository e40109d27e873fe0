/* SPDX-License-Identifier: MIT */
/* test_argon2.c - Argon2id: the published vector, the bounds of its cost, and what happens out of them. */
#include "guard/argon2.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

#include "harness.h"
#include "hex.h"

#define SALT "0123456789abcdef"

static const struct ltz_argon2_cost cheapest = { LTZ_ARGON2_MEMORY_KIB_MIN, LTZ_ARGON2_PASSES_MIN, 1 };

static struct ltz_argon2_input input_of(const char *password)
{
	return (struct ltz_argon2_input){ .password = text_bytes(password), .salt = text_bytes(SALT) };
}

/* RFC 9106, section 5.3: every input in use, four lanes. */
TEST(rfc_9106_vector)
{
	static const struct ltz_argon2_cost cost = { .memory_kib = 32, .passes = 3, .lanes = 4 };
	struct hex password = unhex("0101010101010101010101010101010101010101010101010101010101010101");
	struct hex salt = unhex("02020202020202020202020202020202");
	struct hex secret = unhex("0303030303030303"), associated = unhex("040404040404040404040404");
	struct ltz_argon2_input input = { bytes_of(&password), bytes_of(&salt), bytes_of(&secret), bytes_of(&associated) };
	uint8_t out[32];

	ASSERT_EQ_INT(ltz__argon2id_at_any_cost(&cost, &input, (struct ltz_room){ out, sizeof(out) }), 0);
	EXPECT_HEX(out, sizeof(out), "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
}

/* Not published: computed with OpenSSL 4.0's own Argon2, for costs as they are used here. */
TEST(another_implementation_agrees_at_the_default_cost)
{
	struct ltz_argon2_input input = input_of("correct horse");
	uint8_t out[40];

	ASSERT_EQ_INT(ltz__argon2id(&LTZ_ARGON2_DEFAULT, &input, (struct ltz_room){ out, sizeof(out) }), 0);
	EXPECT_HEX(out, sizeof(out),
	           "5350c8eadc5f9def28b4564eb71db49a2945308e18c484e29d23706962910a35f652593d5836159c");
	input.associated = text_bytes("pool");
	input.secret = text_bytes("s3");
	ASSERT_EQ_INT(ltz__argon2id(&LTZ_ARGON2_DEFAULT, &input, (struct ltz_room){ out, sizeof(out) }), 0);
	EXPECT_HEX(out, sizeof(out),
	           "12898f2e5807f0f0164425058710fe6880ada0b4f60947bc1836ccad59b5ba6701c8dba881a1d683");
}

/* Likewise. */
TEST(an_empty_password_is_a_password)
{
	struct ltz_argon2_input input = { .salt = text_bytes(SALT) };
	uint8_t out[32];

	ASSERT_EQ_INT(ltz__argon2id(&cheapest, &input, (struct ltz_room){ out, sizeof(out) }), 0);
	EXPECT_HEX(out, sizeof(out), "a7d738b9c3bf47628f0cdf8f9161ca27c04587bdac59202fa01e621fda4da826");
}

TEST(costs_within_the_bounds_are_taken_and_others_are_not)
{
	static const struct ltz_argon2_cost good[] = {
		{ 19 * 1024, 2, 1 }, { 1024 * 1024, 16, 16 }, { 64 * 1024, 3, 1 }, { 64 * 1024, 3, 4 },
	};
	static const struct ltz_argon2_cost bad[] = {
		{ 19 * 1024 - 1, 2, 1 }, { 1024 * 1024 + 1, 3, 1 }, { 0, 3, 1 }, { UINT32_MAX, 3, 1 },
		{ 64 * 1024, 1, 1 }, { 64 * 1024, 0, 1 }, { 64 * 1024, 17, 1 }, { 64 * 1024, UINT32_MAX, 1 },
		{ 64 * 1024, 3, 0 }, { 64 * 1024, 3, 17 }, { 64 * 1024, 3, UINT32_MAX },
	};

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		EXPECT_EQ_INT(ltz__argon2_check(&good[i]), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct ltz_argon2_input input = input_of("p");
		uint8_t out[32], zeros[32] = { 0 };

		EXPECT_EQ_INT(ltz__argon2_check(&bad[i]), -ERANGE);
		memset(out, 1, sizeof(out));
		EXPECT_EQ_INT(ltz__argon2id(&bad[i], &input, (struct ltz_room){ out, sizeof(out) }), -ERANGE);
		EXPECT_EQ_MEM(out, zeros, sizeof(out));
	}
}

TEST(a_short_salt_or_result_is_refused)
{
	struct ltz_argon2_input input = input_of("p");
	uint8_t out[LTZ_ARGON2_OUT_BYTES_MAX + 1];

	EXPECT_EQ_INT(ltz__argon2id(&cheapest, &input, (struct ltz_room){ out, 3 }), -EINVAL);
	EXPECT_EQ_INT(ltz__argon2id(&cheapest, &input, (struct ltz_room){ out, sizeof(out) }), -EINVAL);
	EXPECT_EQ_INT(ltz__argon2id(&cheapest, &input, (struct ltz_room){ NULL, 0 }), -EINVAL);
	input.salt.size = 7;
	EXPECT_EQ_INT(ltz__argon2id(&cheapest, &input, (struct ltz_room){ out, 32 }), -EINVAL);
	input = input_of("p");
	input.password.size = (size_t)UINT32_MAX + 1;
	EXPECT_EQ_INT(ltz__argon2id(&cheapest, &input, (struct ltz_room){ out, 32 }), -EINVAL);
}

TEST(without_memory_it_fails_cleanly)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	test_skip("a sanitizer needs more address space than this test leaves");
#else
	struct rlimit limit = { 512u << 20, 512u << 20 };
	static const struct ltz_argon2_cost dear = { LTZ_ARGON2_MEMORY_KIB_MAX, 2, 1 };
	struct ltz_argon2_input input = input_of("p");
	uint8_t out[32], zeros[32] = { 0 };

	ASSERT_OK(setrlimit(RLIMIT_AS, &limit));
	memset(out, 1, sizeof(out));
	EXPECT_EQ_INT(ltz__argon2id(&dear, &input, (struct ltz_room){ out, sizeof(out) }), -ENOMEM);
	EXPECT_EQ_MEM(out, zeros, sizeof(out));
	EXPECT_EQ_INT(ltz__argon2id(&cheapest, &input, (struct ltz_room){ out, sizeof(out) }), 0);
#endif
}

static void *derive(void *context)
{
	struct ltz_argon2_input input = input_of("correct horse");

	EXPECT_EQ_INT(ltz__argon2id(&cheapest, &input, (struct ltz_room){ context, 32 }), 0);
	return NULL;
}

TEST(threads_do_not_disturb_each_other)
{
	pthread_t threads[4];
	uint8_t out[4][32];

	for (int i = 0; i < 4; i++)
		ASSERT_EQ_INT(pthread_create(&threads[i], NULL, derive, out[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		/* likewise */
		EXPECT_HEX(out[i], 32, "ae4d8c8b713876044c8347c76986a9b5655944aaacfffe9bea4dff9e7b6a1899");
	}
}
