/* SPDX-License-Identifier: MIT */
/*
 * edit.c - writers. Step names are those of docs/design/protocol-index.md; the
 * intent (HW, VW) is that of docs/design/protocol-memory.md.
 */
#include "store/edit.h"

#include "base/canary.h"
#include "store/due.h"
#include "store/resize.h"
#include "store/seal.h"
#include "sys/fault.h"

#include <errno.h>

/* ---- filling a block ------------------------------------------------------------- */

static void announce_expiry(struct ltz_mem *mem, uint64_t ref, uint64_t expires_ms)
{
	struct ltz_place place;

	if (ltz__block_place(mem, ref, &place) == 0)
		due_announce(place.extent, expires_ms);
}

/* The record's words and key. Returns where the value goes. */
LTZ_INLINE uint8_t *put_words(struct ltz_edit *edit, const struct ltz_content *content, unsigned flags)
{
	struct shm_record *rec = at_ref(edit->mem, edit->block.ref);
	const struct ltz_hkey *key = edit->key;
	uint64_t offset = sizeof(*rec);
	uint8_t *bytes = (uint8_t *)rec;

	store_relaxed(&rec->meta, record_meta(flags, key, content));
	if (unlikely(flags)) {
		if (flags & REC_EXPIRES) {
			store_relaxed((uint64_t *)(bytes + offset), content->expires_ms);
			offset += 8;
		}
		if (flags & REC_LONG) {
			store_relaxed((uint64_t *)(bytes + offset), content->size);
			offset += 8;
		}
	}
	copy_to_pool(bytes + offset, hkey_data(key), key->size);
	return bytes + value_offset(flags, offset + key->size);
}

/* The content is there: version, then the expiry's announcement. */
LTZ_INLINE void complete(struct ltz_edit *edit, const struct ltz_content *content, unsigned flags)
{
	struct shm_record *rec = at_ref(edit->mem, edit->block.ref);

	LTZ_CRASH_POINT("store.filled");
	/* step 5; release: content before version. pairs with: store/read.c:try_slot */
	store_release(&rec->version, edit->version);
	LTZ_CRASH_POINT("store.versioned");
	if (unlikely(flags & REC_EXPIRES)) {
		announce_expiry(edit->mem, edit->block.ref, content->expires_ms);
		LTZ_CRASH_POINT("store.announced");
	}
}

/* A block for it. -ENOSPC. */
LTZ_INLINE int alloc(struct ltz_edit *edit, const struct ltz_content *content, unsigned flags)
{
	uint64_t bytes = record_bytes(flags, edit->key->size, content->size);

	if (unlikely(bytes < content->size))
		return -ENOSPC;
	return ltz__block_alloc(edit->mem, edit->lane, bytes, flags & REC_EXPIRES, &edit->block);
}

/* In a sealed pool: the tag covers the version too, so that is taken first. */
static LTZ_NOINLINE int fill_sealed(struct ltz_edit *edit, const struct ltz_content *content)
{
	struct ltz_seal *seal = edit->mem->seal;
	struct ltz_content area; /* the content as the record's words describe it */
	struct ltz_look look;
	unsigned flags;
	uint8_t *to;
	int result = ltz__seal_layout(seal, edit->key, content, &area, &flags);

	if (result < 0)
		return result;
	flags |= record_flags_for(&area);
	result = alloc(edit, &area, flags);
	if (result < 0)
		return result;
	look = (struct ltz_look){.meta = record_meta(flags, edit->key, &area), .expires_ms = area.expires_ms, .size = area.size};
	to = put_words(edit, &area, flags);
	edit->version = lane_version(edit->mem, edit->lane);
	result = ltz__seal_put(seal, edit->key, content, &look, edit->version, to);
	if (result < 0) {
		ltz__block_free(edit->mem, edit->lane, edit->block.ref);
		edit->block.ref = 0;
		return result;
	}
	complete(edit, &area, flags);
	return 0;
}

int ltz__edit_fill(struct ltz_edit *edit, const struct ltz_content *content)
{
	unsigned flags;
	int result;

	if (unlikely(edit->block.ref)) {
		ltz__block_free(edit->mem, edit->lane, edit->block.ref);
		edit->block.ref = 0;
	}
	if (unlikely(edit->mem->seal))
		return fill_sealed(edit, content);
	flags = record_flags_for(content);
	result = alloc(edit, content, flags);
	if (unlikely(result < 0))
		return result;
	copy_to_pool(put_words(edit, content, flags), content->data, content->size);
	edit->version = lane_version(edit->mem, edit->lane);
	complete(edit, content, flags);
	return 0;
}

/* ---- finding the key ----------------------------------------------------------------- */

enum { RESTART = 100, FOUND, ABSENT };

struct find {
	struct ltz_root root;
	struct shm_bucket *bucket;
	uint64_t a;          /* ctrl.a when it was IDLE      */
	uint64_t *slot;      /* FOUND: where                 */
	uint64_t word;       /* ... and what                 */
	int empty;           /* number of the first EMPTY slot, -1: none */
	uint64_t *last_link;
	unsigned slots;      /* the bucket has               */
	struct ltz_old old;
};

