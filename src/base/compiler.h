/* SPDX-License-Identifier: MIT */
/* compiler.h - what the compiler is told, and assertions. */
#ifndef LTZ_BASE_COMPILER_H
#define LTZ_BASE_COMPILER_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define LTZ_INLINE   static inline __attribute__((always_inline))
#define LTZ_NOINLINE __attribute__((noinline))
#define LTZ_COLD     __attribute__((cold, noinline))

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/*
 * LTZ_ASSERT is for what this process controls. What the pool says is
 * checked, never asserted.
 */
#ifdef NDEBUG
#define LTZ_ASSERT(x) ((void)sizeof(x))
#else
#define LTZ_ASSERT(x) assert(x)
#endif

#if defined(__SANITIZE_THREAD__)
#define LTZ_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define LTZ_TSAN 1
#endif
#endif
#ifndef LTZ_TSAN
#define LTZ_TSAN 0
#endif

#endif
