/* SPDX-License-Identifier: MIT */
/*
 * latzero.h - shared memory pools: one live map, many processes, no server.
 *
 * A pool is one anonymous shared memory. Processes of one machine join it by
 * name; each then reads and writes the same key -> value map directly, without
 * a message to anybody. The pool lives exactly as long as some process is
 * joined; the kernel frees it when the last one leaves, however it leaves.
 *
 * Words
 *   pool     one named shared memory
 *   member   a process joined to it
 *   handle   `ltz_pool *`: this process' way to a pool. All handles of one
 *            process on one pool share one membership.
 *
 * Results
 *   Every function that returns int returns 0 when it did what was asked, a
 *   small positive number for an expected outcome that the caller must handle
 *   (LTZ_NOT_FOUND ...), or a negative errno for a failure. Outputs are
 *   written on 0 only, unless said otherwise. After a failure the pool is as
 *   it was before the call. ltz_strerror() gives one line for any of them.
 *
 * When the system has no more (tests/oom makes each call fail)
 *   A call that lacks memory, descriptors or a thread keeps nothing, and
 *   succeeds when there is enough again. Each declaration below names the
 *   failures it may then give; those that name none have none. "Passes on"
 *   means: also what the system said, such as -EMFILE, -ENFILE or -EAGAIN.
 *   A signal makes no call fail: there is no -EINTR.
 *
 * What may run together
 *   All functions may be called from any thread of any member at the same
 *   time, with one exception: the caller excludes ltz_close(h) against running
 *   calls on the same handle h. Nothing here is async-signal-safe. No call
 *   ever waits for another process' progress, except ltz_create, ltz_connect,
 *   ltz_exists, ltz_list and ltz_destroy, which end at their timeout.
 *
 * Consistency
 *   Every operation on a key is linearizable across processes. Operations on
 *   several keys are one linearizable operation for each key.
 *
 * fork
 *   After fork() the child's handles work: the child becomes a member of its
 *   own at its first call, which may give what ltz_import may; the next call
 *   then tries again. Until it has joined it only keeps the pool's descriptors,
 *   and so the pool, alive. A child made by raw clone() without the libc's
 *   fork handlers gets -ENOTSUP.
 *   The parent's thread is stopped and started again. If that cannot be done,
 *   the process goes on as a member, but lets nobody in and does no
 *   housekeeping until its next ltz_create, ltz_connect or ltz_restart.
 *
 * Crashes, stops, memory: what is promised, and what is not
 *   Killed, at any instruction: nobody waits for it, nobody sees a value half
 *   written. A call that had not returned was done or was not, never in part.
 *   What it held the others give back, the first of it within about a second.
 *   Stopped (SIGSTOP, a debugger, a frozen container): it stays a member, and
 *   nobody waits for it. All values remain everybody's to read, replace and
 *   delete. But the memory of what it wrote is not used again before it goes on
 *   or dies, nor are a few blocks and the index that it was using: the pool is
 *   full the sooner. When every member of a pool is stopped, its name stays
 *   taken and nobody gets in. docs/design/stopped.md has each bound.
 *   The end of the last member, however it comes, is the end of the pool: it
 *   is memory, and survives neither that nor the machine.
 *   Full is -ENOSPC: max_size is reached, or the system or a memory cgroup has
 *   no more to give. That call changed nothing, and all that needs no memory
 *   goes on. Memory is asked for before it is written, so no write ends in a
 *   signal. One read may: a process stopped for more than a second inside
 *   ltz_get touches, when it goes on, up to 16 MiB that were given back
 *   meanwhile. At a cgroup's limit, or under strict overcommit, the kernel
 *   answers that in its own way. Deleted memory goes back after about a second.
 *   ltz_get of a large value that is replaced faster than it can be copied
 *   goes on until there is a pause.
 *   A member that writes into the pool by a wild pointer can spoil what is in
 *   it. The others check lengths and references before they follow them: the
 *   worst is a wrong value or -EUCLEAN, not a crash.
 *
 * Signals
 *   The library installs no handler. Its one thread blocks all signals.
 */
#ifndef LATZERO_H
#define LATZERO_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LTZ_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define LTZ_API __attribute__((visibility("default")))
#else
#define LTZ_API
#endif

/* ---- results ---------------------------------------------------------------- */

