/* SPDX-License-Identifier: MIT */
/*
 * mem.h - one process' attachment to a pool's memory: mapped, checked, joined.
 *
 * struct ltz_mem is private to the process. Several attachments to one memory
 * may exist in one process (each is a member of its own): tests use this.
 */
#ifndef LTZ_SHM_MEM_H
#define LTZ_SHM_MEM_H

#include <stdbool.h>
#include <stdint.h>

struct ltz_mem;

#define LTZ_MEM_KEY_BYTES 32

struct ltz_mem_options {
	uint64_t max_size_bytes; /* make only; 0: as the system allows                       */
	uint32_t pool_flags;     /* make only; stored in the header, see ltz_open_flags       */
	const char *name;        /* make only; stored in the header for people                */
	bool readonly;           /* attach only                                               */
	/*
	 * attach: the pool's key, LTZ_MEM_KEY_BYTES; NULL: an open pool. Only the
	 * store floor uses it, and while it attaches; it stays the caller's.
	 */
	const uint8_t *pool_key;
	uint32_t min_buckets_log2; /* make only; 0: the usual; tests force small tables       */
};

/*
 * Makes the memory of a new pool: sized, sealed, formatted. Returns its fd
 * (>= 0) or a negative errno. Nobody is joined yet.
 */
int ltz__mem_make(const struct ltz_mem_options *options);

/*
 * Joins the memory behind fd: checks seals, size and geometry, re-opens it
 * for a lock of its own, maps it, takes a row. fd stays the caller's and is
 * not kept. -EUCLEAN: damaged or of another version. -EBUSY: no row is free.
 * -EINVAL: a key for an open pool, or none for another.
 */
int ltz__mem_attach(int fd, const struct ltz_mem_options *options, struct ltz_mem **out);

/* Leaves. The caller excludes every other use of mem. */
void ltz__mem_detach(struct ltz_mem *mem);

/*
 * In a forked child: forgets an attachment of the parent (whose mapping the
 * child does not have): closes the lock descriptor, frees private memory.
 */
void ltz__mem_abandon(struct ltz_mem *mem);

/* The pool's id: 16 random bytes that no other pool has. */
void ltz__mem_id(const struct ltz_mem *mem, uint8_t id[16]);
bool ltz__mem_destroyed(const struct ltz_mem *mem);
/* The word that counts guesses of the password: pool/bucket.h's. Also read-only members may write it. */
uint64_t *ltz__mem_guesses(struct ltz_mem *mem);
uint32_t ltz__mem_flags(const struct ltz_mem *mem); /* latzero.h's open flags that the pool was made with */

/* Ends the pool for every member. Whoever comes second changes nothing. */
void ltz__mem_destroy(struct ltz_mem *mem);

/* A descriptor of the pool's memory that is mem's own (for handing it on by SCM_RIGHTS; not the lock's). */
int ltz__mem_fd(const struct ltz_mem *mem);

/* The pool's clock, ns: CLOCK_BOOTTIME of its maker, whatever this process' time namespace. */
uint64_t ltz__mem_now_ns(const struct ltz_mem *mem);
/*
 * Is this process' boottime the pool's clock? Then nobody needs to tell, and
 * should not: however late a message is, it would only make it wrong.
 */
bool ltz__mem_same_clock(const struct ltz_mem *mem);
/* Tells mem the pool's clock as another member sees it now; differences below 1 s are ignored. */
void ltz__mem_set_now(struct ltz_mem *mem, uint64_t pool_now_ns);

/*
 * Called (from any thread of this process) when housekeeping is wanted soon:
 * growth of the index, memory ahead of need. Must not block.
 */
void ltz__mem_on_ring(struct ltz_mem *mem, void (*ring)(void *context), void *context);

#endif
