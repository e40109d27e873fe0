/* SPDX-License-Identifier: MIT */
/*
 * test_adopt.c - what the dead leave. A forked child joins, brings the pool
 * into one of the states of docs/design/protocol-memory.md section 5, and is
 * killed there; the survivor must settle everything and nothing else.
 */
#include "shm/adopt.h"

#include <errno.h>
#include <pthread.h>

#include "../stress/pools.h"
#include "shm/member.h"
#include "store/edit.h"
#include "store/resize.h"
#include "sys/sys.h"

/* ---- steps of a writer, by hand ------------------------------------------------------------- */

/* A complete private block for a key. */
static struct ltz_edit fill_block(struct ltz_mem *me, const struct ltz_hkey *key, const char *text)
{
	struct ltz_edit edit = { .key = key, .mem = me, .lane = my_lane(me) };
	struct ltz_content content = { .data = text, .size = strlen(text), .expires_ms = SHM_NEVER, .type = LTZ_BYTES };

	ASSERT_EQ_INT(ltz__edit_fill(&edit, &content), 0);
	return edit;
}

static void set_intent(struct ltz_mem *me, uint64_t ref)
{
	store_release(&my_lane(me)->shm->hw, ref);
	store_release(&my_lane(me)->shm->vw, load_acquire(&at_ref(me, ref)->version));
}

static uint64_t swap_slot(struct ltz_mem *me, const struct ltz_hkey *key, uint64_t to)
{
	uint64_t *slot = pool_slot(me, key), word = load_acquire(slot);

	set_intent(me, word & me->ref_mask);
	ASSERT_TRUE(cas_seq_cst(slot, word, to));
	return word & me->ref_mask;
}

/* ---- replacing and deleting --------------------------------------------------------------------- */

static void stop_before_the_swap(struct ltz_mem *me)
{
	struct ltz_hkey key = key_of(me, "key");

	fill_block(me, &key, "new");
	set_intent(me, *pool_slot(me, &key) & me->ref_mask);
}

TEST(a_writer_that_died_before_its_swap_changed_nothing)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	die_in(stop_before_the_swap);
	EXPECT_SETTLED(mem, 1);
	EXPECT_STR(text_at(mem, "key"), "old");
}

static void stop_after_the_swap(struct ltz_mem *me)
{
	struct ltz_hkey key = key_of(me, "key");
	struct ltz_edit edit = fill_block(me, &key, "new");

	swap_slot(me, &key, key.word | edit.block.ref);
}

TEST(a_writer_that_died_after_its_swap_has_its_old_block_retired)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	die_in(stop_after_the_swap);
	EXPECT_EQ_U64(ltz__map_count(mem), 2); /* the old one is not yet accounted for */
	EXPECT_SETTLED(mem, 1);
	EXPECT_STR(text_at(mem, "key"), "new");
}

static void replace_own_and_stop(struct ltz_mem *me)
{
	ASSERT_EQ_INT(put_text(me, "key", "old"), 0);
	stop_after_the_swap(me);
}

TEST(an_old_block_in_the_dead_one_s_own_slab_is_retired)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	die_in(replace_own_and_stop);
	EXPECT_SETTLED(mem, 1);
	EXPECT_STR(text_at(mem, "key"), "new");
}

static void stop_after_the_delete(struct ltz_mem *me)
{
	struct ltz_hkey key = key_of(me, "key");
	uint64_t ref = *pool_slot(me, &key) & me->ref_mask;

	swap_slot(me, &key, load_acquire(&at_ref(me, ref)->version));
}

TEST(a_deleter_that_died_after_its_swap_has_the_block_retired)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	die_in(stop_after_the_delete);
	EXPECT_SETTLED(mem, 0);
	EXPECT_STR(text_at(mem, "key"), "");
}

static void stop_after_the_retire(struct ltz_mem *me)
{
	struct ltz_hkey key = key_of(me, "key");
	struct ltz_edit edit = fill_block(me, &key, "new");

	ltz__block_retire(me, swap_slot(me, &key, key.word | edit.block.ref));
}

