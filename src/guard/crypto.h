/* SPDX-License-Identifier: MIT */
/*
 * crypto.h - the functions of OpenSSL 3's libcrypto, for this floor's .c files.
 *
 * Loaded at first use (library.h says why). The functions have their own names
 * in a table: c->EVP_EncryptUpdate(...). A function that is needed is added to
 * the list below; its type is taken from OpenSSL's header.
 *
 * Fetching an algorithm by name costs about 0.3 us and takes locks, so what is
 * used is fetched once and kept: the table holds it.
 *
 * No locks here: two threads that load at once both do, and one result stays.
 * So a fork at any moment leaves nothing locked behind in the child.
 *
 * libcrypto is told not to clean up at exit. It would free what service
 * threads are using while other exit handlers still wait for them.
 */
#ifndef LTZ_GUARD_CRYPTO_H
#define LTZ_GUARD_CRYPTO_H

/* hmac.c keeps to SHA256_*, which OpenSSL 3 would rather not see: it says why. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include "base/atomic.h"

#if OPENSSL_VERSION_MAJOR < 3
#error "latzero needs OpenSSL 3 or newer"
#endif

#define LTZ_CRYPTO_FUNCTIONS(X) \
	X(OPENSSL_init_crypto) X(ERR_clear_error) \
	X(SHA256_Init) X(SHA256_Update) X(SHA256_Final) X(SHA256_Transform) \
	X(EVP_CIPHER_fetch) X(EVP_CIPHER_free) \
	X(EVP_CIPHER_CTX_new) X(EVP_CIPHER_CTX_free) X(EVP_CIPHER_CTX_get_params) \
	X(EVP_EncryptInit_ex2) X(EVP_EncryptUpdate) X(EVP_EncryptFinal_ex) \
	X(EVP_DecryptInit_ex2) X(EVP_DecryptUpdate) X(EVP_DecryptFinal_ex) \
	X(BN_CTX_new) X(BN_CTX_free) X(BN_bin2bn) X(BN_bn2binpad) X(BN_clear_free) X(BN_set_flags) \
	X(BN_nnmod) X(BN_is_zero) \
	X(EC_GROUP_new_by_curve_name) X(EC_GROUP_free) X(EC_GROUP_get0_order) \
	X(EC_POINT_new) X(EC_POINT_free) X(EC_POINT_clear_free) X(EC_POINT_oct2point) X(EC_POINT_point2oct) \
	X(EC_POINT_mul) X(EC_POINT_add) X(EC_POINT_invert)

struct ltz_crypto {
#define LTZ_CRYPTO_FIELD(name) __typeof__(name) *name;
	LTZ_CRYPTO_FUNCTIONS(LTZ_CRYPTO_FIELD)
#undef LTZ_CRYPTO_FIELD
	EVP_CIPHER *aes_256_gcm, *aes_256_ecb;
};

/* Address of the table, or 0. Use the functions below. */
extern uint64_t ltz__crypto_table;

/* Makes sure that the table is there: 0, -ENOPKG with a detail line, -ENOMEM. Any thread. */
int ltz__crypto_load(void);

/* The table, once ltz__crypto_load has said 0 in this process: whoever holds an object of this floor knows that. */
LTZ_INLINE const struct ltz_crypto *ltz__crypto(void)
{
	/* Sees everything that was stored into the table; pairs with: guard/crypto.c:publish */
	return (const struct ltz_crypto *)(uintptr_t)load_acquire(&ltz__crypto_table);
}

/*
 * After a failure of libcrypto: drops what it noted in the thread's error
 * queue, where the program's own use of OpenSSL would stumble over it.
 * Returns result.
 */
int ltz__crypto_failed(int result);

#endif
