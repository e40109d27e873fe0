/* SPDX-License-Identifier: MIT */
/* scene.c - making a scene, the victim's part in it. */
#include "scene.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shm/granule.h"
#include "shm/mem.h"
#include "sys/sys.h"
#include "victims.h"

uint64_t crash_seed = 1;

#define ROWS_BACKED 8u /* rows whose memory is there from the start, so that memory used does not depend on who joined */

static void die(const char *what, int64_t result)
{
	fprintf(stderr, "  cannot prepare: %s gives %lld\n", what, (long long)result);
	_exit(2);
}

bool scene_wrong(struct scene *scene, const char *format, ...)
{
	va_list arguments;

	if (scene->why[0])
		return false;
	va_start(arguments, format);
	vsnprintf(scene->why, sizeof(scene->why), format, arguments);
	va_end(arguments);
	return false;
}

/* ---- keys and values --------------------------------------------------------------------- */

static char names[KEYS][8];

void key_of(const struct ltz_mem *mem, unsigned key, struct ltz_hkey *out)
{
	snprintf(names[key], sizeof(names[key]), "key%02u", key);
	hkey_init(mem, out, LTZ_STR, names[key], 5);
}

static uint8_t blob[BLOB_SIZE], got[BLOB_SIZE];

static uint64_t value_of(struct state state, ltz_value *value)
{
	if (state.kind == BLOB) {
		memset(blob, (int)state.number, sizeof(blob));
		*value = (ltz_value){ blob, sizeof(blob), LTZ_BYTES };
	} else {
		memcpy(blob, &state.number, 8);
		*value = (ltz_value){ blob, 8, LTZ_INT64 };
	}
	return value->size;
}

int scene_set(struct ltz_mem *mem, unsigned key, struct state state)
{
	struct ltz_set_options options = { .ttl_ms = state.hours * HOUR_MS };
	struct ltz_hkey hkey;
	ltz_value value;

	key_of(mem, key, &hkey);
	value_of(state, &value);
	return ltz__map_set(mem, &hkey, &value, state.hours ? &options : NULL, NULL);
}

void scene_put(struct scene *scene, unsigned key, struct state state)
{
	int result = scene_set(scene->first, key, state);

	if (result)
		die("set", result);
	scene->now[key] = state;
}

void scene_drop(struct scene *scene, unsigned key)
{
	struct ltz_hkey hkey;

	key_of(scene->first, key, &hkey);
	ltz__map_delete(scene->first, &hkey, 0);
	scene->now[key] = (struct state){ 0 };
}

bool scene_has(struct ltz_mem *mem, unsigned key, struct state state)
{
	struct ltz_hkey hkey;
	ltz_value value;
	ltz_item item;
	int result;

	key_of(mem, key, &hkey);
	result = ltz__map_get(mem, &hkey, got, sizeof(got), &item);
	if (state.kind == ABSENT)
		return result == LTZ_NOT_FOUND;
	return result == 0 && item.size == value_of(state, &value) && item.type == value.type &&
	       memcmp(got, blob, item.size) == 0 && (item.ttl_ms >= 0) == (state.hours > 0);
}

/* ---- making it -------------------------------------------------------------------------------- */

/* The same hashes in every scene, so that the victim takes the same way. */
static void fix_hashes(int fd)
{
	void *address;
	int result = ltz__sys_map(fd, 0, 4096, true, &address);

	if (result < 0)
		die("map", result);
	((struct shm_header *)address)->geometry.seed = crash_seed * 0x9e3779b97f4a7c15u;
	ltz__sys_unmap(address, 4096);
}

