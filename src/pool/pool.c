/* SPDX-License-Identifier: MIT */
/*
 * pool.c - the public calls that give and take handles by name. What they promise is in
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
#define LOCK_FLAGS ((unsigned)LTZ_AUTH | LTZ_ENCRYPTION)
#define POOL_FLAGS ((unsigned)LTZ_NO_PICKLE | LOCK_FLAGS) /* what create may be asked for */

const char *ltz_strerror(int result)
{
	return ltz__strerror(result);
}

const char *ltz_error_detail(void)
{
	return ltz__detail();
}

unsigned ltz_retry_after_ms(void)
{
	return ltz__retry_after_ms();
}

int ltz_harden(void)
{
	return ltz__sys_harden();
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

/* A pool that was asked to be protected is never made unprotected, nor one that was not protected. */
static int check_protection(const struct ltz_wish *wish)
{
	int r = ltz__password_check(&wish->password);

	if (r < 0)
		return r;
	if ((wish->pool_flags & LOCK_FLAGS) != 0 && wish->password.bytes == NULL)
		return ltz__fail(-EINVAL, "a locked or encrypted pool needs a key");
	if ((wish->pool_flags & LOCK_FLAGS) == 0 && wish->password.bytes != NULL)
		return ltz__fail(-EINVAL, "a key is given, but the pool is to be neither locked nor encrypted");
	return 0;
}

int ltz_create(const char *name, const struct ltz_open_options *options, ltz_pool **out)
{
	static const struct ltz_open_options usual;
	struct ltz_place place;

	options = options != NULL ? options : &usual;
	int r = check_arguments(name, options, POOL_FLAGS | LTZ_RAW_KEY);
	if (r < 0)
		return r;
	struct ltz_wish wish = {
		.name = name, .max_size_bytes = options->max_size_bytes, .pool_flags = options->flags & POOL_FLAGS,
		.password = ltz__password_of(options), .deadline_ns = deadline_of(options),
	};
	if ((wish.pool_flags & LTZ_ENCRYPTION) != 0)
		wish.pool_flags |= LTZ_AUTH;
	r = check_protection(&wish);
	if (r == 0)
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
	int r = check_arguments(name, options, LTZ_READONLY | LTZ_RAW_KEY);
	if (r < 0)
		return r;
	struct ltz_wish wish = {
		.name = name, .readonly = (options->flags & LTZ_READONLY) != 0,
		.password = ltz__password_of(options), .deadline_ns = deadline_of(options),
	};
	r = ltz__password_check(&wish.password);
	if (r == 0)
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
