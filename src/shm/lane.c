/* SPDX-License-Identifier: MIT */
/* lane.c - lanes and the scan of hazards. */
#include "shm/lane.h"

#include "shm/member.h"
#include "sys/fault.h"
#include "sys/sys.h"

#include <errno.h>
#include <stdlib.h>

__thread uint32_t ltz__lane_hint = LANE_FIRST;

int ltz__lanes_init(struct ltz_mem *mem)
{
	for (unsigned i = 0; i < SHM_LANES; i++) {
		struct ltz_lane *lane = &mem->lane[i];

		lane->index = i;
		lane->shm = &mem->row->lane[i];
		lane->label = label_make(mem->row_index, i, mem->generation);
	}
	return ltz__lane_open(mem, &mem->lane[LANE_SERVICE]);
}

void ltz__lanes_deinit(struct ltz_mem *mem)
{
	for (unsigned i = 0; i < SHM_LANES; i++) {
		free(mem->lane[i].extent);
		free(mem->lane[i].cursor);
	}
}

int ltz__lane_open(struct ltz_mem *mem, struct ltz_lane *lane)
{
	if (lane->cursor)
		return 0;
	lane->cursor = LTZ_PTR_CALL(NULL, calloc(2 * CLASSES_MAX, sizeof(*lane->cursor)));
	if (!lane->cursor)
		return -ENOMEM;
	/*
	 * A scanner that read the lower count before this store cannot have
	 * missed a valid hazard of the lane: what it looks for was unlinked
	 * before its barrier, and the lane validates after its own.
	 * pairs with: shm/lane.c:read_row
	 */
	raise_acq_rel(&mem->row->lanes_used, lane->index + 1);
	LTZ_CRASH_POINT("shm.lane_opened");
	fence_full();
	return 0;
}

struct ltz_lane *ltz__lane_take_slow(struct ltz_mem *mem)
{
	for (uint32_t i = ltz__lane_hint;; i++) {
		struct ltz_lane *lane;

		if (i >= SHM_LANES) {
			ltz__sys_yield();
			i = LANE_FIRST;
		}
		lane = &mem->lane[i];
		if (!lane_try(lane))
			continue;
		if (ltz__lane_open(mem, lane) < 0) {
			lane_give(lane);
			return NULL;
		}
		ltz__lane_hint = i;
		lane->used = 1;
		return lane;
	}
}

/* ---- hazards --------------------------------------------------------------------- */

static void note(struct ltz_hazards *hazards, uint64_t ref)
{
	if (!ref)
		return;
	if (hazards->count == hazards->room) {
		uint32_t room = hazards->room ? 2 * hazards->room : 64;
		uint64_t *more = LTZ_PTR_CALL(NULL, realloc(hazards->ref, room * sizeof(*more)));

		if (!more) {
			hazards->failed = true;
			return;
		}
		hazards->ref = more;
		hazards->room = room;
	}
	hazards->ref[hazards->count++] = ref;
}

static int compare_refs(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static unsigned bounded(uint64_t value, unsigned limit) { return value < limit ? (unsigned)value : limit; }

/* The hazards of a row that is up. A row counts until it is released, also when its member is dead. */
static void read_row(struct shm_row *row, struct ltz_hazards *hazards)
{
	unsigned lanes, views;

	/* acquire: later overwriting of the blocks must not move before these loads */
	if (!row_up(load_acquire(&row->word)))
		return;
	lanes = bounded(load_acquire(&row->lanes_used), SHM_LANES); /* pairs with: shm/lane.c:ltz__lane_open */
	for (unsigned i = 0; i < lanes; i++) {
		note(hazards, load_acquire(&row->lane[i].hw));
		note(hazards, load_acquire(&row->lane[i].hr));
	}
	views = bounded(load_acquire(&row->views_used), SHM_VIEWS);
	for (unsigned i = 0; i < views; i++)
		note(hazards, load_acquire(&row->view[i]));
}

void ltz__hazards_read(struct ltz_mem *mem, struct ltz_hazards *hazards)
{
	unsigned rows;

	*hazards = (struct ltz_hazards){0};
	if (ltz__members_barrier(mem) < 0) { /* pairs with: shm/attachment.h:fence_hazard */
		hazards->failed = true;
		return;
	}
	rows = ltz__rows_high(mem);
	for (unsigned r = 0; r < rows; r++)
		read_row(&mem->rows[r], hazards);
	if (hazards->count > 1)
		qsort(hazards->ref, hazards->count, sizeof(*hazards->ref), compare_refs);
}

void ltz__hazards_free(struct ltz_hazards *hazards)
{
	free(hazards->ref);
	*hazards = (struct ltz_hazards){0};
}

bool ltz__hazards_hold(const struct ltz_hazards *hazards, uint64_t from, uint64_t to)
{
	uint32_t low = 0, high = hazards->count;

	if (hazards->failed)
		return true;
	while (low < high) { /* the first ref >= from */
		uint32_t middle = low + (high - low) / 2;

		if (hazards->ref[middle] < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low < hazards->count && hazards->ref[low] < to;
}

bool ltz__table_hazard(const struct ltz_mem *mem, uint64_t born, uint64_t dropped)
{
	unsigned rows = ltz__rows_high(mem);

	for (unsigned r = 0; r < rows; r++) {
		struct shm_row *row = &mem->rows[r];
		unsigned lanes;

		if (!row_up(load_acquire(&row->word)))
			continue;
		lanes = bounded(load_acquire(&row->lanes_used), SHM_LANES);
		for (unsigned i = 0; i < lanes; i++) {
			uint64_t th = load_acquire(&row->lane[i].th); /* pairs with: store/table.c:ltz__table_enter */

			if (th && th - 1 >= born && th - 1 < dropped)
				return true;
		}
	}
	return false;
}
