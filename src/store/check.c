/* SPDX-License-Identifier: MIT */
/*
 * check.c - walks granules, blocks and index, each against the other two.
 *
 * Others may be working. So every finding is a question that can be asked
 * again; what is explained by an operation under way is over a moment later,
 * what is broken stays. Some states last as long as their member is stopped:
 * is_under_way and due_is_late know them.
 */
#include "store/check.h"

#include "shm/granule.h"
#include "shm/member.h"
#include "shm/slab.h"
#include "store/due.h"
#include "store/map.h"
#include "store/seal.h"
#include "store/tick.h"
#include "store/table.h"
#include "sys/sys.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

struct check {
	struct ltz_mem *mem;
	struct ltz_lane *lane;
	void (*report)(void *context, const char *line);
	void *context;
	unsigned reported;
	int failure; /* somebody may be dead whom we cannot settle */
};

#define REPORTS_MAX 100u
#define ASK_AGAIN   40u       /* times */
#define ASK_AFTER_NS 2000000u /* 2 ms: longer than any operation takes that is not stopped */

static __attribute__((format(printf, 2, 3))) void report(struct check *check, const char *format, ...)
{
	char line[200];
	va_list args;

	if (++check->reported > REPORTS_MAX)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	check->report(check->context, line);
}

static void let_time_pass(void)
{
	uint32_t word = 0;

	ltz__sys_futex_wait(&word, 0, ASK_AFTER_NS);
}

/* Is the answer bad, and does it stay so? */
static const char *ask(struct check *check, const char *(*question)(struct check *, uint64_t, uint64_t), uint64_t a, uint64_t b)
{
	const char *bad = question(check, a, b);

	for (unsigned i = 0; bad && check->reported < REPORTS_MAX && i < ASK_AGAIN; i++) {
		let_time_pass();
		bad = question(check, a, b);
	}
	/* what somebody left who died meanwhile is no damage either: settle it now, not at the next tick */
	if (bad && !check->mem->readonly) {
		int settled = ltz__adopt_dead(check->mem);

		if (settled < 0)
			check->failure = settled;
		bad = settled < 0 ? NULL : settled > 0 ? question(check, a, b) : bad;
	}
	return bad;
}

/* ---- granules ------------------------------------------------------------------------ */

static uint64_t extent_granules(const struct ltz_mem *mem, uint64_t word)
{
	if (owner_kind(word) != OWNER_SLAB)
		return owner_low(word);
	return CLS_INDEX(owner_low(word)) < mem->classes ? mem->cls[CLS_INDEX(owner_low(word))].granules : 0;
}

/* A table whose unused lines are being cut is already shorter than its word: by its lines, how long it must be. */
static uint64_t parts_due(const struct ltz_mem *mem, uint64_t head, uint64_t word, uint64_t n)
{
	const struct shm_table *table = at_granule(mem, head);
	uint64_t log2 = load_acquire(&table->log2), room = lines_room(load_acquire(&table->lines)), due;

	if (owner_kind(word) != OWNER_TABLE || log2 > 31)
		return n;
	due = (sizeof(*table) + (UINT64_C(64) << log2) + room * 64 + SHM_GRANULE - 1) >> SHM_GRANULE_LOG2;
	return due < n ? due : n;
}

static const char *granule_question(struct check *check, uint64_t g, uint64_t unused)
{
	const struct ltz_mem *mem = check->mem;
	uint64_t word = owner_load(mem, g), head, n;

	(void)unused;
	switch (owner_kind(word)) {
	case OWNER_VIRGIN:
		return word ? "VIRGIN with other bits" : NULL;
	case OWNER_FREE:
		return NULL;
	case OWNER_PART:
		head = owner_part_head(word);
		if (head >= g)
			return "PART of a later granule";
		word = owner_load(mem, head);
		if (!owner_labelled(word))
			return "PART of no extent";
		return g - head < extent_granules(mem, word) ? NULL : "PART beyond its extent";
	case OWNER_CLAIM:
	case OWNER_SLAB:
	case OWNER_RUN:
	case OWNER_TABLE:
		n = extent_granules(mem, word);
		if (!n || g + n > mem->granules)
			return "extent of impossible size";
		if (!ltz__label_lives(mem, word))
			return "extent of nobody";
		n = parts_due(mem, g, word, n);
		for (uint64_t i = 1; i < n && owner_kind(word) != OWNER_CLAIM; i++)
			if (owner_load(mem, g + i) != owner_part(g))
				return owner_load(mem, g) == word ? "extent with a part missing" : NULL;
		return NULL;
	default:
		return "unknown kind";
	}
}

