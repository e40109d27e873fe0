/* SPDX-License-Identifier: MIT */
/* test_table.c - the index' words, walks over buckets and lines, and inserts that others left unfinished. */
#include "store/table.h"

#include <errno.h>

#include "../stress/pools.h"
#include "store/edit.h"

/* ---- words ---------------------------------------------------------------------------------- */

TEST(a_root_word_keeps_its_fields_apart)
{
	uint64_t root = root_make(2047, 31, 0, 0, 0);

	EXPECT_EQ_U64(root_cur(root) | (uint64_t)root_cur_log2(root) << 16, 2047 | 31 << 16);
	EXPECT_EQ_U64(root_prev(root) + root_prev_log2(root) + root_gen(root), 0);
	root = root_make(0, 0, 2047, 31, 0);
	EXPECT_EQ_U64(root_prev(root) | (uint64_t)root_prev_log2(root) << 16, 2047 | 31 << 16);
	EXPECT_EQ_U64(root_cur(root) + root_cur_log2(root) + root_gen(root), 0);
	root = root_make(5, 6, 7, 8, UINT32_MAX);
	EXPECT_EQ_U64(root_gen(root), UINT32_MAX);
	EXPECT_EQ_U64(root_cur(root) + root_cur_log2(root) + root_prev(root) + root_prev_log2(root), 26);
	EXPECT_EQ_U64(root_cur(ROOT_DESTROYED), 0);
}

TEST(each_change_of_ctrl_is_a_new_word)
{
	uint64_t a = 0, last;

	for (unsigned i = 1; i < 1000; i++) {
		last = a;
		a = ctrl_next(a, i % 4, i % 256);
		EXPECT_EQ_U64(ctrl_state(a), i % 4);
		EXPECT_EQ_U64(ctrl_slot(a), i % 256);
		EXPECT_EQ_U64(a >> 10, i);
		EXPECT_TRUE(a != last);
	}
}

TEST(an_owner_word_keeps_its_fields_apart)
{
	uint64_t word = owner_make(OWNER_RUN, label_make(4095, 15, GENERATION_MAX), SHM_RUN_MAX);

	EXPECT_EQ_U64(owner_kind(word), OWNER_RUN);
	EXPECT_EQ_U64(owner_low(word), SHM_RUN_MAX);
	EXPECT_EQ_U64(label_row(word), 4095);
	EXPECT_EQ_U64(label_lane(word), 15);
	EXPECT_EQ_U64(label_generation(word), GENERATION_MAX);
	EXPECT_EQ_U64(owner_part_head(owner_part(UINT64_C(1) << 30)), UINT64_C(1) << 30);
	EXPECT_TRUE(owner_labelled(word) && !owner_labelled(owner_part(3)) && !owner_labelled(owner_free(1)) && !owner_labelled(0));
}

static void check_slot_words(uint64_t max_size)
{
	struct ltz_mem *mem = bare_new(max_size);

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t hash = i < 2 ? -(uint64_t)i : test_random(), ref = test_random_below(mem->units), word = slot_word(mem, hash, ref);

		ASSERT_EQ_U64(word & mem->ref_mask, ref);
		ASSERT_TRUE((word & SLOT_RECORD) && !(word & SLOT_FROZEN));
		ASSERT_EQ_U64((word ^ slot_word(mem, hash, 0)) & mem->tag_mask, 0);
		for (unsigned log2 = 1; log2 <= hash_bits(mem) && log2 <= 31; log2++) {
			ASSERT_EQ_U64(bucket_of_word(mem, word, log2), bucket_of_hash(hash, log2));
			ASSERT_EQ_U64(bucket_of_word(mem, word | SLOT_FROZEN, log2), bucket_of_hash(hash, log2));
			ASSERT_TRUE(bucket_of_hash(hash, log2) < UINT64_C(1) << log2);
		}
	}
	bare_leave(mem);
}

