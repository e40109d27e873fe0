/* SPDX-License-Identifier: MIT */
/* test_scan.c - scans give every key exactly once, whatever happens meanwhile; clear and count. */
#include <errno.h>
#include <pthread.h>

#include "../stress/pools.h"
#include "store/resize.h"

#define KEYS_MAX 4096u

struct seen {
	unsigned times[KEYS_MAX];
	unsigned others, steps;
};

/* Notes the number keys of one step's buffer. */
static void note(struct seen *seen, const uint8_t *buf, size_t used)
{
	size_t at = 0;

	while (at < used) {
		struct ltz_scan_entry entry;
		uint64_t number = 0;

		ASSERT_TRUE(used - at >= sizeof(entry));
		memcpy(&entry, buf + at, sizeof(entry));
		at += sizeof(entry);
		ASSERT_TRUE(entry.size <= used - at);
		ASSERT_TRUE(entry.version != 0);
		if (entry.type == LTZ_KEY_INT && entry.size == 8)
			memcpy(&number, buf + at, 8);
		if (entry.type == LTZ_KEY_INT && number < KEYS_MAX)
			seen->times[number]++;
		else
			seen->others++;
		at += entry.size;
		for (; at % 8; at++)
			ASSERT_EQ_U64(buf[at], 0); /* padding is zeros */
	}
	EXPECT_EQ_U64(at, used);
	seen->steps++;
}

/* A whole scan; between says what happens between two steps. */
static void scan_all(struct ltz_mem *mem, size_t count, const ltz_key *prefix, struct seen *seen,
                     void (*between)(struct ltz_mem *mem, unsigned step))
{
	static uint8_t buf[LTZ_SCAN_BUFFER];
	uint64_t cursor = 0;

	memset(seen, 0, sizeof(*seen));
	do {
		size_t used = 0;
		int result = ltz__map_scan(mem, &cursor, count, prefix, buf, sizeof(buf), &used);

		ASSERT_EQ_INT(result, 0);
		note(seen, buf, used);
		if (between && cursor)
			between(mem, seen->steps);
	} while (cursor);
}

static void expect_once(const struct seen *seen, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		if (seen->times[i] != 1)
			test_fail(TEST_AT(TEST_EXPECT), "key %u: %u times", i, seen->times[i]);
}

static void fill(struct ltz_mem *mem, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
}

static void resize(struct ltz_mem *mem, unsigned log2, bool to_the_end)
{
	struct ltz_root root;

	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	if (has_prev(&root))
		ASSERT_EQ_INT(ltz__resize(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, log2), 0);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	if (to_the_end)
		ASSERT_EQ_INT(ltz__resize(mem, my_lane(mem), &root), 0);
}

/* ---- a quiet pool ------------------------------------------------------------------------------------ */

TEST(an_empty_pool_is_scanned_in_one_step)
{
	static struct seen seen;

	scan_all(pool_new(8 * MIB, 0), 1000, NULL, &seen, NULL);
	EXPECT_EQ_U64(seen.steps, 1);
	EXPECT_EQ_U64(seen.others, 0);
}

TEST(every_key_comes_once_whatever_the_step)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 4);
	const size_t counts[] = { 0, 1, 2, 7, 100, 5000 };
	static struct seen seen;

	fill(mem, 0, 500); /* with many lines: nobody grows the table */
	for (unsigned i = 0; i < 6; i++) {
		scan_all(mem, counts[i], NULL, &seen, NULL);
		expect_once(&seen, 0, 500);
		EXPECT_EQ_U64(seen.others, 0);
		EXPECT_TRUE(seen.steps <= 16); /* a bucket is never split */
		EXPECT_TRUE(counts[i] > 1 || seen.steps == 16);
	}
}