void scene_open(struct scene *scene, const struct operation *op, struct told *told)
{
	struct ltz_mem_options options = { .max_size_bytes = (op->size_mib ? op->size_mib : 8) * MIB, .min_buckets_log2 = op->log2 };
	uint64_t rows = ROWS_BACKED * sizeof(struct shm_row);
	int result;

	*scene = (struct scene){ .op = op, .told = told, .key = NO_KEY, .fd = ltz__mem_make(&options) };
	*told = (struct told){ .result = -1 };
	ltz__lane_hint = LANE_FIRST;
	if (scene->fd < 0)
		die("make", scene->fd);
	fix_hashes(scene->fd);
	ltz__sys_commit(scene->fd, 131072, rows);
	if (op->alone)
		return;
	result = ltz__map_attach(scene->fd, &options, &scene->first);
	if (result < 0)
		die("attach", result);
	for (unsigned i = 0; i < op->keys; i++)
		scene_put(scene, i, A_NUMBER(100 + i));
	if (op->setup)
		op->setup(scene);
}

void scene_leave_parent(struct scene *scene)
{
	ltz__lane_hint = LANE_FIRST; /* not where the parent's thread has got to */
	if (scene->first)
		ltz__map_abandon(scene->first);
	scene->first = NULL;
}

void scene_close(struct scene *scene)
{
	struct stat status;

	if (scene->first)
		ltz__map_detach(scene->first);
	if (scene->watched && fstat(scene->fd, &status) == 0)
		ltz__sys_unmap(scene->watched, (uint64_t)status.st_size);
	ltz__sys_close(scene->fd);
}

void scene_victim(void *context)
{
	struct ltz_mem_options options = { 0 };
	struct scene *scene = context;
	const struct operation *op = scene->op;
	struct ltz_mem *mem = NULL;

	scene_leave_parent(scene);
	if (!op->joins && ltz__map_attach(scene->fd, &options, &mem) < 0)
		_exit(2);
	if (op->prepare)
		op->prepare(scene, mem);
	crash_begin();
	scene->told->result = op->run(scene, &mem);
	crash_end();
	if (mem)
		ltz__map_detach(mem);
}

/* ---- has anything changed? ----------------------------------------------------------------------- */

static uint64_t sum_words(uint64_t sum, const void *from, uint64_t bytes)
{
	const uint64_t *word = from;
	uint64_t part[4] = { sum, 1, 2, 3 };

	for (uint64_t i = 0; i < bytes / 32; i++)
		for (unsigned k = 0; k < 4; k++)
			part[k] = (part[k] ^ word[4 * i + k]) * 0x9e3779b97f4a7c15u + (part[k] >> 29);
	return part[0] ^ part[1] * 3 ^ part[2] * 5 ^ part[3] * 7;
}

/*
 * Reads, through a mapping of its own, header, directory, members, owner words
 * and the heads of extents: of tables longer than a granule and of large
 * values only the beginning, as the rest is changed by the C library's copies.
 */
bool scene_changed(void *context)
{
	static uint64_t last_sum;
	struct scene *scene = context;
	uint64_t sum, high, *owners;
	struct shm_header *header;
	struct stat status;

	if (!scene->watched) {
		fstat(scene->fd, &status);
		if (ltz__sys_map(scene->fd, 0, (uint64_t)status.st_size, false, &scene->watched) < 0)
			die("map", -1);
	}
	header = scene->watched;
	owners = (uint64_t *)((uint8_t *)header + header->geometry.owners_offset);
	high = load_acquire(&header->granules_high);
	sum = sum_words(1, header, 131072 + ROWS_BACKED * sizeof(struct shm_row));
	sum = sum_words(sum, owners, (high + 3) / 4 * 32);
	for (uint64_t g = 0; g < high; g++) {
		unsigned kind = owner_kind(owners[g]);
		const uint8_t *granule = (uint8_t *)header + header->geometry.space_offset + granule_offset(g);

		if (kind == OWNER_RUN || kind == OWNER_CLAIM)
			sum = sum_words(sum, granule, 4096);
		else if (kind == OWNER_SLAB || kind == OWNER_TABLE)
			sum = sum_words(sum, granule, SHM_GRANULE);
	}
	if (sum == last_sum)
		return false;
	last_sum = sum;
	return true;
}
