/* SPDX-License-Identifier: MIT */
/* emptied.c - what is left of a pool whose keys are gone. See emptied.h. */
#include "emptied.h"

#include <sys/stat.h>

#include "shm/granule.h"
#include "shm/member.h"
#include "store/tick.h"
#include "sweep.h"
#include "sys/sys.h"

#define ROWS_BACKED 16
#define LATER_NS UINT64_C(11000000000) /* also what is done every ten seconds is due */
#define TICKS_MOST 20
#define PAGE 4096

void emptied_prepare(struct ltz_mem *mem)
{
	ASSERT_OK(ltz__sys_commit(mem->fd, mem->geometry.rows_offset, ROWS_BACKED * sizeof(struct shm_row)));
}

void emptied_tick(struct ltz_mem *mem, unsigned times)
{
	for (unsigned i = 0; i < times; i++) {
		ltz__mem_set_now(mem, ltz__mem_now_ns(mem) + LATER_NS);
		ltz__tick(mem);
	}
}

static unsigned rows_up(const struct ltz_mem *mem)
{
	unsigned up = 0;

	for (unsigned r = 0; r < ltz__rows_high(mem); r++)
		up += row_up(load_acquire(&mem->rows[r].word));
	return up;
}

static unsigned entries_claimed(const struct ltz_mem *mem)
{
	unsigned claimed = 0;

	for (unsigned id = 1; id < SHM_TABLES; id++)
		claimed += load_acquire(&mem->directory[id].claim) != 0;
	return claimed;
}

static bool any_hazard(const struct ltz_mem *mem)
{
	bool any = false;

	for (unsigned i = 0; i < SHM_LANES; i++)
		any |= load_acquire(&mem->row->lane[i].hw) || load_acquire(&mem->row->lane[i].hr);
	return any;
}

static bool any_lane_taken(const struct ltz_mem *mem)
{
	bool any = false;

	for (unsigned i = 0; i < SHM_LANES; i++)
		any |= mem->lane[i].busy != 0;
	return any;
}

static const char *left_over(const struct ltz_mem *mem)
{
	uint64_t root = load_acquire(&mem->header->root);
	struct ltz_granule_counts counts;

	ltz__granules_count(mem, &counts);
	if (any_hazard(mem))
		return "a hazard";
	if (any_lane_taken(mem))
		return "a lane that nobody uses";
	if (rows_up(mem) != 1)
		return "a row";
	if (root_prev(root) || root_cur_log2(root) != mem->geometry.table_log2)
		return "a large index";
	if (entries_claimed(mem) != 1)
		return "a directory entry";
	if (counts.claimed)
		return "a claimed extent";
	return counts.slab || counts.run ? "an extent" : NULL;
}

void emptied_expect(struct ltz_mem *mem, uint64_t *pages)
{
	struct ltz_granule_counts counts;
	const char *left = "";
	struct stat status;
	uint64_t beside;

	for (unsigned i = 0; left != NULL && i < TICKS_MOST; i++) {
		emptied_tick(mem, 1);
		left = left_over(mem);
	}
	if (left != NULL) {
		sweep_wrong("%s is left over", left);
		return;
	}
	emptied_tick(mem, 1);
	ltz__granules_count(mem, &counts);
	ASSERT_OK(fstat(mem->fd, &status));
	beside = (uint64_t)status.st_blocks * 512 / PAGE - (counts.table + counts.free) * (SHM_GRANULE / PAGE);
	if (*pages == 0)
		*pages = beside;
	sweep_expect("the number of pages beside what is committed", (int64_t)beside, (int64_t)*pages);
}
