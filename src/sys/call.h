/* SPDX-License-Identifier: MIT */
/*
 * call.h - how src/sys makes a system call: one macro, used by its files only.
 */
#ifndef LTZ_SYS_CALL_H
#define LTZ_SYS_CALL_H

#include <errno.h>

#include "sys/fault.h"

/*
 * Makes the call again while a signal interrupts it. Its value, a long, is
 * what the call returned or a negative errno. Not for close(): after EINTR
 * the descriptor is gone and its number may already be somebody else's.
 */
#define LTZ_CALL(call)                                             \
	__extension__({                                            \
		long ltz_result_;                                  \
		do                                                 \
			ltz_result_ = (long)LTZ_SYS_CALL(call);    \
		while (ltz_result_ < 0 && errno == EINTR);         \
		ltz_result_ < 0 ? -(long)errno : ltz_result_;      \
	})

#endif
