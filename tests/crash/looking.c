/* SPDX-License-Identifier: MIT */
/* looking.c - what must be true of a scene afterwards, and beside a stopped victim. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "scene.h"
#include "shm/granule.h"
#include "shm/mem.h"
#include "shm/member.h"
#include "store/check.h"
#include "store/resize.h"
#include "store/tick.h"

static bool attach(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_mem_options options = { 0 };
	int result = ltz__map_attach(scene->fd, &options, mem);

	return result == 0 || scene_wrong(scene, "attach gives %d", result);
}

/* ltz__tick some time later. */
static void tick_later(struct ltz_mem *mem, uint64_t later_ns)
{
	ltz__mem_set_now(mem, ltz__mem_now_ns(mem) + later_ns);
	for (unsigned i = 0; i < 100 && ltz__tick(mem) == 0; i++) /* until it wants to rest */
		;
}

/* ---- rows ------------------------------------------------------------------------------- */

/* The row of a member that is neither `first` nor mem and is up: alive or not. Its number, or -1. */
static int other_row(const struct scene *scene, const struct ltz_mem *mem)
{
	for (unsigned r = 0; r < ltz__rows_high(mem); r++)
		if (row_up(load_acquire(&mem->rows[r].word)) && r != mem->row_index &&
		    !(scene->first && r == scene->first->row_index))
			return (int)r;
	return -1;
}

static bool is_up(const struct ltz_mem *mem)
{
	uint64_t word = load_acquire(&mem->row->word);

	return row_up(word) && row_generation(word) == mem->generation;
}

/* The dead are dead at once: waitpid came after their files were closed. */
static bool all_proven_dead(struct scene *scene, const struct ltz_mem *mem)
{
	for (unsigned r = 0; r < ltz__rows_high(mem); r++) {
		uint64_t word = load_acquire(&mem->rows[r].word);

		if (row_up(word) && r != mem->row_index && !(scene->first && r == scene->first->row_index) &&
		    !ltz__member_dead(mem, r, &word))
			return scene_wrong(scene, "the lock of row %u is still held", r);
	}
	return true;
}

static bool settle_by(struct scene *scene, struct ltz_mem *mem, bool by_tick)
{
	int row;

	if (!all_proven_dead(scene, mem))
		return false;
	if (by_tick)
		tick_later(mem, 10 * SECOND_NS);
	else
		ltz__adopt_dead(mem);
	row = other_row(scene, mem);
	if (row >= 0)
		return scene_wrong(scene, "row %d is still up after the adoption", row);
	if (!is_up(mem) || (scene->first && !is_up(scene->first)))
		return scene_wrong(scene, "a living member's row was released");
	return true;
}

bool scene_settle(struct scene *scene, enum adopter adopter)
{
	struct ltz_mem *newcomer;
	bool good;

	if (!scene->first && !attach(scene, &scene->first))
		return false;
	if (adopter != BY_NEWCOMER)
		return settle_by(scene, scene->first, adopter == BY_TICK);
	if (!attach(scene, &newcomer))
		return false;
	good = settle_by(scene, newcomer, false);
	ltz__map_detach(newcomer);
	return good && settle_by(scene, scene->first, false);
}

/* ---- contents ---------------------------------------------------------------------------- */

struct reports {
	char first[160];
	unsigned count, unlisted, parts;
};

static void note_report(void *context, const char *line)
{
	struct reports *reports = context;

	if (strstr(line, "allocated, not retired, in no index"))
		reports->unlisted++;
	else if (strstr(line, "extent with a part missing"))
		reports->parts++;
	else if (!reports->count++)
		snprintf(reports->first, sizeof(reports->first), "%s", line);
}

static bool check_clean(struct scene *scene, const char *when)
{
	struct reports reports = { .count = 0 };

	ltz__check(scene->first, note_report, &reports);
	if (reports.unlisted)
		return scene_wrong(scene, "%s: %u blocks allocated, not retired, in no index", when, reports.unlisted);
	if (reports.parts)
		return scene_wrong(scene, "%s: an extent with a part missing", when);
	return !reports.count || scene_wrong(scene, "%s: %s", when, reports.first);
}

