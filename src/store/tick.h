/* SPDX-License-Identifier: MIT */
/*
 * tick.h - the pool's housekeeping, done by every member's service thread.
 */
#ifndef LTZ_STORE_TICK_H
#define LTZ_STORE_TICK_H

#include <stdbool.h>
#include <stdint.h>

struct ltz_mem;

/*
 * Does what is due: resizing the index, memory ahead of need, reclaiming and
 * releasing what this process' idle lanes hold; and, in the one member that
 * is janitor, sweeping the expired, adopting the dead, giving idle memory
 * back. One thread of the process at a time. Returns after how many
 * nanoseconds it wants to be called again (earlier when rung).
 */
uint64_t ltz__tick(struct ltz_mem *mem);

/* Private state, for attaching and detaching. 0, -ENOMEM. */
int ltz__tick_init(struct ltz_mem *mem);
void ltz__tick_deinit(struct ltz_mem *mem);

/*
 * Begins to settle the member in this row if it is proven dead, and says
 * whether it was; what is left after a slice is done by the next ltz__tick.
 * From the thread that calls ltz__tick.
 */
bool ltz__settle_row(struct ltz_mem *mem, unsigned row);

/*
 * Settles every member that is dead now, whatever the lease says. Returns how
 * many rows were released, or negative: somebody may be dead and is not settled.
 */
int ltz__adopt_dead(struct ltz_mem *mem);

#endif
