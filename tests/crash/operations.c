/* SPDX-License-Identifier: MIT */
/*
 * operations.c - what victims do. Each entry is one piece of work that changes
 * the pool; together they pass every place where shm and store change it.
 */
#include <errno.h>
#include <stddef.h>
#include <unistd.h>

#include "scene.h"
#include "shm/granule.h"
#include "shm/mem.h"
#include "shm/slab.h"
#include "store/expiry.h"
#include "store/resize.h"
#include "store/tick.h"
#include "victims.h"

static struct ltz_lane *service_lane(struct ltz_mem *mem) { return &mem->lane[LANE_SERVICE]; }

static void later(struct ltz_mem *mem, uint64_t ns) { ltz__mem_set_now(mem, ltz__mem_now_ns(mem) + ns); }

static unsigned bucket_of(const struct ltz_mem *mem, unsigned key, unsigned log2)
{
	struct ltz_hkey hkey;

	key_of(mem, key, &hkey);
	return (unsigned)bucket_of_hash(hkey.hash, log2);
}

static void aim(struct scene *scene, unsigned key, struct state after)
{
	scene->key = key;
	scene->after = after;
}

/* ---- one key ------------------------------------------------------------------------- */

/* The victim has a slab of its own with room in it. */
static void own_slab(struct scene *scene, struct ltz_mem *mem)
{
	(void)scene;
	scene_set(mem, OF_VICTIM, A_NUMBER(41));
}
static void expect_own(struct scene *scene) { scene->now[OF_VICTIM] = A_NUMBER(41); }

static void aim_insert(struct scene *scene)
{
	expect_own(scene);
	aim(scene, TARGET, A_NUMBER(7));
}
static void aim_replace(struct scene *scene)
{
	expect_own(scene);
	aim(scene, 2, A_NUMBER(7));
}
static void aim_replace_own(struct scene *scene)
{
	expect_own(scene);
	aim(scene, OF_VICTIM, A_NUMBER(7));
}
static int64_t set_key(struct scene *scene, struct ltz_mem **mem) { return scene_set(*mem, scene->key, scene->after); }

static void aim_delete(struct scene *scene)
{
	expect_own(scene);
	aim(scene, 2, (struct state){ 0 });
}
static void aim_delete_own(struct scene *scene)
{
	expect_own(scene);
	aim(scene, OF_VICTIM, (struct state){ 0 });
}
static int64_t delete_key(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_hkey hkey;

	key_of(*mem, scene->key, &hkey);
	return ltz__map_delete(*mem, &hkey, 0);
}

static void aim_add(struct scene *scene)
{
	expect_own(scene);
	aim(scene, 2, A_NUMBER(109));
}
static int64_t add_key(struct scene *scene, struct ltz_mem **mem)
{
	ltz_number seven = { .type = LTZ_INT64, .as.i64 = 7 };
	struct ltz_hkey hkey;

	key_of(*mem, scene->key, &hkey);
	return ltz__map_add(*mem, &hkey, seven, seven, NULL, NULL);
}

static void aim_expiry(struct scene *scene)
{
	expect_own(scene);
	aim(scene, 2, (struct state){ NUMBER, 1, 102 });
}
static int64_t expire_key(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_hkey hkey;

	key_of(*mem, scene->key, &hkey);
	return ltz__map_expire(*mem, &hkey, HOUR_MS);
}

/* The target's bucket is full and has no line. */
static void fill_bucket(struct scene *scene)
{
	unsigned records = 0;

	for (unsigned k = 0; k < TARGET && records < BUCKET_SLOTS; k++)
		if (bucket_of(scene->first, k, 1) == bucket_of(scene->first, TARGET, 1)) {
			scene_put(scene, k, A_NUMBER(100 + k));
			records++;
		}
	aim(scene, TARGET, A_NUMBER(7));
}

