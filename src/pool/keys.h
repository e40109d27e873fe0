/* SPDX-License-Identifier: MIT */
/*
 * keys.h - what a member of a locked pool knows, and how a password becomes it.
 *
 *     password ── Argon2id(salt, pool name) ──┐
 *     raw key  ── HKDF(salt, pool name) ──────┴─► w: proves the password (proof.h)
 *     random bytes of the maker ─────────────────► pool key: what the store seals with
 *
 * - w and the pool key lie in one page of guard/secret.h for each membership,
 *   never in the pool. The pool key says nothing of the password. w is never
 *   sent to who asks by name: each side makes it by itself.
 * - The terms (how w is made) are public. A joiner believes them only within
 *   the bounds of guard/argon2.h, and the proof fails where the two sides'
 *   terms differ.
 * - A forked child has the page too (ltz__keys_inherited).
 */
#ifndef LTZ_POOL_KEYS_H
#define LTZ_POOL_KEYS_H

#include <stdbool.h>
#include <stdint.h>

#include "guard/secret.h"

#define LTZ_POOL_KEY_BYTES 32
#define LTZ_W_BYTES 32
#define LTZ_SALT_BYTES 16
#define LTZ_RAW_KEY_BYTES 32

/* How w is made. In packets as it is: no padding. */
struct ltz_terms {
	uint32_t kind;                      /* enum ltz_terms_kind             */
	uint32_t memory_kib, passes, lanes; /* Argon2id's cost; 0 for a raw key */
	uint8_t salt[LTZ_SALT_BYTES];
};

enum ltz_terms_kind {
	LTZ_TERMS_OPEN = 0, /* no password at all: the rest is 0 */
	LTZ_TERMS_PASSWORD = 1,
	LTZ_TERMS_RAW_KEY = 2,
};

/* What the caller of the library gave. bytes NULL: nothing. */
struct ltz_password {
	const void *bytes;
	size_t size;
	bool raw;
};

/* Zeroed: none. */
struct ltz_keys {
	struct ltz_secret page;
	struct ltz_terms terms;
};

struct ltz_open_options;
struct ltz_password ltz__password_of(const struct ltz_open_options *options);
/* 0, or -EINVAL with a detail line: this cannot be a password. None at all is 0. */
int ltz__password_check(const struct ltz_password *password);

/* Terms for a new pool. */
int ltz__terms_new(bool raw, struct ltz_terms *terms);
/*
 * A joiner's check of what it was told, against what it has to offer. 0;
 * -EKEYREJECTED: a password is missing, needless or of the other kind;
 * -EPROTO: terms out of bounds. With a detail line.
 */
int ltz__terms_check(const struct ltz_terms *terms, const struct ltz_password *password);
bool ltz__terms_same(const struct ltz_terms *a, const struct ltz_terms *b);

/*
 * Makes w by these terms, which were checked: takes as long as Argon2id does,
 * and may be called without any lock. What keys held before is gone.
 * -ENOMEM, -ENOPKG.
 */
int ltz__keys_derive(struct ltz_keys *keys, const struct ltz_terms *terms, const char *name,
                     const struct ltz_password *password);
/* Gives keys that have w the pool key: pool_key, or NULL: a new one. Nothing in them changes any more. */
int ltz__keys_complete(struct ltz_keys *keys, const uint8_t *pool_key);
/* From what another member of trust handed over. */
int ltz__keys_set(struct ltz_keys *keys, const struct ltz_terms *terms, const uint8_t w[LTZ_W_BYTES],
                  const uint8_t pool_key[LTZ_POOL_KEY_BYTES]);

static inline bool ltz__keys_any(const struct ltz_keys *keys) { return keys->page.bytes != NULL; }
/* NULL if there are none. */
const uint8_t *ltz__keys_w(const struct ltz_keys *keys);
const uint8_t *ltz__keys_pool_key(const struct ltz_keys *keys);
/* Were both made from the same password by the same terms? */
bool ltz__keys_same_w(const struct ltz_keys *a, const struct ltz_keys *b);

/* In a forked child. */
void ltz__keys_inherited(struct ltz_keys *keys);
void ltz__keys_deinit(struct ltz_keys *keys);

#endif
