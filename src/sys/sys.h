/* SPDX-License-Identifier: MIT */
/*
 * sys.h - the contract with Linux: the only functions that talk to it.
 *
 * Every function returns 0 (or a non-negative value where it says so) or a
 * negative errno; EINTR is handled inside unless said otherwise. Nothing here
 * knows what a pool is. Pointers are never NULL unless said otherwise.
 * Build option LTZ_FAULTS: sys/fault.h can make the n-th call fail.
 */
#ifndef LTZ_SYS_H
#define LTZ_SYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- memory.c ------------------------------------------------------------ */

/* New anonymous memory file, close-on-exec, sealable, no-exec where known, mode 0600. Returns fd. */
int ltz__sys_memfd(const char *debug_name);

/* Sets the size, then seals SHRINK, GROW and SEAL. size is a multiple of the page size. */
int ltz__sys_memfd_fix(int fd, uint64_t size_bytes);

/* 0 if fd is a regular memory file with those seals; its size is then in *size. -EPROTO if not. */
int ltz__sys_memfd_verify(int fd, uint64_t *size_bytes);

/* A private open file description of the same file, read-write, close-on-exec. Returns fd. */
int ltz__sys_reopen(int fd);

/*
 * Maps size bytes of fd from offset on, shared, not reserved, not inherited by
 * fork, not dumped. writable false: read-only. Returns 0 and *address.
 */
int ltz__sys_map(int fd, uint64_t offset, uint64_t size_bytes, bool writable, void **address);
/* Zeroed private memory that a forked child, however it was made, finds zeroed again. */
int ltz__sys_map_unforked(uint64_t size_bytes, void **address);
void ltz__sys_unmap(void *address, uint64_t size_bytes);

/* Backs [offset, offset + size) with zeroed memory where it has none. -ENOSPC or -ENOMEM: none left. */
int ltz__sys_commit(int fd, uint64_t offset, uint64_t size_bytes);

/* Gives the memory of the range back; it then reads as zeros. */
int ltz__sys_punch(int fd, uint64_t offset, uint64_t size_bytes);

/* Where, at or after offset, the file has memory behind it; -ENXIO: nowhere. */
int64_t ltz__sys_next_data(int fd, uint64_t offset);

/*
 * Bytes that this process may still take without meeting the kernel's limits:
 * the least of MemAvailable and what every level of its memory cgroup (v1 or
 * v2) leaves, each less a margin. Costs some file reads: ask once a batch, not once a block.
 */
uint64_t ltz__sys_available_bytes(void);
uint64_t ltz__sys_total_bytes(void);   /* physical memory of the machine                 */
uint64_t ltz__sys_address_limit(void); /* the least of RLIMIT_AS and RLIMIT_FSIZE, or UINT64_MAX */

/* Registers the process for global expedited barriers. -ENOSYS: the kernel has none. */
int ltz__sys_barrier_register(void);
/* A full fence on every running thread of every registered process, this one included. */
int ltz__sys_barrier(void);

/* ---- locked.c: memory for secrets ------------------------------------------ */

#define LTZ_SYS_HIDDEN (1u << 0) /* memfd_secret: the kernel cannot read it either, so neither can ptrace */
#define LTZ_SYS_LOCKED (1u << 1) /* never goes to swap */

/*
 * Maps zeroed memory that is in no core dump and, where the limits allow
 * (RLIMIT_MEMLOCK), not in swap: *how says what was to be had. A forked
 * child has it too. HIDDEN memory is then the same memory in both, as the
 * kernel has no private kind, and is zeroed by the kernel when the last of
 * them has let go; other memory is a copy in the child, and not LOCKED there.
 */
int ltz__sys_locked_map(uint64_t size_bytes, void **address, unsigned *how);
/* No longer writable, or writable again. */
int ltz__sys_locked_protect(void *address, uint64_t size_bytes, bool writable);
/* In a forked child: locks its copy. */
int ltz__sys_locked_again(void *address, uint64_t size_bytes);

/* ---- process.c ----------------------------------------------------------- */

/*
 * Open-file-description write lock on one byte: proof of life. take: 0, or
 * -EAGAIN when another description holds it. held: 1 or 0. The lock ends when
 * the last descriptor of the description is closed.
 */
int ltz__sys_lock_take(int fd, uint64_t byte);
int ltz__sys_lock_held(int fd, uint64_t byte);
void ltz__sys_lock_drop(int fd, uint64_t byte);

/*
 * A descriptor that is readable once the process is gone, close-on-exec.
 * -ESRCH: no such process here. Returns fd.
 */
int ltz__sys_pidfd(uint32_t pid);
/* A number for this process' pid namespace; 0: unknown. */
uint64_t ltz__sys_pid_namespace(void);

/* No core dump of this process, and nobody but root may look into it (PR_SET_DUMPABLE). */
int ltz__sys_harden(void);

uint32_t ltz__sys_pid(void);
uint32_t ltz__sys_uid(void);
/* This process' name for people, NUL-terminated, cut to fit. */
void ltz__sys_program_name(char *name, size_t size);

/*
 * One thread with all signals blocked, a small stack and no inherited state.
 * join returns when the kernel no longer counts the thread (so that
 * /proc/self/stat's thread count is already lower).
 */
