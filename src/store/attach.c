/* SPDX-License-Identifier: MIT */
/* attach.c - a member's way into the map: the memory, joined, with its first table. */
#include "shm/lane.h"
#include "shm/slab.h"
#include "store/map.h"
#include "store/resize.h"
#include "store/seal.h"
#include "store/tick.h"

#include <errno.h>

static const struct ltz_index_ops index_ops = {.refers = ltz__map_refers, .expect = ltz__map_expect};

/* All who came before may have died before there was a table, with all the memory in their hands. */
static int make_first_table(struct ltz_mem *mem)
{
	struct ltz_lane *lane = &mem->lane[LANE_SERVICE];
	int result = ltz__table_first(mem, lane);

	if (result != -ENOSPC || ltz__adopt_dead(mem) <= 0)
		return result;
	ltz__process_reclaim(mem, lane);
	return ltz__table_first(mem, lane);
}

static int make_seal(struct ltz_mem *mem, const uint8_t *pool_key)
{
	uint8_t id[16];

	ltz__mem_id(mem, id);
	return ltz__seal_new(&mem->seal, pool_key, id, mem->hidden_names);
}

int ltz__map_attach(int fd, const struct ltz_mem_options *options, struct ltz_mem **out)
{
	struct ltz_mem *mem;
	int result = ltz__mem_attach(fd, options, &mem);

	if (result < 0)
		return result;
	mem->index = &index_ops;
	result = options->pool_key ? make_seal(mem, options->pool_key) : 0;
	if (result == 0)
		result = ltz__tick_init(mem);
	if (result == 0 && !mem->readonly)
		result = make_first_table(mem);
	if (result < 0) {
		ltz__map_detach(mem);
		return result;
	}
	*out = mem;
	return 0;
}

void ltz__map_detach(struct ltz_mem *mem)
{
	ltz__tick_deinit(mem);
	ltz__seal_free(mem->seal);
	ltz__mem_detach(mem);
}

void ltz__map_abandon(struct ltz_mem *mem)
{
	ltz__tick_deinit(mem);
	ltz__seal_free(mem->seal);
	ltz__mem_abandon(mem);
}
