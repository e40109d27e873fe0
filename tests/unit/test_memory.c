/* SPDX-License-Identifier: MIT */
/* test_memory.c - memory files: sealed, private, taken and given back. */
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "harness.h"
#include "sys/fault.h"

#define PAGE 4096u
#define MIB  (1024u * 1024u)

static int fixed_memfd(uint64_t size)
{
	int fd = ltz__sys_memfd("latzero-test");

	ASSERT_OK(fd);
	ASSERT_OK(ltz__sys_memfd_fix(fd, size));
	return fd;
}

static uint64_t backed_bytes(int fd)
{
	struct stat status;

	ASSERT_OK(fstat(fd, &status));
	return (uint64_t)status.st_blocks * 512;
}

TEST(a_sealed_file_cannot_change_its_size)
{
	int fd = fixed_memfd(16 * PAGE);

	EXPECT_EQ_INT(ftruncate(fd, 32 * PAGE), -1);
	EXPECT_EQ_INT(errno, EPERM);
	EXPECT_EQ_INT(ftruncate(fd, PAGE), -1);
	EXPECT_EQ_INT(errno, EPERM);
	EXPECT_EQ_INT(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

TEST(the_file_is_closed_to_others_and_to_exec)
{
	int fd = fixed_memfd(PAGE);
	struct stat status;

	ASSERT_OK(fstat(fd, &status));
	EXPECT_EQ_U64(status.st_mode & 07777, 0600);
	EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}

TEST(a_size_beyond_the_file_limit_is_an_error_and_no_signal)
{
	struct rlimit limit = { MIB, MIB };
	int fd = ltz__sys_memfd("latzero-test");

	ASSERT_OK(setrlimit(RLIMIT_FSIZE, &limit));
	EXPECT_EQ_INT(ltz__sys_memfd_fix(fd, 2 * MIB), -EFBIG);
	EXPECT_EQ_U64(ltz__sys_address_limit(), MIB);
}

TEST(verify_takes_a_fixed_file_and_says_its_size)
{
	uint64_t size = 0;

	EXPECT_OK(ltz__sys_memfd_verify(fixed_memfd(48 * PAGE), &size));
	EXPECT_EQ_U64(size, 48 * PAGE);
}

TEST(verify_refuses_what_could_shrink)
{
	int ends[2];
	uint64_t size = 7;

	EXPECT_EQ_INT(ltz__sys_memfd_verify(ltz__sys_memfd("unsealed"), &size), -EPROTO);
	EXPECT_EQ_INT(ltz__sys_memfd_verify(open("/etc/passwd", O_RDONLY), &size), -EPROTO);
	EXPECT_EQ_INT(ltz__sys_memfd_verify(open("/dev/zero", O_RDWR), &size), -EPROTO);
	ASSERT_OK(pipe(ends));
	EXPECT_EQ_INT(ltz__sys_memfd_verify(ends[0], &size), -EPROTO);
	EXPECT_EQ_INT(ltz__sys_memfd_verify(-1, &size), -EPROTO);
	EXPECT_EQ_U64(size, 7);
}

TEST(a_mapping_shows_what_another_wrote)
{
	int fd = fixed_memfd(4 * PAGE);
	void *a, *b;

	ASSERT_OK(ltz__sys_commit(fd, 0, 4 * PAGE));
	ASSERT_OK(ltz__sys_map(fd, 0, 4 * PAGE, true, &a));
	ASSERT_OK(ltz__sys_map(fd, PAGE, PAGE, false, &b));
	memcpy((char *)a + PAGE, "seen", 5);
	EXPECT_STR(b, "seen");
	ltz__sys_unmap(a, 4 * PAGE);
	ltz__sys_unmap(b, PAGE);
}

/* 1 if the first byte at address can be read in this process. */
static int readable(const void *address)
{
	unsigned char in_core;

	return mincore((void *)((uintptr_t)address & ~(uintptr_t)(PAGE - 1)), 1, &in_core) == 0;
}

static void expect_unmapped(void *address)
{
	EXPECT_EQ_INT(readable(address), 0);
}

TEST(a_forked_child_does_not_have_the_mapping)
{
	int fd = fixed_memfd(PAGE);
	void *at;

	ASSERT_OK(ltz__sys_map(fd, 0, PAGE, true, &at));
	EXPECT_EQ_INT(readable(at), 1);
	test_wait(test_fork(expect_unmapped, at));
}

TEST(a_core_dump_would_not_have_the_mapping)
{
	int fd = fixed_memfd(PAGE);
	char line[512], address[32];
	bool inside = false, found = false;
	FILE *smaps;
	void *at;

	ASSERT_OK(ltz__sys_map(fd, 0, PAGE, true, &at));
	snprintf(address, sizeof(address), "%lx-", (unsigned long)(uintptr_t)at);
	smaps = fopen("/proc/self/smaps", "r");
	ASSERT_TRUE(smaps != NULL);
	while (fgets(line, sizeof(line), smaps) != NULL) {
		if (strstr(line, " rw-s ") != NULL || strstr(line, "-p ") != NULL)
			inside = strncmp(line, address, strlen(address)) == 0;
		if (inside && strncmp(line, "VmFlags:", 8) == 0)
			found = strstr(line, " dd") != NULL && strstr(line, " dc") != NULL;
	}
	EXPECT_TRUE(found);
	fclose(smaps);
}

TEST(commit_backs_and_punch_gives_back)
{
	int fd = fixed_memfd(8 * MIB);
	uint8_t *at;

	EXPECT_EQ_U64(backed_bytes(fd), 0);
	ASSERT_OK(ltz__sys_commit(fd, MIB, 2 * MIB));
	EXPECT_EQ_U64(backed_bytes(fd), 2 * MIB);
	ASSERT_OK(ltz__sys_map(fd, 0, 8 * MIB, true, (void **)&at));
	at[MIB] = 5;
	ASSERT_OK(ltz__sys_commit(fd, 0, 4 * MIB)); /* again: what is there stays */
	EXPECT_EQ_U64(at[MIB], 5);
	ASSERT_OK(ltz__sys_punch(fd, 0, 4 * MIB));
	EXPECT_EQ_U64(backed_bytes(fd), 0);
	EXPECT_EQ_U64(at[MIB], 0);
}

static void ignore(int signal)
{
	(void)signal;
}

TEST(commit_ends_though_signals_keep_coming)
{
	struct itimerval every = { { 0, 200 }, { 0, 200 } };
	struct sigaction action = { .sa_handler = ignore };
	int fd = fixed_memfd(64 * MIB);

	ASSERT_OK(sigaction(SIGALRM, &action, NULL));
	ASSERT_OK(setitimer(ITIMER_REAL, &every, NULL));
	EXPECT_OK(ltz__sys_commit(fd, 0, 64 * MIB));
	EXPECT_EQ_U64(backed_bytes(fd), 64 * MIB);
}

TEST(commit_beyond_the_end_is_refused)
{
	int fd = fixed_memfd(MIB);

	EXPECT_TRUE(ltz__sys_commit(fd, MIB, PAGE) < 0);
}

TEST(a_reopened_file_is_a_description_of_its_own)
{
	int fd = fixed_memfd(PAGE), again = ltz__sys_reopen(fd), copy = ltz__sys_duplicate(fd);

	ASSERT_OK(again);
	EXPECT_TRUE(fcntl(again, F_GETFD) & FD_CLOEXEC);
	EXPECT_TRUE(copy >= 3 && (fcntl(copy, F_GETFD) & FD_CLOEXEC));
	lseek(fd, 100, SEEK_SET);
	EXPECT_EQ_INT(lseek(copy, 0, SEEK_CUR), 100); /* shared */
	EXPECT_EQ_INT(lseek(again, 0, SEEK_CUR), 0);  /* not     */
}

TEST(a_failed_map_writes_nothing)
{
	void *at = &at;

	EXPECT_EQ_INT(ltz__sys_map(-1, 0, PAGE, true, &at), -EBADF);
	EXPECT_TRUE(at == &at);
}

TEST(barriers_work_after_registering)
{
	int result = ltz__sys_barrier_register();

	if (result == -ENOSYS)
		test_skip("this kernel has no expedited membarrier");
	EXPECT_EQ_INT(result, 0);
	EXPECT_EQ_INT(ltz__sys_barrier(), 0);
}

TEST(total_is_the_machine_s_memory)
{
	EXPECT_TRUE(ltz__sys_total_bytes() >= 64u * MIB);
	EXPECT_EQ_U64(ltz__sys_address_limit() >= PAGE, 1);
}

#ifdef LTZ_FAULTS

TEST(verify_passes_on_what_the_system_lacks)
{
	int fd = fixed_memfd(PAGE);
	uint64_t size;

	for (uint64_t n = 1; n <= 2; n++) {
		ltz__fault_set_call(LTZ_FAULT_THREAD, n, ENOMEM);
		EXPECT_EQ_INT(ltz__sys_memfd_verify(fd, &size), -ENOMEM);
	}
	EXPECT_OK(ltz__sys_memfd_verify(fd, &size));
}

#endif
