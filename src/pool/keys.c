/* SPDX-License-Identifier: MIT */
/* keys.c - from a password to what a member of a locked pool knows. See keys.h. */
#include <assert.h>
#include <string.h>

#include <latzero.h>

#include "base/error.h"
#include "guard/argon2.h"
#include "guard/hkdf.h"
#include "guard/spake2.h"
#include "guard/wipe.h"
#include "pool/keys.h"

#define SECRET_BYTES 48u /* what w is made of; spake2.h wants 40 to 64 */

/* The page. */
struct contents {
	uint8_t pool_key[LTZ_POOL_KEY_BYTES];
	uint8_t w[LTZ_W_BYTES];
};

static_assert(LTZ_W_BYTES == LTZ_SPAKE2_W_BYTES, "w is what spake2.h takes");
static_assert(sizeof(struct contents) <= LTZ_SECRET_BYTES, "one page holds them");
static_assert(sizeof(struct ltz_terms) == 32, "no padding in packets");

static struct contents *contents_of(const struct ltz_keys *keys)
{
	return keys->page.bytes;
}

/* ---- what the caller gave -------------------------------------------------------------- */

struct ltz_password ltz__password_of(const struct ltz_open_options *options)
{
	return (struct ltz_password){
		.bytes = options->key, .size = options->key_size, .raw = (options->flags & LTZ_RAW_KEY) != 0,
	};
}

int ltz__password_check(const struct ltz_password *password)
{
	if (password->bytes == NULL)
		return password->size == 0 && !password->raw ? 0 : ltz__fail(-EINVAL, "a key's size is given, but no key");
	if (password->raw && password->size != LTZ_RAW_KEY_BYTES)
		return ltz__fail(-EINVAL, "a raw key has exactly %d bytes, not %zu", LTZ_RAW_KEY_BYTES, password->size);
	if (password->size == 0)
		return ltz__fail(-EINVAL, "the password is empty");
	if (password->size > LTZ_PASSWORD_MAX)
		return ltz__fail(-EINVAL, "the password has %zu bytes, at most %d", password->size, LTZ_PASSWORD_MAX);
	return 0;
}

/* ---- terms ----------------------------------------------------------------------------- */

static struct ltz_argon2_cost cost_of(const struct ltz_terms *terms)
{
	return (struct ltz_argon2_cost){
		.memory_kib = terms->memory_kib, .passes = terms->passes, .lanes = terms->lanes,
	};
}

int ltz__terms_new(bool raw, struct ltz_terms *terms)
{
	const struct ltz_argon2_cost cost = LTZ_ARGON2_DEFAULT;

	*terms = (struct ltz_terms){ .kind = raw ? LTZ_TERMS_RAW_KEY : LTZ_TERMS_PASSWORD };
	if (!raw) {
		terms->memory_kib = cost.memory_kib;
		terms->passes = cost.passes;
		terms->lanes = cost.lanes;
	}
	return ltz__sys_random(terms->salt, sizeof terms->salt);
}

static int check_kind(const struct ltz_terms *terms, const struct ltz_password *password)
{
	if (terms->kind == LTZ_TERMS_OPEN && password->bytes != NULL)
		return ltz__fail(-EKEYREJECTED, "the pool has no password, but one was given");
	if (terms->kind == LTZ_TERMS_OPEN)
		return 0;
	if (password->bytes == NULL)
		return ltz__fail(-EKEYREJECTED, "the pool has a password, and none was given");
	if (terms->kind == LTZ_TERMS_PASSWORD && password->raw)
		return ltz__fail(-EKEYREJECTED, "the pool has a password, not a raw key");
	if (terms->kind == LTZ_TERMS_RAW_KEY && !password->raw)
		return ltz__fail(-EKEYREJECTED, "the pool has a raw key, not a password");
	return 0;
}

int ltz__terms_check(const struct ltz_terms *terms, const struct ltz_password *password)
{
	const struct ltz_argon2_cost cost = cost_of(terms);
	int r = check_kind(terms, password);

	if (r < 0)
		return r;
	if (terms->kind == LTZ_TERMS_PASSWORD && ltz__argon2_check(&cost) == 0)
		return 0;
	if (terms->kind == LTZ_TERMS_PASSWORD)
		return ltz__fail(-EPROTO, "the listener asks for Argon2id with %u KiB, %u passes and %u lanes: out of bounds",
		                 cost.memory_kib, cost.passes, cost.lanes);
	if (terms->kind <= LTZ_TERMS_RAW_KEY && cost.memory_kib == 0 && cost.passes == 0 && cost.lanes == 0)
		return 0;
	return ltz__fail(-EPROTO, "the listener asks for a proof that this library does not know");
}

