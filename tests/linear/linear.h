/* SPDX-License-Identifier: MIT */
/* linear.h - what the conductor and its processes share. See linear.c. */
#ifndef LTZ_TEST_LINEAR_H
#define LTZ_TEST_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "history.h"

#define POOL_NAME "linear"
#define WORKERS   6  /* processes with a history                          */
#define CHURNERS  2  /* processes that make the index grow and shrink     */
#define SLOTS     (WORKERS + CHURNERS)
#define HOT_KEYS  8
#define CLIENTS   96 /* processes of one round, the killed ones included  */
#define LOG_OPS   16384

struct log {
	uint64_t count; /* operations begun */
	struct history_op op[LOG_OPS];
};

/* One MAP_SHARED memory: what a process wrote here before its death stays. */
struct shared {
	uint64_t ticket __attribute__((aligned(128)));
	uint64_t limit __attribute__((aligned(128))); /* the round is over at this ticket */
	uint64_t beat_ns;  /* the conductor lives                            */
	uint64_t failures; /* of any process; each printed its line          */
	uint64_t resizes;  /* the keeper's last look                         */
	struct log log[CLIENTS];
};

struct site {
	struct shared *shared;
	const char *dir;
	uint64_t seed;
};

uint64_t now_ns(void);
uint64_t mix(uint64_t x);
void fail(struct shared *shared, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A process with a history: joins, works until the limit, leaves. Returns its exit status. */
int run_worker(const struct site *site, unsigned client);

/* Puts many keys in and takes them out again, without a history. */
int run_churner(const struct site *site, unsigned client);

/*
 * Makes the pool and keeps it while the others come and go. Each byte from the
 * descriptor `orders` ends a round: it removes the hot keys, checks the pool,
 * and answers one byte to `answers`. Leaves at the end of its orders.
 */
int run_keeper(const struct site *site, int orders, int answers);

#endif
