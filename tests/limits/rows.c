/* SPDX-License-Identifier: MIT */
/*
 * rows.c - one member more than a pool can have.
 *
 * The rows are filled by a few processes that each attach the memory many
 * times, which makes as many members: each has a row, a lock and lanes of its
 * own. Whoever comes then is told so in words, nothing is broken by it, and as
 * soon as one leaves there is room again.
 */
#include "prove.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shm/format.h"
#include "store/map.h"

#define CROWDS    8u
#define ALTOGETHER (SHM_ROWS - 1) /* the program itself is a member */

static struct board {
	uint64_t joined, refused;
	uint64_t result; /* of the one who came too late, negated */
	uint64_t full_ns[2];
	char detail[400];
} *board;

static struct gate join_gate, late_gate, leave_gate, again_gate;

/* ---- the crowds ------------------------------------------------------------------- */

/* A member as the pool sees it; nobody answers joiners for it or keeps house. */
static bool attach_once(int memfd)
{
	const struct ltz_mem_options options = { 0 };
	struct ltz_mem *mem;
	int result = ltz__map_attach(memfd, &options, &mem);

	NEED(result == 0 || result == -EBUSY);
	return result == 0;
}

static void be_crowd(void *context)
{
	struct ltz_pool *pool;
	int memfd;

	(void)context;
	gate_wait(&join_gate);
	pool = pool_connect();
	memfd = pool_memfd(pool);
	__atomic_fetch_add(&board->joined, 1, __ATOMIC_ACQ_REL);
	for (unsigned i = 1; i < ALTOGETHER / CROWDS; i++) {
		NEED(attach_once(memfd));
		__atomic_fetch_add(&board->joined, 1, __ATOMIC_ACQ_REL);
	}
	gate_wait(&leave_gate); /* by dying */
}

/* ---- who comes when it is full, and again when it is not ------------------------------- */

static void be_late(void *context)
{
	const struct ltz_open_options options = { .timeout_ms = 60000 };
	ltz_pool *pool;
	int result;

	(void)context;
	gate_wait(&late_gate);
	board->full_ns[0] = now_ns();
	result = ltz_connect("limits", &options, &pool);
	board->full_ns[1] = now_ns();
	snprintf(board->detail, sizeof board->detail, "%s", ltz_error_detail());
	__atomic_store_n(&board->result, (uint64_t)-result, __ATOMIC_RELEASE);
	__atomic_store_n(&board->refused, 1, __ATOMIC_RELEASE);
	gate_wait(&again_gate);
	NEED_OK(ltz_connect("limits", &options, &pool));
	NEED_OK(put(pool, 1, "late", 4));
	ltz_close(pool);
}

int main(int argc, char **argv)
{
	pid_t crowd[CROWDS], late;
	unsigned rest;
	ltz_pool *pool;

	prove_begin(argc, argv, "rows: one member more than there can be");
	board = share(sizeof *board);
	gate_init(&join_gate);
	gate_init(&late_gate);
	gate_init(&leave_gate);
	gate_init(&again_gate);
	for (unsigned i = 0; i < CROWDS; i++)
		crowd[i] = spawn(be_crowd, NULL);
	late = spawn(be_late, NULL);
	pool = pool_create(64 * MIB);
	gate_open(&join_gate);
	NEED(WAIT_UNTIL(__atomic_load_n(&board->joined, __ATOMIC_ACQUIRE) == ALTOGETHER / CROWDS * CROWDS, 2 * PATIENCE_NS));
	rest = SHM_ROWS - 1 - ALTOGETHER / CROWDS * CROWDS;
	int memfd = pool_memfd(pool);
	for (unsigned i = 0; i < rest; i++)
		NEED(attach_once(memfd));
	row_equal(member_count(pool), SHM_ROWS, "members");
	gate_open(&late_gate);
	NEED(WAIT_UNTIL(__atomic_load_n(&board->refused, __ATOMIC_ACQUIRE), PATIENCE_NS));
	row_equal(board->result, EBUSY, "the error of one more (EBUSY)");
	row_equal(strstr(board->detail, "4096 members") != NULL, 1, "says \"%s\"", board->detail);
	row_shown((double)(board->full_ns[1] - board->full_ns[0]) / 1e6, "ms", "it is told after");
	row_equal(put(pool, 7, "works", 5), 0, "the result of a set in the full house");
	for (unsigned i = 0; i < CROWDS; i++)
		slay(crowd[i]);
	NEED(WAIT_UNTIL(pool_stats(pool).members == 1 + rest, PATIENCE_NS));
	gate_open(&again_gate);
	row_equal(!ended_well(late), 0, "members that failed when there was room again");
	row_equal(key_count(pool), 2, "keys");
	row_equal(findings(pool), 0, "findings of check");
	ltz_close(pool);
	return prove_end();
}