/* ---- blocks ------------------------------------------------------------------------------ */

static const char *bits_question(struct check *check, uint64_t g, uint64_t word)
{
	const struct ltz_mem *mem = check->mem;
	const struct shm_extent *extent = at_granule(mem, g);
	uint64_t owner = owner_load(mem, g), alloc, retired;
	struct ltz_shape shape;

	if (ltz__extent_shape(mem, g, owner, &shape) < 0 || word >= shape.words)
		return NULL;
	retired = load_acquire(&extent->bits[shape.words + word]);
	alloc = load_acquire(&extent->bits[word]);
	if (owner_load(mem, g) != owner)
		return NULL;
	if (retired & ~alloc)
		return "retired but not allocated";
	if (shape.blocks - word * 64 < 64 && (alloc >> (shape.blocks - word * 64)))
		return "block beyond the extent's end";
	return NULL;
}

/*
 * May a living member have this block in hand, for as long as it is stopped? In
 * a lane that somebody works in, any block of its extents: one that is filled,
 * one that comes free, all of an extent just adopted. And the block that a
 * writer's hazard names: it was unlinked and is not yet retired.
 */
static bool is_under_way(const struct check *check, uint64_t ref, uint64_t owner)
{
	const struct ltz_mem *mem = check->mem;
	const struct shm_lane *lane = &mem->rows[label_row(owner)].lane[label_lane(owner)];

	/* pairs with: shm/lane.h:lane_try, shm/lane.h:lane_give */
	if (ltz__label_lives(mem, owner) && lane != check->lane->shm && load_acquire(&lane->working))
		return true;
	for (unsigned r = 0; r < ltz__rows_high(mem); r++)
		for (unsigned i = 0; row_up(load_acquire(&mem->rows[r].word)) && i < SHM_LANES; i++)
			if (load_acquire(&mem->rows[r].lane[i].hw) == ref)
				return true;
	return false;
}

enum { GONE, LISTED, UNLISTED };

/* GONE: free or retired by now. UNLISTED: in no index. */
static int look_up(const struct check *check, uint64_t ref, struct ltz_place *place)
{
	if (ltz__block_place(check->mem, ref, place) < 0 || !(load_acquire(place->alloc) & place->bit) ||
	    (load_acquire(place->retired) & place->bit))
		return GONE;
	return ltz__map_refers(check->mem, check->lane, ref, place->bytes) == 1 ? LISTED : UNLISTED;
}

/*
 * Is the extent visited too late for a record that expires then? A writer that
 * comes during a sweep leaves it due within a second, at first for all records
 * (due_announce), and if the sweep is stopped, until the next one.
 */
static bool due_is_late(const struct check *check, uint64_t due, uint64_t expires_ms)
{
	return !(due & DUE_SWEEPING) && expires_ms < due && map_now_ms(check->mem) + DUE_SWEEP_LATE < due;
}

/* In a sealed pool: was the record that is in the index tampered with? */
static bool fails_its_tag(const struct check *check, uint64_t ref, const struct ltz_place *place, const struct ltz_look *look,
                          uint64_t version)
{
	const struct shm_record *rec = at_ref(check->mem, ref);
	struct ltz_place now = *place;

	if (likely(!check->mem->seal) || ltz__seal_check(check->mem->seal, rec, version, look) != -EBADMSG)
		return false;
	fence_acquire();
	return load_acquire(&rec->version) == version && look_up(check, ref, &now) == LISTED;
}

static const char *block_question(struct check *check, uint64_t ref, uint64_t unused)
{
	const struct shm_record *rec = at_ref(check->mem, ref);
	struct ltz_place place;
	struct ltz_look look;
	uint64_t due, version;
	int where = look_up(check, ref, &place);

	(void)unused;
	if (where == UNLISTED && !is_under_way(check, ref, place.owner) &&
	    look_up(check, ref, &place) == UNLISTED) /* still, and in nobody's hands in between */
		return "allocated, not retired, in no index";
	if (where != LISTED)
		return NULL;
	version = load_acquire(&rec->version);
	if (!version)
		return "in the index with version 0";
	if (!record_look(rec, place.bytes, load_acquire(&rec->meta), &look))
		return "in the index with lengths beyond its block";
	if (fails_its_tag(check, ref, &place, &look, version))
		return "in the index with a tag that is not its own";
	due = load_acquire(&place.extent->due);
	if (look.expires_ms != SHM_NEVER && due == SHM_NEVER)
		return "expires in an extent that is never due";
	return due_is_late(check, due, look.expires_ms) ? "expires before its extent is due" : NULL;
}

