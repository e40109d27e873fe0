/* SPDX-License-Identifier: MIT */
/*
 * gcm.h - AES-256-GCM (NIST SP 800-38D) with 12-byte nonces: a key is set once,
 * a call sets only the nonce.
 *
 * A nonce must never seal twice under one key: two records under one nonce
 * give away the xor of their contents and, with it, the means to forge any
 * record. This file does not see to it; xaes.h does.
 *
 * Private memory only. Not only the caller reads what it gives to seal and
 * open: libcrypto goes over the ciphertext twice, once to encrypt or decrypt
 * and once for the tag, up to 3 KiB apart. If another process can write there
 * in between, what open lets pass is not what it decrypts, and what seal put
 * the tag on is not what it encrypted: without knowing the key, bits of the
 * content can be flipped and pass. (Seen with OpenSSL 3.0: 6 in 3,000,000
 * opens of 80 bytes, 1.8 % of opens of 16 KiB on a processor path without
 * AVX.) So: seal into private memory and copy the result out; copy in and
 * open in place.
 *
 * A struct ltz_gcm belongs to one caller at a time, and is used for sealing
 * and opening in any order. A forked child may go on using its copy if no
 * call was under way. The key schedule lies on the heap; deinit wipes it.
 */
#ifndef LTZ_GUARD_GCM_H
#define LTZ_GUARD_GCM_H

#include "guard/bytes.h"

#define LTZ_GCM_KEY_BYTES   32
#define LTZ_GCM_NONCE_BYTES 12
#define LTZ_GCM_TAG_BYTES   16
#define LTZ_GCM_BYTES_MAX   ((UINT64_C(1) << 36) - 32) /* content of one call: SP 800-38D, 5.2.1.1 */

struct ltz_gcm {
	struct evp_cipher_ctx_st *context; /* NULL before init and after deinit */
};

/* Loads libcrypto if need be. -ENOPKG, -ENOMEM. */
int ltz__gcm_init(struct ltz_gcm *gcm, const uint8_t key[LTZ_GCM_KEY_BYTES]);

/* Another key in place of the present one. -EIO: then the old one is gone too. */
int ltz__gcm_rekey(struct ltz_gcm *gcm, const uint8_t key[LTZ_GCM_KEY_BYTES]);

/* Wipes and frees; what was never made or already freed is left alone. */
void ltz__gcm_deinit(struct ltz_gcm *gcm);

/*
 * Seals all parts as one content: as many bytes of ciphertext to out, and the
 * tag, which also covers aad. A part may lie exactly where its ciphertext
 * goes. -EINVAL: it overlaps out in another way, or there is too much of
 * anything; nothing is written then. -EIO: libcrypto failed.
 */
int ltz__gcm_seal(struct ltz_gcm *gcm, const uint8_t nonce[LTZ_GCM_NONCE_BYTES], struct ltz_bytes aad,
                  const struct ltz_bytes *parts, unsigned count, void *out, uint8_t tag[LTZ_GCM_TAG_BYTES]);

/*
 * Opens the ciphertext at in, as many bytes as the rooms have together, and
 * fills them one after the other. A room may lie exactly where its ciphertext
 * is. -EBADMSG: nonce, aad, ciphertext, tag and key do not belong together;
 * -EIO: libcrypto failed; the rooms are then zeroed, so in-place ciphertext is
 * lost. -EINVAL as above.
 */
int ltz__gcm_open(struct ltz_gcm *gcm, const uint8_t nonce[LTZ_GCM_NONCE_BYTES], struct ltz_bytes aad,
                  const void *in, const struct ltz_room *rooms, unsigned count,
                  const uint8_t tag[LTZ_GCM_TAG_BYTES]);

/*
 * The same in steps, for content that comes and goes in pieces: begin, more
 * for each piece, end. Each piece may be turned in place. If a step fails,
 * the caller begins anew. Opening: what the pieces became is nobody's to use
 * before end has said 0, and is for the caller to wipe if it says -EBADMSG.
 */
int ltz__gcm_seal_begin(struct ltz_gcm *gcm, const uint8_t nonce[LTZ_GCM_NONCE_BYTES], struct ltz_bytes aad);
int ltz__gcm_seal_more(struct ltz_gcm *gcm, const void *in, size_t size, void *out);
int ltz__gcm_seal_end(struct ltz_gcm *gcm, uint8_t tag[LTZ_GCM_TAG_BYTES]);
int ltz__gcm_open_begin(struct ltz_gcm *gcm, const uint8_t nonce[LTZ_GCM_NONCE_BYTES], struct ltz_bytes aad,
                        const uint8_t tag[LTZ_GCM_TAG_BYTES]);
int ltz__gcm_open_more(struct ltz_gcm *gcm, const void *in, size_t size, void *out);
int ltz__gcm_open_end(struct ltz_gcm *gcm);

#endif