TEST(a_writer_that_died_after_the_retire_left_only_a_hazard)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	die_in(stop_after_the_retire);
	EXPECT_SETTLED(mem, 1);
	EXPECT_STR(text_at(mem, "key"), "new");
}

static void leave_a_stale_intent(struct ltz_mem *me)
{
	struct ltz_hkey key = key_of(me, "key");
	uint64_t ref = *pool_slot(me, &key) & me->ref_mask;

	store_release(&my_lane(me)->shm->hw, ref);
	store_release(&my_lane(me)->shm->vw, load_acquire(&at_ref(me, ref)->version) - 1);
}

TEST(an_intent_of_another_version_is_nobody_s)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	ASSERT_EQ_INT(put_text(mem, "other", "x"), 0);
	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	die_in(leave_a_stale_intent);
	EXPECT_SETTLED(mem, 2);
	EXPECT_STR(text_at(mem, "key"), "old");
}

static void leave_nonsense(struct ltz_mem *me)
{
	const uint64_t refs[] = { UINT64_MAX, me->units, me->units - 1, 1, 3, 2048 * 2 + 5, SLOT_RECORD };

	for (unsigned i = 0; i < sizeof(refs) / sizeof(*refs); i++) {
		ASSERT_EQ_INT(ltz__lane_open(me, &me->lane[i + 2]), 0);
		store_release(&me->lane[i + 2].shm->hw, refs[i]);
		store_release(&me->lane[i + 2].shm->vw, i + 1);
	}
}

TEST(intents_that_are_garbage_change_nothing)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	for (uint64_t i = 0; i < 100; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
	die_in(leave_nonsense);
	EXPECT_SETTLED(mem, 100);
}

static void leave_intents_in_every_lane(struct ltz_mem *me)
{
	for (unsigned l = 0; l < SHM_LANES; l++) {
		uint64_t number = l;
		struct ltz_hkey key = key_of_number(me, &number);
		uint64_t *slot = pool_slot(me, &key), word = load_acquire(slot), ref = word & me->ref_mask;

		ASSERT_EQ_INT(ltz__lane_open(me, &me->lane[l]), 0);
		store_release(&me->lane[l].shm->hw, ref);
		store_release(&me->lane[l].shm->vw, load_acquire(&at_ref(me, ref)->version));
		if (l % 2) /* every other one was carried out */
			ASSERT_TRUE(cas_seq_cst(slot, word, load_acquire(&at_ref(me, ref)->version)));
	}
}

TEST(the_intent_of_every_lane_is_looked_at)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	for (uint64_t i = 0; i < SHM_LANES; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
	die_in(leave_intents_in_every_lane);
	EXPECT_SETTLED(mem, SHM_LANES / 2);
}

/* ---- blocks nobody sees --------------------------------------------------------------------------- */

static void leave_private_blocks(struct ltz_mem *me)
{
	struct ltz_hkey key = key_of(me, "published"), absent = key_of(me, "never published");
	struct ltz_block block;

	ASSERT_EQ_INT(put_text(me, "published", "by the dead"), 0);
	ASSERT_EQ_INT(ltz__block_alloc(me, my_lane(me), 100, false, &block), 0); /* empty */
	fill_block(me, &absent, "complete");
	fill_block(me, &key, "complete, of a key that is there");
	ASSERT_EQ_INT(ltz__block_alloc(me, my_lane(me), 100, true, &block), 0);
	memset(at_ref(me, block.ref), 0xff, block.bytes); /* impossible lengths, a version that is none */
	ASSERT_EQ_INT(ltz__block_alloc(me, my_lane(me), 2 * MIB, false, &block), 0);
	memset(at_ref(me, block.ref), 0x11, 4096);
}

TEST(blocks_that_were_never_published_come_back)
{
	struct ltz_mem *mem = survivor_of(16 * MIB, 0);

	die_in(leave_private_blocks);
	EXPECT_SETTLED(mem, 1);
	EXPECT_STR(text_at(mem, "published"), "by the dead");
	EXPECT_STR(text_at(mem, "never published"), "");
}

