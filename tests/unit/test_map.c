/* SPDX-License-Identifier: MIT */
/* test_map.c - every operation on one key: what it returns, what it leaves, for all kinds of keys and values. */
#include "store/map.h"

#include <errno.h>
#include <math.h>

#include "../stress/pools.h"

static struct ltz_mem *mem_for(unsigned log2) { return pool_new(64 * MIB, log2); }

static int set_with(struct ltz_mem *mem, const char *name, const char *text, struct ltz_set_options options, uint64_t *version)
{
	struct ltz_hkey key = key_of(mem, name);
	ltz_value value = { .data = text, .size = strlen(text), .type = LTZ_STR };

	return ltz__map_set(mem, &key, &value, &options, version);
}

static int64_t ttl_of(struct ltz_mem *mem, const char *name)
{
	struct ltz_hkey key = key_of(mem, name);
	char buf[64];
	ltz_item item = { 0 };
	int result = ltz__map_get(mem, &key, buf, sizeof(buf), &item);

	return result ? -1000 - result : item.ttl_ms;
}

static int drop(struct ltz_mem *mem, const char *name, uint64_t if_version)
{
	struct ltz_hkey key = key_of(mem, name);

	return ltz__map_delete(mem, &key, if_version);
}

static int expire(struct ltz_mem *mem, const char *name, uint64_t ttl_ms)
{
	struct ltz_hkey key = key_of(mem, name);

	return ltz__map_expire(mem, &key, ttl_ms);
}

/* ---- values and keys ------------------------------------------------------------------------------ */

