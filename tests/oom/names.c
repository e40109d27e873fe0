/* SPDX-License-Identifier: MIT */
/*
 * names.c - the calls that join, leave, ask and end: another process holds the
 * pool, or nobody does.
 *
 * A name may be left over where its removal failed; the next call removes it.
 */
#include <sys/socket.h>
#include <sys/un.h>

#include "../proc/proc.h"
#include "sweep.h"
#include "tables.h"

#define NAME "oom"

struct scene {
	const char *dir;
	struct ltz_open_options options;
	struct role role;  /* holds the pool, if anybody does */
	ltz_pool *pool;    /* what the act has opened         */
	ltz_pool *first;   /* a handle from before            */
	int fds[LTZ_EXPORT_FDS]; /* for import                */
	unsigned listed, answered;
};

static struct scene scene_in(const char *dir)
{
	struct scene scene = { .dir = dir, .options = options_in(dir) };

	scene.options.max_size_bytes = 8 << 20;
	return scene;
}

static int count_pool(void *context, const struct ltz_pool_info *info)
{
	struct scene *scene = context;

	scene->listed++;
	scene->answered += info->answered;
	return 0;
}

static int list(struct scene *scene)
{
	scene->listed = scene->answered = 0;
	return ltz_list(scene->dir, count_pool, scene);
}

/* ---- before ------------------------------------------------------------------------------ */

static void nothing_before(void *context)
{
	((struct scene *)context)->pool = NULL;
}

static void stale_before(void *context)
{
	struct scene *scene = context;

	scene->pool = NULL;
	leave_stale_name(scene->dir, NAME);
}

static void joined_before(void *context)
{
	struct scene *scene = context;

	scene->pool = NULL;
	ASSERT_OK(ltz_connect(NAME, &scene->options, &scene->first));
}

static void connected_before(void *context)
{
	struct scene *scene = context;

	ASSERT_OK(ltz_connect(NAME, &scene->options, &scene->pool));
}

static void created_before(void *context)
{
	struct scene *scene = context;

	ASSERT_OK(ltz_create(NAME, &scene->options, &scene->pool));
}

static void role_creates_before(void *context)
{
	struct scene *scene = context;

	ASSERT_EQ_INT(role_ask(&scene->role, "create " NAME " 8"), 0);
	ASSERT_EQ_INT(role_ask(&scene->role, "set k 1"), 0);
}

static void handed_over_before(void *context)
{
	struct scene *scene = context;
	joined_before(scene);
	ASSERT_OK(ltz_export(scene->first, scene->fds));
}

static void handed_over_alone_before(void *context)
{
	struct scene *scene = context;

	handed_over_before(scene);
	ltz_close(scene->first);
	scene->first = NULL;
}

/* ---- the calls ----------------------------------------------------------------------------- */

static int create(void *context)
{
	struct scene *scene = context;

	return ltz_create(NAME, &scene->options, &scene->pool);
}

static int connect_by_name(void *context)
{
	struct scene *scene = context;

	return ltz_connect(NAME, &scene->options, &scene->pool);
}

static int connect_reading(void *context)
{
	struct scene *scene = context;
	struct ltz_open_options options = scene->options;

	options.flags = LTZ_READONLY;
	return ltz_connect(NAME, &options, &scene->pool);
}

static int import(void *context)
{
	struct scene *scene = context;

	return ltz_import(NAME, scene->fds, &scene->options, &scene->pool);
}

static int import_reading(void *context)
{
	struct scene *scene = context;
	struct ltz_open_options options = scene->options;

	options.flags = LTZ_READONLY;
	return ltz_import(NAME, scene->fds, &options, &scene->pool);
}

static int close_it(void *context)
{
	ltz_close(((struct scene *)context)->pool);
	return 0;
}

static int exists(void *context)
{
	return ltz_exists(NAME, ((struct scene *)context)->dir);
}

static int list_all(void *context)
{
	return list(context);
}

static int destroy(void *context)
{
	struct scene *scene = context;

	return ltz_destroy(NAME, &scene->options);
}

/* ---- after ------------------------------------------------------------------------------------- */

/* Whatever names are left are gone after a list; `pools` names are listed. */
static void expect_names(struct scene *scene, unsigned pools)
{
	sweep_expect("the next ltz_list's result", list(scene), 0);
	sweep_expect("the number of pools listed", scene->listed, pools);
	sweep_expect("the number of names", count_entries(scene->dir), pools);
}

/* A handle that was given can be used; what was there before is still there. */
static void use_and_close(struct scene *scene, int result, unsigned pools)
{
	int64_t number = 0;

	if (result == 0) {
		if (pools > 0)
			sweep_expect("ltz_get's result", get_number(scene->pool, "k", &number), 0);
		if ((ltz_flags(scene->pool) & LTZ_READONLY) == 0) {
			sweep_expect("ltz_set's result", set_number(scene->pool, "own", 1), 0);
			sweep_expect("ltz_check's result", ltz_check(scene->pool, note_breach, NULL), 0);
		}
		ltz_close(scene->pool);
	}
	if (scene->first != NULL) {
		sweep_expect("ltz_get's result by the first handle", get_number(scene->first, "k", &number), 0);
		ltz_close(scene->first);
		scene->first = NULL;
	}
	expect_names(scene, pools);
	if (pools > 0)
		sweep_expect("ltz_set's result in the other process", role_ask(&scene->role, "set k 1"), 0);
}

