/* SPDX-License-Identifier: MIT */
/* inspect.c - statistics and members. */
#include "pool/inspect.h"

#include "base/copy.h"
#include "pool/pool.h"
#include "shm/granule.h"
#include "shm/member.h"
#include "store/check.h"
#include "store/map.h"
#include "store/table.h"

#include <errno.h>
#include <string.h>

static void add_rows(const struct ltz_mem *mem, struct ltz_stats *stats)
{
	unsigned rows = ltz__rows_high(mem);

	for (unsigned r = 0; r < rows; r++) {
		const struct shm_row *row = &mem->rows[r];

		if (!row_up(load_acquire(&row->word)))
			continue;
		stats->members++;
		stats->hits += load_relaxed(&row->hits);
		stats->misses += load_relaxed(&row->misses);
		stats->sets += load_relaxed(&row->sets);
		stats->deletes += load_relaxed(&row->deletes);
	}
}

static void add_index(const struct ltz_mem *mem, struct ltz_stats *stats)
{
	struct ltz_root root;

	if (ltz__root_read(mem, &root) < 0)
		return;
	stats->index_buckets = root.cur.buckets;
	stats->index_lines = lines_used(load_relaxed(&root.cur.shm->lines));
}

int ltz__inspect_stats(struct ltz_mem *mem, struct ltz_stats *stats)
{
	struct ltz_granule_counts counts;

	if (ltz__mem_destroyed(mem))
		return -ESHUTDOWN;
	memset(stats, 0, sizeof(*stats));
	ltz__granules_count(mem, &counts);
	stats->keys = ltz__map_count(mem);
	stats->used_bytes = granule_offset(counts.slab + counts.run + counts.table + counts.claimed);
	stats->committed_bytes = stats->used_bytes + granule_offset(counts.free);
	stats->max_bytes = mem->geometry.max_bytes;
	stats->expired = load_relaxed(&mem->header->expired);
	stats->resizes = load_relaxed(&mem->header->resizes);
	stats->recovered_members = load_relaxed(&mem->header->recovered);
	stats->version = load_relaxed(&mem->header->next_version);
	stats->flags = ltz__mem_flags(mem);
	stats->auth = (stats->flags & LTZ_AUTH) != 0;
	stats->encryption = (stats->flags & LTZ_ENCRYPTION) != 0;
	stats->created_ms = mem->geometry.created_ms;
	add_rows(mem, stats);
	add_index(mem, stats);
	return 0;
}

int ltz_get_stats(ltz_pool *pool, struct ltz_stats *stats)
{
	struct ltz_mem *mem;
	int result = ltz__pool_enter(pool, &mem);

	return result < 0 ? result : ltz__inspect_stats(mem, stats);
}

static unsigned count_views(const struct shm_row *row)
{
	unsigned views = 0;

	for (unsigned i = 0; i < SHM_VIEWS; i++)
		views += load_relaxed(&row->view[i]) != 0;
	return views;
}

/* false: nobody alive is in the row. */
static bool describe_member(const struct ltz_mem *mem, unsigned r, struct ltz_member_info *info)
{
	const struct shm_row *row = &mem->rows[r];
	uint64_t word, pid_uid;

	if (!row_up(load_acquire(&row->word)) || ltz__member_dead(mem, r, &word) > 0)
		return false;
	memset(info, 0, sizeof(*info));
	pid_uid = load_relaxed(&row->pid_uid);
	info->pid = (uint32_t)pid_uid;
	info->uid = (uint32_t)(pid_uid >> 32);
	copy_from_pool(info->program, row->program, sizeof(info->program));
	info->program[sizeof(info->program) - 1] = 0;
	info->joined_ms = (int64_t)load_relaxed(&row->joined_ms);
	info->heartbeat_ms = (int64_t)load_relaxed(&row->heartbeat_ms);
	info->hits = load_relaxed(&row->hits);
	info->misses = load_relaxed(&row->misses);
	info->sets = load_relaxed(&row->sets);
	info->deletes = load_relaxed(&row->deletes);
	info->views = count_views(row);
	info->self = r == mem->row_index;
	return true;
}

int ltz_members(ltz_pool *pool, int (*visit)(void *context, const struct ltz_member_info *info), void *context)
{
	struct ltz_mem *mem;
	int result = ltz__pool_enter(pool, &mem);

	if (result < 0)
		return result;
	if (ltz__mem_destroyed(mem))
		return -ESHUTDOWN;
	for (unsigned r = 0; r < ltz__rows_high(mem); r++) {
		struct ltz_member_info info;

		if (!describe_member(mem, r, &info))
			continue;
		result = visit(context, &info);
		if (result)
			return result;
	}
	return 0;
}

int ltz_check(ltz_pool *pool, void (*report)(void *context, const char *line), void *context)
{
	struct ltz_mem *mem;
	int result = ltz__pool_enter(pool, &mem);

	if (result < 0)
		return result;
	if (ltz__mem_destroyed(mem))
		return -ESHUTDOWN;
	return ltz__check(mem, report, context);
}
