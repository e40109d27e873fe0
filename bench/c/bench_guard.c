/* SPDX-License-Identifier: MIT */
/*
 * bench_guard.c - what sealing, tags, password hashing and the password
 * exchange cost, by the functions of src/guard themselves.
 *
 *     bench_guard [--quick]
 *
 * Prints one JSON object a line, as bench_map does. The rows are measured by
 * turns, so that what disturbs one disturbs all. Everything sealed is opened
 * again and compared.
 *
 * "by chunks" is a large value as a pool has to do it: each chunk through a
 * private buffer, with the copy to or from other memory. memcpy of the same
 * size is the floor beside it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guard/argon2.h"
#include "guard/hmac.h"
#include "guard/spake2.h"
#include "guard/xaes.h"

enum { MAX_ROUNDS = 31, CHUNK = LTZ_XAES_CHUNK_BYTES, LARGE = 1 << 20, AAD_BYTES = 48 };

static const uint8_t key[LTZ_XAES_KEY_BYTES] = { 1 }, prefix[LTZ_XAES_PREFIX_BYTES] = { 2 };
static uint8_t aad_bytes[AAD_BYTES], text[LARGE], sealed[LARGE], opened[LARGE], buffer[CHUNK];
static uint8_t nonce[LTZ_XAES_NONCE_BYTES], tags[LARGE / CHUNK][LTZ_XAES_TAG_BYTES];
static const struct ltz_bytes aad = { aad_bytes, sizeof aad_bytes };
static struct ltz_xaes *xaes;
static struct ltz_hmac hmac;
static uint64_t counter;

static void must(int result, const char *what)
{
	if (result == 0)
		return;
	fprintf(stderr, "bench_guard: %s: %d\n", what, result);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- what is measured ------------------------------------------------------------ */

static void seal(size_t size)
{
	struct ltz_bytes part = {text, size};
	ltz__xaes_nonce(nonce, prefix, counter++);
	must(ltz__xaes_seal(xaes, nonce, aad, &part, 1, sealed, tags[0]), "seal");
}

static void open_sealed(size_t size)
{
	struct ltz_room room = {opened, size};
	must(ltz__xaes_open(xaes, nonce, aad, sealed, &room, 1, tags[0]), "open");
}

static void seal_by_chunks(size_t size)
{
	struct ltz_xaes_chunk chunk;
	ltz__xaes_nonce(nonce, prefix, counter++);
	for (uint64_t i = 0; i < ltz__xaes_chunks(size); i++) {
		must(ltz__xaes_chunk(&chunk, nonce, size, i), "chunk");
		struct ltz_bytes part = {text + chunk.offset, chunk.size};
		must(ltz__xaes_seal(xaes, chunk.nonce, aad, &part, 1, buffer, tags[i]), "seal a chunk");
		memcpy(sealed + chunk.offset, buffer, chunk.size);
	}
}

static void open_by_chunks(size_t size)
{
	struct ltz_xaes_chunk chunk;
	for (uint64_t i = 0; i < ltz__xaes_chunks(size); i++) {
		must(ltz__xaes_chunk(&chunk, nonce, size, i), "chunk");
		struct ltz_room room = {opened + chunk.offset, chunk.size};
		memcpy(room.data, sealed + chunk.offset, chunk.size);
		must(ltz__xaes_open(xaes, chunk.nonce, aad, room.data, &room, 1, tags[i]), "open a chunk");
	}
}

/* A prefix that is not in the cache: its subkey is derived each time. */
static void seal_other_prefix(size_t size)
{
	struct ltz_bytes part = {text, size};
	uint8_t other[LTZ_XAES_PREFIX_BYTES] = {3};
	memcpy(other + 4, &counter, sizeof counter);
	ltz__xaes_nonce(nonce, other, counter++);
	must(ltz__xaes_seal(xaes, nonce, aad, &part, 1, sealed, tags[0]), "seal");
}

static void tag(size_t size)
{
	struct ltz_bytes part = {text, size};
	ltz__hmac(&hmac, &part, 1, sealed);
}

static void copy(size_t size)
{
	memcpy(opened, text, size);
	__asm__ __volatile__("" : : "r"(opened) : "memory");
}

static void hash_password(size_t size)
{
	struct ltz_argon2_input input = {.password = {"correct horse", 13}, .salt = {"0123456789abcdef", 16}};
	must(ltz__argon2id(&LTZ_ARGON2_DEFAULT, &input, (struct ltz_room){sealed, size}), "argon2id");
}

