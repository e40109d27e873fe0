/* SPDX-License-Identifier: MIT */
/*
 * futex.c - wait on a word in shared memory.
 *
 * Never FUTEX_PRIVATE_FLAG: the sleepers are other processes, found by file
 * and offset and not by address. The word may lie in a read-only mapping.
 */
#include "sys/sys.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "sys/call.h"

int ltz__sys_futex_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	struct timespec timeout = {
		.tv_sec = (time_t)(timeout_ns / 1000000000u),
		.tv_nsec = (long)(timeout_ns % 1000000000u),
	};

	/* No retry on EINTR: the caller wants to look at its signals. */
	if (LTZ_SYS_CALL(syscall(SYS_futex, word, FUTEX_WAIT, expected,
	                         timeout_ns == UINT64_MAX ? NULL : &timeout, NULL, 0)) == 0)
		return 0;
	return errno == EAGAIN ? 0 : -errno; /* EAGAIN: it already differs */
}

int ltz__sys_futex_wake(const uint32_t *word, int count)
{
	return (int)LTZ_CALL(syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0));
}
