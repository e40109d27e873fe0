/* SPDX-License-Identifier: MIT */
/*
 * readers.c - memory is charged to who writes, and holes stay holes.
 *
 * A reader that is in another memory cgroup than the writer reads every value
 * several times: the pool's memory does not grow by a page, and the reader's
 * cgroup is charged only for the reader's own memory.
 *
 * A reader that was stopped inside a read may look at memory that was given
 * back meanwhile, and the kernel then puts a page there. Here a bare mapping
 * plays that reader, for every page that was given back: the pages come, and
 * are given back again by the members' own housekeeping.
 */
#include "prove.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/format.h"

#define VALUE_BYTES (256 * KIB)
#define PASSES      3u
#define REPUNCH_S   10.0 /* store/tick.c: that often what is given back is looked at again */

static struct state {
	uint64_t ready, wrong, usage_before, usage_after;
} *state;

static struct gate join_gate, read_gate;
static char reader_group[128], writer_group[128];
static uint64_t values;

/* ---- cgroups ---------------------------------------------------------------------- */

static bool enter_group(const char *folder)
{
	char path[256];
	int fd;
	bool done;

	snprintf(path, sizeof path, "%s/cgroup.procs", folder);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	done = fd >= 0 && write(fd, "0", 1) == 1;
	close(fd);
	return done;
}

static uint64_t group_usage(const char *folder)
{
	static const char *const name[] = { "memory.usage_in_bytes", "memory.current" };
	uint64_t usage = 0;

	for (unsigned i = 0; i < 2; i++) {
		char path[256];
		FILE *file;

		snprintf(path, sizeof path, "%s/%s", folder, name[i]);
		file = fopen(path, "re");
		if (file != NULL && fscanf(file, "%lu", &usage) != 1)
			usage = 0;
		if (file != NULL)
			fclose(file);
	}
	return usage;
}

static bool make_group(char *folder, size_t size, const char *whose)
{
	static const char *const top[] = { "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified", "/sys/fs/cgroup" };

	for (unsigned i = 0; i < 3; i++) {
		snprintf(folder, size, "%s/latzero-%s-%d", top[i], whose, getpid());
		if (mkdir(folder, 0755) < 0)
			continue;
		char path[256];
		snprintf(path, sizeof path, "%s/memory.%s", folder, i == 0 ? "usage_in_bytes" : "current");
		if (access(path, R_OK) == 0)
			return true;
		rmdir(folder);
	}
	folder[0] = '\0';
	return false;
}

/* ---- reading what is there --------------------------------------------------------------- */

static void be_reader(void *context)
{
	static char bytes[VALUE_BYTES];
	ltz_pool *pool;

	(void)context;
	if (reader_group[0])
		NEED(enter_group(reader_group));
	gate_wait(&join_gate);
	pool = pool_connect();
	memset(bytes, 1, sizeof bytes);
	state->usage_before = group_usage(reader_group);
	__atomic_store_n(&state->ready, 1, __ATOMIC_RELEASE);
	gate_wait(&read_gate);
	for (unsigned pass = 0; pass < PASSES; pass++)
		for (uint64_t key = 0; key < values; key++)
			state->wrong += fetch(pool, key, bytes, sizeof bytes, NULL) != 0 || bytes[0] != 'v';
	state->usage_after = group_usage(reader_group);
	ltz_close(pool);
}

static void read_everything(ltz_pool *pool, pid_t reader)
{
	static char value[VALUE_BYTES];
	uint64_t writer_before = group_usage(writer_group), pool_before = backed_bytes(pool), filled;

	memset(value, 'v', sizeof value);
	for (uint64_t key = 0; key < values; key++)
		NEED_OK(put(pool, key, value, sizeof value));
	/* what is kept ready is ready */
	NEED(WAIT_UNTIL(pool_stats(pool).committed_bytes > pool_stats(pool).used_bytes, PATIENCE_NS));
	pause_ns(2 * SECOND_NS);
	filled = backed_bytes(pool);
	row_shown((double)(filled - pool_before) / MIB, "MiB", "the writer's values bring into the pool");
	if (writer_group[0])
		row_at_least(SOUND, (double)(group_usage(writer_group) - writer_before) / (double)(filled - pool_before) * 100, 95, "%",
		             "of it charged to the writer's cgroup");
	gate_open(&read_gate);
	row_equal(!ended_well(reader), 0, "readers that failed");
	row_equal(state->wrong, 0, "values that the reader read wrong");
	row_at_most(SOUND, ((double)backed_bytes(pool) - (double)filled) / KIB, 0, "KiB", "pool memory that reading it %u times brings", PASSES);
	if (reader_group[0])
		row_at_most(SOUND, ((double)state->usage_after - (double)state->usage_before) / KIB, 4096, "KiB",
		            "charged to the reader's cgroup for it");
	else
		row_skipped("none can be made", "memory cgroup of the reader");
}