bool ltz__terms_same(const struct ltz_terms *a, const struct ltz_terms *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* ---- keys ------------------------------------------------------------------------------ */

static int derive_secret(const struct ltz_terms *terms, const char *name, const struct ltz_password *password,
                         struct ltz_room secret)
{
	static const char purpose[] = "latzero pool ";
	const struct ltz_argon2_cost cost = cost_of(terms);
	const struct ltz_bytes given = { password->bytes, password->size }, salt = { terms->salt, sizeof terms->salt };
	char info[sizeof purpose + LTZ_NAME_MAX];
	struct ltz_argon2_input input = { .password = given, .salt = salt };

	/* Also the name: pools of one password and, by whatever chance, one salt have different keys. */
	memcpy(info, purpose, sizeof purpose - 1);
	memcpy(info + sizeof purpose - 1, name, strlen(name) + 1);
	input.associated = (struct ltz_bytes){ info, strlen(info) };
	if (terms->kind == LTZ_TERMS_RAW_KEY)
		return ltz__hkdf(salt, given, input.associated, secret);
	return ltz__argon2id(&cost, &input, secret);
}

int ltz__keys_derive(struct ltz_keys *keys, const struct ltz_terms *terms, const char *name,
                     const struct ltz_password *password)
{
	uint8_t secret[SECRET_BYTES];
	int r;

	ltz__keys_deinit(keys);
	r = ltz__secret_init(&keys->page);
	if (r < 0)
		return r;
	keys->terms = *terms;
	r = derive_secret(terms, name, password, (struct ltz_room){ secret, sizeof secret });
	if (r == 0)
		r = ltz__spake2_w(contents_of(keys)->w, (struct ltz_bytes){ secret, sizeof secret });
	ltz__wipe(secret, sizeof secret);
	if (r < 0)
		ltz__keys_deinit(keys);
	return r;
}

int ltz__keys_complete(struct ltz_keys *keys, const uint8_t *pool_key)
{
	struct contents *contents = contents_of(keys);
	int r = 0;

	if (pool_key != NULL)
		memcpy(contents->pool_key, pool_key, sizeof contents->pool_key);
	else
		r = ltz__sys_random(contents->pool_key, sizeof contents->pool_key);
	return r < 0 ? r : ltz__secret_freeze(&keys->page);
}

int ltz__keys_set(struct ltz_keys *keys, const struct ltz_terms *terms, const uint8_t w[LTZ_W_BYTES],
                  const uint8_t pool_key[LTZ_POOL_KEY_BYTES])
{
	int r;

	ltz__keys_deinit(keys);
	r = ltz__secret_init(&keys->page);
	if (r < 0)
		return r;
	keys->terms = *terms;
	memcpy(contents_of(keys)->w, w, LTZ_W_BYTES);
	return ltz__keys_complete(keys, pool_key);
}

const uint8_t *ltz__keys_w(const struct ltz_keys *keys)
{
	return ltz__keys_any(keys) ? contents_of(keys)->w : NULL;
}

const uint8_t *ltz__keys_pool_key(const struct ltz_keys *keys)
{
	return ltz__keys_any(keys) ? contents_of(keys)->pool_key : NULL;
}

bool ltz__keys_same_w(const struct ltz_keys *a, const struct ltz_keys *b)
{
	return ltz__keys_any(a) && ltz__keys_any(b) && ltz__terms_same(&a->terms, &b->terms) &&
	       ltz__same(contents_of(a)->w, contents_of(b)->w, LTZ_W_BYTES);
}

void ltz__keys_inherited(struct ltz_keys *keys)
{
	ltz__secret_inherited(&keys->page);
}

void ltz__keys_deinit(struct ltz_keys *keys)
{
	ltz__secret_deinit(&keys->page);
	keys->terms = (struct ltz_terms){ 0 };
}