enum ltz_outcome {
	LTZ_OK        = 0,
	LTZ_NOT_FOUND = 1, /* no such key (missing or expired)                    */
	LTZ_REFUSED   = 2, /* NX, XX or IF_VERSION said no; nothing changed        */
	LTZ_TRUNCATED = 3, /* the caller's buffer is too small; nothing changed    */
	LTZ_MISMATCH  = 4, /* the value is not of the kind this operation changes  */
	LTZ_OVERFLOW  = 5, /* the result does not fit 64 bits; nothing changed     */
};

/*
 * Negative results that have a meaning of their own here:
 *   -ENOENT     no such pool          -EEXIST     a pool of that name exists
 *   -EINVAL     a bad argument        -ETIMEDOUT  no member answered in time
 *   -ENOSPC     the pool or the system has no memory left for this value
 *   -ENOMEM     this process has no private memory left
 *   -ESHUTDOWN  the pool was destroyed, or the handle is closed
 *   -EUCLEAN    the pool's own structures are damaged
 *   -EROFS      this handle is read-only
 *   -EACCES     the rendezvous directory is not safe to use, or the listener
 *               is another user's
 *   -ENOTSUP    this process is a raw clone of one that uses latzero
 *   -EPROTO     the listener does not speak this version of latzero
 *   -EBUSY      the pool has 4,096 members, which is as many as it can have
 *   -EKEYREJECTED  not let in: the password is wrong, missing or needless, or
 *               there were too many wrong ones (ltz_retry_after_ms)
 *   -EBADMSG    a record failed its tag: changed by someone without the key.
 *               From every call that reads a value or carries one on: get, pop,
 *               add, expire, and set with LTZ_KEEP_TTL. Set and delete still work
 *               on the key, and all other keys are as before
 *   -ENOPKG     libcrypto.so.3 or libargon2.so.1, which locked pools need,
 *               cannot be loaded
 *   -ENOSYS     this process may not use membarrier(2), the members do
 */

/* One line for a result, static, never NULL. Any thread. */
LTZ_API const char *ltz_strerror(int result);

/*
 * What exactly went wrong in this thread's last failing ltz_create,
 * ltz_connect, ltz_exists, ltz_list or ltz_destroy: one line naming the file
 * or limit and what to do; "" if there is nothing to add. Valid until this
 * thread's next such call.
 */
LTZ_API const char *ltz_error_detail(void);

/*
 * After -EKEYREJECTED in this thread: in how many milliseconds another try may
 * be let in; 0 if tries are not limited now. Valid as ltz_error_detail().
 */
LTZ_API unsigned ltz_retry_after_ms(void);

/* ---- pools -------------------------------------------------------------------- */

typedef struct ltz_pool ltz_pool;

#define LTZ_NAME_MAX 100 /* bytes of a pool name: A-Z a-z 0-9 . _ -, not starting with '.' */

enum ltz_open_flags {
	LTZ_READONLY = 1u << 0, /* connect: every writing call gives -EROFS; data is mapped read-only */
	LTZ_NO_PICKLE = 1u << 1, /* create: a property of the pool that every member can read          */
	LTZ_AUTH     = 1u << 2, /* create: joining needs the key; records carry an HMAC               */
	LTZ_ENCRYPTION = 1u << 3, /* create: keys and values are encrypted; implies LTZ_AUTH           */
	LTZ_RAW_KEY  = 1u << 4, /* `key` is 32 random bytes and no password: Argon2id is skipped      */
};

#define LTZ_PASSWORD_MAX 1024 /* bytes */

struct ltz_open_options {
	const char *dir;         /* rendezvous directory; NULL: $LATZERO_DIR, else
	                            $XDG_RUNTIME_DIR/latzero, else /tmp/latzero-UID           */
	uint64_t max_size_bytes; /* create: the most memory for data; 0: as the system allows.
	                            Rounded up to 64 KiB, at least 2 MiB                       */
	unsigned flags;          /* enum ltz_open_flags                                       */
	unsigned timeout_ms;     /* 0: 2000. Waiting for others only: Argon2id comes on top    */
	const void *key;         /* the password, 1..1024 bytes, or NULL. The caller's to wipe */
	size_t key_size;
};

/*
 * Locked pools
 *   A pool made with LTZ_AUTH or LTZ_ENCRYPTION is joined and destroyed only
 *   with its key. A password goes through Argon2id (64 MiB, about 0.2 s of one
 *   processor, in the calling thread, whose other locks it does not need); a
 *   raw key (LTZ_RAW_KEY) does not. What is proved is that both sides know it;
 *   it is never sent, nor kept by this library. No more than about three wrong
 *   keys a second are taken for the whole pool (bursts of five); while others
 *   guess, a right one waits for its turn, drawn by lot, until the timeout.
 *   A key is never a reason to skip the check: also a process that has joined
 *   already must give the right one to get another handle by name.
 */

