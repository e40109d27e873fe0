/* SPDX-License-Identifier: MIT */
/* test_process.c - locks that prove life, and a thread that leaves no trace. */
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

struct scene {
	int fd;
	struct test_gate taken, leave;
};

static void scene_init(struct scene *scene)
{
	scene->fd = ltz__sys_memfd("latzero-test");
	ASSERT_OK(scene->fd);
	ASSERT_OK(ltz__sys_memfd_fix(scene->fd, 4096));
	test_gate_init(&scene->taken);
	test_gate_init(&scene->leave);
}

static void hold_byte_7(void *context)
{
	struct scene *scene = context;
	int own = ltz__sys_reopen(scene->fd);

	ASSERT_EQ_INT(ltz__sys_lock_take(own, 7), 0);
	test_gate_open(&scene->taken);
	test_gate_wait(&scene->leave);
}

TEST(a_lock_is_seen_by_others_and_ends_with_a_kill)
{
	struct scene scene;
	pid_t child;

	scene_init(&scene);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 7), 0);
	child = test_fork(hold_byte_7, &scene);
	test_gate_wait(&scene.taken);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 7), 1);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 6), 0);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 8), 0);
	EXPECT_EQ_INT(ltz__sys_lock_take(scene.fd, 7), -EAGAIN);
	EXPECT_EQ_INT(ltz__sys_lock_take(scene.fd, 6), 0);
	test_kill(child);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 7), 0);
	EXPECT_EQ_INT(ltz__sys_lock_take(scene.fd, 7), 0);
}

TEST(a_stopped_process_is_alive)
{
	struct scene scene;
	pid_t child;

	scene_init(&scene);
	child = test_fork(hold_byte_7, &scene);
	test_gate_wait(&scene.taken);
	ASSERT_OK(kill(child, SIGSTOP));
	ASSERT_EQ_INT(waitpid(child, NULL, WUNTRACED), child);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 7), 1);
	test_kill(child);
}

TEST(closing_another_descriptor_of_the_file_keeps_the_lock)
{
	struct scene scene;
	int own, other;

	scene_init(&scene);
	own = ltz__sys_reopen(scene.fd);
	other = ltz__sys_reopen(scene.fd);
	ASSERT_EQ_INT(ltz__sys_lock_take(own, 3), 0);
	ltz__sys_close(other); /* a POSIX lock would be gone now */
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 3), 1);
	ltz__sys_close(own);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 3), 0);
}

TEST(a_dropped_lock_is_free_and_its_neighbours_are_kept)
{
	struct scene scene;
	int own;

	scene_init(&scene);
	own = ltz__sys_reopen(scene.fd);
	for (uint64_t byte = 4; byte <= 6; byte++)
		ASSERT_EQ_INT(ltz__sys_lock_take(own, byte), 0);
	ltz__sys_lock_drop(own, 5);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 4), 1);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 5), 0);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 6), 1);
	ltz__sys_lock_drop(own, 5); /* harmless */
}

TEST(an_own_lock_is_no_obstacle)
{
	struct scene scene;

	scene_init(&scene);
	EXPECT_EQ_INT(ltz__sys_lock_take(scene.fd, 1), 0);
	EXPECT_EQ_INT(ltz__sys_lock_take(scene.fd, 1), 0);
	EXPECT_EQ_INT(ltz__sys_lock_held(scene.fd, 1), 0);
}

TEST(lock_errors_are_results)
{
	EXPECT_EQ_INT(ltz__sys_lock_take(-1, 0), -EBADF);
	EXPECT_EQ_INT(ltz__sys_lock_held(-1, 0), -EBADF);
}

TEST(who_we_are)
{
	char name[32], cut[4];

	EXPECT_EQ_U64(ltz__sys_pid(), (uint64_t)getpid());
	EXPECT_EQ_U64(ltz__sys_uid(), geteuid());
	ltz__sys_program_name(name, sizeof(name));
	EXPECT_STR(name, "test_process");
	ltz__sys_program_name(cut, sizeof(cut));
	EXPECT_STR(cut, "tes");
}

/* The 20th field of /proc/self/stat: what CPython looks at when it forks. */
static long thread_count(void)
{
	char text[1024];
	FILE *file = fopen("/proc/self/stat", "r");
	long count = -1;

	ASSERT_TRUE(file != NULL);
	ASSERT_TRUE(fgets(text, sizeof(text), file) != NULL);
	fclose(file);
	ASSERT_EQ_INT(sscanf(strrchr(text, ')') + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u "
	                     "%*d %*d %*d %*d %ld", &count), 1);
	return count;
}

static void wait_at_gate(void *context)
{
	test_gate_wait(context);
}

TEST(no_thread_is_counted_after_join)
{
	struct ltz_thread thread;
	struct test_gate gate;
	long before;

	test_gate_init(&gate);
	/* Once unseen: a sanitizer starts a thread of its own with the first one. */
	test_gate_open(&gate);
	ASSERT_OK(ltz__sys_thread_start(&thread, wait_at_gate, &gate, "ltz-test"));
	ltz__sys_thread_join(&thread);
	before = thread_count();
	for (int i = 0; i < 200; i++) {
		ASSERT_OK(ltz__sys_thread_start(&thread, wait_at_gate, &gate, "ltz-test"));
		ASSERT_EQ_INT(thread_count(), before + 1);
		test_gate_open(&gate);
		ltz__sys_thread_join(&thread);
		ASSERT_EQ_INT(thread_count(), before);
	}
}

struct seen {
	sigset_t blocked;
	char name[16];
	pid_t tid;
};

static void look_around(void *context)
{
	struct seen *seen = context;

	pthread_sigmask(SIG_SETMASK, NULL, &seen->blocked);
	seen->tid = (pid_t)syscall(SYS_gettid);
}

TEST(the_thread_blocks_all_signals_and_the_starter_none)
{
	struct ltz_thread thread;
	struct seen seen;
	sigset_t ours;

	ASSERT_OK(ltz__sys_thread_start(&thread, look_around, &seen, "ltz-test"));
	ltz__sys_thread_join(&thread);
	EXPECT_EQ_INT(sigismember(&seen.blocked, SIGINT), 1);
	EXPECT_EQ_INT(sigismember(&seen.blocked, SIGTERM), 1);
	EXPECT_EQ_INT(sigismember(&seen.blocked, SIGPROF), 1);
	EXPECT_EQ_INT(thread.tid, seen.tid);
	pthread_sigmask(SIG_SETMASK, NULL, &ours);
	EXPECT_EQ_INT(sigismember(&ours, SIGINT), 0);
}

TEST(the_thread_has_a_name)
{
	struct ltz_thread thread;
	struct test_gate gate;
	char name[16] = "";

	test_gate_init(&gate);
	ASSERT_OK(ltz__sys_thread_start(&thread, wait_at_gate, &gate, "ltz-test"));
	EXPECT_EQ_INT(pthread_getname_np((pthread_t)thread.handle, name, sizeof(name)), 0);
	EXPECT_STR(name, "ltz-test");
	test_gate_open(&gate);
	ltz__sys_thread_join(&thread);
}
