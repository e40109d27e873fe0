/* SPDX-License-Identifier: MIT */
/* many.c - the calls on many keys, on the pool as a whole, and on the service thread. */
#include <sys/prctl.h>
#include <sys/wait.h>

#include "emptied.h"
#include "shm/granule.h"
#include "shm/lane.h"
#include "shm/slab.h"
#include "store/map.h"
#include "store/table.h"
#include "stage.h"
#include "tables.h"

/* ---- what is there before --------------------------------------------------------------- */

static void some_others(struct stage *stage)
{
	for (; stage->others < 300; stage->others++)
		ASSERT_EQ_INT(other_set(stage->pool, stage->others), 0);
}

#define LONG_KEYS 5 /* of one bucket: more than clear's first buffer holds */

/* Long keys that lie in the first bucket. They count as neither others nor blobs. */
static void long_keys_together(struct stage *stage)
{
	static uint8_t bytes[LTZ_KEY_MAX];
	const ltz_key key = { .data = bytes, .size = sizeof bytes, .type = LTZ_KEY_BYTES };
	const ltz_value value = { .data = "", .size = 0, .type = LTZ_BYTES };
	struct ltz_hkey hkey;

	for (uint64_t i = 0, found = 0; found < LONG_KEYS; i++) {
		memcpy(bytes, &i, sizeof i);
		hkey_init(stage->mem, &hkey, key.type, bytes, key.size);
		if (bucket_of_hash(hkey.hash, stage->mem->geometry.table_log2) != 0)
			continue;
		ASSERT_EQ_INT(ltz_set(stage->pool, &key, &value, NULL, NULL), 0);
		found++;
	}
}

/* Somebody has died who held two slabs, a block that nobody knows of and an extent that is nothing yet. */
static void with_a_dead_member(struct stage *stage)
{
	const struct ltz_mem_options options = { 0 };
	struct ltz_pool dead = { .mem = NULL };
	struct ltz_block block;

	ASSERT_OK(ltz__map_attach(ltz__mem_fd(stage->mem), &options, &dead.mem));
	for (; stage->others < 20; stage->others++)
		ASSERT_EQ_INT(other_set(&dead, stage->others), 0);
	ASSERT_OK(ltz__block_alloc(dead.mem, &dead.mem->lane[ltz__lane_hint], 500, false, &block));
	ASSERT_OK(ltz__granules_claim(dead.mem, &dead.mem->lane[ltz__lane_hint], 2));
	ltz__map_detach(dead.mem);
}

/* ---- the calls ------------------------------------------------------------------------------ */

static int count_keys(struct stage *stage)
{
	uint64_t count = 0;
	int result = ltz_count(stage->pool, &count);

	sweep_expect("the number of keys", (int64_t)count, (int64_t)stage->others);
	return result;
}

static int prefetch(struct stage *stage)
{
	const ltz_key keys[] = { key_of("k"), key_of("missing") };

	ltz_prefetch(stage->pool, keys, 2);
	return 0;
}

/* What a failing clear has not removed is removed by the next. */
static int clear(struct stage *stage)
{
	uint64_t before = 0, after = 0, removed = 0;
	int result;

	ASSERT_OK(ltz_count(stage->pool, &before));
	result = ltz_clear(stage->pool, &removed);
	ASSERT_OK(ltz_count(stage->pool, &after));
	sweep_expect("what clear says it removed", (int64_t)removed, (int64_t)(before - after));
	stage->others = 0;
	return result;
}

static void clear_the_rest(struct stage *stage, int result)
{
	if (result != 0)
		sweep_expect("the next ltz_clear's result", ltz_clear(stage->pool, NULL), 0);
}

/* What a dead member held is counted until somebody has adopted it. */
static void settle_the_dead(struct stage *stage, int result)
{
	(void)result;
	emptied_tick(stage->mem, 1);
}

static uint8_t scanned[LTZ_SCAN_BUFFER] __attribute__((aligned(8)));

static int scan_with(struct stage *stage, size_t capacity)
{
	uint64_t cursor = 0, found = 0;
	size_t used = 0;
	int result;

	do {
		result = ltz_scan(stage->pool, &cursor, 100, NULL, scanned, capacity, &used);
		for (size_t at = 0; result == 0 && at < used; found++)
			at += (sizeof(struct ltz_scan_entry) + ((struct ltz_scan_entry *)(void *)(scanned + at))->size + 7) & ~(size_t)7;
	} while (result == 0 && cursor != 0);
	if (result == 0)
		sweep_expect("the number of keys scanned", (int64_t)found, (int64_t)stage->others);
	return result;
}

static int scan(struct stage *stage)
{
	return scan_with(stage, sizeof scanned);
}

static int scan_with_little_room(struct stage *stage)
{
	return scan_with(stage, 8);
}

