/* SPDX-License-Identifier: MIT */
/*
 * fault.h - failures on demand: the n-th call fails, a named point kills.
 *
 * Build option LTZ_FAULTS only; without it every macro here is its argument
 * or nothing.
 *
 *   LTZ_SYS_CALL(call)    a system call returning -1 and errno
 *   LTZ_PTR_CALL(bad, call)  a call returning `bad` on failure (mmap, malloc)
 *   LTZ_ERR_CALL(call)    a call returning an error number (pthread_create)
 *                         No signal interrupts these two: they never fail
 *                         with EINTR.
 *   LTZ_CRASH_POINT("floor.what")  SIGKILL comes here, at the k-th hit, if
 *                         that was ordered. Put one between two steps that
 *                         a crash may separate, named after the first of
 *                         them; in a .c file, not in an inline function of
 *                         a header. Every point is listed in a section of
 *                         its own, so that a test can ask whether each one
 *                         that exists was hit.
 *
 * Environment (read when the process starts)
 *   LTZ_FAULT_CALL=n[:errno]   the n-th call of the process fails (errno: a
 *                              number; default ENOMEM), all others do not
 *   LTZ_FAULT_CRASH=point[:k]  dies at the k-th hit (default the first)
 */
#ifndef LTZ_SYS_FAULT_H
#define LTZ_SYS_FAULT_H

#ifdef LTZ_FAULTS

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

struct ltz_crash_point {
	const char *name;
	uint64_t hits;
};

enum ltz_fault_scope {
	LTZ_FAULT_THREAD,  /* count only the calling thread's calls from now on */
	LTZ_FAULT_PROCESS, /* count every thread's                              */
};

/* The n-th call from now on fails with errno = error; n 0: none fails. Counts anew. */
void ltz__fault_set_call(enum ltz_fault_scope scope, uint64_t n, int error);
/* The same for the n-th and all that follow: what is short stays short. */
void ltz__fault_set_calls_from(enum ltz_fault_scope scope, uint64_t n, int error);
/* Calls counted since the last ltz__fault_set_call of that scope. */
uint64_t ltz__fault_calls(enum ltz_fault_scope scope);
/* Die at the k-th hit from now on of the named point; name NULL: nowhere. name must stay valid. */
void ltz__fault_set_crash(const char *name, uint64_t k);
/*
 * At the k-th hit from now on of the named point, action(context) is run there: what others do between
 * two steps of this thread. It may pass points itself. name NULL: nothing. name must stay valid.
 */
void ltz__fault_set_meanwhile(const char *name, uint64_t k, void (*action)(void *context), void *context);
/* Every point of this program with its hits so far; one name may come more than once. */
void ltz__fault_points(void (*visit)(void *context, const char *name, uint64_t hits), void *context);

/* The first, third, fifth ... call from now on is interrupted: EINTR. Made again, each is done. */
void ltz__fault_interrupt(enum ltz_fault_scope scope);
/* For the macros only. whole: not to be interrupted. */
bool ltz__fault_fails(void);
bool ltz__fault_fails_whole(void);
void ltz__fault_reach(struct ltz_crash_point *point);

#define LTZ_SYS_CALL(call) (ltz__fault_fails() ? -1 : (call))
#define LTZ_PTR_CALL(bad, call) (ltz__fault_fails_whole() ? (bad) : (call))
#define LTZ_ERR_CALL(call) (ltz__fault_fails_whole() ? errno : (call))
#define LTZ_CRASH_POINT(point_name)                                                       \
	do {                                                                              \
		static struct ltz_crash_point ltz_point                                   \
			__attribute__((section("ltz_crash_points"), used)) = { point_name, 0 }; \
		ltz__fault_reach(&ltz_point);                                             \
	} while (0)

#else

#define LTZ_SYS_CALL(call) (call)
#define LTZ_PTR_CALL(bad, call) (call)
#define LTZ_ERR_CALL(call) (call)
#define LTZ_CRASH_POINT(point_name) ((void)0)

#endif

#endif
