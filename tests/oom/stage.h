/* SPDX-License-Identifier: MIT */
/*
 * stage.h - a pool of one member for one piece of work: what is in it before,
 * what must be in it afterwards, and that it can be used, left and emptied.
 *
 * The pool is new for each n: so the work finds no lane open and no memory at
 * hand that an earlier try has made. Unless a case wants it, the service
 * thread rests: ltz__tick is called by hand, and what the work meets does not
 * depend on it.
 */
#ifndef LTZ_TEST_OOM_STAGE_H
#define LTZ_TEST_OOM_STAGE_H

#include "../proc/proc.h"
#include "pool/pool.h"
#include "shm/attachment.h"
#include "sweep.h"

/* What a key has. */
struct content {
	enum { ABSENT, NUMBER, BYTES } kind;
	int64_t number; /* or what each byte is */
	uint64_t size;  /* BYTES                */
	bool mortal;    /* lives for an hour    */
};
#define A_NUMBER(n) ((struct content){ NUMBER, (n), 8, false })
#define SOME_BYTES(n) ((struct content){ BYTES, 'x', (n), false })

#define HOUR_MS 3600000u
#define KIB UINT64_C(1024)
#define MIB (UINT64_C(1) << 20)
#define BYTES_MAX (4 * MIB)

struct stage;

struct stage_case {
	const char *function, *state;
	int (*act)(struct stage *stage);
	int expected;
	/* Before it: fills the pool. NULL: it stays empty, with no lane open. */
	void (*prepare)(struct stage *stage);
	/* Key "k" before, and afterwards if the result is 0. */
	struct content old, new;
	/* Afterwards: what this case alone knows of. May be NULL. */
	void (*look)(struct stage *stage, int result);
	unsigned size_mib; /* of the pool; 0: 8 */
	unsigned most;         /* n goes up to it; 0: up to the last call */
	const uint64_t *calls; /* where the act has counted them, if not here */
};

struct stage {
	const struct stage_case *now;
	const char *dir;
	ltz_pool *pool;
	struct ltz_mem *mem;
	bool served;      /* the service thread works beside the act     */
	uint64_t others;  /* keys 0 .. others - 1, each with its number  */
	uint64_t blobs;   /* keys B0 .. B(blobs - 1), of blob_size bytes */
	uint64_t blob_size;
	uint64_t pages;   /* of the emptied pool; 0: not known yet       */
	struct role *role; /* another process, or NULL                   */
};

/* Sweeps each case of a table in that scope. */
void stage_sweep(const struct stage_case *cases, size_t count, enum ltz_fault_scope scope);
#define STAGE_SWEEP(cases, scope) stage_sweep((cases), sizeof(cases) / sizeof((cases)[0]), (scope))

/* The service thread rests, or works again. */
void stage_rest(void);
void stage_work(void);

/* ---- for prepare, act and look ------------------------------------------------------- */

int content_set(ltz_pool *pool, const char *key, struct content content, const struct ltz_set_options *options);
bool content_is(ltz_pool *pool, const char *key, struct content content);
int other_set(ltz_pool *pool, uint64_t number);
int blob_set(struct stage *stage, uint64_t number, uint64_t size);
int blob_delete(struct stage *stage, uint64_t number);
/* No granule is FREE: the next extent needs memory from the system. */
void none_free(struct stage *stage);

#endif