static void fill(uint8_t *bytes, uint64_t size, uint64_t seed)
{
	for (uint64_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(seed * 131 + i * 7 + (i >> 8));
}

/* Sets, reads back, replaces by one of another size, deletes. */
static void try_size(struct ltz_mem *mem, uint64_t size, uint8_t *in, uint8_t *out)
{
	struct ltz_hkey key = key_of_number(mem, &size);
	ltz_item item = { 0 };

	fill(in, size, size);
	ASSERT_EQ_INT(put(mem, &key, in, size), 0);
	memset(out, 0, size);
	ASSERT_EQ_INT(ltz__map_get(mem, &key, out, size, &item), 0);
	ASSERT_EQ_U64(item.size, size);
	EXPECT_EQ_INT(item.ttl_ms, -1);
	ASSERT_EQ_MEM(out, in, size);
	ASSERT_EQ_INT(put(mem, &key, in, size / 2), 0);
	ASSERT_EQ_INT(ltz__map_get(mem, &key, out, size, &item), 0);
	ASSERT_EQ_U64(item.size, size / 2);
	ASSERT_EQ_MEM(out, in, size / 2);
	ASSERT_EQ_INT(ltz__map_delete(mem, &key, 0), 0);
	ASSERT_EQ_INT(ltz__map_get(mem, &key, out, size, &item), LTZ_NOT_FOUND);
}

TEST(values_of_every_size_come_back)
{
	struct ltz_mem *mem = mem_for(0);
	static uint8_t in[70001], out[70001];

	for (uint64_t size = 0; size <= 600; size++)
		try_size(mem, size, in, out);
	for (uint64_t size = 601; size <= 70000; size += 1 + size / 37)
		try_size(mem, size, in, out);
	for (unsigned c = 0; c < mem->classes && mem->cls[c].units * 32 <= 70000; c++) /* around every class' end */
		for (uint64_t size = mem->cls[c].units * 32 - 26; size <= mem->cls[c].units * 32 + 2; size += 2)
			try_size(mem, size, in, out);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
}

TEST(large_values_come_back)
{
	struct ltz_mem *mem = pool_new(256 * MIB, 0);
	const uint64_t sizes[] = { 512 * KIB - 40, 512 * KIB, 1 * MIB - 1, 1 * MIB, 3 * MIB + 17, 40 * MIB + 1 };
	uint8_t *in = malloc(41 * MIB), *out = malloc(41 * MIB);

	for (unsigned i = 0; i < 6; i++)
		try_size(mem, sizes[i], in, out);
	free(in);
	free(out);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
}

TEST(keys_of_every_size_and_type_are_kept_apart)
{
	struct ltz_mem *mem = pool_new(256 * MIB, 0);
	static uint8_t bytes[LTZ_KEY_MAX];
	const uint32_t sizes[] = { 0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 255, 256, 4095, 4096, 65534, 65535 };
	const unsigned n = sizeof(sizes) / sizeof(*sizes);

	for (unsigned type = 1; type < 8; type++)
		for (unsigned i = 0; i < n; i++) {
			uint64_t value = type * 1000 + i;
			struct ltz_hkey key;

			hkey_init(mem, &key, type, bytes, sizes[i]);
			ASSERT_EQ_INT(put(mem, &key, &value, 8), 0);
		}
	EXPECT_EQ_U64(ltz__map_count(mem), 7 * n);
	for (unsigned type = 1; type < 8; type++)
		for (unsigned i = 0; i < n; i++) {
			uint64_t value = 0;
			struct ltz_hkey key;

			hkey_init(mem, &key, type, bytes, sizes[i]);
			ASSERT_EQ_INT(ltz__map_get(mem, &key, &value, 8, NULL), 0);
			EXPECT_EQ_U64(value, type * 1000 + i);
		}
	EXPECT_CLEAN(mem);
}

TEST(every_value_type_comes_back)
{
	struct ltz_mem *mem = mem_for(0);

	for (unsigned type = 0; type < 256; type++) {
		uint64_t number = type;
		struct ltz_hkey key = key_of_number(mem, &number);
		ltz_value value = { .type = (uint8_t)type };
		ltz_item item = { .type = 99 };

		ASSERT_EQ_INT(ltz__map_set(mem, &key, &value, NULL, NULL), 0);
		ASSERT_EQ_INT(ltz__map_get(mem, &key, NULL, 0, &item), 0);
		EXPECT_EQ_U64(item.type, type);
		EXPECT_EQ_U64(item.size, 0);
	}
}

/* ---- conditions ---------------------------------------------------------------------------------------- */

TEST(nx_only_makes_and_xx_only_changes)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_set_options nx = { .flags = LTZ_NX }, xx = { .flags = LTZ_XX }, both = { .flags = LTZ_NX | LTZ_XX };
	uint64_t version = 77;

	EXPECT_EQ_INT(set_with(mem, "key", "a", xx, &version), LTZ_REFUSED);
	EXPECT_EQ_U64(version, 77);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_EQ_INT(set_with(mem, "key", "b", nx, &version), 0);
	EXPECT_TRUE(version != 77);
	EXPECT_EQ_INT(set_with(mem, "key", "c", nx, NULL), LTZ_REFUSED);
	EXPECT_STR(text_at(mem, "key"), "b");
	EXPECT_EQ_INT(set_with(mem, "key", "d", xx, NULL), 0);
	EXPECT_STR(text_at(mem, "key"), "d");
	EXPECT_EQ_INT(set_with(mem, "key", "e", both, NULL), LTZ_REFUSED);
	EXPECT_EQ_INT(set_with(mem, "other", "e", both, NULL), LTZ_REFUSED);
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_CLEAN(mem);
}

TEST(if_version_compares_and_zero_means_absent)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_set_options option = { .flags = LTZ_IF_VERSION };
	uint64_t version = 0, last;

	EXPECT_EQ_INT(set_with(mem, "key", "a", option, &version), 0);
	EXPECT_EQ_INT(set_with(mem, "key", "b", option, NULL), LTZ_REFUSED);
	option.if_version = last = version;
	EXPECT_EQ_INT(set_with(mem, "absent", "b", option, NULL), LTZ_REFUSED);
	EXPECT_EQ_INT(set_with(mem, "key", "b", option, &version), 0);
	EXPECT_TRUE(version != last);
	EXPECT_EQ_INT(set_with(mem, "key", "c", option, NULL), LTZ_REFUSED);
	EXPECT_STR(text_at(mem, "key"), "b");
	EXPECT_EQ_INT(drop(mem, "key", last), LTZ_REFUSED);
	EXPECT_EQ_INT(drop(mem, "key", version), 0);
	EXPECT_EQ_INT(drop(mem, "key", version), LTZ_NOT_FOUND);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
}

