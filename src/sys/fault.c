/* SPDX-License-Identifier: MIT */
/*
 * fault.c - counting calls and hits for fault.h. Empty unless LTZ_FAULTS.
 */
#include "sys/fault.h"

#ifdef LTZ_FAULTS

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One count of calls. Relaxed everywhere: a count orders nothing. */
struct countdown {
	uint64_t calls, fail_at;
	int error;
};

static struct countdown process_wide;
static _Thread_local struct countdown thread_own;

static const char *crash_name;
static uint64_t crash_at, crash_hits;

/* Set by the linker around the section; weak, as a program may have no point at all. */
extern struct ltz_crash_point __start_ltz_crash_points[] __attribute__((weak));
extern struct ltz_crash_point __stop_ltz_crash_points[] __attribute__((weak));

static struct countdown *of_scope(enum ltz_fault_scope scope)
{
	return scope == LTZ_FAULT_THREAD ? &thread_own : &process_wide;
}

void ltz__fault_set_call(enum ltz_fault_scope scope, uint64_t n, int error)
{
	struct countdown *count = of_scope(scope);

	count->error = error;
	__atomic_store_n(&count->calls, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&count->fail_at, n, __ATOMIC_RELAXED);
}

uint64_t ltz__fault_calls(enum ltz_fault_scope scope)
{
	return __atomic_load_n(&of_scope(scope)->calls, __ATOMIC_RELAXED);
}

static bool count_down(struct countdown *count)
{
	uint64_t call = __atomic_add_fetch(&count->calls, 1, __ATOMIC_RELAXED);

	if (call != __atomic_load_n(&count->fail_at, __ATOMIC_RELAXED))
		return false;
	errno = count->error;
	return true;
}

bool ltz__fault_fails(void)
{
	/* Both count, whichever fails: a count must not depend on the other. */
	bool own = count_down(&thread_own);

	return count_down(&process_wide) || own;
}

void ltz__fault_set_crash(const char *name, uint64_t k)
{
	__atomic_store_n(&crash_hits, 0, __ATOMIC_RELAXED);
	crash_at = k;
	__atomic_store_n(&crash_name, name, __ATOMIC_RELAXED);
}

void ltz__fault_reach(struct ltz_crash_point *point)
{
	const char *name = __atomic_load_n(&crash_name, __ATOMIC_RELAXED);

	__atomic_add_fetch(&point->hits, 1, __ATOMIC_RELAXED);
	if (name == NULL || strcmp(name, point->name) != 0)
		return;
	if (__atomic_add_fetch(&crash_hits, 1, __ATOMIC_RELAXED) == crash_at) {
		kill(getpid(), SIGKILL);
		for (;;) /* another thread may be the one that dies first: never run on */
			pause();
	}
}

void ltz__fault_points(void (*visit)(void *context, const char *name, uint64_t hits), void *context)
{
	for (struct ltz_crash_point *p = __start_ltz_crash_points; p != __stop_ltz_crash_points; p++)
		visit(context, p->name, __atomic_load_n(&p->hits, __ATOMIC_RELAXED));
}

/* Splits "word:number"; *number is left alone if there is none. */
static void split(char *text, uint64_t *number)
{
	char *colon = strrchr(text, ':');

	if (colon != NULL) {
		*colon = '\0';
		*number = strtoull(colon + 1, NULL, 10);
	}
}

__attribute__((constructor)) static void read_environment(void)
{
	static char call[64], crash[128]; /* crash_name points into it */
	const char *value;
	uint64_t error = ENOMEM, k = 1;

	value = getenv("LTZ_FAULT_CALL");
	if (value != NULL) {
		strncpy(call, value, sizeof(call) - 1);
		split(call, &error);
		ltz__fault_set_call(LTZ_FAULT_PROCESS, strtoull(call, NULL, 10), (int)error);
	}
	value = getenv("LTZ_FAULT_CRASH");
	if (value != NULL) {
		strncpy(crash, value, sizeof(crash) - 1);
		split(crash, &k);
		ltz__fault_set_crash(crash, k);
	}
}

#endif
