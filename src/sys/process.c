/* SPDX-License-Identifier: MIT */
/*
 * process.c - proof of life, who we are, and the one private thread.
 *
 * Why OFD locks: POSIX locks vanish when any descriptor of the file is closed
 * by any library; a pid can be reused and means nothing in another pid
 * namespace; a robust mutex speaks for a thread. An OFD lock ends when the
 * kernel has torn the process' descriptors down, which is after its address
 * space is gone: who is proven dead cannot write any more.
 */
#include "sys/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/call.h"

/* A sanitizer's frames are several times larger. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
#define STACK_BYTES (1024 * 1024)
#else
#define STACK_BYTES (128 * 1024) /* thread-local variables of all libraries come out of it */
#endif

/* How long join waits for the kernel to forget a thread that has already returned. */
#define FORGET_TIMEOUT_NS 1000000000u

static struct flock one_byte(uint64_t byte)
{
	return (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = (off_t)byte, .l_len = 1 };
}

int ltz__sys_lock_take(int fd, uint64_t byte)
{
	struct flock lock = one_byte(byte);
	long result = LTZ_CALL(fcntl(fd, F_OFD_SETLK, &lock));

	return result == -EACCES ? -EAGAIN : (int)result; /* POSIX allows either */
}

int ltz__sys_lock_held(int fd, uint64_t byte)
{
	struct flock lock = one_byte(byte);
	long result = LTZ_CALL(fcntl(fd, F_OFD_GETLK, &lock));

	/* fd's own lock is no obstacle to itself and so reads as 0. */
	return result < 0 ? (int)result : lock.l_type != F_UNLCK;
}

void ltz__sys_lock_drop(int fd, uint64_t byte)
{
	struct flock lock = one_byte(byte);

	/* Whoever drops a lock has no way back: so no failure on demand either. */
	lock.l_type = F_UNLCK;
	while (fcntl(fd, F_OFD_SETLK, &lock) < 0 && errno == EINTR) /* tidy-ok: see above */
		;
}

int ltz__sys_pidfd(uint32_t pid)
{
	return (int)LTZ_CALL(syscall(SYS_pidfd_open, (pid_t)pid, 0)); /* close-on-exec by itself */
}

uint64_t ltz__sys_pid_namespace(void)
{
	struct stat status;

	return LTZ_CALL(stat("/proc/self/ns/pid", &status)) < 0 ? 0 : (uint64_t)status.st_ino;
}

int ltz__sys_harden(void)
{
	long result = LTZ_CALL(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0));

	return result < 0 ? (int)result : 0;
}

uint32_t ltz__sys_pid(void)
{
	return (uint32_t)getpid();
}

uint32_t ltz__sys_uid(void)
{
	return (uint32_t)geteuid(); /* what SO_PEERCRED and a new file's owner say */
}

void ltz__sys_program_name(char *name, size_t size)
{
	long fd = LTZ_CALL(open("/proc/self/comm", O_RDONLY | O_CLOEXEC));
	long n = 0;

	if (size == 0)
		return;
	if (fd >= 0) {
		n = LTZ_CALL(read((int)fd, name, size - 1));
		ltz__sys_close((int)fd);
	}
	if (n <= 0) {
		snprintf(name, size, "%s", program_invocation_short_name);
		return;
	}
	name[n] = '\0';
	name[strcspn(name, "\n")] = '\0';
}

static void *begin(void *argument)
{
	struct ltz_thread *thread = argument;

	thread->tid = (int32_t)syscall(SYS_gettid); /* tidy-ok: cannot fail */
	thread->run(thread->context);
	return NULL;
}

/* pthread_create with every signal blocked, so that the thread inherits just that. */
static int create_deaf(struct ltz_thread *thread, const pthread_attr_t *attributes, pthread_t *handle)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = LTZ_ERR_CALL(pthread_create(handle, attributes, begin, thread));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -error;
}

int ltz__sys_thread_start(struct ltz_thread *thread, void (*run)(void *), void *context, const char *name)
{
	pthread_attr_t attributes;
	size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN);
	pthread_t handle;
	int result;

	thread->run = run;
	thread->context = context;
	thread->tid = 0;
	result = -pthread_attr_init(&attributes);
	if (result < 0)
		return result;
	result = -pthread_attr_setstacksize(&attributes, STACK_BYTES + least);
	if (result == 0)
		result = create_deaf(thread, &attributes, &handle);
	pthread_attr_destroy(&attributes);
	if (result < 0)
		return result;
	thread->handle = (uint64_t)handle;
	pthread_setname_np(handle, name); /* for people: a name that is too long is no failure */
	return 0;
}

void ltz__sys_thread_join(struct ltz_thread *thread)
{
	uint64_t start_ns;

	pthread_join((pthread_t)thread->handle, NULL);
	/*
	 * pthread_join returns when the thread has let go of its memory, a moment
	 * before the kernel takes it off the count that CPython reads at fork.
	 * Bounded, as its number may be given to another thread meanwhile.
	 */
	start_ns = ltz__sys_boottime_ns();
	while (syscall(SYS_tgkill, getpid(), thread->tid, 0) == 0 && /* tidy-ok: it fails when all is well */
	       ltz__sys_boottime_ns() - start_ns < FORGET_TIMEOUT_NS)
		sched_yield();
}
