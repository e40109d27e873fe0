/* SPDX-License-Identifier: MIT */
/*
 * xaes.h - XAES-256-GCM (C2SP): AES-256-GCM with nonces of 24 bytes, and what
 * latzero puts into a nonce so that none ever comes twice.
 *
 * The first 12 bytes of the nonce and the key give a subkey; subkey and last
 * 12 bytes are an AES-256-GCM key and nonce (gcm.h). A writer keeps to one
 * prefix, so its subkey's context is kept; the contexts of the last readers'
 * prefixes are kept too.
 *
 *	 0        prefix      12    chunk    16       counter       24
 *	+---------------------+--------------+----------------------+
 *	| random, for each    | 0, or which  | of this attachment,  |   both numbers big-endian
 *	| attachment anew     | and if last  | for each record anew |
 *	+---------------------+--------------+----------------------+
 *
 * Records and chunks. A record is sealed as one, with chunk 0. A large value
 * is sealed in chunks of LTZ_XAES_CHUNK_BYTES, so that it can go through one
 * small private buffer (gcm.h says why it must) wherever it goes to: a value
 * of 1 GiB needs no second GiB. Chunk i has i + 1 in the nonce, and bit 31 set
 * if it is the last; its tag is kept by the caller, 16 bytes each. All chunks
 * of a value have the same associated data.
 *
 * Why no nonce comes twice. The caller draws a prefix for each attachment and
 * again in a forked child, counts records in private memory that is never set
 * back, and takes a new number for every sealing, also when it seals a changed
 * record for a retry. The three fields have fixed places, so two sealings
 * share a nonce only if they agree in all three: the same attachment (or two
 * that drew the same 96 bits: for 2^32 attachments to one pool, 1 in 2^33),
 * the same record, the same chunk. One counter value may serve one record
 * sealed as one (a name, say) and one value in chunks (what belongs to it).
 *
 * Why chunks cannot be moved. A chunk opens only under the nonce that it was
 * sealed with, and that nonce says which chunk of which record it is and if
 * more follow. So none can be dropped, doubled, swapped, cut off, added, or
 * taken from another value; full chunks have a fixed size and the size of the
 * last is part of its tag, so the size of the whole is certain too. Each chunk
 * is genuine by itself; the value is so once the last one has opened. Nothing
 * of it may be used before.
 *
 * A struct ltz_xaes belongs to one caller at a time. A forked child may go on
 * opening with its copy if no call was under way; it must not seal with the
 * parent's prefix. Keys and key schedules lie on the heap; free wipes them.
 */
#ifndef LTZ_GUARD_XAES_H
#define LTZ_GUARD_XAES_H

#include "guard/gcm.h"

#define LTZ_XAES_KEY_BYTES    32
#define LTZ_XAES_NONCE_BYTES  24
#define LTZ_XAES_PREFIX_BYTES 12
#define LTZ_XAES_TAG_BYTES    LTZ_GCM_TAG_BYTES
#define LTZ_XAES_CHUNK_BYTES  (64u * 1024)

struct ltz_xaes;

/* Loads libcrypto if need be. -ENOPKG, -ENOMEM. */
int ltz__xaes_new(struct ltz_xaes **out, const uint8_t key[LTZ_XAES_KEY_BYTES]);
void ltz__xaes_free(struct ltz_xaes *xaes); /* NULL is allowed */

/* The nonce of a record sealed as one, and what the nonces of its chunks are made from. */
void ltz__xaes_nonce(uint8_t nonce[LTZ_XAES_NONCE_BYTES], const uint8_t prefix[LTZ_XAES_PREFIX_BYTES],
                     uint64_t counter);

/*
 * As ltz__gcm_seal and ltz__gcm_open (gcm.h), with their demand for private
 * memory; also -ENOMEM for want of a context, with nothing written. Any nonce
 * will do, not only those made here: this is XAES-256-GCM as published.
 */
int ltz__xaes_seal(struct ltz_xaes *xaes, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], struct ltz_bytes aad,
                   const struct ltz_bytes *parts, unsigned count, void *out, uint8_t tag[LTZ_XAES_TAG_BYTES]);
int ltz__xaes_open(struct ltz_xaes *xaes, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], struct ltz_bytes aad,
                   const void *in, const struct ltz_room *rooms, unsigned count,
                   const uint8_t tag[LTZ_XAES_TAG_BYTES]);

/* In steps: the first one, then ltz__gcm_*_more and _end on *gcm (gcm.h), before any other call here. */
int ltz__xaes_seal_begin(struct ltz_xaes *xaes, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], struct ltz_bytes aad, struct ltz_gcm **gcm);
int ltz__xaes_open_begin(struct ltz_xaes *xaes, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], struct ltz_bytes aad,
                         const uint8_t tag[LTZ_XAES_TAG_BYTES], struct ltz_gcm **gcm);

/* One chunk of a value: where it lies in the value, and the nonce to seal or open it with. */
struct ltz_xaes_chunk {
	uint8_t nonce[LTZ_XAES_NONCE_BYTES];
	uint64_t offset;
	size_t size;
};

/* How many chunks a value of that size has, and so how many tags. An empty one has one. */
uint64_t ltz__xaes_chunks(uint64_t size_bytes);

/*
 * Chunk index of a value of size_bytes whose record has that nonce. -EINVAL:
 * there is no such chunk, the value has 2^31 or more, or the nonce is a chunk's.
 */
int ltz__xaes_chunk(struct ltz_xaes_chunk *chunk, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], uint64_t size_bytes,
                    uint64_t index);

#endif
