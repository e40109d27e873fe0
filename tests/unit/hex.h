/* SPDX-License-Identifier: MIT */
/* hex.h - published vectors as they are printed: hexadecimal text. */
#ifndef LTZ_TEST_HEX_H
#define LTZ_TEST_HEX_H

#include <stdio.h>
#include <string.h>

#include "guard/bytes.h"
#include "harness.h"

#define HEX_BYTES_MAX 1024

/* Some bytes by value. */
struct hex {
	uint8_t bytes[HEX_BYTES_MAX];
	size_t size;
};

static inline struct hex unhex(const char *text)
{
	struct hex hex = { .size = strlen(text) / 2 };

	ASSERT_TRUE(strlen(text) % 2 == 0 && hex.size <= HEX_BYTES_MAX);
	for (size_t i = 0; i < hex.size; i++)
		ASSERT_EQ_INT(sscanf(text + 2 * i, "%2hhx", &hex.bytes[i]), 1);
	return hex;
}

static inline struct ltz_bytes bytes_of(const struct hex *hex)
{
	return (struct ltz_bytes){ hex->bytes, hex->size };
}

/* The bytes of a text, without its NUL. */
static inline struct ltz_bytes text_bytes(const char *text)
{
	return (struct ltz_bytes){ text, strlen(text) };
}

static inline void expect_hex(struct test_place at, const void *bytes, size_t size, const char *wanted)
{
	const uint8_t *from = bytes;
	char text[2 * HEX_BYTES_MAX + 1] = "";

	for (size_t i = 0; i < size && i < HEX_BYTES_MAX; i++)
		snprintf(text + 2 * i, 3, "%02x", from[i]);
	test_check_str(at, text, wanted, "bytes", "vector");
}

#define EXPECT_HEX(bytes, size, wanted) expect_hex(TEST_AT(TEST_EXPECT), (bytes), (size), (wanted))

#endif
