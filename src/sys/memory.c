/* SPDX-License-Identifier: MIT */
/*
 * memory.c - memory files: making, sealing, mapping, taking and giving back.
 *
 * A pool's memory is one sealed memfd. Sealed, because a member that shrank it
 * would turn every other member's next load into SIGBUS. Memory is taken only
 * through fallocate, so that running out is an error code and not a signal.
 * How much there is to take is in cgroup.c.
 */
#include "sys/sys.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/canary.h"
#include "sys/call.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int ltz__sys_memfd(const char *debug_name)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	long fd, result;

	fd = LTZ_CALL(memfd_create(debug_name, flags | MFD_NOEXEC_SEAL));
	if (fd == -EINVAL) /* an older kernel */
		fd = LTZ_CALL(memfd_create(debug_name, flags));
	if (fd < 0)
		return (int)fd;
	/* Born 0777 or 0666: another user could open it through /proc/PID/fd. */
	result = LTZ_CALL(fchmod((int)fd, 0600));
	if (result < 0) {
		ltz__sys_close((int)fd);
		return (int)result;
	}
	return (int)fd;
}

int ltz__sys_memfd_fix(int fd, uint64_t size_bytes)
{
	struct rlimit limit;
	long result;

	/* Asked first, as ftruncate answers with SIGXFSZ. */
	if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && /* tidy-ok: cannot fail */
	    limit.rlim_cur != RLIM_INFINITY && size_bytes > limit.rlim_cur)
		return -EFBIG;
	result = LTZ_CALL(ftruncate(fd, (off_t)size_bytes));
	if (result == 0)
		result = LTZ_CALL(fcntl(fd, F_ADD_SEALS, SEALS));
	return (int)result;
}

int ltz__sys_memfd_verify(int fd, uint64_t *size_bytes)
{
	struct stat status;
	long seals = LTZ_CALL(fcntl(fd, F_GET_SEALS));

	long result;

	/* EINVAL: a file that knows no seals, EBADF: none that can be read or written */
	if (seals == -EINVAL || seals == -EBADF || (seals >= 0 && (seals & SEALS) != SEALS))
		return -EPROTO;
	if (seals < 0)
		return (int)seals;
	result = LTZ_CALL(fstat(fd, &status));
	if (result < 0)
		return (int)result;
	if (!S_ISREG(status.st_mode))
		return -EPROTO;
	*size_bytes = (uint64_t)status.st_size;
	return 0;
}

int ltz__sys_reopen(int fd)
{
	char path[32];

	/* Through /proc, as dup() and SCM_RIGHTS share one description and so its locks. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return (int)LTZ_CALL(open(path, O_RDWR | O_CLOEXEC));
}

int ltz__sys_map(int fd, uint64_t offset, uint64_t size_bytes, bool writable, void **address)
{
	int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
	void *at = LTZ_PTR_CALL(MAP_FAILED, mmap(NULL, size_bytes, protection, MAP_SHARED | MAP_NORESERVE,
	                                         fd, (off_t)offset));
	long result;

	if (at == MAP_FAILED)
		return -errno;
	/*
	 * A forked child that never calls must not keep the pool's memory alive
	 * or write into it by a wild pointer; a core dump must not hold the data
	 * (nor take a second for each GiB of it).
	 */
	result = LTZ_CALL(madvise(at, size_bytes, MADV_DONTFORK));
	if (result == 0)
		result = LTZ_CALL(madvise(at, size_bytes, MADV_DONTDUMP));
	if (result < 0) {
		munmap(at, size_bytes);
		return (int)result;
	}
	*address = at;
	return 0;
}

int ltz__sys_map_unforked(uint64_t size_bytes, void **address)
{
	void *at = LTZ_PTR_CALL(MAP_FAILED, mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	long result;

	if (at == MAP_FAILED)
		return -errno;
	result = LTZ_CALL(madvise(at, size_bytes, canary(CANARY_FORK_SEALS) ? MADV_NORMAL : MADV_WIPEONFORK));
	if (result < 0) {
		munmap(at, size_bytes);
		return (int)result;
	}
	*address = at;
	return 0;
}

void ltz__sys_unmap(void *address, uint64_t size_bytes)
{
	munmap(address, size_bytes);
}

int ltz__sys_commit(int fd, uint64_t offset, uint64_t size_bytes)
{
	sigset_t all, old;
	long result;

	/*
	 * A pending signal makes the kernel undo the whole range and say EINTR:
	 * with a fast timer a large range would never be done. So the signals
	 * wait; the loop in LTZ_CALL remains for SIGSTOP and the freezer.
	 */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	result = LTZ_CALL(fallocate(fd, 0, (off_t)offset, (off_t)size_bytes));
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return (int)result;
}

int ltz__sys_punch(int fd, uint64_t offset, uint64_t size_bytes)
{
	return (int)LTZ_CALL(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
	                               (off_t)size_bytes));
}

int64_t ltz__sys_next_data(int fd, uint64_t offset)
{
	return LTZ_CALL(lseek(fd, (off_t)offset, SEEK_DATA)); /* the file position is nobody's */
}

uint64_t ltz__sys_total_bytes(void)
{
	struct sysinfo info;

	return sysinfo(&info) == 0 ? (uint64_t)info.totalram * info.mem_unit : 0; /* tidy-ok: cannot fail */
}

uint64_t ltz__sys_address_limit(void)
{
	static const int resources[] = { RLIMIT_AS, RLIMIT_FSIZE };
	uint64_t least = UINT64_MAX;
	struct rlimit limit;

	for (int i = 0; i < 2; i++)
		if (getrlimit(resources[i], &limit) == 0 && /* tidy-ok: cannot fail */
		    limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < least)
			least = limit.rlim_cur;
	return least;
}

static int membarrier(int command)
{
	long result = LTZ_CALL(syscall(SYS_membarrier, command, 0, 0));

	return result == -EINVAL ? -ENOSYS : (int)result; /* EINVAL: before Linux 4.16 */
}

int ltz__sys_barrier_register(void)
{
	return membarrier(MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED);
}

int ltz__sys_barrier(void)
{
	return membarrier(MEMBARRIER_CMD_GLOBAL_EXPEDITED);
}
