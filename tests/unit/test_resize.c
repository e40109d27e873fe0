/* SPDX-License-Identifier: MIT */
/* test_resize.c - tables grow, shrink and are made anew under their users, and leave no memory behind. */
#include "store/resize.h"

#include <errno.h>
#include <pthread.h>

#include "../stress/pools.h"
#include "sys/sys.h"

/* From where it is to 2^log2 buckets, to the end. */
static int resize_to(struct ltz_mem *mem, unsigned log2)
{
	struct ltz_lane *lane = my_lane(mem);
	struct ltz_root root;
	uint64_t at = 0;
	int result;

	ASSERT_EQ_INT(ltz__table_enter(mem, lane, &root), 0);
	if (has_prev(&root)) { /* one that others began */
		ASSERT_EQ_INT(ltz__resize(mem, lane, &root), 0);
		ASSERT_EQ_INT(ltz__table_enter(mem, lane, &root), 0);
	}
	result = has_prev(&root) ? 0 : ltz__resize_begin(mem, lane, &root, log2);
	if (result < 0)
		return result;
	ASSERT_EQ_INT(ltz__table_enter(mem, lane, &root), 0);
	while (has_prev(&root) && (result = ltz__resize_slice(mem, lane, &root, &at)) > 0)
		;
	return result;
}

static void fill(struct ltz_mem *mem, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
}

/* The tables that are in no root go, as the service thread would see to it. */
static void let_go(struct ltz_mem *mem)
{
	struct ltz_lane *lane = my_lane(mem);
	struct ltz_root root;

	ASSERT_EQ_INT(ltz__table_enter(mem, lane, &root), 0);
	ltz__tables_tend(mem, lane);
	ltz__lane_reclaim(mem, lane, UINT32_MAX, RECLAIM_IDLE);
	ltz__tables_tend(mem, &mem->lane[LANE_SERVICE]);
	ltz__lane_reclaim(mem, &mem->lane[LANE_SERVICE], UINT32_MAX, RECLAIM_IDLE);
}

/* ---- the first table ------------------------------------------------------------------------------ */

static int race_fd;
static void *join_pool(void *context)
{
	(void)context;
	return pool_join(race_fd);
}

TEST(members_that_join_at_once_share_one_first_table)
{
	pthread_t thread[6];
	void *mem[6];

	race_fd = pool_make(8 * MIB, 0);
	for (unsigned i = 0; i < 6; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, join_pool, NULL), 0);
	for (unsigned i = 0; i < 6; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], &mem[i]), 0);
	for (unsigned i = 0; i < 6; i++) {
		EXPECT_EQ_U64(pool_table(mem[i]).id, pool_table(mem[0]).id);
		ASSERT_EQ_INT(put_number(mem[i], i, &(uint64_t){ i }, 8), 0);
	}
	for (unsigned i = 0; i < 6; i++) /* who lost the race gives its table back */
		let_go(mem[i]);
	EXPECT_EQ_U64(extents_of_kind(mem[0], OWNER_TABLE), 1);
	EXPECT_EQ_U64(claimed_entries(mem[0]), 1);
	EXPECT_EQ_U64(pool_counts(mem[0]).claimed, 0);
	EXPECT_NUMBERS(mem[0], 6);
	EXPECT_CLEAN(mem[0]);
}

TEST(the_first_table_is_as_large_as_the_pool_says)
{
	EXPECT_EQ_U64(pool_table(pool_new(2 * MIB, 0)).log2, 9);
	EXPECT_EQ_U64(pool_table(pool_new(2 * MIB, 1)).log2, 1);
	EXPECT_EQ_U64(pool_table(pool_new(2 * MIB, 7)).log2, 7);
}

/* ---- there and back ------------------------------------------------------------------------------------ */

