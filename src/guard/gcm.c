/* SPDX-License-Identifier: MIT */
/*
 * gcm.c - AES-256-GCM through EVP, in the calls that cost least.
 *
 * For 64 bytes and 48 of associated data, OpenSSL 3.0, one run: 193 ns to seal
 * and 188 to open, of which 59 set the nonce and 43 fetch the tag. Setting the
 * key as well would be 333. A tag by EVP_CIPHER_CTX_ctrl costs 10 more, and
 * EVP_Cipher instead of the Update functions saves nothing.
 */
#include "guard/gcm.h"

#include <limits.h>

#include "base/error.h"
#include "guard/crypto.h"
#include "guard/wipe.h"
#include "sys/fault.h"

/* libcrypto counts in int, so long content goes in stretches. Of any length that costs nothing and tests reach. */
#define STRETCH_BYTES ((size_t)1 << 20)

int ltz__gcm_init(struct ltz_gcm *gcm, const uint8_t key[LTZ_GCM_KEY_BYTES])
{
	const struct ltz_crypto *c;
	int result = ltz__crypto_load();

	gcm->context = NULL;
	if (result < 0)
		return result;
	c = ltz__crypto();
	gcm->context = LTZ_PTR_CALL(NULL, c->EVP_CIPHER_CTX_new());
	if (gcm->context == NULL)
		return ltz__crypto_failed(-ENOMEM);
	if (c->EVP_EncryptInit_ex2(gcm->context, c->aes_256_gcm, key, NULL, NULL) != 1) {
		ltz__gcm_deinit(gcm);
		return ltz__crypto_failed(-ENOMEM);
	}
	return 0;
}

int ltz__gcm_rekey(struct ltz_gcm *gcm, const uint8_t key[LTZ_GCM_KEY_BYTES])
{
	if (ltz__crypto()->EVP_EncryptInit_ex2(gcm->context, NULL, key, NULL, NULL) != 1)
		return ltz__crypto_failed(-EIO);
	return 0;
}

void ltz__gcm_deinit(struct ltz_gcm *gcm)
{
	if (gcm->context != NULL)
		ltz__crypto()->EVP_CIPHER_CTX_free(gcm->context);
	gcm->context = NULL;
}

/* May size bytes be turned from one into the other, within a whole of whole_size bytes at whole? */
static bool apart_or_same(const void *piece, const void *same, size_t size, const void *whole, size_t whole_size)
{
	uintptr_t at = (uintptr_t)piece, start = (uintptr_t)whole;

	return size == 0 || piece == same || at >= start + whole_size || start >= at + size;
}

typedef int update_function(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int);

static bool update(update_function *function, EVP_CIPHER_CTX *context, uint8_t *out, const uint8_t *in, size_t size)
{
	while (size > 0) {
		size_t stretch = size < STRETCH_BYTES ? size : STRETCH_BYTES;
		int written;

		if (function(context, out, &written, in, (int)stretch) != 1)
			return false;
		out += stretch;
		in += stretch;
		size -= stretch;
	}
	return true;
}

static bool add_associated(update_function *function, EVP_CIPHER_CTX *context, struct ltz_bytes aad)
{
	int written;

	return aad.size == 0 || function(context, NULL, &written, aad.data, (int)aad.size) == 1;
}

static int check_parts(struct ltz_bytes aad, const struct ltz_bytes *parts, unsigned count, const uint8_t *out)
{
	uint64_t total = 0, done = 0;

	for (unsigned i = 0; i < count; i++) {
		total += parts[i].size;
		if (parts[i].size > LTZ_GCM_BYTES_MAX || total > LTZ_GCM_BYTES_MAX)
			return -EINVAL;
	}
	for (unsigned i = 0; i < count; done += parts[i].size, i++)
		if (!apart_or_same(parts[i].data, out + done, parts[i].size, out, total))
			return -EINVAL;
	return aad.size > INT_MAX ? -EINVAL : 0;
}

int ltz__gcm_seal_begin(struct ltz_gcm *gcm, const uint8_t nonce[LTZ_GCM_NONCE_BYTES], struct ltz_bytes aad)
{
	const struct ltz_crypto *c = ltz__crypto();

	if (c->EVP_EncryptInit_ex2(gcm->context, NULL, NULL, nonce, NULL) != 1 ||
	    !add_associated(c->EVP_EncryptUpdate, gcm->context, aad))
		return ltz__crypto_failed(-EIO);
	return 0;
}

int ltz__gcm_seal_more(struct ltz_gcm *gcm, const void *in, size_t size, void *out)
{
	return update(ltz__crypto()->EVP_EncryptUpdate, gcm->context, out, in, size) ? 0 : ltz__crypto_failed(-EIO);
}

