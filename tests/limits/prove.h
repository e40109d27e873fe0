/* SPDX-License-Identifier: MIT */
/*
 * prove.h - what the programs of tests/limits share.
 *
 * Each program proves one promise about limits or memory. It prints a table,
 * a row for each thing measured (what, measured, bound, met), and closes with
 * `N passed, N failed`; the exit status is 0 if none failed.
 *
 *	PROGRAM [-q] [-r SEED]
 *	-q  small sizes, for `make test`
 *	-r  the seed, which is printed first
 *
 * A row is judged by what its bound is about:
 *	SOUND  must hold on any machine under any load: counts, errors, memory
 *	       that comes back (with a deadline that no sound pool needs)
 *	SPEED  depends on the machine: with -q it is shown, not judged
 *
 * Processes are made before the first pool is opened; whoever is to be killed
 * is a child of the program, and all of them die with it.
 */
#ifndef LTZ_TEST_PROVE_H
#define LTZ_TEST_PROVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <latzero.h>

#define KIB ((uint64_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define MS_NS     ((uint64_t)1000000)
#define SECOND_NS (1000 * MS_NS)
/* For what must happen and takes at most seconds on a machine that is free. */
#define PATIENCE_NS (60 * SECOND_NS)

/* ---- the program and its table ------------------------------------------------------ */

void prove_begin(int argc, char **argv, const char *title);
bool prove_quick(void);
/* Prints the counts; returns the exit status. */
int prove_end(void);

enum judged { SOUND, SPEED };

void row_at_most(enum judged judged, double measured, double bound, const char *unit, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void row_at_least(enum judged judged, double measured, double bound, const char *unit, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void row_equal(uint64_t measured, uint64_t expected, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* A figure without a bound. */
void row_shown(double measured, const char *unit, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What cannot be measured here, and why. */
void row_skipped(const char *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends the program as failed unless the condition holds: without it there is nothing to measure. */
#define NEED(condition) prove_need((condition), #condition, __FILE__, __LINE__)
/* The same for a result: 0 or an outcome; prints what a failure means. */
#define NEED_OK(call) prove_need_ok((call), #call, __FILE__, __LINE__)
void prove_need(bool holds, const char *text, const char *file, int line);
int prove_need_ok(int result, const char *text, const char *file, int line);

/* ---- time and chance ------------------------------------------------------------------ */

uint64_t now_ns(void); /* CLOCK_BOOTTIME, as the pool's */
void pause_ns(uint64_t ns);
uint64_t random_next(void);               /* from the seed, a sequence of its own in each process */
uint64_t random_below(uint64_t limit);

/* Until condition holds or the deadline is over; evaluates to whether it holds. */
#define WAIT_UNTIL(condition, deadline_ns)                              \
	({                                                              \
		uint64_t wait_end_ns = now_ns() + (deadline_ns);        \
		bool wait_holds = (condition);                          \
		while (!wait_holds && now_ns() < wait_end_ns) {         \
			pause_ns(MS_NS / 2);                            \
			wait_holds = (condition);                       \
		}                                                       \
		wait_holds;                                             \
	})

/* How long something took, many times: 32 steps to a doubling. May lie in shared memory. */
#define SPREAD_STEPS 32
struct spread {
	uint64_t count, max_ns, bucket[64 * SPREAD_STEPS];
};
void spread_note(struct spread *spread, uint64_t ns);
double spread_us(const struct spread *spread, double quantile); /* 0.5 the median; 1 the maximum */

/* ---- processes ---------------------------------------------------------------------------- */

/* Zeroed memory that this process and its children share. */
void *share(size_t size);
/* Runs body(context) in a child, which then exits with 0. It is killed when the program ends. */
pid_t spawn(void (*body)(void *context), void *context);
/* SIGKILLs the child, waits until the kernel has let go of what it held; returns when that was. */
uint64_t slay(pid_t child);
/* Waits for the child's end; false: not with exit status 0. */
bool ended_well(pid_t child);
uint64_t cpu_ns(pid_t pid); /* what it has used; 0: this process */
void pin_to_cpu(unsigned cpu);
unsigned cpus(void);

/*
 * A meeting point of a program with any number of its children, made before
 * them: opened once, by the program.
 */
struct gate {
	int ends[2];
};
void gate_init(struct gate *gate);
void gate_open(struct gate *gate);
void gate_wait(struct gate *gate);

/* ---- pools ------------------------------------------------------------------------------------ */

ltz_pool *pool_create(uint64_t max_size_bytes); /* the program's one pool */
ltz_pool *pool_connect(void);

/* The key is the number. */
int put(ltz_pool *pool, uint64_t number, const void *data, uint64_t size);
int put_for(ltz_pool *pool, uint64_t number, const void *data, uint64_t size, uint64_t ttl_ms);
int fetch(ltz_pool *pool, uint64_t number, void *buf, size_t capacity, ltz_item *item);
int drop(ltz_pool *pool, uint64_t number);
uint64_t key_count(ltz_pool *pool);
struct ltz_stats pool_stats(ltz_pool *pool);
unsigned member_count(ltz_pool *pool);
/* Broken invariants; the first ones are printed. */
uint64_t findings(ltz_pool *pool);

/* ---- memory as the kernel counts it -------------------------------------------------------------- */

int pool_memfd(ltz_pool *pool); /* the caller's */
uint64_t backed_bytes(ltz_pool *pool);                     /* of the pool's memfd                        */
uint64_t status_bytes(pid_t pid, const char *field);       /* of /proc/PID/status; pid 0: this process   */
uint64_t private_bytes(void);                              /* of this process, shared with nobody        */

#endif