TEST(every_key_survives_growth_shrinking_and_compaction)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 1);
	static const unsigned sizes[] = { 2, 3, 3, 4, 5, 6, 9, 9, 8, 7, 6, 6, 5, 10, 11, 4, 5, 4 };

	fill(mem, 60); /* at 4 and less many to a bucket, with lines */
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		uint32_t gen = root_gen(load_acquire(&mem->header->root));

		ASSERT_EQ_INT(resize_to(mem, sizes[i]), 0);
		EXPECT_EQ_U64(pool_table(mem).log2, sizes[i]);
		EXPECT_EQ_U64(root_gen(load_acquire(&mem->header->root)), gen + 2);
		EXPECT_NUMBERS(mem, 60);
		EXPECT_EQ_U64(ltz__map_count(mem), 60);
		EXPECT_CLEAN(mem);
		let_go(mem);
		EXPECT_EQ_U64(extents_of_kind(mem, OWNER_TABLE), 1);
	}
	EXPECT_EQ_U64(load_relaxed(&mem->header->resizes), sizeof(sizes) / sizeof(*sizes));
}

TEST(operations_work_at_every_moment_of_a_resize)
{
	for (unsigned log2 = 4; log2 <= 6; log2++) { /* shrink, compaction, growth */
		struct ltz_mem *mem = pool_new(8 * MIB, 5);
		struct ltz_root root;

		fill(mem, 100);
		ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
		ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, log2), 0);
		ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
		for (uint64_t t = 0; t < root.cur.buckets; t++) { /* one bucket after the other comes to life */
			uint64_t n = t * 3 % 100;

			EXPECT_NUMBERS(mem, 100);
			ASSERT_EQ_INT(drop_number(mem, n), 0);
			EXPECT_EQ_INT(get_number(mem, n, NULL, 0, NULL), LTZ_NOT_FOUND);
			EXPECT_EQ_U64(ltz__map_count(mem), 99);
			ASSERT_EQ_INT(put_number(mem, n, &n, 8), 0);
			ASSERT_EQ_INT(put_number(mem, (n + 50) % 100, &(uint64_t){ (n + 50) % 100 }, 8), 0);
			ASSERT_EQ_INT(ltz__migrate(mem, my_lane(mem), &root, t), 0);
			ASSERT_EQ_INT(ltz__migrate(mem, my_lane(mem), &root, t), 0); /* a second migrator, late */
		}
		EXPECT_NUMBERS(mem, 100);
		ASSERT_EQ_INT(ltz__resize(mem, my_lane(mem), &root), 0);
		EXPECT_EQ_U64(pool_table(mem).log2, log2);
		EXPECT_NUMBERS(mem, 100);
		EXPECT_CLEAN(mem);
		pool_leave(mem);
	}
}

/* Readers in old mode: the truth is in the previous table, whatever half-filled target there is. */
TEST(a_half_migrated_bucket_is_read_from_its_source)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 2);
	struct ltz_root root;

	fill(mem, 12);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, 3), 0);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	for (uint64_t s = 0; s < 4; s++) { /* M2, then M3 and M4 of the first slot only */
		struct shm_bucket *from = &root.prev.shm->bucket[s];
		uint64_t a = load_acquire(&from->ctrl.a), w;

		ASSERT_TRUE(cas_pair(&from->ctrl, a, 0, ctrl_next(a, CTRL_FROZEN, 0), 0));
		w = fetch_or_seq_cst(&from->slot[0], SLOT_FROZEN);
		if (w & SLOT_RECORD)
			cas_seq_cst(&root.cur.shm->bucket[bucket_of_word(mem, w, 3)].slot[0], 0, w);
		EXPECT_NUMBERS(mem, 12);
	}
	for (uint64_t i = 0; i < 12; i += 2)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0); /* ends their buckets' migration */
	EXPECT_NUMBERS(mem, 12);
	EXPECT_EQ_U64(ltz__map_count(mem), 12);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__resize(mem, my_lane(mem), &root), 0);
	EXPECT_NUMBERS(mem, 12);
	EXPECT_CLEAN(mem);
}

