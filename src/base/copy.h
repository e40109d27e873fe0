/* SPDX-License-Identifier: MIT */
/*
 * copy.h - the only place where memory that others may be writing is copied.
 *
 * A copy out of the pool may be torn; its user checks the record's version and
 * index word afterwards and throws it away if they changed. The compiler is
 * kept from using the source twice by a barrier on both sides. Under
 * ThreadSanitizer the same copies are made of relaxed atomic accesses, so that
 * it can tell them from real races.
 */
#ifndef LTZ_BASE_COPY_H
#define LTZ_BASE_COPY_H

#include "base/atomic.h"

#include <string.h>

#if LTZ_TSAN
LTZ_INLINE void copy_bytes_atomic(uint8_t *to, const uint8_t *from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		__atomic_store_n(to + i, __atomic_load_n(from + i, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
}
#endif

/* Below this size a copy is a few moves in line; above, the C library's. */
#define COPY_INLINE_MAX 64

/* 0..64 bytes by overlapping moves: no loop, no call. */
LTZ_INLINE void copy_small(uint8_t *to, const uint8_t *from, size_t size)
{
	if (size >= 16) {
		typedef struct { uint64_t w[2]; } chunk;
		chunk c, d;
		if (size > 32) {
			chunk e, f;
			memcpy(&c, from, 16);
			memcpy(&d, from + 16, 16);
			memcpy(&e, from + size - 32, 16);
			memcpy(&f, from + size - 16, 16);
			memcpy(to, &c, 16);
			memcpy(to + 16, &d, 16);
			memcpy(to + size - 32, &e, 16);
			memcpy(to + size - 16, &f, 16);
			return;
		}
		memcpy(&c, from, 16);
		memcpy(&d, from + size - 16, 16);
		memcpy(to, &c, 16);
		memcpy(to + size - 16, &d, 16);
	} else if (size >= 8) {
		uint64_t c, d;
		memcpy(&c, from, 8);
		memcpy(&d, from + size - 8, 8);
		memcpy(to, &c, 8);
		memcpy(to + size - 8, &d, 8);
	} else if (size >= 4) {
		uint32_t c, d;
		memcpy(&c, from, 4);
		memcpy(&d, from + size - 4, 4);
		memcpy(to, &c, 4);
		memcpy(to + size - 4, &d, 4);
	} else if (size) {
		uint8_t c = from[0], d = from[size / 2], e = from[size - 1];
		to[0] = c;
		to[size / 2] = d;
		to[size - 1] = e;
	}
}

LTZ_INLINE void copy_bytes(void *to, const void *from, size_t size)
{
#if LTZ_TSAN
	copy_bytes_atomic(to, from, size);
#else
	fence_compiler();
	if (size <= COPY_INLINE_MAX)
		copy_small(to, from, size);
	else
		memcpy(to, from, size);
	fence_compiler();
#endif
}

/* Pool -> private. The caller validates afterwards, past fence_acquire(). */
LTZ_INLINE void copy_from_pool(void *to, const void *from, size_t size) { copy_bytes(to, from, size); }
/* Private -> a block of the pool that is not yet published. */
LTZ_INLINE void copy_to_pool(void *to, const void *from, size_t size) { copy_bytes(to, from, size); }

/*
 * Zeros a part of the pool that nobody uses; late readers may still look at it.
 * Release fence: who reads a zero finds, past an acquire, that what was there has
 * left the index. pairs with: store/read.c:try_slots. size is a multiple of 8.
 */
LTZ_INLINE void zero_in_pool(void *to, size_t size)
{
	fence_release();
#if LTZ_TSAN
	for (size_t i = 0; i < size / 8; i++)
		store_relaxed((uint64_t *)to + i, 0);
#else
	fence_compiler();
	memset(to, 0, size);
	fence_compiler();
#endif
}

/* Are the pool's bytes these? Read once each. */
LTZ_INLINE bool equal_in_pool(const void *pool, const void *mine, size_t size)
{
	const uint8_t *p = pool, *m = mine;
#if LTZ_TSAN
	for (size_t i = 0; i < size; i++)
		if (__atomic_load_n(p + i, __ATOMIC_RELAXED) != m[i])
			return false;
	return true;
#else
	fence_compiler();
	if (size > COPY_INLINE_MAX)
		return memcmp(p, m, size) == 0;
	if (size >= 8) {
		uint64_t a, b, different;
		memcpy(&a, p, 8);
		memcpy(&b, m, 8);
		different = a ^ b;
		for (size_t i = 8; i + 8 < size; i += 8) {
			memcpy(&a, p + i, 8);
			memcpy(&b, m + i, 8);
			different |= a ^ b;
		}
		memcpy(&a, p + size - 8, 8);
		memcpy(&b, m + size - 8, 8);
		return (different | (a ^ b)) == 0;
	}
	if (size >= 4) {
		uint32_t a, b, c, d;
		memcpy(&a, p, 4);
		memcpy(&b, m, 4);
		memcpy(&c, p + size - 4, 4);
		memcpy(&d, m + size - 4, 4);
		return ((a ^ b) | (c ^ d)) == 0;
	}
	if (!size)
		return true;
	return p[0] == m[0] && p[size / 2] == m[size / 2] && p[size - 1] == m[size - 1];
#endif
}

#endif