/*
 * Makes the pool `name` and joins it. options may be NULL.
 * -EEXIST when some process holds a pool of that name. -ENOMEM, -ENOSPC,
 * -ENOSYS, -ETIMEDOUT; passes on.
 */
LTZ_API int ltz_create(const char *name, const struct ltz_open_options *options, ltz_pool **out);

/*
 * Joins the pool `name`. -ENOENT when no process holds it; -EKEYREJECTED. -ENOMEM, -ENOSPC,
 * -ENOSYS, -ETIMEDOUT; passes on.
 */
LTZ_API int ltz_connect(const char *name, const struct ltz_open_options *options, ltz_pool **out);

/*
 * Gives the handle back; with the last handle of the process the process
 * leaves the pool. NULL is allowed. The caller excludes running calls on it.
 */
LTZ_API void ltz_close(ltz_pool *pool);

/*
 * 0 if some process holds the pool, -ENOENT if not. dir as above, may be NULL.
 * -ENOMEM; passes on.
 */
LTZ_API int ltz_exists(const char *name, const char *dir);

/*
 * Frees the name at once and ends the pool for every member: each one's next
 * call gives -ESHUTDOWN. The memory goes back as soon as nobody reads it. A
 * locked pool is destroyed only with its key (in options).
 * -ENOENT. -ENOMEM, -ENOSPC, -ENOSYS, -ETIMEDOUT; passes on.
 */
LTZ_API int ltz_destroy(const char *name, const struct ltz_open_options *options);

struct ltz_pool_info {
	char name[LTZ_NAME_MAX + 1];
	uint8_t answered;         /* 0: every member is stopped; the fields below are 0 */
	uint8_t auth, encryption; /* 0 or 1                                             */
	uint32_t members;
	uint64_t keys;            /* records, expired ones included until swept         */
	uint64_t used_bytes;      /* memory of extents in use                           */
	uint64_t max_bytes;
	int64_t created_ms;        /* Unix time, milliseconds                            */
	int64_t heartbeat_ms;      /* Unix time of the answering member's last work      */
};

/*
 * Asks every pool in the directory; calls visit once for each that some
 * process holds, until it returns non-zero (which ltz_list then returns).
 * Names that nobody holds any more are removed on the way, if they can be.
 * -ENOMEM; passes on: then visit was not called, as a pool may be missing.
 */
LTZ_API int ltz_list(const char *dir,
                     int (*visit)(void *context, const struct ltz_pool_info *info),
                     void *context);

/* ---- keys and values -------------------------------------------------------------- */

#define LTZ_KEY_MAX 65535 /* bytes of a key */

/*
 * A key is a type and 0..65535 bytes; keys of different types differ. The
 * types belong to the caller's conventions; these are latzero's own:
 */
enum ltz_key_type {
	LTZ_KEY_STR   = 1, /* UTF-8                                     */
	LTZ_KEY_BYTES = 2,
	LTZ_KEY_INT   = 3, /* minimal two's complement, little endian   */
	LTZ_KEY_TUPLE = 4, /* see docs/design/codec.md                  */
};

typedef struct ltz_key {
	const void *data;
	uint32_t size;
	uint8_t type; /* 1..7 */
} ltz_key;

/*
 * A value is a type byte and any number of bytes. The core understands only
 * the two types that ltz_add changes; all others belong to the caller.
 */
enum ltz_value_type {
	LTZ_NONE    = 0,
	LTZ_FALSE   = 1,
	LTZ_TRUE    = 2,
	LTZ_INT64   = 3, /* 8 bytes, little endian                     */
	LTZ_FLOAT64 = 4, /* 8 bytes, IEEE 754, little endian           */
	LTZ_STR     = 5, /* UTF-8                                      */
	LTZ_BYTES   = 6,
	LTZ_BYTEARRAY = 7,
	LTZ_BIGINT  = 8, /* minimal two's complement, little endian    */
	LTZ_PICKLE  = 9, /* protocol 5                                 */
	LTZ_TYPE_FREE = 64, /* 64..255: yours                          */
};

typedef struct ltz_value {
	const void *data;
	uint64_t size;
	uint8_t type;
} ltz_value;

