/* SPDX-License-Identifier: MIT */
/*
 * xaes.c - XAES-256-GCM (C2SP) on gcm.h, with the subkeys' contexts kept.
 *
 * Subkey = AES(K, M1 xor K1) || AES(K, M2 xor K1), where Mi = 0, i, 'X', 0,
 * prefix, and K1 is the CMAC subkey of K (NIST SP 800-38B): CMAC of one block.
 *
 * A prefix that is not in the cache costs two blocks and a key schedule, about
 * as much as opening a small record: 16 readers' places are enough to make it
 * rare, and few enough to look through.
 */
#include "guard/xaes.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "guard/crypto.h"
#include "guard/wipe.h"
#include "sys/fault.h"

#define BLOCK_BYTES 16
#define CHUNK_AT    LTZ_XAES_PREFIX_BYTES
#define COUNTER_AT  (CHUNK_AT + sizeof(uint32_t))
#define LAST        (UINT32_C(1) << 31)
#define OPEN_SLOTS  16

struct slot {
	uint8_t prefix[LTZ_XAES_PREFIX_BYTES];
	bool holds; /* gcm is keyed for prefix */
	struct ltz_gcm gcm;
};

struct ltz_xaes {
	EVP_CIPHER_CTX *block; /* AES-256 under the key, block by block */
	uint8_t k1[BLOCK_BYTES];
	struct slot sealing, opening[OPEN_SLOTS];
	unsigned recent; /* the slot that the last opening used */
	unsigned next;   /* the slot to be given to the next unknown prefix */
};

static bool encrypt_blocks(struct ltz_xaes *xaes, uint8_t *out, const uint8_t *in, size_t size)
{
	int written;

	return ltz__crypto()->EVP_EncryptUpdate(xaes->block, out, &written, in, (int)size) == 1 &&
	       written == (int)size;
}

/* K1 = AES(K, 0) doubled in GF(2^128). */
static bool make_k1(struct ltz_xaes *xaes)
{
	static const uint8_t zeros[BLOCK_BYTES];
	uint8_t l[BLOCK_BYTES];
	unsigned carry;

	if (!encrypt_blocks(xaes, l, zeros, sizeof(l)))
		return false;
	carry = l[0] >> 7;
	for (int i = 0; i < BLOCK_BYTES; i++)
		xaes->k1[i] = (uint8_t)(l[i] << 1 | (i + 1 < BLOCK_BYTES ? l[i + 1] >> 7 : 0));
	xaes->k1[BLOCK_BYTES - 1] ^= (uint8_t)(0x87 & -carry);
	ltz__wipe(l, sizeof(l));
	return true;
}

int ltz__xaes_new(struct ltz_xaes **out, const uint8_t key[LTZ_XAES_KEY_BYTES])
{
	const struct ltz_crypto *c;
	struct ltz_xaes *xaes;
	int result = ltz__crypto_load();

	if (result < 0)
		return result;
	c = ltz__crypto();
	xaes = LTZ_PTR_CALL(NULL, calloc(1, sizeof(*xaes)));
	if (xaes == NULL)
		return -ENOMEM;
	xaes->block = LTZ_PTR_CALL(NULL, c->EVP_CIPHER_CTX_new());
	if (xaes->block == NULL || c->EVP_EncryptInit_ex2(xaes->block, c->aes_256_ecb, key, NULL, NULL) != 1 ||
	    !make_k1(xaes)) {
		ltz__xaes_free(xaes);
		return ltz__crypto_failed(-ENOMEM);
	}
	*out = xaes;
	return 0;
}

void ltz__xaes_free(struct ltz_xaes *xaes)
{
	if (xaes == NULL)
		return;
	ltz__crypto()->EVP_CIPHER_CTX_free(xaes->block);
	ltz__gcm_deinit(&xaes->sealing.gcm);
	for (unsigned i = 0; i < OPEN_SLOTS; i++)
		ltz__gcm_deinit(&xaes->opening[i].gcm);
	ltz__wipe(xaes, sizeof(*xaes));
	free(xaes);
}

/* ---- subkeys ----------------------------------------------------------------------- */

static bool derive(struct ltz_xaes *xaes, const uint8_t *prefix, uint8_t subkey[LTZ_GCM_KEY_BYTES])
{
	uint8_t m[2 * BLOCK_BYTES];

	for (unsigned i = 0; i < 2; i++) {
		uint8_t *block = m + BLOCK_BYTES * i;

		memcpy(block, (uint8_t[]){ 0, (uint8_t)(i + 1), 'X', 0 }, 4);
		memcpy(block + 4, prefix, LTZ_XAES_PREFIX_BYTES);
		for (int j = 0; j < BLOCK_BYTES; j++)
			block[j] ^= xaes->k1[j];
	}
	return encrypt_blocks(xaes, subkey, m, sizeof(m));
}

/* Gives the slot to the prefix. */
static int key_slot(struct ltz_xaes *xaes, struct slot *slot, const uint8_t *prefix)
{
	uint8_t subkey[LTZ_GCM_KEY_BYTES];
	int result = -EIO;

	slot->holds = false;
	if (!derive(xaes, prefix, subkey))
		return ltz__crypto_failed(result);
	result = slot->gcm.context == NULL ? ltz__gcm_init(&slot->gcm, subkey) : ltz__gcm_rekey(&slot->gcm, subkey);
	ltz__wipe(subkey, sizeof(subkey));
	if (result < 0)
		return result;
	memcpy(slot->prefix, prefix, LTZ_XAES_PREFIX_BYTES);
	slot->holds = true;
	return 0;
}