static void nobody_after(void *context, int result)
{
	use_and_close(context, result, 0);
}

static void role_after(void *context, int result)
{
	use_and_close(context, result, 1);
}

static void no_name_after(void *context, int result)
{
	(void)result;
	expect_names(context, 0);
}

static void one_name_after(void *context, int result)
{
	(void)result;
	expect_names(context, 1);
}

static void listed_after(void *context, int result)
{
	struct scene *scene = context;

	if (result == 0) {
		sweep_expect("the number of pools listed", scene->listed, 1);
		sweep_expect("the number of pools that answered", scene->answered, 1);
	}
	expect_names(scene, 1);
}

/* Destroyed, and the name free; or nothing happened. */
static void destroyed_after(void *context, int result)
{
	struct scene *scene = context;

	sweep_expect("ltz_set's result in the other process", role_ask(&scene->role, "set k 2"), result == 0 ? -ESHUTDOWN : 0);
	sweep_expect("ltz_exists afterwards", ltz_exists(NAME, scene->dir), result == 0 ? -ENOENT : 0);
	sweep_expect("ltz_close in the other process", role_ask(&scene->role, "close"), 0);
	expect_names(scene, 0);
}

/* ---- the sweeps ---------------------------------------------------------------------------------- */

struct name_case {
	const char *function, *state;
	int (*act)(void *scene);
	void (*before)(void *scene);
	void (*after)(void *scene, int result);
	int expected;
	unsigned most; /* n goes up to it; 0: up to the last call */
};

static const struct name_case nobody[] = {
	{ "ltz_create", "", create, nothing_before, nobody_after, 0, 0 },
	{ "ltz_create", "a stale name", create, stale_before, nobody_after, 0, 40 },
	{ "ltz_connect", "nobody holds it", connect_by_name, nothing_before, nobody_after, -ENOENT, 0 },
	{ "ltz_connect", "a stale name", connect_by_name, stale_before, nobody_after, -ENOENT, 0 },
	{ "ltz_close", "the last handle", close_it, created_before, no_name_after, 0, 0 },
	{ "ltz_exists", "nobody holds it", exists, nothing_before, no_name_after, -ENOENT, 0 },
	{ "ltz_exists", "a stale name", exists, stale_before, no_name_after, -ENOENT, 0 },
	{ "ltz_list", "a stale name", list_all, stale_before, no_name_after, 0, 0 },
	{ "ltz_destroy", "nobody holds it", destroy, nothing_before, no_name_after, -ENOENT, 0 },
	{ "ltz_destroy", "a stale name", destroy, stale_before, no_name_after, -ENOENT, 0 },
};

static const struct name_case somebody[] = {
	{ "ltz_create", "another process holds it", create, nothing_before, role_after, -EEXIST, 0 },
	{ "ltz_create", "this process holds it", create, joined_before, role_after, -EEXIST, 0 },
	{ "ltz_connect", "", connect_by_name, nothing_before, role_after, 0, 0 },
	{ "ltz_connect", "read-only", connect_reading, nothing_before, role_after, 0, 0 },
	{ "ltz_connect", "again", connect_by_name, joined_before, role_after, 0, 0 },
	{ "ltz_connect", "again, read-only", connect_reading, joined_before, role_after, 0, 0 },
	{ "ltz_import", "", import, handed_over_alone_before, role_after, 0, 0 },
	{ "ltz_import", "read-only", import_reading, handed_over_alone_before, role_after, 0, 0 },
	{ "ltz_import", "known already", import, handed_over_before, role_after, 0, 0 },
	{ "ltz_close", "not the last member", close_it, connected_before, one_name_after, 0, 0 },
	{ "ltz_exists", "another process holds it", exists, nothing_before, one_name_after, 0, 0 },
	{ "ltz_list", "another process holds it", list_all, nothing_before, listed_after, 0, 0 },
};

static const struct name_case ending = {
	"ltz_destroy", "another process holds it", destroy, role_creates_before, destroyed_after, 0, 0,
};

static void sweep_names(struct scene *scene, const struct name_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct sweep sweep = {
			.function = cases[i].function, .state = cases[i].state, .expected = cases[i].expected,
			.before = cases[i].before, .act = cases[i].act, .after = cases[i].after,
			.scene = scene, .scope = LTZ_FAULT_THREAD, .most = cases[i].most,
		};

		sweep_run(&sweep);
	}
}

void sweep_names_of_nobody(void)
{
	struct scene scene = scene_in(test_directory());

	sweep_names(&scene, nobody, sizeof nobody / sizeof nobody[0]);
}

/* Afterwards the pool of the other process is as it was: whoever came in and failed has left nothing. */
void sweep_names_of_somebody(void)
{
	struct scene scene = scene_in(test_directory());
	int64_t granules;

	role_start(&scene.role, scene.dir);
	role_creates_before(&scene);
	granules = role_value(&scene.role, "used");
	sweep_names(&scene, somebody, sizeof somebody / sizeof somebody[0]);
	POLL_UNTIL(role_value(&scene.role, "members") == 1);
	ASSERT_EQ_INT(role_ask(&scene.role, "clear"), 0);
	POLL_UNTIL(role_value(&scene.role, "used") <= granules);
	EXPECT_EQ_INT(role_value(&scene.role, "check"), 0);
	ASSERT_EQ_INT(role_ask(&scene.role, "close"), 0);
	sweep_names(&scene, &ending, 1);
	role_end(&scene.role);
}

