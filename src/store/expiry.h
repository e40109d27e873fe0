/* SPDX-License-Identifier: MIT */
/* expiry.h - giving back records past their expiry. Readers never need it: they judge by the clock. */
#ifndef LTZ_STORE_EXPIRY_H
#define LTZ_STORE_EXPIRY_H

#include "shm/attachment.h"
#include "shm/lane.h"

/*
 * Visits the extents whose due time has come and deletes what has expired in
 * them. all: visits every extent that holds expiring records (after a member
 * died, perhaps in the middle of a sweep). Returns how many were deleted;
 * *next_ms is when the next extent is due.
 */
uint64_t ltz__sweep(struct ltz_mem *mem, struct ltz_lane *lane, bool all, uint64_t *next_ms);

#endif
