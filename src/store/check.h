/* SPDX-License-Identifier: MIT */
/* check.h - every invariant of a pool, walked. */
#ifndef LTZ_STORE_CHECK_H
#define LTZ_STORE_CHECK_H

struct ltz_mem;

/*
 * Calls report once for each broken invariant: index <-> blocks <-> bitmaps
 * <-> granules <-> members <-> directory. Beside running operations it looks
 * again at whatever seems wrong and reports only what stays so, and never what
 * a living member has in hand, however long it is stopped. 0: walked;
 * negative: what seems wrong may be left by a dead member that cannot be
 * settled now, so it was not reported.
 */
int ltz__check(struct ltz_mem *mem, void (*report)(void *context, const char *line), void *context);

#endif
