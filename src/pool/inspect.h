/* SPDX-License-Identifier: MIT */
/* inspect.h - looking inside a pool. */
#ifndef LTZ_POOL_INSPECT_H
#define LTZ_POOL_INSPECT_H

#include <latzero.h>

struct ltz_mem;

/* ltz_get_stats for memory that is joined. */
int ltz__inspect_stats(struct ltz_mem *mem, struct ltz_stats *stats);

#endif
