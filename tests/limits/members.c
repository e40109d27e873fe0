/* SPDX-License-Identifier: MIT */
/*
 * members.c - 1,024 processes joined to one pool.
 *
 *     join all at once ─► idle ─► work all at once ─► idle ─► half of them killed ─► whole?
 *
 * Each worker keeps its own keys, whose values tell their number, and adds to
 * counters that all share. What it is about to do and what was acknowledged it
 * notes on a board that outlives it: a counter is exact if it lies between the
 * sums of both, and a key if it holds the last acknowledged value or the one
 * that was being set.
 *
 * An idle member costs what its service thread uses: measured by the kernel's
 * own clock of each process, over all of them.
 */
#include "prove.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_MAX 1024u
#define OWN         8u  /* keys of each worker */
#define COUNTERS    16u
#define COUNTER_KEY UINT64_C(0xc0000000)
#define VALUE_MAX   600u
#define SETTLED_ONE_BY_ONE 32u
#define LATE        32u /* join one after the other when all are in */

struct worker {
	uint64_t private_before, private_after;
	uint64_t join_ns;
	uint64_t begun[COUNTERS], added[COUNTERS];
	uint64_t setting[OWN], set[OWN]; /* numbers of values */
	uint64_t operations, wrong;
};

static struct board {
	uint64_t joined, worked, stop;
	uint64_t turn, late_ns[LATE], late_joined;
	uint64_t rounds; /* of the work that all do */
	struct worker worker[MEMBERS_MAX];
} *board;

static struct gate join_gate, work_gate, storm_gate;
static unsigned members;
static uint64_t dead_before;
static pid_t child[MEMBERS_MAX];

