/* SPDX-License-Identifier: MIT */
/* crypto.c - OpenSSL's libcrypto, loaded at first use. */
#include "guard/crypto.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "guard/library.h"
#include "sys/fault.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)

/* The one whose headers this was compiled with: types and constants fit. */
#define LIBCRYPTO "libcrypto.so." TEXT(OPENSSL_SHLIB_VERSION)

#define NAME(name) #name,
static const char *const names[] = { LTZ_CRYPTO_FUNCTIONS(NAME) };
#define COUNT (sizeof(names) / sizeof(names[0]))

static_assert(offsetof(struct ltz_crypto, aes_256_gcm) == COUNT * sizeof(void *),
              "the functions come first, one pointer each, in the order of their names");

uint64_t ltz__crypto_table;

int ltz__crypto_failed(int result)
{
	ltz__crypto()->ERR_clear_error();
	return result;
}

static void drop(struct ltz_crypto *crypto)
{
	crypto->EVP_CIPHER_free(crypto->aes_256_gcm); /* NULL is allowed */
	crypto->EVP_CIPHER_free(crypto->aes_256_ecb);
	free(crypto);
}

static int fetch(struct ltz_crypto *crypto)
{
	crypto->OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
	crypto->aes_256_gcm = LTZ_PTR_CALL(NULL, crypto->EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL));
	crypto->aes_256_ecb = LTZ_PTR_CALL(NULL, crypto->EVP_CIPHER_fetch(NULL, "AES-256-ECB", NULL));
	if (crypto->aes_256_gcm != NULL && crypto->aes_256_ecb != NULL)
		return 0;
	crypto->ERR_clear_error();
	return ltz__fail(-ENOPKG, LIBCRYPTO ": no AES-256");
}

static void publish(struct ltz_crypto *crypto)
{
	/* Everything in the table before its address; pairs with: guard/crypto.h:ltz__crypto */
	if (!cas_acq_rel(&ltz__crypto_table, 0, (uintptr_t)crypto))
		drop(crypto); /* another thread was first */
}

int ltz__crypto_load(void)
{
	struct ltz_crypto *crypto;
	void *functions[COUNT];
	int result;

	if (ltz__crypto() != NULL)
		return 0;
	result = ltz__library_load(LIBCRYPTO, names, COUNT, functions);
	if (result < 0)
		return result;
	crypto = LTZ_PTR_CALL(NULL, calloc(1, sizeof(*crypto)));
	if (crypto == NULL)
		return -ENOMEM;
	memcpy(crypto, functions, sizeof(functions));
	result = fetch(crypto);
	if (result < 0) {
		drop(crypto);
		return result;
	}
	publish(crypto);
	return 0;
}