TEST(the_version_that_set_gives_is_the_one_that_get_gives)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_hkey key = key_of(mem, "key");
	uint64_t version = 0, last = 0;
	ltz_item item;

	for (unsigned i = 0; i < 100; i++) {
		ASSERT_EQ_INT(set_with(mem, "key", "v", (struct ltz_set_options){ .flags = i % 2 ? LTZ_XX : 0 }, &version), 0);
		ASSERT_EQ_INT(ltz__map_get(mem, &key, (char[8]){ 0 }, 8, &item), 0);
		EXPECT_EQ_U64(item.version, version);
		EXPECT_TRUE(version > last);
		last = version;
	}
}

TEST(an_expired_key_is_absent_for_every_condition)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_set_options ttl = { .ttl_ms = 5000 };
	uint64_t version = 0;

	ASSERT_EQ_INT(set_with(mem, "key", "old", ttl, &version), 0);
	pool_travel(mem, 6 * SECOND_NS);
	EXPECT_EQ_INT(set_with(mem, "key", "a", (struct ltz_set_options){ .flags = LTZ_XX }, NULL), LTZ_REFUSED);
	EXPECT_EQ_INT(set_with(mem, "key", "a", (struct ltz_set_options){ .flags = LTZ_IF_VERSION, .if_version = version }, NULL), LTZ_REFUSED);
	EXPECT_EQ_INT(drop(mem, "key", 0), LTZ_NOT_FOUND);
	EXPECT_EQ_INT(expire(mem, "key", 5000), LTZ_NOT_FOUND);
	EXPECT_EQ_INT(set_with(mem, "key", "a", (struct ltz_set_options){ .flags = LTZ_NX }, NULL), 0);
	EXPECT_STR(text_at(mem, "key"), "a");
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_CLEAN(mem);
}

/* ---- expiry ------------------------------------------------------------------------------------------------ */

TEST(a_ttl_runs_down_and_ends_the_key)
{
	struct ltz_mem *mem = mem_for(1);

	ASSERT_EQ_INT(set_with(mem, "key", "x", (struct ltz_set_options){ .ttl_ms = 10000 }, NULL), 0);
	EXPECT_TRUE(ttl_of(mem, "key") > 5000 && ttl_of(mem, "key") <= 10000);
	pool_travel(mem, 8 * SECOND_NS);
	EXPECT_TRUE(ttl_of(mem, "key") > 0 && ttl_of(mem, "key") <= 2000);
	EXPECT_STR(text_at(mem, "key"), "x");
	pool_travel(mem, 2 * SECOND_NS + 5000000); /* expiry is rounded up to whole milliseconds */
	EXPECT_EQ_INT(ttl_of(mem, "key"), -1000 - LTZ_NOT_FOUND);
	EXPECT_EQ_U64(ltz__map_count(mem), 1); /* until it is swept */
}

TEST(set_clears_a_ttl_and_keep_ttl_keeps_it)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_set_options ttl = { .ttl_ms = 10000 }, keep = { .flags = LTZ_KEEP_TTL, .ttl_ms = 777777 };
	int64_t left;

	ASSERT_EQ_INT(set_with(mem, "key", "a", ttl, NULL), 0);
	ASSERT_EQ_INT(set_with(mem, "key", "b", keep, NULL), 0);
	left = ttl_of(mem, "key");
	EXPECT_TRUE(left > 0 && left <= 10000);
	EXPECT_STR(text_at(mem, "key"), "b");
	ASSERT_EQ_INT(set_with(mem, "key", "c", (struct ltz_set_options){ 0 }, NULL), 0);
	EXPECT_EQ_INT(ttl_of(mem, "key"), -1);
	ASSERT_EQ_INT(set_with(mem, "key", "d", keep, NULL), 0);
	EXPECT_EQ_INT(ttl_of(mem, "key"), -1); /* nothing to keep */
	ASSERT_EQ_INT(set_with(mem, "new", "d", keep, NULL), 0);
	EXPECT_EQ_INT(ttl_of(mem, "new"), -1);
	EXPECT_CLEAN(mem);
}

