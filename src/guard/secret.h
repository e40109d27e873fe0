/* SPDX-License-Identifier: MIT */
/*
 * secret.h - one page for one attachment's keys.
 *
 * Life: init, write the keys, freeze, use, deinit. A page is written once and
 * then read-only, and that is what makes fork work: memfd_secret can only be
 * mapped shared, so parent and child see one page. As nobody changes it after
 * freeze, it makes no difference which of them does what: each has its own
 * mapping, deinit in one takes nothing from the other, and the kernel zeroes
 * the page when the last mapping is gone. (An explicit wipe there would wipe
 * the other's keys.) Where memfd_secret is not to be had, the page is private
 * memory: the child has a copy, each wipes its own at deinit, and the child's
 * copy is locked into memory again by ltz__secret_inherited.
 *
 * What it keeps out: swap, core dumps of this page and, if HIDDEN, reads
 * through ptrace and /proc/PID/mem. Not kept out: what libcrypto makes of a
 * key (key schedules lie on its own heap, and are wiped when freed), and
 * whoever can run code in this process. A machine does not hibernate while
 * any process has a HIDDEN page: the kernel refuses to write it to disk.
 *
 * Threads: init, freeze and deinit belong to one caller; reading a frozen page
 * to any number. No function here is for signal handlers.
 */
#ifndef LTZ_GUARD_SECRET_H
#define LTZ_GUARD_SECRET_H

#include "sys/sys.h"

#define LTZ_SECRET_BYTES 4096u

struct ltz_secret {
	void *bytes;  /* LTZ_SECRET_BYTES, page aligned; NULL before init and after deinit */
	unsigned how; /* LTZ_SYS_HIDDEN, LTZ_SYS_LOCKED: what was to be had */
};

/*
 * A zeroed, writable page. Not getting locked memory is no failure: how says
 * so. -ENOMEM.
 */
int ltz__secret_init(struct ltz_secret *secret);

/* Read-only from now on. */
int ltz__secret_freeze(struct ltz_secret *secret);

/* In a forked child, before it goes on: the copy is locked again; how says if that worked. */
void ltz__secret_inherited(struct ltz_secret *secret);

/* The secrets are gone for this process. A page that was never made or already gone is left alone. */
void ltz__secret_deinit(struct ltz_secret *secret);

#endif
