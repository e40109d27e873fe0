/* SPDX-License-Identifier: MIT */
/* points.h - the points of an operation, shared out to workers. */
#ifndef LTZ_TEST_POINTS_H
#define LTZ_TEST_POINTS_H

#include "scene.h"
#include "tracing.h"

#define WORKERS_MOST  8u
#define FAILURES_KEPT 400u

struct failure {
	uint32_t step, inside;
	char why[200];
};

/* In memory shared with the workers. */
struct board {
	uint32_t next, tried, failed, lost, noted;
	uint32_t most_steps;     /* stop: of others beside a stopped victim */
	uint32_t unhindered;     /* stop: of the same without one           */
	uint64_t pages;          /* of a run without a kill                 */
	uint64_t deadline_ns;
	struct told told[2 * WORKERS_MOST]; /* two a worker */
	struct failure now[WORKERS_MOST]; /* where a worker is */
	struct failure failure[FAILURES_KEPT];
};

struct point {
	uint32_t step, inside;
};

struct course {
	const struct operation *op;
	struct trace trace;
	struct point *point;
	uint32_t points;
	struct board *board;
	unsigned worker;
};

enum mode { KILL, STOP };

/* One point; false: why says what is wrong. *lost: the victim was not brought there. */
bool point_kill(struct course *course, struct point point, bool *lost, char *why, size_t size);
bool point_stop(struct course *course, struct point point, bool *lost, char *why, size_t size);
/* The work without a kill: sets board->pages and, if wanted, unhindered. */
bool point_none(struct course *course, bool count, char *why, size_t size);

#endif