/* A writer that read a slot before it was frozen: its swap fails or counts, never is lost. */
TEST(an_update_of_a_slot_not_yet_frozen_counts)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 2);
	struct ltz_hkey key = key_of(mem, "key");
	uint64_t *slot, word, a, hash = key.hash;
	struct shm_bucket *source;
	struct ltz_root root;

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	ASSERT_EQ_INT(put_text(mem, "donor", "new"), 0);
	slot = pool_slot(mem, &key);
	word = load_acquire(slot);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, 3), 0);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	source = &root.prev.shm->bucket[bucket_of_hash(hash, 2)];
	a = load_acquire(&source->ctrl.a);
	ASSERT_TRUE(cas_pair(&source->ctrl, a, 0, ctrl_next(a, CTRL_FROZEN, 0), 0)); /* M2 */
	ASSERT_TRUE(cas_seq_cst(slot, word, load_acquire(&at_ref(mem, word & mem->ref_mask)->version))); /* a delete lands */
	ltz__block_retire(mem, word & mem->ref_mask);
	EXPECT_STR(text_at(mem, "key"), "");
	ASSERT_EQ_INT(ltz__resize(mem, my_lane(mem), &root), 0);
	EXPECT_STR(text_at(mem, "key"), "");
	EXPECT_STR(text_at(mem, "donor"), "new");
	EXPECT_TRUE(load_acquire(slot) & SLOT_FROZEN);
	EXPECT_CLEAN(mem);
}

/* All lines left are migration's: a writer with a full bucket ends that before it takes one. */
TEST(a_writer_that_finds_no_line_ends_the_migration_first)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	uint64_t numbers[BUCKET_SLOTS + 1], n = 1000, need;
	struct ltz_root root;

	fill(mem, 6);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, 4), 0);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	for (unsigned i = 0; i < BUCKET_SLOTS + 1; i++) {
		number_in_bucket(mem, 4, 5, &n);
		numbers[i] = n;
	}
	need = ltz__lines_for_migration(mem, &root.prev, 4);
	store_release(&root.cur.shm->lines, (lines_used(root.cur.shm->lines) + need) << 32 | lines_used(root.cur.shm->lines));
	for (unsigned i = 0; i < BUCKET_SLOTS + 1; i++) /* one of the first six numbers may be in the bucket */
		ASSERT_EQ_INT(put_number(mem, numbers[i], &numbers[i], 8), 0);
	EXPECT_EQ_U64(root_prev(load_acquire(&mem->header->root)), 0);
	EXPECT_TRUE(lines_used(root.cur.shm->lines) >= 1);
	EXPECT_NUMBERS(mem, 6);
	EXPECT_CLEAN(mem);
}

TEST(a_slice_goes_on_where_the_last_one_stopped)
{
	struct ltz_mem *mem = pool_new(16 * MIB, 13);
	uint64_t at = 0, last = 0, slices = 0;
	struct ltz_root root;
	int result = 1;

	fill(mem, 5000);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, 14), 0);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	while (result > 0) {
		result = ltz__resize_slice(mem, my_lane(mem), &root, &at);
		EXPECT_TRUE(at > last);
		last = at;
		slices++;
	}
	EXPECT_EQ_INT(result, 0);
	EXPECT_TRUE(slices > 1);
	EXPECT_EQ_U64(at, root.cur.buckets);
	EXPECT_NUMBERS(mem, 5000);
	EXPECT_CLEAN(mem);
}

/* ---- when it is not possible ------------------------------------------------------------------------------ */

TEST(sizes_that_cannot_be_are_refused)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 1);

	fill(mem, 10);
	EXPECT_EQ_INT(resize_to(mem, 0), -ENOSPC);
	EXPECT_EQ_INT(resize_to(mem, hash_bits(mem) + 1), -ENOSPC);
	EXPECT_EQ_INT(resize_to(mem, 32), -ENOSPC);
	EXPECT_EQ_INT(resize_to(mem, 20), -ENOSPC); /* 64 MiB of buckets in 2 MiB */
	EXPECT_EQ_U64(claimed_entries(mem), 1);
	EXPECT_NUMBERS(mem, 10);
	EXPECT_EQ_INT(resize_to(mem, 2), 0);
	EXPECT_CLEAN(mem);
}

