/* SPDX-License-Identifier: MIT */
/*
 * join.c - creating a pool and joining one, by name. See join.h.
 *
 *     create:  memory ─► attach ─► listen ─► link ─► serve ─► confirm
 *                                              │ EEXIST: who holds the name?
 *     connect: ask [─► prove] ─► verify ─► attach ─► serve ─► confirm
 *               │ refused: remove the name
 *
 * - Both go round again when others came between, until the deadline.
 * - To confirm is to ask the name once more, now as a member, which pool it
 *   leads to: whatever raced with us, nobody ends up in a pool that no later
 *   joiner can find.
 */
#include <string.h>

#include "base/error.h"
#include "pool/join.h"
#include "pool/registry.h"
#include "shm/mem.h"
#include "sys/fault.h"
#include "sys/sys.h"

#define PATIENCE_NS 200000000ull /* with a holder that does not answer: it holds the name all the same */

/* Does the name lead to the pool of this handle? 0, -ESTALE, or a failure. */
static int confirm(struct ltz_place *place, const struct ltz_wish *wish, const ltz_pool *pool)
{
	struct ltz_answer answer;
	int r = ltz__place_ask(place, wish->name, LTZ_ASK_IDENTITY, wish->deadline_ns, &answer);

	switch (r) {
	case 0:
		return memcmp(answer.id, pool->membership->id, LTZ_ID_BYTES) == 0 ? 0 : -ESTALE;
	case -ENOENT:
	case -ECONNREFUSED:
	case -ESHUTDOWN:
		return -ESTALE;
	case -ETIMEDOUT: /* somebody listens who is stopped: no sign of another pool */
		return 0;
	default:
		return r;
	}
}

/* Serves a new membership and gives its first handle out, once confirmed. */
static int open_membership(struct ltz_place *place, const struct ltz_wish *wish,
                           struct ltz_membership *membership, ltz_pool **out)
{
	ltz_pool *pool;
	int r = ltz__membership_serve(membership);

	if (r < 0) {
		ltz__membership_free(membership);
		return r;
	}
	LTZ_CRASH_POINT("pool.served");
	r = ltz__handle_new(membership, wish->readonly, &pool);
	if (r < 0)
		return r;
	r = confirm(place, wish, pool);
	if (r < 0) {
		ltz__handle_free(pool);
		return r;
	}
	LTZ_CRASH_POINT("pool.confirmed");
	*out = pool;
	return 0;
}

/* ---- passwords --------------------------------------------------------------------- */

/*
 * Makes place->keys by these terms. The registry lock is given up meanwhile,
 * so what was found before has to be found again.
 */
static int derive(struct ltz_place *place, struct ltz_wish *wish, const struct ltz_terms *terms)
{
	uint64_t begin_ns = ltz__sys_boottime_ns();

	ltz__registry_leave();
	int r = ltz__keys_derive(&place->keys, terms, wish->name, &wish->password);
	ltz__registry_reenter();
	wish->deadline_ns += ltz__sys_boottime_ns() - begin_ns; /* it is the others that are waited for */
	LTZ_CRASH_POINT("pool.derived");
	if (r < 0 && ltz__detail()[0] == '\0')
		ltz__fail(r, "cannot make a key of the password: %s", ltz__strerror(r));
	return r;
}

int ltz__join_ask(struct ltz_place *place, struct ltz_wish *wish, struct ltz_answer *answer)
{
	struct ltz_answer locked;
	int r = ltz__place_ask(place, wish->name, LTZ_ASK_JOIN, wish->deadline_ns, &locked);

	if (r < 0)
		return r;
	r = ltz__terms_check(&locked.terms, &wish->password);
	if (r < 0) {
		ltz__sys_close(locked.memfd);
		ltz__sys_close(locked.listener);
		return r;
	}
	if (locked.terms.kind == LTZ_TERMS_OPEN) {
		ltz__keys_deinit(&place->keys);
		*answer = locked;
		return 0;
	}
	if (!ltz__keys_any(&place->keys) || !ltz__terms_same(&place->keys.terms, &locked.terms))
		r = derive(place, wish, &locked.terms);
	return r < 0 ? r : ltz__place_prove(place, wish->name, &locked, wish->deadline_ns, answer);
}

