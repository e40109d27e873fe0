/* SPDX-License-Identifier: MIT */
/* join.h - from a name to a handle: the two ways into a pool. */
#ifndef LTZ_POOL_JOIN_H
#define LTZ_POOL_JOIN_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/pool.h"
#include "pool/rendezvous.h"

struct ltz_wish {
	const char *name;
	uint64_t max_size_bytes; /* create only */
	uint32_t pool_flags;     /* create only */
	bool readonly;           /* connect only */
	struct ltz_password password; /* the caller's */
	uint64_t deadline_ns;    /* CLOCK_BOOTTIME; moved on by the time that Argon2id takes */
};

/* Both: place is open, and stays so. Results as ltz_create and ltz_connect. */
int ltz__join_create(struct ltz_place *place, struct ltz_wish *wish, ltz_pool **out);
int ltz__join_connect(struct ltz_place *place, struct ltz_wish *wish, ltz_pool **out);

/*
 * Asks to be let in, and proves the password if that is wanted. 0: *answer has
 * the descriptors, place->keys the keys if the pool is locked. -ESTALE: others
 * came between, ask again. Others as ltz__place_ask and ltz__place_prove.
 */
int ltz__join_ask(struct ltz_place *place, struct ltz_wish *wish, struct ltz_answer *answer);

/* Checks two received descriptors. -EPROTO; -EACCES: another user's. */
int ltz__join_verify(int memfd, int listener);

#endif