/* Hazards compare gens, so they must not wrap: the table then keeps its size, and everything else goes on. */
TEST(the_last_generations_are_never_reached)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	const uint32_t last = 0xffffffefu;
	struct ltz_table table = pool_table(mem);

	fill(mem, 10);
	store_release(&mem->header->root, root_make(table.id, table.log2, 0, 0, last - 2));
	EXPECT_EQ_INT(resize_to(mem, 2), 0); /* takes two */
	table = pool_table(mem);
	EXPECT_EQ_U64(root_gen(load_acquire(&mem->header->root)), last);
	EXPECT_EQ_INT(resize_to(mem, 3), -ENOSPC);
	EXPECT_EQ_INT(resize_to(mem, 2), -ENOSPC);
	fill(mem, 30);
	pool_tick(mem, 3);
	EXPECT_EQ_U64(root_gen(load_acquire(&mem->header->root)), last);
	EXPECT_NUMBERS(mem, 30);
	EXPECT_CLEAN(mem);
}

TEST(a_full_directory_stops_growth_and_nothing_else)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);

	for (unsigned id = 1; id < SHM_TABLES; id++)
		cas_acq_rel(&mem->directory[id].claim, 0, mem->lane[0].label | 1);
	fill(mem, 100);
	EXPECT_EQ_INT(resize_to(mem, 2), -ENOSPC);
	fill(mem, 100);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
	store_release(&mem->directory[77].claim, 0);
	EXPECT_EQ_INT(resize_to(mem, 2), 0);
	EXPECT_EQ_U64(pool_table(mem).id, 77);
	EXPECT_NUMBERS(mem, 100);
}

TEST(a_pool_without_memory_for_a_table_goes_on)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 1);
	static char large[400 * 1024];
	uint64_t n = 1000;

	fill(mem, 20);
	while (put_number(mem, n, large, sizeof(large)) == 0)
		n++;
	while (put_number(mem, n, large, 40000) == 0)
		n++;
	EXPECT_EQ_INT(resize_to(mem, 12), -ENOSPC);
	EXPECT_NUMBERS(mem, 20);
	for (uint64_t i = 1000; i < n; i++)
		ASSERT_EQ_INT(drop_number(mem, i), 0);
	pool_tick(mem, 3);
	EXPECT_EQ_INT(resize_to(mem, 12), 0);
	EXPECT_NUMBERS(mem, 20);
	EXPECT_CLEAN(mem);
}

TEST(the_loser_of_a_race_to_resize_gives_its_table_back)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1), *other = pool_join_again(mem);
	struct ltz_root root, stale;

	fill(mem, 20);
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__table_enter(other, my_lane(other), &stale), 0);
	ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, 2), 0);
	ASSERT_EQ_INT(ltz__resize_begin(other, my_lane(other), &stale, 3), 0); /* too late */
	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	EXPECT_EQ_U64(root.cur.log2, 2);
	ASSERT_EQ_INT(ltz__resize(other, my_lane(other), &root), 0); /* anybody may end it */
	EXPECT_EQ_U64(pool_table(mem).log2, 2);
	let_go(other);
	let_go(mem);
	EXPECT_EQ_U64(extents_of_kind(mem, OWNER_TABLE), 1);
	EXPECT_EQ_U64(claimed_entries(mem), 1);
	EXPECT_NUMBERS(mem, 20);
	EXPECT_CLEAN(mem);
}

/* ---- the memory of tables --------------------------------------------------------------------------------------- */

TEST(a_dropped_table_waits_for_those_who_work_under_it)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 9), *other = pool_join_again(mem);
	struct ltz_root root;

	fill(mem, 20);
	ASSERT_EQ_INT(ltz__table_enter(other, my_lane(other), &root), 0); /* stopped here for a long time */
	ASSERT_EQ_INT(resize_to(mem, 10), 0);
	ASSERT_EQ_INT(resize_to(mem, 9), 0);
	let_go(mem);
	EXPECT_EQ_U64(extents_of_kind(mem, OWNER_TABLE), 2); /* the one in between was born later: it cannot know it */
	EXPECT_TRUE(owner_kind(owner_load(mem, load_acquire(&mem->directory[root.cur.id].place) - 1)) == OWNER_TABLE);
	ASSERT_EQ_INT(ltz__table_enter(other, my_lane(other), &root), 0);
	let_go(mem);
	EXPECT_EQ_U64(extents_of_kind(mem, OWNER_TABLE), 1);
	EXPECT_EQ_U64(claimed_entries(mem), 1);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
	EXPECT_CLEAN(mem);
}

