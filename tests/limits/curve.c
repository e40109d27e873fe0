/* SPDX-License-Identifier: MIT */
/*
 * curve.c - memory over time: what is live, what is committed, what is resident.
 *
 *	curve [-q] [-r SEED] [FILE]     FILE gets the figures as CSV, for plot_memory.py
 *
 * Two workers fill the pool; one of them deletes most of what it has; the other
 * is SIGKILLed, and the survivor deletes what that one left; then it sets
 * values that all expire at one moment. Meanwhile the program, a member that
 * never touches a key, notes every 50 ms what is live (keys and values that
 * were acknowledged and neither deleted nor expired), what the kernel counts
 * for the memory file, and the workers' resident memory.
 */
#include "prove.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS    2u
#define SAMPLE_NS  (50 * MS_NS)
#define VALUE_MAX  (64 * KIB)
#define KEYS_MAX   (1u << 20) /* of a worker */
#define FLOOR      (8 * MIB)

enum order { WAIT, FILL, DROP_MOST, DROP_OTHERS, FILL_EXPIRING, LEAVE };

static struct board {
	uint64_t order[WORKERS], done[WORKERS];
	uint64_t live, expiring, expires_ns; /* bytes; the latter go all at once */
	uint64_t keys[WORKERS];
} *board;

static struct gate start;
static FILE *csv;
static pid_t child[WORKERS];
static bool alive[WORKERS];
static uint64_t zero_ns, worst_excess, step_bytes;
static double worst_ratio;

