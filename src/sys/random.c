/* SPDX-License-Identifier: MIT */
/*
 * random.c - random bytes from the kernel, fit for keys.
 */
#include "sys/sys.h"

#include <sys/random.h>

#include "sys/call.h"

int ltz__sys_random(void *bytes, size_t size)
{
	unsigned char *at = bytes;

	while (size > 0) {
		/* More than 256 bytes may come in parts when signals arrive. */
		long n = LTZ_CALL(getrandom(at, size, 0));

		if (n < 0)
			return (int)n;
		at += n;
		size -= (size_t)n;
	}
	return 0;
}
