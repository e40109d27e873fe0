/* SPDX-License-Identifier: MIT */
/* test_read.c - readers: what they return, what they leave alone, and what they make of words that move under them. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "../stress/pools.h"

TEST(a_hit_tells_everything_about_the_record)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	ltz_value value = { .data = "abc", .size = 3, .type = 99 };
	uint64_t version = 0;
	char buf[4] = "zzz";
	ltz_item item;

	ASSERT_EQ_INT(ltz__map_set(mem, &key, &value, NULL, &version), 0);
	EXPECT_EQ_INT(ltz__map_get(mem, &key, buf, 3, &item), 0);
	EXPECT_STR(buf, "abc");
	EXPECT_EQ_U64(item.version, version);
	EXPECT_EQ_U64(item.size, 3);
	EXPECT_EQ_U64(item.type, 99);
	EXPECT_EQ_INT(item.ttl_ms, -1);
	EXPECT_EQ_INT(ltz__map_get(mem, &key, buf, 4, NULL), 0);
}

TEST(a_buffer_too_small_still_learns_the_size)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	char buf[5] = "zzzz";
	ltz_item item = { 0 };

	ASSERT_EQ_INT(put_text(mem, "key", "12345678"), 0);
	EXPECT_EQ_INT(ltz__map_get(mem, &key, buf, 4, &item), LTZ_TRUNCATED);
	EXPECT_EQ_U64(item.size, 8);
	EXPECT_EQ_INT(buf[4], 0);
	item.size = 0;
	EXPECT_EQ_INT(ltz__map_get(mem, &key, NULL, 0, &item), LTZ_TRUNCATED);
	EXPECT_EQ_U64(item.size, 8);
	EXPECT_EQ_INT(ltz__map_get(mem, &key, NULL, 0, NULL), LTZ_TRUNCATED);
}

TEST(a_miss_writes_no_item)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "absent");
	ltz_item item = { .version = 77 };

	EXPECT_EQ_INT(ltz__map_get(mem, &key, NULL, 0, &item), LTZ_NOT_FOUND);
	EXPECT_EQ_U64(item.version, 77);
}

/* Seams 13: nothing that another process writes is written by a reader. */
TEST(a_read_changes_nothing_but_the_own_row_s_counters)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1), *other = pool_join_again(mem);
	struct ltz_hkey key = key_of(mem, "key");
	static uint8_t before[SHM_GRANULE * 3];
	uint64_t rows[2][256];

	ASSERT_EQ_INT(put_text(mem, "key", "x"), 0);
	memcpy(before, mem->space, sizeof(before));
	memcpy(rows[0], other->row, sizeof(rows[0]));
	for (unsigned i = 0; i < 10; i++)
		EXPECT_EQ_INT(ltz__map_get(other, &key, (char[4]){ 0 }, 4, NULL), 0);
	memcpy(rows[1], other->row, sizeof(rows[1]));
	EXPECT_EQ_MEM(mem->space, before, sizeof(before));
	EXPECT_EQ_U64(other->row->hits, 10);
	((struct shm_row *)rows[1])->hits = 0;
	EXPECT_EQ_MEM(rows[0], rows[1], sizeof(rows[0]));
}

TEST(an_expired_record_is_a_miss_before_anybody_sweeps)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1), *other = pool_join_again(mem);
	struct ltz_hkey key = key_of(mem, "key");
	ltz_item item = { 0 };

	ASSERT_EQ_INT(put_ttl(mem, &key, "x", 1, 30000), 0);
	EXPECT_EQ_INT(ltz__map_get(mem, &key, (char[4]){ 0 }, 4, &item), 0);
	EXPECT_TRUE(item.ttl_ms > 0 && item.ttl_ms <= 30000);
	pool_travel(mem, 31 * SECOND_NS);
	EXPECT_EQ_INT(ltz__map_get(mem, &key, (char[4]){ 0 }, 4, &item), LTZ_NOT_FOUND);
	EXPECT_EQ_INT(ltz__map_get(other, &key, (char[4]){ 0 }, 4, &item), 0); /* by its own clock it is there */
}

