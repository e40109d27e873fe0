/* SPDX-License-Identifier: MIT */
/* keys.c - the calls on one key, wherever they may need memory. */
#include "stage.h"
#include "tables.h"

#include "shm/granule.h"
#include "shm/lane.h"
#include "store/resize.h"
#include "store/table.h"
#include "store/tick.h"

/* ---- what is there before ---------------------------------------------------------------- */

/* The lane is open and has a slab with room for small values. */
static void lane_open(struct stage *stage)
{
	ASSERT_EQ_INT(other_set(stage->pool, stage->others++), 0);
}

static void lane_open_none_free(struct stage *stage)
{
	lane_open(stage);
	none_free(stage);
}

static struct ltz_lane *lane_of(struct stage *stage)
{
	return &stage->mem->lane[ltz__lane_hint];
}

/* The lane's list of extents is full: the next extent needs a longer one. */
static void extents_full(struct stage *stage)
{
	lane_open(stage);
	stage->blob_size = 60000; /* one granule each */
	while (lane_of(stage)->unused || lane_of(stage)->extents < lane_of(stage)->extents_room) {
		ASSERT_EQ_INT(blob_set(stage, stage->blobs, stage->blob_size), 0);
		stage->blobs++;
	}
	ltz__tick(stage->mem); /* but memory is ready */
}

/* The index has no line left: a bucket that is full needs a larger index. */
static void index_full(struct stage *stage)
{
	struct ltz_root root;

	do {
		ASSERT_EQ_INT(other_set(stage->pool, stage->others), 0);
		stage->others++;
		ASSERT_EQ_INT(ltz__root_read(stage->mem, &root), 0);
		ASSERT_TRUE(!has_prev(&root));
	} while (lines_used(load_acquire(&root.cur.shm->lines)) < lines_room(load_acquire(&root.cur.shm->lines)));
}

static void index_full_none_free(struct stage *stage)
{
	index_full(stage);
	none_free(stage);
}