/* W6 to W8 for a slot word with the key's hash bits. FOUND, ABSENT (another key), RESTART. */
LTZ_INLINE int examine(struct ltz_edit *edit, struct find *f, uint64_t *slot, uint64_t word)
{
	struct ltz_mem *mem = edit->mem;
	uint64_t ref = word & mem->ref_mask, room = ref_room(mem, ref);

	if (unlikely(room < sizeof(struct shm_record)))
		return -EUCLEAN;
	/* W6. Release: what the hazard named before has been looked at to the end. pairs with: shm/lane.c:read_row */
	if (!canary(CANARY_NO_HAZARD))
		store_release(&edit->lane->shm->hw, ref);
	LTZ_CRASH_POINT("store.hazard_set");
	fence_hazard(mem);
	if (unlikely(load_acquire(slot) != word)) /* W7 */
		return RESTART;
	f->old.record = at_ref(mem, ref);
	/* W8: the hazard holds the block, so what is read here does not change */
	if (unlikely(!record_look(f->old.record, room, load_relaxed(&f->old.record->meta), &f->old.look)))
		return -EUCLEAN;
	if (unlikely(!record_has_key(f->old.record, &f->old.look, edit->key, hkey_data(edit->key))))
		return ABSENT;
	f->slot = slot;
	f->word = word;
	f->old.ref = ref;
	return FOUND;
}

/* W4: the bucket's ctrl.a once it is IDLE. 0, RESTART, or a failure. */
static LTZ_NOINLINE int settle_bucket(struct ltz_edit *edit, struct find *f, uint64_t t)
{
	for (unsigned i = 0; i < RESTARTS_MAX; i++) {
		uint64_t a = load_acquire(&f->bucket->ctrl.a);
		int result;

		switch (ctrl_state(a)) {
		case CTRL_IDLE:
			f->a = a;
			return 0;
		case CTRL_UNBORN:
			if (!has_prev(&f->root))
				return RESTART;
			if (a)
				return -EUCLEAN; /* unborn is all zeros, or M5 could never succeed */
			result = ltz__migrate(edit->mem, edit->lane, &f->root, t);
			if (result < 0)
				return result;
			break;
		case CTRL_PENDING:
			result = canary(CANARY_NO_HELP) ? 0 : ltz__help(&f->root.cur, f->bucket, a, load_acquire(&f->bucket->ctrl.b));
			if (result < 0)
				return result;
			break;
		default:
			return RESTART; /* FROZEN: the root has changed */
		}
	}
	return -EUCLEAN;
}

/* W5 over one bucket or line. FOUND, ABSENT (go on), RESTART, or a failure. */
LTZ_INLINE int find_in(struct ltz_edit *edit, struct find *f, uint64_t *slots, unsigned count, unsigned first)
{
	const uint64_t want = edit->key->word, mask = edit->mem->tag_mask;

	for (unsigned i = 0; i < count; i++) {
		uint64_t w = load_acquire(&slots[i]);

		if (unlikely(w & SLOT_FROZEN))
			return RESTART; /* compulsory: a frozen slot may name a block that was reused */
		if (((w ^ want) & mask) == 0) {
			int result = examine(edit, f, &slots[i], w);

			if (result != ABSENT)
				return result;
		} else if (!(w & SLOT_RECORD) && f->empty < 0) {
			f->empty = (int)(first + i);
		}
	}
	return ABSENT;
}

/* W1 to W8. FOUND, ABSENT, RESTART, or a failure. */
static int find(struct ltz_edit *edit, struct find *f)
{
	struct ltz_walk walk;
	uint64_t t;
	int result = ltz__table_enter(edit->mem, edit->lane, &f->root);

	if (unlikely(result < 0))
		return result;
	t = bucket_of_hash(edit->key->hash, f->root.cur.log2);
	f->bucket = &f->root.cur.shm->bucket[t];
	f->a = load_acquire(&f->bucket->ctrl.a);
	if (unlikely(ctrl_state(f->a) != CTRL_IDLE)) {
		result = settle_bucket(edit, f, t);
		if (result)
			return result;
	}
	f->empty = -1;
	result = find_in(edit, f, f->bucket->slot, BUCKET_SLOTS, 0);
	walk_begin(&walk, &f->root.cur, f->bucket);
	while (result == ABSENT && load_relaxed(walk.link)) {
		result = ltz__walk_next(&walk);
		if (result < 0)
			return result;
		result = find_in(edit, f, walk.slot, walk.count, walk.first);
	}
	f->last_link = walk.link;
	f->slots = walk.first + walk.count;
	return result;
}

/* ---- publishing ----------------------------------------------------------------------- */

