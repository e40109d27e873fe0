/* SPDX-License-Identifier: MIT */
/*
 * named_core.c - work with somebody else's in the middle of it. `other` is
 * another member in the victim's process, which acts at a crash point that
 * the victim comes by; the death may come in its part as well.
 */
#include "named_scenes.h"

#include <unistd.h>

#include "shm/granule.h"
#include "shm/mem.h"
#include "shm/member.h"
#include "store/expiry.h"
#include "store/resize.h"
#include "store/tick.h"
#include "sys/fault.h"

static struct ltz_mem *other;

static struct ltz_lane *service_lane(struct ltz_mem *mem) { return &mem->lane[LANE_SERVICE]; }

static void join_other(struct scene *scene, struct ltz_mem *mem)
{
	struct ltz_mem_options options = { 0 };

	(void)mem;
	if (ltz__map_attach(scene->fd, &options, &other) < 0)
		_exit(2);
}

static struct {
	void (*action)(struct scene *scene);
	struct scene *scene;
	bool done;
} between;

static void act(void *context)
{
	(void)context;
	between.action(between.scene);
	between.done = true;
}

/* The other's part, at the victim's k-th hit of the point. */
static void meanwhile(const char *point, uint64_t k, void (*action)(struct scene *scene), struct scene *scene)
{
	between.action = action;
	between.scene = scene;
	ltz__fault_set_meanwhile(point, k, act, NULL);
}

/* The work's result, if the other had its part in it. */
static int64_t with_other(int64_t result) { return between.done ? result : -1; }

static uint64_t bucket_number(const struct ltz_mem *mem, unsigned key, unsigned log2)
{
	struct ltz_hkey hkey;

	key_of(mem, key, &hkey);
	return bucket_of_hash(hkey.hash, log2);
}

/* Comes by the op's key's bucket, as a writer who does not find what it looks for. */
static void visit_bucket(struct scene *scene)
{
	struct ltz_hkey hkey;
	unsigned key = 20;

	while (key < TARGET - 1 && bucket_number(other, key, scene->op->log2) != bucket_number(other, scene->key, scene->op->log2))
		key++;
	key_of(other, key, &hkey);
	ltz__map_delete(other, &hkey, 0);
}

/* ---- one key --------------------------------------------------------------------------- */

static void aim(struct scene *scene, unsigned key, struct state after)
{
	scene->key = key;
	scene->after = after;
}

static void aim_insert(struct scene *scene) { aim(scene, TARGET, A_NUMBER(7)); }
static void aim_add(struct scene *scene) { aim(scene, 2, A_NUMBER(109)); }

static int64_t insert_helped(struct scene *scene, struct ltz_mem **mem)
{
	meanwhile("store.pending", 1, visit_bucket, scene);
	return with_other(scene_set(*mem, scene->key, scene->after));
}

/* The value stays, the record does not: the victim must begin again. */
static void renew_record(struct scene *scene)
{
	scene_set(other, scene->key, scene->now[scene->key]);
}
static int64_t add_raced(struct scene *scene, struct ltz_mem **mem)
{
	ltz_number seven = { .type = LTZ_INT64, .as.i64 = 7 };
	struct ltz_hkey hkey;

	key_of(*mem, scene->key, &hkey);
	meanwhile("store.intent_set", 1, renew_record, scene);
	return with_other(ltz__map_add(*mem, &hkey, seven, seven, NULL, NULL));
}

/* The target's bucket is full and has no line. */
static void fill_bucket(struct scene *scene)
{
	unsigned records = 0;

	for (unsigned k = 0; k < TARGET && records < BUCKET_SLOTS; k++)
		if (bucket_number(scene->first, k, 1) == bucket_number(scene->first, TARGET, 1)) {
			scene_put(scene, k, A_NUMBER(100 + k));
			records++;
		}
	aim(scene, TARGET, A_NUMBER(7));
}
static void append_line(struct scene *scene)
{
	struct ltz_root root;

	ltz__lane_open(other, &other->lane[LANE_FIRST]);
	if (ltz__table_enter(other, &other->lane[LANE_FIRST], &root) == 0)
		ltz__line_append(other, &other->lane[LANE_FIRST], &root.cur,
		                 &root.cur.shm->bucket[bucket_number(other, scene->key, root.cur.log2)].link, 0);
}
static int64_t append_raced(struct scene *scene, struct ltz_mem **mem)
{
	meanwhile("store.line_taken", 1, append_line, scene);
	return with_other(scene_set(*mem, scene->key, scene->after));
}

