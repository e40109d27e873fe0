/* SPDX-License-Identifier: MIT */
/*
 * full.c - a pool that is full says so, and goes on.
 *
 * Filled to its max_size, then to the limit of a memory cgroup: every set that
 * does not fit gives -ENOSPC (PoolFullError), everything that was acknowledged
 * can be read, and after a delete there is room again. Nobody gets SIGBUS, and
 * the kernel's out-of-memory killer is never called. Two processes fill at
 * once, with values from 16 bytes to 1 MiB.
 */
#include "prove.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILLERS   2u
#define ROUNDS    5u
#define KEYS_MAX  400000u /* of each filler: more than fit */
#define VALUE_MAX MIB

struct filler {
	uint64_t filled[ROUNDS]; /* bytes of values acknowledged when the pool was full, of keys present */
	uint64_t refused, lost, again, finished;
};

static struct filler *fillers;
static struct gate start;
static char group[128]; /* the cgroup's folder; "": none */
static uint64_t limit_bytes;

/* ---- the cgroup --------------------------------------------------------------------- */

static bool write_file(const char *name, const char *text)
{
	char path[256];
	int fd;
	bool done;

	snprintf(path, sizeof path, "%s/%s", group, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	done = fd >= 0 && write(fd, text, strlen(text)) > 0;
	close(fd);
	return done;
}

static bool make_group(uint64_t limit)
{
	static const char *const place[][2] = {
		{ "/sys/fs/cgroup/memory", "memory.limit_in_bytes" }, { "/sys/fs/cgroup/unified", "memory.max" }, { "/sys/fs/cgroup", "memory.max" },
	};
	char text[32];

	snprintf(text, sizeof text, "%llu", (unsigned long long)limit);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(group, sizeof group, "%s/latzero-limits-%d", place[i][0], getpid());
		if (mkdir(group, 0755) < 0)
			continue;
		if (write_file(place[i][1], text))
			return true;
		rmdir(group);
	}
	group[0] = '\0';
	return false;
}

/* Processes that the kernel killed in the group for want of memory. */
static uint64_t oom_kills(void)
{
	static const char *const file[] = { "memory.oom_control", "memory.events" };
	uint64_t kills = 0;

	for (unsigned i = 0; i < 2; i++) {
		char path[256], line[128];
		FILE *events;

		snprintf(path, sizeof path, "%s/%s", group, file[i]);
		events = fopen(path, "re");
		while (events != NULL && fgets(line, sizeof line, events) != NULL)
			if (strncmp(line, "oom_kill ", 9) == 0)
				kills += strtoull(line + 9, NULL, 10);
		if (events != NULL)
			fclose(events);
	}
	return kills;
}

/* ---- a filler ----------------------------------------------------------------------------- */

/* Mostly small, a few large: each size takes about the same share of the memory. */
static uint64_t size_of(uint64_t key)
{
	uint64_t power = 4 + (key * 7) % 17;

	return key % (UINT64_C(1) << (power / 2)) == 0 ? UINT64_C(1) << power : 200 + key % 3000;
}

static bool is_there(ltz_pool *pool, uint64_t key, char *bytes)
{
	ltz_item item;
	uint64_t first;

	if (fetch(pool, key, bytes, VALUE_MAX, &item) != 0 || item.size != size_of(key))
		return false;
	memcpy(&first, bytes, 8);
	return first == key;
}

/* Sets absent keys until the pool is full; bytes set. */
static uint64_t fill(ltz_pool *pool, struct filler *me, uint64_t base, uint8_t *present)
{
	static char value[VALUE_MAX];
	uint64_t bytes = 0, small_refused = 0;

	for (uint64_t k = 0; k < KEYS_MAX; k++) {
		uint64_t key = base + k, size = size_of(key);
		int result;

		if (present[k]) {
			bytes += size;
			continue;
		}
		memcpy(value, &key, 8);
		result = put(pool, key, value, size);
		if (result == 0) {
			present[k] = 1;
			bytes += size;
		} else if (result == -ENOSPC) {
			me->refused++;
			small_refused += size <= 4 * KIB;
			if (small_refused == 4)
				return bytes; /* a large one may be refused long before that */
		} else {
			NEED_OK(result);
		}
	}
	NEED(!"more keys than fit were set");
	return bytes;
}

static void be_filler(void *context)
{
	struct filler *me = context;
	uint64_t base = (uint64_t)(me - fillers + 1) << 32;
	uint8_t *present = calloc(KEYS_MAX, 1);
	char *bytes = malloc(VALUE_MAX);
	ltz_pool *pool;

	NEED(present != NULL && bytes != NULL);
	if (group[0])
		NEED(write_file("cgroup.procs", "0"));
	gate_wait(&start);
	pool = pool_connect();
	for (unsigned round = 0; round < ROUNDS; round++) {
		bool freed = false;

		me->filled[round] = fill(pool, me, base, present);
		for (uint64_t k = 0; k < KEYS_MAX; k++)
			me->lost += present[k] && !is_there(pool, base + k, bytes);
		for (uint64_t k = round % 2; k < KEYS_MAX; k += 2) {
			if (!present[k])
				continue;
			me->lost += drop(pool, base + k) != 0;
			present[k] = 0;
			if (!freed) { /* at once: the room of what was just deleted */
				me->again += put(pool, base + k, bytes, 16) == 0;
				drop(pool, base + k);
				freed = true;
			}
		}
	}
	me->finished = 1;
	ltz_close(pool);
}