int ltz__gcm_seal_end(struct ltz_gcm *gcm, uint8_t tag[LTZ_GCM_TAG_BYTES])
{
	OSSL_PARAM get_tag[] = {
		{ OSSL_CIPHER_PARAM_AEAD_TAG, OSSL_PARAM_OCTET_STRING, tag, LTZ_GCM_TAG_BYTES, OSSL_PARAM_UNMODIFIED },
		OSSL_PARAM_END,
	};
	const struct ltz_crypto *c = ltz__crypto();
	uint8_t nothing[LTZ_GCM_TAG_BYTES];
	int written;

	if (c->EVP_EncryptFinal_ex(gcm->context, nothing, &written) != 1 ||
	    c->EVP_CIPHER_CTX_get_params(gcm->context, get_tag) != 1)
		return ltz__crypto_failed(-EIO);
	return 0;
}

int ltz__gcm_seal(struct ltz_gcm *gcm, const uint8_t nonce[LTZ_GCM_NONCE_BYTES], struct ltz_bytes aad,
                  const struct ltz_bytes *parts, unsigned count, void *out, uint8_t tag[LTZ_GCM_TAG_BYTES])
{
	uint8_t *at = out;
	int result = check_parts(aad, parts, count, out);

	if (result == 0)
		result = ltz__gcm_seal_begin(gcm, nonce, aad);
	for (unsigned i = 0; result == 0 && i < count; at += parts[i].size, i++)
		result = ltz__gcm_seal_more(gcm, parts[i].data, parts[i].size, at);
	return result < 0 ? result : ltz__gcm_seal_end(gcm, tag);
}

static int check_rooms(struct ltz_bytes aad, const uint8_t *in, const struct ltz_room *rooms, unsigned count)
{
	uint64_t total = 0, done = 0;

	for (unsigned i = 0; i < count; i++) {
		total += rooms[i].size;
		if (rooms[i].size > LTZ_GCM_BYTES_MAX || total > LTZ_GCM_BYTES_MAX)
			return -EINVAL;
	}
	for (unsigned i = 0; i < count; done += rooms[i].size, i++)
		if (!apart_or_same(rooms[i].data, in + done, rooms[i].size, in, total))
			return -EINVAL;
	return aad.size > INT_MAX ? -EINVAL : 0;
}

int ltz__gcm_open_begin(struct ltz_gcm *gcm, const uint8_t nonce[LTZ_GCM_NONCE_BYTES], struct ltz_bytes aad,
                        const uint8_t tag[LTZ_GCM_TAG_BYTES])
{
	OSSL_PARAM set_tag[] = { /* not const in there, but only read */
		{ OSSL_CIPHER_PARAM_AEAD_TAG, OSSL_PARAM_OCTET_STRING, (void *)(uintptr_t)tag, LTZ_GCM_TAG_BYTES,
		  OSSL_PARAM_UNMODIFIED },
		OSSL_PARAM_END,
	};
	const struct ltz_crypto *c = ltz__crypto();

	if (c->EVP_DecryptInit_ex2(gcm->context, NULL, NULL, nonce, set_tag) != 1 ||
	    !add_associated(c->EVP_DecryptUpdate, gcm->context, aad))
		return ltz__crypto_failed(-EIO);
	return 0;
}

int ltz__gcm_open_more(struct ltz_gcm *gcm, const void *in, size_t size, void *out)
{
	return update(ltz__crypto()->EVP_DecryptUpdate, gcm->context, out, in, size) ? 0 : ltz__crypto_failed(-EIO);
}

int ltz__gcm_open_end(struct ltz_gcm *gcm)
{
	uint8_t nothing[LTZ_GCM_TAG_BYTES];
	int written;

	return ltz__crypto()->EVP_DecryptFinal_ex(gcm->context, nothing, &written) == 1 ? 0 : ltz__crypto_failed(-EBADMSG);
}

static int open_rooms(struct ltz_gcm *gcm, const uint8_t *nonce, struct ltz_bytes aad, const uint8_t *in,
                      const struct ltz_room *rooms, unsigned count, const uint8_t *tag)
{
	int result = ltz__gcm_open_begin(gcm, nonce, aad, tag);

	for (unsigned i = 0; result == 0 && i < count; in += rooms[i].size, i++)
		result = ltz__gcm_open_more(gcm, in, rooms[i].size, rooms[i].data);
	return result < 0 ? result : ltz__gcm_open_end(gcm);
}

int ltz__gcm_open(struct ltz_gcm *gcm, const uint8_t nonce[LTZ_GCM_NONCE_BYTES], struct ltz_bytes aad,
                  const void *in, const struct ltz_room *rooms, unsigned count,
                  const uint8_t tag[LTZ_GCM_TAG_BYTES])
{
	int result = check_rooms(aad, in, rooms, count);

	if (result < 0)
		return result;
	result = open_rooms(gcm, nonce, aad, in, rooms, count, tag);
	if (result == 0)
		return 0;
	/* What was decrypted is not what anybody sealed: nobody shall see it. */
	for (unsigned i = 0; i < count; i++)
		ltz__wipe(rooms[i].data, rooms[i].size);
	return result;
}