TEST(keys_of_every_size_are_given_whole)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 1);
	static uint8_t bytes[LTZ_KEY_MAX], buf[LTZ_SCAN_BUFFER];
	unsigned found[256] = { 0 };
	uint64_t cursor = 0, n = 0;

	for (uint32_t size = 0; size < 256; size++) {
		struct ltz_hkey key;

		memset(bytes, (int)size, size);
		hkey_init(mem, &key, LTZ_KEY_BYTES, bytes, size);
		ASSERT_EQ_INT(put(mem, &key, "v", 1), 0);
	}
	do {
		size_t used = 0;

		ASSERT_EQ_INT(ltz__map_scan(mem, &cursor, 10, NULL, buf, sizeof(buf), &used), 0); /* as promised for keys of <= 255 bytes */
		for (size_t at = 0; at < used;) {
			struct ltz_scan_entry entry;

			memcpy(&entry, buf + at, sizeof(entry));
			EXPECT_EQ_U64(entry.type, LTZ_KEY_BYTES);
			for (uint32_t i = 0; i < entry.size; i++)
				ASSERT_EQ_U64(buf[at + sizeof(entry) + i], entry.size);
			found[entry.size]++;
			n++;
			at += (sizeof(entry) + entry.size + 7) & ~(size_t)7;
		}
	} while (cursor);
	EXPECT_EQ_U64(n, 256);
	for (unsigned i = 0; i < 256; i++)
		EXPECT_EQ_U64(found[i], 1);
}

TEST(a_prefix_selects_keys_of_its_type)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 3);
	const ltz_key user = { "user:", 5, LTZ_KEY_STR }, none = { "", 0, LTZ_KEY_STR }, other = { "user:", 5, LTZ_KEY_BYTES },
	              longer = { "user:12345678", 13, LTZ_KEY_STR };
	static struct seen seen;

	fill(mem, 0, 100);
	for (unsigned i = 0; i < 60; i++) {
		char name[32];

		snprintf(name, sizeof(name), i % 3 ? "user:%u" : "use%u", i);
		ASSERT_EQ_INT(put_text(mem, name, "x"), 0);
	}
	scan_all(mem, 10, &user, &seen, NULL);
	EXPECT_EQ_U64(seen.others, 40);
	scan_all(mem, 10, &none, &seen, NULL);
	EXPECT_EQ_U64(seen.others, 60); /* every string, no number */
	scan_all(mem, 10, &other, &seen, NULL);
	EXPECT_EQ_U64(seen.others, 0);
	scan_all(mem, 10, &longer, &seen, NULL);
	EXPECT_EQ_U64(seen.others, 0);
	for (unsigned i = 0; i < 100; i++)
		EXPECT_EQ_U64(seen.times[i], 0);
}

TEST(expired_keys_are_not_given)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 3);
	static struct seen seen;

	fill(mem, 0, 50);
	for (uint64_t i = 50; i < 100; i++) {
		struct ltz_hkey key = key_of_number(mem, &i);

		ASSERT_EQ_INT(put_ttl(mem, &key, "x", 1, i % 2 ? 5000 : 500000), 0);
	}
	pool_travel(mem, 10 * SECOND_NS);
	scan_all(mem, 10, NULL, &seen, NULL);
	expect_once(&seen, 0, 50);
	for (unsigned i = 50; i < 100; i++)
		EXPECT_EQ_U64(seen.times[i], i % 2 ? 0 : 1);
}

TEST(a_pending_insert_is_given_once)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct shm_bucket *bucket;
	static struct seen seen;
	uint64_t n = 7, a;

	fill(mem, 7, 8);
	for (unsigned both = 0; both < 2; both++) { /* in ctrl only, then in its slot as well */
		struct ltz_hkey key = key_of_number(mem, &n);
		uint64_t *slot = pool_slot(mem, &key), word = load_acquire(slot);

		bucket = pool_bucket(mem, &key);
		a = load_acquire(&bucket->ctrl.a);
		store_release(slot, both ? word : 0);
		ASSERT_TRUE(cas_pair(&bucket->ctrl, a, 0, ctrl_next(a, CTRL_PENDING, 0), word));
		scan_all(mem, 10, NULL, &seen, NULL);
		EXPECT_EQ_U64(seen.times[7], 1);
		ASSERT_EQ_INT(put_number(mem, 7, "x", 1), 0);
	}
	EXPECT_CLEAN(mem);
}

/* ---- a buffer too small ---------------------------------------------------------------------------------- */

TEST(a_full_buffer_ends_the_step_before_the_bucket_that_does_not_fit)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 6);
	static struct seen seen;
	uint8_t buf[1200];
	uint64_t cursor = 0;

	fill(mem, 0, 400);
	memset(&seen, 0, sizeof(seen));
	do {
		size_t used = 0;

		ASSERT_EQ_INT(ltz__map_scan(mem, &cursor, 1000, NULL, buf, sizeof(buf), &used), 0);
		ASSERT_TRUE(used <= sizeof(buf));
		note(&seen, buf, used);
	} while (cursor);
	expect_once(&seen, 0, 400);
	EXPECT_TRUE(seen.steps > 5);
}

