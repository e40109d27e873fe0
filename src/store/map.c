/* SPDX-License-Identifier: MIT */
/* map.c - the operations that change one key, each a decision on top of ltz__edit. */
#include "store/map.h"

#include "shm/lane.h"
#include "store/edit.h"
#include "store/seal.h"
#include "store/tick.h"
#include "sys/sys.h"

#include <errno.h>
#include <string.h>

/* ---- small helpers ------------------------------------------------------------ */

/* The pool's time so many milliseconds from now, rounded up; SHM_NEVER for 0. */
static uint64_t expiry_after(const struct ltz_mem *mem, uint64_t ttl_ms)
{
	return ttl_ms ? (ltz__mem_now_ns(mem) + 999999) / 1000000 + ttl_ms : SHM_NEVER;
}

static const uint8_t *old_value(const struct ltz_old *old) { return (const uint8_t *)old->record + old->look.value_offset; }

#define LANE_TRIES 64 /* with a yield before each: our service thread has it while it reclaims there */

static bool try_for_a_while(struct ltz_lane *lane)
{
	for (unsigned i = 0; i < LANE_TRIES; i++) {
		if (lane_try(lane))
			return true;
		ltz__sys_yield();
	}
	return false;
}

/*
 * The present value to buf, if it has the room; look: its size and type. 0,
 * LTZ_TRUNCATED, or a failure: it is a tampered record, of which nothing may
 * be carried on.
 */
static int read_old(const struct ltz_edit *edit, const struct ltz_old *old, void *buf, size_t capacity, struct ltz_look *look)
{
	*look = old->look;
	if (unlikely(edit->mem->seal))
		return ltz__seal_read(edit->mem->seal, edit->key, old->record, old->version, look, buf, capacity);
	if (look->size > capacity)
		return LTZ_TRUNCATED;
	copy_from_pool(buf, old_value(old), look->size);
	return 0;
}

/*
 * The edit's lane has no room, and nothing was changed. What was deleted comes
 * free in the slab where it lay, which may be another lane's of this process.
 */
static LTZ_NOINLINE int run_elsewhere(struct ltz_edit *edit, int (*run)(struct ltz_edit *edit))
{
	struct ltz_mem *mem = edit->mem;
	struct ltz_lane *full = edit->lane;
	int result = -ENOSPC;

	for (unsigned i = LANE_FIRST; i < SHM_LANES && result == -ENOSPC; i++) {
		edit->lane = &mem->lane[i];
		if (edit->lane == full || !try_for_a_while(edit->lane))
			continue;
		if (edit->lane->cursor)
			result = run(edit);
		lane_give(edit->lane);
	}
	return result;
}

static int with_lane(struct ltz_mem *mem, struct ltz_edit *edit, int (*run)(struct ltz_edit *edit))
{
	int result;

	edit->mem = mem;
	edit->lane = lane_take(mem);
	if (unlikely(!edit->lane))
		return -ENOMEM;
	result = run(edit);
	lane_give(edit->lane);
	return unlikely(result == -ENOSPC) ? run_elsewhere(edit, run) : result;
}

/* Fills the edit's block; a failure becomes the edit's outcome. */
static enum edit_verdict put_content(struct ltz_edit *edit, const struct ltz_content *content)
{
	edit->outcome = ltz__edit_fill(edit, content);
	return edit->outcome < 0 ? EDIT_STOP : EDIT_PUT;
}

static enum edit_verdict stop(struct ltz_edit *edit, int outcome)
{
	edit->outcome = outcome;
	return EDIT_STOP;
}

/* ---- set ------------------------------------------------------------------------- */

struct set {
	struct ltz_content content;
	const struct ltz_set_options *options;
	uint64_t filled_expiry; /* what the block was filled with */
};

static enum edit_verdict decide_set(struct ltz_edit *edit, const struct ltz_old *old)
{
	struct set *set = edit->context;
	unsigned flags = set->options->flags;
	uint64_t present = old ? old->version : 0;