TEST(a_slot_word_chooses_the_same_bucket_as_its_hash_in_every_table)
{
	check_slot_words(2 * MIB);
	check_slot_words(3 * MIB);
	check_slot_words(1024 * MIB);
	check_slot_words(64 * 1024 * MIB);
}

/* ---- roots and tables that cannot be -------------------------------------------------------------- */

TEST(roots_that_lead_nowhere_are_refused)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 0);
	uint64_t good = load_acquire(&mem->header->root), gen = root_gen(good);
	unsigned id = root_cur(good), bits = hash_bits(mem);
	struct ltz_root root;

	EXPECT_EQ_INT(ltz__root_read(mem, &root), 0);
	EXPECT_EQ_U64(root.cur.id, id);
	const uint64_t bad[] = {
		0, root_make(0, 9, 0, 0, gen), root_make(id, 0, 0, 0, gen), root_make(id, 31, 0, 0, gen), root_make(id, bits + 1, 0, 0, gen),
		root_make(id + 1, 9, 0, 0, gen), root_make(2047, 9, 0, 0, gen), root_make(id, 9, id + 1, 9, gen),
		root_make(id, 9, id, 0, gen), root_make(id, 9, id, 31, gen),
	};

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		store_release(&mem->header->root, bad[i]);
		if (ltz__root_read(mem, &root) != -EUCLEAN)
			test_fail(TEST_AT(TEST_EXPECT), "root %u (0x%llx) is taken", i, (unsigned long long)bad[i]);
	}
	store_release(&mem->header->root, ROOT_DESTROYED);
	EXPECT_EQ_INT(ltz__root_read(mem, &root), -ESHUTDOWN);
	store_release(&mem->header->root, good);
}

TEST(a_table_that_would_leave_granule_space_is_refused)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 0);
	struct ltz_table table = { 0 };

	store_release(&mem->directory[9].place, mem->granules); /* the last granule */
	EXPECT_TRUE(table_at(mem, 9, 9, &table));
	EXPECT_TRUE((uint8_t *)(table.line + table.lines) <= mem->space + mem->space_bytes);
	EXPECT_TRUE(!table_at(mem, 9, 10, &table));
	store_release(&mem->directory[9].place, mem->granules + 1);
	EXPECT_TRUE(!table_at(mem, 9, 1, &table));
	store_release(&mem->directory[9].place, 0);
	EXPECT_TRUE(!table_at(mem, 9, 1, &table));
}

TEST(entering_says_under_which_root_a_lane_works)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 0);
	struct ltz_lane *lane = my_lane(mem);
	struct ltz_root root;
	uint64_t word;

	ASSERT_EQ_INT(ltz__table_enter(mem, lane, &root), 0);
	EXPECT_EQ_U64(load_acquire(&lane->shm->th), (uint64_t)root_gen(root.word) + 1);
	word = root_make(root_cur(root.word), root_cur_log2(root.word), 0, 0, root_gen(root.word) + 1);
	store_release(&mem->header->root, word);
	ASSERT_EQ_INT(ltz__table_enter(mem, lane, &root), 0);
	EXPECT_EQ_U64(root.word, word);
	EXPECT_EQ_U64(load_acquire(&lane->shm->th), (uint64_t)root_gen(word) + 1);
	store_release(&mem->header->root, ROOT_DESTROYED);
	EXPECT_EQ_INT(ltz__table_enter(mem, lane, &root), -ESHUTDOWN);
}

/* ---- walks ------------------------------------------------------------------------------------------- */

/* A bucket with so many lines behind it, by hand. */
static struct shm_bucket *with_lines(struct ltz_mem *mem, struct ltz_table *table, unsigned lines)
{
	struct shm_bucket *bucket;
	uint64_t *link;

	*table = pool_table(mem);
	bucket = &table->shm->bucket[0];
	link = &bucket->link;
	for (unsigned i = 0; i < lines; i++) {
		ASSERT_EQ_INT(ltz__line_append(mem, my_lane(mem), table, link, 0), 0);
		ASSERT_TRUE(*link != 0);
		link = &table->line[*link - 1].link;
	}
	return bucket;
}