static int get_stats(struct stage *stage)
{
	struct ltz_stats stats = { 0 };
	int result = ltz_get_stats(stage->pool, &stats);

	sweep_expect("the keys in the statistics", (int64_t)stats.keys, (int64_t)stage->others);
	return result;
}

static int count_self(void *context, const struct ltz_member_info *info)
{
	*(int *)context += info->self;
	return 0;
}

static int members(struct stage *stage)
{
	int selves = 0, result = ltz_members(stage->pool, count_self, &selves);

	sweep_expect("how often this member is listed", selves, 1);
	return result;
}

static void note_line(void *context, const char *line)
{
	(void)context;
	sweep_wrong("reported: %s", line);
}

static int check(struct stage *stage)
{
	return ltz_check(stage->pool, note_line, NULL);
}

static int ask_the_handle(struct stage *stage)
{
	sweep_expect("ltz_flags", ltz_flags(stage->pool), 0);
	return strcmp(ltz_name(stage->pool), "oom");
}

static int ask_the_library(struct stage *stage)
{
	(void)stage;
	return ltz_strerror(-ENOMEM)[0] == '\0' || ltz_error_detail() == NULL || ltz_retry_after_ms() != 0;
}

static int harden(struct stage *stage)
{
	int result = ltz_harden();

	(void)stage;
	ASSERT_OK(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)); /* or its descriptors cannot be counted */
	return result;
}

static int export(struct stage *stage)
{
	int fds[LTZ_EXPORT_FDS], result = ltz_export(stage->pool, fds);

	if (result == 0 && (close(fds[0]) < 0 || close(fds[1]) < 0))
		return 1;
	return result;
}

/* ---- the service thread -------------------------------------------------------------------------- */

static void fork_and_end(void)
{
	pid_t child = fork();
	int status;

	ASSERT_OK(child);
	if (child == 0)
		_exit(0);
	ASSERT_OK(waitpid(child, &status, 0));
}

static int restart(struct stage *stage)
{
	(void)stage;
	ltz_restart();
	return 0;
}

static int fork_deferring(struct stage *stage)
{
	(void)stage;
	ltz_defer_restart(1);
	fork_and_end();
	ltz_defer_restart(0);
	sweep_expect("the number of threads after a fork", count_entries("/proc/self/task"), 1);
	ltz_restart();
	return 0;
}

/* The thread is stopped and started again inside fork(). */
static int fork_serving(struct stage *stage)
{
	(void)stage;
	fork_and_end();
	return 0;
}

/* A thread that could not be started is started by the next call that wants it. */
static void serve_after_all(struct stage *stage, int result)
{
	(void)result;
	ltz_restart();
	sweep_expect("the number of threads", count_entries("/proc/self/task"), 2);
	sweep_expect("another process' ltz_connect", role_ask(stage->role, "connect oom 0"), 0);
	sweep_expect("another process' ltz_close", role_ask(stage->role, "close"), 0);
	stage_rest();
}

/* ---- the table --------------------------------------------------------------------------------------- */

static const struct stage_case cases[] = {
	{ "ltz_count", "", count_keys, .prepare = some_others },
	{ "ltz_prefetch", "", prefetch, .prepare = some_others },
	{ "ltz_clear", "no lane open", clear, .look = clear_the_rest },
	{ "ltz_clear", "many keys", clear, .prepare = some_others, .look = clear_the_rest },
	{ "ltz_clear", "one bucket of long keys", clear, .prepare = long_keys_together, .look = clear_the_rest },
	{ "ltz_scan", "", scan, .prepare = some_others },
	{ "ltz_scan", "too little room", scan_with_little_room, .expected = LTZ_TRUNCATED, .prepare = some_others },
	{ "ltz_get_stats", "", get_stats, .prepare = some_others },
	{ "ltz_members", "", members, .prepare = some_others },
	{ "ltz_members", "one is dead", members, .prepare = with_a_dead_member, .look = settle_the_dead },
	{ "ltz_check", "no lane open", check, .expected = 0 },
	{ "ltz_check", "many keys", check, .prepare = some_others },
	{ "ltz_check", "one is dead", check, .prepare = with_a_dead_member, .look = settle_the_dead },
	{ "ltz_name", "", ask_the_handle, .expected = 0 },
	{ "ltz_flags", "", ask_the_handle, .expected = 0 },
	{ "ltz_strerror", "", ask_the_library, .expected = 0 },
	{ "ltz_error_detail", "", ask_the_library, .expected = 0 },
	{ "ltz_retry_after_ms", "", ask_the_library, .expected = 0 },
	{ "ltz_harden", "", harden, .expected = 0 },
	{ "ltz_export", "", export, .expected = 0 },
	{ "ltz_restart", "", restart, .look = serve_after_all },
	{ "ltz_defer_restart", "", fork_deferring, .look = serve_after_all },
	{ "fork", "the parent", fork_serving, .look = serve_after_all },
};

const struct stage_case *const many_cases = cases;
const size_t many_case_count = sizeof cases / sizeof cases[0];
