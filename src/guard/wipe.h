/* SPDX-License-Identifier: MIT */
/*
 * wipe.h - secrets forgotten, and compared without telling where they differ.
 *
 * Any thread, any process, signal handlers too.
 */
#ifndef LTZ_GUARD_WIPE_H
#define LTZ_GUARD_WIPE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Zeroes size bytes (0: bytes may be NULL), also where the compiler sees
 * that nobody reads them again. It cannot reach copies in registers or in dead
 * stack slots: keep secrets in few named places and wipe those.
 */
void ltz__wipe(void *bytes, size_t size);

/*
 * Are the size bytes the same? Takes as long for every content, so that a
 * tag cannot be guessed byte by byte. The size is not secret. 0 bytes are.
 */
bool ltz__same(const void *a, const void *b, size_t size);

#endif
