/* SPDX-License-Identifier: MIT */
/*
 * registry.c - memberships and handles of this process. See registry.h.
 *
 * Leaving a pool, in this order:
 *   1. the service forgets it (no tick, no handshake runs any more)
 *   2. our copy of the listening socket is closed, and the name removed if
 *      that was the last one: a joiner then finds either a name with a member
 *      behind it, or none
 *   3. the memory is left: if we were the last, the kernel frees it now
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic.h"
#include "base/error.h"
#include "pool/fork.h"
#include "pool/registry.h"
#include "pool/rendezvous.h"
#include "shm/mem.h"
#include "store/map.h"
#include "sys/fault.h"
#include "sys/sys.h"

#define ENTER_TRIES 200

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t own_pid; /* of the process that the registry belongs to; a raw clone has another */
static int watch_result;  /* under the lock, once it is there */
static uint64_t ended; /* atomic: 1 once the process is exiting */
static struct ltz_membership *memberships;

/* ---- the lock ---------------------------------------------------------------------- */

static void begin(void)
{
	own_pid = ltz__sys_pid();
	watch_result = ltz__fork_watch();
}

int ltz__registry_enter(void)
{
	pthread_once(&once, begin);
	if (ltz__sys_pid() != own_pid)
		return ltz__fail(-ENOTSUP, "this process was made by a raw clone, without the fork handlers of the C library: "
		                 "it cannot use latzero");
	/*
	 * Sees the end of the process. Not under the lock: its last holder may keep it for good.
	 * pairs with: pool/registry.c:ltz__registry_end
	 */
	if (load_acquire(&ended) != 0)
		return ltz__fail(-ESHUTDOWN, "the process is exiting");
	pthread_mutex_lock(&lock);
	if (watch_result < 0) /* there was no memory for it: perhaps now */
		watch_result = ltz__fork_watch();
	if (watch_result < 0) {
		pthread_mutex_unlock(&lock);
		return ltz__fail(watch_result, "cannot register for fork: %s", ltz__strerror(watch_result));
	}
	return 0;
}

void ltz__registry_reenter(void)
{
	pthread_mutex_lock(&lock);
}

void ltz__registry_leave(void)
{
	pthread_mutex_unlock(&lock);
}

void ltz__registry_end(void)
{
	store_release(&ended, 1); /* lets nobody in; pairs with: pool/registry.c:ltz__registry_enter */
}

bool ltz__registry_try_enter(void)
{
	if (own_pid == 0 || ltz__sys_pid() != own_pid)
		return false;
	for (int i = 0; i < ENTER_TRIES; i++) {
		if (pthread_mutex_trylock(&lock) == 0)
			return true;
		ltz__sys_yield();
	}
	return false;
}

void ltz__registry_forked(void)
{
	pthread_mutex_init(&lock, NULL);
	own_pid = ltz__sys_pid();
}

struct ltz_membership *ltz__registry_first(void)
{
	return memberships;
}

/* ---- memberships ------------------------------------------------------------------------ */

static int attach(struct ltz_membership *membership, uint64_t pool_now_ns)
{
	const struct ltz_mem_options options = {
		.readonly = membership->readonly, .pool_key = ltz__keys_pool_key(&membership->keys),
	};
	struct ltz_mem *mem;
	int r = ltz__map_attach(membership->memfd, &options, &mem);

	/* Who can write the memory must not be able to say that it is not locked. */
	if (r == -EINVAL)
		return ltz__fail(-EUCLEAN, "the memory of pool '%s' says that it is %slocked, its members say the opposite",
		                 membership->name, options.pool_key ? "not " : "");
	if (r < 0)
		return r;
	uint32_t flags = ltz__mem_flags(mem);
	if (membership->pool_flags == LTZ_FLAGS_UNKNOWN && (flags & LTZ_AUTH) == 0)
		membership->pool_flags = flags;
	if (flags != membership->pool_flags) {
		ltz__map_detach(mem);
		return ltz__fail(-EUCLEAN, "the memory of pool '%s' says 0x%x of itself, its members say 0x%x",
		                 membership->name, flags, membership->pool_flags);
	}
	if (pool_now_ns != 0 && !ltz__mem_same_clock(mem))
		ltz__mem_set_now(mem, pool_now_ns);
	membership->clock_offset_ns = (int64_t)(ltz__mem_now_ns(mem) - ltz__sys_boottime_ns());
	membership->time_namespace = ltz__sys_time_namespace();
	ltz__mem_id(mem, membership->id);
	membership->served.mem = mem;
	return 0;
}

/* Where the name is; failing here only means that somebody else will have to remove it. */
static int remember_directory(struct ltz_membership *membership, const struct ltz_admission *admission)
{
	if (admission->dir < 0)
		return 0;
	membership->dir = ltz__sys_duplicate(admission->dir);
	if (membership->dir < 0)
		return membership->dir;
	if (admission->dir_path == NULL || admission->dir_path[0] != '/')
		return 0;
	membership->dir_path = LTZ_PTR_CALL(NULL, strdup(admission->dir_path));
	return membership->dir_path != NULL ? 0 : -ENOMEM;
}

