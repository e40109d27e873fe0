/* SPDX-License-Identifier: MIT */
/* test_edit.c - the one way to change a key: decided anew after every lost race, published once, nothing left behind. */
#include "store/edit.h"

#include <errno.h>

#include "../stress/pools.h"

struct script {
	struct ltz_mem *rival;   /* another member, who is quicker */
	unsigned lose;           /* so many times */
	void (*move)(struct ltz_mem *rival, struct ltz_edit *edit);
	unsigned calls, seen;    /* decide was called; with a record */
	uint64_t version, ref;   /* of the last record seen */
	enum edit_verdict verdict;
	int outcome;
	uint64_t size;
};

/* Looks, lets the rival make its move, and says what the script says. */
static enum edit_verdict decide(struct ltz_edit *edit, const struct ltz_old *old)
{
	struct script *script = edit->context;
	static const uint8_t value[100000];
	struct ltz_content content = { .data = value, .size = script->size, .expires_ms = SHM_NEVER, .type = 70 };

	script->calls++;
	script->seen += old != NULL;
	script->version = old ? old->version : 0;
	script->ref = old ? old->ref : 0;
	if (old) /* what is decided on is held by a hazard */
		EXPECT_EQ_U64(load_acquire(&edit->lane->shm->hw), old->ref);
	if (script->calls <= script->lose)
		script->move(script->rival, edit);
	edit->outcome = script->outcome;
	if (script->verdict == EDIT_PUT)
		EXPECT_EQ_INT(ltz__edit_fill(edit, &content), 0);
	return script->verdict;
}

static int run(struct ltz_mem *mem, const struct ltz_hkey *key, struct script *script, struct ltz_edit *edit)
{
	int result;

	*edit = (struct ltz_edit){ .key = key, .mem = mem, .lane = my_lane(mem), .decide = decide, .context = script };
	result = ltz__edit(edit);
	EXPECT_EQ_U64(load_acquire(&edit->lane->shm->hw), 0); /* every exit */
	EXPECT_EQ_U64(edit->block.ref, 0);
	return result;
}

static void set_it(struct ltz_mem *rival, struct ltz_edit *edit)
{
	EXPECT_EQ_INT(put(rival, edit->key, "rival", 5), 0);
}

static void delete_it(struct ltz_mem *rival, struct ltz_edit *edit)
{
	EXPECT_EQ_INT(ltz__map_delete(rival, edit->key, 0), 0);
}

static void set_another_in_the_bucket(struct ltz_mem *rival, struct ltz_edit *edit)
{
	static uint64_t number;

	number_in_bucket(rival, 1, bucket_of_hash(edit->key->hash, 1), &number);
	EXPECT_EQ_INT(put_number(rival, number, "x", 1), 0);
}

TEST(an_absent_key_is_put)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct script script = { .verdict = EDIT_PUT, .size = 10 };
	struct ltz_edit edit;
	ltz_item item;

	EXPECT_EQ_INT(run(mem, &key, &script, &edit), 0);
	EXPECT_EQ_U64(script.calls, 1);
	EXPECT_EQ_U64(script.seen, 0);
	EXPECT_TRUE(!edit.replaced && edit.version != 0);
	ASSERT_EQ_INT(ltz__map_get(mem, &key, (char[10]){ 0 }, 10, &item), 0);
	EXPECT_EQ_U64(item.version, edit.version);
	EXPECT_EQ_U64(item.type, 70);
	EXPECT_CLEAN(mem);
}

TEST(a_present_key_is_replaced_and_its_block_retired)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct script script = { .verdict = EDIT_PUT, .size = 10 };
	struct ltz_place place;
	struct ltz_edit edit;

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	EXPECT_EQ_INT(run(mem, &key, &script, &edit), 0);
	EXPECT_EQ_U64(script.seen, 1);
	EXPECT_TRUE(edit.replaced && edit.version > script.version);
	ASSERT_EQ_INT(ltz__block_place(mem, script.ref, &place), 0);
	EXPECT_TRUE(load_acquire(place.retired) & place.bit);
	EXPECT_EQ_U64(load_acquire(&my_lane(mem)->shm->vw), script.version); /* the intent said which */
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_CLEAN(mem);
}

