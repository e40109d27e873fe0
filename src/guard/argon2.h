/* SPDX-License-Identifier: MIT */
/*
 * argon2.h - Argon2id version 1.3 (RFC 9106): a key from a password, at a
 * price that makes guessing dear.
 *
 * libargon2 does the work; it is loaded at first use. It takes memory_kib KiB
 * from malloc, wipes and frees them, and runs in the calling thread only,
 * whatever the number of lanes: no thread is started. Thread-safe. A fork in
 * another thread meanwhile costs a copy of that memory.
 */
#ifndef LTZ_GUARD_ARGON2_H
#define LTZ_GUARD_ARGON2_H

#include "guard/bytes.h"

struct ltz_argon2_cost {
	uint32_t memory_kib; /* m */
	uint32_t passes;     /* t */
	uint32_t lanes;      /* p */
};

/* For a new pool: the second choice of RFC 9106, section 4, with one lane instead of four. */
#define LTZ_ARGON2_DEFAULT ((struct ltz_argon2_cost){ .memory_kib = 64 * 1024, .passes = 3, .lanes = 1 })

/*
 * What a joiner accepts of a listener. Less than the floor would make the
 * password cheap to guess from what is then sent; more than the ceiling is
 * an attack on the joiner's memory or time.
 */
#define LTZ_ARGON2_MEMORY_KIB_MIN (19u * 1024)
#define LTZ_ARGON2_MEMORY_KIB_MAX (1024u * 1024)
#define LTZ_ARGON2_PASSES_MIN     2u
#define LTZ_ARGON2_PASSES_MAX     16u
#define LTZ_ARGON2_LANES_MAX      16u

#define LTZ_ARGON2_SALT_BYTES_MIN 8u /* RFC 9106, section 3.1 */
#define LTZ_ARGON2_OUT_BYTES_MIN  4u
#define LTZ_ARGON2_OUT_BYTES_MAX  1024u

struct ltz_argon2_input {
	struct ltz_bytes password;   /* P; may be empty. The caller wipes it. */
	struct ltz_bytes salt;       /* S */
	struct ltz_bytes secret;     /* K; may be empty */
	struct ltz_bytes associated; /* X: what else the key is bound to; may be empty */
};

/* 0, or -ERANGE: below the floor or above the ceiling. */
int ltz__argon2_check(const struct ltz_argon2_cost *cost);

/*
 * Fills out. -ERANGE: cost is out of bounds; -EINVAL: salt or out is too short
 * or anything too long; -ENOMEM; -ENOPKG: no libargon2. On failure out is zeroed.
 */
int ltz__argon2id(const struct ltz_argon2_cost *cost, const struct ltz_argon2_input *input, struct ltz_room out);

/* The same for any cost that RFC 9106 allows: its test vector is cheaper than the floor. */
int ltz__argon2id_at_any_cost(const struct ltz_argon2_cost *cost, const struct ltz_argon2_input *input,
                              struct ltz_room out);

#endif
