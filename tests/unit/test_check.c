/* SPDX-License-Identifier: MIT */
/* test_check.c - canaries: each kind of damage, written by hand, is reported; what is no damage is not. */
#include "store/check.h"

#include <pthread.h>

#include "../stress/pools.h"
#include "shm/member.h"
#include "store/due.h"
#include "store/edit.h"
#include "store/resize.h"
#include "sys/fault.h"

/* A pool with something of every kind in it. */
static struct ltz_mem *whole(void)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 4);
	static const char large[900000];

	for (uint64_t i = 0; i < 200; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
	for (uint64_t i = 0; i < 200; i += 5)
		ASSERT_EQ_INT(drop_number(mem, i), 0);
	ASSERT_EQ_INT(put_number(mem, 1000, large, sizeof(large)), 0);
	ASSERT_EQ_INT(put_number(mem, 1001, large, 50000), 0);
	EXPECT_CLEAN(mem);
	return mem;
}

static uint64_t *slot_of(struct ltz_mem *mem, uint64_t number)
{
	struct ltz_hkey key = key_of_number(mem, &number);

	return pool_slot(mem, &key);
}

static uint64_t ref_of(struct ltz_mem *mem, uint64_t number) { return *slot_of(mem, number) & mem->ref_mask; }

static struct ltz_place place_of(struct ltz_mem *mem, uint64_t ref)
{
	struct ltz_place place;

	ASSERT_EQ_INT(ltz__block_place(mem, ref, &place), 0);
	return place;
}

/* ---- granules ----------------------------------------------------------------------------------- */

static void damage_granule(uint64_t word, const char *finding)
{
	struct ltz_mem *mem = whole();
	uint64_t g = ltz__granules_high(mem) - 1;

	ASSERT_TRUE(owner_kind(owner_load(mem, g)) == OWNER_FREE || owner_load(mem, g) == 0);
	store_release(&mem->owners[g], word);
	EXPECT_FINDING(mem, finding);
}

TEST(a_part_of_no_extent) { damage_granule(owner_part(3000), "PART of a later granule"); }

TEST(a_part_whose_head_is_free)
{
	struct ltz_mem *mem = whole();
	uint64_t high = ltz__granules_high(mem);

	store_release(&mem->owners[high - 2], owner_free(1));
	store_release(&mem->owners[high - 1], owner_part(high - 2));
	EXPECT_FINDING(mem, "PART of no extent");
}

TEST(a_part_beyond_its_extent) { damage_granule(owner_part(0), "PART beyond its extent"); }

TEST(an_extent_whose_owner_is_nobody)
{
	damage_granule(owner_make(OWNER_CLAIM, label_make(77, 1, 1), 1), "extent of nobody");
	damage_granule(owner_make(OWNER_RUN, label_make(0, 1, 99), 1), "extent of nobody"); /* of another generation */
}

TEST(an_extent_of_impossible_size)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0);
	uint64_t label = mem->lane[0].label;

	damage_granule(owner_make(OWNER_RUN, label, SHM_RUN_MAX), "extent of impossible size");
	damage_granule(owner_make(OWNER_CLAIM, label, 0), "extent of impossible size");
	damage_granule(owner_make(OWNER_SLAB, label, 200), "extent of impossible size");
}

TEST(a_kind_that_is_none) { damage_granule(7, "unknown kind"); }
TEST(a_virgin_with_bits) { damage_granule(UINT64_C(5) << 20, "VIRGIN with other bits"); }

TEST(an_extent_with_a_part_missing)
{
	struct ltz_mem *mem = whole();
	uint64_t head = ref_granule(ref_of(mem, 1000));

	ASSERT_EQ_U64(owner_kind(owner_load(mem, head)), OWNER_RUN);
	store_release(&mem->owners[head + 3], owner_free(1));
	EXPECT_FINDING(mem, "extent with a part missing");
}

/* ---- blocks ---------------------------------------------------------------------------------------- */

TEST(a_block_retired_without_being_allocated)
{
	struct ltz_mem *mem = whole();
	struct ltz_block block;
	struct ltz_place place;

	ASSERT_EQ_INT(ltz__block_alloc(mem, my_lane(mem), 32, false, &block), 0);
	ltz__block_retire(mem, block.ref);
	place = place_of(mem, block.ref);
	store_release(place.alloc, *place.alloc & ~place.bit);
	EXPECT_FINDING(mem, "retired but not allocated");
}

