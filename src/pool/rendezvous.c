/* SPDX-License-Identifier: MIT */
/*
 * rendezvous.c - finding a pool by name: the directory, its sockets, the
 * questions. See rendezvous.h for who may remove a name, and when.
 *
 * How long things take
 * - A question is sent at once; if no answer has come after ATTEMPT_NS the
 *   connection is dropped and made anew (another member will take it), with
 *   twice the patience, so that a busy machine gets its answer too.
 * - A pause lasts PAUSE_NS: others leave a name or empty a queue in less.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "guard/spake2.h"
#include "pool/proof.h"
#include "pool/registry.h"
#include "pool/rendezvous.h"
#include "sys/fault.h"
#include "sys/sys.h"

#define ATTEMPT_NS 100000000ull
#define PAUSE_NS 2000000ull

#define SUFFIX ".pool"
#define TEMPORARY ".new-" /* how the folders of ltz__sys_listen begin */

/* All open places of the process, under the registry lock. */
static struct ltz_place *open_places;

/* ---- names --------------------------------------------------------------------- */

static bool is_name(const char *name)
{
	static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t length = strnlen(name, LTZ_NAME_MAX + 1);

	return length >= 1 && length <= LTZ_NAME_MAX && name[0] != '.' && strspn(name, letters) == length;
}

int ltz__name_check(const char *name)
{
	if (name != NULL && is_name(name))
		return 0;
	return ltz__fail(-EINVAL, "a pool name is 1 to %d of A-Z a-z 0-9 . _ - and does not begin with '.'", LTZ_NAME_MAX);
}

void ltz__name_file(const char *name, char file[LTZ_FILE_NAME_MAX])
{
	snprintf(file, LTZ_FILE_NAME_MAX, "%.*s" SUFFIX, LTZ_NAME_MAX, name);
}

bool ltz__name_of_file(const char *file, char name[LTZ_NAME_MAX + 1])
{
	size_t length = strlen(file), suffix = strlen(SUFFIX);

	if (length <= suffix || length - suffix > LTZ_NAME_MAX || strcmp(file + length - suffix, SUFFIX) != 0)
		return false;
	memcpy(name, file, length - suffix);
	name[length - suffix] = '\0';
	return is_name(name);
}

/* ---- the directory ----------------------------------------------------------------- */

static int choose_directory(const char *wanted, char *path, size_t size)
{
	const char *own = getenv("LATZERO_DIR"), *runtime = getenv("XDG_RUNTIME_DIR");
	int length;

	if (wanted != NULL)
		length = snprintf(path, size, "%s", wanted);
	else if (own != NULL && own[0] != '\0')
		length = snprintf(path, size, "%s", own);
	else if (runtime != NULL && runtime[0] != '\0')
		length = snprintf(path, size, "%s/latzero", runtime);
	else
		length = snprintf(path, size, "/tmp/latzero-%u", ltz__sys_uid());
	if (length < 0 || (size_t)length >= size)
		return ltz__fail(-ENAMETOOLONG, "the path of the rendezvous directory is longer than %zu bytes", size - 1);
	return 0;
}

int ltz__place_open(struct ltz_place *place, const char *path)
{
	char why[300] = "";
	int r;

	place->socket = place->memfd = -1;
	place->asked[0] = '\0';
	place->keys = (struct ltz_keys){ 0 };
	place->spake2 = NULL;
	r = choose_directory(path, place->path, sizeof place->path);
	if (r < 0)
		return r;
	r = ltz__registry_enter();
	if (r < 0)
		return r;
	r = place->dir = ltz__sys_directory(place->path, why, sizeof why);
	if (r < 0) {
		ltz__registry_leave();
		return ltz__fail(r, "%s", why);
	}
	place->next = open_places;
	open_places = place;
	return 0;
}

static void close_connection(struct ltz_place *place)
{
	ltz__sys_close(place->socket);
	place->socket = -1;
	ltz__spake2_free(place->spake2);
	place->spake2 = NULL;
}

static void let_go(struct ltz_place *place)
{
	close_connection(place);
	ltz__sys_close(place->memfd);
	ltz__keys_deinit(&place->keys);
	ltz__sys_close(place->dir);
	place->memfd = place->dir = -1;
}

void ltz__place_close(struct ltz_place *place)
{
	struct ltz_place **link = &open_places;

	while (*link != NULL && *link != place)
		link = &(*link)->next;
	if (*link != NULL)
		*link = place->next;
	let_go(place);
	ltz__registry_leave();
}

void ltz__rendezvous_forked(void)
{
	for (struct ltz_place *place = open_places; place != NULL; place = place->next)
		let_go(place);
	open_places = NULL;
}

/* ---- waiting ------------------------------------------------------------------------ */

/* Until fd can be read; the registry lock is given up meanwhile. */
static int await_readable(int fd, uint64_t timeout_ns)
{
	ltz__registry_leave();
	int r = ltz__sys_wait_readable(fd, timeout_ns);
	ltz__registry_reenter();
	return r;
}

