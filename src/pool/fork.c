/* SPDX-License-Identifier: MIT */
/*
 * fork.c - fork() and exit().
 *
 *     prepare   takes the registry lock, ends the service thread
 *     parent    starts the thread again (or leaves that to ltz_restart)
 *     child     forgets the parent's attachments; keeps, for each membership,
 *               the memory's descriptor, the listening socket and the keys
 *
 * - The lock descriptor of the parent's row is closed in the child at once: as
 *   long as the child held it, the parent's death would go unnoticed.
 * - The child has no mapping of the pool (it is not inherited) and no thread.
 *   It joins by itself at its first call: ltz__pool_revive.
 * - CPython counts threads right after the parent's handler and warns if there
 *   is more than one, hence ltz_defer_restart.
 */
#include <pthread.h>

#include "base/atomic.h"
#include "base/error.h"
#include "pool/fork.h"
#include "pool/registry.h"
#include "pool/rendezvous.h"
#include "pool/service.h"
#include "store/map.h"
#include "sys/fault.h"
#include "sys/sys.h"

static uint64_t deferring;   /* atomic: what ltz_defer_restart said last */
static int held;             /* under the lock: prepare took it          */

static void prepare(void)
{
	held = 0;
	if (ltz__registry_enter() < 0)
		return; /* a raw clone that forks: nothing in it is ours */
	held = 1;
	ltz__service_stop();
	LTZ_CRASH_POINT("pool.fork_prepared");
}

static void continue_parent(void)
{
	if (!held)
		return;
	/*
	 * If the thread cannot be started now, the next join tries again; until
	 * then this member serves nobody and the others do.
	 */
	if (load_relaxed(&deferring) == 0)
		(void)ltz__service_resume();
	LTZ_CRASH_POINT("pool.fork_resumed");
	ltz__registry_leave();
}

static void forget(struct ltz_membership *membership)
{
	for (ltz_pool *pool = membership->handles; pool != NULL; pool = pool->next)
		pool->mem = NULL; /* nobody else runs yet */
	ltz__keys_inherited(&membership->keys);
	if (membership->served.mem != NULL)
		ltz__map_abandon(membership->served.mem);
	membership->served.mem = NULL;
}

static void continue_child(void)
{
	if (!held)
		return;
	ltz__service_forked();
	ltz__rendezvous_forked();
	LTZ_CRASH_POINT("pool.child_unserved");
	for (struct ltz_membership *m = ltz__registry_first(); m != NULL; m = m->next)
		forget(m);
	LTZ_CRASH_POINT("pool.child_forgot");
	ltz__registry_forked();
}

int ltz__fork_watch(void)
{
	return -LTZ_ERR_CALL(pthread_atfork(prepare, continue_parent, continue_child));
}

void ltz_defer_restart(int yes)
{
	store_relaxed(&deferring, yes != 0);
}

void ltz_restart(void)
{
	if (ltz__registry_enter() < 0)
		return;
	(void)ltz__service_resume();
	ltz__registry_leave();
}

/*
 * A process that ends without ltz_close: the kernel frees everything but the
 * names. Other threads may still run and use the pools, so nothing is unmapped;
 * the service stays frozen and the registry lets nobody in any more. If the
 * locks cannot be had within a moment, the next call of anybody removes the names.
 */
__attribute__((destructor)) static void leave_names(void)
{
	if (!ltz__registry_try_enter())
		return;
	if (ltz__registry_first() == NULL || !ltz__service_freeze()) {
		ltz__registry_leave();
		return;
	}
	for (struct ltz_membership *m = ltz__registry_first(); m != NULL; m = m->next) {
		ltz__sys_close(m->served.listener);
		m->served.listener = -1;
	}
	LTZ_CRASH_POINT("pool.exit_unheard");
	for (struct ltz_membership *m = ltz__registry_first(); m != NULL; m = m->next)
		ltz__name_leave(m->dir, m->name);
	LTZ_CRASH_POINT("pool.exit_left");
	ltz__registry_end();
	ltz__registry_leave();
}