static bool is_for(const struct slot *slot, const uint8_t *prefix)
{
	return slot->holds && memcmp(slot->prefix, prefix, LTZ_XAES_PREFIX_BYTES) == 0;
}

static int find_open_slot(struct ltz_xaes *xaes, const uint8_t *prefix, struct slot **slot)
{
	int result;

	*slot = &xaes->opening[xaes->recent];
	if (is_for(*slot, prefix))
		return 0;
	for (unsigned i = 0; i < OPEN_SLOTS; i++) {
		if (is_for(&xaes->opening[i], prefix)) {
			*slot = &xaes->opening[i];
			xaes->recent = i;
			return 0;
		}
	}
	*slot = &xaes->opening[xaes->next];
	result = key_slot(xaes, *slot, prefix);
	if (result < 0)
		return result;
	xaes->recent = xaes->next;
	xaes->next = (xaes->next + 1) % OPEN_SLOTS;
	return 0;
}

/* ---- records ------------------------------------------------------------------------- */

static int key_sealing(struct ltz_xaes *xaes, const uint8_t *nonce)
{
	return is_for(&xaes->sealing, nonce) ? 0 : key_slot(xaes, &xaes->sealing, nonce);
}

int ltz__xaes_seal(struct ltz_xaes *xaes, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], struct ltz_bytes aad,
                   const struct ltz_bytes *parts, unsigned count, void *out, uint8_t tag[LTZ_XAES_TAG_BYTES])
{
	int result = key_sealing(xaes, nonce);

	if (result < 0)
		return result;
	return ltz__gcm_seal(&xaes->sealing.gcm, nonce + LTZ_XAES_PREFIX_BYTES, aad, parts, count, out, tag);
}

int ltz__xaes_seal_begin(struct ltz_xaes *xaes, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], struct ltz_bytes aad, struct ltz_gcm **gcm)
{
	int result = key_sealing(xaes, nonce);

	if (result < 0)
		return result;
	*gcm = &xaes->sealing.gcm;
	return ltz__gcm_seal_begin(*gcm, nonce + LTZ_XAES_PREFIX_BYTES, aad);
}

int ltz__xaes_open_begin(struct ltz_xaes *xaes, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], struct ltz_bytes aad,
                         const uint8_t tag[LTZ_XAES_TAG_BYTES], struct ltz_gcm **gcm)
{
	struct slot *slot;
	int result = find_open_slot(xaes, nonce, &slot);

	if (result < 0)
		return result;
	*gcm = &slot->gcm;
	return ltz__gcm_open_begin(*gcm, nonce + LTZ_XAES_PREFIX_BYTES, aad, tag);
}

int ltz__xaes_open(struct ltz_xaes *xaes, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], struct ltz_bytes aad,
                   const void *in, const struct ltz_room *rooms, unsigned count,
                   const uint8_t tag[LTZ_XAES_TAG_BYTES])
{
	struct slot *slot;
	int result = find_open_slot(xaes, nonce, &slot);

	if (result < 0)
		return result;
	return ltz__gcm_open(&slot->gcm, nonce + LTZ_XAES_PREFIX_BYTES, aad, in, rooms, count, tag);
}

/* ---- nonces ---------------------------------------------------------------------------- */

static_assert(COUNTER_AT + sizeof(uint64_t) == LTZ_XAES_NONCE_BYTES, "the three fields fill the nonce");

void ltz__xaes_nonce(uint8_t nonce[LTZ_XAES_NONCE_BYTES], const uint8_t prefix[LTZ_XAES_PREFIX_BYTES],
                     uint64_t counter)
{
	uint64_t number = htobe64(counter);

	memcpy(nonce, prefix, LTZ_XAES_PREFIX_BYTES);
	memset(nonce + CHUNK_AT, 0, sizeof(uint32_t));
	memcpy(nonce + COUNTER_AT, &number, sizeof(number));
}

uint64_t ltz__xaes_chunks(uint64_t size_bytes)
{
	if (size_bytes == 0)
		return 1;
	return size_bytes / LTZ_XAES_CHUNK_BYTES + (size_bytes % LTZ_XAES_CHUNK_BYTES != 0);
}

int ltz__xaes_chunk(struct ltz_xaes_chunk *chunk, const uint8_t nonce[LTZ_XAES_NONCE_BYTES], uint64_t size_bytes,
                    uint64_t index)
{
	static const uint8_t none[sizeof(uint32_t)];
	uint64_t chunks = ltz__xaes_chunks(size_bytes);
	uint32_t word;
	bool is_last;

	/* index + 1 must leave the highest bit alone. */
	if (chunks >= LAST || index >= chunks || memcmp(nonce + CHUNK_AT, none, sizeof(none)) != 0)
		return -EINVAL;
	is_last = index + 1 == chunks;
	word = htobe32((uint32_t)(index + 1) | (is_last ? LAST : 0));
	memcpy(chunk->nonce, nonce, LTZ_XAES_NONCE_BYTES);
	memcpy(chunk->nonce + CHUNK_AT, &word, sizeof(word));
	chunk->offset = index * LTZ_XAES_CHUNK_BYTES;
	chunk->size = is_last ? (size_t)(size_bytes - chunk->offset) : LTZ_XAES_CHUNK_BYTES;
	return 0;
}