/* What is known of a record. */
typedef struct ltz_item {
	uint64_t version;  /* changes with every write of the key and never comes back; never 0 */
	uint64_t size;     /* bytes of the value                                                 */
	int64_t ttl_ms;    /* remaining life in milliseconds; -1: does not expire                */
	uint8_t type;
} ltz_item;

/* ---- one key ------------------------------------------------------------------------ */

/*
 * Copies the value into buf[0..capacity). item is written on 0 and on
 * LTZ_TRUNCATED (buf then holds garbage); it may be NULL. buf may be NULL with
 * capacity 0, to learn what is known of a value without copying it. buf must
 * be memory that nobody else writes: in an encrypted pool it is worked in.
 */
LTZ_API int ltz_get(ltz_pool *pool, const ltz_key *key, void *buf, size_t capacity, ltz_item *item);

enum ltz_set_flags {
	LTZ_NX         = 1u << 0, /* only if the key is absent                       */
	LTZ_XX         = 1u << 1, /* only if it is present                           */
	LTZ_KEEP_TTL   = 1u << 2, /* keep the old record's expiry; ttl_ms is ignored */
	LTZ_IF_VERSION = 1u << 3, /* only if its version is if_version; 0: absent    */
};

struct ltz_set_options {
	unsigned flags;
	uint64_t ttl_ms;     /* the key is gone that much later; 0: it stays */
	uint64_t if_version;
};

/*
 * Writes the value. options may be NULL. version may be NULL; it is the new
 * record's. LTZ_REFUSED when a condition said no. A plain set clears an
 * earlier expiry. -EINVAL for a key or ttl out of range; -ENOSPC, -ENOMEM.
 */
LTZ_API int ltz_set(ltz_pool *pool, const ltz_key *key, const ltz_value *value,
                    const struct ltz_set_options *options, uint64_t *version);

/* Removes the key. if_version 0: whatever it is. LTZ_NOT_FOUND, LTZ_REFUSED. -ENOMEM. */
LTZ_API int ltz_delete(ltz_pool *pool, const ltz_key *key, uint64_t if_version);

/* ltz_get and ltz_delete in one step. LTZ_TRUNCATED: nothing was removed. -ENOMEM. */
LTZ_API int ltz_pop(ltz_pool *pool, const ltz_key *key, void *buf, size_t capacity, ltz_item *item);

/* A number: an LTZ_INT64 or an LTZ_FLOAT64. */
typedef struct ltz_number {
	uint8_t type;
	union {
		int64_t i64;
		double f64;
	} as;
} ltz_number;

/*
 * value := value + by, atomically; a missing key counts as `initial`. The sum
 * is an LTZ_FLOAT64 if either side is. Keeps the expiry. LTZ_MISMATCH when the
 * value is no number (item_type, if not NULL, then says what it is),
 * LTZ_OVERFLOW when the sum of two integers leaves 64 bits. -ENOSPC, -ENOMEM.
 */
LTZ_API int ltz_add(ltz_pool *pool, const ltz_key *key, ltz_number by, ltz_number initial,
                    ltz_number *sum, uint8_t *item_type);

/* Sets the remaining life to ttl_ms; 0: for ever. LTZ_NOT_FOUND. -ENOSPC, -ENOMEM. */
LTZ_API int ltz_expire(ltz_pool *pool, const ltz_key *key, uint64_t ttl_ms);

/* ---- many keys ------------------------------------------------------------------------ */

/*
 * A hint that these keys are looked up next: brings their index lines, then
 * their records, near. Writes nothing, never fails. Best with 8 to 32 keys.
 */
LTZ_API void ltz_prefetch(ltz_pool *pool, const ltz_key *keys, size_t count);

/* Number of records; exact when nothing runs. Expired ones count until swept (<= 1 s). */
LTZ_API int ltz_count(ltz_pool *pool, uint64_t *count);

/*
 * Removes every key that is there when its place is reached. removed may be
 * NULL; it is written also on -ENOMEM, when only so many were removed.
 */
LTZ_API int ltz_clear(ltz_pool *pool, uint64_t *removed);

/*
 * One key of a scan: this header, then `size` bytes, then zeros up to the next
 * multiple of 8.
 */
struct ltz_scan_entry {
	uint64_t version;
	uint32_t size;
	uint8_t type;
	uint8_t reserved[3];
};

