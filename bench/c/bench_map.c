/* SPDX-License-Identifier: MIT */
/*
 * bench_map.c - the map from C: nanoseconds a get and a put, the load rate,
 * the longest pause while the pool grows, and the memory a record takes.
 *
 *     bench_map [--quick]
 *
 * Prints one JSON object a line: {"row", "title", "unit", "samples": {name:
 * [one number a round]}}, which bench/run.py takes over. Every get's value goes
 * into a sum that must come out right, and every put is read back.
 *
 * Keys are visited in a random order, but lie in memory in that order: what
 * misses the caches is the pool, not the benchmark. The floor beside them is a
 * chain of dependent reads over as much memory as the records take.
 */
#include <latzero.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { KEY_BYTES = 11, VALUE_BYTES = 64, SMALL_RECORD_BYTES = 100, RECORD_BYTES = 128, MAX_ROUNDS = 32 };

struct work {
	size_t count;      /* keys in the pool                      */
	size_t rounds, passes;
	const char *label; /* of the row: "small" or "many"         */
};

struct named_key { /* one slot of the key array, in visiting order */
	char text[12];
	uint32_t index;
};

static char pool_name[64];

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(void)
{
	static uint64_t state = 0x9E3779B97F4A7C15u;
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static void must(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "bench_map: %s: %s %s\n", what, ltz_strerror(result), ltz_error_detail());
	exit(1);
}

static void must_hold(int condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "bench_map: wrong result: %s\n", what);
	exit(1);
}

/* Memory that is there: no page fault is measured. */
static void *touched(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
	                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	must_hold(memory != MAP_FAILED, "memory for the benchmark itself");
	return memory;
}

static void print_row(const char *row, const char *label, const char *title, size_t count,
                      const char *unit, const char *who, const double *samples, size_t rounds)
{
	printf("{\"row\": \"%s%s%s\", \"title\": \"%s", row, label ? "-" : "", label ? label : "", title);
	if (count >= 1000000)
		printf(", %zu,%03zu,%03zu", count / 1000000, count / 1000 % 1000, count % 1000);
	else if (count != 0)
		printf(", %zu,%03zu", count / 1000, count % 1000);
	printf("\", \"unit\": \"%s\", \"samples\": {\"%s\": [", unit, who);
	for (size_t i = 0; i < rounds; i++)
		printf("%s%.2f", i ? ", " : "", samples[i]);
	printf("]}}\n");
	fflush(stdout);
}

/* ---- keys --------------------------------------------------------------------- */

static struct named_key *make_keys(size_t count)
{
	struct named_key *keys = touched(count * sizeof *keys);
	for (size_t i = 0; i < count; i++) {
		char text[24];
		snprintf(text, sizeof text, "k%010zu", i);
		memcpy(keys[i].text, text, sizeof keys[i].text);
		keys[i].index = (uint32_t)i;
	}
	return keys;
}

static void shuffle(struct named_key *keys, size_t count)
{
	for (size_t i = count - 1; i > 0; i--) {
		size_t j = next_random() % (i + 1);
		struct named_key other = keys[i];
		keys[i] = keys[j];
		keys[j] = other;
	}
}

static ltz_key key_of(const struct named_key *named)
{
	return (ltz_key){.data = named->text, .size = KEY_BYTES, .type = LTZ_KEY_STR};
}

/* ---- one operation over all keys ------------------------------------------------- */

static void put_all(ltz_pool *pool, const struct named_key *keys, size_t count, uint64_t plus)
{
	uint64_t bytes[VALUE_BYTES / 8] = {0};
	ltz_value value = {.data = bytes, .size = VALUE_BYTES, .type = LTZ_BYTES};
	for (size_t i = 0; i < count; i++) {
		ltz_key key = key_of(&keys[i]);
		bytes[0] = keys[i].index + plus;
		bytes[VALUE_BYTES / 8 - 1] = bytes[0];
		must(ltz_set(pool, &key, &value, NULL, NULL), "set");
	}
}