int ltz__place_pause(struct ltz_place *place, uint64_t deadline_ns)
{
	static const uint32_t never = 0;
	uint64_t now_ns = ltz__sys_boottime_ns();

	if (now_ns >= deadline_ns)
		return ltz__fail(-ETIMEDOUT, "%s is kept busy by others", place->path);
	ltz__registry_leave();
	(void)ltz__sys_futex_wait(&never, never, deadline_ns - now_ns < PAUSE_NS ? deadline_ns - now_ns : PAUSE_NS);
	ltz__registry_reenter();
	return 0;
}

/* ---- sockets ------------------------------------------------------------------------- */

/* Connects to the socket in the folder; path: where that is. -ENOENT, -ECONNREFUSED as ltz__sys_connect. */
static int connect_in(int dir, const char *folder, char path[LTZ_SOCKET_PATH_MAX])
{
	int r = ltz__sys_socket_path(dir, folder, path, LTZ_SOCKET_PATH_MAX);

	return r < 0 ? r : ltz__sys_connect(dir, path);
}

/* Gone already is as good. */
static int unless_gone(int r) { return r == -ENOENT ? 0 : r; }

static int remove_socket(int dir, const char *folder, const char *path)
{
	int r = unless_gone(ltz__sys_unlink(dir, path));

	LTZ_CRASH_POINT("pool.socket_removed");
	return r < 0 ? r : unless_gone(ltz__sys_remove_folder(dir, folder));
}

/* Removes the socket in the folder if nobody listens on it, and the folder if it is empty. */
static int remove_stale(int dir, const char *folder)
{
	char path[LTZ_SOCKET_PATH_MAX];
	int r = connect_in(dir, folder, path);

	if (r == -ECONNREFUSED)
		return remove_socket(dir, folder, path);
	if (r == -ENOENT)
		return unless_gone(ltz__sys_remove_folder(dir, folder));
	ltz__sys_close(r);
	return 0; /* somebody listens, or it cannot be told */
}

/* ---- asking -------------------------------------------------------------------------- */

/* What is to be asked, and what came of it. */
struct asking {
	const char *name;
	enum ltz_question question;      /* PROVE: needs `locked` */
	const struct ltz_answer *locked;
	uint64_t deadline_ns;
	struct ltz_answer *answer;
	uint64_t retry_ns;               /* somebody told us to wait: for about that long */
};

static int prove(struct ltz_place *place, struct asking *asking, uint64_t patience_ns)
{
	int r = ltz__proof_ask(place->socket, asking->name, &place->keys, asking->locked, &place->spake2);

	if (r == 0)
		r = await_readable(place->socket, patience_ns);
	if (r == 0)
		r = ltz__proof_confirm(place->socket, place->spake2);
	if (r == 0)
		r = await_readable(place->socket, patience_ns);
	for (;;) {
		if (r == 0)
			r = ltz__proof_result(place->socket, place->spake2, &place->keys, asking->locked,
			                      asking->answer, &asking->retry_ns);
		if (r != LTZ_TOLD_TO_WAIT)
			return r;
		uint64_t now_ns = ltz__sys_boottime_ns();
		r = await_readable(place->socket, now_ns < asking->deadline_ns ? asking->deadline_ns - now_ns : 0);
	}
}

/* One connection, one question, one answer. -EAGAIN: the listener's queue is full. */
static int ask_once(struct ltz_place *place, struct asking *asking, uint64_t patience_ns)
{
	char file[LTZ_FILE_NAME_MAX];
	int r;

	ltz__name_file(asking->name, file);
	r = place->socket = connect_in(place->dir, file, place->asked);
	if (r == -ENOENT)
		(void)remove_stale(place->dir, file); /* an empty folder: of a removal cut short */
	if (r < 0)
		return r;
	if (asking->question == LTZ_ASK_PROVE) {
		r = prove(place, asking, patience_ns);
	} else {
		r = ltz__handshake_ask(place->socket, asking->question, asking->name);
		if (r == 0)
			r = await_readable(place->socket, patience_ns);
		if (r == 0)
			r = ltz__handshake_result(place->socket, asking->question, asking->answer);
	}
	close_connection(place);
	return r;
}

/* Nobody gave an answer in time. */
static int give_up(const struct ltz_place *place, const struct asking *asking, bool only_closed)
{
	if (asking->retry_ns != 0) {
		uint64_t retry_ms = asking->retry_ns / 1000000 + 1;
		ltz__retry_after(retry_ms < 60000 ? (unsigned)retry_ms : 60000);
		return ltz__fail(-EKEYREJECTED, "too many wrong passwords were tried, and our turn did not come in time");
	}
	if (only_closed)
		return ltz__fail(-EPROTO, "whoever listens on %s/%s" SUFFIX " closes every connection unanswered",
		                 place->path, asking->name);
	return ltz__fail(-ETIMEDOUT, "no member of pool '%s' answers on %s/%s" SUFFIX ": are they stopped?",
	                 asking->name, place->path, asking->name);
}