TEST(thousands_of_resizes_use_up_neither_memory_nor_numbers)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 3);

	fill(mem, 30);
	for (unsigned i = 0; i < 5000; i++) {
		ASSERT_EQ_INT(resize_to(mem, 3 + i % 2), 0);
		let_go(mem);
	}
	EXPECT_EQ_U64(extents_of_kind(mem, OWNER_TABLE), 1);
	EXPECT_EQ_U64(claimed_entries(mem), 1);
	EXPECT_NUMBERS(mem, 30);
	EXPECT_CLEAN(mem);
}

TEST(lines_that_nobody_needs_are_cut_off)
{
	struct ltz_mem *mem = pool_new(32 * MIB, 12);
	struct ltz_lane *lane = my_lane(mem);
	struct ltz_root root;
	uint64_t granules;

	fill(mem, 100);
	for (unsigned i = 0; i < 3; i++) /* compaction reserves what the last one had, and more */
		ASSERT_EQ_INT(resize_to(mem, 12 + (i == 0)), 0);
	ASSERT_EQ_INT(ltz__table_enter(mem, lane, &root), 0);
	granules = pool_counts(mem).table;
	let_go(mem);
	EXPECT_TRUE(pool_counts(mem).table < granules);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
	EXPECT_CLEAN(mem);
	fill(mem, 20000); /* the room says what is left of them */
	EXPECT_NUMBERS(mem, 20000);
	EXPECT_CLEAN(mem);
}

TEST(growth_is_wanted_when_lines_are)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 4);
	struct ltz_root root;
	uint64_t number = 0;

	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	EXPECT_TRUE(!ltz__resize_wanted(&root));
	for (unsigned bucket = 0; bucket < 4; bucket++)
		for (unsigned i = 0; i < 6; i++) {
			number_in_bucket(mem, 4, bucket, &number);
			ASSERT_EQ_INT(put_number(mem, number, "v", 1), 0);
		}
	EXPECT_TRUE(ltz__resize_wanted(&root));
}

/* ---- under operations ----------------------------------------------------------------------------------------------- */

static uint64_t stop;

static void *resize_up_and_down(void *context)
{
	struct ltz_mem *mem = context;

	for (unsigned i = 0; !load_acquire(&stop); i++) {
		int result = resize_to(mem, 1 + i % 5);

		if (result < 0 && result != -ENOSPC)
			test_fail(TEST_AT(TEST_EXPECT), "resize: %d", result);
		let_go(mem);
	}
	return NULL;
}

#define WRITERS 3
#define OWN     12u

/* Each writer's own keys: nobody else touches them, so it knows what must be there. */
static void *use_own_keys(void *context)
{
	struct ltz_mem *mem = pool_join(race_fd);
	uint64_t id = (uintptr_t)context, value[OWN] = { 0 }, random = id;

	/* and on until the table has changed, however busy the machine is */
	for (unsigned i = 0; i < 6000 || load_relaxed(&mem->header->resizes) <= 10; i++) {
		unsigned k = (unsigned)(random >> 33) % OWN;
		uint64_t number = id * 1000 + k, seen = 0;
		int result;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		result = get_number(mem, number, &seen, 8, NULL);
		if (result != (value[k] ? 0 : LTZ_NOT_FOUND) || seen != value[k])
			test_fail(TEST_AT(TEST_ASSERT), "round %u, key %u: result %d, %llu instead of %llu", i, k, result,
			          (unsigned long long)seen, (unsigned long long)value[k]);
		value[k] = random >> 62 ? i + 1 : 0;
		result = value[k] ? put_number(mem, number, &value[k], 8) : drop_number(mem, number);
		if (result < 0)
			test_fail(TEST_AT(TEST_ASSERT), "round %u, key %u: result %d", i, k, result);
	}
	return mem;
}

TEST(nothing_is_lost_while_the_table_changes_its_size_all_the_time)
{
	struct ltz_mem *mem;
	pthread_t thread[WRITERS], resizer;

	race_fd = pool_make(16 * MIB, 1);
	mem = pool_join(race_fd);
	ASSERT_EQ_INT(pthread_create(&resizer, NULL, resize_up_and_down, mem), 0);
	for (uintptr_t i = 0; i < WRITERS; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, use_own_keys, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < WRITERS; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], NULL), 0);
	store_release(&stop, 1);
	ASSERT_EQ_INT(pthread_join(resizer, NULL), 0);
	EXPECT_TRUE(load_relaxed(&mem->header->resizes) > 10);
	EXPECT_CLEAN(mem);
}

