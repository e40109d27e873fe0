/* SPDX-License-Identifier: MIT */
/*
 * error.h - result codes: 0 done, positive = an outcome the direct caller must
 * handle, negative = a failure that is only forwarded (see latzero.h).
 */
#ifndef LTZ_BASE_ERROR_H
#define LTZ_BASE_ERROR_H

#include <errno.h>

/* One line for a result, static, never NULL. Thread-safe. */
const char *ltz__strerror(int result);

/* Sets this thread's detail line (printf style; cut at 400 bytes). NULL clears it. Returns result. */
int ltz__fail(int result, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* This thread's number for ltz_retry_after_ms(); ltz__fail(r, NULL) sets it to 0. */
void ltz__retry_after(unsigned ms);
unsigned ltz__retry_after_ms(void);
/* This thread's detail line, "" if none. */
const char *ltz__detail(void);

#endif