static int ask(struct ltz_place *place, struct asking *asking)
{
	uint64_t patience_ns = ATTEMPT_NS;
	bool closing = false; /* some listener closed without an answer                 */
	bool silent = false;  /* some listener gave no answer, and had time enough to   */

	for (;;) {
		uint64_t now_ns = ltz__sys_boottime_ns();
		uint64_t left_ns = now_ns < asking->deadline_ns ? asking->deadline_ns - now_ns : 0;
		int r = ask_once(place, asking, left_ns < patience_ns ? left_ns : patience_ns);

		if (r != -EAGAIN && r != -ECONNRESET && r != -ETIMEDOUT)
			return r;
		closing |= r == -ECONNRESET;
		silent |= r == -ETIMEDOUT && left_ns >= patience_ns;
		if (left_ns == 0)
			break;
		if (r == -ETIMEDOUT)
			patience_ns *= 2;
		else if (ltz__place_pause(place, asking->deadline_ns) < 0)
			break;
	}
	return give_up(place, asking, closing && !silent);
}

int ltz__place_ask(struct ltz_place *place, const char *name, enum ltz_question question,
                   uint64_t deadline_ns, struct ltz_answer *answer)
{
	struct asking asking = { .name = name, .question = question, .deadline_ns = deadline_ns, .answer = answer };

	return ask(place, &asking);
}

int ltz__place_prove(struct ltz_place *place, const char *name, const struct ltz_answer *locked,
                     uint64_t deadline_ns, struct ltz_answer *answer)
{
	struct asking asking = {
		.name = name, .question = LTZ_ASK_PROVE, .locked = locked, .deadline_ns = deadline_ns, .answer = answer,
	};

	return ask(place, &asking);
}

/* ---- taking and removing names ---------------------------------------------------------- */

int ltz__place_prune(struct ltz_place *place, const char *name)
{
	char file[LTZ_FILE_NAME_MAX];
	int r;

	ltz__name_file(name, file);
	LTZ_CRASH_POINT("pool.pruning");
	r = remove_stale(place->dir, file);
	return r < 0 ? ltz__fail(r, "cannot remove %s/%s, which nobody listens on", place->path, file) : 0;
}

int ltz__place_remove_asked(struct ltz_place *place, const char *name)
{
	char file[LTZ_FILE_NAME_MAX];

	ltz__name_file(name, file);
	return remove_socket(place->dir, file, place->asked);
}

void ltz__name_leave(int dir, const char *name)
{
	char file[LTZ_FILE_NAME_MAX];

	ltz__name_file(name, file);
	if (dir >= 0)
		(void)remove_stale(dir, file);
}

int ltz__place_publish(struct ltz_place *place, const char *name)
{
	char temporary[64], file[LTZ_FILE_NAME_MAX];
	int listener, r;

	listener = ltz__sys_listen(place->dir, temporary, sizeof temporary);
	if (listener < 0)
		return ltz__fail(listener, "cannot listen in %s", place->path);
	LTZ_CRASH_POINT("pool.listening");
	ltz__name_file(name, file);
	r = ltz__sys_take_name(place->dir, temporary, file);
	LTZ_CRASH_POINT("pool.linked");
	if (r == 0)
		return listener;
	ltz__sys_close(listener);
	(void)remove_stale(place->dir, temporary); /* left behind, ltz__place_names removes it */
	return r == -EEXIST ? r : ltz__fail(r, "cannot make %s/%s", place->path, file);
}

/* ---- all names ------------------------------------------------------------------------------ */

struct name_list {
	char (*names)[LTZ_NAME_MAX + 1];
	unsigned count, capacity;
	struct ltz_place *place;
};

/*
 * A temporary folder is gone within microseconds, or its maker was killed. One
 * of a maker that does not yet listen may be hit: it then has no name to give,
 * or finds when it confirms its name that nobody is there, and makes another.
 */
static void prune_temporary(struct ltz_place *place, const char *file)
{
	if (strncmp(file, TEMPORARY, strlen(TEMPORARY)) == 0)
		(void)remove_stale(place->dir, file);
}

static int collect_name(void *context, const char *file)
{
	struct name_list *list = context;
	char name[LTZ_NAME_MAX + 1];

	if (!ltz__name_of_file(file, name)) {
		prune_temporary(list->place, file);
		return 0;
	}
	if (list->count == list->capacity) {
		unsigned capacity = list->capacity ? 2 * list->capacity : 32;
		void *names = LTZ_PTR_CALL(NULL, realloc(list->names, capacity * sizeof *list->names));
		if (names == NULL)
			return -ENOMEM;
		list->names = names;
		list->capacity = capacity;
	}
	memcpy(list->names[list->count++], name, sizeof name);
	return 0;
}

int ltz__place_names(struct ltz_place *place, char (**names)[LTZ_NAME_MAX + 1], unsigned *count)
{
	struct name_list list = { .place = place };
	int r = ltz__sys_names(place->dir, collect_name, &list);

	if (r < 0) {
		free(list.names);
		return ltz__fail(r, "cannot read %s", place->path);
	}
	*names = list.names;
	*count = list.count;
	return 0;
}