/*
 * Appends keys to buf as struct ltz_scan_entry, from *cursor on, until about
 * `count` keys are found or the buffer is full. Start with *cursor = 0; the
 * scan is over when *cursor is 0 again. *used is the number of bytes filled.
 * prefix may be NULL: only keys of its type that begin with its bytes.
 * A key present all the time is given exactly once, one that comes or goes
 * meanwhile at most once, also while the index grows or shrinks; no order.
 * A record that fails its tag is left out; ltz_check reports it.
 * LTZ_TRUNCATED: the buffer cannot hold the next place's keys: *used is then
 * the size needed. LTZ_SCAN_BUFFER always suffices for keys of <= 255 bytes.
 */
#define LTZ_SCAN_BUFFER (256 * 1024)
LTZ_API int ltz_scan(ltz_pool *pool, uint64_t *cursor, size_t count, const ltz_key *prefix,
                     void *buf, size_t capacity, size_t *used);

/* ---- looking inside ------------------------------------------------------------------- */

struct ltz_stats {
	uint64_t keys, used_bytes, committed_bytes, max_bytes;
	uint64_t hits, misses, sets, deletes, expired; /* sums over the living members */
	uint64_t resizes, recovered_members;
	uint64_t index_buckets, index_lines;
	uint64_t version;       /* next unused record version, roughly: a clock of writes */
	uint32_t members;
	uint32_t flags;         /* enum ltz_open_flags the pool was made with             */
	int64_t created_ms;     /* Unix time                                              */
	uint8_t auth, encryption;
};
LTZ_API int ltz_get_stats(ltz_pool *pool, struct ltz_stats *stats);

struct ltz_member_info {
	uint32_t pid, uid;        /* for people: as the member itself saw them */
	char program[32];
	int64_t joined_ms;         /* Unix time */
	int64_t heartbeat_ms;
	uint64_t hits, misses, sets, deletes;
	uint32_t views;
	uint8_t self;             /* 1: this process */
};
/*
 * Calls visit for every living member until it returns non-zero, which is then
 * returned. One that has just died may be among them.
 */
LTZ_API int ltz_members(ltz_pool *pool,
                        int (*visit)(void *context, const struct ltz_member_info *info),
                        void *context);

/*
 * Walks the whole pool and calls report with one line for each broken
 * invariant. Safe while others work (it then reports only what cannot be
 * explained by their work); exact when nothing runs. 0: it was walked.
 * -ENOMEM: not all of it, as what dead members left could not be settled.
 */
LTZ_API int ltz_check(ltz_pool *pool, void (*report)(void *context, const char *line), void *context);

LTZ_API const char *ltz_name(const ltz_pool *pool);
LTZ_API unsigned ltz_flags(const ltz_pool *pool); /* the pool's, with LTZ_READONLY if the handle is */

/* ---- handing a pool to a child process ---------------------------------------------------- */

/*
 * Descriptors (memory, listening socket, key) by which another process joins
 * as a trusted member, without a name or a password. They are the caller's:
 * pass them on, then close them. The third is -1 for a pool that is not locked.
 * Else it is one end of a socket pair whose other end is closed already: the
 * pool's key lies in the kernel's queue, and is gone once it was read, by the
 * ltz_import of who got it, or when the last copy of the descriptor is closed.
 * It is in no file, no argument and no page of the pool; export once for each
 * receiver. Any thread; a forked child that has not joined yet too.
 */
#define LTZ_EXPORT_FDS 3
LTZ_API int ltz_export(ltz_pool *pool, int fds[LTZ_EXPORT_FDS]);

/*
 * Joins by descriptors received from ltz_export; takes all over, also on
 * failure. -EKEYREJECTED: the key was taken out by somebody already. options
 * may be NULL; dir, and LTZ_READONLY of its flags, count. -ENOMEM, -ENOSPC,
 * -ENOSYS; passes on.
 */
LTZ_API int ltz_import(const char *name, const int fds[LTZ_EXPORT_FDS], const struct ltz_open_options *options,
                       ltz_pool **out);

/*
 * Makes this process harder to look into for others of its user: no ptrace, no
 * /proc/PID/mem or fd, no core dump (PR_SET_DUMPABLE 0). Never done by the
 * library on its own, as debuggers and profilers stop working too; execve()
 * undoes it, a forked child keeps it.
 */
LTZ_API int ltz_harden(void);

/*
 * Fork control for runtimes that watch their own threads (CPython): by
 * default the parent's thread is started again inside fork(). After
 * ltz_defer_restart(1), it stays stopped until ltz_restart().
 */
LTZ_API void ltz_defer_restart(int yes);
LTZ_API void ltz_restart(void);

#ifdef __cplusplus
}
#endif
#endif
