/* SPDX-License-Identifier: MIT */
/*
 * survivor.c - how long a get and a set take while others die all the time.
 *
 * The survivor, its service thread included, has one processor for itself; on
 * another one members join, work on the same keys and are SIGKILLed at random
 * moments, again and again. The same is measured without that storm before it.
 * With one processor everything shares it, and only the program itself is
 * tried.
 */
#include "prove.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS      10000u
#define STORMERS  4u
#define VALUE_MAX 2048u

static struct storm {
	uint64_t stop, kills, joins, operations;
} *storm;

static uint64_t peek(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static void count(uint64_t *word) { __atomic_fetch_add(word, 1, __ATOMIC_RELAXED); }

/* ---- those who die ------------------------------------------------------------------- */

static void be_stormer(void *context)
{
	static char value[VALUE_MAX];
	ltz_pool *pool = pool_connect();

	(void)context;
	count(&storm->joins);
	for (;;) {
		uint64_t key = random_below(KEYS), what = random_below(8);

		if (what == 0)
			drop(pool, KEYS + key);
		else if (what < 4)
			put(pool, KEYS + key, value, 8 + random_below(VALUE_MAX - 8)); /* comes and goes */
		else if (what < 6)
			put(pool, key, value, 8 + random_below(VALUE_MAX - 8)); /* the survivor's too */
		else
			fetch(pool, key, value, sizeof value, NULL);
		count(&storm->operations);
	}
}

/* Starts them, kills them, starts them again. Never joins itself. */
static void be_conductor(void *context)
{
	struct gate *start = context;
	pid_t child[STORMERS] = { 0 };

	pin_to_cpu(cpus() - 1);
	gate_wait(start);
	while (!peek(&storm->stop)) {
		unsigned i = (unsigned)random_below(STORMERS);

		if (child[i]) {
			slay(child[i]);
			count(&storm->kills);
		}
		child[i] = spawn(be_stormer, NULL);
		pause_ns(random_below(20) * MS_NS / 4);
	}
	for (unsigned i = 0; i < STORMERS; i++)
		if (child[i])
			slay(child[i]);
}

/* ---- the survivor --------------------------------------------------------------------------- */

struct latencies {
	struct spread get, set;
	uint64_t wrong;
};

static void measure(ltz_pool *pool, struct latencies *latencies, uint64_t for_ns)
{
	static char value[VALUE_MAX];
	uint64_t end_ns = now_ns() + for_ns, before = now_ns(), after;

	while (before < end_ns) {
		uint64_t key = random_below(KEYS), size = 8 + random_below(VALUE_MAX - 8);

		before = now_ns();
		latencies->wrong += fetch(pool, key, value, sizeof value, NULL) != 0;
		after = now_ns();
		spread_note(&latencies->get, after - before);
		before = after;
		latencies->wrong += put(pool, key, value, size) != 0;
		after = now_ns();
		spread_note(&latencies->set, after - before);
		before = after;
	}
}

static void show(const char *what, const struct spread *spread, enum judged judged, double bound_us)
{
	row_shown(spread_us(spread, 0.5), "us", "%s: p50", what);
	row_shown(spread_us(spread, 0.99), "us", "%s: p99", what);
	row_shown(spread_us(spread, 0.999), "us", "%s: p99.9", what);
	if (bound_us > 0)
		row_at_most(judged, spread_us(spread, 0.9999), bound_us, "us", "%s: p99.99", what);
	else
		row_shown(spread_us(spread, 0.9999), "us", "%s: p99.99", what);
	row_shown(spread_us(spread, 1), "us", "%s: the slowest of %.1f million", what, (double)spread->count / 1e6);
}

int main(int argc, char **argv)
{
	static struct latencies calm, stormy;
	static char value[VALUE_MAX];
	struct gate start;
	uint64_t for_ns;
	pid_t conductor;
	ltz_pool *pool;

	prove_begin(argc, argv, "survivor: get and set while others die");
	for_ns = (prove_quick() ? 1 : 30) * SECOND_NS;
	storm = share(sizeof *storm);
	gate_init(&start);
	conductor = spawn(be_conductor, &start);
	if (cpus() > 1)
		pin_to_cpu(0);
	pool = pool_create(0);
	for (uint64_t key = 0; key < KEYS; key++)
		NEED_OK(put(pool, key, value, 8 + random_below(VALUE_MAX - 8)));
	measure(pool, &calm, for_ns);
	gate_open(&start);
	NEED(WAIT_UNTIL(peek(&storm->kills) >= 2, PATIENCE_NS));
	measure(pool, &stormy, for_ns);
	row_shown((double)peek(&storm->kills) / ((double)for_ns / 1e9), "1/s", "members killed");
	__atomic_store_n(&storm->stop, 1, __ATOMIC_RELEASE);
	row_equal(!ended_well(conductor), 0, "conductors that failed");
	show("get, calm", &calm.get, SPEED, 0);
	show("get, storm", &stormy.get, SPEED, 1000);
	show("set, calm", &calm.set, SPEED, 0);
	show("set, storm", &stormy.set, SPEED, 1000);
	row_equal(calm.wrong + stormy.wrong, 0, "calls that failed");
	NEED(WAIT_UNTIL(pool_stats(pool).members == 1, PATIENCE_NS));
	row_equal(findings(pool), 0, "findings of check");
	ltz_close(pool);
	return prove_end();
}