/* ---- room that another process has --------------------------------------------------- */

static void be_hoarder(void *context)
{
	static char value[512];
	struct filler *me = context;
	ltz_pool *pool;

	gate_wait(&start);
	pool = pool_connect();
	while (put(pool, me->filled[0], value, sizeof value) == 0)
		me->filled[0]++;
	__atomic_store_n(&me->finished, 1, __ATOMIC_RELEASE);
	for (;;)
		pause_ns(SECOND_NS);
}

/*
 * One process fills the pool, another deletes every second key and sets keys of
 * the same size. Blocks come free in slabs that belong to the first one: what
 * the second can use of them is shown, not judged.
 */
static void fill_and_free_from_outside(void)
{
	static char value[512];
	uint64_t freed = 0, set = 0;
	pid_t hoarder;
	ltz_pool *pool;

	fillers = share(sizeof *fillers);
	gate_init(&start);
	hoarder = spawn(be_hoarder, fillers);
	pool = pool_create(16 * MIB);
	gate_open(&start);
	NEED(WAIT_UNTIL(__atomic_load_n(&fillers->finished, __ATOMIC_ACQUIRE), PATIENCE_NS));
	for (uint64_t key = 0; key < fillers->filled[0]; key += 2)
		freed += drop(pool, key) == 0;
	pause_ns(SECOND_NS); /* its owner's housekeeping */
	while (set < freed && put(pool, 2 * set, value, sizeof value) == 0)
		set++;
	row_shown((double)set / (double)freed * 100, "%", "max_size: of another process' memory that this one freed, used by this one");
	slay(hoarder);
	NEED(WAIT_UNTIL(pool_stats(pool).members == 1, PATIENCE_NS));
	/* A lane that the housekeeping has in hand just then has no room for others: again, a moment later. */
	(void)WAIT_UNTIL(({
		while (set < freed && put(pool, 2 * set, value, sizeof value) == 0)
			set++;
		set == freed;
	}), PATIENCE_NS);
	row_at_least(SOUND, (double)set / (double)freed * 100, 90, "%", "max_size: the same when that process is dead");
	row_equal(findings(pool), 0, "max_size: findings of check");
	ltz_close(pool);
}

/* ---- both limits ------------------------------------------------------------------------------- */

/* Each fills it at its own pace: while one is at the limit, the other may just have deleted half of what it had. */
static void fill_up(uint64_t max_size_bytes, double least_filled, const char *what)
{
	pid_t child[FILLERS];
	uint64_t refused = 0, lost = 0, again = 0, finished = 0, failed = 0;
	double least = 1e30;
	ltz_pool *pool;

	fillers = share(FILLERS * sizeof *fillers);
	gate_init(&start);
	for (unsigned i = 0; i < FILLERS; i++)
		child[i] = spawn(be_filler, &fillers[i]);
	if (group[0])
		NEED(write_file("cgroup.procs", "0")); /* a member outside could take more */
	pool = pool_create(max_size_bytes);
	gate_open(&start);
	for (unsigned i = 0; i < FILLERS; i++)
		failed += !ended_well(child[i]);
	for (unsigned round = 0; round < ROUNDS; round++) {
		double filled = 0;

		for (unsigned i = 0; i < FILLERS; i++)
			filled += (double)fillers[i].filled[round];
		least = filled < least ? filled : least;
	}
	for (unsigned i = 0; i < FILLERS; i++) {
		refused += fillers[i].refused;
		lost += fillers[i].lost;
		again += fillers[i].again;
		finished += fillers[i].finished;
	}
	row_equal(failed, 0, "%s: processes that were killed or failed", what);
	row_equal(finished, FILLERS, "%s: processes that filled it %u times", what, ROUNDS);
	row_at_least(SOUND, (double)refused, FILLERS * ROUNDS, "", "%s: sets that got the error", what);
	row_equal(lost, 0, "%s: acknowledged values that were lost", what);
	row_at_least(SOUND, (double)again, FILLERS * ROUNDS, "", "%s: sets that fitted at once after a delete", what);
	row_at_least(SOUND, least / (double)limit_bytes * 100, least_filled, "%", "%s: of it filled with values, least of the rounds", what);
	row_equal(findings(pool), 0, "%s: findings of check", what);
	ltz_close(pool);
	if (group[0])
		NEED(write_file("../cgroup.procs", "0"));
}

int main(int argc, char **argv)
{
	prove_begin(argc, argv, "full: at the limit of max_size and of a memory cgroup");
	limit_bytes = 64 * MIB;
	fill_up(limit_bytes, 30, "max_size");
	fill_and_free_from_outside();
	limit_bytes = prove_quick() ? 128 * MIB : 320 * MIB;
	if (!make_group(limit_bytes)) {
		row_skipped("none can be made", "memory cgroup");
	} else {
		fill_up(0, 30, "cgroup");
		row_equal(oom_kills(), 0, "cgroup: processes killed by the kernel for want of memory");
		rmdir(group);
	}
	return prove_end();
}