/* ---- create ----------------------------------------------------------------------- */

/* Why is the name taken? -EEXIST: by a pool; 0: it is free by now, or will be. */
static int judge_taken(struct ltz_place *place, const struct ltz_wish *wish)
{
	uint64_t patience_ns = ltz__sys_boottime_ns() + PATIENCE_NS;
	struct ltz_answer answer;
	int r = ltz__place_ask(place, wish->name, LTZ_ASK_IDENTITY,
	                       patience_ns < wish->deadline_ns ? patience_ns : wish->deadline_ns, &answer);

	switch (r) {
	case -ENOENT:
		return 0;
	case -ECONNREFUSED:
		return ltz__place_prune(place, wish->name);
	case -ESHUTDOWN: /* being destroyed right now */
		return ltz__place_pause(place, wish->deadline_ns);
	case 0:
	case -ETIMEDOUT:
	case -EPROTO:
		return ltz__fail(-EEXIST, "some process holds a pool '%s' in %s", wish->name, place->path);
	default:
		return r;
	}
}

/* Keys for a new pool, if it is to be locked. */
static int make_keys(struct ltz_place *place, struct ltz_wish *wish)
{
	struct ltz_terms terms;
	int r;

	if (wish->password.bytes == NULL)
		return 0;
	r = ltz__terms_new(wish->password.raw, &terms);
	if (r == 0)
		r = derive(place, wish, &terms);
	return r < 0 ? r : ltz__keys_complete(&place->keys, NULL);
}

static int make_membership(struct ltz_place *place, const struct ltz_wish *wish, struct ltz_membership **out)
{
	const struct ltz_mem_options options = {
		.max_size_bytes = wish->max_size_bytes, .pool_flags = wish->pool_flags, .name = wish->name,
	};
	int memfd = ltz__mem_make(&options);

	if (memfd < 0)
		return ltz__fail(memfd, "cannot make the memory of pool '%s': %s", wish->name, ltz__strerror(memfd));
	const struct ltz_admission admission = {
		.name = wish->name, .dir_path = place->path, .dir = place->dir, .memfd = memfd, .listener = -1,
		.pool_flags = wish->pool_flags, .keys = &place->keys,
	};
	return ltz__membership_new(&admission, out);
}

/* One try. -EEXIST, -ESTALE, -ENOENT (our temporary name was removed): others came between. */
static int create_once(struct ltz_place *place, struct ltz_wish *wish, ltz_pool **out)
{
	struct ltz_membership *membership;
	int r = make_keys(place, wish);

	if (r == 0)
		r = make_membership(place, wish, &membership);

	if (r < 0)
		return r;
	LTZ_CRASH_POINT("pool.made");
	r = ltz__place_publish(place, wish->name);
	if (r < 0) {
		ltz__membership_free(membership);
		return r;
	}
	membership->served.listener = r;
	LTZ_CRASH_POINT("pool.published");
	return open_membership(place, wish, membership, out);
}

int ltz__join_create(struct ltz_place *place, struct ltz_wish *wish, ltz_pool **out)
{
	char file[LTZ_FILE_NAME_MAX];
	int r;

	ltz__name_file(wish->name, file);
	for (;;) {
		/* The usual answer before the costly work; the election is create_once. */
		r = ltz__sys_name_exists(place->dir, file) == 1 ? judge_taken(place, wish) : 0;
		if (r < 0)
			return r;
		r = create_once(place, wish, out);
		if (r != -EEXIST && r != -ESTALE && r != -ENOENT)
			return r;
		if (ltz__sys_boottime_ns() >= wish->deadline_ns)
			return ltz__fail(-ETIMEDOUT, "'%s' in %s changes hands all the time", wish->name, place->path);
	}
}

/* ---- connect ------------------------------------------------------------------------- */