static void stop_in_reclaim(struct ltz_mem *me)
{
	struct ltz_place place;
	uint64_t ref[4];

	for (uint64_t i = 0; i < 4; i++) {
		struct ltz_hkey key = key_of_number(me, &i);

		ASSERT_EQ_INT(put(me, &key, &i, 8), 0);
		ref[i] = *pool_slot(me, &key) & me->ref_mask;
		ASSERT_EQ_INT(ltz__map_delete(me, &key, 0), 0);
	}
	/* 0: retired; 1: its version ended; 2: its retired bit cleared, too; 3: free */
	for (unsigned i = 1; i < 4; i++)
		store_release(&at_ref(me, ref[i])->version, 0);
	for (unsigned i = 2; i < 4; i++) {
		ASSERT_EQ_INT(ltz__block_place(me, ref[i], &place), 0);
		fetch_and_relaxed(place.retired, ~place.bit);
		if (i == 3)
			store_release(place.alloc, load_relaxed(place.alloc) & ~place.bit);
	}
	ASSERT_EQ_INT(put_text(me, "key", "alive"), 0);
}

TEST(a_reclaim_that_died_half_way_is_ended)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	die_in(stop_in_reclaim);
	EXPECT_SETTLED(mem, 1);
	EXPECT_STR(text_at(mem, "key"), "alive");
}

/* ---- inserts ----------------------------------------------------------------------------------------- */

static void leave_a_pending_insert(struct ltz_mem *me)
{
	struct ltz_hkey key = key_of(me, "key");
	struct ltz_edit edit = fill_block(me, &key, "pending");
	struct shm_bucket *bucket = pool_bucket(me, &key);
	uint64_t a = load_acquire(&bucket->ctrl.a);
	unsigned e = 0;

	while (e < BUCKET_SLOTS && load_acquire(&bucket->slot[e]) & SLOT_RECORD)
		e++;
	ASSERT_TRUE(e < BUCKET_SLOTS); /* a pending insert always names an empty slot */
	ASSERT_TRUE(cas_pair(&bucket->ctrl, a, 0, ctrl_next(a, CTRL_PENDING, e), key.word | edit.block.ref));
}

TEST(a_pending_insert_of_the_dead_is_kept)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	die_in(leave_a_pending_insert);
	EXPECT_STR(text_at(mem, "key"), "pending");
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 1);
	EXPECT_STR(text_at(mem, "key"), "pending"); /* the sweep saw it in ctrl */
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_CLEAN(mem); /* helps */
	EXPECT_STR(text_at(mem, "key"), "pending");
	EXPECT_EQ_INT(put_text(mem, "key", "replaced"), 0);
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_CLEAN(mem);
}

static void stop_between_help_s_steps(struct ltz_mem *me)
{
	struct ltz_hkey key = key_of(me, "key");
	struct shm_bucket *bucket = pool_bucket(me, &key);

	leave_a_pending_insert(me);
	ASSERT_TRUE(cas_seq_cst(&bucket->slot[0], 0, load_acquire(&bucket->ctrl.b)));
}

TEST(an_insert_that_is_pending_and_in_its_slot_is_there_once)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	die_in(stop_between_help_s_steps);
	EXPECT_STR(text_at(mem, "key"), "pending");
	EXPECT_SETTLED(mem, 1);
	EXPECT_STR(text_at(mem, "key"), "pending");
}

/* ---- granules ------------------------------------------------------------------------------------------ */

static uint64_t claim_of(const struct ltz_mem *me, unsigned n) { return owner_make(OWNER_CLAIM, me->lane[1].label, n); }