TEST(keys_with_equal_hash_bits_are_told_apart)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey a = key_of(mem, "a"), b = key_of(mem, "b"), c = key_of(mem, "abc");
	char buf[4] = "";

	b.hash = c.hash = a.hash; /* what no test can find: three keys with one hash */
	b.word = c.word = a.word;
	ASSERT_EQ_INT(put(mem, &a, "A", 1), 0);
	EXPECT_EQ_INT(ltz__map_get(mem, &b, buf, 4, NULL), LTZ_NOT_FOUND);
	ASSERT_EQ_INT(put(mem, &b, "B", 1), 0);
	ASSERT_EQ_INT(put(mem, &c, "C", 1), 0);
	EXPECT_EQ_U64(ltz__map_count(mem), 3);
	EXPECT_EQ_INT(ltz__map_get(mem, &a, buf, 4, NULL), 0);
	EXPECT_EQ_INT(buf[0], 'A');
	EXPECT_EQ_INT(ltz__map_get(mem, &b, buf, 4, NULL), 0);
	EXPECT_EQ_INT(buf[0], 'B');
	ASSERT_EQ_INT(ltz__map_delete(mem, &a, 0), 0);
	EXPECT_EQ_INT(ltz__map_get(mem, &a, buf, 4, NULL), LTZ_NOT_FOUND);
	EXPECT_EQ_INT(ltz__map_get(mem, &c, buf, 4, NULL), 0);
	EXPECT_EQ_INT(buf[0], 'C');
}

TEST(a_pending_key_of_the_same_hash_is_not_ours)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key"), other = key_of(mem, "other");
	struct shm_bucket *bucket = pool_bucket(mem, &key);
	uint64_t *slot, word, a;

	other.hash = key.hash;
	other.word = key.word;
	ASSERT_EQ_INT(put(mem, &other, "x", 1), 0);
	slot = pool_slot(mem, &other);
	word = load_acquire(slot);
	a = load_acquire(&bucket->ctrl.a);
	store_release(slot, 0); /* as if it were still being inserted */
	ASSERT_TRUE(cas_pair(&bucket->ctrl, a, 0, ctrl_next(a, CTRL_PENDING, 0), word));
	EXPECT_EQ_INT(ltz__map_get(mem, &key, NULL, 0, NULL), LTZ_NOT_FOUND);
	EXPECT_EQ_INT(ltz__map_get(mem, &other, (char[4]){ 0 }, 4, NULL), 0);
}

/* ---- damage ------------------------------------------------------------------------------------------- */

/* Restarts without end mean damage: an error, not a hang. Slow, so once. */
TEST_WITH_LIMIT(a_slot_that_names_nothing_readable_is_damage_in_the_end, 120)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	uint64_t *slot;

	ASSERT_EQ_INT(put_text(mem, "key", "x"), 0);
	slot = pool_slot(mem, &key);
	store_release(&at_ref(mem, *slot & mem->ref_mask)->version, 0);
	EXPECT_EQ_INT(ltz__map_get(mem, &key, (char[4]){ 0 }, 4, NULL), -EUCLEAN);
}

TEST(refs_and_lengths_beyond_the_pool_are_never_followed)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 1);
	struct ltz_hkey other = key_of(mem, "other");
	struct shm_record *rec;
	struct ltz_look look;

	ASSERT_EQ_INT(put_text(mem, "other", "x"), 0);
	rec = at_ref(mem, *pool_slot(mem, &other) & mem->ref_mask);
	EXPECT_TRUE(!record_look(rec, 15, meta_make(0, 1, 0, 0, 0), &look)); /* no room for a header */
	EXPECT_TRUE(!record_look(rec, 64, meta_make(65535, 1, 0, 0, 0), &look));
	EXPECT_TRUE(!record_look(rec, 64, meta_make(0, 1, 0, 0, UINT32_MAX), &look));
	EXPECT_TRUE(!record_look(rec, 24, meta_make(0, 1, REC_EXPIRES | REC_LONG, 0, 0), &look)); /* its words would be outside */
	EXPECT_EQ_U64(ref_room(mem, mem->units), 0);
	EXPECT_EQ_U64(ref_room(mem, mem->units - 1), 32);
	EXPECT_EQ_U64(ref_room(mem, UINT64_MAX), 0);
	store_relaxed((uint64_t *)rec->rest, UINT64_MAX); /* a long value of impossible size */
	EXPECT_TRUE(!record_look(rec, mem->space_bytes, meta_make(3, 1, REC_LONG, 0, 0), &look));
}

/* ---- large values, in pieces ------------------------------------------------------------------------- */

static uint8_t byte_at(uint64_t i) { return (uint8_t)(i * 251 >> 8 ^ i); }

TEST_WITH_LIMIT(a_large_value_comes_whole_whatever_its_size, 200)
{
	struct ltz_mem *mem = pool_new(128 * MIB, 1);
	const uint64_t sizes[] = { 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 33 * MIB + 7 };
	uint8_t *value = malloc(sizes[3]), *buf = malloc(sizes[3]);

	ASSERT_TRUE(value && buf);
	for (uint64_t i = 0; i < sizes[3]; i++)
		value[i] = byte_at(i);
	for (unsigned k = 0; k < 4; k++) {
		ASSERT_EQ_INT(put_number(mem, 1, value, sizes[k]), 0);
		memset(buf, 0, sizes[3]);
		ASSERT_EQ_INT(get_number(mem, 1, buf, sizes[k], NULL), 0);
		EXPECT_TRUE(memcmp(buf, value, sizes[k]) == 0);
	}
	free(value);
	free(buf);
}

