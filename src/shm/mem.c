/* SPDX-License-Identifier: MIT */
/*
 * mem.c - making a pool's memory, joining it, leaving it.
 *
 * Leaving is dying with notice: the lock is dropped and the survivors adopt
 * what the member held, by the same code as after a crash.
 */
#include "base/copy.h"
#include "base/error.h"
#include "shm/granule.h"
#include "shm/lane.h"
#include "shm/member.h"
#include "shm/slab.h"
#include "sys/fault.h"
#include "sys/sys.h"

#include <latzero.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_OFFSET   UINT64_C(131072)
#define OWNERS_OFFSET (ROWS_OFFSET + SHM_ROWS * sizeof(struct shm_row))
#define MEMBERS_BYTES (OWNERS_OFFSET - SHM_MEMBERS_OFFSET)
#define SIZE_MIN      (UINT64_C(2) << 20)
#define SIZE_MAX_BYTES (UINT64_C(1) << 45)
#define TABLE_LOG2    9u /* 512 buckets and their lines fill one granule */

static_assert(SHM_DIRECTORY_OFFSET >= sizeof(struct shm_header), "the directory follows the header");
static_assert(SHM_DIRECTORY_OFFSET + SHM_TABLES * sizeof(struct shm_table_entry) <= SHM_MEMBERS_OFFSET, "then the members");

/* ---- making ------------------------------------------------------------------- */

static uint64_t round_up(uint64_t value, uint64_t step) { return (value + step - 1) / step * step; }

/* How many granules to reserve: as asked, else twice the machine's memory, less where address space is short. */
static uint64_t reserve_granules(uint64_t max_size)
{
	uint64_t bytes = max_size, limit = ltz__sys_address_limit();

	if (!bytes) {
		bytes = SIZE_MIN;
		while (bytes < 2 * ltz__sys_total_bytes())
			bytes *= 2;
		if (limit != UINT64_MAX && bytes > limit / 4)
			bytes = limit / 4;
	}
	if (bytes < SIZE_MIN)
		bytes = SIZE_MIN;
	return round_up(bytes, SHM_GRANULE) >> SHM_GRANULE_LOG2;
}

static int describe(struct shm_geometry *geometry, const struct ltz_mem_options *options)
{
	int result = ltz__sys_random(&geometry->seed, sizeof(geometry->seed));

	if (result == 0)
		result = ltz__sys_random(geometry->id, sizeof(geometry->id));
	if (result < 0)
		return result;
	geometry->magic = SHM_MAGIC;
	geometry->version = SHM_VERSION;
	geometry->flags = options->pool_flags;
	if (ltz__sys_barrier_register() < 0)
		geometry->flags |= SHM_FENCES;
	geometry->granules = reserve_granules(options->max_size_bytes);
	geometry->rows_offset = ROWS_OFFSET;
	geometry->owners_offset = OWNERS_OFFSET;
	geometry->space_offset = round_up(OWNERS_OFFSET + geometry->granules * 8, SHM_GRANULE);
	geometry->file_bytes = geometry->space_offset + granule_offset(geometry->granules);
	geometry->max_bytes = granule_offset(geometry->granules);
	geometry->created_ms = ltz__sys_unix_ms();
	geometry->created_ns = ltz__sys_boottime_ns();
	geometry->time_namespace = ltz__sys_time_namespace();
	geometry->table_log2 = options->min_buckets_log2 ? options->min_buckets_log2 : TABLE_LOG2;
	if (options->name)
		strncpy(geometry->name, options->name, sizeof(geometry->name) - 1);
	return 0;
}

static int format(int fd, const struct shm_geometry *geometry)
{
	struct shm_header *header;
	void *address;
	int result = ltz__sys_commit(fd, 0, ROWS_OFFSET);

	if (result < 0)
		return result;
	result = ltz__sys_map(fd, 0, ROWS_OFFSET, true, &address);
	if (result < 0)
		return result;
	header = address;
	header->geometry = *geometry; /* nobody else has the descriptor yet */
	store_relaxed(&header->next_version, 1);
	LTZ_CRASH_POINT("shm.formatted");
	ltz__sys_unmap(address, ROWS_OFFSET);
	return 0;
}