int ltz__membership_new(const struct ltz_admission *admission, struct ltz_membership **out)
{
	struct ltz_membership *membership = LTZ_PTR_CALL(NULL, calloc(1, sizeof *membership));
	int r;

	if (membership == NULL) {
		ltz__sys_close(admission->memfd);
		ltz__sys_close(admission->listener);
		ltz__keys_deinit(admission->keys);
		return -ENOMEM;
	}
	membership->keys = *admission->keys;
	*admission->keys = (struct ltz_keys){ 0 };
	membership->pool_flags = admission->pool_flags;
	membership->memfd = admission->memfd;
	membership->served.listener = admission->listener;
	membership->dir = -1;
	membership->readonly = admission->readonly;
	memcpy(membership->name, admission->name, strlen(admission->name));
	r = remember_directory(membership, admission);
	if (r == 0)
		r = attach(membership, admission->pool_now_ns);
	if (r < 0) {
		ltz__membership_free(membership);
		if (ltz__detail()[0] == '\0')
			ltz__fail(r, "cannot join the memory of pool '%s': %s", admission->name, ltz__strerror(r));
		return r;
	}
	membership->served.name = membership->name;
	membership->served.id = membership->id;
	membership->served.keys = &membership->keys;
	membership->served.memfd = membership->memfd;
	membership->served.dir = membership->dir;
	*out = membership;
	return 0;
}

void ltz__membership_free(struct ltz_membership *membership)
{
	if (membership->served.mem != NULL)
		ltz__map_detach(membership->served.mem);
	ltz__sys_close(membership->served.listener);
	ltz__sys_close(membership->memfd);
	ltz__sys_close(membership->dir);
	ltz__keys_deinit(&membership->keys);
	free(membership->dir_path);
	free(membership);
}

int ltz__membership_serve(struct ltz_membership *membership)
{
	int r = ltz__service_add(&membership->served);

	if (r < 0)
		return r;
	membership->next = memberships;
	memberships = membership;
	return 0;
}

/* The last handle is gone: see the top of this file. */
static void leave_pool(struct ltz_membership *membership)
{
	struct ltz_membership **link = &memberships;

	while (*link != NULL && *link != membership)
		link = &(*link)->next;
	if (*link != NULL)
		*link = membership->next;
	if (membership->served.mem != NULL)
		ltz__service_remove(&membership->served);
	LTZ_CRASH_POINT("pool.unserved");
	if (membership->served.listener >= 0) {
		ltz__sys_close(membership->served.listener);
		membership->served.listener = -1;
		LTZ_CRASH_POINT("pool.unheard");
		ltz__name_leave(membership->dir, membership->name);
		LTZ_CRASH_POINT("pool.name_left");
	}
	ltz__membership_free(membership);
}

int ltz__membership_revive(struct ltz_membership *membership)
{
	uint64_t pool_now_ns = 0;
	int r;

	if (membership->served.mem != NULL)
		return 0;
	if (membership->served.listener < 0)
		return -ESHUTDOWN; /* destroyed before the fork */
	if (membership->time_namespace == ltz__sys_time_namespace()) /* else our parent's offset is not ours */
		pool_now_ns = ltz__sys_boottime_ns() + (uint64_t)membership->clock_offset_ns;
	r = attach(membership, pool_now_ns);
	if (r < 0)
		return r;
	LTZ_CRASH_POINT("pool.child_joined");
	r = ltz__service_add(&membership->served);
	if (r < 0) {
		ltz__map_detach(membership->served.mem);
		membership->served.mem = NULL;
		return r;
	}
	for (ltz_pool *pool = membership->handles; pool != NULL; pool = pool->next)
		/* publishes the attachment; pairs with: pool/pool.h:ltz__pool_enter */
		__atomic_store_n(&pool->mem, membership->served.mem, __ATOMIC_RELEASE);
	return 0;
}

/* Fits a wish for a readonly or writable handle, and its pool lives. */
static bool is_usable(struct ltz_membership *membership, bool readonly)
{
	if (membership->readonly && !readonly)
		return false;
	return ltz__membership_revive(membership) == 0 && !ltz__mem_destroyed(membership->served.mem);
}

struct ltz_membership *ltz__membership_by_name(const char *dir_path, const char *name, bool readonly)
{
	for (struct ltz_membership *m = memberships; m != NULL; m = m->next)
		if (m->dir_path != NULL && strcmp(m->dir_path, dir_path) == 0 && strcmp(m->name, name) == 0 &&
		    is_usable(m, readonly))
			return m;
	return NULL;
}

struct ltz_membership *ltz__membership_by_id(const uint8_t id[LTZ_ID_BYTES], bool readonly)
{
	for (struct ltz_membership *m = memberships; m != NULL; m = m->next)
		if (memcmp(m->id, id, LTZ_ID_BYTES) == 0 && is_usable(m, readonly))
			return m;
	return NULL;
}

/* ---- handles --------------------------------------------------------------------------------- */

int ltz__handle_new(struct ltz_membership *membership, bool readonly, ltz_pool **out)
{
	ltz_pool *pool = LTZ_PTR_CALL(NULL, calloc(1, sizeof *pool));

	if (pool == NULL) {
		if (membership->handles == NULL)
			leave_pool(membership);
		return -ENOMEM;
	}
	pool->membership = membership;
	pool->readonly = readonly;
	pool->next = membership->handles;
	membership->handles = pool;
	/* publishes the attachment; pairs with: pool/pool.h:ltz__pool_enter */
	__atomic_store_n(&pool->mem, membership->served.mem, __ATOMIC_RELEASE);
	*out = pool;
	return 0;
}

void ltz__handle_free(ltz_pool *pool)
{
	struct ltz_membership *membership = pool->membership;
	ltz_pool **link = &membership->handles;

	while (*link != pool)
		link = &(*link)->next;
	*link = pool->next;
	free(pool);
	if (membership->handles == NULL)
		leave_pool(membership);
}
