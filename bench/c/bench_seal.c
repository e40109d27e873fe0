/* SPDX-License-Identifier: MIT */
/*
 * bench_seal.c - what sealing adds: get and set of 64 B and 1 MiB in an open, a
 * locked and an encrypted pool, in turns, in nanoseconds of this thread's
 * processor time (the machine may be shared).
 *
 *     bench_seal [--quick]
 *
 * Below the public API: a password is no part of it. Beside the 1 MiB rows
 * stand AES-256-GCM of 1 MiB in place (what `openssl speed` measures), and a
 * copy. Rows as bench_map's.
 */
#include <openssl/evp.h>

#include <latzero.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "store/map.h"

enum { KEYS = 10000, SMALL = 64, LARGE = 1 << 20, LARGE_KEYS = 8, ROUNDS_MAX = 32, KINDS = 3 };

static const char *const kind_names[KINDS] = {"open", "locked", "encrypted"};
static const uint32_t kind_flags[KINDS] = {0, LTZ_AUTH, LTZ_AUTH | LTZ_ENCRYPTION};
static struct ltz_mem *pools[KINDS];
static char keys[KEYS][12];
static uint8_t value[LARGE], out[LARGE];

static uint64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void must(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "bench_seal: %s: %s %s\n", what, ltz_strerror(result), ltz_error_detail());
	exit(1);
}

static struct ltz_mem *make_pool(unsigned kind)
{
	static const uint8_t pool_key[LTZ_MEM_KEY_BYTES] = "a key for benchmarks";
	const struct ltz_mem_options options = {
		.max_size_bytes = 256u << 20, .pool_flags = kind_flags[kind], .pool_key = kind_flags[kind] ? pool_key : NULL,
	};
	struct ltz_mem *mem;
	int fd = ltz__mem_make(&options);

	must(fd < 0 ? fd : 0, "make");
	must(ltz__map_attach(fd, &options, &mem), "attach");
	close(fd);
	return mem;
}

static void set_all(struct ltz_mem *mem, unsigned count, size_t size)
{
	for (unsigned i = 0; i < count; i++) {
		struct ltz_hkey key;

		hkey_init(mem, &key, LTZ_KEY_STR, keys[i], 11);
		must(ltz__map_set(mem, &key, &(ltz_value){.data = value, .size = size, .type = LTZ_BYTES}, NULL, NULL), "set");
	}
}

static void get_all(struct ltz_mem *mem, unsigned count, size_t size)
{
	for (unsigned i = 0; i < count; i++) {
		struct ltz_hkey key;
		ltz_item item;

		hkey_init(mem, &key, LTZ_KEY_STR, keys[i], 11);
		must(ltz__map_get(mem, &key, out, size, &item), "get");
	}
	if (memcmp(out, value, size) != 0)
		must(-EBADMSG, "compare");
}

static void print_row(const char *row, const char *title, const char *who, const double *samples, unsigned rounds)
{
	printf("{\"row\": \"%s\", \"title\": \"%s\", \"unit\": \"ns\", \"samples\": {\"%s\": [", row, title, who);
	for (unsigned i = 0; i < rounds; i++)
		printf("%s%.1f", i ? ", " : "", samples[i]);
	puts("]}}");
}

typedef void work(struct ltz_mem *mem, unsigned count, size_t size);

static void measure(const char *row, const char *title, work *run, unsigned count, size_t size, unsigned passes, unsigned rounds)
{
	static double samples[KINDS][ROUNDS_MAX];

	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned k = 0; k < KINDS; k++) {
			uint64_t start = cpu_ns();

			for (unsigned pass = 0; pass < passes; pass++)
				run(pools[k], count, size);
			samples[k][round] = (double)(cpu_ns() - start) / (passes * count);
		}
	}
	for (unsigned k = 0; k < KINDS; k++)
		print_row(row, title, kind_names[k], samples[k], rounds);
}

/* AES-256-GCM of 1 MiB in place with one context, and a copy of 1 MiB. */
static void measure_floors(unsigned rounds)
{
	double gcm[ROUNDS_MAX], copy[ROUNDS_MAX];
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	uint8_t key[32] = {1}, nonce[12] = {2};
	int written;

	EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce);
	for (unsigned round = 0; round < rounds; round++) {
		uint64_t start = cpu_ns();

		for (unsigned i = 0; i < 16; i++) {
			EVP_EncryptInit_ex(context, NULL, NULL, NULL, nonce);
			EVP_EncryptUpdate(context, out, &written, out, LARGE);
			EVP_EncryptFinal_ex(context, out, &written);
		}
		gcm[round] = (double)(cpu_ns() - start) / 16;
		start = cpu_ns();
		for (unsigned i = 0; i < 16; i++)
			memcpy(out, value, LARGE);
		copy[round] = (double)(cpu_ns() - start) / 16;
	}
	EVP_CIPHER_CTX_free(context);
	print_row("c-floor-gcm", "floor: AES-256-GCM of 1 MiB in place", "floor", gcm, rounds);
	print_row("c-floor-copy", "floor: memcpy of 1 MiB", "floor", copy, rounds);
}

int main(int argc, char **argv)
{
	bool quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
	unsigned rounds = quick ? 5 : 15, passes = quick ? 10 : 30;

	for (unsigned i = 0; i < KEYS; i++)
		snprintf(keys[i], sizeof(keys[i]), "k%010u", i);
	for (unsigned i = 0; i < LARGE; i++)
		value[i] = (uint8_t)(i * 7);
	for (unsigned k = 0; k < KINDS; k++) {
		pools[k] = make_pool(k);
		set_all(pools[k], KEYS, SMALL);
	}
	measure("c-seal-get", "get 64 B, 10,000 keys", get_all, KEYS, SMALL, passes, rounds);
	measure("c-seal-set", "set 64 B, replace", set_all, KEYS, SMALL, passes, rounds);
	measure_floors(rounds);
	measure("c-seal-set-large", "set 1 MiB", set_all, LARGE_KEYS, LARGE, 2, rounds);
	measure("c-seal-get-large", "get 1 MiB", get_all, LARGE_KEYS, LARGE, 2, rounds);
	for (unsigned k = 0; k < KINDS; k++)
		ltz__map_detach(pools[k]);
	return 0;
}