static uint64_t peek(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static void note(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }

/* ---- a worker ----------------------------------------------------------------------- */

static uint64_t own_key(unsigned index, unsigned k) { return (uint64_t)(index + 1) << 8 | k; }

static size_t value_make(uint8_t *bytes, uint64_t key, uint64_t number)
{
	size_t size = 16 + (number * 37 + key * 11) % (VALUE_MAX - 16);

	memset(bytes, (int)(number & 0xff), size);
	memcpy(bytes, &key, 8);
	memcpy(bytes + 8, &number, 8);
	return size;
}

/* The number of the value behind the key; 0 if it is no value of that key. */
static uint64_t value_number(ltz_pool *pool, uint64_t key)
{
	uint8_t is[VALUE_MAX], wanted[VALUE_MAX];
	uint64_t number;
	ltz_item item;

	if (fetch(pool, key, is, sizeof is, &item) != 0 || item.size < 16)
		return 0;
	memcpy(&number, is + 8, 8);
	return item.size == value_make(wanted, key, number) && memcmp(is, wanted, item.size) == 0 ? number : 0;
}

static bool add_one(ltz_pool *pool, unsigned counter)
{
	const uint64_t number = COUNTER_KEY + counter;
	const ltz_key key = { .data = &number, .size = 8, .type = LTZ_KEY_INT };
	const ltz_number one = { .type = LTZ_INT64, .as.i64 = 1 }, zero = { .type = LTZ_INT64 };

	return ltz_add(pool, &key, one, zero, NULL, NULL) == 0;
}

/* A set, a get and an increment. */
static void work(ltz_pool *pool, unsigned index, uint64_t round)
{
	struct worker *me = &board->worker[index];
	unsigned k = (unsigned)(round % OWN), counter = (unsigned)(round % COUNTERS);
	uint64_t key = own_key(index, k), number = peek(&me->set[k]) + 1;
	uint8_t bytes[VALUE_MAX];
	size_t size = value_make(bytes, key, number);

	note(&me->setting[k], number);
	me->wrong += put(pool, key, bytes, size) != 0;
	note(&me->set[k], number);
	me->wrong += value_number(pool, key) != number;
	note(&me->begun[counter], peek(&me->begun[counter]) + 1);
	me->wrong += !add_one(pool, counter);
	note(&me->added[counter], peek(&me->added[counter]) + 1);
	note(&me->operations, peek(&me->operations) + 3);
}

static void be_worker(void *context)
{
	unsigned index = (unsigned)(uintptr_t)context;
	struct worker *me = &board->worker[index];
	ltz_pool *pool;
	uint64_t start_ns;

	gate_wait(&join_gate);
	me->private_before = private_bytes();
	start_ns = now_ns();
	pool = pool_connect();
	me->join_ns = now_ns() - start_ns;
	me->private_after = private_bytes();
	__atomic_fetch_add(&board->joined, 1, __ATOMIC_ACQ_REL);
	gate_wait(&work_gate);
	for (uint64_t round = 0; round < board->rounds; round++)
		work(pool, index, round);
	__atomic_fetch_add(&board->worked, 1, __ATOMIC_ACQ_REL);
	gate_wait(&storm_gate);
	for (uint64_t round = 0; !peek(&board->stop); round++) {
		work(pool, index, round);
		if (round % 4 == 3) /* not more than the processors can do: else their queue is what is measured */
			pause_ns(random_below(2 * members) * MS_NS / 10);
	}
	ltz_close(pool);
}

/* Joins when it is its turn, and leaves again. */
static void be_late(void *context)
{
	unsigned index = (unsigned)(uintptr_t)context;
	uint64_t start_ns;
	ltz_pool *pool;

	while (peek(&board->turn) <= index)
		pause_ns(2 * MS_NS);
	start_ns = now_ns();
	pool = pool_connect();
	NEED(value_number(pool, own_key(0, 0)) == 0);
	board->late_ns[index] = now_ns() - start_ns;
	note(&board->late_joined, index + 1);
	ltz_close(pool);
}

/* ---- joining --------------------------------------------------------------------------- */

static void show_joins(ltz_pool *pool)
{
	static struct spread joins;
	uint64_t memory = 0, largest = 0;

	for (unsigned i = 0; i < members; i++) {
		uint64_t more = board->worker[i].private_after - board->worker[i].private_before;

		spread_note(&joins, board->worker[i].join_ns);
		memory += more;
		largest = more > largest ? more : largest;
	}
	row_equal(member_count(pool), members + 1, "members, with the maker");
	row_shown(spread_us(&joins, 0.5) / 1000, "ms", "one join among them, median");
	row_shown(spread_us(&joins, 0.99) / 1000, "ms", "one join among them, p99");
	row_at_most(SOUND, (double)memory / members / KIB, 200, "KiB", "private memory that joining adds, mean");
	row_at_most(SOUND, (double)largest / KIB, 200, "KiB", "private memory that joining adds, largest");
	row_shown((double)backed_bytes(pool) / members / KIB, "KiB", "memory of the empty pool for each member");
}

static void join_late(pid_t *late)
{
	static struct spread joins;

	for (unsigned i = 0; i < LATE; i++) {
		note(&board->turn, i + 1);
		NEED(WAIT_UNTIL(peek(&board->late_joined) == i + 1, PATIENCE_NS));
		NEED(ended_well(late[i]));
		spread_note(&joins, board->late_ns[i]);
	}
	row_shown(spread_us(&joins, 0.5) / 1000, "ms", "join and first get, when all are in, one after the other, median");
	row_shown(spread_us(&joins, 1) / 1000, "ms", "join and first get, when all are in, the slowest of %u", LATE);
}

static ltz_pool *join_all(void)
{
	pid_t late[LATE];
	uint64_t start_ns;
	ltz_pool *pool;

	for (unsigned i = 0; i < members; i++)
		child[i] = spawn(be_worker, (void *)(uintptr_t)i);
	for (unsigned i = 0; i < LATE; i++)
		late[i] = spawn(be_late, (void *)(uintptr_t)i);
	pool = pool_create(0);
	start_ns = now_ns();
	gate_open(&join_gate);
	NEED(WAIT_UNTIL(peek(&board->joined) == members, PATIENCE_NS));
	row_shown((double)(now_ns() - start_ns) / 1e9, "s", "%u processes join at once: all are in after", members);
	show_joins(pool);
	join_late(late);
	return pool;
}

/* ---- idle ---------------------------------------------------------------------------------- */

static uint64_t cpu_of_all_ns(void)
{
	uint64_t sum = cpu_ns(0);

	for (unsigned i = 0; i < members; i++)
		sum += cpu_ns(child[i]);
	return sum;
}

/* What the last work left to tidy is tidied: nothing changes while each member has looked twice. */
static void come_to_rest(ltz_pool *pool)
{
	uint64_t is = backed_bytes(pool), start_ns = now_ns(), since_ns = start_ns;

	while (now_ns() < since_ns + members * 15 * MS_NS && now_ns() < start_ns + PATIENCE_NS) {
		uint64_t now = backed_bytes(pool);

		if (now != is)
			since_ns = now_ns();
		is = now;
		pause_ns(20 * MS_NS);
	}
}

static void stay_idle(ltz_pool *pool, const char *when)
{
	uint64_t own_ns, cpu, start_ns;

	come_to_rest(pool);
	own_ns = cpu_ns(0);
	cpu = cpu_of_all_ns(); /* the asking is at our cost: the thousandth part of what is asked for */
	own_ns = cpu_ns(0) - own_ns;
	start_ns = now_ns();
	pause_ns(10 * SECOND_NS);
	cpu = cpu_of_all_ns() - cpu - own_ns;
	row_at_most(SPEED, (double)cpu / (double)(now_ns() - start_ns) * 100, 1, "%",
	            "CPU of %u members that do nothing, %s", members + 1, when);
}

/* ---- working ----------------------------------------------------------------------------------- */

static int64_t counter_value(ltz_pool *pool, unsigned counter)
{
	int64_t value = 0;

	return fetch(pool, COUNTER_KEY + counter, &value, sizeof value, NULL) == 0 ? value : -1;
}

static uint64_t sum_over_workers(size_t offset)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < members; i++)
		sum += peek((const uint64_t *)((const char *)&board->worker[i] + offset));
	return sum;
}

