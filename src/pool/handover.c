/* SPDX-License-Identifier: MIT */
/*
 * handover.c - handing a pool to a child process by descriptors.
 *
 * The keys of a locked pool travel in the kernel's queue of a socket pair whose
 * sending end is closed already: nothing but that one descriptor leads to them,
 * it gives them once, and they are in no file, pickle or page of the pool.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "guard/wipe.h"
#include "pool/join.h"
#include "pool/pool.h"
#include "pool/registry.h"
#include "pool/rendezvous.h"
#include "sys/sys.h"

static void close_all(const int *fds)
{
	for (unsigned i = 0; i < LTZ_EXPORT_FDS; i++)
		ltz__sys_close(fds[i]);
}

/* What the third descriptor carries. */
struct handed_keys {
	struct ltz_terms terms;
	uint8_t id[LTZ_ID_BYTES];
	uint8_t pool_key[LTZ_POOL_KEY_BYTES], w[LTZ_W_BYTES];
	uint32_t pool_flags, reserved;
};

static_assert(sizeof(struct handed_keys) == 120, "no padding in packets");

/* ---- giving ------------------------------------------------------------------------- */

static int export_keys(const struct ltz_membership *membership, int *fd)
{
	struct handed_keys handed = { .terms = membership->keys.terms, .pool_flags = membership->pool_flags };
	int ends[2], r = ltz__sys_socket_pair(ends);

	if (r < 0)
		return r;
	memcpy(handed.id, membership->id, sizeof handed.id);
	memcpy(handed.pool_key, ltz__keys_pool_key(&membership->keys), sizeof handed.pool_key);
	memcpy(handed.w, ltz__keys_w(&membership->keys), sizeof handed.w);
	r = ltz__sys_send(ends[0], &handed, sizeof handed, NULL, 0);
	ltz__wipe(&handed, sizeof handed);
	ltz__sys_close(ends[0]);
	if (r < 0)
		ltz__sys_close(ends[1]);
	else
		*fd = ends[1];
	return r;
}

int ltz_export(ltz_pool *pool, int fds[LTZ_EXPORT_FDS])
{
	int copies[LTZ_EXPORT_FDS] = { -1, -1, -1 };
	int r = ltz__registry_enter();

	if (r < 0)
		return r;
	struct ltz_membership *membership = pool->membership;
	/* A child that has not joined by itself can still hand on what it keeps. */
	int listener = ltz__service_listener(&membership->served);
	r = listener >= 0 ? 0 : -ESHUTDOWN;
	if (r == 0)
		r = copies[0] = ltz__sys_duplicate(membership->memfd);
	if (r >= 0)
		r = copies[1] = ltz__sys_duplicate(listener);
	if (r >= 0 && ltz__keys_any(&membership->keys))
		r = export_keys(membership, &copies[2]);
	ltz__registry_leave();
	if (r < 0) {
		close_all(copies);
		return r;
	}
	memcpy(fds, copies, sizeof copies);
	return 0;
}

/* ---- taking ---------------------------------------------------------------------------- */

/* Takes the keys out of fd, which may be -1: none. */
static int take_keys(int fd, struct ltz_keys *keys, struct handed_keys *handed)
{
	int no_fds[LTZ_SYS_MAX_FDS];
	unsigned nfds = 0;

	*handed = (struct handed_keys){ .pool_flags = LTZ_FLAGS_UNKNOWN };
	if (fd < 0)
		return 0;
	ssize_t size = ltz__sys_receive(fd, handed, sizeof *handed, no_fds, &nfds);
	if (size == 0 || size == -EAGAIN)
		return ltz__fail(-EKEYREJECTED, "the key that was handed over has been taken by somebody already");
	if (size != sizeof *handed || handed->terms.kind == LTZ_TERMS_OPEN || (handed->pool_flags & LTZ_AUTH) == 0)
		return ltz__fail(-EPROTO, "what was handed over is not the key of a pool");
	return ltz__keys_set(keys, &handed->terms, handed->w, handed->pool_key);
}

/* The membership of what was handed over; uses the descriptors up. */
static int make_membership(const char *name, const int fds[LTZ_EXPORT_FDS], bool readonly,
                           const struct ltz_place *place, struct ltz_membership **out)
{
	struct handed_keys handed;
	struct ltz_keys keys = { 0 };
	int r = take_keys(fds[2], &keys, &handed);

	ltz__wipe(handed.w, sizeof handed.w);
	ltz__wipe(handed.pool_key, sizeof handed.pool_key);
	ltz__sys_close(fds[2]);
	if (r == 0)
		r = ltz__join_verify(fds[0], fds[1]);
	if (r < 0) {
		ltz__keys_deinit(&keys);
		ltz__sys_close(fds[0]);
		ltz__sys_close(fds[1]);
		return r;
	}
	const struct ltz_admission admission = {
		.name = name, .memfd = fds[0], .listener = fds[1], .readonly = readonly,
		.keys = &keys, .pool_flags = handed.pool_flags,
		.dir = place != NULL ? place->dir : -1, .dir_path = place != NULL ? place->path : NULL,
	};
	r = ltz__membership_new(&admission, out);
	if (r < 0 || handed.pool_flags == LTZ_FLAGS_UNKNOWN || memcmp(handed.id, (*out)->id, LTZ_ID_BYTES) == 0)
		return r;
	ltz__membership_free(*out);
	return ltz__fail(-EPROTO, "the key that was handed over is of another pool");
}

/* Under the registry lock; uses the descriptors up. place: where the name may be, or NULL. */
static int import_handle(const char *name, const int fds[LTZ_EXPORT_FDS], bool readonly,
                         const struct ltz_place *place, ltz_pool **out)
{
	struct ltz_membership *membership, *known;
	int r = make_membership(name, fds, readonly, place, &membership);

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

int ltz_import(const char *name, const int fds[LTZ_EXPORT_FDS], const struct ltz_open_options *options,
               ltz_pool **out)
{
	static const struct ltz_open_options usual;
	struct ltz_place place;

	(void)ltz__fail(0, NULL);
	options = options != NULL ? options : &usual;
	bool readonly = (options->flags & LTZ_READONLY) != 0;
	int r = ltz__name_check(name);
	if ((options->flags & ~(unsigned)LTZ_READONLY) != 0)
		r = ltz__fail(-EINVAL, "of the flags, only LTZ_READONLY is for this call");
	if (r == 0 && ltz__place_open(&place, options->dir) == 0) {
		r = import_handle(name, fds, readonly, &place, out);
		ltz__place_close(&place);
		return r;
	}
	/* Without the directory too: only the name is not removed by us then. */
	if (r == 0)
		r = ltz__registry_enter();
	if (r < 0) {
		close_all(fds);
		return r;
	}
	r = import_handle(name, fds, readonly, NULL, out);
	ltz__registry_leave();
	return r;
}
