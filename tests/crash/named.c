/* SPDX-License-Identifier: MIT */
/* named.c - see named.h; and victims.h for scenes whose victims die at crash points. */
#include "named.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/fault.h"

#define VICTIM_SECS 30u /* then it hangs, and is BROKEN by SIGALRM */

struct named_account *named_account;

void *shared_memory(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}

/* ---- the list ----------------------------------------------------------------------- */

static struct {
	const char *name[NAMED_MOST];
	uint64_t hits[NAMED_MOST];
	uint32_t count;
} list;

static void list_point(void *context, const char *name, uint64_t hits)
{
	(void)context;
	if (list.count == NAMED_MOST)
		abort();
	list.name[list.count] = name;
	list.hits[list.count++] = hits;
}

static void read_list(void)
{
	list.count = 0;
	ltz__fault_points(list_point, NULL);
}

/* Before the first test forks. */
__attribute__((constructor)) static void open_account(void)
{
	named_account = shared_memory(sizeof(*named_account));
	read_list();
}

uint32_t named_points(void) { return list.count; }
const char *named_name(uint32_t point) { return point < list.count ? list.name[point] : "nowhere"; }

uint32_t named_find(const char *name)
{
	for (uint32_t i = 0; i < list.count; i++)
		if (strcmp(list.name[i], name) == 0)
			return i;
	return NOWHERE;
}

struct count {
	const char *name;
	uint64_t hits;
};

static void count_point(void *context, const char *name, uint64_t hits)
{
	struct count *count = context;

	if (strcmp(name, count->name) == 0)
		count->hits += hits;
}

uint64_t named_hits(const char *name)
{
	struct count count = { name, 0 };

	ltz__fault_points(count_point, &count);
	return count.hits;
}

void named_note(const uint64_t *hits)
{
	for (uint32_t i = 0; i < list.count; i++)
		__atomic_fetch_add(&named_account->hits[i], hits[i], __ATOMIC_RELAXED);
}

/* ---- a victim ---------------------------------------------------------------------------- */

static struct {
	struct death death;
	uint64_t *hits;
	bool begun;
} me;

void crash_begin(void)
{
	me.begun = true;
	read_list();
	if (me.death.point != NOWHERE)
		ltz__fault_set_crash(list.name[me.death.point], me.death.k);
}

void crash_end(void)
{
	uint64_t before[NAMED_MOST];

	ltz__fault_set_crash(NULL, 0);
	me.begun = false;
	if (!me.hits)
		return;
	memcpy(before, list.hits, sizeof(before));
	read_list();
	for (uint32_t i = 0; i < list.count; i++)
		__atomic_fetch_add(&me.hits[i], list.hits[i] - before[i], __ATOMIC_RELAXED);
}

/* Of a victim whose work is to exit; after the library's own destructor. */
__attribute__((destructor(101))) static void end_at_exit(void)
{
	if (me.begun)
		crash_end();
}

pid_t named_start(void (*body)(void *context), void *context, struct death death, uint64_t *hits)
{
	pid_t victim;

	fflush(NULL); /* a victim may exit() */
	victim = fork();
	if (victim < 0)
		abort();
	if (victim == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGALRM, SIG_DFL);
		alarm(VICTIM_SECS);
		me.death = death;
		me.hits = hits;
		body(context);
		_exit(0);
	}
	return victim;
}

enum fate named_wait(pid_t victim, struct death death)
{
	int status = -1;

	while (waitpid(victim, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status))
		return WEXITSTATUS(status) == 0 ? ENDED : BROKEN;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL || death.point == NOWHERE)
		return BROKEN;
	__atomic_fetch_add(&named_account->kills[death.point], 1, __ATOMIC_RELAXED);
	return DIED;
}

enum fate named_run(void (*body)(void *context), void *context, struct death death, uint64_t *hits)
{
	return named_wait(named_start(body, context, death, hits), death);
}

bool crash_bury(void (*body)(void *context), void *context, struct last_step at)
{
	struct death death = { named_find(at.point), 1 };

	return death.point != NOWHERE && named_run(body, context, death, NULL) == DIED;
}