/* Nothing is committed ahead: the victim's block needs memory from the system. */
static void punch_all(struct scene *scene)
{
	ltz__granules_punch(scene->first, service_lane(scene->first), 0, UINT64_MAX);
	aim(scene, TARGET, A_NUMBER(7));
}

static void aim_blob(struct scene *scene) { aim(scene, TARGET, (struct state){ BLOB, 0, 0x5a }); }
static void aim_blob_away(struct scene *scene)
{
	scene_put(scene, 2, (struct state){ BLOB, 0, 0x5a });
	aim(scene, 2, (struct state){ BLOB, 0, 0x33 });
}

/* Large values until there is no room for another. */
static void fill_pool(struct scene *scene)
{
	for (unsigned k = 10; k < TARGET; k++) {
		struct state state = { BLOB, 0, k };

		if (scene_set(scene->first, k, state) != 0)
			break;
		scene->now[k] = state;
	}
	scene->key = TARGET; /* stays absent */
}
static int64_t find_no_room(struct scene *scene, struct ltz_mem **mem)
{
	(void)scene;
	return scene_set(*mem, TARGET, (struct state){ BLOB, 0, 1 }) == -ENOSPC ? 0 : -1;
}

/* ---- the sweep ------------------------------------------------------------------------- */

static void aim_expired(struct scene *scene)
{
	scene_put(scene, 2, (struct state){ NUMBER, 1, 102 });
	scene_put(scene, 4, (struct state){ NUMBER, 9, 104 });
	aim(scene, 2, (struct state){ 0 });
}
static void two_hours_later(struct scene *scene, struct ltz_mem *mem)
{
	(void)scene;
	later(mem, 2 * HOUR_MS * 1000000);
}
static int64_t sweep(struct scene *scene, struct ltz_mem **mem)
{
	uint64_t next;

	(void)scene;
	return ltz__sweep(*mem, service_lane(*mem), false, &next) == 1 ? 0 : -1;
}

/* ---- the index --------------------------------------------------------------------------- */

static int resize(struct ltz_mem *mem)
{
	struct ltz_root root;
	int result = ltz__table_enter(mem, service_lane(mem), &root);

	return result < 0 ? result : ltz__resize(mem, service_lane(mem), &root);
}

static int64_t resize_inline(struct scene *scene, struct ltz_mem **mem)
{
	(void)scene;
	return resize(*mem);
}

/* Ticks until the index is of a size and has no previous table. */
static int64_t tick_until(struct ltz_mem *mem, unsigned log2, uint64_t gen)
{
	for (int i = 0; i < 8; i++) {
		uint64_t root;

		ltz__tick(mem);
		root = load_acquire(&mem->header->root);
		if (!root_prev(root) && root_cur_log2(root) == log2 && root_gen(root) > gen)
			return 0;
		later(mem, 2 * SECOND_NS);
	}
	return -1;
}

static int64_t grow_by_tick(struct scene *scene, struct ltz_mem **mem) { return tick_until(*mem, scene->op->log2 + 1, 0); }
static int64_t renew_by_tick(struct scene *scene, struct ltz_mem **mem) { return tick_until(*mem, scene->op->log2, 1); }

static void leave_few(struct scene *scene)
{
	for (unsigned k = 3; k < scene->op->keys; k++)
		scene_drop(scene, k);
}

static void grow_twice(struct scene *scene)
{
	resize(scene->first);
	resize(scene->first);
	aim(scene, 2, (struct state){ 0 });
}
static int64_t delete_and_shrink(struct scene *scene, struct ltz_mem **mem)
{
	int64_t result = delete_key(scene, mem);

	return result ? result : tick_until(*mem, scene->op->log2, 1);
}

