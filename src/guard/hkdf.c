/* SPDX-License-Identifier: MIT */
/* hkdf.c - HKDF-SHA256 on hmac.h. */
#include "guard/hkdf.h"

#include <string.h>

#include "base/compiler.h"
#include "base/error.h"
#include "guard/hmac.h"
#include "guard/wipe.h"

static_assert(LTZ_HKDF_PRK_BYTES == LTZ_HMAC_BYTES, "the extracted key is one HMAC");

int ltz__hkdf_extract(struct ltz_bytes salt, struct ltz_bytes input, uint8_t prk[LTZ_HKDF_PRK_BYTES])
{
	struct ltz_hmac hmac;
	/* An empty salt stands for 32 zero bytes: to HMAC, which pads keys with zeros, the same. */
	int result = ltz__hmac_init(&hmac, salt);

	if (result < 0)
		return result;
	ltz__hmac(&hmac, &input, 1, prk);
	ltz__wipe(&hmac, sizeof(hmac));
	return 0;
}

int ltz__hkdf_expand(const uint8_t prk[LTZ_HKDF_PRK_BYTES], struct ltz_bytes info, struct ltz_room out)
{
	uint8_t block[LTZ_HMAC_BYTES], counter = 0;
	struct ltz_bytes parts[] = { { block, 0 }, info, { &counter, 1 } }; /* T(0) is empty */
	struct ltz_hmac hmac;
	int result;

	if (out.size < 1 || out.size > LTZ_HKDF_OUT_BYTES_MAX)
		return -EINVAL;
	result = ltz__hmac_init(&hmac, (struct ltz_bytes){ prk, LTZ_HKDF_PRK_BYTES });
	if (result < 0)
		return result;
	for (size_t done = 0; done < out.size; done += sizeof(block)) {
		size_t left = out.size - done;

		counter++;
		ltz__hmac(&hmac, parts, 3, block);
		memcpy((uint8_t *)out.data + done, block, left < sizeof(block) ? left : sizeof(block));
		parts[0].size = sizeof(block);
	}
	ltz__wipe(&hmac, sizeof(hmac));
	ltz__wipe(block, sizeof(block));
	return 0;
}

int ltz__hkdf(struct ltz_bytes salt, struct ltz_bytes input, struct ltz_bytes info, struct ltz_room out)
{
	uint8_t prk[LTZ_HKDF_PRK_BYTES];
	int result = ltz__hkdf_extract(salt, input, prk);

	if (result == 0)
		result = ltz__hkdf_expand(prk, info, out);
	ltz__wipe(prk, sizeof(prk));
	return result;
}