TEST(a_stop_changes_nothing_and_hands_on_its_outcome)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key"), absent = key_of(mem, "absent");
	struct script script = { .verdict = EDIT_STOP, .outcome = LTZ_MISMATCH };
	struct ltz_edit edit;

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	EXPECT_EQ_INT(run(mem, &key, &script, &edit), LTZ_MISMATCH);
	EXPECT_EQ_INT(run(mem, &absent, &script, &edit), LTZ_MISMATCH);
	script.outcome = -ENOSPC;
	EXPECT_EQ_INT(run(mem, &key, &script, &edit), -ENOSPC);
	EXPECT_STR(text_at(mem, "key"), "old");
	EXPECT_EQ_U64(ltz__map_count(mem), 1);
	EXPECT_CLEAN(mem);
}

TEST(a_delete_leaves_an_empty_slot)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct script script = { .verdict = EDIT_DELETE };
	struct ltz_edit edit;

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	EXPECT_EQ_INT(run(mem, &key, &script, &edit), 0);
	EXPECT_TRUE(edit.replaced);
	EXPECT_STR(text_at(mem, "key"), "");
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
}

/* ---- lost races ---------------------------------------------------------------------------------- */

TEST(a_lost_race_is_decided_anew_on_what_is_there_now)
{
	static const struct {
		bool present;
		void (*move)(struct ltz_mem *rival, struct ltz_edit *edit);
		unsigned lose, seen; /* seen: how often decide was shown a record */
	} race[] = {
		{ true, set_it, 1, 2 }, { true, set_it, 5, 6 }, { true, delete_it, 1, 1 },
		{ false, set_it, 1, 1 }, { false, set_it, 4, 4 }, { false, set_another_in_the_bucket, 1, 0 },
	};

	for (unsigned i = 0; i < sizeof(race) / sizeof(*race); i++) {
		struct ltz_mem *mem = pool_new(8 * MIB, 1), *rival = pool_join_again(mem);
		struct ltz_hkey key = key_of(mem, "key");
		struct script script = {
			.rival = rival, .lose = race[i].lose, .move = race[i].move, .verdict = EDIT_PUT, .size = 10,
		};
		struct ltz_edit edit;
		ltz_item item = { 0 };

		if (race[i].present)
			ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
		EXPECT_EQ_INT(run(mem, &key, &script, &edit), 0);
		EXPECT_EQ_U64(script.calls, race[i].lose + 1);
		EXPECT_EQ_U64(script.seen, race[i].seen);
		EXPECT_EQ_INT(ltz__map_get(mem, &key, (char[10]){ 0 }, 10, &item), 0);
		EXPECT_EQ_U64(item.version, edit.version);
		EXPECT_EQ_U64(ltz__map_count(mem), race[i].move == set_another_in_the_bucket ? 2 : 1); /* no block was forgotten */
		EXPECT_CLEAN(mem);
		pool_leave(rival);
		pool_leave(mem);
	}
}

TEST(an_update_does_not_fail_because_of_the_bucket_s_other_keys)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1), *rival = pool_join_again(mem);
	struct ltz_hkey key = key_of(mem, "key");
	struct script script = {
		.rival = rival, .lose = 1, .move = set_another_in_the_bucket, .verdict = EDIT_PUT, .size = 10,
	};
	struct ltz_edit edit;

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	EXPECT_EQ_INT(run(mem, &key, &script, &edit), 0);
	EXPECT_EQ_U64(ltz__map_count(mem), 2);
	EXPECT_CLEAN(mem);
}

TEST(a_delete_that_was_overtaken_decides_anew)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1), *rival = pool_join_again(mem);
	struct ltz_hkey key = key_of(mem, "key");
	struct script script = { .rival = rival, .lose = 1, .move = set_it, .verdict = EDIT_DELETE };
	struct ltz_edit edit;
	uint64_t old;

	ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
	old = load_acquire(&at_ref(mem, *pool_slot(mem, &key) & mem->ref_mask)->version);
	EXPECT_EQ_INT(run(mem, &key, &script, &edit), 0);
	EXPECT_EQ_U64(script.calls, 2);
	EXPECT_TRUE(script.version > old);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
}