/* ---- deaths ------------------------------------------------------------------------------------------------------ */
static unsigned claim_entry(struct ltz_mem *me)
{
	for (unsigned id = 1; id < SHM_TABLES; id++)
		if (cas_acq_rel(&me->directory[id].claim, 0, my_lane(me)->label | 1))
			return id;
	test_fail(TEST_AT(TEST_ASSERT), "the directory is full");
	return 0;
}

/* A table's granules, formatted, of n granules; not yet in the directory. */
static uint64_t form_table(struct ltz_mem *me, unsigned id, unsigned log2, unsigned n)
{
	int64_t head = ltz__granules_claim(me, my_lane(me), n);
	struct shm_table *table;

	ASSERT_OK(head);
	table = at_granule(me, (uint64_t)head);
	memset(table, 0, n * SHM_GRANULE);
	table->id = id;
	table->log2 = log2;
	table->lines = (n * SHM_GRANULE - sizeof(*table) - (UINT64_C(64) << log2)) / 64 << 32;
	ltz__granules_form(me, my_lane(me), (uint64_t)head, n, OWNER_TABLE, n);
	return (uint64_t)head;
}

static void leave_unfinished_tables(struct ltz_mem *me)
{
	uint32_t gen = root_gen(load_acquire(&me->header->root));
	unsigned id;

	claim_entry(me);                                 /* nothing but the entry */
	ASSERT_OK(ltz__granules_claim(me, my_lane(me), 3));
	claim_entry(me);                                 /* entry and claim */
	form_table(me, claim_entry(me), 10, 2);          /* formed, in no directory */
	id = claim_entry(me);
	store_release(&me->directory[id].born, gen + 1); /* R8 alone is missing */
	store_release(&me->directory[id].place, form_table(me, id, 10, 2) + 1);
}

TEST(tables_under_construction_go_with_their_maker)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	ASSERT_EQ_INT(put_text(mem, "key", "there"), 0);
	die_in(leave_unfinished_tables);
	EXPECT_SETTLED(mem, 1);
	EXPECT_STR(text_at(mem, "key"), "there");
}

/* R8: the new table is in the root. migrated: so many of its buckets are brought to life. */
static void begin_resize(struct ltz_mem *me, unsigned log2, uint64_t migrated)
{
	struct ltz_lane *lane = my_lane(me);
	struct ltz_root root;

	ASSERT_EQ_INT(ltz__table_enter(me, lane, &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(me, lane, &root, log2), 0);
	ASSERT_EQ_INT(ltz__table_enter(me, lane, &root), 0);
	ASSERT_TRUE(has_prev(&root));
	for (uint64_t t = 0; t < migrated; t++)
		ASSERT_EQ_INT(ltz__migrate(me, lane, &root, t), 0);
}

static void grow_and_stop_at_once(struct ltz_mem *me) { begin_resize(me, 10, 0); }
static void grow_and_stop_half_way(struct ltz_mem *me) { begin_resize(me, 10, 300); }
static void compact_and_stop_half_way(struct ltz_mem *me) { begin_resize(me, 9, 300); }

/* M2 to M4 of one bucket: its source is frozen, half of its slots are copied, it is not born. */
static void grow_and_stop_in_a_bucket(struct ltz_mem *me)
{
	struct ltz_root root;
	struct shm_bucket *from, *to;

	begin_resize(me, 10, 10);
	ASSERT_EQ_INT(ltz__table_enter(me, my_lane(me), &root), 0);
	for (uint64_t s = 6; s < 400; s += 7) {
		uint64_t a, slot;

		from = &root.prev.shm->bucket[s];
		to = &root.cur.shm->bucket[2 * s];
		a = load_acquire(&from->ctrl.a);
		ASSERT_TRUE(cas_pair(&from->ctrl, a, 0, ctrl_next(a, CTRL_FROZEN, 0), 0));
		slot = fetch_or_seq_cst(&from->slot[0], SLOT_FROZEN);
		if (s % 2 && (slot & SLOT_RECORD) && bucket_of_word(me, slot, 10) == 2 * s)
			cas_seq_cst(&to->slot[0], 0, slot);
		fetch_or_seq_cst(&from->slot[1], SLOT_FROZEN);
	}
}

static void die_in_a_resize(void (*scene)(struct ltz_mem *me))
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	for (uint64_t i = 0; i < 1200; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
	die_in(scene);
	EXPECT_NUMBERS(mem, 1200);                    /* readers need nobody */
	for (uint64_t i = 0; i < 1200; i += 3)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0); /* writers bring their buckets themselves */
	EXPECT_NUMBERS(mem, 1200);
	EXPECT_SETTLED(mem, 1200);
	EXPECT_NUMBERS(mem, 1200);
}