/* Returns the sum of first and last words, so that no value goes unread. */
static uint64_t get_all(ltz_pool *pool, const struct named_key *keys, size_t count)
{
	uint64_t bytes[VALUE_BYTES / 8];
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++) {
		ltz_key key = key_of(&keys[i]);
		must(ltz_get(pool, &key, bytes, sizeof bytes, NULL), "get");
		sum += bytes[0] + bytes[VALUE_BYTES / 8 - 1];
	}
	return sum;
}

static uint64_t right_sum(size_t count, uint64_t plus)
{
	return 2 * ((uint64_t)count * (count - 1) / 2 + (uint64_t)count * plus);
}

/* ---- floors ------------------------------------------------------------------------ */

/* A chain through `count` records in random order: one dependent read each. */
static void measure_chain(const struct work *work)
{
	size_t stride = RECORD_BYTES / sizeof(uint32_t);
	uint32_t *memory = touched(work->count * RECORD_BYTES);
	uint32_t *order = touched(work->count * sizeof *order);
	double samples[MAX_ROUNDS];
	volatile uint32_t sink;

	for (size_t i = 0; i < work->count; i++)
		order[i] = (uint32_t)i;
	for (size_t i = work->count - 1; i > 0; i--) { /* Sattolo: one cycle */
		size_t j = next_random() % i;
		uint32_t other = order[i];
		order[i] = order[j];
		order[j] = other;
	}
	for (size_t i = 0; i < work->count; i++)
		memory[i * stride] = order[i];
	for (size_t round = 0; round < work->rounds; round++) {
		size_t steps = work->count * work->passes;
		uint32_t at = 0;
		uint64_t start = now_ns();
		for (size_t i = 0; i < steps; i++)
			at = memory[at * stride];
		samples[round] = (double)(now_ns() - start) / (double)steps;
		sink = at;
	}
	(void)sink;
	print_row("c-floor-read", work->label, "floor: dependent read", work->count, "ns", "floor", samples, work->rounds);
	munmap(memory, work->count * RECORD_BYTES);
	munmap(order, work->count * sizeof *order);
}

/* ---- get and put ---------------------------------------------------------------------- */

static void measure_map(const struct work *work)
{
	struct named_key *keys = make_keys(work->count);
	size_t steps = work->count * work->passes;
	double gets[MAX_ROUNDS], puts[MAX_ROUNDS];
	ltz_pool *pool;

	must(ltz_create(pool_name, NULL, &pool), "create");
	shuffle(keys, work->count);
	put_all(pool, keys, work->count, 0);
	for (size_t round = 0; round < work->rounds; round++) {
		uint64_t sum = 0;
		shuffle(keys, work->count);
		must_hold(get_all(pool, keys, work->count) == right_sum(work->count, round), "a put was lost");

		uint64_t start = now_ns();
		for (size_t pass = 0; pass < work->passes; pass++)
			sum += get_all(pool, keys, work->count);
		gets[round] = (double)(now_ns() - start) / (double)steps;
		must_hold(sum == work->passes * right_sum(work->count, round), "get");

		start = now_ns();
		for (size_t pass = 0; pass < work->passes; pass++)
			put_all(pool, keys, work->count, round + 1);
		puts[round] = (double)(now_ns() - start) / (double)steps;
	}
	print_row("c-get", work->label, "C get 64 B", work->count, "ns", "latzero", gets, work->rounds);
	print_row("c-put", work->label, "C put 64 B, replace", work->count, "ns", "latzero", puts, work->rounds);
	ltz_close(pool);
	munmap(keys, work->count * sizeof *keys);
}

/* ---- growth ------------------------------------------------------------------------------ */

