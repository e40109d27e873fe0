/* SPDX-License-Identifier: MIT */
/*
 * error.c - result codes: one table, and one detail line per thread.
 *
 * The table is ours because strerror() is not thread-safe everywhere, is
 * translated, and knows neither the positive outcomes nor what -EUCLEAN
 * means here. A negative result that is not in the table still gets a line.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <latzero.h>

#define DETAIL_BYTES 400

struct line {
	int result;
	const char *text;
};

static const struct line lines[] = {
	{ LTZ_OK, "done" },
	{ LTZ_NOT_FOUND, "no such key" },
	{ LTZ_REFUSED, "the condition was not met; nothing changed" },
	{ LTZ_TRUNCATED, "the buffer is too small; nothing changed" },
	{ LTZ_MISMATCH, "the value is not of the kind this operation changes" },
	{ LTZ_OVERFLOW, "the result does not fit 64 bits; nothing changed" },
	/* with a meaning of their own: keep in step with latzero.h */
	{ -ENOENT, "no such pool" },
	{ -EEXIST, "a pool of that name exists" },
	{ -EINVAL, "bad argument" },
	{ -ETIMEDOUT, "no member answered in time" },
	{ -ENOSPC, "no memory left for this: delete keys, make the pool with a larger max_size, or free memory of the system or its cgroup" },
	{ -ESHUTDOWN, "the pool was destroyed or the handle is closed" },
	{ -EUCLEAN, "the pool is damaged" },
	{ -EROFS, "this handle is read-only" },
	{ -EACCES, "the rendezvous directory or the listener is not safe to use" },
	{ -EPROTO, "the listener does not speak this version of latzero" },
	{ -EKEYREJECTED, "the password is wrong, missing or needless" },
	{ -EBADMSG, "a record failed its tag: changed by someone without the key" },
	{ -ENOPKG, "a library that locked and encrypted pools need cannot be loaded" },
	/* what the system may say on the way */
	{ -EAGAIN, "try again" },
	{ -EBADF, "bad file descriptor" },
	{ -EBUSY, "no room for another member" },
	{ -ECONNREFUSED, "nobody listens" },
	{ -ECONNRESET, "the other side went away" },
	{ -EFAULT, "bad address" },
	{ -EFBIG, "a file size limit (RLIMIT_FSIZE) is too small" },
	{ -EINTR, "interrupted by a signal" },
	{ -EIO, "input/output error" },
	{ -EMFILE, "this process has no file descriptor left (RLIMIT_NOFILE)" },
	{ -ENAMETOOLONG, "the name is too long" },
	{ -ENFILE, "the system has no file descriptor left" },
	{ -ENOMEM, "out of memory" },
	{ -ENOSYS, "the kernel does not have this" },
	{ -ENOTDIR, "a part of the path is missing or not a directory" },
	{ -EOPNOTSUPP, "not supported here" },
	{ -EPERM, "not permitted" },
	{ -EPIPE, "the other side closed" },
	{ -ERANGE, "a number is out of its bounds" },
};

const char *ltz__strerror(int result)
{
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (lines[i].result == result)
			return lines[i].text;
	return result < 0 ? "unexpected error of the system" : "unknown result";
}

static _Thread_local char detail[DETAIL_BYTES + 1];
static _Thread_local unsigned retry_after_ms;

int ltz__fail(int result, const char *format, ...)
{
	va_list arguments;

	if (format == NULL) {
		detail[0] = '\0';
		retry_after_ms = 0;
		return result;
	}
	va_start(arguments, format);
	vsnprintf(detail, sizeof(detail), format, arguments);
	va_end(arguments);
	return result;
}

const char *ltz__detail(void)
{
	return detail;
}

void ltz__retry_after(unsigned ms) { retry_after_ms = ms; }
unsigned ltz__retry_after_ms(void) { return retry_after_ms; }
