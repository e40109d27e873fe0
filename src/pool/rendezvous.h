/* SPDX-License-Identifier: MIT */
/*
 * rendezvous.h - the directory where pools are found by name.
 *
 * A pool `x` is the folder `x.pool` in it, with one socket; whoever listens on
 * that socket can answer for the pool. The name carries no data:
 *
 * - A maker fills a folder of its own and gives it the pool's name by rename(),
 *   which fails if there is a folder of that name with something in it: that is
 *   the election among creators.
 * - A socket on which nobody listens is removed by whoever meets it. It never
 *   listens again, and its own name, 16 random digits, is no other one's, ever:
 *   so this hits nobody else's, however long after the look it comes. A folder
 *   goes only when it is empty. So no lock is needed, nobody waits for a process
 *   stopped in the middle, and a name never changes hands while somebody holds
 *   the pool.
 * - Such sockets and empty folders are what killed last members leave; every
 *   call here removes those on its way.
 *
 * Locking: a place is open only under the registry lock (registry.h), which
 * also keeps fork() out. Waits (ltz__place_ask, ltz__place_pause) give the
 * lock up meanwhile; the descriptors of open places are listed, so that a
 * child forked in that time closes its copies, and forgets the secrets.
 */
#ifndef LTZ_POOL_RENDEZVOUS_H
#define LTZ_POOL_RENDEZVOUS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool/handshake.h"

#define LTZ_FILE_NAME_MAX (LTZ_NAME_MAX + sizeof ".pool")
#define LTZ_SOCKET_PATH_MAX (LTZ_FILE_NAME_MAX + 32)

/* The rendezvous directory, open for the length of one call. */
struct ltz_place {
	struct ltz_place *next;
	int dir;    /* the directory                                      */
	int socket; /* the connection of a question being asked, or -1    */
	char asked[LTZ_SOCKET_PATH_MAX]; /* where the socket is that was asked last */
	int memfd;  /* of a pool that is to be destroyed, or -1           */
	struct ltz_keys keys;      /* made for the pool that is asked for, or none */
	struct ltz_spake2 *spake2; /* of a proof under way, or NULL                */
	char path[PATH_MAX];
};

/* 0, or -EINVAL: not a name that a pool can have. */
int ltz__name_check(const char *name);
/* "x" -> "x.pool". */
void ltz__name_file(const char *name, char file[LTZ_FILE_NAME_MAX]);
/* "x.pool" -> "x". False if the file is not a pool's. */
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

/*
 * Proves the password to whoever listens under `name` and said `locked`, with
 * w in place->keys; retried like a question. 0: *answer is as after a JOIN and
 * place->keys are complete. -EKEYREJECTED; -ESTALE: another pool has the name
 * by now; others as ltz__place_ask.
 */
int ltz__place_prove(struct ltz_place *place, const char *name, const struct ltz_answer *locked,
                     uint64_t deadline_ns, struct ltz_answer *answer);

/* Lets the others run for a moment. -ETIMEDOUT when the deadline has passed. */
int ltz__place_pause(struct ltz_place *place, uint64_t deadline_ns);

/* Removes `name` if nobody listens under it. 0 also if it is gone or alive. */
int ltz__place_prune(struct ltz_place *place, const char *name);

/* Takes `name` from the pool whose member answered ltz__place_ask last. 0 also if it is gone. */
int ltz__place_remove_asked(struct ltz_place *place, const char *name);

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
 * any more. Needs no place (the service thread has none).
 */
void ltz__name_leave(int dir, const char *name);

/* In a forked child: closes the copies of what the parent's other threads had open. */
void ltz__rendezvous_forked(void);

#endif