int ltz__mem_make(const struct ltz_mem_options *options)
{
	struct shm_geometry geometry = {0};
	int result, fd;

	if (options->max_size_bytes > SIZE_MAX_BYTES)
		return ltz__fail(-EINVAL, "max_size is more than %llu TiB", (unsigned long long)(SIZE_MAX_BYTES >> 40));
	result = describe(&geometry, options);
	if (result < 0)
		return result;
	fd = ltz__sys_memfd("latzero");
	if (fd < 0)
		return fd;
	result = ltz__sys_memfd_fix(fd, geometry.file_bytes);
	if (result == 0)
		result = format(fd, &geometry);
	if (result < 0) {
		ltz__sys_close(fd);
		return result;
	}
	return fd;
}

/* ---- joining -------------------------------------------------------------------- */

/* The pool's own description of itself, copied once and checked against the size that the kernel tells. */
static int check_geometry(const struct shm_geometry *g, uint64_t size)
{
	if (g->magic != SHM_MAGIC)
		return ltz__fail(-EUCLEAN, "this memory is not a latzero pool");
	if (g->version != SHM_VERSION)
		return ltz__fail(-EUCLEAN, "the pool has format %u, this library reads %u: use one version everywhere",
		                 g->version, SHM_VERSION);
	if (g->file_bytes != size || g->rows_offset != ROWS_OFFSET || g->owners_offset != OWNERS_OFFSET ||
	    g->granules < SIZE_MIN >> SHM_GRANULE_LOG2 || g->granules > SIZE_MAX_BYTES >> SHM_GRANULE_LOG2 ||
	    g->space_offset != round_up(OWNERS_OFFSET + g->granules * 8, SHM_GRANULE) ||
	    g->file_bytes != g->space_offset + granule_offset(g->granules) ||
	    g->table_log2 < 1 || g->table_log2 > 20)
		return ltz__fail(-EUCLEAN, "the pool's header is damaged");
	return 0;
}

static int map(struct ltz_mem *mem, uint64_t size, bool readonly)
{
	void *address;
	int result = ltz__sys_map(mem->fd, 0, size, !readonly, &address);

	if (result < 0)
		return ltz__fail(result, "cannot map the pool's %llu MiB of address space: raise the limit (ulimit -v) or make the pool with a max_size",
		                 (unsigned long long)(size >> 20));
	mem->base = address;
	mem->map_bytes = size;
	mem->header = address;
	copy_from_pool(&mem->geometry, &mem->header->geometry, sizeof(mem->geometry));
	result = check_geometry(&mem->geometry, size);
	if (result < 0)
		return result;
	if (readonly) {
		result = ltz__sys_map(mem->fd, SHM_MEMBERS_OFFSET, MEMBERS_BYTES, true, &address);
		if (result < 0)
			return result;
		mem->members_map = address;
	}
	return 0;
}

static unsigned log2_ceil(uint64_t value)
{
	unsigned bits = 0;

	while (UINT64_C(1) << bits < value)
		bits++;
	return bits;
}

static void derive(struct ltz_mem *mem)
{
	const struct shm_geometry *g = &mem->geometry;

	mem->granules = g->granules;
	mem->space = mem->base + g->space_offset;
	mem->space_bytes = granule_offset(g->granules);
	mem->units = mem->space_bytes >> SHM_UNIT_LOG2;
	mem->ref_bits = log2_ceil(mem->units);
	mem->ref_mask = (UINT64_C(1) << mem->ref_bits) - 1;
	mem->tag_mask = ~mem->ref_mask & ~(UINT64_C(1) << 63); /* all but the ref and the FROZEN bit */
	mem->seed = g->seed;
	mem->owners = (uint64_t *)(mem->base + g->owners_offset);
	mem->directory = (struct shm_table_entry *)(mem->base + SHM_DIRECTORY_OFFSET);
	mem->members = (struct shm_members *)(mem->members_map ? mem->members_map : mem->base + SHM_MEMBERS_OFFSET);
	mem->rows = (struct shm_row *)((uint8_t *)mem->members + (ROWS_OFFSET - SHM_MEMBERS_OFFSET));
	mem->fences = g->flags & SHM_FENCES;
	if (!ltz__mem_same_clock(mem)) /* until a member tells: by the calendar, which is wrong if it was set meanwhile */
		ltz__mem_set_now(mem, g->created_ns + (uint64_t)(ltz__sys_unix_ms() - g->created_ms) * 1000000);
	mem->hidden_names = g->flags & LTZ_ENCRYPTION;
	ltz__classes_init(mem);
}