static unsigned present(const struct scene *scene)
{
	unsigned n = 0;

	for (unsigned k = 0; k < KEYS; k++)
		n += scene->now[k].kind != ABSENT;
	return n;
}

/* All keys as scene->now says, and nothing else. slack: blocks that a stopped one may hold. */
static bool contents_are_now(struct scene *scene, struct ltz_mem *mem, unsigned slack)
{
	uint64_t count = ltz__map_count(mem), cursor = 0, scanned = 0;
	static uint8_t buf[LTZ_SCAN_BUFFER] __attribute__((aligned(8)));
	unsigned n = present(scene);
	size_t used;

	for (unsigned k = 0; k < KEYS; k++)
		if (!scene_has(mem, k, scene->now[k]))
			return scene_wrong(scene, "key %u has not its value", k);
	if (count < n || count > n + slack)
		return scene_wrong(scene, "count is %llu, not %u", (unsigned long long)count, n);
	do {
		int result = ltz__map_scan(mem, &cursor, 1000, NULL, buf, sizeof(buf), &used);

		if (result)
			return scene_wrong(scene, "scan gives %d", result);
		for (size_t at = 0; at < used; scanned++)
			at += (sizeof(struct ltz_scan_entry) + ((struct ltz_scan_entry *)(buf + at))->size + 7) & ~(size_t)7;
	} while (cursor);
	return scanned == n || scene_wrong(scene, "scan gives %llu keys, not %u", (unsigned long long)scanned, n);
}

/* The key is as before or as after the victim's work; which is noted. */
static bool decide(struct scene *scene, bool returned)
{
	bool before, after;

	if (scene->key == NO_KEY)
		return true;
	before = scene_has(scene->first, scene->key, scene->now[scene->key]);
	after = scene_has(scene->first, scene->key, scene->after);
	if (!before && !after)
		return scene_wrong(scene, "key %u has neither its old nor its new state", scene->key);
	if (returned && !after)
		return scene_wrong(scene, "key %u lost what the call had acknowledged", scene->key);
	if (after)
		scene->now[scene->key] = scene->after;
	return true;
}

/* The keys can be used as ever. */
static bool usable(struct scene *scene)
{
	unsigned key = scene->key == NO_KEY ? 0 : scene->key;
	struct state was = scene->now[key], other = A_NUMBER(777);
	struct ltz_hkey hkey;
	int result;

	key_of(scene->first, key, &hkey);
	result = scene_set(scene->first, key, other);
	if (result || !scene_has(scene->first, key, other))
		return scene_wrong(scene, "set gives %d, or is not seen", result);
	result = ltz__map_delete(scene->first, &hkey, 0);
	if (result || !scene_has(scene->first, key, (struct state){ 0 }))
		return scene_wrong(scene, "delete gives %d, or is not seen", result);
	if (was.kind != ABSENT)
		result = scene_set(scene->first, key, was);
	return !result || scene_wrong(scene, "set gives %d", result);
}

bool scene_intact(struct scene *scene, bool returned)
{
	return check_clean(scene, "check after the adoption") && decide(scene, returned) &&
	       contents_are_now(scene, scene->first, 0) && usable(scene) &&
	       contents_are_now(scene, scene->first, 0) && check_clean(scene, "check after use");
}

/* ---- what is left ----------------------------------------------------------------------------- */

static bool granules_left(struct scene *scene, uint64_t table)
{
	const struct ltz_mem *mem = scene->first;

	for (uint64_t g = 0; g < ltz__granules_high(mem); g++) {
		uint64_t word = owner_load(mem, g);
		unsigned kind = owner_kind(word);

		if (kind == OWNER_VIRGIN || kind == OWNER_FREE || g == table ||
		    (kind == OWNER_PART && owner_part_head(word) == table))
			continue;
		scene_wrong(scene, "left over: granule %llu of kind %u", (unsigned long long)g, kind);
		return true;
	}
	return false;
}

