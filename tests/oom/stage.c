/* SPDX-License-Identifier: MIT */
/* stage.c - a pool's life around one piece of work. See stage.h. */
#include "stage.h"

#include "emptied.h"
#include "pool/registry.h"
#include "pool/service.h"
#include "shm/granule.h"
#include "shm/lane.h"
#include "store/map.h"
#include "store/tick.h"

#define NAME "oom"

/* ---- contents --------------------------------------------------------------------------- */

static uint8_t blob[BYTES_MAX], got[BYTES_MAX];

static ltz_value value_of(struct content content)
{
	if (content.kind == NUMBER) {
		memcpy(blob, &content.number, 8);
		return (ltz_value){ blob, 8, LTZ_INT64 };
	}
	memset(blob, (int)content.number, content.size);
	return (ltz_value){ blob, content.size, LTZ_BYTES };
}

int content_set(ltz_pool *pool, const char *name, struct content content, const struct ltz_set_options *options)
{
	const struct ltz_set_options mortal = { .ttl_ms = HOUR_MS };
	const ltz_key key = key_of(name);
	const ltz_value value = value_of(content);

	return ltz_set(pool, &key, &value, options == NULL && content.mortal ? &mortal : options, NULL);
}

bool content_is(ltz_pool *pool, const char *name, struct content content)
{
	const ltz_key key = key_of(name);
	ltz_value value;
	ltz_item item;
	int result = ltz_get(pool, &key, got, sizeof got, &item);

	if (content.kind == ABSENT)
		return result == LTZ_NOT_FOUND;
	value = value_of(content);
	return result == 0 && item.size == value.size && item.type == value.type &&
	       memcmp(got, blob, item.size) == 0 && (item.ttl_ms >= 0) == content.mortal;
}

static ltz_key number_key(const uint64_t *number)
{
	return (ltz_key){ .data = number, .size = sizeof *number, .type = LTZ_KEY_INT };
}

int other_set(ltz_pool *pool, uint64_t number)
{
	const ltz_key key = number_key(&number);
	const ltz_value value = { .data = &number, .size = 8, .type = LTZ_INT64 };

	return ltz_set(pool, &key, &value, NULL, NULL);
}

int blob_set(struct stage *stage, uint64_t number, uint64_t size)
{
	char name[24];

	snprintf(name, sizeof name, "B%" PRIu64, number);
	return content_set(stage->pool, name, SOME_BYTES(size), NULL);
}

int blob_delete(struct stage *stage, uint64_t number)
{
	char name[24];

	snprintf(name, sizeof name, "B%" PRIu64, number);
	const ltz_key key = key_of(name);
	return ltz_delete(stage->pool, &key, 0);
}

void none_free(struct stage *stage)
{
	ltz__granules_punch(stage->mem, &stage->mem->lane[LANE_SERVICE], 0, UINT64_MAX);
}

/* ---- the service thread, and what it does ------------------------------------------------------- */

void stage_rest(void)
{
	ASSERT_OK(ltz__registry_enter());
	ltz__service_stop();
	ltz__registry_leave();
}

void stage_work(void)
{
	ASSERT_OK(ltz__registry_enter());
	ASSERT_OK(ltz__service_resume());
	ltz__registry_leave();
}

/* ---- before ------------------------------------------------------------------------------------- */

static void open_stage(void *scene)
{
	struct stage *stage = scene;
	unsigned size_mib = stage->now->size_mib != 0 ? stage->now->size_mib : 8;
	struct ltz_open_options options = options_in(stage->dir);

	options.max_size_bytes = size_mib * MIB;
	ltz__lane_hint = LANE_FIRST;
	stage->others = stage->blobs = 0;
	ASSERT_OK(ltz_create(NAME, &options, &stage->pool));
	stage->mem = stage->pool->mem;
	stage_rest();
	ltz__tick(stage->mem); /* the thread may have come to its first, or not */
	emptied_prepare(stage->mem);
	if (stage->now->old.kind != ABSENT)
		ASSERT_EQ_INT(content_set(stage->pool, "k", stage->now->old, NULL), 0);
	if (stage->now->prepare != NULL)
		stage->now->prepare(stage);
	if (stage->served)
		stage_work();
}

static int act_on_stage(void *scene)
{
	struct stage *stage = scene;

	return stage->now->act(stage);
}

/* ---- after: what is in the pool -------------------------------------------------------------------- */

static void note_finding(void *context, const char *line)
{
	(void)context;
	sweep_wrong("ltz_check: %s", line);
}

static void expect_whole(struct stage *stage)
{
	sweep_expect("ltz_check's result", ltz_check(stage->pool, note_finding, NULL), 0);
}