static void leave_claims(struct ltz_mem *me)
{
	int64_t head = ltz__granules_claim(me, my_lane(me), 6), other;

	ASSERT_OK(head);
	ASSERT_OK(other = ltz__granules_claim(me, my_lane(me), 1));
	/* forming or leaving: the last two parts are not its own any more, or not yet */
	store_release(&me->owners[head + 5], owner_free(ltz__mem_now_ns(me)));
	store_release(&me->owners[head + 4], owner_free(ltz__mem_now_ns(me)));
	memset(at_granule(me, (uint64_t)head), 0xab, 4 * SHM_GRANULE);
	/* committing: claimed, not yet there */
	raise_acq_rel(&me->header->granules_high, me->granules);
	for (uint64_t g = me->granules - 4; g < me->granules; g++)
		ASSERT_TRUE(owner_cas(me, g, OWNER_VIRGIN, claim_of(me, 1)));
	/* shrinking: given back, still claimed */
	ltz__sys_punch(me->fd, me->geometry.space_offset + granule_offset((uint64_t)other), SHM_GRANULE);
}

TEST(claims_of_the_dead_are_torn_down)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	die_in(leave_claims);
	EXPECT_SETTLED(mem, 0);
	for (uint64_t g = mem->granules - 4; g < mem->granules; g++)
		EXPECT_EQ_U64(owner_load(mem, g), 0);
}

static void leave_a_claim_half_released(struct ltz_mem *me)
{
	int64_t head = ltz__granules_claim(me, my_lane(me), 8);

	ASSERT_OK(head);
	for (unsigned i = 1; i < 4; i++) /* a release begins with the first part */
		store_release(&me->owners[head + i], owner_free(0));
}

TEST(a_release_that_died_half_way_does_not_touch_what_others_took)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);
	char text[5000];

	die_in(leave_a_claim_half_released);
	memset(text, 'x', sizeof(text));
	for (uint64_t i = 0; i < 300; i++) /* takes the free ones in the middle of it */
		ASSERT_EQ_INT(put_number(mem, i, text, sizeof(text)), 0);
	EXPECT_SETTLED(mem, 300);
	for (uint64_t i = 0; i < 300; i++) {
		char buf[5000];

		ASSERT_EQ_INT(get_number(mem, i, buf, sizeof(buf), NULL), 0);
		EXPECT_EQ_MEM(buf, text, sizeof(text));
	}
}

static void leave_an_empty_slab(struct ltz_mem *me)
{
	struct ltz_block block;

	ASSERT_EQ_INT(ltz__block_alloc(me, my_lane(me), 100, false, &block), 0);
	ltz__block_free(me, my_lane(me), block.ref);
	ASSERT_EQ_INT(ltz__block_alloc(me, my_lane(me), 300000, true, &block), 0);
	ltz__block_free(me, my_lane(me), block.ref);
	ASSERT_EQ_INT(ltz__block_alloc(me, my_lane(me), 1 * MIB, true, &block), 0);
	ltz__block_free(me, my_lane(me), block.ref);
}

TEST(empty_extents_of_the_dead_become_free)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	die_in(leave_an_empty_slab);
	EXPECT_SETTLED(mem, 0);
	EXPECT_EQ_U64(pool_counts(mem).slab, 0);
}

static void fill_slabs(struct ltz_mem *me)
{
	for (uint64_t i = 0; i < 3000; i++)
		ASSERT_EQ_INT(put_number(me, i, &i, 8 + i % 200 > 100 ? 8 : 4), 0);
}

TEST(records_of_the_dead_live_on_in_the_survivor_s_extents)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);

	die_in(fill_slabs);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 1);
	for (uint64_t g = 0; g < ltz__granules_high(mem); g++)
		if (owner_labelled(owner_load(mem, g)))
			EXPECT_EQ_U64(label_row(owner_load(mem, g)), mem->row_index);
	EXPECT_EQ_U64(ltz__map_count(mem), 3000);
	EXPECT_CLEAN(mem);
	for (uint64_t i = 0; i < 3000; i++)
		ASSERT_EQ_INT(drop_number(mem, i), 0);
	pool_tick(mem, 3);
	EXPECT_EQ_U64(pool_counts(mem).slab + pool_counts(mem).claimed, 0); /* the survivor gives them back */
	EXPECT_CLEAN(mem);
}

