/* SPDX-License-Identifier: MIT */
/*
 * test_refers.c - "does the index name this block?" A false no destroys live
 * data, so it is asked in every state of a bucket, and while others work.
 */
#include <pthread.h>

#include "../stress/pools.h"
#include "store/edit.h"
#include "store/resize.h"

static int ask(struct ltz_mem *mem, uint64_t ref)
{
	struct ltz_place place;

	if (ltz__block_place(mem, ref, &place) < 0)
		test_fail(TEST_AT(TEST_ASSERT), "ref %llu is no block", (unsigned long long)ref);
	return ltz__map_refers(mem, my_lane(mem), ref, place.bytes);
}

static uint64_t ref_of(struct ltz_mem *mem, const char *name)
{
	struct ltz_hkey key = key_of(mem, name);

	return *pool_slot(mem, &key) & mem->ref_mask;
}

TEST(a_block_in_a_slot_is_named_and_its_predecessor_is_not)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	uint64_t old, now;

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	old = ref_of(mem, "key");
	EXPECT_EQ_INT(ask(mem, old), 1);
	ASSERT_EQ_INT(put_text(mem, "key", "new"), 0);
	now = ref_of(mem, "key");
	EXPECT_EQ_INT(ask(mem, old), 0);
	EXPECT_EQ_INT(ask(mem, now), 1);
	ASSERT_EQ_INT(ltz__map_delete(mem, &key, 0), 0);
	EXPECT_EQ_INT(ask(mem, now), 0);
}

static struct ltz_edit private_block(struct ltz_mem *mem, const struct ltz_hkey *key)
{
	struct ltz_edit edit = { .key = key, .mem = mem, .lane = my_lane(mem) };
	struct ltz_content content = { .data = "private", .size = 7, .expires_ms = SHM_NEVER };

	ASSERT_EQ_INT(ltz__edit_fill(&edit, &content), 0);
	return edit;
}

TEST(a_complete_block_that_was_not_published_is_not_named)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey absent = key_of(mem, "absent"), present = key_of(mem, "present");

	ASSERT_EQ_INT(put_text(mem, "present", "x"), 0);
	EXPECT_EQ_INT(ask(mem, private_block(mem, &absent).block.ref), 0);
	EXPECT_EQ_INT(ask(mem, private_block(mem, &present).block.ref), 0);
}

TEST(garbage_in_a_block_is_not_named)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_block block;

	ASSERT_EQ_INT(put_text(mem, "key", "x"), 0);
	ASSERT_EQ_INT(ltz__block_alloc(mem, my_lane(mem), 128, false, &block), 0);
	for (unsigned i = 0; i < 1000; i++) {
		for (unsigned w = 0; w < 16; w++)
			((uint64_t *)at_ref(mem, block.ref))[w] = test_random() >> test_random_below(64);
		EXPECT_EQ_INT(ask(mem, block.ref), 0);
	}
	memset(at_ref(mem, block.ref), 0, 128); /* a key of no bytes */
	EXPECT_EQ_INT(ask(mem, block.ref), 0);
	memcpy(at_ref(mem, block.ref), at_ref(mem, ref_of(mem, "key")), 32); /* a true copy of a record that is there */
	EXPECT_EQ_INT(ask(mem, block.ref), 0);
	EXPECT_EQ_INT(ask(mem, ref_of(mem, "key")), 1);
}

TEST(a_pending_block_is_named)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct ltz_edit edit = private_block(mem, &key);
	struct shm_bucket *bucket = pool_bucket(mem, &key);
	uint64_t a = load_acquire(&bucket->ctrl.a);

	ASSERT_TRUE(cas_pair(&bucket->ctrl, a, 0, ctrl_next(a, CTRL_PENDING, 0), key.word | edit.block.ref));
	EXPECT_EQ_INT(ask(mem, edit.block.ref), 1);
	EXPECT_EQ_U64(ctrl_state(load_acquire(&bucket->ctrl.a)), CTRL_PENDING);
}

TEST(a_block_in_a_line_is_named)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	uint64_t number = 0;

	for (unsigned i = 0; i < 40; i++) {
		struct ltz_hkey key;

		number_in_bucket(mem, 1, 0, &number);
		ASSERT_EQ_INT(put_number(mem, number, "x", 1), 0);
		key = key_of_number(mem, &number);
		EXPECT_EQ_INT(ask(mem, *pool_slot(mem, &key) & mem->ref_mask), 1);
	}
}

/* ---- while a table is moved ------------------------------------------------------------------------ */

static void begin(struct ltz_mem *mem, unsigned log2, struct ltz_root *root)
{
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), root, log2), 0);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), root), 0);
}

