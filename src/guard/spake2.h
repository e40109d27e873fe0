/* SPDX-License-Identifier: MIT */
/*
 * spake2.h - SPAKE2 (RFC 9382), ciphersuite P256-SHA256-HKDF-HMAC: two sides
 * that know the same password get a key that nobody else has.
 *
 *	joiner (A)                                listener (B)
 *	new: message          -------------->     new: message
 *	                      <--------------
 *	receive                                   receive
 *	confirmation          -------------->     confirm
 *	                                          confirmation
 *	confirm               <--------------     key
 *	key
 *
 * The listener shows its confirmation only to who has shown a right one: a
 * confirmation tells whoever knows the other message if a guessed password is
 * right, and a guess that fails has to be seen to be counted. The joiner has
 * to go first, so whoever answers in the listener's place can try one guess a
 * join. Nobody can try more than one guess an exchange, or any afterwards.
 *
 * What both sides must agree on besides the password (who they are, the pool,
 * the parameters of the handshake) goes into the names and the context: where
 * it differs no confirmation is right.
 *
 * A struct ltz_spake2 belongs to one caller at a time and serves one exchange.
 * It must not be used on both sides of a fork. Its secrets lie on the heap for
 * as long as they are needed and are wiped when they are not: after receive or
 * a failure, and by free. Scalars are multiplied in constant time.
 */
#ifndef LTZ_GUARD_SPAKE2_H
#define LTZ_GUARD_SPAKE2_H

#include "guard/bytes.h"

#define LTZ_SPAKE2_W_BYTES            32
#define LTZ_SPAKE2_SECRET_BYTES_MIN   40 /* 64 bits more than the group's order has */
#define LTZ_SPAKE2_SECRET_BYTES_MAX   64
#define LTZ_SPAKE2_MESSAGE_BYTES      65 /* a point of P-256, uncompressed */
#define LTZ_SPAKE2_CONFIRMATION_BYTES 32
#define LTZ_SPAKE2_KEY_BYTES          16
#define LTZ_SPAKE2_NAME_BYTES_MAX     256

enum ltz_spake2_side {
	LTZ_SPAKE2_JOINER,   /* A in the RFC */
	LTZ_SPAKE2_LISTENER, /* B            */
};

/* Each at most LTZ_SPAKE2_NAME_BYTES_MAX bytes, may be empty, and is copied. */
struct ltz_spake2_names {
	struct ltz_bytes joiner, listener;
	struct ltz_bytes context; /* AAD in the RFC */
};

struct ltz_spake2;

/*
 * w, which both sides work with, from what a password hash (argon2.h) made of
 * the password: the secret modulo the order of P-256. A listener keeps w, not
 * the password; w is enough to join. -EINVAL: fewer or more bytes than above,
 * or w would be 0. -ENOPKG, -ENOMEM.
 */
int ltz__spake2_w(uint8_t w[LTZ_SPAKE2_W_BYTES], struct ltz_bytes secret);

/*
 * Starts an exchange; message is for the other side. -EINVAL: w is 0 or not
 * below the order, or a name is too long. -ENOPKG, -ENOMEM.
 */
int ltz__spake2_new(struct ltz_spake2 **out, enum ltz_spake2_side side, const uint8_t w[LTZ_SPAKE2_W_BYTES],
                    const struct ltz_spake2_names *names, uint8_t message[LTZ_SPAKE2_MESSAGE_BYTES]);
void ltz__spake2_free(struct ltz_spake2 *spake2); /* NULL is allowed */

/*
 * Takes the other side's message. -EBADMSG: not LTZ_SPAKE2_MESSAGE_BYTES, or no
 * point of the curve that there may be: the exchange has failed. -EINVAL: not
 * the time for it. -ENOMEM: failed too.
 */
int ltz__spake2_receive(struct ltz_spake2 *spake2, struct ltz_bytes message);

/* This side's confirmation. -EINVAL: not the time for it; for the listener that is before the joiner's. */
int ltz__spake2_confirmation(const struct ltz_spake2 *spake2, uint8_t confirmation[LTZ_SPAKE2_CONFIRMATION_BYTES]);

/*
 * Takes the other side's confirmation. -EKEYREJECTED: it does not know the
 * password, or names or context differ: the exchange has failed. -EINVAL: not
 * the time for it.
 */
int ltz__spake2_confirm(struct ltz_spake2 *spake2, struct ltz_bytes confirmation);

/* The key, Ke in the RFC; derive others from it (hkdf.h). -EINVAL: the other side has not been confirmed. */
int ltz__spake2_key(const struct ltz_spake2 *spake2, uint8_t key[LTZ_SPAKE2_KEY_BYTES]);

/* As ltz__spake2_new, with the random scalar given: for the RFC's vectors only. */
int ltz__spake2_new_with(struct ltz_spake2 **out, enum ltz_spake2_side side, const uint8_t w[LTZ_SPAKE2_W_BYTES],
                         const uint8_t scalar[LTZ_SPAKE2_W_BYTES], const struct ltz_spake2_names *names,
                         uint8_t message[LTZ_SPAKE2_MESSAGE_BYTES]);

#endif
