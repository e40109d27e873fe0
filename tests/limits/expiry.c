/* SPDX-License-Identifier: MIT */
/*
 * expiry.c - a million keys that expire while nobody touches them.
 *
 *   together   all at one moment: when is the last one gone, when its memory?
 *   in turn    one after the other over some seconds: how long after its
 *              expiry is a key still there?
 *
 * The program only counts keys, which reads no key, and asks the kernel for the
 * memory file's size. Two members: the writer, and one that never calls
 * anything, so that whoever is janitor, the other's memory is given back too.
 */
#include "prove.h"

#include <stdio.h>
#include <string.h>

#define VALUE_BYTES 100u
#define LATE_MAX_NS SECOND_NS

static uint64_t keys;

static void be_bystander(void *context)
{
	struct gate *gates = context;
	ltz_pool *pool;

	gate_wait(&gates[0]);
	pool = pool_connect();
	gate_wait(&gates[1]);
	ltz_close(pool);
}

/* The keys expire within `over_ns` from expires_ns on. */
static void load(ltz_pool *pool, uint64_t expires_ns, uint64_t over_ns)
{
	char value[VALUE_BYTES];

	memset(value, 'v', sizeof value);
	for (uint64_t key = 0; key < keys; key++) {
		uint64_t at_ns = expires_ns + over_ns / 1000 * key / (keys / 1000), now = now_ns();

		NEED(at_ns > now + MS_NS);
		NEED_OK(put_for(pool, key, value, sizeof value, (at_ns - now) / MS_NS));
	}
}

static double since_s(uint64_t then_ns) { return ((double)now_ns() - (double)then_ns) / 1e9; }

/* Nothing wakes us: the pool is asked for its count now and then. */
static void expire_together(ltz_pool *pool)
{
	uint64_t floor = backed_bytes(pool), expires_ns = now_ns() + (prove_quick() ? 1 : 8) * SECOND_NS, peak;

	load(pool, expires_ns, 0);
	row_equal(key_count(pool), keys, "keys that all expire at one moment");
	peak = backed_bytes(pool);
	row_shown((double)(peak - floor) / MIB, "MiB", "memory that they take");
	while (now_ns() < expires_ns)
		pause_ns(MS_NS);
	NEED(WAIT_UNTIL(key_count(pool) == 0, PATIENCE_NS));
	row_at_most(SPEED, since_s(expires_ns), (double)LATE_MAX_NS / 1e9, "s", "the last of them is gone after");
	NEED(WAIT_UNTIL(pool_stats(pool).used_bytes < (peak - floor) / 20, PATIENCE_NS));
	row_at_most(SPEED, since_s(expires_ns), 2, "s", "95 %% of their blocks are free after");
	NEED(WAIT_UNTIL(backed_bytes(pool) <= floor + (peak - floor) / 20 + 8 * MIB, PATIENCE_NS));
	row_at_most(SPEED, since_s(expires_ns), 10, "s", "95 %% of their memory is the system's again after");
	row_equal(pool_stats(pool).expired, keys, "keys that the sweep counts");
}

static void expire_in_turn(ltz_pool *pool)
{
	uint64_t over_ns = (prove_quick() ? 2 : 5) * SECOND_NS, expires_ns = now_ns() + (prove_quick() ? 1 : 4) * SECOND_NS;
	uint64_t latest_ns = 0;
	uint64_t left, cpu;

	load(pool, expires_ns, over_ns);
	while (now_ns() < expires_ns)
		pause_ns(MS_NS);
	cpu = cpu_ns(0);
	do {
		uint64_t now, gone;

		pause_ns(20 * MS_NS);
		left = key_count(pool);
		now = now_ns() - expires_ns;
		gone = (keys - left) * (over_ns / 1000) / (keys / 1000); /* the next one to go expired that long after the first */
		if (left && now > gone && now - gone > latest_ns)
			latest_ns = now - gone;
	} while (left && now_ns() < expires_ns + over_ns + PATIENCE_NS);
	cpu = cpu_ns(0) - cpu;
	row_equal(left, 0, "keys left of those that expired over %.0f s", (double)over_ns / 1e9);
	row_at_most(SPEED, (double)latest_ns / 1e9, (double)LATE_MAX_NS / 1e9, "s", "the latest of them outlived its time by");
	row_shown((double)cpu / (double)over_ns * 100, "%", "CPU of this process meanwhile, with the counting");
}

int main(int argc, char **argv)
{
	struct gate gates[2];
	pid_t bystander;
	ltz_pool *pool;

	prove_begin(argc, argv, "expiry: keys with a short life, untouched");
	keys = prove_quick() ? 50000 : 1000000;
	gate_init(&gates[0]);
	gate_init(&gates[1]);
	bystander = spawn(be_bystander, gates);
	pool = pool_create(0);
	gate_open(&gates[0]);
	NEED(WAIT_UNTIL(member_count(pool) == 2, PATIENCE_NS));
	expire_together(pool);
	expire_in_turn(pool);
	row_equal(findings(pool), 0, "findings of check");
	gate_open(&gates[1]);
	row_equal(!ended_well(bystander), 0, "bystanders that failed");
	ltz_close(pool);
	return prove_end();
}