	if (((flags & LTZ_NX) && old) || ((flags & LTZ_XX) && !old) ||
	    ((flags & LTZ_IF_VERSION) && present != set->options->if_version))
		return stop(edit, LTZ_REFUSED);
	if (flags & LTZ_KEEP_TTL) {
		set->content.expires_ms = old ? old->look.expires_ms : SHM_NEVER;
		if (old && edit->mem->seal) { /* do not seal an expiry that somebody else put there */
			struct ltz_look look;
			int result = read_old(edit, old, NULL, 0, &look);

			if (result < 0)
				return stop(edit, result);
		}
	}
	if (edit->block.ref && set->filled_expiry == set->content.expires_ms)
		return EDIT_PUT;
	set->filled_expiry = set->content.expires_ms;
	return put_content(edit, &set->content);
}

static int run_set(struct ltz_edit *edit)
{
	struct set *set = edit->context;

	if (likely(!edit->decide)) {
		int result = ltz__edit_fill(edit, &set->content);

		if (unlikely(result < 0))
			return result;
	}
	return ltz__edit(edit);
}

int ltz__map_set(struct ltz_mem *mem, const struct ltz_hkey *key, const ltz_value *value,
                 const struct ltz_set_options *options, uint64_t *version)
{
	struct set set = {
		.content = {.data = value->data, .size = value->size, .type = value->type, .expires_ms = SHM_NEVER},
		.options = options,
	};
	struct ltz_edit edit = {.key = key, .context = &set};
	int result;

	if (options) {
		if (options->ttl_ms && !(options->flags & LTZ_KEEP_TTL))
			set.content.expires_ms = expiry_after(mem, options->ttl_ms);
		if (options->flags)
			edit.decide = decide_set;
	}
	result = with_lane(mem, &edit, run_set);
	if (unlikely(result))
		return result;
	count_own(&mem->row->sets);
	if (version)
		*version = edit.version;
	return 0;
}

/* ---- delete, pop, expel --------------------------------------------------------------- */

static enum edit_verdict decide_delete(struct ltz_edit *edit, const struct ltz_old *old)
{
	const uint64_t *if_version = edit->context;

	if (!old)
		return stop(edit, LTZ_NOT_FOUND);
	if (*if_version && *if_version != old->version)
		return stop(edit, LTZ_REFUSED);
	return EDIT_DELETE;
}

int ltz__map_delete(struct ltz_mem *mem, const struct ltz_hkey *key, uint64_t if_version)
{
	struct ltz_edit edit = {.key = key, .decide = decide_delete, .context = &if_version};
	int result = with_lane(mem, &edit, ltz__edit);

	if (result == 0)
		count_own(&mem->row->deletes);
	return result;
}

struct pop {
	void *buf;
	size_t capacity;
	ltz_item item;
};

static enum edit_verdict decide_pop(struct ltz_edit *edit, const struct ltz_old *old)
{
	struct pop *pop = edit->context;
	struct ltz_look look;
	int result;

	if (!old)
		return stop(edit, LTZ_NOT_FOUND);
	result = read_old(edit, old, pop->buf, pop->capacity, &look);
	if (result < 0)
		return stop(edit, result);
	pop->item = (ltz_item){
		.version = old->version, .size = look.size, .type = (uint8_t)meta_type(look.meta),
		.ttl_ms = map_ttl_ms(look.expires_ms, ltz__mem_now_ns(edit->mem)),
	};
	return result == 0 ? EDIT_DELETE : stop(edit, result);
}

int ltz__map_pop(struct ltz_mem *mem, const struct ltz_hkey *key, void *buf, size_t capacity, ltz_item *item)
{
	struct pop pop = {.buf = buf, .capacity = capacity};
	struct ltz_edit edit = {.key = key, .decide = decide_pop, .context = &pop};
	int result = with_lane(mem, &edit, ltz__edit);

	if (result == 0)
		count_own(&mem->row->deletes);
	if (item && (result == 0 || result == LTZ_TRUNCATED))
		*item = pop.item;
	return result;
}

struct expel {
	uint64_t ref, now_ms;
};

static enum edit_verdict decide_expel(struct ltz_edit *edit, const struct ltz_old *old)
{
	const struct expel *expel = edit->context;