TEST(expire_sets_and_takes_off_a_ttl_and_keeps_the_value)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_hkey key = key_of(mem, "key");
	ltz_item before, after;

	EXPECT_EQ_INT(expire(mem, "key", 1000), LTZ_NOT_FOUND);
	ASSERT_EQ_INT(set_with(mem, "key", "kept", (struct ltz_set_options){ 0 }, NULL), 0);
	ASSERT_EQ_INT(ltz__map_get(mem, &key, (char[8]){ 0 }, 8, &before), 0);
	EXPECT_EQ_INT(expire(mem, "key", 0), 0); /* it is so already */
	ASSERT_EQ_INT(ltz__map_get(mem, &key, (char[8]){ 0 }, 8, &after), 0);
	EXPECT_EQ_U64(after.version, before.version);
	EXPECT_EQ_INT(expire(mem, "key", 20000), 0);
	EXPECT_TRUE(ttl_of(mem, "key") > 10000 && ttl_of(mem, "key") <= 20000);
	EXPECT_STR(text_at(mem, "key"), "kept");
	ASSERT_EQ_INT(ltz__map_get(mem, &key, (char[8]){ 0 }, 8, &after), 0);
	EXPECT_EQ_U64(after.type, LTZ_STR);
	EXPECT_TRUE(after.version != before.version);
	EXPECT_EQ_INT(expire(mem, "key", 0), 0);
	EXPECT_EQ_INT(ttl_of(mem, "key"), -1);
	pool_travel(mem, 60 * SECOND_NS);
	EXPECT_STR(text_at(mem, "key"), "kept");
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_CLEAN(mem);
}

TEST(expire_moves_large_values_whole)
{
	struct ltz_mem *mem = mem_for(1);
	const uint64_t sizes[] = { 0, 5, 5000, 400000, 3000000 };
	uint8_t *in = malloc(3000000), *out = malloc(3000000);

	for (unsigned i = 0; i < 5; i++) {
		struct ltz_hkey key = key_of_number(mem, &sizes[i]);
		ltz_item item = { 0 };

		fill(in, sizes[i], i);
		ASSERT_EQ_INT(put(mem, &key, in, sizes[i]), 0);
		ASSERT_EQ_INT(ltz__map_expire(mem, &key, 60000), 0);
		ASSERT_EQ_INT(ltz__map_get(mem, &key, out, sizes[i], &item), 0);
		EXPECT_EQ_U64(item.size, sizes[i]);
		EXPECT_TRUE(item.ttl_ms > 0);
		EXPECT_EQ_MEM(out, in, sizes[i]);
	}
	free(in);
	free(out);
	EXPECT_CLEAN(mem);
}

/* ---- pop ------------------------------------------------------------------------------------------------------ */

TEST(pop_gives_the_value_and_takes_the_key)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_hkey key = key_of(mem, "key");
	char buf[16] = "";
	ltz_item item = { 0 };

	EXPECT_EQ_INT(ltz__map_pop(mem, &key, buf, sizeof(buf), &item), LTZ_NOT_FOUND);
	ASSERT_EQ_INT(set_with(mem, "key", "value", (struct ltz_set_options){ .ttl_ms = 60000 }, NULL), 0);
	EXPECT_EQ_INT(ltz__map_pop(mem, &key, buf, 4, &item), LTZ_TRUNCATED);
	EXPECT_EQ_U64(item.size, 5);
	EXPECT_STR(text_at(mem, "key"), "value"); /* nothing was removed */
	memset(&item, 0, sizeof(item));
	EXPECT_EQ_INT(ltz__map_pop(mem, &key, buf, sizeof(buf), &item), 0);
	EXPECT_EQ_MEM(buf, "value", 5);
	EXPECT_EQ_U64(item.size, 5);
	EXPECT_EQ_U64(item.type, LTZ_STR);
	EXPECT_TRUE(item.version != 0 && item.ttl_ms > 0 && item.ttl_ms <= 60000);
	EXPECT_EQ_INT(ltz__map_pop(mem, &key, buf, sizeof(buf), NULL), LTZ_NOT_FOUND);
	ASSERT_EQ_INT(put_text(mem, "key", ""), 0);
	EXPECT_EQ_INT(ltz__map_pop(mem, &key, NULL, 0, &item), 0);
	EXPECT_EQ_INT(item.ttl_ms, -1);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
}

