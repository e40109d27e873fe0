/* SPDX-License-Identifier: MIT */
/*
 * count_map.c - one hot operation, many times, for an instruction counter.
 *
 *     count_map OPERATION TIMES
 *
 * Everything that is to be counted happens inside measured(), which the
 * counter is told to look at alone (bench/count.py). Keys have 11 bytes and
 * the pool 10,000 of them; "64" are values of 64 bytes, the others have 8.
 */
#include <latzero.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEYS = 10000, KEY_BYTES = 11 };

static ltz_pool *pool;
static ltz_key keys[2 * KEYS]; /* the second half is absent */
static char text[2 * KEYS][KEY_BYTES + 1];
static char bytes[64];

static void must(int result)
{
	if (result == 0)
		return;
	fprintf(stderr, "count_map: %s %s\n", ltz_strerror(result), ltz_error_detail());
	exit(1);
}

static ltz_value value_of(size_t size) { return (ltz_value){bytes, size, LTZ_BYTES}; }

static void get(unsigned i)
{
	char buf[64];
	ltz_item item;

	must(ltz_get(pool, &keys[i % KEYS], buf, sizeof(buf), &item));
}

static void miss(unsigned i)
{
	char buf[64];

	if (ltz_get(pool, &keys[KEYS + i % KEYS], buf, sizeof(buf), NULL) != LTZ_NOT_FOUND)
		exit(1);
}

static void set(unsigned i)
{
	ltz_value value = value_of(8);

	must(ltz_set(pool, &keys[i % KEYS], &value, NULL, NULL));
}

static void set_64(unsigned i)
{
	ltz_value value = value_of(64);

	must(ltz_set(pool, &keys[i % KEYS], &value, NULL, NULL));
}

static void set_ttl(unsigned i)
{
	struct ltz_set_options options = {.ttl_ms = 3600000};
	ltz_value value = value_of(8);

	must(ltz_set(pool, &keys[i % KEYS], &value, &options, NULL));
}

static void add(unsigned i)
{
	ltz_number one = {.type = LTZ_INT64, .as.i64 = 1}, zero = {.type = LTZ_INT64}, sum;

	must(ltz_add(pool, &keys[KEYS + i % 100], one, zero, &sum, NULL));
}

static void set_and_delete(unsigned i)
{
	ltz_value value = value_of(8);

	must(ltz_set(pool, &keys[KEYS + i % KEYS], &value, NULL, NULL));
	must(ltz_delete(pool, &keys[KEYS + i % KEYS], 0));
}

static const struct {
	const char *name;
	void (*run)(unsigned i);
	size_t size; /* of the values before */
} operations[] = {
	{"get", get, 8}, {"get_64", get, 64}, {"miss", miss, 8}, {"set", set, 8}, {"set_64", set_64, 64},
	{"set_ttl", set_ttl, 8}, {"add", add, 8}, {"set_and_delete", set_and_delete, 8},
};

__attribute__((noipa)) static void measured(void (*run)(unsigned i), unsigned times)
{
	for (unsigned i = 0; i < times; i++)
		run(i);
}

static void fill(size_t size)
{
	ltz_value value = value_of(size);

	for (unsigned i = 0; i < 2 * KEYS; i++) {
		snprintf(text[i], sizeof(text[i]), "key:%07u", i);
		keys[i] = (ltz_key){text[i], KEY_BYTES, LTZ_KEY_STR};
		if (i < KEYS)
			must(ltz_set(pool, &keys[i], &value, NULL, NULL));
	}
}

int main(int argc, char **argv)
{
	struct ltz_open_options options = {.max_size_bytes = UINT64_C(128) << 20};
	char dir[] = "/tmp/latzero-count-XXXXXX", *name = argc > 1 ? argv[1] : "";
	unsigned times = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 1;

	for (size_t k = 0; k < sizeof(operations) / sizeof(operations[0]); k++) {
		if (strcmp(operations[k].name, name) != 0)
			continue;
		options.dir = mkdtemp(dir);
		must(ltz_create("count", &options, &pool));
		fill(operations[k].size);
		for (unsigned i = 0; i < times; i++)
			operations[k].run(i); /* what is made once is made */
		measured(operations[k].run, times);
		ltz_close(pool);
		rmdir(dir);
		return 0;
	}
	fprintf(stderr, "count_map OPERATION TIMES\n");
	return 2;
}
