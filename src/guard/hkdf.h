/* SPDX-License-Identifier: MIT */
/*
 * hkdf.h - HKDF-SHA256 (RFC 5869): many keys from one.
 *
 * The input must already be as hard to guess as a key; a password is not
 * (argon2.h). Different info gives independent keys. Thread-safe; what lies on
 * the stack meanwhile is wiped.
 */
#ifndef LTZ_GUARD_HKDF_H
#define LTZ_GUARD_HKDF_H

#include "guard/bytes.h"

#define LTZ_HKDF_PRK_BYTES     32
#define LTZ_HKDF_OUT_BYTES_MAX (255u * 32)

/*
 * Extract and expand in one. salt and info may be empty. Out has 1 to
 * LTZ_HKDF_OUT_BYTES_MAX bytes, else -EINVAL. -ENOPKG, -ENOMEM: no libcrypto.
 */
int ltz__hkdf(struct ltz_bytes salt, struct ltz_bytes input, struct ltz_bytes info, struct ltz_room out);

/* The two steps by themselves: an extracted key serves any number of expansions. Errors as above. */
int ltz__hkdf_extract(struct ltz_bytes salt, struct ltz_bytes input, uint8_t prk[LTZ_HKDF_PRK_BYTES]);
int ltz__hkdf_expand(const uint8_t prk[LTZ_HKDF_PRK_BYTES], struct ltz_bytes info, struct ltz_room out);

#endif
