/* SPDX-License-Identifier: MIT */
/* deaths.c - pidfds. See deaths.h. */
#include "pool/deaths.h"

#include "shm/member.h"
#include "store/tick.h"
#include "sys/fault.h"
#include "sys/sys.h"

#define RENEW_NS 1000000000ull /* who joins and dies within it is found by the janitor's sweep */

void ltz__deaths_init(struct ltz_deaths *deaths)
{
	*deaths = (struct ltz_deaths){ .renew_ns = 0 };
	for (unsigned i = 0; i < LTZ_WATCHED; i++)
		deaths->watched[i].pidfd = -1;
}

static void unwatch(struct ltz_watched *watched, struct ltz_poll *poll)
{
	if (watched->pidfd < 0)
		return;
	if (poll != NULL)
		ltz__sys_poll_remove(poll, watched->pidfd);
	ltz__sys_close(watched->pidfd);
	watched->pidfd = -1;
}

void ltz__deaths_deinit(struct ltz_deaths *deaths, struct ltz_poll *poll)
{
	for (unsigned i = 0; i < LTZ_WATCHED; i++)
		unwatch(&deaths->watched[i], poll);
}

/* No descriptor to be had, no such pid: the sweep of locks remains. */
static void watch(struct ltz_watched *watched, struct ltz_poll *poll, unsigned row, uint64_t word, uint32_t pid)
{
	if (watched->pidfd >= 0 && watched->row == row && watched->word == word)
		return;
	unwatch(watched, poll);
	watched->row = row;
	watched->word = word;
	watched->pidfd = ltz__sys_pidfd(pid);
	if (watched->pidfd >= 0 && ltz__sys_poll_add(poll, watched->pidfd, watched, false) < 0) {
		ltz__sys_close(watched->pidfd);
		watched->pidfd = -1;
	}
}

void ltz__deaths_renew(struct ltz_deaths *deaths, struct ltz_poll *poll, struct ltz_mem *mem, uint64_t now_ns)
{
	unsigned row = ltz__member_row(mem), i = 0;
	uint64_t word;
	uint32_t pid;

	if (now_ns < deaths->renew_ns)
		return;
	deaths->renew_ns = now_ns + RENEW_NS;
	while (i < LTZ_WATCHED && ltz__member_next(mem, &row, &word, &pid))
		watch(&deaths->watched[i++], poll, row, word, pid);
	while (i < LTZ_WATCHED)
		unwatch(&deaths->watched[i++], poll);
}

bool ltz__deaths_ready(struct ltz_deaths *deaths, struct ltz_poll *poll, struct ltz_mem *mem, const void *tag)
{
	for (unsigned i = 0; i < LTZ_WATCHED; i++) {
		struct ltz_watched *watched = &deaths->watched[i];

		if (watched != tag)
			continue;
		unwatch(watched, poll); /* it stays readable for ever */
		LTZ_CRASH_POINT("pool.death_seen");
		ltz__settle_row(mem, watched->row);
		LTZ_CRASH_POINT("pool.death_settled");
		deaths->renew_ns = 0;
		return true;
	}
	return false;
}
