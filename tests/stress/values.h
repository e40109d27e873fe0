/* SPDX-License-Identifier: MIT */
/*
 * values.h - values that say what they are: of which key, by whom, the how
 * manieth, how long. Every byte follows from that, so a torn value, or one
 * that belongs elsewhere, is noticed.
 */
#ifndef LTZ_TEST_VALUES_H
#define LTZ_TEST_VALUES_H

#include <string.h>

#include "seconds.h"

struct value_head {
	uint64_t key, seq;
	uint32_t writer, size; /* size: of all */
};
#define VALUE_LEAST ((uint32_t)sizeof(struct value_head))

static inline uint64_t value_seed(const struct value_head *head)
{
	return (head->key << 40 ^ head->seq) * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)head->writer << 32 ^ head->size;
}

/* bytes holds head.size, which is at least VALUE_LEAST. */
static inline void value_make(uint8_t *bytes, struct value_head head)
{
	uint64_t state = value_seed(&head);

	memcpy(bytes, &head, sizeof(head));
	for (uint32_t i = VALUE_LEAST; i < head.size; i += 8) {
		uint64_t word = next_random(&state);

		memcpy(bytes + i, &word, head.size - i < 8 ? head.size - i : 8);
	}
}

/* NULL, or what is wrong with it. */
static inline const char *value_judge(const uint8_t *bytes, uint64_t size, uint64_t key, struct value_head *head)
{
	uint64_t state;

	if (size < VALUE_LEAST)
		return "too short to be a value";
	memcpy(head, bytes, sizeof(*head));
	if (head->key != key)
		return "another key's value";
	if (head->size != size)
		return "not of the size it says";
	state = value_seed(head);
	for (uint32_t i = VALUE_LEAST; i < size; i += 8) {
		uint64_t word = next_random(&state);

		if (memcmp(bytes + i, &word, size - i < 8 ? size - i : 8))
			return "torn";
	}
	return NULL;
}

#endif