/* ---- adopters --------------------------------------------------------------------------------------------- */

static void leave_much(struct ltz_mem *me)
{
	static char large[100000];

	for (uint64_t i = 0; i < 2000; i++)
		ASSERT_EQ_INT(put_number(me, i, i % 50 ? (void *)&i : large, i % 50 ? 8 : 1 + i * 40), 0);
	for (uint64_t i = 0; i < 2000; i += 2)
		ASSERT_EQ_INT(drop_number(me, i), 0);
	leave_private_blocks(me);
	leave_claims(me);
	leave_a_pending_insert(me);
}

#define ADOPTERS 4
static unsigned released, adopting;

static void *adopt_at_once(void *context)
{
	struct ltz_mem *mem = context;

	__atomic_fetch_add(&adopting, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&adopting, __ATOMIC_SEQ_CST) < ADOPTERS)
		ltz__sys_yield();
	__atomic_fetch_add(&released, ltz__adopt_dead(mem), __ATOMIC_SEQ_CST);
	return NULL;
}

TEST(several_adopters_at_once_settle_a_death_once)
{
	struct ltz_mem *mem = survivor_of(32 * MIB, 0), *adopter[ADOPTERS];
	pthread_t thread[ADOPTERS];

	die_in(leave_much);
	for (unsigned i = 0; i < ADOPTERS; i++)
		adopter[i] = i ? pool_join(pool_fd) : mem;
	for (unsigned i = 0; i < ADOPTERS; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, adopt_at_once, adopter[i]), 0);
	for (unsigned i = 0; i < ADOPTERS; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], NULL), 0);
	EXPECT_EQ_U64(released, 1);
	EXPECT_EQ_U64(ltz__map_count(mem), 1002);
	for (unsigned round = 0; round < 2; round++)
		for (unsigned i = 0; i < ADOPTERS; i++)
			pool_tick(adopter[i], 1);
	EXPECT_EQ_U64(ltz__map_count(mem), 1002);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
	EXPECT_CLEAN(mem);
}

/* The first dead member's extents were taken, and not swept, by one that died, too. */
static void take_labels_and_stop(struct ltz_mem *me)
{
	uint64_t word, mine = my_lane(me)->label, refs = 0;
	unsigned dead = 0;

	while (dead < ltz__rows_high(me) && !ltz__member_dead(me, dead, &word))
		dead++;
	ASSERT_TRUE(dead < ltz__rows_high(me));
	store_release(&my_lane(me)->shm->hr, load_acquire(&me->rows[dead].lane[1].hw));
	for (uint64_t g = 0; g < ltz__granules_high(me); g++) {
		uint64_t owner = owner_load(me, g);

		if (owner_labelled(owner) && label_row(owner) == dead && g % 2)
			refs += owner_cas(me, g, owner, (owner & ~LABEL_MASK) | mine);
	}
	EXPECT_TRUE(refs > 0);
}

TEST(an_adopter_that_died_is_adopted_with_what_it_took)
{
	struct ltz_mem *mem = survivor_of(32 * MIB, 0);

	die_in(leave_much);
	die_in(take_labels_and_stop);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 2);
	EXPECT_EQ_U64(ltz__map_count(mem), 1002);
	pool_tick(mem, 3);
	EXPECT_EQ_U64(ltz__map_count(mem), 1002);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
	EXPECT_CLEAN(mem);
}

TEST(a_late_adopter_does_not_touch_the_next_member_of_the_row)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0), *next;
	uint64_t word = 0, before[2];

	die_in(fill_slabs);
	ASSERT_TRUE(ltz__member_dead(mem, 1, &word));
	EXPECT_EQ_INT(ltz__adopt(mem, 1, word), 1);
	EXPECT_EQ_INT(ltz__adopt(mem, 1, word), 0);
	next = pool_join(pool_fd);
	ASSERT_EQ_U64(next->row_index, 1);
	ASSERT_EQ_INT(put_text(next, "key", "of the next"), 0);
	store_release(&next->lane[0].shm->hw, 4711);
	before[0] = load_acquire(&next->row->word);
	before[1] = pool_counts(mem).slab;
	EXPECT_EQ_INT(ltz__adopt(mem, 1, word), 0); /* read before all that, and stopped until now */
	EXPECT_EQ_U64(load_acquire(&next->row->word), before[0]);
	EXPECT_EQ_U64(pool_counts(mem).slab, before[1]);
	EXPECT_EQ_U64(load_acquire(&next->lane[0].shm->hw), 4711);
	store_release(&next->lane[0].shm->hw, 0);
	ASSERT_EQ_INT(put_text(next, "key", "goes on"), 0);
	EXPECT_CLEAN(mem);
}

