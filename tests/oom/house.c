/* SPDX-License-Identifier: MIT */
/*
 * house.c - housekeeping: whatever of it fails is done by a later tick.
 *
 * Members of the memory alone, without a service thread: what a tick does,
 * and at which time, is up to the test.
 */
#include "../stress/pools.h"
#include "emptied.h"
#include "store/resize.h"
#include "sweep.h"
#include "tables.h"

#define HOUSE "housekeeping"

struct scene {
	const struct house_case *now;
	struct ltz_mem *mem;
	uint64_t numbers;  /* keys 0 .. numbers - 1, each with itself as its value */
	uint64_t pages;    /* see emptied_expect                                   */
	unsigned row;      /* of the dead member                                    */
};

struct house_case {
	const char *state;
	void (*prepare)(struct scene *scene);
	void (*act)(struct scene *scene);
	void (*look)(struct scene *scene); /* after some more ticks */
	unsigned size_mib, log2;
};

static const uint8_t large[60000];

static void put_numbers(struct ltz_mem *mem, uint64_t from, uint64_t to)
{
	for (uint64_t i = from; i < to; i++)
		ASSERT_EQ_INT(put_number(mem, i, &i, 8), 0);
}

static uint64_t backed_granules(const struct ltz_mem *mem)
{
	struct ltz_granule_counts counts = pool_counts(mem);

	return counts.free + counts.claimed + counts.slab + counts.run + counts.table;
}

/* ---- acts ------------------------------------------------------------------------------------ */

static void tick(struct scene *scene)
{
	ltz__tick(scene->mem);
}

static void tick_later(struct scene *scene)
{
	emptied_tick(scene->mem, 1);
}

/* As often as it wants to go on. */
static void tick_on(struct scene *scene)
{
	for (unsigned i = 0; i < 100 && ltz__tick(scene->mem) == 0; i++)
		;
}

static void tick_later_and_on(struct scene *scene)
{
	emptied_tick(scene->mem, 1);
	tick_on(scene);
}

/* ---- memory ------------------------------------------------------------------------------------ */

static void look_ahead(struct scene *scene)
{
	if (pool_counts(scene->mem).free < 16)
		sweep_wrong("no memory is ready ahead of need");
}

/* What was ready is used up twice: then more is made ready, in several steps. */
static void grow_appetite(struct scene *scene)
{
	for (unsigned i = 0; i < 2; i++) {
		ltz__tick(scene->mem);
		ltz__granules_punch(scene->mem, &scene->mem->lane[LANE_SERVICE], 0, UINT64_MAX);
	}
}

static void drop_large(struct scene *scene)
{
	for (uint64_t blob = 1000; drop_number(scene->mem, blob) == 0; blob++)
		;
}

static void use_much_once(struct scene *scene)
{
	for (uint64_t blob = 1000; blob < 1200; blob++)
		ASSERT_EQ_INT(put_number(scene->mem, blob, large, sizeof large), 0);
	drop_large(scene);
	emptied_tick(scene->mem, 1); /* reclaimed; free for 11 seconds when the act begins */
}

static void look_given_back(struct scene *scene)
{
	emptied_tick(scene->mem, 2);
	if (backed_granules(scene->mem) > 80)
		sweep_wrong("%d granules still have memory", (int)backed_granules(scene->mem));
}

/* A reader that stopped before a granule was punched has touched it since. */
static void touch_virgin(struct scene *scene)
{
	struct ltz_mem *mem = scene->mem;
	uint64_t g = 0;

	emptied_tick(mem, 1);
	while (owner_load(mem, g) != OWNER_VIRGIN)
		g++;
	*(volatile uint8_t *)at_granule(mem, g);
	raise_acq_rel(&mem->header->granules_high, g + 1);
}

/* ---- the index ------------------------------------------------------------------------------------ */

static void want_growth(struct scene *scene)
{
	struct ltz_root root;

	do {
		put_numbers(scene->mem, scene->numbers, scene->numbers + 100);
		scene->numbers += 100;
		ASSERT_EQ_INT(ltz__root_read(scene->mem, &root), 0);
	} while (!ltz__resize_wanted(&root));
}

static void look_grown(struct scene *scene)
{
	sweep_expect("the size of the index", pool_table(scene->mem).log2, scene->now->log2 + 1);
}

static void begin_growth(struct ltz_mem *mem)
{
	struct ltz_root root;

	ASSERT_EQ_INT(ltz__table_enter(mem, my_lane(mem), &root), 0);
	ASSERT_EQ_INT(ltz__resize_begin(mem, my_lane(mem), &root, root.cur.log2 + 1), 0);
}