static bool entries_left(struct scene *scene, unsigned table)
{
	for (unsigned id = 1; id < SHM_TABLES; id++)
		if (id != table && load_acquire(&scene->first->directory[id].claim)) {
			scene_wrong(scene, "left over: directory entry %u", id);
			return true;
		}
	return false;
}

static bool hazards_left(struct scene *scene)
{
	struct shm_row *row = scene->first->row;

	for (unsigned i = 0; i < SHM_LANES; i++)
		if (load_acquire(&row->lane[i].hw) || load_acquire(&row->lane[i].hr)) {
			scene_wrong(scene, "left over: a hazard of lane %u", i);
			return true;
		}
	return false;
}

/* Is anything there but the table in the root? Then scene->why says what. */
static bool anything_left(struct scene *scene)
{
	const struct ltz_mem *mem = scene->first;
	uint64_t root = load_acquire(&mem->header->root);
	uint64_t place = load_acquire(&mem->directory[root_cur(root)].place);

	scene->why[0] = '\0';
	if (root_prev(root) || root_cur_log2(root) != scene->op->log2) {
		scene_wrong(scene, "left over: a table of 2^%u buckets, previous one: %u", root_cur_log2(root), root_prev(root));
		return true;
	}
	return granules_left(scene, place - 1) || entries_left(scene, root_cur(root)) || hazards_left(scene);
}

#define TICKS_MOST 12

/* The far ends of the keys' lives have come: the sweep finds them, also after a sweep that died. */
static bool lives_end(struct scene *scene)
{
	if (!scene->op->expires)
		return true;
	ltz__mem_set_now(scene->first, ltz__mem_now_ns(scene->first) + 10 * HOUR_MS * 1000000);
	for (int i = 0; i < 3; i++)
		tick_later(scene->first, 10 * SECOND_NS);
	for (unsigned k = 0; k < KEYS; k++)
		if (scene->now[k].hours)
			scene->now[k] = (struct state){ 0 };
	return contents_are_now(scene, scene->first, 0);
}

bool scene_vacate(struct scene *scene, uint64_t *pages)
{
	struct stat status;
	bool left = true;

	if (!lives_end(scene))
		return false;
	ltz__map_clear(scene->first, NULL);
	for (int i = 0; left && i < TICKS_MOST; i++) {
		tick_later(scene->first, 10 * SECOND_NS);
		left = anything_left(scene);
	}
	if (left)
		return false;
	ltz__granules_punch(scene->first, &scene->first->lane[LANE_SERVICE], 0, UINT64_MAX);
	if (ltz__map_count(scene->first))
		return scene_wrong(scene, "blocks are left");
	if (!check_clean(scene, "check of the empty pool"))
		return false;
	fstat(scene->fd, &status);
	if (!*pages)
		*pages = (uint64_t)status.st_blocks / 8;
	return *pages == (uint64_t)status.st_blocks / 8 ||
	       scene_wrong(scene, "left over: %llu pages of memory, not %llu", (unsigned long long)status.st_blocks / 8,
	                   (unsigned long long)*pages);
}

/* ---- beside a stopped victim --------------------------------------------------------------------- */

#define SLACK 6u /* blocks: a private one, an unlinked one; of an adopter also those it found */

struct beside {
	struct scene *scene;
	struct ltz_mem *mem;
	struct ltz_hkey hkey;
	unsigned key;
	bool few;
};

static bool look(struct beside *b, struct ltz_mem *mem) { return b->few || contents_are_now(b->scene, mem, SLACK); }

#define BESIDE_KEY    3u
#define BESIDE_LAST   A_NUMBER(50) /* of the op's key */
#define BESIDE_OTHER  A_NUMBER(33)

static unsigned key_beside(const struct scene *scene) { return scene->key == NO_KEY ? 0 : scene->key; }

