/* SPDX-License-Identifier: MIT */
/*
 * heap.h - how many pieces of memory this process holds: exact, so that one
 * that a call forgets shows at once. A sanitizer's build counts none: there
 * the leak checker looks, at the end.
 */
#ifndef LTZ_TEST_OOM_HEAP_H
#define LTZ_TEST_OOM_HEAP_H

#include <stdint.h>

int64_t heap_pieces(void);

#endif
