/* SPDX-License-Identifier: MIT */
/*
 * names.c - the public calls on names: exists, list, destroy.
 *
 * exists and list ask with little patience: a pool whose members are all
 * stopped exists all the same, as somebody listens.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "pool/join.h"
#include "pool/rendezvous.h"
#include "shm/mem.h"
#include "store/map.h"
#include "sys/fault.h"
#include "sys/sys.h"

#define TIMEOUT_MS 2000u
#define PATIENCE_NS 200000000ull
#define PATIENCE_LEAST_NS 20000000ull /* also when others have used the call's time up */

static uint64_t in_ms(uint64_t ms)
{
	return ltz__sys_boottime_ns() + ms * 1000000u;
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/*
 * Is there a pool behind the name, and what does it say? 0: there is
 * (info->answered says whether it spoke); -ENOENT, the name is then removed,
 * if that can be done: if not, nobody holds a pool of that name all the same.
 */
static int look(struct ltz_place *place, const char *name, enum ltz_question question,
                uint64_t deadline_ns, struct ltz_pool_info *info)
{
	uint64_t now_ns = ltz__sys_boottime_ns(), until_ns = least(now_ns + PATIENCE_NS, deadline_ns);
	struct ltz_answer answer = { 0 };

	if (until_ns < now_ns + PATIENCE_LEAST_NS)
		until_ns = now_ns + PATIENCE_LEAST_NS;
	int r = ltz__place_ask(place, name, question, until_ns, &answer);

	switch (r) {
	case 0:
		*info = answer.info;
		break;
	case -ETIMEDOUT:
	case -EUCLEAN:
		*info = (struct ltz_pool_info){ 0 };
		break;
	case -ECONNREFUSED:
		(void)ltz__place_prune(place, name);
		return -ENOENT;
	case -ESHUTDOWN: /* destroyed; its members are letting go */
		return -ENOENT;
	default:
		return r;
	}
	memcpy(info->name, name, strlen(name) + 1);
	return 0;
}

int ltz_exists(const char *name, const char *dir)
{
	struct ltz_place place;
	struct ltz_pool_info info;

	(void)ltz__fail(0, NULL);
	int r = ltz__name_check(name);
	if (r == 0)
		r = ltz__place_open(&place, dir);
	if (r < 0)
		return r;
	r = look(&place, name, LTZ_ASK_IDENTITY, in_ms(TIMEOUT_MS), &info);
	ltz__place_close(&place);
	return r;
}

/* ---- list ------------------------------------------------------------------------------ */

/* Asks all pools; *infos is the caller's to free. */
static int look_at_all(struct ltz_place *place, struct ltz_pool_info **infos, unsigned *count)
{
	char (*names)[LTZ_NAME_MAX + 1];
	uint64_t deadline_ns = in_ms(TIMEOUT_MS);
	unsigned name_count, found = 0;
	int r = ltz__place_names(place, &names, &name_count);

	if (r < 0)
		return r;
	*infos = LTZ_PTR_CALL(NULL, calloc(name_count + 1, sizeof **infos));
	if (*infos == NULL) {
		free(names);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < name_count && r >= 0; i++) {
		r = look(place, names[i], LTZ_ASK_INFO, deadline_ns, &(*infos)[found]);
		if (r == 0)
			found++;
		else if (r == -ENOENT || r == -EPROTO || r == -EACCES)
			r = 0; /* nobody, or a stranger: no reason to hide the others */
	}
	free(names);
	if (r < 0) { /* we lack what asking takes: not to be told as nobody */
		free(*infos);
		return ltz__fail(r, "cannot ask every pool in %s: %s", place->path, ltz__strerror(r));
	}
	*count = found;
	return 0;
}

int ltz_list(const char *dir, int (*visit)(void *context, const struct ltz_pool_info *info), void *context)
{
	struct ltz_place place;
	struct ltz_pool_info *infos;
	unsigned count = 0;

	(void)ltz__fail(0, NULL);
	int r = ltz__place_open(&place, dir);
	if (r < 0)
		return r;
	r = look_at_all(&place, &infos, &count);
	ltz__place_close(&place);
	if (r < 0)
		return r;
	(void)ltz__fail(0, NULL); /* what some pool did not answer is not this call's failure */
	for (unsigned i = 0; r == 0 && i < count; i++)
		r = visit(context, &infos[i]);
	free(infos);
	return r;
}

/* ---- destroy -------------------------------------------------------------------------------- */

/* No wait in here: a child forked meanwhile would keep the lock of our row. */
static int destroy_memory(struct ltz_place *place, const char *name)
{
	const struct ltz_mem_options options = { .pool_key = ltz__keys_pool_key(&place->keys) };
	struct ltz_mem *mem;
	int r = ltz__map_attach(place->memfd, &options, &mem);

	if (r < 0)
		return ltz__fail(r, "cannot join the memory of pool '%s': %s", name, ltz__strerror(r));
	ltz__mem_destroy(mem);
	ltz__map_detach(mem);
	return 0;
}

static void let_memory_go(struct ltz_place *place)
{
	ltz__sys_close(place->memfd);
	place->memfd = -1;
	ltz__keys_deinit(&place->keys);
}

/* The name is taken from the very pool that is ended: by then it may be another one's. */
static int destroy_once(struct ltz_place *place, struct ltz_wish *wish)
{
	struct ltz_answer answer;
	int r = ltz__join_ask(place, wish, &answer);

	if (r < 0)
		return r;
	place->memfd = answer.memfd;
	r = ltz__join_verify(answer.memfd, answer.listener);
	ltz__sys_close(answer.listener);
	if (r == 0)
		r = destroy_memory(place, wish->name);
	let_memory_go(place);
	if (r < 0)
		return r;
	LTZ_CRASH_POINT("pool.destroyed");
	/* The pool has ended, whatever comes of this: else the last member to let go removes the name, or who comes next. */
	(void)ltz__place_remove_asked(place, wish->name);
	return 0;
}

int ltz_destroy(const char *name, const struct ltz_open_options *options)
{
	struct ltz_place place;
	static const struct ltz_open_options usual;

	(void)ltz__fail(0, NULL);
	options = options != NULL ? options : &usual;
	struct ltz_wish wish = {
		.name = name, .password = ltz__password_of(options),
		.deadline_ns = in_ms(options->timeout_ms != 0 ? options->timeout_ms : TIMEOUT_MS),
	};
	int r = ltz__name_check(name);
	if (r == 0)
		r = ltz__password_check(&wish.password);
	if (r == 0)
		r = ltz__place_open(&place, options->dir);
	if (r < 0)
		return r;
	for (;;) {
		r = destroy_once(&place, &wish);
		if (r == -ECONNREFUSED)
			r = ltz__place_prune(&place, name);
		else if (r == -ESHUTDOWN) /* by another one */
			r = ltz__place_pause(&place, wish.deadline_ns);
		else
			break;
		if (r < 0)
			break;
	}
	if (r == -ENOENT)
		ltz__fail(r, "no process holds a pool '%s' in %s", name, place.path);
	ltz__place_close(&place);
	return r;
}