TEST(a_place_that_never_fits_says_how_much_it_needs)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	static uint8_t buf[65536];
	uint64_t cursor = 0, number = 0;
	static struct seen seen;
	size_t used = 0, needed;

	for (unsigned i = 0; i < 30; i++) {
		number_in_bucket(mem, 1, 0, &number);
		fill(mem, number, number + 1);
	}
	EXPECT_EQ_INT(ltz__map_scan(mem, &cursor, 1000, NULL, buf, 100, &used), LTZ_TRUNCATED);
	EXPECT_EQ_U64(cursor, 0);
	EXPECT_EQ_U64(used, 30 * (sizeof(struct ltz_scan_entry) + 8));
	needed = used;
	EXPECT_EQ_INT(ltz__map_scan(mem, &cursor, 1000, NULL, buf, 0, &used), LTZ_TRUNCATED);
	EXPECT_EQ_INT(ltz__map_scan(mem, &cursor, 1000, NULL, buf, needed - 1, &used), LTZ_TRUNCATED);
	EXPECT_EQ_INT(ltz__map_scan(mem, &cursor, 1, NULL, buf, needed, &used), 0);
	EXPECT_EQ_U64(used, needed);
	memset(&seen, 0, sizeof(seen));
	note(&seen, buf, used);
}

TEST(only_what_the_prefix_selects_needs_room)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	const ltz_key prefix = { "k", 1, LTZ_KEY_STR };
	uint64_t cursor = 0;
	uint8_t buf[64];
	size_t used;

	fill(mem, 0, 100);
	ASSERT_EQ_INT(put_text(mem, "key", "x"), 0);
	do
		ASSERT_EQ_INT(ltz__map_scan(mem, &cursor, 10, &prefix, buf, sizeof(buf), &used), 0);
	while (cursor);
}

/* ---- a changing table ---------------------------------------------------------------------------------------- */

static void change_size(struct ltz_mem *mem, unsigned step)
{
	static const unsigned sizes[] = { 5, 3, 6, 4, 7, 2, 5, 8, 3 };

	resize(mem, sizes[step % 9], step % 3 != 1); /* every third stays half done */
}

TEST(every_key_comes_once_while_the_table_changes_its_size)
{
	for (unsigned count = 1; count < 40; count += 6) {
		struct ltz_mem *mem = pool_new(32 * MIB, 4);
		static struct seen seen;

		fill(mem, 0, 300);
		scan_all(mem, count, NULL, &seen, change_size);
		expect_once(&seen, 0, 300);
		EXPECT_TRUE(load_relaxed(&mem->header->resizes) > 0 || seen.steps < 3);
		pool_leave(mem);
	}
}

static void half_migrate(struct ltz_mem *mem, unsigned step)
{
	struct ltz_root root;

	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	if (!has_prev(&root)) {
		ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, root.cur.log2 == 4 ? 5 : 4), 0);
		ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	}
	ASSERT_EQ_INT(ltz__migrate(mem, my_lane(mem), &root, step * 5 % root.cur.buckets), 0);
}

TEST(every_key_comes_once_from_a_mixture_of_both_tables)
{
	for (unsigned log2 = 4; log2 <= 5; log2++) {
		struct ltz_mem *mem = pool_new(8 * MIB, log2);
		static struct seen seen;

		fill(mem, 0, 200);
		scan_all(mem, 1, NULL, &seen, half_migrate);
		expect_once(&seen, 0, 200);
		pool_leave(mem);
	}
}

static int race_fd;
static uint64_t stop;

/* Keys 1000.. come and go, keys 0..199 are replaced, the table grows and shrinks. */
static void *stir(void *context)
{
	struct ltz_mem *mem = pool_join(race_fd);
	uintptr_t id = (uintptr_t)context;

	for (uint64_t i = 0; !load_acquire(&stop); i++) {
		uint64_t n = 1000 + id * 1000 + i % 300;

		(void)put_number(mem, n, &i, 8);
		(void)put_number(mem, i * 3 % 200, &i, 8);
		(void)drop_number(mem, 1000 + id * 1000 + i * 7 % 300);
		if (id == 0 && i % 100 == 0) {
			struct ltz_root root;

			if (ltz__table_enter(mem, my_lane(mem), &root) == 0 && !has_prev(&root))
				(void)ltz__resize_begin(mem, my_lane(mem), &root, 3 + (unsigned)(i / 100) % 4);
			else
				(void)ltz__resize(mem, my_lane(mem), &root);
			ltz__tables_tend(mem, my_lane(mem));
			ltz__lane_reclaim(mem, my_lane(mem), UINT32_MAX, RECLAIM_IDLE);
		}
	}
	return NULL;
}