/* A resize has begun, nothing is migrated. */
static void begin_resize(struct scene *scene)
{
	struct ltz_root root;

	if (ltz__table_enter(scene->first, service_lane(scene->first), &root) == 0)
		ltz__resize_begin(scene->first, service_lane(scene->first), &root, root.cur.log2 + 1);
}
/* A slab with room, made without touching the index. */
static void bare_slab(struct scene *scene, struct ltz_mem *mem)
{
	struct ltz_lane *lane = &mem->lane[LANE_FIRST];
	struct ltz_block block;

	(void)scene;
	ltz__lane_open(mem, lane);
	if (ltz__block_alloc(mem, lane, 29, false, &block) == 0)
		ltz__block_free(mem, lane, block.ref);
}
static void begin_resize_aim(struct scene *scene)
{
	begin_resize(scene);
	aim(scene, 2, A_NUMBER(7));
}

/* The victim made the table before the present one. */
static void resize_twice(struct scene *scene, struct ltz_mem *mem)
{
	(void)scene;
	resize(mem);
	resize(mem);
}
static int64_t tend_tables(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_root root;
	int result = ltz__table_enter(*mem, service_lane(*mem), &root);

	(void)scene;
	ltz__tables_tend(*mem, service_lane(*mem));
	ltz__lane_reclaim(*mem, service_lane(*mem), UINT32_MAX, RECLAIM_IDLE);
	return result;
}

/* ---- memory -------------------------------------------------------------------------------- */

static int64_t punch(struct scene *scene, struct ltz_mem **mem)
{
	(void)scene;
	return ltz__granules_punch(*mem, service_lane(*mem), 0, UINT64_MAX) > 0 ? 0 : -1;
}

/* Retired blocks in a slab and a run of the victim's; nothing live in them. */
static void retire_own(struct scene *scene, struct ltz_mem *mem)
{
	struct ltz_hkey hkey;

	(void)scene;
	scene_set(mem, TARGET, (struct state){ BLOB, 0, 1 });
	for (unsigned k = 20; k < 24; k++)
		scene_set(mem, k, A_NUMBER(k));
	for (unsigned k = 20; k <= TARGET; k++) {
		key_of(mem, k, &hkey);
		ltz__map_delete(mem, &hkey, 0);
	}
}
static int64_t reclaim(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_lane *lane = ltz__lane_take_slow(*mem);
	uint64_t freed;

	(void)scene;
	ltz__lane_drop_cursors(lane);
	freed = ltz__lane_reclaim(*mem, lane, UINT32_MAX, RECLAIM_IDLE);
	lane_give(lane);
	return freed == 5 ? 0 : -1;
}

static int64_t idle_ticks(struct scene *scene, struct ltz_mem **mem)
{
	(void)scene;
	for (int i = 0; i < 2; i++) {
		ltz__tick(*mem);
		later(*mem, 2 * SECOND_NS);
	}
	return 0;
}

/* ---- members --------------------------------------------------------------------------------- */

static int64_t join(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_mem_options options = { 0 };

	return ltz__map_attach(scene->fd, &options, mem);
}

static int64_t leave(struct scene *scene, struct ltz_mem **mem)
{
	struct ltz_mem *left = *mem;

	(void)scene;
	*mem = NULL;
	ltz__map_detach(left);
	return 0;
}

static void die_replacing(void *context)
{
	struct ltz_mem_options options = { 0 };
	struct scene *scene = context;
	struct ltz_block block;
	struct ltz_mem *mem;

	scene_leave_parent(scene);
	if (ltz__map_attach(scene->fd, &options, &mem) < 0)
		_exit(2);
	scene_set(mem, OF_DEAD, A_NUMBER(42));
	ltz__block_alloc(mem, &mem->lane[LANE_FIRST], 500, false, &block);
	ltz__granules_claim(mem, &mem->lane[LANE_FIRST], 2);
	crash_begin();
	scene_set(mem, 5, A_NUMBER(55));
	crash_end();
}

void bury_replacer(struct scene *scene)
{
	if (!crash_bury(die_replacing, scene, (struct last_step){ (uint64_t)ltz__block_retire, 1, "store.replaced" }))
		scene_wrong(scene, "the dead member did not come to its end");
	scene->now[OF_DEAD] = A_NUMBER(42);
	scene->now[5] = A_NUMBER(55);
}

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