/* W10 to W12: the found slot gets `to` if it still holds the record that was examined. */
LTZ_INLINE int replace(struct ltz_edit *edit, struct find *f, uint64_t to)
{
	struct shm_lane *shm = edit->lane->shm;

	/* W10a, the intent: what the adopter of a dead writer retires. pairs with: shm/adopt.c:adopt_intent */
	if (!canary(CANARY_NO_INTENT))
		store_release(&shm->vw, f->old.version);
	LTZ_CRASH_POINT("store.intent_set");
	if (unlikely(!cas_seq_cst(f->slot, f->word, to))) /* W11: linearisation; publishes block and version */
		return RESTART;
	LTZ_CRASH_POINT("store.replaced");
	if (canary(CANARY_HAZARD_SHORT))
		store_release(&shm->hw, 0);
	ltz__block_retire(edit->mem, f->old.ref); /* W12, before HW := 0 */
	return 0;
}

/* W20: the insert. */
LTZ_INLINE int insert(struct ltz_edit *edit, struct find *f)
{
	uint64_t b = edit->key->word | edit->block.ref;
	uint64_t a = ctrl_next(f->a, CTRL_PENDING, (unsigned)f->empty);

	if (unlikely(!cas_pair(&f->bucket->ctrl, f->a, 0, a, b))) /* linearisation */
		return RESTART;
	LTZ_CRASH_POINT("store.pending");
	edit->block.ref = 0; /* published, whatever happens from here on */
	return ltz__help(&f->root.cur, f->bucket, a, b);
}

/* W22: no EMPTY slot. RESTART after making room, or a failure. */
static LTZ_NOINLINE int make_room(struct ltz_edit *edit, struct find *f)
{
	struct ltz_mem *mem = edit->mem;
	int result;

	if (f->slots + LINE_SLOTS <= BUCKET_SLOTS_WRITERS) {
		uint64_t keep = has_prev(&f->root) ? ltz__lines_for_migration(mem, &f->root.prev, f->root.cur.log2) : 0;

		result = ltz__line_append(mem, edit->lane, &f->root.cur, f->last_link, keep);
		if (result == 0) {
			if (mem->ring && (has_prev(&f->root) || ltz__resize_wanted(&f->root)))
				mem->ring(mem->ring_context);
			return RESTART;
		}
		if (result != -ENOSPC)
			return result;
	}
	/* No line is to be had. If that is news of an old root, look again; else do ourselves what is due. */
	if (load_acquire(&mem->header->root) != f->root.word)
		return RESTART;
	if (has_prev(&f->root))
		result = ltz__resize_help(mem, edit->lane, &f->root);
	else
		result = ltz__resize(mem, edit->lane, &f->root);
	return result < 0 ? result : RESTART;
}

static bool expired(const struct ltz_mem *mem, const struct ltz_look *look)
{
	return look->expires_ms != SHM_NEVER && look->expires_ms <= ltz__mem_now_ns(mem) / 1000000;
}

/* W9 to W22 once the key was found or found absent. */
LTZ_INLINE int decide_and_publish(struct ltz_edit *edit, struct find *f, int found)
{
	enum edit_verdict verdict = EDIT_PUT;
	bool alive = false;

	if (found == FOUND) {
		if (unlikely(load_acquire(&f->bucket->ctrl.a) != f->a)) /* W9, after W7 */
			return RESTART;
		/* W10: only now is the hazard known to be valid */
		f->old.version = load_acquire(&f->old.record->version);
		if (unlikely(!f->old.version))
			return RESTART; /* unlinked meanwhile, and its owner is reclaiming it */
		alive = !expired(edit->mem, &f->old.look);
	}
	if (edit->decide) {
		verdict = edit->decide(edit, alive || (edit->see_expired && found == FOUND) ? &f->old : NULL);
		if (verdict == EDIT_STOP)
			return edit->outcome;
	}
	edit->replaced = alive;
	if (found == FOUND) {
		int result;

		if (verdict == EDIT_PUT) {
			result = replace(edit, f, edit->key->word | edit->block.ref);
			if (likely(result == 0))
				edit->block.ref = 0;
			return result;
		}
		return replace(edit, f, f->old.version & ~(SLOT_FROZEN | SLOT_RECORD));
	}
	LTZ_ASSERT(verdict == EDIT_PUT);
	return likely(f->empty >= 0) ? insert(edit, f) : make_room(edit, f);
}

int ltz__edit(struct ltz_edit *edit)
{
	struct find f;
	int result = RESTART;

	for (unsigned i = 0; result == RESTART && i < RESTARTS_MAX; i++) {
		result = find(edit, &f);
		if (result == FOUND || result == ABSENT)
			result = decide_and_publish(edit, &f, result);
	}
	/* W13: every exit passes here. Release: after W12, which adoption relies on. pairs with: shm/lane.c:read_row */
	store_release(&edit->lane->shm->hw, 0);
	LTZ_CRASH_POINT("store.hazard_cleared");
	if (unlikely(edit->block.ref)) {
		ltz__block_free(edit->mem, edit->lane, edit->block.ref);
		edit->block.ref = 0;
	}
	return damage_or_end(edit->mem, result == RESTART ? -EUCLEAN : result);
}
