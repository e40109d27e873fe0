/* SPDX-License-Identifier: MIT */
/*
 * proc.h - tests with real processes: role_member, driven line by line.
 *
 * A role is a program started by fork and exec, so it shares nothing with the
 * test but the machine. It reads one command a line and answers each with one
 * line "result value"; it ends, by exit(), when its input does.
 */
#ifndef LTZ_TEST_PROC_H
#define LTZ_TEST_PROC_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <latzero.h>

#include "harness.h"

#define UNUSED __attribute__((unused))

/* ---- roles ------------------------------------------------------------------------ */

struct role {
	pid_t pid;
	FILE *to, *from;
};

/* Starts role_member with the rendezvous directory dir. */
static UNUSED void role_start(struct role *role, const char *dir)
{
	int to[2], from[2];

	ASSERT_OK(pipe2(to, O_CLOEXEC));
	ASSERT_OK(pipe2(from, O_CLOEXEC));
	ASSERT_OK(role->pid = fork());
	if (role->pid == 0) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		setenv("LATZERO_DIR", dir, 1);
		execl(LTZ_TEST_BIN "/role_member", "role_member", (char *)NULL);
		_exit(127);
	}
	close(to[0]);
	close(from[1]);
	role->to = fdopen(to[1], "w");
	role->from = fdopen(from[0], "r");
	ASSERT_TRUE(role->to != NULL && role->from != NULL);
}

/* Sends a command without waiting for its answer. */
static UNUSED void role_tell(struct role *role, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vfprintf(role->to, format, arguments);
	va_end(arguments);
	fputc('\n', role->to);
	fflush(role->to);
}

/* The next answer's result; its value in *value, if that is not NULL. */
static UNUSED int role_hear(struct role *role, int64_t *value)
{
	int result;
	int64_t number;

	ASSERT_EQ_INT(fscanf(role->from, "%d %" SCNd64, &result, &number), 2);
	if (value != NULL)
		*value = number;
	return result;
}

static UNUSED int role_ask(struct role *role, const char *command)
{
	role_tell(role, "%s", command);
	return role_hear(role, NULL);
}

static UNUSED int64_t role_value(struct role *role, const char *command)
{
	int64_t value;

	role_tell(role, "%s", command);
	ASSERT_EQ_INT(role_hear(role, &value), 0);
	return value;
}

static UNUSED void role_forget(struct role *role)
{
	fclose(role->to);
	fclose(role->from);
}

/* Ends it as a program ends: exit() without ltz_close. */
static UNUSED void role_end(struct role *role)
{
	role_forget(role);
	test_wait(role->pid);
}

static UNUSED void role_kill(struct role *role)
{
	role_forget(role);
	test_kill(role->pid);
}

/* ---- what else every test here needs -------------------------------------------------- */