/* ---- add --------------------------------------------------------------------------------------------------------- */

static ltz_number integer(int64_t i) { return (ltz_number){ .type = LTZ_INT64, .as.i64 = i }; }
static ltz_number real(double f) { return (ltz_number){ .type = LTZ_FLOAT64, .as.f64 = f }; }

static int add(struct ltz_mem *mem, const char *name, ltz_number by, ltz_number initial, ltz_number *sum)
{
	struct ltz_hkey key = key_of(mem, name);

	*sum = integer(-99);
	return ltz__map_add(mem, &key, by, initial, sum, NULL);
}

TEST(add_counts_from_initial_and_goes_on)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_hkey key = key_of(mem, "n");
	int64_t value = 0;
	ltz_number sum;
	ltz_item item;

	EXPECT_EQ_INT(add(mem, "n", integer(5), integer(100), &sum), 0);
	EXPECT_EQ_INT(sum.as.i64, 105);
	EXPECT_EQ_INT(add(mem, "n", integer(-205), integer(100), &sum), 0);
	EXPECT_EQ_INT(sum.as.i64, -100);
	EXPECT_EQ_U64(sum.type, LTZ_INT64);
	ASSERT_EQ_INT(ltz__map_get(mem, &key, &value, 8, &item), 0);
	EXPECT_EQ_INT(value, -100);
	EXPECT_EQ_U64(item.type, LTZ_INT64);
	EXPECT_EQ_INT(ltz__map_add(mem, &key, integer(1), integer(0), NULL, NULL), 0);
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_CLEAN(mem);
}

TEST(add_turns_into_a_float_if_either_side_is)
{
	struct ltz_mem *mem = mem_for(1);
	ltz_number sum;

	EXPECT_EQ_INT(add(mem, "n", integer(1), integer(2), &sum), 0);
	EXPECT_EQ_INT(add(mem, "n", real(0.5), integer(0), &sum), 0);
	EXPECT_EQ_U64(sum.type, LTZ_FLOAT64);
	EXPECT_TRUE(sum.as.f64 == 3.5);
	EXPECT_EQ_INT(add(mem, "n", integer(1), integer(0), &sum), 0);
	EXPECT_TRUE(sum.type == LTZ_FLOAT64 && sum.as.f64 == 4.5);
	EXPECT_EQ_INT(add(mem, "m", integer(1), real(0.25), &sum), 0);
	EXPECT_TRUE(sum.type == LTZ_FLOAT64 && sum.as.f64 == 1.25);
	EXPECT_EQ_INT(add(mem, "m", real(INFINITY), integer(0), &sum), 0);
	EXPECT_TRUE(isinf(sum.as.f64));
	EXPECT_EQ_INT(add(mem, "m", real(-INFINITY), integer(0), &sum), 0);
	EXPECT_TRUE(isnan(sum.as.f64));
}

TEST(add_refuses_what_leaves_64_bits)
{
	struct ltz_mem *mem = mem_for(1);
	ltz_number sum;

	EXPECT_EQ_INT(add(mem, "n", integer(0), integer(INT64_MAX), &sum), 0);
	EXPECT_EQ_INT(add(mem, "n", integer(1), integer(0), &sum), LTZ_OVERFLOW);
	EXPECT_EQ_INT(sum.as.i64, -99); /* outputs are written on 0 only */
	EXPECT_EQ_INT(add(mem, "n", integer(0), integer(0), &sum), 0);
	EXPECT_EQ_INT(sum.as.i64, INT64_MAX);
	EXPECT_EQ_INT(add(mem, "m", integer(-2), integer(INT64_MIN + 1), &sum), LTZ_OVERFLOW);
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_EQ_INT(add(mem, "m", integer(-1), integer(INT64_MIN + 1), &sum), 0);
	EXPECT_EQ_INT(sum.as.i64, INT64_MIN);
	EXPECT_CLEAN(mem);
}

