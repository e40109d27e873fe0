/* SPDX-License-Identifier: MIT */
/*
 * sweep.h - the n-th call of a piece of work fails, for n = 1, 2, 3 ... until
 * the work does not make so many.
 *
 *     before ──► [ act, with its n-th system call or allocation failing ] ──► after
 *
 * Each n is tried with several errors, and with a shortage that begins at the
 * n-th call and lasts. The sweep itself looks at
 *   - the result: as if nothing had failed, or an error that latzero.h names
 *     for the function (results.c); after a mere interruption the former
 *   - what `after` leaves behind: no descriptor, no thread, no mapping of a
 *     pool, no piece of private memory
 * `after` looks at the rest: what is in the pool, and whether it can be used.
 *
 * To add a function: a row in results.c (which mirrors latzero.h's words), and
 * sweeps of it in one of the tables. A public function without is a failure.
 */
#ifndef LTZ_TEST_OOM_SWEEP_H
#define LTZ_TEST_OOM_SWEEP_H

#include <errno.h>
#include <latzero.h>

#include "harness.h"
#include "sys/fault.h"

struct sweep {
	const char *function; /* as in latzero.h; or one of housekeeping's    */
	const char *state;    /* for people                                   */
	int expected;         /* the result when nothing fails                */
	void (*before)(void *scene);
	int (*act)(void *scene);
	void (*after)(void *scene, int result);
	void *scene;
	enum ltz_fault_scope scope;
	unsigned most;        /* n goes up to it; 0: up to the last call      */
	const uint64_t *calls; /* NULL; or where a child's calls are counted  */
};

/* Goes over all n and errors; ends early at the first thing that is wrong. */
void sweep_run(const struct sweep *sweep);

/* Something is wrong: says so, and where the sweep is. */
__attribute__((format(printf, 1, 2))) void sweep_wrong(const char *format, ...);
void sweep_expect(const char *what, int64_t is, int64_t wanted);
bool sweep_failed(void);
/* Now and then true: for what is too dear for every n. */
bool sweep_samples(void);
/* Prints how many failures each function has met in this test. */
void sweep_report(void);

/* ---- results.c ------------------------------------------------------------------- */

/* May the function give this result after a call of its failed with this error? */
bool result_is_documented(const char *function, int result, int error);

#endif
