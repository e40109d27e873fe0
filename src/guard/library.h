/* SPDX-License-Identifier: MIT */
/*
 * library.h - shared libraries that are loaded when they are first needed.
 *
 * libcrypto and libargon2 are not linked. Only locked and encrypted pools need
 * them, and being linked to libcrypto costs every process, on a small virtual
 * machine, 1.1 to 1.3 ms of its start and 0.4 MiB of private memory for
 * relocations, before it has done anything.
 */
#ifndef LTZ_GUARD_LIBRARY_H
#define LTZ_GUARD_LIBRARY_H

#include <stddef.h>

/*
 * Loads the library (as the dynamic linker finds it; none of its symbols
 * become visible to others) and writes the address of each named function to
 * functions. It stays loaded. Asking again is cheap. Any thread.
 * -ENOPKG with a detail line: there is no such library, or it lacks a function.
 */
int ltz__library_load(const char *soname, const char *const *names, size_t count, void **functions);

#endif