int ltz__join_verify(int memfd, int listener)
{
	uint64_t size_bytes;
	uint32_t uid, pid;
	int r = ltz__sys_memfd_verify(memfd, &size_bytes);

	if (r == -EPROTO)
		return ltz__fail(r, "the memory received is not a sealed memory file");
	if (r < 0)
		return r;
	r = ltz__sys_listener_verify(listener);
	if (r == -EPROTO)
		return ltz__fail(r, "the socket received is not a listening one");
	if (r < 0)
		return r;
	r = ltz__sys_peer(listener, &uid, &pid);
	if (r == 0 && uid != ltz__sys_uid())
		return ltz__fail(-EACCES, "the socket received is of user %u, not of user %u", uid, ltz__sys_uid());
	return r;
}

/* Goes in with what a member has handed over, which is used up. */
static int accept_welcome(struct ltz_place *place, const struct ltz_wish *wish,
                          const struct ltz_answer *answer, ltz_pool **out)
{
	const struct ltz_admission admission = {
		.name = wish->name, .dir_path = place->path, .dir = place->dir,
		.memfd = answer->memfd, .listener = answer->listener,
		.pool_now_ns = answer->pool_now_ns, .readonly = wish->readonly,
		.pool_flags = answer->pool_flags, .keys = &place->keys,
	};
	struct ltz_membership *membership = ltz__membership_by_id(answer->id, wish->readonly);
	int r = membership == NULL ? ltz__join_verify(answer->memfd, answer->listener) : 0;

	if (membership != NULL || r < 0) {
		ltz__keys_deinit(&place->keys);
		ltz__sys_close(answer->memfd);
		ltz__sys_close(answer->listener);
		return r < 0 ? r : ltz__handle_new(membership, wish->readonly, out);
	}
	LTZ_CRASH_POINT("pool.welcomed");
	r = ltz__membership_new(&admission, &membership);
	if (r < 0)
		return r;
	LTZ_CRASH_POINT("pool.joined");
	if (memcmp(membership->id, answer->id, LTZ_ID_BYTES) != 0) {
		ltz__membership_free(membership);
		return ltz__fail(-EPROTO, "the memory received is not of the pool that was announced");
	}
	return open_membership(place, wish, membership, out);
}

/* This process is a member already; the password is asked for all the same. -EAGAIN: look again. */
static int share_membership(struct ltz_place *place, struct ltz_wish *wish, struct ltz_membership *membership,
                            ltz_pool **out)
{
	const struct ltz_terms terms = membership->keys.terms;
	int r = ltz__terms_check(&terms, &wish->password);

	if (r < 0)
		return r;
	if (terms.kind == LTZ_TERMS_OPEN)
		return ltz__handle_new(membership, wish->readonly, out);
	if (!ltz__keys_any(&place->keys) || !ltz__terms_same(&place->keys.terms, &terms)) {
		r = derive(place, wish, &terms);
		return r < 0 ? r : -EAGAIN;
	}
	if (!ltz__keys_same_w(&place->keys, &membership->keys))
		return ltz__fail(-EKEYREJECTED, "the password is wrong");
	return ltz__handle_new(membership, wish->readonly, out);
}

static int connect_once(struct ltz_place *place, struct ltz_wish *wish, ltz_pool **out)
{
	struct ltz_answer answer;
	struct ltz_membership *membership;
	int r;

	while ((membership = ltz__membership_by_name(place->path, wish->name, wish->readonly)) != NULL) {
		r = share_membership(place, wish, membership, out);
		if (r != -EAGAIN)
			return r;
	}
	r = ltz__join_ask(place, wish, &answer);
	return r < 0 ? r : accept_welcome(place, wish, &answer, out);
}

int ltz__join_connect(struct ltz_place *place, struct ltz_wish *wish, ltz_pool **out)
{
	for (;;) {
		int r = connect_once(place, wish, out);

		if (r == -ENOENT)
			return ltz__fail(r, "no process holds a pool '%s' in %s", wish->name, place->path);
		if (r != -ECONNREFUSED && r != -ESHUTDOWN && r != -ESTALE)
			return r;
		/* Gone, or going: then the name is free soon, or leads to the next pool. */
		if (r == -ECONNREFUSED)
			r = ltz__place_prune(place, wish->name);
		else
			r = ltz__place_pause(place, wish->deadline_ns);
		if (r < 0)
			return r;
	}
}
