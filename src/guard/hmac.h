/* SPDX-License-Identifier: MIT */
/*
 * hmac.h - HMAC-SHA256 (RFC 2104, FIPS 198-1) with a key that is hashed once.
 *
 * A keyed HMAC is two SHA-256 states: those after the blocks that depend on
 * the key only. Nothing in it changes by use, so any number of threads share
 * one, and it can lie in a page of secrets; no allocation, nothing to free. It
 * is as secret as the key: wipe it (wipe.h) when done.
 *
 * The bytes must be private memory. What another process can change meanwhile
 * could be checked as one thing and used as another: copy it first.
 */
#ifndef LTZ_GUARD_HMAC_H
#define LTZ_GUARD_HMAC_H

#include "guard/bytes.h"

#define LTZ_HMAC_BYTES     32
#define LTZ_HMAC_BYTES_MIN 16 /* of a tag cut short: half, as RFC 2104, section 5, asks */

struct ltz_hmac {
	uint32_t inner[8], outer[8];
};

/* Takes a key of any size. Loads libcrypto: -ENOPKG, -ENOMEM. */
int ltz__hmac_init(struct ltz_hmac *hmac, struct ltz_bytes key);

/* The tag of all parts as one message. Cannot fail. Any thread. */
void ltz__hmac(const struct ltz_hmac *hmac, const struct ltz_bytes *parts, unsigned count,
               uint8_t tag[LTZ_HMAC_BYTES]);

/*
 * Is it the tag of all parts, or its first bytes? 0, or -EBADMSG; takes as long
 * for every wrong tag. -EINVAL: the tag has fewer than LTZ_HMAC_BYTES_MIN or
 * more than LTZ_HMAC_BYTES bytes. Any thread.
 */
int ltz__hmac_verify(const struct ltz_hmac *hmac, const struct ltz_bytes *parts, unsigned count,
                     struct ltz_bytes tag);

#endif
