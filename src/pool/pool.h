/* SPDX-License-Identifier: MIT */
/*
 * pool.h - the handle, as the files of this floor see it.
 */
#ifndef LTZ_POOL_POOL_H
#define LTZ_POOL_POOL_H

#include <stdbool.h>

#include <latzero.h>

struct ltz_mem;
struct ltz_membership; /* pool.c: this process' one membership of a pool, shared by its handles */

struct ltz_pool {
	/*
	 * The memory that calls work on. Written with release by pool.c under its
	 * registry lock; read with acquire by every call. NULL in a forked child
	 * that has not yet joined by itself.
	 */
	struct ltz_mem *mem;
	struct ltz_membership *membership;
	bool readonly;
	ltz_pool *next; /* pool.c: the membership's handles */
};

/*
 * The memory to work on, joining first if this process is a forked child.
 * 0 and *mem, or a negative result.
 */
int ltz__pool_revive(ltz_pool *pool, struct ltz_mem **mem);

static inline int ltz__pool_enter(ltz_pool *pool, struct ltz_mem **mem)
{
	/* pairs with: pool/registry.c:ltz__membership_revive */
	*mem = __atomic_load_n(&pool->mem, __ATOMIC_ACQUIRE);
	return __builtin_expect(*mem != NULL, 1) ? 0 : ltz__pool_revive(pool, mem);
}

#endif
