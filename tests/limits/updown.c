/* SPDX-License-Identifier: MIT */
/*
 * updown.c - memory that comes and goes does not creep.
 *
 * Twenty times: a writer fills the pool, a reader in another process reads
 * every value (so that all pages are mapped there too), the writer deletes
 * every key; then nobody calls anything until the kernel counts about as
 * little for the pool's memory file as before. What is left after the last
 * cycles must be what was left after the first ones, for the file and for both
 * processes' resident memory.
 */
#include "prove.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CYCLES_MAX 20u
#define FLOOR      (16 * MIB) /* an empty pool keeps 4 MiB ready, and its rows and index */
#define CREEP      (2 * MIB)
#define VALUE_MAX  MIB

struct plan {
	const char *name;
	uint64_t bytes; /* of values */
	uint64_t least, most; /* size of a value */
	unsigned cycles;
};

struct cycle {
	uint64_t peak, after, writer_rss, reader_rss, down_ns;
};

/* The reader's orders: read keys [0, keys) when `asked` changes. */
static struct orders {
	uint64_t asked, done, keys, wrong, stop;
} *orders;

static char value[VALUE_MAX];
static pid_t reader;

static uint64_t peek(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static void note(uint64_t *word, uint64_t is) { __atomic_store_n(word, is, __ATOMIC_RELEASE); }

static void be_reader(void *context)
{
	static char bytes[VALUE_MAX];
	struct gate *start = context;
	ltz_pool *pool;

	gate_wait(start);
	pool = pool_connect();
	while (!peek(&orders->stop)) {
		if (peek(&orders->done) == peek(&orders->asked)) {
			pause_ns(2 * MS_NS);
			continue;
		}
		for (uint64_t key = 0; key < orders->keys; key++) {
			uint64_t first;
			ltz_item item;

			if (fetch(pool, key, bytes, sizeof bytes, &item) != 0 || item.size < 8)
				orders->wrong++;
			else if (memcpy(&first, bytes, 8), first != key)
				orders->wrong++;
		}
		note(&orders->done, peek(&orders->asked));
	}
	ltz_close(pool);
}

static uint64_t fill(ltz_pool *pool, const struct plan *plan)
{
	uint64_t keys = 0;

	for (uint64_t done = 0; done < plan->bytes; keys++) {
		uint64_t size = plan->least + (plan->most > plan->least ? random_below(plan->most - plan->least) : 0);

		memcpy(value, &keys, sizeof keys);
		NEED_OK(put(pool, keys, value, size));
		done += size;
	}
	return keys;
}

/* What is left when nothing changes any more. */
static uint64_t at_rest(ltz_pool *pool)
{
	uint64_t is = backed_bytes(pool), since_ns = now_ns();

	while (now_ns() < since_ns + 3 * SECOND_NS / 2) {
		uint64_t now = backed_bytes(pool);

		if (now != is)
			since_ns = now_ns();
		is = now;
		pause_ns(10 * MS_NS);
	}
	return is;
}

static struct cycle run_cycle(ltz_pool *pool, const struct plan *plan)
{
	struct cycle cycle;
	uint64_t start_ns;

	orders->keys = fill(pool, plan);
	note(&orders->asked, orders->asked + 1);
	NEED(WAIT_UNTIL(peek(&orders->done) == orders->asked, 2 * PATIENCE_NS));
	cycle.peak = backed_bytes(pool);
	for (uint64_t key = 0; key < orders->keys; key++)
		NEED(drop(pool, key) == 0);
	start_ns = now_ns();
	NEED(WAIT_UNTIL(backed_bytes(pool) <= FLOOR, PATIENCE_NS));
	cycle.down_ns = now_ns() - start_ns;
	cycle.after = at_rest(pool);
	cycle.writer_rss = status_bytes(0, "VmRSS");
	cycle.reader_rss = status_bytes(reader, "VmRSS");
	return cycle;
}

static uint64_t most_of(const struct cycle *cycle, unsigned from, unsigned to, size_t offset)
{
	uint64_t most = 0;

	for (unsigned c = from; c < to; c++) {
		uint64_t is = *(const uint64_t *)((const char *)&cycle[c] + offset);

		most = is > most ? is : most;
	}
	return most;
}

/* The most after the last cycles against the most after the first. */
static void compare(const struct plan *plan, const struct cycle *cycle, size_t offset, uint64_t creep, const char *what)
{
	unsigned some = plan->cycles / 4 ? plan->cycles / 4 : 1;
	double first = (double)most_of(cycle, 0, some, offset) / MIB;

	row_at_most(SOUND, (double)most_of(cycle, plan->cycles - some, plan->cycles, offset) / MIB, first + (double)creep / MIB, "MiB",
	            "%s: %s, last %u cycles (first %u: %.1f)", plan->name, what, some, some, first);
}

static void run_plan(ltz_pool *pool, const struct plan *plan)
{
	struct cycle cycle[CYCLES_MAX];

	for (unsigned c = 0; c < plan->cycles; c++)
		cycle[c] = run_cycle(pool, plan);
	row_shown((double)most_of(cycle, 0, plan->cycles, offsetof(struct cycle, peak)) / MIB, "MiB", "%s: memory at the peak, %u cycles",
	          plan->name, plan->cycles);
	compare(plan, cycle, offsetof(struct cycle, after), CREEP, "memory left");
	compare(plan, cycle, offsetof(struct cycle, writer_rss), 2 * CREEP, "writer's RSS");
	compare(plan, cycle, offsetof(struct cycle, reader_rss), 2 * CREEP, "reader's RSS");
	row_at_most(SPEED, (double)most_of(cycle, 0, plan->cycles, offsetof(struct cycle, down_ns)) / 1e9, 10, "s",
	            "%s: down to %llu MiB after, the slowest cycle", plan->name, (unsigned long long)(FLOOR / MIB));
}

int main(int argc, char **argv)
{
	struct gate start;
	ltz_pool *pool;

	prove_begin(argc, argv, "updown: up and down, again and again");
	const struct plan large = { .name = "1 MiB values", .bytes = 2 * GIB, .least = MIB, .most = MIB,
		                    .cycles = CYCLES_MAX };
	const struct plan mixed = { .name = "8 B to 3 KiB values", .bytes = prove_quick() ? 32 * MIB : 512 * MIB, .least = 8,
		                    .most = 3 * KIB, .cycles = prove_quick() ? 2 : CYCLES_MAX };
	orders = share(sizeof *orders);
	gate_init(&start);
	reader = spawn(be_reader, &start);
	pool = pool_create(0);
	gate_open(&start);
	memset(value, 'v', sizeof value);
	row_shown((double)backed_bytes(pool) / MIB, "MiB", "memory of the empty pool");
	if (!prove_quick())
		run_plan(pool, &large);
	run_plan(pool, &mixed);
	row_equal(orders->wrong, 0, "values that the reader did not find or found wrong");
	row_equal(findings(pool), 0, "findings of check");
	note(&orders->stop, 1);
	row_equal(!ended_well(reader), 0, "readers that failed");
	ltz_close(pool);
	return prove_end();
}