TEST(a_resize_that_died_at_once_is_ended) { die_in_a_resize(grow_and_stop_at_once); }
TEST(a_resize_that_died_half_way_is_ended) { die_in_a_resize(grow_and_stop_half_way); }
TEST(a_resize_that_died_in_a_bucket_is_ended) { die_in_a_resize(grow_and_stop_in_a_bucket); }
TEST(a_compaction_that_died_half_way_is_ended) { die_in_a_resize(compact_and_stop_half_way); }

static void resize_and_stop(struct ltz_mem *me)
{
	struct ltz_root root;
	uint64_t at = 0;

	ASSERT_EQ_INT(ltz__table_enter(me, my_lane(me), &root), 0);
	if (!has_prev(&root)) {
		begin_resize(me, 10, 0);
		ASSERT_EQ_INT(ltz__table_enter(me, my_lane(me), &root), 0);
	}
	ASSERT_EQ_INT(ltz__resize_slice(me, my_lane(me), &root, &at), 0); /* R11: its table is current, the old one another's */
}

TEST(tables_on_both_sides_of_a_death_have_one_owner_and_one_life)
{
	die_in_a_resize(resize_and_stop);
}

/*
 * cut_lines of store/resize.c gives its last granules back before its head
 * says so. In between the table is shorter than its word: nothing to complain
 * about, and to be put right by the next owner.
 */
static void stop_in_a_cut(struct ltz_mem *me)
{
	unsigned id = claim_entry(me), gen = root_gen(load_acquire(&me->header->root));
	uint64_t head = form_table(me, id, 9, 4), root = load_acquire(&me->header->root);
	struct shm_table *table = at_granule(me, head);

	store_release(&me->directory[id].born, gen + 1);
	store_release(&me->directory[id].place, head + 1);
	ASSERT_TRUE(cas_seq_cst(&me->header->root, root, root_make(id, 9, root_cur(root), 9, gen + 1)));
	resize_and_stop(me);
	table->lines = UINT64_C(300) << 32;
	ASSERT_TRUE(owner_cas(me, head + 3, owner_part(head), owner_free(ltz__mem_now_ns(me))));
}

TEST(a_cut_that_died_half_way_is_no_damage)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	ASSERT_EQ_INT(put_text(mem, "key", "there"), 0);
	die_in(stop_in_a_cut);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 1);
	EXPECT_CLEAN(mem);
	pool_tick(mem, 3);
	EXPECT_CLEAN(mem);
	EXPECT_STR(text_at(mem, "key"), "there");
}

/*
 * A table keeps its directory entry when its maker dies and another owns its
 * granules. If that owner dies between taking the place out of the entry and
 * freeing the entry, the entry must still come back.
 */
static void stop_leaving_an_adopted_table(struct ltz_mem *me)
{
	unsigned id = claim_entry(me);
	uint64_t head = form_table(me, id, 9, 1);

	store_release(&me->directory[id].claim, label_make(4000, 1, 1) | 1); /* its maker's row is long released */
	store_release(&me->directory[id].place, head + 1);
	store_release(&me->directory[id].place, 0); /* free_entry of store/resize.c, first half */
}

TEST(a_directory_entry_outlives_two_deaths_and_still_comes_back)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	die_in(stop_leaving_an_adopted_table);
	EXPECT_SETTLED(mem, 0);
}

