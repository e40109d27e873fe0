/* SPDX-License-Identifier: MIT */
/* test_fault.c - failures come where they were ordered, and clean. */
#include "sys/fault.h"

#include "harness.h"

#ifdef LTZ_FAULTS

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sys/sys.h"

static int open_descriptors(void)
{
	DIR *stream = opendir("/proc/self/fd");
	int count = 0;

	ASSERT_TRUE(stream != NULL);
	while (readdir(stream) != NULL)
		count++;
	closedir(stream);
	return count;
}

static int make_memory(void)
{
	int fd = ltz__sys_memfd("latzero-test");
	int result = fd < 0 ? fd : ltz__sys_memfd_fix(fd, 4096);

	ltz__sys_close(fd);
	return result;
}

static int make_poll(void)
{
	struct ltz_poll *poll;
	int result = ltz__sys_poll_new(&poll);

	if (result == 0)
		ltz__sys_poll_free(poll);
	return result;
}

static int make_listener(void)
{
	char why[400], temporary[32];
	int fd = -1, dir = ltz__sys_directory(test_directory(), why, sizeof(why));

	if (dir < 0)
		return dir;
	fd = ltz__sys_listen(dir, temporary, sizeof(temporary));
	ltz__sys_close(fd);
	ltz__sys_close(dir);
	return fd < 0 ? fd : 0;
}

static int ignore_name(void *context, const char *name)
{
	(void)context, (void)name;
	return 0;
}

static int use_directory(void)
{
	char why[400], path[64];
	int result, dir = ltz__sys_directory(test_directory(), why, sizeof(why));

	if (dir < 0)
		return dir;
	result = ltz__sys_names(dir, ignore_name, NULL);
	if (result == 0)
		result = ltz__sys_socket_path(dir, "none", path, sizeof(path));
	ltz__sys_close(dir);
	return result == -ENOENT ? 0 : result;
}

static void nothing(void *context)
{
	(void)context;
}

static int run_thread(void)
{
	struct ltz_thread thread;
	int result = ltz__sys_thread_start(&thread, nothing, NULL, "ltz-test");

	if (result == 0)
		ltz__sys_thread_join(&thread);
	return result;
}

/* Fails each call in turn: an error comes out, nothing stays open, and after the last it works. */
static void fail_each(int (*make)(void))
{
	int before, result = -1;

	ASSERT_OK(make());
	before = open_descriptors();
	for (uint64_t n = 1; n < 100; n++) {
		ltz__fault_set_call(LTZ_FAULT_THREAD, n, EIO);
		result = make();
		if (ltz__fault_calls(LTZ_FAULT_THREAD) < n)
			break; /* n is more calls than there are */
		EXPECT_EQ_INT(open_descriptors(), before);
	}
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	EXPECT_EQ_INT(result, 0);
}

TEST(each_failing_call_is_reported_and_leaks_nothing)
{
	fail_each(make_memory);
	fail_each(make_poll);
	fail_each(make_listener);
	fail_each(use_directory);
	fail_each(run_thread);
}

TEST(the_ordered_error_comes_out)
{
	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, EIO);
	EXPECT_EQ_INT(ltz__sys_memfd("latzero-test"), -EIO);
	EXPECT_OK(ltz__sys_memfd("latzero-test"));
	ltz__fault_set_call(LTZ_FAULT_PROCESS, 1, ENOSPC);
	EXPECT_EQ_INT(ltz__sys_commit(-1, 0, 4096), -ENOSPC);
	ltz__fault_set_call(LTZ_FAULT_PROCESS, 1, ENOMEM);
	EXPECT_EQ_INT(ltz__sys_map(-1, 0, 4096, true, &(void *){ NULL }), -ENOMEM);
}

TEST(an_interrupted_call_is_made_again)
{
	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, EINTR);
	EXPECT_OK(ltz__sys_memfd("latzero-test"));
}

