/* SPDX-License-Identifier: MIT */
/*
 * pools.h - what tests of the shm and store floors share: small pools, members
 * of them, keys, and the question whether a pool is whole.
 *
 * Every ltz_mem is a member of its own, so one process can be many members.
 * A member that is left is dead for the others, exactly as after a SIGKILL.
 */
#ifndef LTZ_TEST_POOLS_H
#define LTZ_TEST_POOLS_H

#include <latzero.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "shm/granule.h"
#include "shm/lane.h"
#include "shm/mem.h"
#include "shm/slab.h"
#include "store/check.h"
#include "store/map.h"
#include "store/table.h"
#include "store/tick.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define SECOND_NS UINT64_C(1000000000)

/* ---- making, joining, leaving ------------------------------------------------------- */

/* The kind of pools that are made and joined from now on: 0, LTZ_AUTH, LTZ_ENCRYPTION. $LTZ_TEST_POOL: proc/test_sealed.c */
static uint32_t pool_kind;
__attribute__((constructor)) static void pool_choose_kind(void)
{
	const char *kind = getenv("LTZ_TEST_POOL");

	if (kind)
		pool_kind = strcmp(kind, "locked") == 0 ? LTZ_AUTH : strcmp(kind, "encrypted") == 0 ? LTZ_ENCRYPTION : 0;
}
static const uint8_t pool_key[LTZ_MEM_KEY_BYTES] = "SENTINEL of the key of the pool";

/* log2: buckets of the smallest table; 0: as users have it. */
static inline int pool_make(uint64_t max_size_bytes, unsigned log2)
{
	struct ltz_mem_options options = {
		.max_size_bytes = max_size_bytes, .name = "test", .min_buckets_log2 = log2, .pool_flags = pool_kind,
	};
	int fd = ltz__mem_make(&options);

	ASSERT_OK(fd);
	return fd;
}

/* Members of this process; remembered, so that a leak checker finds those that a test leaves behind. */
#define POOL_MEMBERS_MAX 256
static struct ltz_mem *pool_members[POOL_MEMBERS_MAX];