void scene_note_beside(struct scene *scene)
{
	scene->now[key_beside(scene)] = BESIDE_LAST;
	scene->now[BESIDE_KEY] = BESIDE_OTHER;
}

static bool resize_index(struct beside *b)
{
	struct ltz_lane *lane = &b->mem->lane[LANE_SERVICE];
	struct ltz_root root;
	uint64_t gen;
	int result = ltz__table_enter(b->mem, lane, &root);

	gen = root_gen(root.word);
	if (result == 0)
		result = ltz__resize(b->mem, lane, &root);
	if (result || root_gen(load_acquire(&b->mem->header->root)) == gen)
		return scene_wrong(b->scene, "resize gives %d", result);
	return look(b, b->mem);
}

static bool change_key(struct beside *b, bool *early)
{
	struct scene *scene = b->scene;
	ltz_number one = { .type = LTZ_INT64, .as.i64 = 1 }, sum = { 0 };
	bool before = scene_has(b->mem, b->key, scene->now[b->key]);
	int result;

	*early = scene->key != NO_KEY && !before && scene_has(b->mem, b->key, scene->after);
	if (!before && !*early)
		return scene_wrong(scene, "get: neither the old nor the new state");
	if (*early)
		scene->now[b->key] = scene->after;
	if (scene->resize_first && !resize_index(b))
		return false;
	result = scene_set(b->mem, b->key, A_NUMBER(5));
	if (result || !scene_has(b->mem, b->key, A_NUMBER(5)))
		return scene_wrong(scene, "set gives %d, or is not seen", result);
	result = ltz__map_add(b->mem, &b->hkey, one, one, &sum, NULL);
	if (result || sum.as.i64 != 6 || !scene_has(b->mem, b->key, A_NUMBER(6)))
		return scene_wrong(scene, "add gives %d, sum %lld", result, (long long)sum.as.i64);
	result = ltz__map_delete(b->mem, &b->hkey, 0);
	if (result || !scene_has(b->mem, b->key, (struct state){ 0 }))
		return scene_wrong(scene, "delete gives %d, or is not seen", result);
	result = scene_set(b->mem, b->key, BESIDE_LAST);
	if (result)
		return scene_wrong(scene, "insert gives %d", result);
	scene->now[b->key] = BESIDE_LAST;
	return look(b, b->mem);
}

static bool join_and_leave(struct beside *b)
{
	struct ltz_mem *newcomer;
	bool good;

	if (!attach(b->scene, &newcomer))
		return false;
	good = look(b, newcomer) && scene_set(newcomer, BESIDE_KEY, BESIDE_OTHER) == 0;
	b->scene->now[BESIDE_KEY] = BESIDE_OTHER;
	ltz__map_detach(newcomer);
	return good || scene_wrong(b->scene, "a newcomer cannot work");
}

bool scene_beside(struct scene *scene, struct ltz_mem *mem, bool *early, bool few)
{
	struct beside b = { .scene = scene, .mem = mem, .key = key_beside(scene), .few = few };

	key_of(mem, b.key, &b.hkey);
	if (!change_key(&b, early) || (!scene->resize_first && !resize_index(&b)) || !join_and_leave(&b))
		return false;
	ltz__adopt_dead(mem); /* who left; never the stopped one */
	if (!few)
		tick_later(mem, 10 * SECOND_NS);
	return look(&b, mem);
}

bool scene_held(struct scene *scene)
{
	return check_clean(scene, "beside a stopped member");
}

void scene_went_on(struct scene *scene, bool early)
{
	struct state *state = &scene->now[scene->key];

	if (scene->key == NO_KEY || early)
		return;
	switch (scene->op->late) {
	case LATE_AFTER:
		*state = scene->after;
		break;
	case LATE_ADD:
		state->number += 7;
		break;
	case LATE_EXPIRES:
		state->hours = 1;
		break;
	default:
		break;
	}
}
