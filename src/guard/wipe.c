/* SPDX-License-Identifier: MIT */
/*
 * wipe.c - secrets forgotten, and compared without telling where they differ.
 *
 * Not OPENSSL_cleanse and CRYPTO_memcmp, which do the same: a password must
 * be wiped also where libcrypto could not be loaded.
 */
#include "guard/wipe.h"

#include <string.h>

void ltz__wipe(void *bytes, size_t size)
{
	if (size > 0) /* then bytes is not NULL */
		explicit_bzero(bytes, size);
}

bool ltz__same(const void *a, const void *b, size_t size)
{
	/* volatile: the compiler must not find a reason to stop early */
	const volatile unsigned char *x = a, *y = b;
	unsigned char differing = 0;

	for (size_t i = 0; i < size; i++)
		differing |= x[i] ^ y[i];
	return differing == 0;
}