TEST(slots_are_numbered_through_bucket_and_lines)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_table table;
	struct shm_bucket *bucket = with_lines(mem, &table, 35); /* as many as a bucket may have */
	struct ltz_walk walk;
	unsigned e = 0;

	walk_begin(&walk, &table, bucket);
	do {
		EXPECT_EQ_U64(walk.first, e);
		for (unsigned i = 0; i < walk.count; i++, e++)
			EXPECT_TRUE(ltz__slot_at(&table, bucket, e) == &walk.slot[i]);
	} while (ltz__walk_next(&walk) > 0);
	EXPECT_EQ_U64(e, BUCKET_SLOTS_MAX);
	EXPECT_TRUE(ltz__slot_at(&table, bucket, e) == NULL);
	EXPECT_TRUE(ltz__slot_at(&table, &table.shm->bucket[1], 5) == NULL);
}

TEST(links_that_lead_out_or_in_a_ring_end_the_walk)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_table table;
	struct shm_bucket *bucket = with_lines(mem, &table, 3);
	struct ltz_walk walk;
	int result = 1;

	table.line[1].link = 1; /* a ring */
	walk_begin(&walk, &table, bucket);
	for (unsigned i = 0; result > 0 && i < 1000; i++)
		result = ltz__walk_next(&walk);
	EXPECT_EQ_INT(result, -EUCLEAN);
	bucket->link = table.lines + 1;
	walk_begin(&walk, &table, bucket);
	EXPECT_EQ_INT(ltz__walk_next(&walk), -EUCLEAN);
	bucket->link = UINT64_MAX;
	walk_begin(&walk, &table, bucket);
	EXPECT_EQ_INT(ltz__walk_next(&walk), -EUCLEAN);
	EXPECT_TRUE(ltz__slot_at(&table, bucket, 5) == NULL);
}

TEST(a_line_is_appended_once_and_the_loser_keeps_its_own_for_the_next_time)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_lane *lane = my_lane(mem);
	struct ltz_table table;
	struct shm_bucket *bucket = with_lines(mem, &table, 1);
	uint64_t first = bucket->link, used = lines_used(table.shm->lines);

	/* read as 0 before somebody else appended */
	ASSERT_EQ_INT(ltz__line_append(mem, lane, &table, &bucket->link, 0), 0);
	EXPECT_EQ_U64(bucket->link, first);
	EXPECT_EQ_U64(lines_used(table.shm->lines), used + 1);
	ASSERT_EQ_INT(ltz__line_append(mem, lane, &table, &table.shm->bucket[1].link, 0), 0);
	EXPECT_EQ_U64(lines_used(table.shm->lines), used + 1); /* the spare one */
	EXPECT_TRUE(table.shm->bucket[1].link != first);
}

TEST(a_table_without_lines_says_so)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_table table = pool_table(mem);
	uint64_t word = table.shm->lines;

	store_release(&table.shm->lines, (word & ~UINT64_C(0xffffffff)) | lines_room(word));
	EXPECT_EQ_INT(ltz__line_append(mem, my_lane(mem), &table, &table.shm->bucket[0].link, 0), -ENOSPC);
	EXPECT_EQ_U64(table.shm->bucket[0].link, 0);
	table.shm->bucket[0].link = 1; /* somebody else got one meanwhile */
	EXPECT_EQ_INT(ltz__line_append(mem, my_lane(mem), &table, &table.shm->bucket[0].link, 0), 0);
}

/* ---- unfinished inserts ---------------------------------------------------------------------------------- */