static void begin_resize_aim(struct scene *scene)
{
	struct ltz_root root;

	if (ltz__table_enter(scene->first, service_lane(scene->first), &root) == 0)
		ltz__resize_begin(scene->first, service_lane(scene->first), &root, root.cur.log2 + 1);
	aim(scene, TARGET, A_NUMBER(7));
}
static int64_t migrate_raced(struct scene *scene, struct ltz_mem **mem)
{
	meanwhile("store.bucket_frozen", 1, visit_bucket, scene);
	return with_other(scene_set(*mem, scene->key, scene->after));
}

/* ---- the sweep ---------------------------------------------------------------------------- */

#define SWEPT_KEY 20u

static void aim_expiring(struct scene *scene)
{
	scene->now[SWEPT_KEY] = (struct state){ NUMBER, 9, 120 };
	aim(scene, TARGET, (struct state){ NUMBER, 5, 7 });
}
static void own_expiring(struct scene *scene, struct ltz_mem *mem)
{
	join_other(scene, mem);
	scene_set(other, SWEPT_KEY, (struct state){ NUMBER, 9, 120 });
}
/* Into the extent that is being swept. */
static void set_expiring(struct scene *scene)
{
	scene_set(other, scene->key, scene->after);
}
static int64_t sweep_raced(struct scene *scene, struct ltz_mem **mem)
{
	uint64_t next;

	meanwhile("store.sweep_marked", 1, set_expiring, scene);
	return with_other((int64_t)ltz__sweep(*mem, service_lane(*mem), true, &next));
}

/* ---- tables ----------------------------------------------------------------------------------- */

static int resize(struct ltz_mem *mem)
{
	struct ltz_root root;
	int result = ltz__table_enter(mem, service_lane(mem), &root);

	return result < 0 ? result : ltz__resize(mem, service_lane(mem), &root);
}
static void resize_other(struct scene *scene)
{
	(void)scene;
	resize(other);
}
static int64_t resize_raced(struct scene *scene, struct ltz_mem **mem)
{
	meanwhile("store.entry_placed", 1, resize_other, scene);
	return with_other(resize(*mem));
}

/* A table larger than the pool. */
static int64_t resize_refused(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_root root;
	int result = ltz__table_enter(*mem, service_lane(*mem), &root);

	(void)scene;
	return result == 0 && ltz__resize_begin(*mem, service_lane(*mem), &root, 20) == -ENOSPC ? 0 : -1;
}

/* Two empty lines a bucket: the next table is made granules larger than it needs to be. */
static void append_many(struct scene *scene)
{
	struct ltz_lane *lane = service_lane(scene->first);
	struct ltz_root root;

	if (ltz__table_enter(scene->first, lane, &root) < 0)
		return;
	for (uint64_t i = 0; i < 2 * root.cur.buckets; i++) {
		struct ltz_walk walk;

		walk_begin(&walk, &root.cur, &root.cur.shm->bucket[i / 2]);
		while (ltz__walk_next(&walk) > 0)
			;
		ltz__line_append(scene->first, lane, &root.cur, walk.link, 0);
	}
}
static int64_t grow_and_cut(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_root root;
	int result = resize(*mem);

	(void)scene;
	if (result == 0)
		result = ltz__table_enter(*mem, service_lane(*mem), &root);
	ltz__tables_tend(*mem, service_lane(*mem));
	return result;
}

/* ---- memory -------------------------------------------------------------------------------------- */

static void claim_one(struct scene *scene)
{
	(void)scene;
	ltz__granules_claim(other, service_lane(other), 1);
}
static int64_t claim_raced(struct scene *scene, struct ltz_mem **mem)
{
	int64_t head;

	meanwhile("shm.part_claimed", 2, claim_one, scene);
	head = ltz__granules_claim(*mem, service_lane(*mem), 4);
	if (head >= 0)
		ltz__granules_release(*mem, service_lane(*mem), (uint64_t)head, 4);
	return with_other(head < 0 ? head : 0);
}