/* Both sides of a whole exchange, from messages to keys. */
static void exchange(size_t size)
{
	static const uint8_t w[LTZ_SPAKE2_W_BYTES] = {7};
	struct ltz_spake2_names names = {{"joiner", 6}, {"listener", 8}, {text, size}};
	uint8_t messages[2][LTZ_SPAKE2_MESSAGE_BYTES], confirmation[LTZ_SPAKE2_CONFIRMATION_BYTES];
	uint8_t keys[2][LTZ_SPAKE2_KEY_BYTES];
	struct ltz_bytes shown = {confirmation, sizeof confirmation};
	struct ltz_spake2 *a, *b;

	must(ltz__spake2_new(&a, LTZ_SPAKE2_JOINER, w, &names, messages[0]), "joiner");
	must(ltz__spake2_new(&b, LTZ_SPAKE2_LISTENER, w, &names, messages[1]), "listener");
	must(ltz__spake2_receive(a, (struct ltz_bytes){messages[1], sizeof messages[1]}), "receive");
	must(ltz__spake2_receive(b, (struct ltz_bytes){messages[0], sizeof messages[0]}), "receive");
	must(ltz__spake2_confirmation(a, confirmation), "confirmation");
	must(ltz__spake2_confirm(b, shown), "confirm");
	must(ltz__spake2_confirmation(b, confirmation), "confirmation");
	must(ltz__spake2_confirm(a, shown), "confirm");
	must(ltz__spake2_key(a, keys[0]), "key");
	must(ltz__spake2_key(b, keys[1]), "key");
	must(memcmp(keys[0], keys[1], sizeof keys[0]), "the keys differ");
	ltz__spake2_free(a);
	ltz__spake2_free(b);
}

/* ---- rows --------------------------------------------------------------------------- */

struct row {
	const char *name, *title;
	void (*before)(size_t size); /* once a round, not timed; may be NULL */
	void (*run)(size_t size);
	size_t size;
	unsigned times; /* a round */
};

static const struct row rows[] = {
	{"guard-seal-64", "seal 64 B", NULL, seal, 64, 5000},
	{"guard-open-64", "open 64 B", seal, open_sealed, 64, 5000},
	{"guard-seal-new-64", "seal 64 B, prefix not seen before", NULL, seal_other_prefix, 64, 2000},
	{"guard-hmac-64", "HMAC of 64 B", NULL, tag, 64, 5000},
	{"guard-seal-1k", "seal 1 KiB", NULL, seal, 1024, 2000},
	{"guard-open-1k", "open 1 KiB", seal, open_sealed, 1024, 2000},
	{"guard-seal-64k", "seal 64 KiB", NULL, seal, 65536, 50},
	{"guard-open-64k", "open 64 KiB", seal, open_sealed, 65536, 50},
	{"guard-seal-1m", "seal 1 MiB as one", NULL, seal, LARGE, 4},
	{"guard-open-1m", "open 1 MiB as one", seal, open_sealed, LARGE, 4},
	{"guard-seal-chunks-1m", "seal 1 MiB by chunks, copied out", NULL, seal_by_chunks, LARGE, 4},
	{"guard-open-chunks-1m", "open 1 MiB by chunks, copied in", seal_by_chunks, open_by_chunks, LARGE, 4},
	{"guard-floor-copy-1m", "floor: memcpy 1 MiB", NULL, copy, LARGE, 4},
	{"guard-argon2id", "Argon2id, t=3 m=64 MiB p=1", NULL, hash_password, 40, 1},
	{"guard-spake2", "SPAKE2, both sides of an exchange", NULL, exchange, 32, 10},
};
enum { ROWS = sizeof rows / sizeof rows[0] };

static double measure(const struct row *row)
{
	if (row->before)
		row->before(row->size);
	uint64_t start = now_ns();
	for (unsigned i = 0; i < row->times; i++)
		row->run(row->size);
	double took = (double)(now_ns() - start) / row->times;
	if (row->before && memcmp(text, opened, row->size) != 0)
		must(-1, "opened to something else");
	return took;
}

int main(int argc, char **argv)
{
	int rounds = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 3 : MAX_ROUNDS;
	static double samples[ROWS][MAX_ROUNDS];

	for (size_t i = 0; i < sizeof text; i++)
		text[i] = (uint8_t)(i * 131 >> 7);
	memset(sealed, 1, sizeof sealed);
	must(ltz__xaes_new(&xaes, key), "libcrypto");
	must(ltz__hmac_init(&hmac, (struct ltz_bytes){key, sizeof key}), "hmac");
	for (size_t i = 0; i < ROWS; i++)
		measure(&rows[i]);
	for (int round = 0; round < rounds; round++)
		for (size_t i = 0; i < ROWS; i++)
			samples[i][round] = measure(&rows[i]);
	for (size_t i = 0; i < ROWS; i++) {
		printf("{\"row\": \"%s\", \"title\": \"%s\", \"unit\": \"ns\", \"samples\": {\"latzero\": [", rows[i].name,
		       rows[i].title);
		for (int round = 0; round < rounds; round++)
			printf("%s%.1f", round ? ", " : "", samples[i][round]);
		printf("]}}\n");
	}
	ltz__xaes_free(xaes);
	return 0;
}