static void check_blocks(struct check *check, uint64_t g)
{
	const struct ltz_mem *mem = check->mem;
	const struct shm_extent *extent = at_granule(mem, g);
	struct ltz_shape shape;

	if (ltz__extent_shape(mem, g, owner_load(mem, g), &shape) < 0)
		return;
	for (uint32_t w = 0; w < shape.words; w++) {
		const char *bad = ask(check, bits_question, g, w);
		uint64_t bits = load_acquire(&extent->bits[w]) & ~load_acquire(&extent->bits[shape.words + w]);

		if (bad)
			report(check, "granule %llu, blocks from %u: %s", (unsigned long long)g, w * 64, bad);
		for (; bits; bits &= bits - 1) {
			uint64_t index = w * 64 + (unsigned)__builtin_ctzll(bits), ref = shape.first_ref + index * shape.units;

			if (index >= shape.blocks)
				break;
			bad = ask(check, block_question, ref, 0);
			if (bad)
				report(check, "block %llu in granule %llu: %s", (unsigned long long)ref, (unsigned long long)g, bad);
		}
	}
}

/* ---- the index ------------------------------------------------------------------------------- */

/* One slot word of bucket t: NULL, or what is wrong with what it names. */
static const char *judge_word(const struct ltz_mem *mem, uint64_t word, uint64_t t, unsigned log2)
{
	uint64_t ref = word & mem->ref_mask;
	const struct shm_record *rec;
	struct ltz_place place;
	struct ltz_look look;
	uint64_t hash;

	if (bucket_of_word(mem, word, log2) != t)
		return "a slot of another bucket's hash";
	if (ltz__block_place(mem, ref, &place) < 0)
		return "a slot names no block";
	rec = at_ref(mem, ref);
	if (!(load_acquire(place.alloc) & place.bit))
		return "a slot names a free block";
	if (load_acquire(place.retired) & place.bit)
		return "a slot names a retired block";
	if (!load_acquire(&rec->version) || !record_look(rec, place.bytes, load_acquire(&rec->meta), &look))
		return "a slot names no record";
	hash = hash_key(mem->seed, meta_key_type(look.meta), (const uint8_t *)rec + look.key_offset, meta_key_size(look.meta));
	return slot_word(mem, hash, ref) == (word & ~SLOT_FROZEN) ? NULL : "a slot's hash bits are not its record's";
}

/* Do two slot words with equal hash bits name records of one key? Their bounds were checked by judge_word. */
static bool same_key(const struct ltz_mem *mem, uint64_t a, uint64_t b)
{
	const struct shm_record *x = at_ref(mem, a & mem->ref_mask), *y = at_ref(mem, b & mem->ref_mask);
	uint64_t x_room = ref_room(mem, a & mem->ref_mask), y_room = ref_room(mem, b & mem->ref_mask);
	struct ltz_look p, q;

	return record_look(x, x_room, load_acquire(&x->meta), &p) && record_look(y, y_room, load_acquire(&y->meta), &q) &&
	       (p.meta & META_KEY_MASK) == (q.meta & META_KEY_MASK) &&
	       equal_in_pool((const uint8_t *)x + p.key_offset, (const uint8_t *)y + q.key_offset, meta_key_size(p.meta));
}

/* The record words of one bucket so far; there is never more than one for a key. */
struct seen {
	unsigned count;
	uint64_t word[BUCKET_SLOTS_MAX];
};

static const char *judge_slot(const struct ltz_mem *mem, uint64_t word, uint64_t t, unsigned log2, struct seen *seen)
{
	const char *bad;

	if (!(word & SLOT_RECORD))
		return NULL;
	bad = judge_word(mem, word, t, log2);
	for (unsigned i = 0; i < seen->count && !bad; i++)
		if (((word ^ seen->word[i]) & mem->tag_mask) == 0 && same_key(mem, word, seen->word[i]))
			bad = "a key is there twice";
	if (!bad && seen->count < BUCKET_SLOTS_MAX)
		seen->word[seen->count++] = word;
	return bad;
}