TEST(a_bit_beyond_the_extent_s_end)
{
	struct ltz_mem *mem = whole();
	struct ltz_place place = place_of(mem, ref_of(mem, 1001));

	store_release(place.alloc, *place.alloc | UINT64_C(1) << 63);
	EXPECT_FINDING(mem, "block beyond the extent's end");
}

TEST(a_block_that_nobody_refers_to)
{
	struct ltz_mem *mem = whole();
	struct ltz_block block;

	ASSERT_EQ_INT(ltz__block_alloc(mem, my_lane(mem), 100, false, &block), 0);
	EXPECT_FINDING(mem, "allocated, not retired, in no index");
	ltz__block_free(mem, my_lane(mem), block.ref);
	EXPECT_CLEAN(mem);
	store_release(slot_of(mem, 7), 12345); /* its key was taken out, the block forgotten */
	EXPECT_FINDING(mem, "allocated, not retired, in no index");
}

TEST(a_record_without_a_version)
{
	struct ltz_mem *mem = whole();

	store_release(&at_ref(mem, ref_of(mem, 7))->version, 0);
	EXPECT_FINDING(mem, "version 0");
}

TEST(a_record_longer_than_its_block)
{
	struct ltz_mem *mem = whole();
	struct shm_record *rec = at_ref(mem, ref_of(mem, 7));

	rec->meta = (rec->meta & 0xffffffff) | UINT64_C(100000) << 32;
	EXPECT_TRUE(pool_check(mem).count > 0);
}

TEST(a_record_that_expires_unseen)
{
	struct ltz_mem *mem = whole();
	struct ltz_hkey key = key_of(mem, "expiring");
	struct ltz_place place;
	uint64_t due;

	ASSERT_EQ_INT(put_ttl(mem, &key, "x", 1, 100000), 0);
	EXPECT_CLEAN(mem);
	place = place_of(mem, *pool_slot(mem, &key) & mem->ref_mask);
	due = place.extent->due;
	store_release(&place.extent->due, SHM_NEVER);
	EXPECT_FINDING(mem, "never due");
	store_release(&place.extent->due, due + 1);
	EXPECT_FINDING(mem, "expires before its extent is due");
	store_release(&place.extent->due, due - 5); /* too early costs nothing but a visit */
	EXPECT_CLEAN(mem);
}

/* ---- the index ---------------------------------------------------------------------------------------- */

TEST(a_slot_that_names_a_free_block)
{
	struct ltz_mem *mem = whole();
	struct ltz_place place = place_of(mem, ref_of(mem, 7));

	store_release(place.alloc, *place.alloc & ~place.bit);
	EXPECT_FINDING(mem, "a slot names a free block");
}

TEST(a_slot_that_names_a_retired_block)
{
	struct ltz_mem *mem = whole();

	ltz__block_retire(mem, ref_of(mem, 7));
	EXPECT_FINDING(mem, "a slot names a retired block");
}

TEST(a_slot_that_names_no_block)
{
	struct ltz_mem *mem = whole();
	uint64_t *slot = slot_of(mem, 7), word = *slot, wrong[] = { 0, 1, mem->units - 1, mem->ref_mask, (word & mem->ref_mask) + 1 };

	for (unsigned i = 0; i < 5; i++) {
		struct pool_findings f;

		store_release(slot, (word & ~mem->ref_mask) | wrong[i]);
		f = pool_check(mem);
		if (!f.count)
			test_fail(TEST_AT(TEST_EXPECT), "ref %llu in a slot: nothing is reported", (unsigned long long)wrong[i]);
	}
	store_release(slot, word);
	EXPECT_CLEAN(mem);
}

TEST(a_slot_with_wrong_hash_bits)
{
	struct ltz_mem *mem = whole();
	uint64_t *slot = slot_of(mem, 7), word = *slot;

	store_release(slot, word ^ UINT64_C(1) << mem->ref_bits); /* a bit that chooses no bucket here */
	EXPECT_FINDING(mem, "hash bits");
	store_release(slot, word ^ UINT64_C(1) << 61); /* the first one does */
	EXPECT_FINDING(mem, "another bucket's hash");
	store_release(slot, word);
	EXPECT_CLEAN(mem);
}

TEST(a_slot_whose_record_has_another_key)
{
	struct ltz_mem *mem = whole();
	uint64_t *slot = slot_of(mem, 7), word = *slot;

	store_release(slot, (word & ~mem->ref_mask) | ref_of(mem, 8));
	EXPECT_TRUE(pool_check(mem).count > 0);
}