TEST(every_block_is_named_at_every_moment_of_a_resize)
{
	for (unsigned log2 = 2; log2 <= 4; log2++) {
		struct ltz_mem *mem = pool_new(8 * MIB, 3);
		uint64_t ref[30];
		struct ltz_root root;

		for (uint64_t i = 0; i < 30; i++) {
			struct ltz_hkey key = key_of_number(mem, &i);

			ASSERT_EQ_INT(put(mem, &key, &i, 8), 0);
			ref[i] = *pool_slot(mem, &key) & mem->ref_mask;
		}
		begin(mem, log2, &root);
		for (uint64_t t = 0; t <= root.cur.buckets; t++) {
			for (unsigned i = 0; i < 30; i++)
				EXPECT_EQ_INT(ask(mem, ref[i]), 1);
			if (t < root.cur.buckets)
				ASSERT_EQ_INT(ltz__migrate(mem, my_lane(mem), &root, t), 0);
		}
		ASSERT_EQ_INT(ltz__resize(mem, my_lane(mem), &root), 0);
		for (unsigned i = 0; i < 30; i++)
			EXPECT_EQ_INT(ask(mem, ref[i]), 1);
		pool_leave(mem);
	}
}

TEST(a_frozen_slot_of_a_born_target_says_nothing)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct ltz_root root;
	uint64_t old;

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	old = ref_of(mem, "key");
	begin(mem, 2, &root);
	ASSERT_EQ_INT(put_text(mem, "key", "new"), 0); /* brings the target to life, and replaces there */
	EXPECT_TRUE(has_prev(&root));
	EXPECT_EQ_U64(load_acquire(&root.prev.shm->bucket[bucket_of_hash(key.hash, 1)].slot[0]) & mem->ref_mask, old);
	EXPECT_EQ_INT(ask(mem, old), 0);
}

TEST(slots_of_a_target_that_is_not_born_say_nothing)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct ltz_edit edit;
	struct ltz_root root;

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	edit = private_block(mem, &key);
	begin(mem, 2, &root);
	store_release(&root.cur.shm->bucket[bucket_of_hash(key.hash, 2)].slot[3], key.word | edit.block.ref);
	EXPECT_EQ_INT(ask(mem, edit.block.ref), 0);
}

TEST(what_cannot_be_told_any_more_is_kept)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	uint64_t ref;

	ASSERT_EQ_INT(put_text(mem, "key", "x"), 0);
	ref = ref_of(mem, "key");
	ltz__mem_destroy(mem);
	EXPECT_EQ_INT(ask(mem, ref), 1);
}

/* ---- while others work ---------------------------------------------------------------------------------- */

static int race_fd;
static uint64_t stop;

static void *stir(void *context)
{
	struct ltz_mem *mem = pool_join(race_fd);

	for (uint64_t i = 0; !load_acquire(&stop); i++) { /* other keys of the same buckets, and every size of table */
		struct ltz_root root;

		(void)put_number(mem, 1000 + i % 40, &i, 8);
		(void)drop_number(mem, 1000 + (i * 7 + 3) % 40);
		if (i % 50 == 0 && ltz__table_enter(mem, my_lane(mem), &root) == 0) {
			if (!has_prev(&root))
				(void)ltz__resize_begin(mem, my_lane(mem), &root, 1 + (unsigned)(i / 50) % 4);
			if (ltz__table_enter(mem, my_lane(mem), &root) == 0 && has_prev(&root))
				(void)ltz__resize(mem, my_lane(mem), &root);
			ltz__tables_tend(mem, my_lane(mem));
			ltz__lane_reclaim(mem, my_lane(mem), UINT32_MAX, RECLAIM_IDLE);
		}
	}
	return context;
}

TEST(no_live_block_is_ever_denied_while_buckets_move)
{
	struct ltz_mem *mem;
	pthread_t thread[2];
	uint64_t ref[20];

	race_fd = pool_make(16 * MIB, 1);
	mem = pool_join(race_fd);
	for (uint64_t i = 0; i < 20; i++) {
		struct ltz_hkey key = key_of_number(mem, &i);

		ASSERT_EQ_INT(put(mem, &key, &i, 8), 0);
		ref[i] = *pool_slot(mem, &key) & mem->ref_mask;
	}
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, stir, NULL), 0);
	for (unsigned i = 0; i < 20000; i++)
		ASSERT_EQ_INT(ask(mem, ref[i % 20]), 1);
	store_release(&stop, 1);
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], NULL), 0);
	EXPECT_NUMBERS(mem, 20);
	EXPECT_CLEAN(mem);
}
