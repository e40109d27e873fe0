/* SPDX-License-Identifier: MIT */
/*
 * service.c - the service thread's own calls fail, while this thread makes
 * none and waits for what the other is to do. It gets done all the same.
 */
#include "pool/registry.h"
#include "shm/granule.h"
#include "stage.h"
#include "store/resize.h"
#include "store/table.h"
#include "tables.h"

#define N_MOST 24 /* calls of the thread: what it waits for is over by then, or comes again */

/* ---- a joiner, a larger index, more memory, a death ------------------------------------------- */

static int let_in(struct stage *stage)
{
	int result = role_ask(stage->role, "connect oom 0");

	return result != 0 ? result : role_ask(stage->role, "close");
}

static void want_growth(struct stage *stage)
{
	struct ltz_root root;

	do {
		ASSERT_EQ_INT(other_set(stage->pool, stage->others), 0);
		stage->others++;
		ASSERT_EQ_INT(ltz__root_read(stage->mem, &root), 0);
	} while (!ltz__resize_wanted(&root));
}

static int await_growth(struct stage *stage)
{
	uint64_t root;

	do {
		root = load_acquire(&stage->mem->header->root);
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL); /* tidy-ok: polls; the test's limit ends it */
	} while (root_prev(root) != 0 || root_cur_log2(root) <= stage->mem->geometry.table_log2);
	return 0;
}

static int await_memory(struct stage *stage)
{
	struct ltz_granule_counts counts;

	do {
		ltz__granules_count(stage->mem, &counts);
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL); /* tidy-ok: polls; the test's limit ends it */
	} while (counts.free < 16);
	return 0;
}

static struct role mortal;

static void with_another(struct stage *stage)
{
	role_start(&mortal, stage->dir);
	stage_work();
	ASSERT_EQ_INT(role_ask(&mortal, "connect oom 0"), 0);
	ASSERT_EQ_INT(role_ask(&mortal, "set k 7"), 0);
	stage_rest();
}

static int await_settlement(struct stage *stage)
{
	role_kill(&mortal);
	while (load_relaxed(&stage->mem->header->recovered) == 0)
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL); /* tidy-ok: polls; the test's limit ends it */
	return 0;
}

static const struct stage_case cases[] = {
	{ "the service thread", "lets another process in", let_in, .most = N_MOST },
	{ "the service thread", "makes the index larger", await_growth, .prepare = want_growth, .most = N_MOST },
	{ "the service thread", "has memory ready", await_memory, .prepare = none_free, .most = N_MOST },
	{ "the service thread", "settles the dead", await_settlement, .prepare = with_another, .new = A_NUMBER(7), .most = N_MOST },
};

const struct stage_case *const service_cases = cases;
const size_t service_case_count = sizeof cases / sizeof cases[0];

/* ---- a pool that another process destroys --------------------------------------------------------- */

struct scene {
	struct ltz_open_options options;
	struct role role;
	ltz_pool *pool;
};

static void before(void *context)
{
	struct scene *scene = context;

	ASSERT_OK(ltz_create("oom", &scene->options, &scene->pool));
}

static int let_go(void *context)
{
	struct scene *scene = context;

	int result = role_ask(&scene->role, "destroy oom");

	sweep_expect("another process' ltz_destroy", result, 0);
	while (result == 0 && ltz__service_listener(&scene->pool->membership->served) >= 0)
		nanosleep(&(struct timespec){ .tv_nsec = 200000 }, NULL); /* tidy-ok: polls; the test's limit ends it */
	return 0;
}

static int ignore_pool(void *context, const struct ltz_pool_info *info)
{
	(void)context, (void)info;
	return 0;
}

static void after(void *context, int result)
{
	struct scene *scene = context;

	(void)result;
	sweep_expect("ltz_set's result", set_number(scene->pool, "k", 1), -ESHUTDOWN);
	ltz_close(scene->pool);
	sweep_expect("ltz_list's result", ltz_list(scene->options.dir, ignore_pool, NULL), 0);
	sweep_expect("the number of names", count_entries(scene->options.dir), 0);
}

void sweep_end_by_another(void)
{
	struct scene scene = { .options = options_in(test_directory()) };
	const struct sweep sweep = {
		.function = "the service thread", .state = "lets go of a destroyed pool", .before = before, .act = let_go,
		.after = after, .scene = &scene, .scope = LTZ_FAULT_PROCESS, .most = N_MOST,
	};

	scene.options.max_size_bytes = 8 << 20;
	role_start(&scene.role, scene.options.dir);
	role_ask(&scene.role, "exists oom"); /* the streams have their buffers from now on */
	sweep_run(&sweep);
	role_end(&scene.role);
}
