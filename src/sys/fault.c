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

/* One count of calls. Relaxed: a count orders nothing. But what fail_until lets fail finds the rest set. */
struct countdown {
	uint64_t calls, fail_at, fail_until, step; /* fails: fail_at, fail_at + step ... < fail_until */
	int error;
};

static struct countdown process_wide;
static _Thread_local struct countdown thread_own;

/* What happens at the at-th hit of a point. Two may wait: a death, and what others do before it. */
struct trigger {
	const char *name; /* NULL: nothing waits */
	uint64_t at, hits;
	void (*action)(void *context);
	void *context;
};

static struct trigger crash, meanwhile;

/* Set by the linker around the section; weak, as a program may have no point at all. */
extern struct ltz_crash_point __start_ltz_crash_points[] __attribute__((weak));
extern struct ltz_crash_point __stop_ltz_crash_points[] __attribute__((weak));

static struct countdown *of_scope(enum ltz_fault_scope scope)
{
	return scope == LTZ_FAULT_THREAD ? &thread_own : &process_wide;
}

static void set_range(enum ltz_fault_scope scope, uint64_t from, uint64_t until, uint64_t step, int error)
{
	struct countdown *count = of_scope(scope);

	__atomic_store_n(&count->fail_until, 0, __ATOMIC_RELAXED); /* nothing fails while this is changed */
	__atomic_store_n(&count->error, error, __ATOMIC_RELAXED);
	__atomic_store_n(&count->calls, 0, __ATOMIC_RELAXED);
	__atomic_store_n(&count->fail_at, from, __ATOMIC_RELAXED);
	__atomic_store_n(&count->step, step, __ATOMIC_RELAXED);
	__atomic_store_n(&count->fail_until, until, __ATOMIC_RELEASE);
}

void ltz__fault_set_call(enum ltz_fault_scope scope, uint64_t n, int error)
{
	set_range(scope, n, n == 0 ? 0 : n + 1, 1, error);
}

void ltz__fault_set_calls_from(enum ltz_fault_scope scope, uint64_t n, int error)
{
	set_range(scope, n, n == 0 ? 0 : UINT64_MAX, 1, error);
}

void ltz__fault_interrupt(enum ltz_fault_scope scope)
{
	set_range(scope, 1, UINT64_MAX, 2, EINTR);
}

uint64_t ltz__fault_calls(enum ltz_fault_scope scope)
{
	return __atomic_load_n(&of_scope(scope)->calls, __ATOMIC_RELAXED);
}

static bool count_down(struct countdown *count)
{
	uint64_t call = __atomic_add_fetch(&count->calls, 1, __ATOMIC_RELAXED);
	uint64_t until = __atomic_load_n(&count->fail_until, __ATOMIC_ACQUIRE);
	uint64_t at = __atomic_load_n(&count->fail_at, __ATOMIC_RELAXED);

	if (call < at || call >= until || (call - at) % __atomic_load_n(&count->step, __ATOMIC_RELAXED) != 0)
		return false;
	errno = __atomic_load_n(&count->error, __ATOMIC_RELAXED);
	return true;
}

bool ltz__fault_fails(void)
{
	/* Both count, whichever fails: a count must not depend on the other. */
	bool own = count_down(&thread_own);

	return count_down(&process_wide) || own;
}

bool ltz__fault_fails_whole(void)
{
	return ltz__fault_fails() && errno != EINTR;
}

static void set(struct trigger *trigger, const char *name, uint64_t k, void (*action)(void *context), void *context)
{
	__atomic_store_n(&trigger->name, NULL, __ATOMIC_RELAXED);
	__atomic_store_n(&trigger->hits, 0, __ATOMIC_RELAXED);
	trigger->at = k;
	trigger->action = action;
	trigger->context = context;
	__atomic_store_n(&trigger->name, name, __ATOMIC_RELEASE);
}

static void die(void *context)
{
	(void)context;
	kill(getpid(), SIGKILL);
	for (;;) /* another thread may be the one that dies first: never run on */
		pause();
}

void ltz__fault_set_crash(const char *name, uint64_t k) { set(&crash, name, k, die, NULL); }

void ltz__fault_set_meanwhile(const char *name, uint64_t k, void (*action)(void *context), void *context)
{
	set(&meanwhile, name, k, action, context);
}

static void pull(struct trigger *trigger, const struct ltz_crash_point *point)
{
	const char *name = __atomic_load_n(&trigger->name, __ATOMIC_ACQUIRE);

	if (name == NULL || strcmp(name, point->name) != 0)
		return;
	if (__atomic_add_fetch(&trigger->hits, 1, __ATOMIC_RELAXED) == trigger->at)
		trigger->action(trigger->context);
}

/* A load and a store, and two loads: threads may lose a hit, but not the only one. */
void ltz__fault_reach(struct ltz_crash_point *point)
{
	__atomic_store_n(&point->hits, __atomic_load_n(&point->hits, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
	pull(&meanwhile, point);
	pull(&crash, point);
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
	static char call[64], point[128]; /* what is set points into it */
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
		strncpy(point, value, sizeof(point) - 1);
		split(point, &k);
		ltz__fault_set_crash(point, k);
	}
}

#endif
