/* SPDX-License-Identifier: MIT */
/* heap.c - the C library's allocator, with a count. See heap.h. */
#include "heap.h"

#include <errno.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED

int64_t heap_pieces(void)
{
	return 0;
}

#else

/* glibc: what its own functions of these names are called beside. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *piece, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *piece);

/* Seen by the C library too, which allocates for fopen, getline, threads ... */
#define SHARED __attribute__((visibility("default")))

static int64_t pieces;

int64_t heap_pieces(void)
{
	return __atomic_load_n(&pieces, __ATOMIC_RELAXED);
}

static void *counted(void *piece)
{
	if (piece != NULL)
		__atomic_fetch_add(&pieces, 1, __ATOMIC_RELAXED);
	return piece;
}

SHARED void *malloc(size_t size)
{
	return counted(__libc_malloc(size));
}

SHARED void *calloc(size_t count, size_t size)
{
	return counted(__libc_calloc(count, size));
}

SHARED void *realloc(void *piece, size_t size)
{
	void *moved = __libc_realloc(piece, size);

	if (piece == NULL)
		return counted(moved);
	if (size == 0 && moved == NULL) /* freed */
		__atomic_fetch_sub(&pieces, 1, __ATOMIC_RELAXED);
	return moved;
}

SHARED void *memalign(size_t alignment, size_t size)
{
	return counted(__libc_memalign(alignment, size));
}

SHARED void *aligned_alloc(size_t alignment, size_t size)
{
	return counted(__libc_memalign(alignment, size));
}

SHARED int posix_memalign(void **piece, size_t alignment, size_t size)
{
	*piece = counted(__libc_memalign(alignment, size));
	return *piece != NULL ? 0 : ENOMEM;
}

SHARED void free(void *piece)
{
	if (piece != NULL)
		__atomic_fetch_sub(&pieces, 1, __ATOMIC_RELAXED);
	__libc_free(piece);
}

#endif