/* W20 by hand, and stop. */
static struct shm_bucket *leave_pending(struct ltz_mem *mem, const struct ltz_hkey *key, const char *text, unsigned e)
{
	struct ltz_edit edit = { .key = key, .mem = mem, .lane = my_lane(mem) };
	struct ltz_content content = { .data = text, .size = strlen(text), .expires_ms = SHM_NEVER, .type = LTZ_BYTES };
	struct shm_bucket *bucket = pool_bucket(mem, key);
	uint64_t a = load_acquire(&bucket->ctrl.a);

	ASSERT_EQ_INT(ltz__edit_fill(&edit, &content), 0);
	ASSERT_EQ_U64(ctrl_state(a), CTRL_IDLE);
	ASSERT_TRUE(cas_pair(&bucket->ctrl, a, 0, ctrl_next(a, CTRL_PENDING, e), key->word | edit.block.ref));
	return bucket;
}

TEST(a_pending_insert_is_read_by_all)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1), *other = pool_join_again(mem);
	struct ltz_hkey key = key_of(mem, "key");
	struct shm_bucket *bucket = leave_pending(mem, &key, "pending", 0);
	uint64_t a = load_acquire(&bucket->ctrl.a);

	EXPECT_STR(text_at(mem, "key"), "pending");
	EXPECT_STR(text_at(other, "key"), "pending");
	EXPECT_EQ_U64(ltz__map_count(other), 1);
	EXPECT_EQ_U64(load_acquire(&bucket->ctrl.a), a); /* readers do not help */
}

TEST(a_pending_insert_is_finished_by_the_next_writer)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1), *other = pool_join_again(mem);
	struct ltz_hkey key = key_of(mem, "key");
	struct shm_bucket *bucket = leave_pending(mem, &key, "pending", 2);
	uint64_t number = 0, seq = load_acquire(&bucket->ctrl.a) >> 10;

	number_in_bucket(other, 1, bucket_of_hash(key.hash, 1), &number);
	EXPECT_EQ_INT(drop_number(other, number), LTZ_NOT_FOUND); /* of another key of that bucket */
	EXPECT_EQ_U64(ctrl_state(load_acquire(&bucket->ctrl.a)), CTRL_IDLE);
	EXPECT_EQ_U64(load_acquire(&bucket->ctrl.a) >> 10, seq + 1);
	EXPECT_EQ_U64(load_acquire(&bucket->ctrl.b), 0);
	EXPECT_TRUE(load_acquire(&bucket->slot[2]) & SLOT_RECORD);
	EXPECT_STR(text_at(other, "key"), "pending");
	EXPECT_CLEAN(mem);
}

TEST(a_pending_key_can_be_replaced_deleted_and_found_present)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_set_options nx = { .flags = LTZ_NX };
	ltz_value value = { .data = "x", .size = 1, .type = LTZ_BYTES };
	struct ltz_hkey key = key_of(mem, "key");

	leave_pending(mem, &key, "pending", 0);
	EXPECT_EQ_INT(ltz__map_set(mem, &key, &value, &nx, NULL), LTZ_REFUSED);
	EXPECT_EQ_INT(ltz__map_delete(mem, &key, 0), 0);
	leave_pending(mem, &key, "again", 0);
	EXPECT_EQ_INT(put_text(mem, "key", "replaced"), 0);
	EXPECT_STR(text_at(mem, "key"), "replaced");
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_CLEAN(mem);
}

TEST(helping_twice_or_too_late_changes_nothing)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_table table = pool_table(mem);
	struct ltz_hkey key = key_of(mem, "key");
	struct shm_bucket *bucket = leave_pending(mem, &key, "pending", 1), after;
	uint64_t a = load_acquire(&bucket->ctrl.a), b = load_acquire(&bucket->ctrl.b);

	EXPECT_EQ_INT(ltz__help(&table, bucket, a, b), 0);
	after = *bucket;
	EXPECT_EQ_INT(ltz__help(&table, bucket, a, b), 0);
	EXPECT_EQ_MEM(bucket, &after, sizeof(after));
	ASSERT_EQ_INT(ltz__map_delete(mem, &key, 0), 0);
	EXPECT_EQ_INT(ltz__help(&table, bucket, a, b), 0); /* the slot is EMPTY again; the record is gone for good */
	EXPECT_STR(text_at(mem, "key"), "");
	EXPECT_CLEAN(mem);
}