/* An EMPTY slot in a key's bucket, or NULL. */
static uint64_t *empty_slot_beside(struct ltz_mem *mem, const struct ltz_hkey *key)
{
	struct ltz_table table = pool_table(mem);
	struct ltz_walk walk;

	walk_begin(&walk, &table, pool_bucket(mem, key));
	do
		for (unsigned i = 0; i < walk.count; i++)
			if (!(walk.slot[i] & SLOT_RECORD))
				return &walk.slot[i];
	while (ltz__walk_next(&walk) > 0);
	return NULL;
}

/* The same key twice in a bucket: each word by itself is right. */
TEST(a_key_that_is_in_two_slots)
{
	struct ltz_mem *mem = whole();
	uint64_t number = 1, *empty;
	struct ltz_hkey key = key_of_number(mem, &number);
	struct ltz_content content = { .data = "twin", .size = 4, .expires_ms = SHM_NEVER };
	struct ltz_edit edit = { .key = &key, .mem = mem, .lane = my_lane(mem) };

	while (!(empty = empty_slot_beside(mem, &key))) { /* in some bucket there is one */
		number += 5;
		key = key_of_number(mem, &number);
	}
	store_release(empty, *pool_slot(mem, &key)); /* the very same block */
	EXPECT_TRUE(pool_check(mem).count > 0);
	ASSERT_EQ_INT(ltz__edit_fill(&edit, &content), 0);
	store_release(empty, key.word | edit.block.ref); /* a block of its own */
	EXPECT_TRUE(pool_check(mem).count > 0);
}

TEST(links_and_roots_that_lead_nowhere)
{
	struct ltz_mem *mem = whole();
	struct ltz_table table = pool_table(mem);
	uint64_t root = mem->header->root, link = table.shm->bucket[3].link;

	store_release(&table.shm->bucket[3].link, table.lines + 9);
	EXPECT_FINDING(mem, "a link leads out of the table");
	store_release(&table.shm->bucket[3].link, link);
	store_release(&mem->header->root, root_make(99, 4, 0, 0, root_gen(root)));
	EXPECT_FINDING(mem, "root: names no table");
	store_release(&mem->header->root, root);
	EXPECT_CLEAN(mem);
}

TEST(a_table_whose_granule_is_no_table)
{
	struct ltz_mem *mem = whole();
	uint64_t head = mem->directory[pool_table(mem).id].place - 1;

	store_release(&mem->owners[head], owner_make(OWNER_CLAIM, mem->lane[0].label, 1));
	EXPECT_FINDING(mem, "its table's granule is no table");
}

TEST(an_unborn_bucket_in_a_table_without_a_previous_one)
{
	struct ltz_mem *mem = whole();
	struct shm_bucket *bucket = &pool_table(mem).shm->bucket[3];

	bucket->ctrl.a = 0;
	EXPECT_FINDING(mem, "unborn");
}

TEST(an_insert_that_cannot_be_finished)
{
	struct ltz_mem *mem = whole();
	struct shm_bucket *bucket = &pool_table(mem).shm->bucket[3];

	bucket->ctrl.a = ctrl_next(bucket->ctrl.a, CTRL_PENDING, 240); /* a slot that the bucket does not have */
	bucket->ctrl.b = *slot_of(mem, 7);
	EXPECT_FINDING(mem, "an insert that");
}

/* ---- what is no damage ------------------------------------------------------------------------------------ */

TEST(a_resize_under_way_is_no_damage)
{
	struct ltz_mem *mem = whole();
	struct ltz_root root;

	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, 5), 0);
	EXPECT_CLEAN(mem);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	for (uint64_t t = 0; t < root.cur.buckets; t += 3)
		ASSERT_EQ_INT(ltz__migrate(mem, my_lane(mem), &root, t), 0);
	EXPECT_CLEAN(mem);
}

/* The number of an EMPTY slot; BUCKET_SLOTS_MAX if all are taken. */
static unsigned empty_slot_number(struct ltz_mem *mem, struct shm_bucket *bucket)
{
	struct ltz_table table = pool_table(mem);

	for (unsigned e = 0;; e++) {
		uint64_t *slot = ltz__slot_at(&table, bucket, e);

		if (!slot || !(load_acquire(slot) & SLOT_RECORD))
			return slot ? e : BUCKET_SLOTS_MAX;
	}
}

