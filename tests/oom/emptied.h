/* SPDX-License-Identifier: MIT */
/* emptied.h - a pool whose keys are all gone has nothing left but its first table. */
#ifndef LTZ_TEST_OOM_EMPTIED_H
#define LTZ_TEST_OOM_EMPTIED_H

#include "shm/attachment.h"

/* Memory whose use depends on who has joined is there from now on: call it before anything is measured. */
void emptied_prepare(struct ltz_mem *mem);

/* Rounds of housekeeping, each so much later that everything is due. */
void emptied_tick(struct ltz_mem *mem, unsigned times);

/*
 * Keeps house until everything is given back that can be, and says by
 * sweep_wrong what is not: extents, tables, entries, rows, hazards; and memory
 * behind anything but FREE granules and the table. *pages: 0, or what such a
 * pool has beside those.
 */
void emptied_expect(struct ltz_mem *mem, uint64_t *pages);

#endif