TEST(helping_towards_a_slot_that_does_not_exist_is_damage)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_table table = pool_table(mem);
	struct ltz_hkey key = key_of(mem, "key");
	struct shm_bucket *bucket = leave_pending(mem, &key, "pending", 200);
	uint64_t a = load_acquire(&bucket->ctrl.a);

	EXPECT_EQ_INT(ltz__help(&table, bucket, a, load_acquire(&bucket->ctrl.b)), -EUCLEAN);
	EXPECT_EQ_INT(put_text(mem, "key", "x"), -EUCLEAN);
	EXPECT_EQ_INT(ltz__help(&table, bucket, ctrl_next(a, CTRL_PENDING, 200), 5), 0); /* not what is there: late */
}

/* ---- many keys in one bucket ------------------------------------------------------------------------------ */

TEST(a_bucket_holds_as_many_keys_as_its_lines)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	uint64_t number[BUCKET_SLOTS_WRITERS + 1], next = 0, used;
	struct ltz_table table = pool_table(mem);

	for (unsigned i = 0; i <= BUCKET_SLOTS_WRITERS; i++) {
		number_in_bucket(mem, 1, 1, &next);
		number[i] = next;
	}
	for (unsigned i = 0; i < BUCKET_SLOTS_WRITERS; i++) {
		ASSERT_EQ_INT(put_number(mem, number[i], &i, sizeof(i)), 0);
		EXPECT_EQ_U64(lines_used(load_acquire(&table.shm->lines)), i < 5 ? 0 : (i - 5) / 7 + 1);
	}
	EXPECT_EQ_U64(pool_table(mem).log2, 1); /* nobody grows it: there is no service thread */
	for (unsigned i = 0; i < BUCKET_SLOTS_WRITERS; i++) {
		unsigned value;

		ASSERT_EQ_INT(get_number(mem, number[i], &value, sizeof(value), NULL), 0);
		EXPECT_EQ_U64(value, i);
	}
	EXPECT_EQ_U64(ltz__map_count(mem), BUCKET_SLOTS_WRITERS);
	EXPECT_CLEAN(mem);
	used = lines_used(load_acquire(&table.shm->lines));
	for (unsigned i = 0; i < BUCKET_SLOTS_WRITERS; i++) { /* places of deleted keys are used again */
		ASSERT_EQ_INT(drop_number(mem, number[i]), 0);
		ASSERT_EQ_INT(put_number(mem, number[i], &i, sizeof(i)), 0);
	}
	EXPECT_EQ_U64(lines_used(load_acquire(&table.shm->lines)), used);
	ASSERT_EQ_INT(put_number(mem, number[BUCKET_SLOTS_WRITERS], "one too many", 12), 0);
	EXPECT_TRUE(pool_table(mem).log2 > 1); /* the writer grew the table by itself */
	EXPECT_EQ_U64(ltz__map_count(mem), BUCKET_SLOTS_WRITERS + 1);
	EXPECT_CLEAN(mem);
}

TEST(an_emptied_slot_is_never_the_same_word_twice)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct shm_bucket *bucket = pool_bucket(mem, &key);
	uint64_t last = 0;

	for (unsigned i = 0; i < 50; i++) {
		uint64_t word;

		ASSERT_EQ_INT(put_text(mem, "key", "x"), 0);
		ASSERT_EQ_INT(ltz__map_delete(mem, &key, 0), 0);
		word = load_acquire(&bucket->slot[0]);
		EXPECT_TRUE(word && !(word & (SLOT_RECORD | SLOT_FROZEN)));
		EXPECT_TRUE(word > last); /* the version of what was there */
		last = word;
	}
}