static void fill_many_slabs(struct ltz_mem *me)
{
	for (uint64_t i = 0; i < 20000; i++)
		ASSERT_EQ_INT(put_number(me, i, &i, 8), 0);
}

/* Between two slices the process works on, and another adopter may come and finish. */
TEST(an_adoption_is_done_in_slices_beside_the_others)
{
	struct ltz_mem *mem = survivor_of(16 * MIB, 0), *other = pool_join(pool_fd);
	struct ltz_adoption here = {0}, there = {0};
	uint64_t slices = 0, value = 1;
	int result;

	die_in(fill_many_slabs);
	here.row = there.row = 2;
	ASSERT_TRUE(ltz__member_dead(mem, 2, &here.word));
	there.word = here.word;
	do {
		result = ltz__adopt_slice(mem, &here, 1000);
		ASSERT_EQ_INT(put_number(mem, slices, &value, 8), 0);
		EXPECT_EQ_U64(ltz__map_count(mem), 20000);
		if (slices % 2)
			EXPECT_EQ_INT(ltz__adopt_slice(other, &there, 1), -EAGAIN);
		slices++;
	} while (result == -EAGAIN && slices < 5);
	EXPECT_EQ_INT(result, -EAGAIN);
	EXPECT_EQ_INT(ltz__adopt(other, 2, there.word), 1);
	EXPECT_EQ_INT(ltz__adopt_slice(mem, &here, 1000), 0);
	EXPECT_EQ_U64(ltz__map_count(mem), 20000);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 0);
	EXPECT_CLEAN(mem);
}

TEST(the_living_are_not_adopted)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0), *other = pool_join(pool_fd);

	fill_slabs(other);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 0);
	EXPECT_EQ_U64(ltz__adopt_dead(other), 0);
	fill_slabs(other);
	EXPECT_CLEAN(mem);
}

TEST(the_last_one_s_records_are_there_for_who_comes_later)
{
	int fd = pool_make(8 * MIB, 0);
	struct ltz_mem *mem;

	for (uint64_t i = 0; i < 20; i++) { /* nobody else is there when each of them leaves */
		mem = pool_join(fd);
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
		EXPECT_EQ_U64(ltz__map_count(mem), i + 1);
		pool_leave(mem);
	}
	mem = pool_join(fd);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 20);
	EXPECT_NUMBERS(mem, 20);
	EXPECT_CLEAN(mem);
}

/* All died while they took the first memory: what they claimed is all there is, and nobody is left to adopt. */
TEST(a_pool_whose_first_members_all_died_can_still_be_joined)
{
	int fd = pool_make(2 * MIB, 0);
	struct ltz_mem *mem;

	for (unsigned i = 0; i < 2; i++) { /* each as far as the claims of a commit */
		mem = bare_join(fd);
		raise_acq_rel(&mem->header->granules_high, 16 * (i + 1));
		for (uint64_t g = 16 * i; g < 16 * (i + 1); g++)
			ASSERT_TRUE(owner_cas(mem, g, OWNER_VIRGIN, owner_make(OWNER_CLAIM, mem->lane[0].label, 1)));
		bare_leave(mem);
	}
	mem = pool_join(fd);
	ASSERT_EQ_INT(put_text(mem, "key", "x"), 0);
	EXPECT_STR(text_at(mem, "key"), "x");
	EXPECT_CLEAN(mem);
}