	if (!old || old->ref != expel->ref || old->look.expires_ms > expel->now_ms)
		return stop(edit, LTZ_NOT_FOUND);
	return EDIT_DELETE;
}

int ltz__map_expel(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_hkey *key, uint64_t ref, uint64_t now_ms)
{
	struct expel expel = {.ref = ref, .now_ms = now_ms};
	struct ltz_edit edit = {
		.key = key, .decide = decide_expel, .context = &expel, .see_expired = true, .mem = mem, .lane = lane,
	};

	return ltz__edit(&edit);
}

/* ---- add ----------------------------------------------------------------------------------- */

struct add {
	ltz_number by, initial, sum;
	uint8_t type; /* of a value that is no number */
	uint8_t bytes[8];
};

/* 0, LTZ_MISMATCH, or a failure. */
static int read_number(const struct ltz_edit *edit, const struct ltz_old *old, ltz_number *number)
{
	struct ltz_look look;
	int result = read_old(edit, old, &number->as, sizeof(number->as), &look);

	number->type = (uint8_t)meta_type(look.meta);
	if (result < 0)
		return result;
	return look.size == 8 && (number->type == LTZ_INT64 || number->type == LTZ_FLOAT64) ? 0 : LTZ_MISMATCH;
}

static double as_double(ltz_number n) { return n.type == LTZ_FLOAT64 ? n.as.f64 : (double)n.as.i64; }

static bool sum_of(ltz_number a, ltz_number b, ltz_number *sum)
{
	if (a.type == LTZ_INT64 && b.type == LTZ_INT64) {
		sum->type = LTZ_INT64;
		return !__builtin_add_overflow(a.as.i64, b.as.i64, &sum->as.i64);
	}
	sum->type = LTZ_FLOAT64;
	sum->as.f64 = as_double(a) + as_double(b);
	return true;
}

static enum edit_verdict decide_add(struct ltz_edit *edit, const struct ltz_old *old)
{
	struct add *add = edit->context;
	ltz_number present = add->initial;
	struct ltz_content content = {.data = add->bytes, .size = 8, .expires_ms = SHM_NEVER};

	if (old) {
		int result = read_number(edit, old, &present);

		add->type = present.type;
		if (result)
			return stop(edit, result);
		content.expires_ms = old->look.expires_ms;
	}
	if (!sum_of(present, add->by, &add->sum))
		return stop(edit, LTZ_OVERFLOW);
	memcpy(add->bytes, &add->sum.as, 8);
	content.type = add->sum.type;
	return put_content(edit, &content);
}

int ltz__map_add(struct ltz_mem *mem, const struct ltz_hkey *key, ltz_number by, ltz_number initial,
                 ltz_number *sum, uint8_t *item_type)
{
	struct add add = {.by = by, .initial = initial};
	struct ltz_edit edit = {.key = key, .decide = decide_add, .context = &add};
	int result = with_lane(mem, &edit, ltz__edit);

	if (result == 0) {
		count_own(&mem->row->sets);
		if (sum)
			*sum = add.sum;
	} else if (result == LTZ_MISMATCH && item_type) {
		*item_type = add.type;
	}
	return result;
}

/* ---- expire ----------------------------------------------------------------------------------- */

static enum edit_verdict decide_expire(struct ltz_edit *edit, const struct ltz_old *old)
{
	const uint64_t *expires_ms = edit->context;
	struct ltz_content content;

	if (!old)
		return stop(edit, LTZ_NOT_FOUND);
	if (old->look.expires_ms == *expires_ms)
		return stop(edit, 0);
	/* the record is copied: expiry is immutable in a block */
	content = (struct ltz_content){
		.data = old_value(old), .size = old->look.size, .type = (uint8_t)meta_type(old->look.meta),
		.expires_ms = *expires_ms, .from = old,
	};
	return put_content(edit, &content);
}

int ltz__map_expire(struct ltz_mem *mem, const struct ltz_hkey *key, uint64_t ttl_ms)
{
	uint64_t expires_ms = expiry_after(mem, ttl_ms);
	struct ltz_edit edit = {.key = key, .decide = decide_expire, .context = &expires_ms};

	return with_lane(mem, &edit, ltz__edit);
}