TEST(only_what_a_signal_can_interrupt_is_interrupted)
{
	ltz__fault_interrupt(LTZ_FAULT_THREAD);
	for (int i = 0; i < 3; i++) {
		EXPECT_EQ_INT(LTZ_SYS_CALL(0), -1);
		EXPECT_EQ_INT(errno, EINTR);
		EXPECT_EQ_INT(LTZ_SYS_CALL(0), 0);
	}
	EXPECT_EQ_INT(LTZ_ERR_CALL(0), 0);
	EXPECT_EQ_INT(LTZ_SYS_CALL(0), 0);
	EXPECT_TRUE(LTZ_PTR_CALL(NULL, "there") != NULL);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, EAGAIN);
	EXPECT_EQ_INT(LTZ_ERR_CALL(0), EAGAIN);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, ENOMEM);
	EXPECT_TRUE(LTZ_PTR_CALL(NULL, "there") == NULL);
}

TEST(a_shortage_lasts_until_it_is_ended)
{
	ltz__fault_set_calls_from(LTZ_FAULT_THREAD, 2, EIO);
	EXPECT_EQ_INT(LTZ_SYS_CALL(0), 0);
	EXPECT_EQ_INT(LTZ_SYS_CALL(0), -1);
	EXPECT_EQ_INT(LTZ_SYS_CALL(0), -1);
	EXPECT_EQ_U64(ltz__fault_calls(LTZ_FAULT_THREAD), 3);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	EXPECT_EQ_INT(LTZ_SYS_CALL(0), 0);
}

TEST(a_kernel_without_noexec_memory_files_will_do)
{
	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, EINVAL);
	EXPECT_OK(ltz__sys_memfd("latzero-test"));
	EXPECT_EQ_U64(ltz__fault_calls(LTZ_FAULT_THREAD), 3);
}

static void pass_points(void *context)
{
	ltz__fault_set_crash((const char *)context, 2);
	for (int i = 0; i < 3; i++)
		LTZ_CRASH_POINT("test.point");
}

static void note_order(void *context)
{
	unsigned *order = context;

	order[1] = ++order[0];
	LTZ_CRASH_POINT("test.inner"); /* points within are points like others */
}

static void pass_outer(unsigned *order)
{
	for (int i = 0; i < 3; i++) {
		order[0] += 10;
		LTZ_CRASH_POINT("test.outer");
	}
}

TEST(what_others_do_is_done_at_the_point_and_once)
{
	unsigned order[2] = { 0, 0 };

	ltz__fault_set_meanwhile("test.outer", 2, note_order, order);
	pass_outer(order);
	EXPECT_EQ_U64(order[1], 21);
	EXPECT_EQ_U64(order[0], 31);
	ltz__fault_set_meanwhile(NULL, 0, NULL, NULL);
	pass_outer(order);
	EXPECT_EQ_U64(order[1], 21);
}

static void die_inside(void *context)
{
	unsigned order[2] = { 0, 0 };

	(void)context;
	ltz__fault_set_meanwhile("test.outer", 1, note_order, order);
	ltz__fault_set_crash("test.inner", 1);
	pass_outer(order);
}

TEST(death_can_come_in_what_others_do)
{
	int status;
	pid_t child = test_fork(die_inside, NULL);

	ASSERT_EQ_INT(waitpid(child, &status, 0), child);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void count_hits(void *context, const char *name, uint64_t hits)
{
	if (strcmp(name, "test.point") == 0 || strcmp(name, "test.never") == 0)
		*(uint64_t *)context += 1000 + hits;
}

TEST(a_crash_point_kills_at_its_hit_and_only_if_named)
{
	int status;
	pid_t child = test_fork(pass_points, (void *)"test.point");

	ASSERT_EQ_INT(waitpid(child, &status, 0), child);
	EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	test_wait(test_fork(pass_points, (void *)"test.other"));
}

TEST(every_point_is_listed_hit_or_not)
{
	uint64_t sum = 0;

	if (test_seed() == 0 && test_random() == 0)
		LTZ_CRASH_POINT("test.never");
	pass_points((void *)"test.other");
	ltz__fault_points(count_hits, &sum);
	EXPECT_EQ_U64(sum, 2003);
}

#else

TEST(faults_can_be_ordered)
{
	test_skip("built without LTZ_FAULTS");
}

#endif