static void punch_all(struct scene *scene)
{
	ltz__granules_punch(scene->first, service_lane(scene->first), 0, UINT64_MAX);
	aim(scene, TARGET, A_NUMBER(7));
}
static void refuse_memory(struct scene *scene)
{
	(void)scene;
	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, ENOSPC);
}
/* The first try finds no memory, the next one does. */
static int64_t commit_refused(struct scene *scene, struct ltz_mem **mem)
{
	int64_t result;

	meanwhile("shm.virgin_claimed", 1, refuse_memory, scene);
	result = scene_set(*mem, scene->key, scene->after);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	return with_other(result);
}

/* A reader that was stopped since before the punch touches two pages. */
static void touch_punched(struct scene *scene)
{
	struct ltz_mem *mem = scene->first;

	ltz__granules_punch(mem, service_lane(mem), 0, UINT64_MAX);
	for (uint64_t g = 0, touched = 0; g < ltz__granules_high(mem) && touched < 2; g++)
		if (owner_load(mem, g) == OWNER_VIRGIN) {
			load_acquire((uint64_t *)at_granule(mem, g));
			touched++;
		}
}
static int64_t repunch(struct scene *scene, struct ltz_mem **mem)
{
	(void)scene;
	return ltz__granules_repunch(*mem, service_lane(*mem)) == 2 ? 0 : -1;
}

/* ---- members ---------------------------------------------------------------------------------------- */

static void adopt_other(struct scene *scene)
{
	(void)scene;
	ltz__adopt_dead(other);
}
static int64_t adopt_raced(struct scene *scene, struct ltz_mem **mem)
{
	meanwhile("shm.extent_adopted", 1, adopt_other, scene);
	return with_other(ltz__adopt_dead(*mem));
}

/* What the dead had claimed is torn down. */
static int64_t adopt_and_tidy(struct scene *scene, struct ltz_mem **mem)
{
	(void)scene;
	if (ltz__adopt_dead(*mem) != 1)
		return -1;
	ltz__tick(*mem);
	return 0;
}

/* One who died when it had claimed an entry of the directory, for a table that it did not make. */
static void die_resizing(void *context)
{
	struct ltz_mem_options options = { 0 };
	struct scene *scene = context;
	struct ltz_mem *mem;

	scene_leave_parent(scene);
	if (ltz__map_attach(scene->fd, &options, &mem) < 0)
		_exit(2);
	crash_begin();
	resize(mem);
	crash_end();
}
static void bury_claimer(struct scene *scene)
{
	if (!crash_bury(die_resizing, scene, (struct last_step){ .point = "store.entry_claimed" }))
		scene_wrong(scene, "the dead member did not come to its end");
}

/* Into the row of one who died with an intent. */
static void bury_and_adopt(struct scene *scene)
{
	bury_replacer(scene);
	ltz__adopt_dead(scene->first);
}
static int64_t join(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_mem_options options = { 0 };

	return ltz__map_attach(scene->fd, &options, mem);
}

/* ---- all of them --------------------------------------------------------------------------------------- */

const struct operation more_operations[] = {
	{ "insert helped", 1, 0, .setup = aim_insert, .prepare = join_other, .run = insert_helped },
	{ "add raced", 3, 6, .setup = aim_add, .prepare = join_other, .run = add_raced },
	{ "append raced", 1, 0, .setup = fill_bucket, .prepare = join_other, .run = append_raced },
	{ "migrate raced", 1, 9, .setup = begin_resize_aim, .prepare = join_other, .run = migrate_raced },
	{ "sweep raced", 3, 6, .expires = true, .setup = aim_expiring, .prepare = own_expiring, .run = sweep_raced },
	{ "resize raced", 1, 9, .prepare = join_other, .run = resize_raced },
	{ "resize refused", 3, 6, .run = resize_refused },
	{ "grow and cut", 8, 6, .setup = append_many, .run = grow_and_cut },
	{ "claim raced", 3, 6, .prepare = join_other, .run = claim_raced },
	{ "commit refused", 3, 6, .setup = punch_all, .run = commit_refused },
	{ "repunch", 3, 6, .setup = touch_punched, .run = repunch },
	{ "adopt raced", 3, 6, .setup = bury_replacer, .prepare = join_other, .run = adopt_raced },
	{ "adopt and tidy", 3, 6, .setup = bury_replacer, .run = adopt_and_tidy },
	{ "adopt claimer", 1, 9, .setup = bury_claimer, .run = adopt_and_tidy },
	{ "join again", 3, 6, .setup = bury_and_adopt, .joins = true, .run = join },
};
const unsigned more_operation_count = sizeof(more_operations) / sizeof(more_operations[0]);