static inline struct ltz_mem *pool_remember(struct ltz_mem *mem)
{
	for (unsigned i = 0; i < POOL_MEMBERS_MAX; i++) {
		struct ltz_mem *none = NULL;

		if (__atomic_compare_exchange_n(&pool_members[i], &none, mem, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return mem;
	}
	test_fail(TEST_AT(TEST_ASSERT), "more than %d members", POOL_MEMBERS_MAX);
	return NULL;
}

static inline void pool_forget(struct ltz_mem *mem)
{
	for (unsigned i = 0; i < POOL_MEMBERS_MAX; i++)
		if (__atomic_load_n(&pool_members[i], __ATOMIC_RELAXED) == mem)
			__atomic_store_n(&pool_members[i], NULL, __ATOMIC_RELAXED);
}

static inline struct ltz_mem *pool_join(int fd)
{
	struct ltz_mem_options options = { .pool_key = pool_kind ? pool_key : NULL };
	struct ltz_mem *mem = NULL;

	ASSERT_OK(ltz__map_attach(fd, &options, &mem));
	return pool_remember(mem);
}

static inline void pool_leave(struct ltz_mem *mem)
{
	pool_forget(mem);
	ltz__map_detach(mem);
}

/* A pool with one member. */
static inline struct ltz_mem *pool_new(uint64_t max_size_bytes, unsigned log2)
{
	int fd = pool_make(max_size_bytes, log2);
	struct ltz_mem *mem = pool_join(fd);

	close(fd);
	return mem;
}

static inline struct ltz_mem *pool_join_again(struct ltz_mem *mem) { return pool_join(ltz__mem_fd(mem)); }

/* Members of the memory alone: no index. refers answers what the test says. */
static int bare_answer;
static inline int bare_refers(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t ref, uint64_t bytes)
{
	(void)mem, (void)lane, (void)ref, (void)bytes;
	return bare_answer;
}
static inline void bare_expect(const struct ltz_mem *mem, uint64_t ref, uint64_t bytes)
{
	(void)mem, (void)ref, (void)bytes;
}
static const struct ltz_index_ops bare_ops = { .refers = bare_refers, .expect = bare_expect };

static inline struct ltz_mem *bare_join(int fd)
{
	struct ltz_mem_options options = { 0 };
	struct ltz_mem *mem = NULL;

	ASSERT_OK(ltz__mem_attach(fd, &options, &mem));
	mem->index = &bare_ops;
	return pool_remember(mem);
}

static inline void bare_leave(struct ltz_mem *mem)
{
	pool_forget(mem);
	ltz__mem_detach(mem);
}

static inline struct ltz_mem *bare_new(uint64_t max_size_bytes)
{
	int fd = pool_make(max_size_bytes, 0);
	struct ltz_mem *mem = bare_join(fd);

	close(fd);
	return mem;
}

/* ---- time ------------------------------------------------------------------------------ */

/* The member's clock goes on by that much (together at least a second, or it is ignored). */
static inline void pool_travel(struct ltz_mem *mem, uint64_t ns) { ltz__mem_set_now(mem, ltz__mem_now_ns(mem) + ns); }

/*
 * The same to the nanosecond: the pool's clock is so far ahead of the
 * machine's. (ltz__mem_set_now takes what another member said some time ago.)
 */
static inline void pool_set_ahead(struct ltz_mem *mem, uint64_t ns)
{
	__atomic_store_n(&mem->clock_offset_ns, (int64_t)ns, __ATOMIC_RELAXED);
}

/* As many rounds of housekeeping, each with everything due. */
static inline void pool_tick(struct ltz_mem *mem, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		pool_travel(mem, 2 * SECOND_NS);
		ltz__tick(mem);
	}
}

/* ---- keys and values --------------------------------------------------------------------- */

static inline struct ltz_hkey key_of(struct ltz_mem *mem, const char *text)
{
	struct ltz_hkey key;

	hkey_init(mem, &key, LTZ_KEY_STR, text, (uint32_t)strlen(text));
	return key;
}

/* The key of a number; *number must stay. */
static inline struct ltz_hkey key_of_number(struct ltz_mem *mem, const uint64_t *number)
{
	struct ltz_hkey key;

	hkey_init(mem, &key, LTZ_KEY_INT, number, sizeof(*number));
	return key;
}

/* The next number after *number whose key falls into that bucket of a table of that size. */
static inline void number_in_bucket(struct ltz_mem *mem, unsigned log2, uint64_t bucket, uint64_t *number)
{
	struct ltz_hkey key;

	do {
		++*number;
		key = key_of_number(mem, number);
	} while (bucket_of_hash(key.hash, log2) != bucket);
}

static inline int put(struct ltz_mem *mem, const struct ltz_hkey *key, const void *data, uint64_t size)
{
	ltz_value value = { .data = data, .size = size, .type = LTZ_BYTES };

	return ltz__map_set(mem, key, &value, NULL, NULL);
}

static inline int put_ttl(struct ltz_mem *mem, const struct ltz_hkey *key, const void *data, uint64_t size, uint64_t ttl_ms)
{
	struct ltz_set_options options = { .ttl_ms = ttl_ms };
	ltz_value value = { .data = data, .size = size, .type = LTZ_BYTES };

	return ltz__map_set(mem, key, &value, &options, NULL);
}

static inline int put_text(struct ltz_mem *mem, const char *name, const char *text)
{
	struct ltz_hkey key = key_of(mem, name);

	return put(mem, &key, text, strlen(text));
}

/* The text behind a key, "" if there is none; valid until the next call. */
static inline const char *text_at(struct ltz_mem *mem, const char *name)
{
	static char text[256];
	struct ltz_hkey key = key_of(mem, name);
	ltz_item item;

	if (ltz__map_get(mem, &key, text, sizeof(text) - 1, &item) != 0)
		return "";
	text[item.size] = '\0';
	return text;
}

static inline int put_number(struct ltz_mem *mem, uint64_t number, const void *data, uint64_t size)
{
	struct ltz_hkey key = key_of_number(mem, &number);

	return put(mem, &key, data, size);
}

static inline int drop_number(struct ltz_mem *mem, uint64_t number)
{
	struct ltz_hkey key = key_of_number(mem, &number);

	return ltz__map_delete(mem, &key, 0);
}

static inline int get_number(struct ltz_mem *mem, uint64_t number, void *buf, size_t capacity, ltz_item *item)
{
	struct ltz_hkey key = key_of_number(mem, &number);

	return ltz__map_get(mem, &key, buf, capacity, item);
}

/* ---- is it whole? ---------------------------------------------------------------------------- */

struct pool_findings {
	unsigned count;
	char text[2048]; /* the first ones, a line each */
};

static inline void pool_note(void *context, const char *line)
{
	struct pool_findings *f = context;
	size_t used = strlen(f->text);

	f->count++;
	snprintf(f->text + used, sizeof(f->text) - used, "%s\n", line);
}

static inline struct pool_findings pool_check(struct ltz_mem *mem)
{
	struct pool_findings f = { 0 };
	int result = ltz__check(mem, pool_note, &f);

	ASSERT_EQ_INT(result, 0);
	return f;
}

static inline void pool_expect_clean(struct test_place at, struct ltz_mem *mem)
{
	struct pool_findings f = pool_check(mem);

	if (f.count)
		test_fail(at, "check reports %u:\n%s", f.count, f.text);
}
#define EXPECT_CLEAN(mem) pool_expect_clean(TEST_AT(TEST_EXPECT), (mem))

static inline void pool_expect_finding(struct test_place at, struct ltz_mem *mem, const char *part)
{
	struct pool_findings f = pool_check(mem);

	if (!strstr(f.text, part))
		test_fail(at, "check does not report \"%s\" but %u:\n%s", part, f.count, f.text);
}
#define EXPECT_FINDING(mem, part) pool_expect_finding(TEST_AT(TEST_EXPECT), (mem), (part))

/* Memory that the kernel has given for the pool. */
static inline uint64_t pool_backed_bytes(const struct ltz_mem *mem)
{
	struct stat status;

	ASSERT_OK(fstat(mem->fd, &status));
	return (uint64_t)status.st_blocks * 512;
}

static inline struct ltz_granule_counts pool_counts(const struct ltz_mem *mem)
{
	struct ltz_granule_counts counts;

	ltz__granules_count(mem, &counts);
	return counts;
}

/* The table that the pool's root names; ends the test if a resize is under way. */
static inline struct ltz_table pool_table(struct ltz_mem *mem)
{
	struct ltz_root root;

	ASSERT_EQ_INT(ltz__root_read(mem, &root), 0);
	ASSERT_TRUE(!has_prev(&root));
	return root.cur;
}

static inline struct shm_bucket *pool_bucket(struct ltz_mem *mem, const struct ltz_hkey *key)
{
	struct ltz_table table = pool_table(mem);

	return &table.shm->bucket[bucket_of_hash(key->hash, table.log2)];
}

/* The slot that names a key's record; ends the test if there is none. */
static inline uint64_t *pool_slot(struct ltz_mem *mem, const struct ltz_hkey *key)
{
	struct ltz_table table = pool_table(mem);
	struct ltz_walk walk;

	walk_begin(&walk, &table, pool_bucket(mem, key));
	do {
		for (unsigned i = 0; i < walk.count; i++)
			if (((load_acquire(&walk.slot[i]) ^ key->word) & mem->tag_mask) == 0)
				return &walk.slot[i];
	} while (ltz__walk_next(&walk) > 0);
	test_fail(TEST_AT(TEST_ASSERT), "no slot names the key");
	return NULL;
}

/* ---- dying -------------------------------------------------------------------------------------- */

/* Set by survivor_of: what the members that die join. */
static int pool_fd = -1;
static struct test_gate pool_ready, pool_never;

static inline struct ltz_mem *survivor_of(uint64_t max_size_bytes, unsigned log2)
{
	pool_fd = pool_make(max_size_bytes, log2);
	return pool_join(pool_fd);
}

static inline void pool_be_killed(void *scene)
{
	struct ltz_mem *me = pool_join(pool_fd);
	void (*play)(struct ltz_mem *me) = *(void (**)(struct ltz_mem *))scene;

	play(me);
	test_gate_open(&pool_ready);
	test_gate_wait(&pool_never);
}

/* A member of its own process plays the scene, and does nothing more. */
static inline pid_t stand_in(void (*scene)(struct ltz_mem *me))
{
	pid_t child;

	test_gate_init(&pool_ready);
	test_gate_init(&pool_never);
	child = test_fork(pool_be_killed, &scene);
	close(pool_ready.ends[1]); /* so that its end is seen here if it fails */
	test_gate_wait(&pool_ready);
	return child;
}

/* ... and is then killed. */
static inline void die_in(void (*scene)(struct ltz_mem *me)) { test_kill(stand_in(scene)); }

static inline struct ltz_lane *my_lane(struct ltz_mem *me)
{
	ASSERT_EQ_INT(ltz__lane_open(me, &me->lane[LANE_FIRST]), 0);
	return &me->lane[LANE_FIRST];
}

static inline unsigned extents_of_kind(const struct ltz_mem *mem, enum owner_kind kind)
{
	unsigned n = 0;

	for (uint64_t g = 0; g < ltz__granules_high(mem); g++)
		n += owner_kind(owner_load(mem, g)) == kind;
	return n;
}

static inline unsigned claimed_entries(const struct ltz_mem *mem)
{
	unsigned n = 0;

	for (unsigned id = 1; id < SHM_TABLES; id++)
		n += load_acquire(&mem->directory[id].claim) != 0;
	return n;
}

/* The one dead member is adopted; then nothing may be broken, lost or left over. */
static inline void pool_expect_settled(struct test_place at, struct ltz_mem *mem, uint64_t records)
{
	struct ltz_granule_counts counts;

	test_check_u64(at, ltz__adopt_dead(mem), 1, "adopted", "dead members");
	pool_expect_clean(at, mem);
	test_check_u64(at, ltz__map_count(mem), records, "count", "records");
	pool_tick(mem, 4);
	pool_expect_clean(at, mem);
	test_check_u64(at, ltz__map_count(mem), records, "count after ticks", "records");
	counts = pool_counts(mem);
	test_check_u64(at, counts.claimed, 0, "claimed granules", "0");
	test_check_u64(at, counts.run, 0, "granules of runs", "0");
	test_check_u64(at, extents_of_kind(mem, OWNER_TABLE), 1, "tables", "1");
	test_check_u64(at, claimed_entries(mem), 1, "directory entries", "1");
	test_check_u64(at, ltz__adopt_dead(mem), 0, "adopted again", "0");
	test_check_u64(at, load_relaxed(&mem->header->recovered), 1, "recovered", "1");
}
#define EXPECT_SETTLED(mem, records) pool_expect_settled(TEST_AT(TEST_EXPECT), (mem), (records))

/* Numbers 0 to count - 1 are there, each with itself as its value. */
static inline void pool_expect_numbers(struct test_place at, struct ltz_mem *mem, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t value = 0;
		int result = get_number(mem, i, &value, 8, NULL);

		if (result || value != i) {
			test_fail(at, "number %llu: result %d, value %llu", (unsigned long long)i, result, (unsigned long long)value);
			return;
		}
	}
}
#define EXPECT_NUMBERS(mem, count) pool_expect_numbers(TEST_AT(TEST_EXPECT), (mem), (count))

#endif
