/* SPDX-License-Identifier: MIT */
/*
 * pool.c - the public calls that give and take handles. What they promise is in
 * latzero.h; how joining works in join.c; what a handle hangs on in registry.h.
 */
#include <string.h>

#include "base/error.h"
#include "pool/join.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "pool/rendezvous.h"
#include "shm/mem.h"
#include "sys/sys.h"

#define TIMEOUT_MS 2000u
#define POOL_FLAGS ((unsigned)LTZ_NO_PICKLE) /* what create may be asked for */

const char *ltz_strerror(int result)
{
	return ltz__strerror(result);
}

const char *ltz_error_detail(void)
{
	return ltz__detail();
}

/* ---- joining and leaving ---------------------------------------------------------- */

static uint64_t deadline_of(const struct ltz_open_options *options)
{
	uint64_t timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : TIMEOUT_MS;

	return ltz__sys_boottime_ns() + timeout_ms * 1000000u;
}

/* What create, connect and import check first; also clears the thread's detail line. */
static int check_arguments(const char *name, const struct ltz_open_options *options, unsigned allowed_flags)
{
	(void)ltz__fail(0, NULL);
	if ((options->flags & ~allowed_flags) != 0)
		return ltz__fail(-EINVAL, "flags 0x%x are not for this call", options->flags & ~allowed_flags);
	return ltz__name_check(name);
}

int ltz_create(const char *name, const struct ltz_open_options *options, ltz_pool **out)
{
	static const struct ltz_open_options usual;
	struct ltz_place place;

	options = options != NULL ? options : &usual;
	int r = check_arguments(name, options, POOL_FLAGS);
	if (r < 0)
		return r;
	const struct ltz_wish wish = {
		.name = name, .max_size_bytes = options->max_size_bytes, .pool_flags = options->flags,
		.deadline_ns = deadline_of(options),
	};
	r = ltz__place_open(&place, options->dir);
	if (r < 0)
		return r;
	r = ltz__join_create(&place, &wish, out);
	ltz__place_close(&place);
	return r;
}

int ltz_connect(const char *name, const struct ltz_open_options *options, ltz_pool **out)
{
	static const struct ltz_open_options usual;
	struct ltz_place place;

	options = options != NULL ? options : &usual;
	int r = check_arguments(name, options, LTZ_READONLY);
	if (r < 0)
		return r;
	const struct ltz_wish wish = {
		.name = name, .readonly = (options->flags & LTZ_READONLY) != 0,
		.deadline_ns = deadline_of(options),
	};
	r = ltz__place_open(&place, options->dir);
	if (r < 0)
		return r;
	r = ltz__join_connect(&place, &wish, out);
	ltz__place_close(&place);
	return r;
}

void ltz_close(ltz_pool *pool)
{
	/* In a raw clone, and at exit, the handle is not ours any more to give back. */
	if (pool == NULL || ltz__registry_enter() < 0)
		return;
	ltz__handle_free(pool);
	ltz__registry_leave();
}

int ltz__pool_revive(ltz_pool *pool, struct ltz_mem **mem)
{
	int r = ltz__registry_enter();

	if (r < 0)
		return r;
	r = ltz__membership_revive(pool->membership);
	if (r == 0)
		*mem = pool->membership->served.mem;
	ltz__registry_leave();
	return r;
}

/* ---- what a handle knows by itself -------------------------------------------------- */

const char *ltz_name(const ltz_pool *pool)
{
	return pool->membership->name;
}

unsigned ltz_flags(const ltz_pool *pool)
{
	return pool->membership->pool_flags | (pool->readonly ? (unsigned)LTZ_READONLY : 0u);
}

/* ---- handing over -------------------------------------------------------------------- */

int ltz_export(ltz_pool *pool, int fds[2])
{
	int r = ltz__registry_enter();

	if (r < 0)
		return r;
	struct ltz_membership *membership = pool->membership;
	/* A child that has not joined by itself can still hand on what it keeps. */
	int listener = ltz__service_listener(&membership->served);
	if (listener >= 0) {
		fds[0] = membership->memfd;
		fds[1] = listener;
	}
	ltz__registry_leave();
	return listener >= 0 ? 0 : -ESHUTDOWN;
}

/* Under the registry lock; uses the descriptors up. place: where the name may be, or NULL. */
static int import_handle(const char *name, const int fds[2], bool readonly, const struct ltz_place *place, ltz_pool **out)
{
	const struct ltz_admission admission = {
		.name = name, .memfd = fds[0], .listener = fds[1], .readonly = readonly,
		.dir = place != NULL ? place->dir : -1, .dir_path = place != NULL ? place->path : NULL,
	};
	struct ltz_membership *membership, *known;
	int r = ltz__join_verify(fds[0], fds[1]);

	if (r < 0) {
		ltz__sys_close(fds[0]);
		ltz__sys_close(fds[1]);
		return r;
	}
	r = ltz__membership_new(&admission, &membership);
	if (r < 0)
		return r;
	known = ltz__membership_by_id(membership->id, readonly);
	if (known != NULL) {
		ltz__membership_free(membership);
		return ltz__handle_new(known, readonly, out);
	}
	r = ltz__membership_serve(membership);
	if (r < 0) {
		ltz__membership_free(membership);
		return r;
	}
	return ltz__handle_new(membership, readonly, out);
}

int ltz_import(const char *name, const int fds[2], const struct ltz_open_options *options, ltz_pool **out)
{
	static const struct ltz_open_options usual;
	struct ltz_place place;

	options = options != NULL ? options : &usual;
	bool readonly = (options->flags & LTZ_READONLY) != 0;
	int r = check_arguments(name, options, LTZ_READONLY);
	if (r == 0 && ltz__place_open(&place, options->dir) == 0) {
		r = import_handle(name, fds, readonly, &place, out);
		ltz__place_close(&place);
		return r;
	}
	/* Without the directory too: only the name is not removed by us then. */
	if (r == 0)
		r = ltz__registry_enter();
	if (r < 0) {
		ltz__sys_close(fds[0]);
		ltz__sys_close(fds[1]);
		return r;
	}
	r = import_handle(name, fds, readonly, NULL, out);
	ltz__registry_leave();
	return r;
}