struct growth {
	double p9999_us, max_us, load_ns, overhead_bytes, idle_max_us;
};

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* The longest pause of a loop that only reads the clock, for as long: the machine's share. */
static double idle_max_us(uint64_t duration_ns)
{
	uint64_t start = now_ns(), last = start, longest = 0;
	while (last - start < duration_ns) {
		uint64_t now = now_ns();
		longest = now - last > longest ? now - last : longest;
		last = now;
	}
	return (double)longest / 1000;
}

/* Fills an empty pool with small records, timing each operation. */
static struct growth fill(const struct named_key *keys, size_t count, uint32_t *took_ns)
{
	char bytes[SMALL_RECORD_BYTES] = "value";
	ltz_value value = {.data = bytes, .size = sizeof bytes, .type = LTZ_BYTES};
	struct ltz_stats before, after;
	ltz_pool *pool;
	uint64_t keys_now;

	must(ltz_create(pool_name, NULL, &pool), "create");
	must(ltz_get_stats(pool, &before), "stats");
	uint64_t start = now_ns(), last = start;
	for (size_t i = 0; i < count; i++) {
		ltz_key key = key_of(&keys[i]);
		must(ltz_set(pool, &key, &value, NULL, NULL), "set");
		uint64_t now = now_ns();
		uint64_t took = now - last;
		took_ns[i] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
		last = now;
	}
	uint64_t duration_ns = last - start;
	must(ltz_count(pool, &keys_now), "count");
	must_hold(keys_now == count, "number of keys after filling");
	must(ltz_get_stats(pool, &after), "stats");
	ltz_close(pool);

	qsort(took_ns, count, sizeof *took_ns, compare_u32);
	return (struct growth){
		.p9999_us = took_ns[count - 1 - count / 10000] / 1000.0,
		.max_us = took_ns[count - 1] / 1000.0,
		.load_ns = (double)duration_ns / (double)count,
		.overhead_bytes = (double)(after.used_bytes - before.used_bytes) / (double)count
			- KEY_BYTES - SMALL_RECORD_BYTES,
		.idle_max_us = idle_max_us(duration_ns),
	};
}

static void measure_growth(size_t count, size_t rounds)
{
	struct named_key *keys = make_keys(count);
	uint32_t *took_ns = touched(count * sizeof *took_ns);
	double p9999[MAX_ROUNDS], max[MAX_ROUNDS], load[MAX_ROUNDS], overhead[MAX_ROUNDS], idle[MAX_ROUNDS];

	shuffle(keys, count);
	for (size_t round = 0; round < rounds; round++) {
		struct growth growth = fill(keys, count, took_ns);
		p9999[round] = growth.p9999_us;
		max[round] = growth.max_us;
		load[round] = growth.load_ns;
		overhead[round] = growth.overhead_bytes;
		idle[round] = growth.idle_max_us;
	}
	print_row("c-load", NULL, "C load, a record", count, "ns", "latzero", load, rounds);
	print_row("c-grow-p9999", NULL, "C fill, p99.99", count, "us", "latzero", p9999, rounds);
	print_row("c-grow-max", NULL, "C fill, slowest", count, "us", "latzero", max, rounds);
	print_row("c-floor-pause", NULL, "floor: pause of an idle loop", 0, "us", "floor", idle, rounds);
	print_row("c-memory", NULL, "C bytes beyond key + value", count, "B", "latzero", overhead, rounds);
}

int main(int argc, char **argv)
{
	int quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
	struct work small = {.count = 10000, .rounds = quick ? 3 : 15, .passes = quick ? 10 : 50, .label = "small"};
	struct work many = {.count = quick ? 100000 : 1000000, .rounds = quick ? 2 : 7, .passes = 1, .label = "many"};

	snprintf(pool_name, sizeof pool_name, "bench-c-%ld", (long)getpid());
	measure_chain(&small);
	measure_map(&small);
	measure_chain(&many);
	measure_map(&many);
	measure_growth(many.count, quick ? 2 : 7);
	return 0;
}