#ifdef __SANITIZE_THREAD__ /* a signal of our own making, in the middle of a copy: everything is safe in its handler */
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "report_signal_unsafe=0"; }
#endif

#define LATE_SIZE (48 * MIB)
static struct ltz_mem *late_owner;
static uint8_t *late_buf;
static uint64_t late_backed;

/*
 * The reader's copy has got to the middle of its buffer, which cannot be
 * written yet. As if it were stopped: meanwhile the value is deleted, and its
 * memory goes back to the system.
 */
static void delete_meanwhile(int signal)
{
	struct ltz_lane *lane = my_lane(late_owner);

	(void)signal;
	ASSERT_OK(mprotect(late_buf, LATE_SIZE, PROT_READ | PROT_WRITE));
	ASSERT_EQ_INT(drop_number(late_owner, 1), 0);
	ltz__lane_reclaim(late_owner, lane, UINT32_MAX, RECLAIM_IDLE);
	pool_travel(late_owner, 3 * SECOND_NS);
	ASSERT_TRUE(ltz__granules_punch(late_owner, lane, SECOND_NS, UINT64_MAX) >= LATE_SIZE / SHM_GRANULE);
	late_backed = pool_backed_bytes(late_owner);
}

TEST(a_late_reader_brings_little_of_a_large_value_back)
{
	struct ltz_mem *mem;

	late_owner = pool_new(128 * MIB, 1);
	mem = pool_join_again(late_owner);
	late_buf = mmap(NULL, LATE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(late_buf != MAP_FAILED);
	memset(late_buf, 1, LATE_SIZE);
	ASSERT_EQ_INT(put_number(late_owner, 1, late_buf, LATE_SIZE), 0);
	ASSERT_OK(mprotect(late_buf + 20 * MIB, LATE_SIZE - 20 * MIB, PROT_NONE));
	ASSERT_TRUE(signal(SIGSEGV, delete_meanwhile) != SIG_ERR);
	EXPECT_EQ_INT(get_number(mem, 1, late_buf, LATE_SIZE, NULL), LTZ_NOT_FOUND);
	ASSERT_TRUE(late_backed != 0); /* it was stopped */
	EXPECT_TRUE(pool_backed_bytes(mem) <= late_backed + 16 * MIB);
	ltz__granules_repunch(late_owner, my_lane(late_owner));
	EXPECT_TRUE(pool_backed_bytes(mem) <= late_backed); /* and that goes back too */
	EXPECT_CLEAN(mem);
}

/* ---- while others write ------------------------------------------------------------------------------ */

static int race_fd;
static uint64_t stop;

/* Every byte of a value is the same; sizes change all the time, so blocks of all classes are reused. */
static void *rewrite(void *context)
{
	struct ltz_mem *mem = pool_join(race_fd);
	uint8_t value[3000];

	for (unsigned i = 1; !load_acquire(&stop); i++) {
		memset(value, (int)(i & 0xff), sizeof(value));
		if (put_number(mem, i % 3, value, 1 + i * 37 % sizeof(value)) != 0)
			test_fail(TEST_AT(TEST_EXPECT), "cannot write");
	}
	return context;
}

TEST(a_value_is_never_torn)
{
	pthread_t writer[2];
	struct ltz_mem *mem;
	unsigned hits = 0;

	race_fd = pool_make(64 * MIB, 1);
	mem = pool_join(race_fd);
	for (uint64_t i = 0; i < 3; i++)
		ASSERT_EQ_INT(put_number(mem, i, "x", 1), 0);
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_create(&writer[i], NULL, rewrite, NULL), 0);
	for (unsigned i = 0; i < 30000; i++) {
		uint8_t buf[3000];
		ltz_item item;
		int result = get_number(mem, i % 3, buf, sizeof(buf), &item);

		ASSERT_EQ_INT(result, 0); /* it is there all the time */
		hits++;
		ASSERT_TRUE(item.size >= 1 && item.size <= sizeof(buf) && item.version != 0);
		for (uint64_t b = 1; b < item.size; b++)
			if (buf[b] != buf[0])
				test_fail(TEST_AT(TEST_ASSERT), "byte %llu of %llu is 0x%02x, not 0x%02x", (unsigned long long)b,
				          (unsigned long long)item.size, buf[b], buf[0]);
	}
	store_release(&stop, 1);
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_join(writer[i], NULL), 0);
	EXPECT_EQ_U64(hits, 30000);
	EXPECT_CLEAN(mem);
}
