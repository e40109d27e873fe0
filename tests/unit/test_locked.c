/* SPDX-License-Identifier: MIT */
/* test_locked.c - memory for secrets: the best kind that is to be had, and never less than not dumped. */
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "sys/fault.h"

#define PAGE   4096u
#define NOBODY 65534

/* The kernel's flags of the mapping at address, as in /proc/self/smaps. */
static void vm_flags(const void *address, char flags[512])
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	char line[512], start[32];
	bool inside = false;

	flags[0] = '\0';
	ASSERT_TRUE(smaps != NULL);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)address);
	while (fgets(line, sizeof(line), smaps) != NULL) {
		if (strncmp(line, start, strlen(start)) == 0)
			inside = true;
		if (inside && strncmp(line, "VmFlags:", 8) == 0) {
			memcpy(flags, line + 8, strlen(line + 8) + 1);
			break;
		}
	}
	fclose(smaps);
}

static void expect_flags(const void *address, bool locked)
{
	char flags[512];

	vm_flags(address, flags);
	EXPECT_CONTAINS(flags, " dd");
	EXPECT_EQ_INT(strstr(flags, " lo") != NULL, locked);
}

static void expect_zeroed_and_writable(uint8_t *at)
{
	for (unsigned i = 0; i < PAGE; i++)
		ASSERT_EQ_U64(at[i], 0);
	memset(at, 0x5a, PAGE);
	EXPECT_EQ_U64(at[PAGE - 1], 0x5a);
}

static int read_through_proc(const void *address)
{
	int fd = open("/proc/self/mem", O_RDONLY);
	char byte;
	ssize_t n;

	ASSERT_OK(fd);
	n = pread(fd, &byte, 1, (off_t)(uintptr_t)address);
	close(fd);
	return n == 1 ? 0 : -1;
}

static bool kernel_has_memfd_secret(void)
{
	int fd = (int)syscall(SYS_memfd_secret, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* No file may be as large as a page: memfd_secret falls out. */
static void forbid_files(void)
{
	struct rlimit limit = { PAGE - 1, PAGE - 1 };

	ASSERT_OK(setrlimit(RLIMIT_FSIZE, &limit));
}

static void forbid_locking(void)
{
	struct rlimit limit = { 0, 0 };

	ASSERT_OK(setrlimit(RLIMIT_MEMLOCK, &limit));
	if (geteuid() == 0) /* who may exceed the limit */
		ASSERT_OK(setuid(NOBODY));
}

TEST(hidden_memory_is_out_of_reach_of_proc_mem)
{
	unsigned how;
	uint8_t *at;

	if (!kernel_has_memfd_secret())
		test_skip("this kernel has no memfd_secret");
	ASSERT_OK(ltz__sys_locked_map(PAGE, (void **)&at, &how));
	EXPECT_EQ_U64(how, LTZ_SYS_HIDDEN | LTZ_SYS_LOCKED);
	expect_flags(at, true);
	expect_zeroed_and_writable(at);
	EXPECT_EQ_INT(read_through_proc(at), -1);
	EXPECT_EQ_INT(read_through_proc(&how), 0); /* else nothing was seen */
}

TEST(without_memfd_secret_it_is_private_and_locked)
{
	unsigned how;
	uint8_t *at;

	forbid_files();
	ASSERT_OK(ltz__sys_locked_map(PAGE, (void **)&at, &how));
	EXPECT_EQ_U64(how, LTZ_SYS_LOCKED);
	expect_flags(at, true);
	expect_zeroed_and_writable(at);
}

TEST(without_the_right_to_lock_it_works_and_says_so)
{
	unsigned how = 77;
	uint8_t *at;

	forbid_locking();
	ASSERT_OK(ltz__sys_locked_map(PAGE, (void **)&at, &how));
	EXPECT_EQ_U64(how, 0);
	expect_zeroed_and_writable(at);
	EXPECT_TRUE(ltz__sys_locked_again(at, PAGE) < 0);
}

static void write_byte(void *at)
{
	*(volatile uint8_t *)at = 1;
}

/* Does a write in a child end it? */
static bool write_is_fatal(void *at)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		struct rlimit no_core = { 0, 0 };

		setrlimit(RLIMIT_CORE, &no_core);
		write_byte(at);
		_exit(0);
	}
	ASSERT_EQ_INT(waitpid(child, &status, 0), child);
	return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

TEST(protected_memory_is_read_only_until_it_is_not)
{
	unsigned how;
	uint8_t *at;

	ASSERT_OK(ltz__sys_locked_map(PAGE, (void **)&at, &how));
	EXPECT_TRUE(!write_is_fatal(at));
	ASSERT_OK(ltz__sys_locked_protect(at, PAGE, false));
	EXPECT_TRUE(write_is_fatal(at));
	ASSERT_OK(ltz__sys_locked_protect(at, PAGE, true));
	write_byte(at);
}

static void expect_unlocked_then_lock(void *at)
{
	EXPECT_EQ_U64(*(uint8_t *)at, 9);
	expect_flags(at, false);
	EXPECT_OK(ltz__sys_locked_again(at, PAGE));
	expect_flags(at, true);
}

TEST(a_child_s_private_copy_has_to_be_locked_again)
{
	unsigned how;
	uint8_t *at;

	forbid_files();
	ASSERT_OK(ltz__sys_locked_map(PAGE, (void **)&at, &how));
	at[0] = 9;
	test_wait(test_fork(expect_unlocked_then_lock, at));
}

/* Its lock flag is gone, but such memory has no place in swap to go to. */
static void expect_hidden_still(void *at)
{
	char flags[512];

	EXPECT_EQ_U64(*(uint8_t *)at, 9);
	vm_flags(at, flags);
	EXPECT_CONTAINS(flags, " dd");
	EXPECT_EQ_INT(read_through_proc(at), -1);
}

TEST(a_child_s_hidden_memory_is_hidden_still)
{
	unsigned how;
	uint8_t *at;

	if (!kernel_has_memfd_secret())
		test_skip("this kernel has no memfd_secret");
	ASSERT_OK(ltz__sys_locked_map(PAGE, (void **)&at, &how));
	at[0] = 9;
	test_wait(test_fork(expect_hidden_still, at));
}

TEST(no_descriptor_is_left_over)
{
	unsigned how;
	void *at;
	int before = dup(0), after;

	close(before);
	ASSERT_OK(ltz__sys_locked_map(PAGE, &at, &how));
	after = dup(0);
	EXPECT_EQ_INT(after, before);
	close(after);
}

#ifdef LTZ_FAULTS
TEST(whichever_call_fails_there_is_memory_or_a_clean_error)
{
	unsigned how;
	void *at;

	for (uint64_t n = 1; n < 20; n++) {
		int free_fd = dup(0), result;

		close(free_fd);
		ltz__fault_set_call(LTZ_FAULT_THREAD, n, ENOMEM);
		result = ltz__sys_locked_map(PAGE, &at, &how);
		uint64_t calls = ltz__fault_calls(LTZ_FAULT_THREAD);
		ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
		EXPECT_TRUE(result == 0 || result == -ENOMEM);
		EXPECT_EQ_INT(fcntl(free_fd, F_GETFD), -1);
		if (result == 0)
			ltz__sys_unmap(at, PAGE);
		if (calls < n)
			return;
	}
	EXPECT_TRUE(!"more calls than thought");
}
#endif