static int join(struct ltz_mem *mem, const struct ltz_mem_options *options)
{
	bool locked = mem->geometry.flags & (LTZ_AUTH | LTZ_ENCRYPTION);
	int result;

	if (locked != (options->pool_key != NULL))
		return ltz__fail(-EINVAL, locked ? "the pool is locked, and there is no key for it" : "a key for an open pool");
	if (!mem->fences && ltz__sys_barrier_register() < 0)
		return ltz__fail(-ENOSYS, "the pool's members use membarrier, which this process may not call (seccomp?)");
	result = ltz__member_join(mem);
	if (result == -EBUSY)
		return ltz__fail(result, "the pool has %u members already: no row is free", SHM_ROWS);
	return result < 0 ? result : ltz__lanes_init(mem);
}

static void undo(struct ltz_mem *mem)
{
	ltz__lanes_deinit(mem);
	if (mem->members_map)
		ltz__sys_unmap(mem->members_map, MEMBERS_BYTES);
	if (mem->base)
		ltz__sys_unmap(mem->base, mem->map_bytes);
	LTZ_CRASH_POINT("shm.unmapped");
	ltz__sys_close(mem->fd); /* last: the lock says that we can write no more */
	LTZ_CRASH_POINT("shm.left");
	ltz__sys_close(mem->share_fd);
	free(mem);
}

int ltz__mem_attach(int fd, const struct ltz_mem_options *options, struct ltz_mem **out)
{
	struct ltz_mem *mem;
	uint64_t size;
	int result = ltz__sys_memfd_verify(fd, &size);

	if (result == -EPROTO)
		return ltz__fail(-EUCLEAN, "what was handed over is not a sealed pool memory");
	if (result < 0)
		return result;
	if (size < OWNERS_OFFSET)
		return ltz__fail(-EUCLEAN, "what was handed over is too small to be a pool");
	mem = LTZ_PTR_CALL(NULL, aligned_alloc(64, round_up(sizeof(*mem), 64)));
	if (!mem)
		return -ENOMEM;
	memset(mem, 0, sizeof(*mem));
	mem->share_fd = -1;
	mem->readonly = options->readonly;
	result = mem->fd = ltz__sys_reopen(fd);
	if (result >= 0)
		result = mem->share_fd = ltz__sys_duplicate(fd);
	if (result >= 0)
		result = map(mem, size, options->readonly);
	if (result >= 0) {
		derive(mem);
		result = join(mem, options);
	}
	if (result < 0) {
		undo(mem);
		return result;
	}
	*out = mem;
	return 0;
}

void ltz__mem_detach(struct ltz_mem *mem) { undo(mem); }

void ltz__mem_abandon(struct ltz_mem *mem)
{
	mem->base = mem->members_map = NULL; /* not inherited by the child */
	undo(mem);
}

/* ---- small questions ----------------------------------------------------------------- */

void ltz__mem_id(const struct ltz_mem *mem, uint8_t id[16]) { memcpy(id, mem->geometry.id, 16); }
bool ltz__mem_destroyed(const struct ltz_mem *mem) { return load_acquire(&mem->header->root) == ROOT_DESTROYED; }
uint32_t ltz__mem_flags(const struct ltz_mem *mem) { return mem->geometry.flags & ~SHM_FENCES; }
uint64_t *ltz__mem_guesses(struct ltz_mem *mem) { return &mem->members->guesses; }
int ltz__mem_fd(const struct ltz_mem *mem) { return mem->share_fd; }

void ltz__mem_destroy(struct ltz_mem *mem)
{
	uint64_t root;

	do {
		root = load_acquire(&mem->header->root);
	} while (root != ROOT_DESTROYED && !cas_seq_cst(&mem->header->root, root, ROOT_DESTROYED));
	LTZ_CRASH_POINT("shm.destroyed");
}

uint64_t ltz__mem_now_ns(const struct ltz_mem *mem)
{
	return ltz__sys_boottime_ns() + (uint64_t)__atomic_load_n(&mem->clock_offset_ns, __ATOMIC_RELAXED);
}

bool ltz__mem_same_clock(const struct ltz_mem *mem)
{
	return mem->geometry.time_namespace == ltz__sys_time_namespace();
}

void ltz__mem_set_now(struct ltz_mem *mem, uint64_t pool_now_ns)
{
	int64_t offset = (int64_t)(pool_now_ns - ltz__sys_boottime_ns());

	if (offset > -1000000000 && offset < 1000000000)
		offset = 0; /* the same clock; the rest is the time the message took */
	__atomic_store_n(&mem->clock_offset_ns, offset, __ATOMIC_RELAXED);
}

void ltz__mem_on_ring(struct ltz_mem *mem, void (*ring)(void *context), void *context)
{
	mem->ring_context = context;
	mem->ring = ring;
}