TEST(keys_that_stay_come_once_and_others_at_most_once_while_others_write)
{
	static struct seen seen;
	struct ltz_mem *mem;
	pthread_t thread[2];

	race_fd = pool_make(32 * MIB, 3);
	mem = pool_join(race_fd);
	fill(mem, 0, 200);
	for (uintptr_t i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, stir, (void *)i), 0);
	for (unsigned i = 0; i < 200; i++) {
		scan_all(mem, 1 + i % 30, NULL, &seen, NULL);
		expect_once(&seen, 0, 200);
		for (unsigned k = 200; k < KEYS_MAX; k++)
			ASSERT_TRUE(seen.times[k] <= 1);
		EXPECT_EQ_U64(seen.others, 0);
	}
	store_release(&stop, 1);
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], NULL), 0);
	EXPECT_CLEAN(mem);
}

/* ---- clear, count, other states ---------------------------------------------------------------------------------- */

TEST(clear_removes_everything_and_says_how_much)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 2);
	static uint8_t bytes[LTZ_KEY_MAX];
	struct ltz_hkey key;
	uint64_t removed = 77;

	EXPECT_EQ_INT(ltz__map_clear(mem, &removed), 0);
	EXPECT_EQ_U64(removed, 0);
	fill(mem, 0, 3000);
	for (uint32_t i = 0; i < 8; i++) { /* more than the first buffer holds in one bucket */
		bytes[0] = (uint8_t)i;
		hkey_init(mem, &key, LTZ_KEY_BYTES, bytes, LTZ_KEY_MAX);
		ASSERT_EQ_INT(put(mem, &key, "v", 1), 0);
	}
	EXPECT_EQ_U64(ltz__map_count(mem), 3008);
	EXPECT_EQ_INT(ltz__map_clear(mem, &removed), 0);
	EXPECT_EQ_U64(removed, 3008);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_EQ_INT(ltz__map_clear(mem, NULL), 0);
	fill(mem, 0, 10);
	EXPECT_NUMBERS(mem, 10);
	EXPECT_CLEAN(mem);
}

TEST(count_counts_slabs_and_runs_and_no_private_block)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 2), *other = pool_join_again(mem);
	static char large[2 * 1024 * 1024];

	fill(mem, 0, 1000);
	fill(other, 2000, 3000);
	ASSERT_EQ_INT(put_number(mem, 5000, large, sizeof(large)), 0);
	ASSERT_EQ_INT(put_number(other, 5001, large, 600000), 0);
	EXPECT_EQ_U64(ltz__map_count(mem), 2002);
	fill(other, 0, 1000); /* replaced by the other: the first one's are retired */
	ASSERT_EQ_INT(drop_number(other, 5000), 0);
	EXPECT_EQ_U64(ltz__map_count(mem), 2001);
	EXPECT_EQ_U64(ltz__map_count(other), 2001);
}

TEST(a_destroyed_pool_ends_a_scan)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 2);
	uint64_t cursor = 0;
	uint8_t buf[4096];
	size_t used = 0;

	fill(mem, 0, 50);
	ASSERT_EQ_INT(ltz__map_scan(mem, &cursor, 1, NULL, buf, sizeof(buf), &used), 0);
	ASSERT_TRUE(cursor != 0);
	ltz__mem_destroy(mem);
	EXPECT_EQ_INT(ltz__map_scan(mem, &cursor, 1, NULL, buf, sizeof(buf), &used), -ESHUTDOWN);
}

TEST(a_cursor_from_anywhere_is_good)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 2);
	static uint8_t buf[LTZ_SCAN_BUFFER];

	fill(mem, 0, 50);
	for (unsigned i = 0; i < 1000; i++) {
		uint64_t cursor = i ? test_random() : UINT64_MAX;
		size_t used = 0;

		ASSERT_EQ_INT(ltz__map_scan(mem, &cursor, 1000, NULL, buf, sizeof(buf), &used), 0);
		EXPECT_EQ_U64(cursor, 0);
	}
}