static UNUSED uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Until condition holds, for at most 20 s: long enough for any machine. */
#define POLL_UNTIL(condition)                                                                   \
	do {                                                                                    \
		uint64_t poll_end_ns = now_ns() + 20000000000u;                                 \
		bool poll_true = (condition); /* asked once a round: it need not stay true */    \
		while (!poll_true && now_ns() < poll_end_ns) {                                  \
			nanosleep(&(struct timespec){ .tv_nsec = 500000 }, NULL); /* tidy-ok: polls with a deadline */ \
			poll_true = (condition);                                                \
		}                                                                               \
		if (!poll_true)                                                                 \
			test_fail(TEST_AT(TEST_ASSERT), "did not become true: %s", #condition); \
	} while (0)

static UNUSED unsigned count_entries(const char *path)
{
	DIR *stream = opendir(path);
	unsigned count = 0;

	ASSERT_TRUE(stream != NULL);
	for (struct dirent *entry; (entry = readdir(stream)) != NULL;)
		count += entry->d_name[0] != '.' || (entry->d_name[1] != '\0' && entry->d_name[1] != '.');
	closedir(stream);
	return count;
}

/* Where a pool's socket is, or, if there is none, where a foreign one may be bound. */
static UNUSED struct sockaddr_un address_of(const char *dir, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char folder[80], entry[33] = "foreign";
	struct dirent *found;
	DIR *stream;

	ASSERT_TRUE(snprintf(folder, sizeof folder, "%s/%s.pool", dir, name) < (int)sizeof folder);
	ASSERT_TRUE(mkdir(folder, 0700) == 0 || errno == EEXIST);
	stream = opendir(folder);
	ASSERT_TRUE(stream != NULL);
	while ((found = readdir(stream)) != NULL)
		if (found->d_name[0] != '.')
			snprintf(entry, sizeof entry, "%.32s", found->d_name);
	closedir(stream);
	ASSERT_TRUE(snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", folder, entry) < (int)sizeof address.sun_path);
	return address;
}

/* A name without a listener, as a killed process leaves it. */
static UNUSED void leave_stale_name(const char *dir, const char *name)
{
	struct sockaddr_un address = address_of(dir, name);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ASSERT_OK(bind(fd, (struct sockaddr *)&address, sizeof address));
	close(fd);
}

/*
 * Open descriptors of this process, without those of /proc and /sys (the
 * service thread reads a file there now and then, and so do we) and without
 * pidfds (it watches other members, as they come and go).
 */
static UNUSED unsigned count_descriptors(void)
{
	DIR *stream = opendir("/proc/self/fd");
	unsigned count = 0;

	ASSERT_TRUE(stream != NULL);
	for (struct dirent *entry = readdir(stream); entry != NULL; entry = readdir(stream)) {
		char target[20] = "";

		if (readlinkat(dirfd(stream), entry->d_name, target, sizeof target - 1) <= 0)
			continue; /* "." and "..", and what was closed meanwhile */
		count += strncmp(target, "/proc/", 6) != 0 && strncmp(target, "/sys/", 5) != 0 && strcmp(target, "anon_inode:[pidfd]") != 0;
	}
	closedir(stream);
	return count;
}

/* Threads of this process. ThreadSanitizer has some of its own. */
#ifdef __SANITIZE_THREAD__
#define EXPECT_THREADS(count) ((void)(count))
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
UNUSED const char *__tsan_default_options(void)
{
	return "die_after_fork=0:report_thread_leaks=0"; /* a child has no threads to join */
}
#else
#define EXPECT_THREADS(count) EXPECT_EQ_U64(count_entries("/proc/self/task"), count)
#endif

static UNUSED struct ltz_open_options options_in(const char *dir)
{
	return (struct ltz_open_options){ .dir = dir, .timeout_ms = 10000 };
}

static UNUSED ltz_key key_of(const char *text)
{
	return (ltz_key){ .data = text, .size = (uint32_t)strlen(text), .type = LTZ_KEY_STR };
}

static UNUSED int set_number(ltz_pool *pool, const char *key, int64_t number)
{
	const ltz_key k = key_of(key);
	const ltz_value value = { .data = &number, .size = sizeof number, .type = LTZ_INT64 };

	return ltz_set(pool, &k, &value, NULL, NULL);
}

static UNUSED int get_number(ltz_pool *pool, const char *key, int64_t *number)
{
	const ltz_key k = key_of(key);

	return ltz_get(pool, &k, number, sizeof *number, NULL);
}

static UNUSED void note_breach(void *context, const char *line)
{
	(void)context;
	test_fail(TEST_AT(TEST_EXPECT), "ltz_check: %s", line);
}

static UNUSED void expect_sound(ltz_pool *pool)
{
	EXPECT_EQ_INT(ltz_check(pool, note_breach, NULL), 0);
}

static UNUSED int count_member(void *context, const struct ltz_member_info *info)
{
	(void)info;
	++*(unsigned *)context;
	return 0;
}

static UNUSED unsigned count_members(ltz_pool *pool)
{
	unsigned count = 0;

	ASSERT_OK(ltz_members(pool, count_member, &count));
	return count;
}

#endif
