/* SPDX-License-Identifier: MIT */
/*
 * deaths.h - learning at once that another member is gone.
 *
 * Each member watches the next two rows after its own, going round, by pidfd:
 * so every member is watched by two others, at two descriptors each, and a
 * death is known within milliseconds, whoever is janitor and however many have
 * joined. A pidfd proves nothing (the pid may be another namespace's, or
 * recycled): it only makes us look at the row's lock now and not at the next
 * sweep.
 *
 * All functions: by the service thread, or while it cannot run.
 */
#ifndef LTZ_POOL_DEATHS_H
#define LTZ_POOL_DEATHS_H

#include <stdbool.h>
#include <stdint.h>

struct ltz_mem;
struct ltz_poll;

#define LTZ_WATCHED 2

struct ltz_deaths {
	struct ltz_watched {
		uint64_t word; /* the row's word when it was chosen */
		unsigned row;
		int pidfd;     /* -1: unused */
	} watched[LTZ_WATCHED];
	uint64_t renew_ns; /* when to look whether they are still the next ones */
};

void ltz__deaths_init(struct ltz_deaths *deaths);
/* Takes its descriptors out of poll and closes them. poll NULL (a forked child): only closes. */
void ltz__deaths_deinit(struct ltz_deaths *deaths, struct ltz_poll *poll);

/* Chooses whom to watch, if it is time to. */
void ltz__deaths_renew(struct ltz_deaths *deaths, struct ltz_poll *poll, struct ltz_mem *mem, uint64_t now_ns);

/* Was this what the poll reported? Then it is dealt with: the dead are settled. */
bool ltz__deaths_ready(struct ltz_deaths *deaths, struct ltz_poll *poll, struct ltz_mem *mem, const void *tag);

#endif
