/* SPDX-License-Identifier: MIT */
/*
 * shake.h - SHAKE128 (FIPS 202), bytes in and bytes out as they come: what the
 * XAES-256-GCM vectors draw their inputs from and hash their results with.
 * (OpenSSL has it as a stream from 3.3 on only.) For little-endian machines.
 */
#ifndef LTZ_TEST_SHAKE_H
#define LTZ_TEST_SHAKE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SHAKE128_RATE 168

struct shake {
	uint64_t lanes[25];
	size_t at; /* within the rate */
};

static inline uint64_t shake_rotate(uint64_t x, unsigned by)
{
	return x << (by & 63) | x >> (-by & 63);
}

/* Rotation, target and round constants, worked out from their definitions when first needed. */
struct shake_tables {
	uint8_t by[25], to[25];
	uint64_t round[24];
	int ready;
};

static inline void shake_prepare(struct shake_tables *tables)
{
	uint8_t lfsr = 1;

	for (int t = 0, x = 1, y = 0; t < 24; t++) {
		int next = (2 * x + 3 * y) % 5;

		tables->by[x + 5 * y] = (uint8_t)((t + 1) * (t + 2) / 2 % 64);
		tables->to[x + 5 * y] = (uint8_t)(y + 5 * next);
		x = y;
		y = next;
	}
	for (int r = 0; r < 24; r++)
		for (int j = 0; j < 7; j++) {
			tables->round[r] ^= (uint64_t)(lfsr & 1) << ((1u << j) - 1);
			lfsr = (uint8_t)(lfsr << 1 ^ (lfsr & 0x80 ? 0x71 : 0));
		}
	tables->ready = 1;
}

static inline void shake_permute(uint64_t a[25])
{
	static struct shake_tables tables;

	if (!tables.ready)
		shake_prepare(&tables);
	for (int round = 0; round < 24; round++) {
		uint64_t c[5], d[5], b[25];

		for (int x = 0; x < 5; x++) /* theta */
			c[x] = a[x] ^ a[x + 5] ^ a[x + 10] ^ a[x + 15] ^ a[x + 20];
		for (int x = 0; x < 5; x++)
			d[x] = c[(x + 4) % 5] ^ shake_rotate(c[(x + 1) % 5], 1);
		for (int y = 0; y < 25; y += 5) /* and rho, pi */
			for (int x = 0; x < 5; x++)
				b[tables.to[y + x]] = shake_rotate(a[y + x] ^ d[x], tables.by[y + x]);
		for (int y = 0; y < 25; y += 5) /* chi */
			for (int x = 0; x < 5; x++)
				a[y + x] = b[y + x] ^ (~b[y + (x + 1) % 5] & b[y + (x + 2) % 5]);
		a[0] ^= tables.round[round]; /* iota */
	}
}

static inline void shake_absorb(struct shake *shake, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		((uint8_t *)shake->lanes)[shake->at++] ^= ((const uint8_t *)bytes)[i];
		if (shake->at == SHAKE128_RATE) {
			shake_permute(shake->lanes);
			shake->at = 0;
		}
	}
}

/* No more to absorb: from now on there are bytes to be had. */
static inline void shake_finish(struct shake *shake)
{
	((uint8_t *)shake->lanes)[shake->at] ^= 0x1f;
	((uint8_t *)shake->lanes)[SHAKE128_RATE - 1] ^= 0x80;
	shake_permute(shake->lanes);
	shake->at = 0;
}

static inline void shake_squeeze(struct shake *shake, void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (shake->at == SHAKE128_RATE) {
			shake_permute(shake->lanes);
			shake->at = 0;
		}
		((uint8_t *)bytes)[i] = ((uint8_t *)shake->lanes)[shake->at++];
	}
}

#endif
