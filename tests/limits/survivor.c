/* SPDX-License-Identifier: MIT */
/*
 * survivor.c - how long a get and a set take while others die all the time.
 *
 * The survivor, its service thread included, has one processor for itself; on
 * another one members join, work on the same keys and are SIGKILLed at random
 * moments, again and again. The same is measured without that storm before it.
 *
 * What the machine's other processes take of the survivor's processor shows as
 * a scheduler's slice of milliseconds. So calls are told apart that were
 * preempted, and the bound is judged only if others had next to nothing of it.
 */
#include "prove.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define KEYS      10000u
#define STORMERS  4u
#define VALUE_MAX 2048u
#define SLOW_NS   (50000)  /* was such a call preempted? */
#define OTHERS_MAX 2.0     /* per cent of the processor that others may have */

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
	struct spread all, whole; /* whole: without those that were preempted */
};

struct run {
	struct latencies get, set;
	uint64_t wrong;
	double others; /* per cent of the processor */
};

static bool was_preempted(void)
{
	static long before;
	struct rusage usage;
	bool was;

	NEED(getrusage(RUSAGE_THREAD, &usage) == 0);
	was = usage.ru_nivcsw != before;
	before = usage.ru_nivcsw;
	return was;
}

static uint64_t note_call(struct latencies *latencies, uint64_t begun_ns)
{
	uint64_t now = now_ns(), took_ns = now - begun_ns;

	spread_note(&latencies->all, took_ns);
	if (took_ns < SLOW_NS || !was_preempted())
		spread_note(&latencies->whole, took_ns);
	return took_ns < SLOW_NS ? now : now_ns();
}

/* How long the first processor has been busy, in clock ticks. */
static double busy_ticks(void)
{
	FILE *file = fopen("/proc/stat", "re");
	unsigned long user = 0, nice = 0, system = 0, idle, iowait, irq = 0, softirq = 0;
	char line[512];

	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "cpu0 %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &iowait, &irq, &softirq) == 7)
			break;
	if (file != NULL)
		fclose(file);
	return (double)(user + nice + system + irq + softirq);
}

static void measure(ltz_pool *pool, struct run *run, uint64_t for_ns)
{
	static char value[VALUE_MAX];
	uint64_t begun_ns = now_ns(), now = begun_ns, own_ns = cpu_ns(0);
	double busy = busy_ticks();

	was_preempted();
	while (now < begun_ns + for_ns) {
		uint64_t key = random_below(KEYS), size = 8 + random_below(VALUE_MAX - 8);

		now = now_ns();
		run->wrong += fetch(pool, key, value, sizeof value, NULL) != 0;
		now = note_call(&run->get, now);
		run->wrong += put(pool, key, value, size) != 0;
		now = note_call(&run->set, now);
	}
	busy = (busy_ticks() - busy) / (double)sysconf(_SC_CLK_TCK) * 1e9 - (double)(cpu_ns(0) - own_ns);
	run->others = busy > 0 ? busy / (double)(now - begun_ns) * 100 : 0;
}

static void show(const char *what, const struct latencies *latencies, double others, double bound_us)
{
	static const double quantile[] = { 0.5, 0.99, 0.999 };

	for (unsigned i = 0; i < 3; i++)
		row_shown(spread_us(&latencies->all, quantile[i]), "us", "%s: p%g", what, quantile[i] * 100);
	if (bound_us > 0 && others <= OTHERS_MAX)
		row_at_most(SPEED, spread_us(&latencies->all, 0.9999), bound_us, "us", "%s: p99.99", what);
	else
		row_shown(spread_us(&latencies->all, 0.9999), "us", "%s: p99.99", what);
	if (bound_us > 0 && others > OTHERS_MAX)
		row_skipped("others used it", "%s: p99.99 of a processor of one's own", what);
	row_shown(spread_us(&latencies->whole, 0.9999), "us", "%s: p99.99 of calls that were not preempted", what);
	row_shown(spread_us(&latencies->all, 1), "us", "%s: the slowest of %.1f million", what, (double)latencies->all.count / 1e6);
}

int main(int argc, char **argv)
{
	static struct run calm, stormy;
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
	row_shown(calm.others, "%", "of the survivor's processor used by others, calm");
	row_shown(stormy.others, "%", "of the survivor's processor used by others, storm");
	show("get, calm", &calm.get, calm.others, 0);
	show("get, storm", &stormy.get, stormy.others, 1000);
	show("set, calm", &calm.set, calm.others, 0);
	show("set, storm", &stormy.set, stormy.others, 1000);
	row_equal(calm.wrong + stormy.wrong, 0, "calls that failed");
	NEED(WAIT_UNTIL(pool_stats(pool).members == 1, PATIENCE_NS));
	row_equal(findings(pool), 0, "findings of check");
	ltz_close(pool);
	return prove_end();
}