/* Bucket t of the current table, if it is born. Changes while we look make the answer good. */
static const char *bucket_question(struct check *check, uint64_t t, uint64_t root_word)
{
	struct ltz_mem *mem = check->mem;
	struct shm_bucket *bucket;
	struct ltz_root root;
	struct ltz_walk walk;
	struct seen seen = {0};
	const char *bad = NULL;
	uint64_t a, slot = 0, *where = NULL;
	int more;

	if (ltz__table_enter(mem, check->lane, &root) < 0)
		return ltz__mem_destroyed(mem) ? NULL : "the root names no table";
	if (root.word != root_word)
		return NULL; /* the caller starts over */
	bucket = &root.cur.shm->bucket[t];
	a = load_acquire(&bucket->ctrl.a);
	if (ctrl_state(a) == CTRL_UNBORN)
		return has_prev(&root) ? NULL : "an unborn bucket without a previous table";
	if (ctrl_state(a) == CTRL_PENDING) { /* of a writer who stopped or died: whoever writes next finishes it */
		if (!mem->readonly)
			ltz__help(&root.cur, bucket, a, load_acquire(&bucket->ctrl.b));
		return mem->readonly ? NULL : "an insert that cannot be finished";
	}
	walk_begin(&walk, &root.cur, bucket);
	do {
		for (unsigned i = 0; i < walk.count && !bad; i++) {
			where = &walk.slot[i];
			slot = load_acquire(where);
			bad = judge_slot(mem, slot, t, root.cur.log2, &seen);
		}
		more = bad ? 0 : ltz__walk_next(&walk);
	} while (more > 0);
	if (more < 0)
		bad = "a link leads out of the table";
	if (!bad || load_acquire(&bucket->ctrl.a) != a || (where && load_acquire(where) != slot))
		return NULL;
	return bad;
}

/* All buckets under one root. false: it changed meanwhile. */
static bool check_buckets(struct check *check)
{
	struct ltz_mem *mem = check->mem;
	struct ltz_root root, now;

	if (ltz__table_enter(mem, check->lane, &root) < 0) {
		if (!ltz__mem_destroyed(mem))
			report(check, "root: names no table");
		return true;
	}
	if (owner_kind(owner_load(mem, (uint64_t)((uint8_t *)root.cur.shm - mem->space) >> SHM_GRANULE_LOG2)) != OWNER_TABLE)
		report(check, "root: its table's granule is no table");
	for (uint64_t t = 0; t < root.cur.buckets; t++) {
		/* each question enters the root anew, so the hazard names what it looks at */
		const char *bad = ask(check, bucket_question, t, root.word);

		if (bad)
			report(check, "bucket %llu: %s", (unsigned long long)t, bad);
		if (load_acquire(&mem->header->root) != root.word)
			return false;
	}
	return ltz__table_enter(mem, check->lane, &now) < 0 || now.word == root.word;
}

#define ROOTS_MAX 20u /* resizes that a check follows */

static void check_index(struct check *check)
{
	for (unsigned i = 0; i < ROOTS_MAX && !check_buckets(check); i++)
		;
}

int ltz__check(struct ltz_mem *mem, void (*report_line)(void *context, const char *line), void *context)
{
	struct check check = {.mem = mem, .report = report_line, .context = context, .lane = ltz__lane_take_slow(mem)};
	uint64_t high = ltz__granules_high(mem);

	if (!check.lane)
		return -ENOMEM;
	if (!mem->readonly)
		ltz__adopt_dead(mem);
	for (uint64_t g = 0; g < high; g++) {
		const char *bad = ask(&check, granule_question, g, 0);

		if (bad)
			report(&check, "granule %llu: %s", (unsigned long long)g, bad);
		else
			check_blocks(&check, g);
	}
	check_index(&check);
	if (check.reported > REPORTS_MAX) {
		unsigned more = check.reported - REPORTS_MAX;

		check.reported = 0;
		report(&check, "and %u more", more);
	}
	store_release(&check.lane->shm->th, 0); /* a read-only member has no tick that would clear it */
	check.lane->th = 0;
	lane_give(check.lane);
	return check.failure;
}
