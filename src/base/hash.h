/* SPDX-License-Identifier: MIT */
/*
 * hash.h - the keyed hash that places a key in the index: XXH3, 64 bits,
 * seeded by the pool's random seed and the key's type, so that keys of
 * different types fall apart and collisions cannot be prepared in advance.
 */
#ifndef LTZ_BASE_HASH_H
#define LTZ_BASE_HASH_H

#include "base/compiler.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

LTZ_INLINE uint64_t hash_key(uint64_t seed, unsigned type, const void *data, size_t size)
{
	return XXH3_64bits_withSeed(data, size, seed + type * UINT64_C(0x9E3779B97F4A7C15));
}

#endif
