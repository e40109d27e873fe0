/* SPDX-License-Identifier: MIT */
/* test_keys.c - from a password to keys: what they depend on, what is refused. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <latzero.h>

#include "base/error.h"
#include "harness.h"
#include "pool/keys.h"

static const uint8_t raw[LTZ_RAW_KEY_BYTES] = "thirty-two bytes that are random";
static const struct ltz_password raw_password = { raw, sizeof raw, true };

static struct ltz_terms raw_terms(void)
{
	struct ltz_terms terms;

	ASSERT_OK(ltz__terms_new(true, &terms));
	return terms;
}

static void derive(struct ltz_keys *keys, const struct ltz_terms *terms, const char *name,
                   const struct ltz_password *password)
{
	*keys = (struct ltz_keys){ 0 };
	ASSERT_OK(ltz__keys_derive(keys, terms, name, password));
}

TEST(w_depends_on_the_password_the_salt_and_the_name)
{
	const uint8_t other[LTZ_RAW_KEY_BYTES] = "thirty-two bytes that are Random";
	const struct ltz_password other_password = { other, sizeof other, true };
	const struct ltz_terms terms = raw_terms(), other_terms = raw_terms();
	struct ltz_keys keys, same, changed[3];

	derive(&keys, &terms, "pool", &raw_password);
	derive(&same, &terms, "pool", &raw_password);
	EXPECT_EQ_MEM(ltz__keys_w(&keys), ltz__keys_w(&same), LTZ_W_BYTES);
	EXPECT_TRUE(ltz__keys_same_w(&keys, &same));
	derive(&changed[0], &terms, "pool", &other_password);
	derive(&changed[1], &other_terms, "pool", &raw_password);
	derive(&changed[2], &terms, "poom", &raw_password);
	for (int i = 0; i < 3; i++) {
		EXPECT_TRUE(memcmp(ltz__keys_w(&keys), ltz__keys_w(&changed[i]), LTZ_W_BYTES) != 0);
		EXPECT_TRUE(!ltz__keys_same_w(&keys, &changed[i]));
		ltz__keys_deinit(&changed[i]);
	}
	ltz__keys_deinit(&keys);
	ltz__keys_deinit(&same);
	EXPECT_TRUE(!ltz__keys_same_w(&keys, &same));
}

TEST(passwords_go_through_argon2id)
{
	struct ltz_terms terms, dearer;
	const struct ltz_password password = { "secret", 6, false }, longer = { "secrets", 7, false };
	struct ltz_keys keys, changed;

	ASSERT_OK(ltz__terms_new(false, &terms));
	EXPECT_EQ_U64(terms.memory_kib, 64 * 1024);
	EXPECT_EQ_U64(terms.passes, 3);
	terms.memory_kib = 19 * 1024, terms.passes = 2; /* the floor: cheaper for a test */
	dearer = terms;
	dearer.passes++;
	derive(&keys, &terms, "pool", &password);
	derive(&changed, &terms, "pool", &longer);
	EXPECT_TRUE(memcmp(ltz__keys_w(&keys), ltz__keys_w(&changed), LTZ_W_BYTES) != 0);
	derive(&changed, &dearer, "pool", &password);
	EXPECT_TRUE(memcmp(ltz__keys_w(&keys), ltz__keys_w(&changed), LTZ_W_BYTES) != 0);
}

TEST(terms_out_of_bounds_are_refused)
{
	const struct ltz_password password = { "secret", 6, false }, none = { 0 };
	struct ltz_terms good, terms;

	ASSERT_OK(ltz__terms_new(false, &good));
	EXPECT_EQ_INT(ltz__terms_check(&good, &password), 0);
	terms = good, terms.memory_kib = 19 * 1024 - 1;
	EXPECT_EQ_INT(ltz__terms_check(&terms, &password), -EPROTO);
	terms = good, terms.memory_kib = (1 << 20) + 1;
	EXPECT_EQ_INT(ltz__terms_check(&terms, &password), -EPROTO);
	terms = good, terms.passes = 1;
	EXPECT_EQ_INT(ltz__terms_check(&terms, &password), -EPROTO);
	terms = good, terms.passes = 17;
	EXPECT_EQ_INT(ltz__terms_check(&terms, &password), -EPROTO);
	terms = good, terms.lanes = 0;
	EXPECT_EQ_INT(ltz__terms_check(&terms, &password), -EPROTO);
	terms = good, terms.lanes = UINT32_MAX;
	EXPECT_EQ_INT(ltz__terms_check(&terms, &password), -EPROTO);
	terms = good, terms.kind = 77;
	EXPECT_EQ_INT(ltz__terms_check(&terms, &password), -EPROTO);
	/* Whoever has a password never does without Argon2id because a listener says so. */
	terms = good, terms.kind = LTZ_TERMS_RAW_KEY;
	EXPECT_EQ_INT(ltz__terms_check(&terms, &password), -EKEYREJECTED);
	EXPECT_EQ_INT(ltz__terms_check(&good, &raw_password), -EKEYREJECTED);
	EXPECT_EQ_INT(ltz__terms_check(&good, &none), -EKEYREJECTED);
	terms = (struct ltz_terms){ 0 };
	EXPECT_EQ_INT(ltz__terms_check(&terms, &none), 0);
	EXPECT_EQ_INT(ltz__terms_check(&terms, &password), -EKEYREJECTED);
}

TEST(pool_keys_are_random_or_what_was_handed_over)
{
	const struct ltz_terms terms = raw_terms();
	struct ltz_keys keys, other, handed = { 0 };

	derive(&keys, &terms, "pool", &raw_password);
	derive(&other, &terms, "pool", &raw_password);
	ASSERT_OK(ltz__keys_complete(&keys, NULL));
	ASSERT_OK(ltz__keys_complete(&other, NULL));
	EXPECT_TRUE(memcmp(ltz__keys_pool_key(&keys), ltz__keys_pool_key(&other), LTZ_POOL_KEY_BYTES) != 0);
	ASSERT_OK(ltz__keys_set(&handed, &terms, ltz__keys_w(&keys), ltz__keys_pool_key(&keys)));
	EXPECT_EQ_MEM(ltz__keys_pool_key(&handed), ltz__keys_pool_key(&keys), LTZ_POOL_KEY_BYTES);
	EXPECT_TRUE(ltz__keys_same_w(&handed, &keys));
	ltz__keys_deinit(&handed);
	EXPECT_TRUE(ltz__keys_pool_key(&handed) == NULL && ltz__keys_w(&handed) == NULL);
}

TEST(a_child_has_the_keys_and_takes_none_with_it)
{
	const struct ltz_terms terms = raw_terms();
	struct ltz_keys keys;
	uint8_t w[LTZ_W_BYTES];
	int status;

	derive(&keys, &terms, "pool", &raw_password);
	ASSERT_OK(ltz__keys_complete(&keys, NULL));
	memcpy(w, ltz__keys_w(&keys), sizeof w);
	pid_t child = fork();
	if (child == 0) {
		ltz__keys_inherited(&keys);
		bool same = memcmp(ltz__keys_w(&keys), w, sizeof w) == 0;
		ltz__keys_deinit(&keys);
		_exit(same ? 0 : 1);
	}
	ASSERT_TRUE(waitpid(child, &status, 0) == child && status == 0);
	EXPECT_EQ_MEM(ltz__keys_w(&keys), w, sizeof w);
}