static void growing(struct scene *scene)
{
	want_growth(scene);
	begin_growth(scene->mem);
}

static void want_shrinking(struct scene *scene)
{
	want_growth(scene);
	tick_on(scene);
	while (scene->numbers > 20)
		ASSERT_EQ_INT(drop_number(scene->mem, --scene->numbers), 0);
}

static void look_shrunk(struct scene *scene)
{
	sweep_expect("the size of the index", pool_table(scene->mem).log2, scene->now->log2);
}

/* ---- keys that expire -------------------------------------------------------------------------------- */

static void with_mortals(struct scene *scene)
{
	put_numbers(scene->mem, 0, scene->numbers = 20);
	for (uint64_t i = 1000; i < 1100; i++) {
		struct ltz_hkey key = key_of_number(scene->mem, &i);
		ASSERT_EQ_INT(put_ttl(scene->mem, &key, &i, 8, 1000), 0);
	}
}

/* ---- the dead -------------------------------------------------------------------------------------------- */

static struct ltz_mem *mortal_member(struct scene *scene)
{
	struct ltz_mem *mem = pool_join_again(scene->mem);

	scene->row = mem->row_index;
	return mem;
}

/* Who dies holds keys, a block of its own, and an extent that is nothing yet. */
static void with_dead(struct scene *scene)
{
	struct ltz_mem *dead = mortal_member(scene);
	struct ltz_block block;

	put_numbers(dead, 0, scene->numbers = 500);
	ASSERT_OK(ltz__block_alloc(dead, my_lane(dead), 500, false, &block));
	ASSERT_OK(ltz__granules_claim(dead, my_lane(dead), 3));
	pool_leave(dead);
}

/* More extents than a lane's list has places. */
static void with_rich_dead(struct scene *scene)
{
	struct ltz_mem *dead = mortal_member(scene);

	put_numbers(dead, 0, scene->numbers = 20);
	for (uint64_t blob = 1000; blob < 1100; blob++)
		ASSERT_EQ_INT(put_number(dead, blob, large, sizeof large), 0);
	pool_leave(dead);
	ltz__tick(scene->mem); /* memory is ready; nobody is looked for yet */
}

static void with_dead_resizer(struct scene *scene)
{
	struct ltz_mem *dead = mortal_member(scene);

	want_growth(scene);
	begin_growth(dead);
	pool_leave(dead);
}

static void with_dead_sweeper(struct scene *scene)
{
	with_mortals(scene);
	pool_leave(mortal_member(scene));
}

static void settle_row(struct scene *scene)
{
	ltz__settle_row(scene->mem, scene->row);
}

static void look_recovered(struct scene *scene)
{
	sweep_expect("the number of members recovered", (int64_t)load_relaxed(&scene->mem->header->recovered), 1);
}

static void look_recovered_and_drop(struct scene *scene)
{
	look_recovered(scene);
	drop_large(scene);
}

static void look_recovered_and_grown(struct scene *scene)
{
	look_recovered(scene);
	look_grown(scene);
}

/* ---- views -------------------------------------------------------------------------------------------------- */

/* So many hazards that a scan's first room for them is too small; none is of a block that is there. */
static void with_views(struct scene *scene)
{
	struct ltz_mem *mem = scene->mem;

	store_release(&mem->row->views_used, SHM_VIEWS);
	for (unsigned v = 0; v < SHM_VIEWS; v++)
		store_release(&mem->row->view[v], mem->units - 1 - v);
	store_release(&mem->row->lane[LANE_SERVICE].hr, mem->units - 100);
	put_numbers(mem, 0, 500);
	while (scene->numbers < 400)
		ASSERT_EQ_INT(drop_number(mem, 100 + scene->numbers++), 0);
	scene->numbers = 100;
}

static void end_views(struct scene *scene)
{
	for (unsigned v = 0; v < SHM_VIEWS; v++)
		store_release(&scene->mem->row->view[v], 0);
	store_release(&scene->mem->row->lane[LANE_SERVICE].hr, 0);
}

/* ---- a life ----------------------------------------------------------------------------------------------------- */

static void note_line(void *context, const char *line)
{
	(void)context;
	sweep_wrong("ltz__check: %s", line);
}

