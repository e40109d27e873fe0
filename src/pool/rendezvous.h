/* SPDX-License-Identifier: MIT */
/*
 * rendezvous.h - the directory where pools are found by name.
 *
 * A pool `x` is the socket `x.sock` in it; whoever listens on that socket can
 * answer for the pool. The name carries no data:
 *
 * - A name is taken by link(), which fails if it exists: that is the election
 *   among creators. It is removed only under the directory's flock, after a
 *   connect said that nobody listens (a socket nobody listens on never listens
 *   again). So a name never changes hands while somebody holds the pool.
 * - A name without a listener is what a killed last member leaves; every call
 *   here removes such names on its way.
 *
 * Locking: a place is open only under the registry lock (registry.h), which
 * also keeps fork() out. Waits (ltz__place_ask, ltz__place_pause) give the
 * lock up meanwhile; the descriptors of open places are listed, so that a
 * child forked in that time closes its copies.
 */
#ifndef LTZ_POOL_RENDEZVOUS_H
#define LTZ_POOL_RENDEZVOUS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool/handshake.h"

#define LTZ_FILE_NAME_MAX (LTZ_NAME_MAX + sizeof ".sock")

/* The rendezvous directory, open for the length of one call. */
struct ltz_place {
	struct ltz_place *next;
	int dir;    /* the directory                                      */
	int lock;   /* its flock, or -1                                   */
	int socket; /* the connection of a question being asked, or -1    */
	char path[PATH_MAX];
};

/* 0, or -EINVAL: not a name that a pool can have. */
int ltz__name_check(const char *name);
/* "x" -> "x.sock". */
void ltz__name_file(const char *name, char file[LTZ_FILE_NAME_MAX]);
/* "x.sock" -> "x". False if the file is not a pool's. */
bool ltz__name_of_file(const char *file, char name[LTZ_NAME_MAX + 1]);

/*
 * Enters the registry and opens the directory `path` (NULL: as the environment
 * says). After a failure the registry has been left again.
 */
int ltz__place_open(struct ltz_place *place, const char *path);
void ltz__place_close(struct ltz_place *place);

/*
 * Asks whoever listens under `name`. Retried, each time with more patience,
 * until the deadline: one stopped member does not use it up. -ENOENT: no such
 * name; -ECONNREFUSED: nobody listens; -ETIMEDOUT; -EPROTO, -EACCES,
 * -ESHUTDOWN as ltz__handshake_result.
 */
int ltz__place_ask(struct ltz_place *place, const char *name, enum ltz_question question,
                   uint64_t deadline_ns, struct ltz_answer *answer);

/* Lets the others run for a moment. -ETIMEDOUT when the deadline has passed. */
int ltz__place_pause(struct ltz_place *place, uint64_t deadline_ns);

/* Takes the directory's flock into place->lock, or gives it back. -ETIMEDOUT. */
int ltz__place_lock(struct ltz_place *place, uint64_t deadline_ns);
void ltz__place_unlock(struct ltz_place *place);

/* Removes `name` if nobody listens under it. 0 also if it is gone or alive; -ETIMEDOUT. */
int ltz__place_prune(struct ltz_place *place, const char *name, uint64_t deadline_ns);

/*
 * Listens under `name`. The new socket's fd; -EEXIST: the name is taken. Does
 * not wait.
 */
int ltz__place_publish(struct ltz_place *place, const char *name);

/*
 * The names of the pools in the directory, sorted by nothing: an array of
 * *count, the caller's to free. Removes temporary names that were left.
 */
int ltz__place_names(struct ltz_place *place, char (**names)[LTZ_NAME_MAX + 1], unsigned *count);

/*
 * For one who has just stopped listening: removes the name if nobody listens
 * any more. Does not wait; a name that could not be removed is left to the
 * next call of anybody. Needs no place (the service thread has none).
 */
void ltz__name_leave(int dir, const char *name);

/* In a forked child: closes the copies of what the parent's other threads had open. */
void ltz__rendezvous_forked(void);

#endif