static void grow_it(struct ltz_mem *rival, struct ltz_edit *edit)
{
	(void)edit;
	for (uint64_t i = 0; i < 100; i++)
		EXPECT_EQ_INT(put_number(rival, 1000000 + i, "x", 1), 0);
	pool_tick(rival, 6);
	EXPECT_TRUE(load_relaxed(&rival->header->resizes) > 0);
}

TEST(an_edit_goes_on_under_the_table_that_came_meanwhile)
{
	for (unsigned present = 0; present < 2; present++) {
		struct ltz_mem *mem = pool_new(8 * MIB, 1), *rival = pool_join_again(mem);
		struct ltz_hkey key = key_of(mem, "key");
		struct script script = { .rival = rival, .lose = 1, .move = grow_it, .verdict = EDIT_PUT, .size = 10 };
		struct ltz_edit edit;

		if (present)
			ASSERT_EQ_INT(put_text(mem, "key", "old"), 0);
		EXPECT_EQ_INT(run(mem, &key, &script, &edit), 0);
		EXPECT_TRUE(script.calls == 2 || script.calls == 3); /* 3: its bucket was full there, and got a line */
		EXPECT_EQ_INT(ltz__map_get(mem, &key, (char[10]){ 0 }, 10, NULL), 0);
		EXPECT_EQ_U64(ltz__map_count(mem), 101);
		EXPECT_CLEAN(mem);
	}
}

/* ---- expired records --------------------------------------------------------------------------------- */

TEST(an_expired_record_is_shown_only_to_who_asks)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct script script = { .verdict = EDIT_STOP, .outcome = 7 };
	struct ltz_edit edit = { .key = &key, .mem = mem, .lane = my_lane(mem), .decide = decide, .context = &script };

	ASSERT_EQ_INT(put_ttl(mem, &key, "old", 3, 5000), 0);
	EXPECT_EQ_INT(run(mem, &key, &script, &edit), 7);
	EXPECT_EQ_U64(script.seen, 1);
	pool_travel(mem, 6 * SECOND_NS);
	EXPECT_EQ_INT(run(mem, &key, &script, &edit), 7);
	EXPECT_EQ_U64(script.seen, 1);
	edit = (struct ltz_edit){ .key = &key, .mem = mem, .lane = my_lane(mem), .decide = decide, .context = &script, .see_expired = true };
	EXPECT_EQ_INT(ltz__edit(&edit), 7);
	EXPECT_EQ_U64(script.seen, 2);
}

TEST(a_put_over_an_expired_record_replaces_nothing_that_was_there)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct script script = { .verdict = EDIT_PUT, .size = 3 };
	struct ltz_edit edit;

	ASSERT_EQ_INT(put_ttl(mem, &key, "old", 3, 5000), 0);
	pool_travel(mem, 6 * SECOND_NS);
	EXPECT_EQ_INT(run(mem, &key, &script, &edit), 0);
	EXPECT_TRUE(!edit.replaced);
	EXPECT_EQ_U64(ltz__map_count(mem), 1); /* its block is retired all the same */
	EXPECT_CLEAN(mem);
}

/* ---- filling --------------------------------------------------------------------------------------------- */

