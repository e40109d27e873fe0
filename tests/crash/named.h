/* SPDX-License-Identifier: MIT */
/*
 * named.h - victims that die at a crash point (sys/fault.h), and the account
 * of all points of this program: which are on somebody's way, at which
 * somebody died. A point is a number: its place in the list.
 */
#ifndef LTZ_TEST_NAMED_H
#define LTZ_TEST_NAMED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "victims.h"

#define NAMED_MOST 256u
#define NOWHERE    UINT32_MAX

/* In memory shared by all processes of the program, tests included. */
struct named_account {
	uint64_t hits[NAMED_MOST];  /* by those who did their work to its end  */
	uint64_t kills[NAMED_MOST];
};
extern struct named_account *named_account;

uint32_t named_points(void);
const char *named_name(uint32_t point);
uint32_t named_find(const char *name); /* NOWHERE: there is none */
uint64_t named_hits(const char *name); /* by this process until now */

/* At a point's k-th hit between crash_begin() and crash_end(). */
struct death {
	uint32_t point;
	uint64_t k;
};

/*
 * Forks a victim that runs body(context). hits, if not NULL, in shared memory:
 * crash_end() adds those of each point, also in children of the victim.
 */
pid_t named_start(void (*body)(void *context), void *context, struct death death, uint64_t *hits);

enum fate { DIED, ENDED, BROKEN };
/* DIED: by its death, noted. ENDED: with status 0. BROKEN: otherwise. */
enum fate named_wait(pid_t victim, struct death death);
/* Both. */
enum fate named_run(void (*body)(void *context), void *context, struct death death, uint64_t *hits);

/* Adds a rehearsal's hits to the account. */
void named_note(const uint64_t *hits);

/* Memory that children share, zeroed; for ever. */
void *shared_memory(uint64_t bytes);

/* named_pool.c: deaths at all points of pools with a name. Failures are the test's that calls. */
void named_pools(void);

#endif