/* ---- reading holes -------------------------------------------------------------------------- */

static uint64_t resident(const uint8_t *space, uint64_t bytes)
{
	uint64_t sum = 0;

	for (uint64_t at = 0; at < bytes; at += 4096)
		sum += __atomic_load_n(&space[at], __ATOMIC_RELAXED);
	return sum;
}

/* Touches every page of the granules that no longer have memory; how many. */
static uint64_t read_holes(int memfd, const uint8_t *base, const struct shm_geometry *geometry, uint64_t high)
{
	const uint64_t *owner = (const uint64_t *)(base + geometry->owners_offset);
	uint64_t pages = 0;

	(void)memfd;
	for (uint64_t g = 0; g < high; g++) {
		if (owner_kind(load_acquire(&owner[g])) != OWNER_VIRGIN)
			continue;
		resident(base + geometry->space_offset + (g << SHM_GRANULE_LOG2), SHM_GRANULE);
		pages += SHM_GRANULE / 4096;
	}
	return pages;
}

static void resurrect(ltz_pool *pool)
{
	int memfd = pool_memfd(pool);
	const struct shm_header *header = mmap(NULL, 4096, PROT_READ, MAP_SHARED, memfd, 0);
	uint64_t before, after, start_ns, pages, high;
	const uint8_t *base;

	NEED(header != MAP_FAILED);
	base = mmap(NULL, header->geometry.file_bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, memfd, 0);
	NEED(base != MAP_FAILED);
	NEED(ltz_clear(pool, NULL) == 0);
	NEED(WAIT_UNTIL(backed_bytes(pool) <= 16 * MIB, PATIENCE_NS));
	pause_ns(2 * SECOND_NS);
	before = backed_bytes(pool);
	high = load_acquire(&header->granules_high);
	pages = read_holes(memfd, base, &header->geometry, high);
	after = backed_bytes(pool);
	start_ns = now_ns();
	row_shown((double)(pages * 4096) / MIB, "MiB", "holes that a late reader looks at");
	row_at_least(SOUND, (double)(after - before) / MIB, (double)(pages * 4096) / MIB * 0.9, "MiB", "memory that comes back by it");
	NEED(WAIT_UNTIL(backed_bytes(pool) <= before + MIB, PATIENCE_NS));
	row_at_most(SPEED, (double)(now_ns() - start_ns) / 1e9, REPUNCH_S + 1, "s", "and is given back with nobody's help after");
	munmap((void *)base, header->geometry.file_bytes);
	munmap((void *)header, 4096);
}

int main(int argc, char **argv)
{
	pid_t reader;
	ltz_pool *pool;

	prove_begin(argc, argv, "readers: reading takes no memory");
	values = (prove_quick() ? 16 : 256) * MIB / VALUE_BYTES;
	state = share(sizeof *state);
	gate_init(&join_gate);
	gate_init(&read_gate);
	if (make_group(reader_group, sizeof reader_group, "reader"))
		NEED(make_group(writer_group, sizeof writer_group, "writer"));
	reader = spawn(be_reader, NULL);
	if (writer_group[0])
		NEED(enter_group(writer_group));
	pool = pool_create(0);
	gate_open(&join_gate);
	NEED(WAIT_UNTIL(__atomic_load_n(&state->ready, __ATOMIC_ACQUIRE), PATIENCE_NS));
	read_everything(pool, reader);
	if (!prove_quick()) /* the members look at it every ten seconds */
		resurrect(pool);
	row_equal(findings(pool), 0, "findings of check");
	ltz_close(pool);
	return prove_end();
}