TEST(a_pending_insert_is_no_damage)
{
	struct ltz_mem *mem = whole();
	uint64_t number = 1000000;
	struct ltz_hkey key = key_of_number(mem, &number);
	struct ltz_edit edit = { .key = &key, .mem = mem, .lane = my_lane(mem) };
	struct ltz_content content = { .data = "x", .size = 1, .expires_ms = SHM_NEVER };
	struct shm_bucket *bucket;
	unsigned e;
	char value;

	while ((e = empty_slot_number(mem, bucket = pool_bucket(mem, &key))) == BUCKET_SLOTS_MAX) {
		number++; /* in some bucket there is one */
		key = key_of_number(mem, &number);
	}
	ASSERT_EQ_INT(ltz__edit_fill(&edit, &content), 0);
	ASSERT_TRUE(cas_pair(&bucket->ctrl, bucket->ctrl.a, 0, ctrl_next(bucket->ctrl.a, CTRL_PENDING, e), key.word | edit.block.ref));
	EXPECT_CLEAN(mem);
	EXPECT_EQ_INT(get_number(mem, number, &value, 1, NULL), 0);
	EXPECT_EQ_INT(value, 'x');
}

/* ---- what a member that is stopped has in hand is no damage --------------------------------------------------- */

static struct ltz_lane *taken_lane(struct ltz_mem *me)
{
	struct ltz_lane *lane = ltz__lane_take_slow(me);

	ASSERT_TRUE(lane != NULL);
	return lane;
}

static void stop_with_a_private_block(struct ltz_mem *me)
{
	struct ltz_hkey key = key_of(me, "private");
	struct ltz_edit edit = { .key = &key, .mem = me, .lane = taken_lane(me) };
	struct ltz_content content = { .data = "x", .size = 1, .expires_ms = SHM_NEVER };

	ASSERT_EQ_INT(ltz__edit_fill(&edit, &content), 0);
}

/* Between W11 and W12 of a delete: of a block in the extent of an idle member. */
static void stop_with_an_unlinked_block(struct ltz_mem *me)
{
	struct ltz_lane *lane = taken_lane(me);
	uint64_t *slot = slot_of(me, 7), word = *slot, version = at_ref(me, word & me->ref_mask)->version;

	store_release(&lane->shm->hw, word & me->ref_mask);
	store_release(&lane->shm->vw, version);
	ASSERT_TRUE(cas_seq_cst(slot, word, version));
}

/* Step 5 of RECLAIM: the retired bits are clear, the alloc bits not yet. */
static void stop_in_reclaim(struct ltz_mem *me)
{
	struct ltz_lane *lane = taken_lane(me);
	struct ltz_block block[40];

	for (unsigned i = 0; i < 40; i++)
		ASSERT_EQ_INT(ltz__block_alloc(me, lane, 700, false, &block[i]), 0);
}

/* Step 3 of ADOPT: the extent is taken, its blocks are not yet asked for. */
static void stop_in_adoption(struct ltz_mem *me)
{
	struct ltz_lane *lane = taken_lane(me);

	for (uint64_t g = 0; g < ltz__granules_high(me); g++) {
		uint64_t word = owner_load(me, g);

		if (owner_kind(word) == OWNER_SLAB && !ltz__label_lives(me, word))
			ASSERT_TRUE(owner_cas(me, g, word, (word & ~LABEL_MASK) | lane->label));
	}
}

static void expect_clean_beside(struct ltz_mem *mem, void (*scene)(struct ltz_mem *me), uint64_t unlisted)
{
	pid_t child = stand_in(scene);
	uint64_t count = ltz__map_count(mem);

	EXPECT_CLEAN(mem);
	test_kill(child);
	ltz__adopt_dead(mem);
	EXPECT_EQ_U64(ltz__map_count(mem), count - unlisted); /* so many were there, in no index */
	EXPECT_CLEAN(mem);
}

static struct ltz_mem *whole_for_others(void)
{
	struct ltz_mem *mem = survivor_of(16 * MIB, 4);