static uint64_t peek(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static void note(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static void add(uint64_t *word, uint64_t by) { __atomic_fetch_add(word, by, __ATOMIC_ACQ_REL); }

/* ---- workers ------------------------------------------------------------------------ */

static uint64_t key_of(unsigned worker, uint64_t i) { return (uint64_t)(worker + 1) << 32 | i; }

/* From 16 bytes to 64 KiB, each doubling equally often. */
static uint64_t size_of(uint64_t i)
{
	uint64_t z = (i + 1) * UINT64_C(0x9e3779b97f4a7c15), low = UINT64_C(16) << (z >> 40) % 12;

	return low + (z >> 8) % low;
}

/* Spread over about `over_ns`, so that the curve has a slope and not a step. */
static void pace(uint64_t begun_ns, uint64_t over_ns, uint64_t done, uint64_t all)
{
	uint64_t due_ns = begun_ns + (uint64_t)((double)over_ns * (double)done / (double)all), now = now_ns();

	if (due_ns > now + 2 * MS_NS)
		pause_ns(due_ns - now);
}

static void fill(ltz_pool *pool, unsigned me, uint64_t bytes, uint64_t over_ns)
{
	static char value[VALUE_MAX];
	uint64_t begun_ns = now_ns(), done = 0, *keys = &board->keys[me];

	for (; done < bytes && *keys < KEYS_MAX; ++*keys) {
		uint64_t size = size_of(*keys);

		memset(value, (int)*keys | 1, size);
		NEED_OK(put(pool, key_of(me, *keys), value, size));
		add(&board->live, size + 8);
		done += size;
		pace(begun_ns, over_ns, done, bytes);
	}
}

/* Of `whose` keys, all but one in `keep`; 0: all. */
static void drop_keys(ltz_pool *pool, unsigned whose, uint64_t keep, uint64_t over_ns)
{
	uint64_t begun_ns = now_ns(), keys = peek(&board->keys[whose]);

	for (uint64_t i = 0; i < keys; i++) {
		if ((keep == 0 || i % keep) && drop(pool, key_of(whose, i)) == 0)
			add(&board->live, -(size_of(i) + 8));
		pace(begun_ns, over_ns, i, keys);
	}
}

static void fill_expiring(ltz_pool *pool, uint64_t bytes, uint64_t over_ns)
{
	static char value[VALUE_MAX];
	uint64_t begun_ns = now_ns(), done = 0, expires_ns = begun_ns + over_ns + (prove_quick() ? 1 : 2) * SECOND_NS;

	note(&board->expires_ns, expires_ns);
	for (uint64_t i = 0; done < bytes; i++) {
		uint64_t size = size_of(i);

		memset(value, (int)i | 1, size);
		NEED_OK(put_for(pool, key_of(7, i), value, size, (expires_ns - now_ns()) / MS_NS));
		add(&board->live, size + 8);
		add(&board->expiring, size + 8);
		done += size;
		pace(begun_ns, over_ns, done, bytes);
	}
}

static void obey(ltz_pool *pool, unsigned me, enum order order)
{
	uint64_t slow_ns = prove_quick() ? SECOND_NS / 4 : 3 * SECOND_NS;

	switch (order) {
	case FILL: fill(pool, me, step_bytes, slow_ns); break;
	case DROP_MOST: drop_keys(pool, me, 8, slow_ns / 2); break;
	case DROP_OTHERS:
		drop_keys(pool, me, 0, 0);
		drop_keys(pool, !me, 0, slow_ns / 2);
		break;
	case FILL_EXPIRING: fill_expiring(pool, step_bytes * 3 / 2, slow_ns / 2); break;
	default: break;
	}
}

static void be_worker(void *context)
{
	unsigned me = (unsigned)(uintptr_t)context;
	ltz_pool *pool;
	uint64_t order;

	gate_wait(&start);
	pool = pool_connect();
	note(&board->done[me], 1);
	while ((order = peek(&board->order[me])) != LEAVE) {
		if (order == WAIT) {
			pause_ns(2 * MS_NS);
			continue;
		}
		obey(pool, me, (enum order)order);
		note(&board->order[me], WAIT);
	}
	ltz_close(pool);
}

/* ---- the observer -------------------------------------------------------------------------- */

static uint64_t live_bytes(void)
{
	uint64_t expires_ns = peek(&board->expires_ns), live = peek(&board->live);

	return expires_ns && now_ns() >= expires_ns ? live - peek(&board->expiring) : live;
}

static void sample(ltz_pool *pool)
{
	uint64_t committed = backed_bytes(pool), rss[WORKERS], live = live_bytes();

	for (unsigned i = 0; i < WORKERS; i++) {
		rss[i] = alive[i] ? status_bytes(child[i], "VmRSS") : 0;
		if (rss[i] > committed && rss[i] - committed > worst_excess)
			worst_excess = rss[i] - committed;
	}
	if (csv)
		fprintf(csv, "%.3f,%lu,%lu,%lu,%lu\n", (double)(now_ns() - zero_ns) / 1e9, live, committed, rss[0], rss[1]);
}

static void phase(const char *name)
{
	if (csv)
		fprintf(csv, "# %.3f %s\n", (double)(now_ns() - zero_ns) / 1e9, name);
}

static bool is_busy(void)
{
	bool busy = false;

	for (unsigned i = 0; i < WORKERS; i++)
		busy |= alive[i] && peek(&board->order[i]) != WAIT;
	return busy;
}

/* Samples while somebody works, and then as long as is said. */
static void watch(ltz_pool *pool, uint64_t rest_ns)
{
	uint64_t end_ns;

	if (prove_quick())
		rest_ns /= 10;
	end_ns = now_ns() + rest_ns;
	while (is_busy() || now_ns() < end_ns) {
		sample(pool);
		if (is_busy())
			end_ns = now_ns() + rest_ns;
		pause_ns(SAMPLE_NS);
	}
}

static void grow_and_shrink(ltz_pool *pool)
{
	phase("grow");
	note(&board->order[0], FILL);
	note(&board->order[1], FILL);
	watch(pool, 2 * SECOND_NS);
	worst_ratio = (double)backed_bytes(pool) / (double)live_bytes();
	row_shown((double)live_bytes() / MIB, "MiB", "live at the top");
	/* up to 64 MiB are made ready for what grows fast */
	row_at_most(SOUND, worst_ratio, prove_quick() ? 4 : 1.3, "", "committed there, for each live byte");
	phase("shrink");
	note(&board->order[1], DROP_MOST);
	watch(pool, 5 * SECOND_NS);
}

static void die_and_expire(ltz_pool *pool)
{
	uint64_t live;

	phase("SIGKILL");
	slay(child[0]);
	alive[0] = false;
	watch(pool, 3 * SECOND_NS);
	live = live_bytes();
	row_at_least(SOUND, (double)backed_bytes(pool) / (double)live, 1, "", "committed after a worker was killed, for each byte that lives on");
	phase("clean up");
	note(&board->order[1], DROP_OTHERS);
	watch(pool, 5 * SECOND_NS);
	phase("expire");
	note(&board->order[1], FILL_EXPIRING);
	watch(pool, 0);
	while (now_ns() < board->expires_ns) {
		sample(pool);
		pause_ns(SAMPLE_NS);
	}
	phase("expired");
	watch(pool, 5 * SECOND_NS);
}

int main(int argc, char **argv)
{
	ltz_pool *pool;

	prove_begin(argc, argv, "curve: live, committed and resident memory over time");
	if (argv[argc - 1][0] != '-' && argc > 1)
		NEED((csv = fopen(argv[argc - 1], "we")) != NULL);
	step_bytes = prove_quick() ? 32 * MIB : 384 * MIB;
	board = share(sizeof *board);
	gate_init(&start);
	for (unsigned i = 0; i < WORKERS; i++) {
		child[i] = spawn(be_worker, (void *)(uintptr_t)i);
		alive[i] = true;
	}
	pool = pool_create(0);
	gate_open(&start);
	NEED(WAIT_UNTIL(peek(&board->done[0]) && peek(&board->done[1]), PATIENCE_NS));
	zero_ns = now_ns();
	if (csv)
		fprintf(csv, "s,live,committed,rss of the worker that is killed,rss of the survivor\n");
	watch(pool, SECOND_NS);
	grow_and_shrink(pool);
	die_and_expire(pool);
	NEED(WAIT_UNTIL(backed_bytes(pool) <= FLOOR, PATIENCE_NS));
	row_equal(key_count(pool), 0, "keys at the end");
	row_at_most(SOUND, (double)worst_excess / MIB, 16, "MiB", "resident in a worker beyond what is committed, at most");
	row_at_most(SOUND, (double)backed_bytes(pool) / MIB, (double)FLOOR / MIB, "MiB", "committed at the end");
	row_equal(findings(pool), 0, "findings of check");
	note(&board->order[1], LEAVE);
	row_equal(!ended_well(child[1]), 0, "workers that failed");
	ltz_close(pool);
	return prove_end();
}
