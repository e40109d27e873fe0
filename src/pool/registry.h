/* SPDX-License-Identifier: MIT */
/*
 * registry.h - this process' memberships, and the lock around joining.
 *
 *     handle ─┐
 *     handle ─┼─► membership ─► mem (mapping, row)     at most one writable and one
 *     handle ─┘       └───────► memfd, listener        read-only membership a pool
 *
 * The registry lock guards the list, the memberships and their handles, and is
 * held whenever descriptors change hands. fork() takes it first: so a child
 * finds the list whole and no descriptor that is not in it (or in the list of
 * open places). It is given up only while waiting for others.
 *
 * Order of locks: registry, then service.
 */
#ifndef LTZ_POOL_REGISTRY_H
#define LTZ_POOL_REGISTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/handshake.h"
#include "pool/pool.h"
#include "pool/service.h"

/* All fields: under the registry lock; those of `served` under service.h's rules. */
struct ltz_membership {
	struct ltz_membership *next;
	struct ltz_keys keys;     /* of a locked pool; else none                */
	struct ltz_served served; /* served.mem NULL: a forked child that has not joined by itself */
	ltz_pool *handles;
	int memfd;                /* of its own: outlives mem in a forked child */
	int dir;                  /* where the name is, or -1                   */
	char *dir_path;           /* absolute, or NULL: then it matches nothing */
	int64_t clock_offset_ns;  /* pool clock - CLOCK_BOOTTIME ...            */
	uint64_t time_namespace;  /* ... of this time namespace                 */
	uint32_t pool_flags;
	bool readonly;
	uint8_t id[LTZ_ID_BYTES];
	char name[LTZ_NAME_MAX + 1];
};

/*
 * Takes the registry lock. -ENOTSUP: this process is a raw clone of one that
 * uses latzero; -ESHUTDOWN: it is exiting. Nothing is held then.
 */
int ltz__registry_enter(void);
void ltz__registry_leave(void);
/* After a wait in a call that had entered and left meanwhile. */
void ltz__registry_reenter(void);

/* The memberships, for fork.c. */
struct ltz_membership *ltz__registry_first(void);
/* In a forked child: the lock is made anew, free; the process is accepted as a process. */
void ltz__registry_forked(void);
/* At exit: takes the lock if it can be had within a moment; lets nobody in after us. */
bool ltz__registry_try_enter(void);
void ltz__registry_end(void);

/* ---- memberships (under the registry lock) --------------------------------------------- */

/* As the memory says, but that it is not locked. */
#define LTZ_FLAGS_UNKNOWN UINT32_MAX

/* What a membership is made from. */
struct ltz_admission {
	const char *name;
	const char *dir_path;
	int dir;              /* duplicated; -1: none                          */
	int memfd;            /* taken over, also on failure                   */
	int listener;         /* taken over, also on failure; -1: comes later  */
	uint64_t pool_now_ns; /* 0: unknown                                    */
	uint32_t pool_flags;  /* what the memory must say of itself, or LTZ_FLAGS_UNKNOWN */
	struct ltz_keys *keys; /* moved from there, also on failure            */
	bool readonly;
};

/* Joins the memory. Nobody sees the membership yet. */
int ltz__membership_new(const struct ltz_admission *admission, struct ltz_membership **out);
/* Gives a membership back that was never served. */
void ltz__membership_free(struct ltz_membership *membership);
/* Serves joins for it and lists it: others may find it from now on. */
int ltz__membership_serve(struct ltz_membership *membership);
/* A forked child joins by itself, if it has not. */
int ltz__membership_revive(struct ltz_membership *membership);

/* A listed membership that fits and whose pool lives; NULL if there is none. */
struct ltz_membership *ltz__membership_by_name(const char *dir_path, const char *name, bool readonly);
struct ltz_membership *ltz__membership_by_id(const uint8_t id[LTZ_ID_BYTES], bool readonly);

/* ---- handles (under the registry lock) ---------------------------------------------------- */

/* On failure a membership without handles is left again. */
int ltz__handle_new(struct ltz_membership *membership, bool readonly, ltz_pool **out);
/* Gives it back; with the last one the process leaves the pool. */
void ltz__handle_free(ltz_pool *pool);

#endif