struct ltz_thread {
	uint64_t handle; /* pthread_t */
	int32_t tid;     /* set by the thread itself */
	void (*run)(void *context);
	void *context;
};
int ltz__sys_thread_start(struct ltz_thread *thread, void (*run)(void *), void *context, const char *name);
void ltz__sys_thread_join(struct ltz_thread *thread);

/* ---- clock.c ---------------------------------------------------------------- */

uint64_t ltz__sys_boottime_ns(void);  /* counts during suspend */
/* A number for this process' time namespace, in which boottime has one origin; 0: unknown. */
uint64_t ltz__sys_time_namespace(void);
int64_t ltz__sys_unix_ms(void);
void ltz__sys_yield(void);

/* ---- random.c ---------------------------------------------------------------- */

int ltz__sys_random(void *bytes, size_t size);

/* ---- socket.c: SOCK_SEQPACKET unix sockets, close-on-exec, non-blocking -------- */

/*
 * Opens (makes if missing, mode 0700) the directory and checks that it is this
 * user's own, a directory, and closed to others. Returns an O_PATH|O_DIRECTORY
 * fd. On failure why[0..why_size) says what is wrong and what to do.
 */
int ltz__sys_directory(const char *path, char *why, size_t why_size);

/*
 * Listens in a fresh folder of dir, under a name that no other socket ever
 * has. Returns fd; temporary (>= 32 bytes) is the folder's name.
 */
int ltz__sys_listen(int dir, char *temporary, size_t size);
/* The folder `temporary` gets this name: -EEXIST if it is taken by a folder that is not empty. */
int ltz__sys_take_name(int dir, const char *temporary, const char *folder);
/*
 * Where the socket in that folder is: path, from dir on. -ENOENT: no such
 * folder, or nothing in it. What is no folder is its own path.
 */
int ltz__sys_socket_path(int dir, const char *folder, char *path, size_t size);
int ltz__sys_unlink(int dir, const char *path);
/* 0 also if there is something in it. -ENOENT. */
int ltz__sys_remove_folder(int dir, const char *folder);
/* 1, 0: is there an entry of that name? */
int ltz__sys_name_exists(int dir, const char *name);
/* Calls visit for each entry until it returns non-zero, which is returned. */
int ltz__sys_names(int dir, int (*visit)(void *context, const char *name), void *context);

/*
 * Connects to dir/path. -ENOENT: no name; -ECONNREFUSED: nobody listens;
 * -EAGAIN: the queue is full. Returns fd.
 */
int ltz__sys_connect(int dir, const char *path);
/* Accepts one peer; -EAGAIN when none waits. Returns fd. */
int ltz__sys_accept(int listener);
/* 0 if fd is a listening SEQPACKET unix socket, else -EPROTO. */
int ltz__sys_listener_verify(int fd);
int ltz__sys_peer(int fd, uint32_t *uid, uint32_t *pid);

/* Two sockets connected to each other. */
int ltz__sys_socket_pair(int fds[2]);

#define LTZ_SYS_MAX_FDS 4
/* Sends one packet with nfds descriptors. -EAGAIN, -EPIPE. Raises no signal. */
int ltz__sys_send(int fd, const void *data, size_t size, const int *fds, unsigned nfds);
/*
 * Receives one packet. Returns its size (0: the peer closed), or -EAGAIN;
 * -EPROTO when it was cut or carried more than *nfds descriptors (all
 * received ones are then closed). *nfds becomes the number received.
 */
ssize_t ltz__sys_receive(int fd, void *data, size_t size, int *fds, unsigned *nfds);
/* Waits until fd can be read. 0, -ETIMEDOUT. timeout_ns 0: look once. */
int ltz__sys_wait_readable(int fd, uint64_t timeout_ns);

void ltz__sys_close(int fd); /* negative fds are ignored */
int ltz__sys_duplicate(int fd); /* close-on-exec. Returns fd. */

/* ---- poll.c: one thread waits for many descriptors --------------------------------- */

/*
 * A set of descriptors and a bell. exclusive: of several processes waiting
 * for the same descriptor the kernel wakes at least one, not all.
 */
struct ltz_poll;
int ltz__sys_poll_new(struct ltz_poll **out);
void ltz__sys_poll_free(struct ltz_poll *poll);
int ltz__sys_poll_add(struct ltz_poll *poll, int fd, void *tag, bool exclusive);
void ltz__sys_poll_remove(struct ltz_poll *poll, int fd);
/* Makes the waiting (or next) wait return at once. Any thread. */
void ltz__sys_poll_ring(struct ltz_poll *poll);
/* Waits at most timeout_ns; fills tags with up to max ready ones; returns their number (rings are not counted). */
int ltz__sys_poll_wait(struct ltz_poll *poll, uint64_t timeout_ns, void **tags, int max);

/* ---- futex.c: wait on a word in shared memory --------------------------------------- */

/* Sleeps while *word == expected, at most timeout_ns (UINT64_MAX: for ever). 0, -ETIMEDOUT, -EINTR. */
int ltz__sys_futex_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_ns);
int ltz__sys_futex_wake(const uint32_t *word, int count);

#endif
