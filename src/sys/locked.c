/* SPDX-License-Identifier: MIT */
/*
 * locked.c - memory for secrets: out of swap, out of core dumps and, where
 * the kernel has memfd_secret (Linux 5.14, if not switched off), out of the
 * kernel's own map of memory too.
 *
 * Every reason not to get the best kind (an old kernel, a sandbox that
 * forbids the call, RLIMIT_MEMLOCK) leads to the next one: a process without
 * locked memory still has to be able to join a pool.
 */
#include "sys/sys.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/call.h"

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

static void *map_hidden(uint64_t size)
{
	struct rlimit limit;
	void *at = MAP_FAILED;
	long fd;

	/* Asked first, as ftruncate answers with SIGXFSZ. */
	if (LTZ_CALL(getrlimit(RLIMIT_FSIZE, &limit)) == 0 && limit.rlim_cur < size)
		return MAP_FAILED;
	fd = LTZ_CALL(syscall(SYS_memfd_secret, O_CLOEXEC));
	if (fd < 0)
		return MAP_FAILED;
	if (LTZ_CALL(ftruncate((int)fd, (off_t)size)) == 0)
		at = LTZ_PTR_CALL(MAP_FAILED, mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, (int)fd, 0));
	ltz__sys_close((int)fd);
	return at;
}

int ltz__sys_locked_map(uint64_t size_bytes, void **address, unsigned *how)
{
	void *at = map_hidden(size_bytes);
	long result;

	*how = 0;
	if (at != MAP_FAILED) {
		*how = LTZ_SYS_HIDDEN | LTZ_SYS_LOCKED;
	} else {
		at = LTZ_PTR_CALL(MAP_FAILED, mmap(NULL, size_bytes, PROT_READ | PROT_WRITE,
		                                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		if (at == MAP_FAILED)
			return -errno;
		if (ltz__sys_locked_again(at, size_bytes) == 0)
			*how = LTZ_SYS_LOCKED;
	}
	result = LTZ_CALL(madvise(at, size_bytes, MADV_DONTDUMP));
	if (result < 0) {
		munmap(at, size_bytes);
		return (int)result;
	}
	*address = at;
	return 0;
}

int ltz__sys_locked_protect(void *address, uint64_t size_bytes, bool writable)
{
	return (int)LTZ_CALL(mprotect(address, size_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ));
}

int ltz__sys_locked_again(void *address, uint64_t size_bytes)
{
	return (int)LTZ_CALL(syscall(SYS_mlock, address, size_bytes)); /* sanitizers make nothing of mlock() */
}
