/* SPDX-License-Identifier: MIT */
/* attach.c - a member's way into the map: the memory, joined, with its first table. */
#include "shm/lane.h"
#include "store/map.h"
#include "store/resize.h"
#include "store/tick.h"

#include <errno.h>

static const struct ltz_index_ops index_ops = {.refers = ltz__map_refers};

int ltz__map_attach(int fd, const struct ltz_mem_options *options, struct ltz_mem **out)
{
	struct ltz_mem *mem;
	int result = ltz__mem_attach(fd, options, &mem);

	if (result < 0)
		return result;
	mem->index = &index_ops;
	result = ltz__tick_init(mem);
	if (result == 0 && !mem->readonly)
		result = ltz__table_first(mem, &mem->lane[LANE_SERVICE]);
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
	ltz__mem_detach(mem);
}

void ltz__map_abandon(struct ltz_mem *mem)
{
	ltz__tick_deinit(mem);
	ltz__mem_abandon(mem);
}