TEST(add_refuses_what_is_no_number)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_hkey key = key_of(mem, "text");
	ltz_value odd = { .data = "1234", .size = 4, .type = LTZ_INT64 };
	ltz_number sum = integer(5);
	uint8_t type = 0;

	ASSERT_EQ_INT(set_with(mem, "text", "12345678", (struct ltz_set_options){ 0 }, NULL), 0);
	EXPECT_EQ_INT(ltz__map_add(mem, &key, integer(1), integer(0), &sum, &type), LTZ_MISMATCH);
	EXPECT_EQ_U64(type, LTZ_STR);
	EXPECT_EQ_INT(sum.as.i64, 5);
	EXPECT_STR(text_at(mem, "text"), "12345678");
	ASSERT_EQ_INT(ltz__map_set(mem, &key, &odd, NULL, NULL), 0); /* an integer of the wrong size */
	EXPECT_EQ_INT(ltz__map_add(mem, &key, integer(1), integer(0), &sum, &type), LTZ_MISMATCH);
	EXPECT_EQ_INT(ltz__map_add(mem, &key, integer(1), integer(0), &sum, NULL), LTZ_MISMATCH);
	EXPECT_CLEAN(mem);
}

TEST(add_keeps_the_expiry_and_starts_anew_after_it)
{
	struct ltz_mem *mem = mem_for(1);
	ltz_number sum;

	EXPECT_EQ_INT(add(mem, "n", integer(1), integer(0), &sum), 0);
	EXPECT_EQ_INT(expire(mem, "n", 10000), 0);
	EXPECT_EQ_INT(add(mem, "n", integer(1), integer(0), &sum), 0);
	EXPECT_EQ_INT(sum.as.i64, 2);
	EXPECT_TRUE(ttl_of(mem, "n") > 0 && ttl_of(mem, "n") <= 10000);
	pool_travel(mem, 11 * SECOND_NS);
	EXPECT_EQ_INT(add(mem, "n", integer(1), integer(40), &sum), 0);
	EXPECT_EQ_INT(sum.as.i64, 41);
	EXPECT_EQ_INT(ttl_of(mem, "n"), -1);
	EXPECT_CLEAN(mem);
}

/* ---- counting, expelling, a full pool --------------------------------------------------------------------------- */

TEST(what_happened_is_counted_in_the_own_row)
{
	struct ltz_mem *mem = mem_for(1), *other = pool_join_again(mem);
	ltz_number sum;

	ASSERT_EQ_INT(put_text(mem, "a", "x"), 0);
	ASSERT_EQ_INT(put_text(mem, "a", "y"), 0);
	EXPECT_EQ_INT(add(mem, "n", integer(1), integer(0), &sum), 0);
	text_at(mem, "a");
	text_at(mem, "absent");
	EXPECT_EQ_INT(drop(mem, "a", 0), 0);
	EXPECT_EQ_INT(drop(mem, "a", 0), LTZ_NOT_FOUND);
	EXPECT_EQ_U64(mem->row->sets, 3);
	EXPECT_EQ_U64(mem->row->hits, 1);
	EXPECT_EQ_U64(mem->row->misses, 1);
	EXPECT_EQ_U64(mem->row->deletes, 1);
	EXPECT_EQ_U64(other->row->sets + other->row->hits + other->row->misses + other->row->deletes, 0);
}

TEST(expel_deletes_exactly_the_record_that_expired)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_hkey key = key_of(mem, "key");
	uint64_t ref, now = map_now_ms(mem);

	ASSERT_EQ_INT(put_ttl(mem, &key, "x", 1, 5000), 0);
	ref = *pool_slot(mem, &key) & mem->ref_mask;
	EXPECT_EQ_INT(ltz__map_expel(mem, my_lane(mem), &key, ref, now), LTZ_NOT_FOUND); /* not yet */
	EXPECT_EQ_INT(ltz__map_expel(mem, my_lane(mem), &key, ref + 1, now + 10000), LTZ_NOT_FOUND);
	EXPECT_STR(text_at(mem, "key"), "x");
	EXPECT_EQ_INT(ltz__map_expel(mem, my_lane(mem), &key, ref, now + 10000), 0);
	EXPECT_STR(text_at(mem, "key"), "");
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	ASSERT_EQ_INT(put_text(mem, "key", "for ever"), 0);
	ref = *pool_slot(mem, &key) & mem->ref_mask;
	EXPECT_EQ_INT(ltz__map_expel(mem, my_lane(mem), &key, ref, SHM_NEVER - 1), LTZ_NOT_FOUND);
	EXPECT_CLEAN(mem);
}

