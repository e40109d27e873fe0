/* SPDX-License-Identifier: MIT */
/*
 * atomic.h - every access to a shared word; the memory order is in the name.
 *
 * All words are 64 bits, naturally aligned. The only wider access is the
 * 16-byte compare-and-swap of a bucket's control words, whose halves are
 * otherwise loaded one at a time: x86-64 and ARMv8 keep aligned 8-byte loads
 * coherent with it.
 */
#ifndef LTZ_BASE_ATOMIC_H
#define LTZ_BASE_ATOMIC_H

#include "base/compiler.h"

#include <stdbool.h>

LTZ_INLINE uint64_t load_relaxed(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
LTZ_INLINE uint64_t load_acquire(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
LTZ_INLINE void store_relaxed(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
LTZ_INLINE void store_release(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

LTZ_INLINE bool cas_acq_rel(uint64_t *p, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n(p, &expected, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}
LTZ_INLINE bool cas_seq_cst(uint64_t *p, uint64_t expected, uint64_t desired)
{
	return __atomic_compare_exchange_n(p, &expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}
LTZ_INLINE uint64_t exchange_seq_cst(uint64_t *p, uint64_t v) { return __atomic_exchange_n(p, v, __ATOMIC_SEQ_CST); }
LTZ_INLINE uint64_t fetch_add_relaxed(uint64_t *p, uint64_t v) { return __atomic_fetch_add(p, v, __ATOMIC_RELAXED); }
LTZ_INLINE uint64_t fetch_or_release(uint64_t *p, uint64_t v) { return __atomic_fetch_or(p, v, __ATOMIC_RELEASE); }
LTZ_INLINE uint64_t fetch_or_seq_cst(uint64_t *p, uint64_t v) { return __atomic_fetch_or(p, v, __ATOMIC_SEQ_CST); }
LTZ_INLINE uint64_t fetch_and_relaxed(uint64_t *p, uint64_t v) { return __atomic_fetch_and(p, v, __ATOMIC_RELAXED); }

/* Raises *p to v if it is lower. */
LTZ_INLINE void raise_acq_rel(uint64_t *p, uint64_t v)
{
	uint64_t old = load_acquire(p);

	while (old < v && !__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
		;
}

/* A counter that only this process writes: no read-modify-write needed; threads may lose a count. */
LTZ_INLINE void count_own(uint64_t *p) { store_relaxed(p, load_relaxed(p) + 1); }

LTZ_INLINE void fence_compiler(void) { __asm__ __volatile__("" ::: "memory"); }

#if LTZ_TSAN
/* ThreadSanitizer has no stand-alone fences; every shared access is atomic, so it needs none to find races. */
LTZ_INLINE void fence_hardware_acquire(void) { fence_compiler(); }
LTZ_INLINE void fence_hardware_release(void) { fence_compiler(); }
LTZ_INLINE void fence_hardware_full(void)
{
#if defined(__x86_64__)
	__asm__ __volatile__("mfence" ::: "memory");
#else
	__asm__ __volatile__("dmb ish" ::: "memory");
#endif
}
#define fence_acquire fence_hardware_acquire
#define fence_release fence_hardware_release
#define fence_full    fence_hardware_full
#else
LTZ_INLINE void fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
LTZ_INLINE void fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
LTZ_INLINE void fence_full(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
#endif

/* Two words side by side, changed together and loaded apart. */
struct word_pair {
	uint64_t a, b;
} __attribute__((aligned(16)));

/* Full barrier. The processor's own instruction: no lock of a run-time library, which other processes would not see. */
LTZ_INLINE bool cas_pair(struct word_pair *p, uint64_t old_a, uint64_t old_b, uint64_t new_a, uint64_t new_b)
{
#if defined(__x86_64__)
	bool done;

	__asm__ __volatile__("lock cmpxchg16b %1"
	                     : "=@ccz"(done), "+m"(*p), "+a"(old_a), "+d"(old_b)
	                     : "b"(new_a), "c"(new_b)
	                     : "memory");
	return done;
#elif defined(__aarch64__)
	uint64_t a, b;
	uint32_t failed;

	__asm__ __volatile__("1: ldaxp %0, %1, %3\n"
	                     "   cmp   %0, %4\n"
	                     "   ccmp  %1, %5, #0, eq\n"
	                     "   b.ne  2f\n"
	                     "   stlxp %w2, %6, %7, %3\n"
	                     "   cbnz  %w2, 1b\n"
	                     "   b     3f\n"
	                     "2: stlxp %w2, %0, %1, %3\n" /* the pair read is one only if written back */
	                     "   cbnz  %w2, 1b\n"
	                     "   mov   %w2, #1\n"
	                     "3: dmb   ish\n"
	                     : "=&r"(a), "=&r"(b), "=&r"(failed), "+Q"(*p)
	                     : "r"(old_a), "r"(old_b), "r"(new_a), "r"(new_b)
	                     : "memory", "cc");
	return !failed;
#else
#error "latzero needs a 16-byte compare-and-swap: x86-64 or arm64"
#endif
}

#endif