/* A larger index is made, nothing is in it yet. */
static void index_moving(struct stage *stage)
{
	struct ltz_lane *lane = &stage->mem->lane[LANE_SERVICE];
	struct ltz_root root;

	while (stage->others < 2000)
		lane_open(stage);
	ASSERT_EQ_INT(ltz__table_enter(stage->mem, lane, &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(stage->mem, lane, &root, root.cur.log2 + 1), 0);
}

static void fill(struct stage *stage, uint64_t size)
{
	stage->blob_size = size;
	while (blob_set(stage, stage->blobs, size) == 0)
		stage->blobs++;
	ASSERT_TRUE(stage->blobs > 0);
}

static void full_of_large(struct stage *stage)
{
	fill(stage, 300 * KIB);
}

static void full_of_small(struct stage *stage)
{
	fill(stage, 20000);
}

/* More than three quarters are in use, some by values that are gone: a lane then looks for them. */
static void scarce(struct stage *stage)
{
	fill(stage, 60000);
	for (uint64_t keep = stage->blobs / 10 * 9; stage->blobs > keep; stage->blobs--)
		ASSERT_EQ_INT(blob_delete(stage, stage->blobs - 1), 0);
}

/* ---- the calls ----------------------------------------------------------------------------- */

static int set_new(struct stage *stage)
{
	return content_set(stage->pool, "k", stage->now->new, NULL);
}

static int set_if_absent(struct stage *stage)
{
	const struct ltz_set_options options = { .flags = LTZ_NX };

	return content_set(stage->pool, "k", stage->now->new, &options);
}

static int set_if_present(struct stage *stage)
{
	const struct ltz_set_options options = { .flags = LTZ_XX | LTZ_KEEP_TTL };

	return content_set(stage->pool, "k", stage->now->new, &options);
}

static int set_if_version(struct stage *stage)
{
	struct ltz_set_options options = { .flags = LTZ_IF_VERSION };
	const ltz_key key = key_of("k");
	uint8_t value[8];
	ltz_item item;
	int result = ltz_get(stage->pool, &key, value, sizeof value, &item);

	options.if_version = item.version;
	return result != 0 ? result : content_set(stage->pool, "k", stage->now->new, &options);
}

/* New keys until the index has grown; the first failure. */
static int set_until_grown(struct stage *stage)
{
	uint64_t root = load_acquire(&stage->mem->header->root);

	while (load_acquire(&stage->mem->header->root) == root) {
		int result = other_set(stage->pool, stage->others);
		if (result != 0)
			return result;
		stage->others++;
	}
	return 0;
}

static int delete_it(struct stage *stage)
{
	const ltz_key key = key_of("k");

	return ltz_delete(stage->pool, &key, 0);
}

static int delete_another_version(struct stage *stage)
{
	const ltz_key key = key_of("k");

	return ltz_delete(stage->pool, &key, UINT64_C(1) << 50);
}

static int pop_into(struct stage *stage, size_t capacity)
{
	static uint8_t value[64];
	const ltz_key key = key_of("k");
	ltz_item item;

	return ltz_pop(stage->pool, &key, value, capacity, &item);
}

static int pop_it(struct stage *stage)
{
	return pop_into(stage, 64);
}

static int pop_with_little_room(struct stage *stage)
{
	return pop_into(stage, 4);
}

static int add_number(struct stage *stage, int64_t by)
{
	const ltz_number number = { .type = LTZ_INT64, .as.i64 = by }, zero = { .type = LTZ_INT64 };
	const ltz_key key = key_of("k");
	ltz_number sum = zero;
	uint8_t type;
	int result = ltz_add(stage->pool, &key, number, zero, &sum, &type);

	if (result == 0)
		sweep_expect("the sum", sum.as.i64, stage->now->new.number);
	return result;
}

static int add_seven(struct stage *stage)
{
	return add_number(stage, 7);
}

static int add_too_much(struct stage *stage)
{
	return add_number(stage, INT64_MAX);
}

static int expire_in_an_hour(struct stage *stage)
{
	const ltz_key key = key_of("k");

	return ltz_expire(stage->pool, &key, HOUR_MS);
}

static int never_expire(struct stage *stage)
{
	const ltz_key key = key_of("k");

	return ltz_expire(stage->pool, &key, 0);
}

static int get_into(struct stage *stage, const char *name, size_t capacity)
{
	static uint8_t value[64];
	const ltz_key key = key_of(name);

	return ltz_get(stage->pool, &key, value, capacity, NULL);
}

static int get_it(struct stage *stage)
{
	return get_into(stage, "k", 64);
}

static int get_missing(struct stage *stage)
{
	return get_into(stage, "missing", 64);
}

static int get_with_little_room(struct stage *stage)
{
	return get_into(stage, "k", 4);
}

/* ---- the tables ------------------------------------------------------------------------------ */

#define SEVEN A_NUMBER(7)
#define EIGHT A_NUMBER(8)
#define MORTAL_SEVEN ((struct content){ NUMBER, 7, 8, true })

static const struct stage_case sets[] = {
	{ "ltz_set", "an empty pool", set_new, .new = SEVEN },
	{ "ltz_set", "room in a slab", set_new, .prepare = lane_open, .new = SEVEN },
	{ "ltz_set", "a new slab", set_new, .prepare = lane_open, .new = SOME_BYTES(300) },
	{ "ltz_set", "a new slab, none free", set_new, .prepare = lane_open_none_free, .new = SOME_BYTES(300) },
	{ "ltz_set", "a new slab of many granules", set_new, .prepare = lane_open, .new = SOME_BYTES(100 * KIB) },
	{ "ltz_set", "a full list of extents", set_new, .prepare = extents_full, .new = SOME_BYTES(300), .size_mib = 32 },
	{ "ltz_set", "1 MiB", set_new, .prepare = lane_open, .new = SOME_BYTES(MIB) },
	{ "ltz_set", "1 MiB, full list of extents", set_new, .prepare = extents_full, .new = SOME_BYTES(MIB), .size_mib = 32 },
	{ "ltz_set", "3 MiB, none free", set_new, .prepare = lane_open_none_free, .new = SOME_BYTES(3 * MIB) },
	{ "ltz_set", "a full index", set_until_grown, .prepare = index_full },
	{ "ltz_set", "a full index, none free", set_until_grown, .prepare = index_full_none_free },
	{ "ltz_set", "a moving index", set_new, .prepare = index_moving, .new = SEVEN },
	{ "ltz_set", "a pool full of large values", set_new, .expected = -ENOSPC, .prepare = full_of_large, .new = SOME_BYTES(MIB), .size_mib = 2,
	  .most = 140 /* the second try makes the same calls */ },
	{ "ltz_set", "a pool full of small values", set_new, .expected = -ENOSPC, .prepare = full_of_small, .new = SOME_BYTES(300), .size_mib = 2 },
	{ "ltz_set", "a scarce pool", set_new, .prepare = scarce, .new = SOME_BYTES(700), .size_mib = 4 },
	{ "ltz_set", "replaces", set_new, .old = SEVEN, .new = EIGHT },
	{ "ltz_set", "replaces by more", set_new, .old = SEVEN, .new = SOME_BYTES(MIB) },
	{ "ltz_set", "replaces 1 MiB", set_new, .old = SOME_BYTES(MIB), .new = SOME_BYTES(MIB + 1) },
	{ "ltz_set", "with a time to live", set_new, .prepare = lane_open, .new = MORTAL_SEVEN },
	{ "ltz_set", "ends a time to live", set_new, .old = MORTAL_SEVEN, .new = SEVEN },
	{ "ltz_set", "if absent", set_if_absent, .new = SEVEN },
	{ "ltz_set", "if absent, and is not", set_if_absent, .expected = LTZ_REFUSED, .old = SEVEN, .new = EIGHT },
	{ "ltz_set", "if present, keeping its time", set_if_present, .old = MORTAL_SEVEN, .new = MORTAL_SEVEN },
	{ "ltz_set", "if present, and is not", set_if_present, .expected = LTZ_REFUSED, .new = SEVEN },
	{ "ltz_set", "if of that version", set_if_version, .old = SEVEN, .new = SOME_BYTES(900) },
};

static const struct stage_case others[] = {
	{ "ltz_get", "what is there", get_it, .old = SEVEN, .new = SEVEN },
	{ "ltz_get", "what is not", get_missing, .expected = LTZ_NOT_FOUND, .old = SEVEN, .new = SEVEN },
	{ "ltz_get", "too large", get_with_little_room, .expected = LTZ_TRUNCATED, .old = SEVEN, .new = SEVEN },
	{ "ltz_delete", "what is there", delete_it, .old = SEVEN },
	{ "ltz_delete", "1 MiB", delete_it, .old = SOME_BYTES(MIB) },
	{ "ltz_delete", "what is not, no lane open", delete_it, .expected = LTZ_NOT_FOUND },
	{ "ltz_delete", "another version", delete_another_version, .expected = LTZ_REFUSED, .old = SEVEN },
	{ "ltz_pop", "what is there", pop_it, .old = SEVEN },
	{ "ltz_pop", "what is not, no lane open", pop_it, .expected = LTZ_NOT_FOUND },
	{ "ltz_pop", "too large", pop_with_little_room, .expected = LTZ_TRUNCATED, .old = SEVEN },
	{ "ltz_add", "an empty pool", add_seven, .new = SEVEN },
	{ "ltz_add", "what is there", add_seven, .old = EIGHT, .new = A_NUMBER(15) },
	{ "ltz_add", "an empty pool, none free", add_seven, .prepare = none_free, .new = SEVEN },
	{ "ltz_add", "no number", add_seven, .expected = LTZ_MISMATCH, .old = SOME_BYTES(3) },
	{ "ltz_add", "too much", add_too_much, .expected = LTZ_OVERFLOW, .old = SEVEN },
	{ "ltz_expire", "for the first time", expire_in_an_hour, .old = SEVEN, .new = MORTAL_SEVEN },
	{ "ltz_expire", "1 MiB", expire_in_an_hour, .old = SOME_BYTES(MIB), .new = { BYTES, 'x', MIB, true } },
	{ "ltz_expire", "never", never_expire, .old = MORTAL_SEVEN, .new = SEVEN },
	{ "ltz_expire", "what is not, no lane open", expire_in_an_hour, .expected = LTZ_NOT_FOUND },
};

const struct stage_case *const set_cases = sets, *const key_cases = others;
const size_t set_case_count = sizeof sets / sizeof sets[0], key_case_count = sizeof others / sizeof others[0];