TEST(a_full_pool_refuses_and_keeps_what_it_has)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0);
	static char value[10000], buf[10000];
	uint64_t n = 0;

	memset(value, 'v', sizeof(value));
	while (put_number(mem, n, value, sizeof(value)) == 0)
		n++;
	ASSERT_TRUE(n > 100);
	EXPECT_EQ_INT(put_number(mem, n, value, sizeof(value)), -ENOSPC);
	EXPECT_EQ_INT(put_number(mem, 5, value, sizeof(value)), -ENOSPC); /* a replacement needs a block, too */
	EXPECT_EQ_U64(ltz__map_count(mem), n);
	for (uint64_t i = 0; i < n; i++) {
		ASSERT_EQ_INT(get_number(mem, i, buf, sizeof(buf), NULL), 0);
		ASSERT_EQ_MEM(buf, value, sizeof(buf));
	}
	EXPECT_CLEAN(mem);
	ASSERT_EQ_INT(drop_number(mem, 7), 0);
	EXPECT_EQ_INT(put_number(mem, n, value, sizeof(value)), 0); /* at once, by its own reclaim */
	EXPECT_EQ_U64(ltz__map_count(mem), n);
	for (uint64_t i = 0; i <= n; i++)
		EXPECT_EQ_INT(drop_number(mem, i), i == 7 ? LTZ_NOT_FOUND : 0);
	EXPECT_EQ_INT(put_number(mem, 1, value, sizeof(value)), 0);
	EXPECT_CLEAN(mem);
}

TEST(room_in_another_lane_of_the_process_is_room)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0);
	static char value[500];
	uint64_t n = 0;

	ltz__lane_hint = LANE_FIRST;
	while (put_number(mem, n, value, sizeof(value)) == 0)
		n++;
	ltz__lane_hint = LANE_FIRST + 1; /* another thread */
	EXPECT_EQ_INT(put_number(mem, n, value, sizeof(value)), -ENOSPC);
	for (uint64_t i = 0; i < n; i += 100) {
		EXPECT_EQ_INT(drop_number(mem, i), 0);
		EXPECT_EQ_INT(put_number(mem, n + i, value, sizeof(value)), 0);
	}
	EXPECT_EQ_U64(ltz__map_count(mem), n);
	for (unsigned i = 0; i < SHM_LANES; i++)
		EXPECT_EQ_U64(mem->lane[i].busy, 0);
	EXPECT_CLEAN(mem);
}

TEST(a_value_of_almost_the_whole_pool_fits_an_empty_one)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 0);
	static char value[60 * 1024 * 1024];

	ASSERT_EQ_INT(put_text(mem, "small", "x"), 0);
	ltz__tick(mem); /* as the service thread has done by then */
	EXPECT_EQ_INT(put_number(mem, 1, value, sizeof(value)), 0);
	EXPECT_EQ_INT(drop_number(mem, 1), 0);
	EXPECT_EQ_INT(put_number(mem, 1, value, sizeof(value)), 0);
}

TEST(prefetching_changes_nothing)
{
	struct ltz_mem *mem = mem_for(1);
	struct ltz_hkey key = key_of(mem, "key"), absent = key_of(mem, "absent");

	ASSERT_EQ_INT(put_text(mem, "key", "x"), 0);
	ltz__map_prefetch_bucket(mem, &key);
	ltz__map_prefetch_record(mem, &key);
	ltz__map_prefetch_record(mem, &absent);
	EXPECT_EQ_U64(mem->row->hits + mem->row->misses, 0);
	ltz__mem_destroy(mem);
	ltz__map_prefetch_bucket(mem, &key);
	ltz__map_prefetch_record(mem, &key);
}