	for (uint64_t i = 0; i < 200; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
	return mem;
}

TEST(a_stopped_member_s_private_block_is_no_damage) { expect_clean_beside(whole_for_others(), stop_with_a_private_block, 1); }
TEST(a_stopped_member_s_unlinked_block_is_no_damage) { expect_clean_beside(whole_for_others(), stop_with_an_unlinked_block, 1); }
TEST(blocks_that_come_free_in_a_stopped_member_are_no_damage) { expect_clean_beside(whole_for_others(), stop_in_reclaim, 40); }

TEST(what_a_stopped_adopter_has_taken_is_no_damage)
{
	struct ltz_mem *mem = whole_for_others(), *dead = pool_join_again(mem);
	struct ltz_block block;
	uint64_t word;

	for (unsigned i = 0; i < 100; i++)
		ASSERT_EQ_INT(ltz__block_alloc(dead, my_lane(dead), 700, false, &block), 0);
	word = dead->row->word;
	ASSERT_TRUE(cas_seq_cst(&mem->rows[dead->row_index].word, word, row_word(row_generation(word), 0))); /* settled, but for that */
	pool_leave(dead);
	expect_clean_beside(mem, stop_in_adoption, 100);
}

/* The sweep is stopped; a writer that came meanwhile has left its extent due in a second. */
TEST(a_record_that_a_stopped_sweep_leaves_waiting_a_second_is_no_damage)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 4);
	struct ltz_hkey soon = key_of(mem, "soon"), late = key_of(mem, "late");
	struct ltz_place place;

	ASSERT_EQ_INT(put_ttl(mem, &soon, "x", 1, 500), 0);
	place = place_of(mem, *pool_slot(mem, &soon) & mem->ref_mask);
	store_release(&place.extent->due, due_marker(7, map_now_ms(mem)));
	ASSERT_EQ_INT(put_ttl(mem, &late, "x", 1, 3600000), 0);
	EXPECT_TRUE(!(load_acquire(&place.extent->due) & DUE_SWEEPING));
	EXPECT_CLEAN(mem);
}

TEST(what_the_member_that_checks_has_lost_is_reported)
{
	struct ltz_mem *mem = whole();
	struct ltz_lane *lane = taken_lane(mem); /* the one that check takes */
	struct ltz_block block;

	ASSERT_EQ_INT(ltz__block_alloc(mem, lane, 100, false, &block), 0);
	lane_give(lane);
	EXPECT_FINDING(mem, "allocated, not retired, in no index");
}

/* ---- and more that is none ------------------------------------------------------------------------------------ */

TEST(a_destroyed_pool_is_no_damage)
{
	struct ltz_mem *mem = whole();

	ltz__mem_destroy(mem);
	EXPECT_CLEAN(mem);
}

TEST(many_findings_are_counted_and_the_check_ends)
{
	struct ltz_mem *mem = whole();
	struct pool_findings f;

	for (uint64_t i = 1000000; i < 1000400; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
	for (uint64_t i = 1000000; i < 1000400; i++)
		store_release(&at_ref(mem, ref_of(mem, i))->version, 0);
	f = pool_check(mem);
	EXPECT_TRUE(f.count >= 100 && f.count <= 101);
}

static int race_fd;
static uint64_t stop;

static void *work(void *context)
{
	struct ltz_mem *mem = pool_join(race_fd);
	uintptr_t id = (uintptr_t)context;
	uint8_t value[2000] = { 0 };

	for (uint64_t i = 0; !load_acquire(&stop); i++) {
		struct ltz_hkey key;
		uint64_t n = i * 7 % 300;

		key = key_of_number(mem, &n);
		(void)put_ttl(mem, &key, value, i * 31 % sizeof(value), i % 3 ? 0 : 5 + i % 40);
		(void)drop_number(mem, i * 11 % 300);
		if (id == 0 && i % 200 == 0)
			ltz__tick(mem);
	}
	return NULL;
}

TEST_WITH_LIMIT(what_others_are_doing_is_no_damage, 60)
{
	struct ltz_mem *mem;
	pthread_t thread[2];

	race_fd = pool_make(32 * MIB, 2);
	mem = pool_join(race_fd);
	for (uintptr_t i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, work, (void *)i), 0);
	for (unsigned i = 0; i < 30; i++)
		EXPECT_CLEAN(mem);
	store_release(&stop, 1);
	for (unsigned i = 0; i < 2; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], NULL), 0);
	EXPECT_CLEAN(mem);
}

#ifdef LTZ_FAULTS

/* What a dead member left is no damage, also when there is no memory to settle it. */
TEST(a_check_that_cannot_settle_the_dead_says_so_and_reports_nothing)
{
	struct ltz_mem *mem = whole(), *other = pool_join_again(mem);
	struct pool_findings findings = { 0 };
	struct ltz_block block;

	ASSERT_OK(ltz__block_alloc(other, my_lane(other), 500, false, &block));
	pool_leave(other);
	ltz__fault_set_calls_from(LTZ_FAULT_THREAD, 1, ENOMEM);
	EXPECT_EQ_INT(ltz__check(mem, pool_note, &findings), -ENOMEM);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	EXPECT_STR(findings.text, "");
	EXPECT_CLEAN(mem);
}

#endif
