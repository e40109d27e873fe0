/* SPDX-License-Identifier: MIT */
/*
 * clock.c - the two clocks that a pool knows, and giving way.
 *
 * Life times are counted on CLOCK_BOOTTIME: it never jumps and it counts a
 * suspended machine's time. Unix time is for people only. Neither call can
 * fail for these clocks, nor do they enter the kernel (vDSO).
 */
#include "sys/sys.h"

#include <sched.h>
#include <sys/stat.h>
#include <time.h>

#include "sys/call.h"

uint64_t ltz__sys_boottime_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t ltz__sys_time_namespace(void)
{
	struct stat status;

	return LTZ_CALL(stat("/proc/self/ns/time", &status)) < 0 ? 0 : (uint64_t)status.st_ino;
}

int64_t ltz__sys_unix_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void ltz__sys_yield(void)
{
	sched_yield();
}