static void expect_whole(struct scene *scene, struct ltz_mem *mem)
{
	sweep_expect("ltz__check's result", ltz__check(mem, note_line, NULL), 0);
	for (uint64_t i = 0; i < scene->numbers; i++) {
		uint64_t value = UINT64_MAX;

		if (get_number(mem, i, &value, 8, NULL) != 0 || value != i) {
			sweep_wrong("number %d is lost", (int)i);
			return;
		}
	}
	sweep_expect("the number of keys", (int64_t)ltz__map_count(mem), (int64_t)scene->numbers);
}

static void before(void *context)
{
	struct scene *scene = context;

	scene->numbers = 0;
	ltz__lane_hint = LANE_FIRST;
	scene->mem = pool_new((scene->now->size_mib != 0 ? scene->now->size_mib : 16) * MIB, scene->now->log2);
	emptied_prepare(scene->mem);
	if (scene->now->prepare == NULL)
		return;
	ltz__tick(scene->mem); /* some memory is ready */
	scene->now->prepare(scene);
}

static int act(void *context)
{
	struct scene *scene = context;

	scene->now->act(scene);
	return 0;
}

static void after(void *context, int result)
{
	struct scene *scene = context;
	struct ltz_mem *other;

	(void)result;
	tick_on(scene);
	tick_later_and_on(scene);
	if (scene->now->look != NULL)
		scene->now->look(scene);
	expect_whole(scene, scene->mem);
	other = pool_join_again(scene->mem);
	expect_whole(scene, other);
	sweep_expect("another member's set", put_text(other, "other", "there"), 0);
	if (strcmp(text_at(scene->mem, "other"), "there") != 0)
		sweep_wrong("what another member has set is not there");
	pool_leave(other);
	sweep_expect("clear", ltz__map_clear(scene->mem, NULL), 0);
	emptied_expect(scene->mem, &scene->pages);
	pool_leave(scene->mem);
}

static const struct house_case cases[] = {
	{ "a new pool", NULL, tick, look_ahead, 0, 0 },
	{ "a pool that is filled fast", grow_appetite, tick, look_ahead, 0, 0 },
	{ "memory that is not needed any more", use_much_once, tick_later, look_given_back, 64, 0 },
	{ "a page behind a virgin granule", touch_virgin, tick_later, NULL, 0, 0 },
	{ "an index that is too small", want_growth, tick_on, look_grown, 0, 6 },
	{ "an index that is growing", growing, tick_on, look_grown, 0, 6 },
	{ "an index that is too large", want_shrinking, tick_later_and_on, look_shrunk, 0, 6 },
	{ "keys past their time", with_mortals, tick_later, NULL, 0, 0 },
	{ "a dead member", with_dead, tick_later, look_recovered, 0, 0 },
	{ "a dead member, seen by its pidfd", with_dead, settle_row, look_recovered, 0, 0 },
	{ "a dead member with many extents", with_rich_dead, tick_later, look_recovered_and_drop, 32, 0 },
	{ "a dead member that was resizing", with_dead_resizer, tick_later, look_recovered_and_grown, 0, 6 },
	{ "a dead member and keys past their time", with_dead_sweeper, tick_later, look_recovered, 0, 0 },
	{ "many views", with_views, tick_later, end_views, 0, 0 },
};

void sweep_housekeeping(void)
{
	struct scene scene = { .now = cases };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		const struct sweep sweep = {
			.function = HOUSE, .state = cases[i].state, .before = before, .act = act, .after = after,
			.scene = &scene, .scope = LTZ_FAULT_THREAD,
		};

		scene.now = &cases[i];
		scene.pages = 0;
		sweep_run(&sweep);
	}
}

/* ---- a destroyed pool ------------------------------------------------------------------------------------------- */

static void before_burial(void *context)
{
	struct scene *scene = context;

	scene->mem = pool_new(16 * MIB, 0);
	put_numbers(scene->mem, 0, 20000);
	ltz__mem_destroy(scene->mem);
	emptied_tick(scene->mem, 1);
}

static int bury(void *context)
{
	tick_later(context);
	return 0;
}

static void after_burial(void *context, int result)
{
	struct scene *scene = context;

	(void)result;
	emptied_tick(scene->mem, 2);
	if (pool_backed_bytes(scene->mem) > MIB)
		sweep_wrong("a destroyed pool keeps %d KiB", (int)(pool_backed_bytes(scene->mem) / KIB));
	pool_leave(scene->mem);
}

void sweep_burial(void)
{
	struct scene scene = { .now = NULL };
	const struct sweep sweep = {
		.function = HOUSE, .state = "a destroyed pool", .before = before_burial, .act = bury, .after = after_burial,
		.scene = &scene, .scope = LTZ_FAULT_THREAD,
	};

	sweep_run(&sweep);
}