static bool others_are_there(ltz_pool *pool, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		const ltz_key key = number_key(&i);
		uint64_t number = UINT64_MAX;

		if (ltz_get(pool, &key, &number, sizeof number, NULL) != 0 || number != i)
			return false;
	}
	return true;
}

static bool blobs_are_there(const struct stage *stage, ltz_pool *pool)
{
	for (uint64_t i = 0; i < stage->blobs; i++) {
		char name[24];

		snprintf(name, sizeof name, "B%" PRIu64, i);
		if (!content_is(pool, name, SOME_BYTES(stage->blob_size)))
			return false;
	}
	return true;
}

/* Old or new, by the result, and nothing else is lost or there. */
static void expect_contents(struct stage *stage, ltz_pool *pool, struct content content)
{
	uint64_t count = 0;

	if (!content_is(pool, "k", content))
		sweep_wrong("\"k\" has not the content that goes with the result");
	if (!others_are_there(pool, stage->others) || !blobs_are_there(stage, pool))
		sweep_wrong("another key is lost");
	sweep_expect("ltz_count's result", ltz_count(pool, &count), 0);
	sweep_expect("the number of keys", (int64_t)count,
	             (int64_t)(stage->others + stage->blobs + (content.kind != ABSENT)));
}

/* ---- after: it can be used ------------------------------------------------------------------------- */

static void expect_usable(ltz_pool *pool, const char *by)
{
	const ltz_key key = key_of("use");

	if (content_set(pool, "use", A_NUMBER(1), NULL) != 0 || !content_is(pool, "use", A_NUMBER(1)) ||
	    ltz_delete(pool, &key, 0) != 0 || !content_is(pool, "use", (struct content){ ABSENT }))
		sweep_wrong("the pool cannot be used by %s", by);
}

/* Somebody new can join, finds the same, and can leave. */
static void expect_joinable(struct stage *stage, struct content content, bool full)
{
	const struct ltz_mem_options options = { 0 };
	struct ltz_pool other = { .mem = NULL };
	int result = ltz__map_attach(ltz__mem_fd(stage->mem), &options, &other.mem);

	if (result < 0) {
		sweep_wrong("nobody can join: %d", result);
		return;
	}
	expect_contents(stage, &other, content);
	if (!full)
		expect_usable(&other, "another member");
	ltz__map_detach(other.mem);
}

static void expect_other_process(struct stage *stage, bool full)
{
	stage_work();
	sweep_expect("another process' ltz_connect", role_ask(stage->role, "connect " NAME " 0"), 0);
	if (!full) {
		sweep_expect("another process' ltz_set", role_ask(stage->role, "set role 7"), 0);
		if (!content_is(stage->pool, "role", A_NUMBER(7)))
			sweep_wrong("what another process has set is not there");
	}
	sweep_expect("another process' ltz_close", role_ask(stage->role, "close"), 0);
	stage_rest();
}

static void close_stage(void *scene, int result)
{
	struct stage *stage = scene;
	const struct stage_case *now = stage->now;
	struct content content = result == 0 ? now->new : now->old;
	bool full = now->expected == -ENOSPC;

	if (stage->served)
		stage_rest();
	if (now->look != NULL)
		now->look(stage, result);
	expect_contents(stage, stage->pool, content);
	expect_whole(stage);
	if (!full)
		expect_usable(stage->pool, "this process");
	expect_joinable(stage, content, full);
	if (sweep_samples())
		expect_other_process(stage, full);
	expect_whole(stage);
	sweep_expect("ltz_clear's result", ltz_clear(stage->pool, NULL), 0);
	emptied_expect(stage->mem, &stage->pages);
	expect_usable(stage->pool, "this process, once emptied");
	ltz_close(stage->pool);
	sweep_expect("ltz_exists afterwards", ltz_exists(NAME, stage->dir), -ENOENT);
}

/* ---- the tables ------------------------------------------------------------------------------------- */

void stage_sweep(const struct stage_case *cases, size_t count, enum ltz_fault_scope scope)
{
	struct stage stage = { .dir = test_directory(), .served = scope == LTZ_FAULT_PROCESS };
	struct role role;

	role_start(&role, stage.dir);
	role_ask(&role, "exists oom"); /* the streams have their buffers from now on */
	stage.role = &role;
	for (size_t i = 0; i < count; i++) {
		const struct sweep sweep = {
			.function = cases[i].function, .state = cases[i].state, .expected = cases[i].expected,
			.before = open_stage, .act = act_on_stage, .after = close_stage,
			.scene = &stage, .scope = scope, .calls = cases[i].calls, .most = cases[i].most,
		};

		stage.now = &cases[i];
		stage.pages = 0;
		sweep_run(&sweep);
	}
	role_end(&role);
}