TEST(a_record_is_laid_out_as_it_says)
{
	struct ltz_mem *mem = pool_new(64 * MIB, 1);
	const uint64_t sizes[] = { 0, 1, 4095, 4096, 4097, 70001, 5 * MIB };
	uint8_t *value = calloc(1, 5 * MIB);

	value[0] = 0x5a;
	for (unsigned i = 0; i < 7; i++)
		for (unsigned expiring = 0; expiring < 2; expiring++) {
			struct ltz_hkey key = key_of(mem, "a key");
			struct ltz_edit edit = { .key = &key, .mem = mem, .lane = my_lane(mem) };
			struct ltz_content content = {
				.data = value, .size = sizes[i], .type = 200, .expires_ms = expiring ? 123456789 : SHM_NEVER,
			};
			const struct shm_record *rec;
			struct ltz_look look = { 0 };

			ASSERT_EQ_INT(ltz__edit_fill(&edit, &content), 0);
			rec = at_ref(mem, edit.block.ref);
			EXPECT_EQ_U64(rec->version, edit.version);
			ASSERT_TRUE(record_look(rec, edit.block.bytes, rec->meta, &look));
			EXPECT_EQ_U64(look.size, sizes[i]);
			EXPECT_EQ_U64(look.expires_ms, content.expires_ms);
			EXPECT_EQ_U64(meta_type(look.meta), 200);
			EXPECT_EQ_U64(meta_key_type(look.meta), LTZ_KEY_STR);
			EXPECT_TRUE(record_has_key(rec, &look, &key, key.data));
			if (sizes[i] >= REC_ALIGN_FROM)
				EXPECT_EQ_U64(look.value_offset % 64, 0);
			else
				EXPECT_EQ_U64(look.value_offset, look.key_offset + 5);
			EXPECT_EQ_MEM((const uint8_t *)rec + look.value_offset, value, sizes[i] < 64 ? sizes[i] : 64);
			EXPECT_TRUE(!record_look(rec, look.value_offset + look.size - 1, rec->meta, &look)); /* one byte short */
			ltz__block_free(mem, edit.lane, edit.block.ref);
		}
	free(value);
}

TEST(filling_again_frees_the_block_before)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct ltz_edit edit = { .key = &key, .mem = mem, .lane = my_lane(mem) };
	uint64_t version = 0;

	for (uint64_t size = 0; size < 3000; size += 100) {
		struct ltz_content content = { .data = (char[3000]){ 0 }, .size = size, .expires_ms = SHM_NEVER };

		ASSERT_EQ_INT(ltz__edit_fill(&edit, &content), 0);
		EXPECT_TRUE(edit.version > version);
		version = edit.version;
	}
	EXPECT_EQ_U64(ltz__map_count(mem), 1); /* allocated, not retired: the last one only */
	ltz__block_free(mem, edit.lane, edit.block.ref);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
}

TEST(a_value_that_does_not_fit_leaves_no_block)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 1);
	struct ltz_hkey key = key_of(mem, "key");
	struct ltz_edit edit = { .key = &key, .mem = mem, .lane = my_lane(mem) };
	struct ltz_content content = { .data = "", .size = UINT64_MAX - 3, .expires_ms = SHM_NEVER };

	EXPECT_EQ_INT(ltz__edit_fill(&edit, &content), -ENOSPC);
	content.size = 3 * MIB;
	EXPECT_EQ_INT(ltz__edit_fill(&edit, &content), -ENOSPC);
	EXPECT_EQ_U64(edit.block.ref, 0);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
}

TEST(an_expiring_record_lowers_its_extent_s_due_time)
{
	struct ltz_mem *mem = pool_new(8 * MIB, 1);
	struct ltz_hkey a = key_of(mem, "a"), b = key_of(mem, "b"), c = key_of(mem, "c");
	struct ltz_place place;
	uint64_t due, now = map_now_ms(mem);

	ASSERT_EQ_INT(put_ttl(mem, &a, "x", 1, 60000), 0);
	ASSERT_EQ_INT(ltz__block_place(mem, *pool_slot(mem, &a) & mem->ref_mask, &place), 0);
	due = load_acquire(&place.extent->due);
	EXPECT_TRUE(due >= now + 60000 && due <= now + 70000);
	ASSERT_EQ_INT(put_ttl(mem, &b, "x", 1, 90000), 0);
	EXPECT_EQ_U64(load_acquire(&place.extent->due), due);
	ASSERT_EQ_INT(put_ttl(mem, &c, "x", 1, 10), 0);
	EXPECT_TRUE(load_acquire(&place.extent->due) < due);
}