static void bury_resizer(struct scene *scene)
{
	/* the root has two tables, one bucket is migrated */
	if (!crash_bury(die_resizing, scene, (struct last_step){ (uint64_t)ltz__migrate, 2, "store.bucket_born" }))
		scene_wrong(scene, "the dead member did not come to its end");
}

static int64_t adopt(struct scene *scene, struct ltz_mem **mem)
{
	(void)scene;
	return ltz__adopt_dead(*mem) == 1 ? 0 : -1;
}

/* ---- all of them -------------------------------------------------------------------------------- */

const struct operation operations[] = {
	{ "insert", 3, 6, .every_stop = true, .setup = aim_insert, .prepare = own_slab, .run = set_key, .late = LATE_AFTER },
	{ "replace", 3, 6, .every_stop = true, .setup = aim_replace, .prepare = own_slab, .run = set_key, .late = LATE_AFTER },
	{ "replace own", 3, 6, .setup = aim_replace_own, .prepare = own_slab, .run = set_key, .late = LATE_AFTER },
	{ "delete", 3, 6, .every_stop = true, .setup = aim_delete, .prepare = own_slab, .run = delete_key, .late = LATE_AFTER },
	{ "delete own", 3, 6, .setup = aim_delete_own, .prepare = own_slab, .run = delete_key, .late = LATE_AFTER },
	{ "increment", 3, 6, .every_stop = true, .setup = aim_add, .prepare = own_slab, .run = add_key, .late = LATE_ADD },
	{ "set expiry", 3, 6, .setup = aim_expiry, .prepare = own_slab, .run = expire_key, .late = LATE_EXPIRES, .expires = true },
	{ "append line", 1, 0, .setup = fill_bucket, .prepare = bare_slab, .run = set_key, .late = LATE_AFTER },
	{ "first block", 3, 6, .setup = punch_all, .run = set_key, .late = LATE_AFTER },
	{ "publish 1 MiB", 3, 6, .setup = aim_blob, .run = set_key, .late = LATE_AFTER },
	{ "replace 1 MiB", 3, 6, .setup = aim_blob_away, .run = set_key, .late = LATE_AFTER },
	{ "no memory", 3, 6, .kill_only = true, .size_mib = 2, .setup = fill_pool, .run = find_no_room },
	{ "sweep", 3, 6, .setup = aim_expired, .prepare = two_hours_later, .run = sweep, .expires = true },
	{ "migrate", 1, 9, .setup = begin_resize_aim, .prepare = bare_slab, .run = set_key, .late = LATE_AFTER },
	{ "grow inline", 1, 9, .run = resize_inline },
	{ "grow by tick", 1, 12, .lengthy = true, .run = grow_by_tick },
	{ "renew by tick", 1, 12, .lengthy = true, .setup = leave_few, .run = renew_by_tick },
	{ "shrink by tick", 1, 3, .lengthy = true, .setup = grow_twice, .prepare = bare_slab, .run = delete_and_shrink, .late = LATE_AFTER },
	{ "tend tables", 1, 6, .prepare = resize_twice, .run = tend_tables },
	{ "reclaim", 3, 6, .prepare = retire_own, .run = reclaim },
	{ "punch", 3, 6, .run = punch },
	{ "idle ticks", 3, 6, .lengthy = true, .prepare = retire_own, .run = idle_ticks },
	{ "join", 3, 6, .joins = true, .run = join },
	{ "join first", 1, 0, .alone = true, .joins = true, .run = join },
	{ "leave", 3, 6, .setup = expect_own, .prepare = own_slab, .run = leave },
	{ "adopt", 3, 6, .setup = bury_replacer, .run = adopt },
	{ "adopt resizer", 1, 9, .setup = bury_resizer, .run = adopt },
};
const unsigned operation_count = sizeof(operations) / sizeof(operations[0]);