/* Counters that lie outside of what was begun and what was acknowledged. */
static unsigned inexact_counters(ltz_pool *pool)
{
	unsigned inexact = 0;

	for (unsigned c = 0; c < COUNTERS; c++) {
		uint64_t least = sum_over_workers(offsetof(struct worker, added) + c * 8);
		uint64_t most = sum_over_workers(offsetof(struct worker, begun) + c * 8);
		int64_t is = counter_value(pool, c);

		inexact += is < (int64_t)least || is > (int64_t)most;
	}
	return inexact;
}

static unsigned wrong_keys(ltz_pool *pool)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < members; i++)
		for (unsigned k = 0; k < OWN; k++) {
			uint64_t number = value_number(pool, own_key(i, k));

			wrong += number != peek(&board->worker[i].set[k]) && number != peek(&board->worker[i].setting[k]);
		}
	return wrong;
}

static void work_all(ltz_pool *pool)
{
	uint64_t start_ns = now_ns(), added = 0, values = 0;

	gate_open(&work_gate);
	NEED(WAIT_UNTIL(peek(&board->worked) == members, 5 * PATIENCE_NS));
	row_shown((double)sum_over_workers(offsetof(struct worker, operations)) / ((double)(now_ns() - start_ns) / 1e9) / 1e6, "M/s",
	          "set, get and increment by all of them at once");
	row_equal(sum_over_workers(offsetof(struct worker, wrong)), 0, "operations that failed or read a wrong value");
	for (unsigned c = 0; c < COUNTERS; c++) {
		added += sum_over_workers(offsetof(struct worker, added) + c * 8);
		values += (uint64_t)counter_value(pool, c);
	}
	row_equal(values, added, "sum of the counters");
	row_equal(key_count(pool), members * OWN + COUNTERS, "keys");
	row_equal(findings(pool), 0, "findings of check");
}

/* ---- dying ---------------------------------------------------------------------------------------- */

static bool settled(ltz_pool *pool, unsigned dead) { return pool_stats(pool).recovered_members >= dead_before + dead; }

static void shuffle_children(void)
{
	for (unsigned i = members - 1; i > 0; i--) {
		unsigned k = (unsigned)random_below(i + 1);
		pid_t other = child[k];

		child[k] = child[i];
		child[i] = other;
	}
}

/* Half of them at random moments, while all work. */
static void kill_half(ltz_pool *pool)
{
	static struct spread settling;
	unsigned half = members / 2, alone = half < SETTLED_ONE_BY_ONE ? half / 2 : SETTLED_ONE_BY_ONE;
	uint64_t gone_ns = 0, start_ns = now_ns();

	gate_open(&storm_gate);
	shuffle_children();
	for (unsigned i = 0; i < alone; i++) {
		pause_ns(random_below(20) * MS_NS);
		gone_ns = slay(child[i]);
		NEED(WAIT_UNTIL(settled(pool, i + 1), PATIENCE_NS));
		spread_note(&settling, now_ns() - gone_ns);
	}
	row_at_most(SPEED, spread_us(&settling, 0.5) / 1000, 200, "ms", "a kill among %u at work is settled, median", members);
	row_at_most(SPEED, spread_us(&settling, 1) / 1000, 200, "ms", "a kill among %u at work is settled, worst", members);
	for (unsigned i = alone; i < half; i++) {
		pause_ns(random_below(8) * MS_NS);
		gone_ns = slay(child[i]);
	}
	NEED(WAIT_UNTIL(settled(pool, half), PATIENCE_NS));
	row_at_most(SPEED, (double)(now_ns() - gone_ns) / 1e6, 1000, "ms", "%u killed in %.1f s: the last one is settled after", half,
	            (double)(gone_ns - start_ns) / 1e9);
}

static void stop_the_rest(void)
{
	unsigned failed = 0;

	note(&board->stop, 1);
	for (unsigned i = members / 2; i < members; i++)
		failed += !ended_well(child[i]);
	row_equal(failed, 0, "survivors that failed");
}

int main(int argc, char **argv)
{
	prove_begin(argc, argv, "members: many processes joined and working, half of them killed");
	members = prove_quick() ? 100 : MEMBERS_MAX;
	board = share(sizeof *board);
	board->rounds = prove_quick() ? 200 : 1000;
	gate_init(&join_gate);
	gate_init(&work_gate);
	gate_init(&storm_gate);
	ltz_pool *pool = join_all();
	if (!prove_quick())
		stay_idle(pool, "and never did anything");
	work_all(pool);
	if (!prove_quick())
		stay_idle(pool, "and own memory");
	dead_before = pool_stats(pool).recovered_members; /* who left */
	kill_half(pool);
	stop_the_rest();
	row_equal(sum_over_workers(offsetof(struct worker, wrong)), 0, "operations that failed or read a wrong value");
	row_equal(inexact_counters(pool), 0, "counters that are not exact");
	row_equal(wrong_keys(pool), 0, "keys that hold neither their last value nor the one being set");
	row_equal(key_count(pool), members * OWN + COUNTERS, "keys");
	row_equal(findings(pool), 0, "findings of check");
	ltz_close(pool);
	return prove_end();
}
