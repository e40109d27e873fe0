/* SPDX-License-Identifier: MIT */
/* bucket.c - guesses are counted in one word of the pool. See bucket.h. */
#include "pool/bucket.h"

#include "base/atomic.h"

#define CAPACITY_NS (LTZ_BUCKET_BURST * LTZ_BUCKET_TOKEN_NS)
#define LATE_NS 2000000000ull /* by which now_ns may be older than what others wrote meanwhile */

uint64_t ltz__bucket_take(uint64_t *word, uint64_t now_ns)
{
	for (;;) {
		/* The word is all there is: nothing else is published by it or seen through it. */
		uint64_t seen = load_relaxed(word), full_ns = seen;

		if (full_ns < now_ns)
			full_ns = now_ns;
		if (full_ns > now_ns + CAPACITY_NS + LATE_NS)
			full_ns = now_ns + CAPACITY_NS;
		if (full_ns + LTZ_BUCKET_TOKEN_NS <= now_ns + CAPACITY_NS) {
			/* pairs with: pool/bucket.c:ltz__bucket_give_back */
			if (cas_acq_rel(word, seen, full_ns + LTZ_BUCKET_TOKEN_NS))
				return 0;
			continue;
		}
		/* Garbage is replaced, so that it does not say "empty" for ever. */
		if (full_ns == seen || cas_acq_rel(word, seen, full_ns))
			return full_ns + LTZ_BUCKET_TOKEN_NS - (now_ns + CAPACITY_NS);
	}
}

void ltz__bucket_give_back(uint64_t *word)
{
	uint64_t seen;

	/* A time in the past is a full bucket: 0 is as good as any. pairs with: pool/bucket.c:ltz__bucket_take */
	do {
		seen = load_relaxed(word);
	} while (!cas_acq_rel(word, seen, seen > LTZ_BUCKET_TOKEN_NS ? seen - LTZ_BUCKET_TOKEN_NS : 0));
}
