/* SPDX-License-Identifier: MIT */
/*
 * resize.h - tables come and go: RESIZE of docs/design/protocol-index.md, and
 * the life of a table's memory.
 */
#ifndef LTZ_STORE_RESIZE_H
#define LTZ_STORE_RESIZE_H

#include "store/table.h"

/* Should the table grow, by the lines that its buckets have appended? */
bool ltz__resize_wanted(const struct ltz_root *root);

/*
 * Lines that migrating `from` into 2^log2 buckets may take: by its lines used,
 * which are final once it is the previous table, and one spare line for each
 * lane that may lose a race.
 */
uint64_t ltz__lines_for_migration(struct ltz_mem *mem, const struct ltz_table *from, unsigned log2);

/*
 * Twice the size; or, if a resize is under way, ends that one. root was read
 * by ltz__table_enter. 0: the root has changed, by us or others. -ENOSPC.
 */
int ltz__resize(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root);

/*
 * A slice of a resize under way, from bucket *at on; *at moves. 1: there is
 * more to do; 0: it is over, or the root has changed.
 */
int ltz__resize_slice(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root, uint64_t *at);

/* The same, a small slice, from where this lane stopped last time. For writers that wait for lines. */
int ltz__resize_help(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root);

/* Begins a resize to any size: the present one (compaction), one more or one less. 0: the root has changed. -ENOSPC. */
int ltz__resize_begin(struct ltz_mem *mem, struct ltz_lane *lane, const struct ltz_root *root, unsigned log2);

/* Makes a new pool's first table. 0 also when it has one. -ENOSPC. */
int ltz__table_first(struct ltz_mem *mem, struct ltz_lane *lane);

/* Frees directory entries whose claimer is gone and that lead to no table: it died making or leaving one. */
void ltz__entries_tend(struct ltz_mem *mem);

/*
 * Looks after this lane's tables: cuts unused lines off the current one,
 * begins the release of dropped ones that no table hazard names.
 */
void ltz__tables_tend(struct ltz_mem *mem, struct ltz_lane *lane);

#endif
