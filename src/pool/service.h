/* SPDX-License-Identifier: MIT */
/*
 * service.h - the process' one thread: answers joiners, keeps house.
 *
 * It runs while at least one membership is served. For each it accepts on the
 * listening socket (which all members share), drives the half-open handshakes,
 * calls ltz__tick when due or rung for, and stops listening when the pool was
 * destroyed.
 *
 * - The thread holds the service lock while it works, not while it waits. Who
 *   has the lock sees no tick and no handshake running.
 * - It knows no handles and takes no other lock, so it can always be stopped:
 *   fork() does that.
 * - All functions below are called under the registry lock (registry.h), unless
 *   said otherwise; that lock comes first.
 */
#ifndef LTZ_POOL_SERVICE_H
#define LTZ_POOL_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "pool/deaths.h"

struct ltz_keys;
struct ltz_mem;

/* One membership as the thread sees it; part of struct ltz_membership. */
struct ltz_served {
	struct ltz_served *next; /* under the service lock                                     */
	struct ltz_mem *mem;     /* constant while served                                      */
	const char *name;        /* constant                                                   */
	const uint8_t *id;       /* constant                                                   */
	const struct ltz_keys *keys; /* constant; they may be none                             */
	int memfd, dir;          /* constant while served; dir -1: none                        */
	int listener;            /* under the service lock; -1 once the pool is destroyed      */
	uint64_t due_ns;         /* the thread's own: when the next tick is wanted             */
	struct ltz_deaths deaths; /* the thread's own: whom it watches                        */
	uint64_t rung;           /* atomic: 1 from a ring to the beginning of the tick it wants */
};

/* Serves it, starting the thread if none runs. */
int ltz__service_add(struct ltz_served *served);
/*
 * Stops serving it; the listening socket stays the caller's. With the last one
 * the thread ends.
 */
void ltz__service_remove(struct ltz_served *served);

/* Fork and exit: see fork.c. stop returns whether it was running. */
bool ltz__service_stop(void);
/* Starts the thread again if there is something to serve. */
int ltz__service_resume(void);
/* In a forked child: forgets the thread, closes the copies of its descriptors; serves nothing. */
void ltz__service_forked(void);
/* At exit: keeps the thread from working, for good. False if that took too long. */
bool ltz__service_freeze(void);
/* The listening socket, or -1. */
int ltz__service_listener(struct ltz_served *served);

#endif
