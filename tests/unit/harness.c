/* SPDX-License-Identifier: MIT */
/*
 * harness.c - runs each TEST of its program in a process of its own.
 *
 * The parent forks, waits for the child's pidfd or the limit, kills the
 * child's process group (whatever the test left running), reads back what was
 * printed from a memory file, counts.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STATUS_FAILED  1
#define STATUS_SKIPPED 77

/* A sanitizer slows a test down, and the machine may be busy. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define LIMIT_FACTOR 4
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define LIMIT_FACTOR 4
#endif
#endif
#ifndef LIMIT_FACTOR
#define LIMIT_FACTOR 1
#endif

static struct test_case *first, **last = &first;

/* ---- of the process that a test runs in ------------------------------------------------ */

static unsigned failures;
static uint64_t seed, random_state;
static char directory[64]; /* made before the fork, so that the parent can remove it */

void test_register(struct test_case *test)
{
	*last = test;
	last = &test->next;
}

static void finish(int status)
{
	fflush(NULL);
	_exit(status);
}

void test_skip(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	finish(STATUS_SKIPPED);
	__builtin_unreachable();
}

static void note(struct test_place at)
{
	failures++;
	fflush(stdout);
	if (at.severity == TEST_ASSERT)
		finish(STATUS_FAILED);
}

void test_fail(struct test_place at, const char *format, ...)
{
	va_list arguments;

	printf("    %s:%d: ", at.file, at.line);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	putchar('\n');
	note(at);
}

void test_check_true(struct test_place at, bool is, const char *text)
{
	if (!is)
		test_fail(at, "not true: %s", text);
}

void test_check_u64(struct test_place at, uint64_t a, uint64_t b, const char *text_a, const char *text_b)
{
	if (a != b)
		test_fail(at, "%s is %llu (0x%llx), %s is %llu (0x%llx)", text_a, (unsigned long long)a,
		          (unsigned long long)a, text_b, (unsigned long long)b, (unsigned long long)b);
}

void test_check_i64(struct test_place at, int64_t a, int64_t b, const char *text_a, const char *text_b)
{
	if (a != b)
		test_fail(at, "%s is %lld, %s is %lld", text_a, (long long)a, text_b, (long long)b);
}

void test_check_str(struct test_place at, const char *a, const char *b, const char *text_a, const char *text_b)
{
	if (a == NULL || b == NULL || strcmp(a, b) != 0)
		test_fail(at, "%s is \"%s\", %s is \"%s\"", text_a, a ? a : "(null)", text_b, b ? b : "(null)");
}

void test_check_contains(struct test_place at, const char *whole, const char *part, const char *text)
{
	if (strstr(whole, part) == NULL)
		test_fail(at, "%s is \"%s\", without \"%s\"", text, whole, part);
}

void test_check_mem(struct test_place at, const void *a, const void *b, size_t size, const char *text_a,
                    const char *text_b)
{
	const unsigned char *x = a, *y = b;

	for (size_t i = 0; i < size; i++)
		if (x[i] != y[i]) {
			test_fail(at, "byte %zu of %zu: %s has 0x%02x, %s has 0x%02x", i, size, text_a, x[i], text_b,
			          y[i]);
			return;
		}
}

void test_check_ok(struct test_place at, int64_t result, const char *text)
{
	if (result < 0)
		test_fail(at, "%s is %lld (%s)", text, (long long)result, strerrorname_np((int)-result));
}

uint64_t test_seed(void)
{
	return seed;
}

uint64_t test_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t test_random_below(uint64_t limit)
{
	return test_random() % limit; /* a bias of limit / 2^64 */
}

pid_t test_fork(void (*body)(void *context), void *context)
{
	pid_t child;

	fflush(NULL);
	child = fork();
	ASSERT_TRUE(child >= 0);
	if (child == 0) {
		failures = 0;
		random_state ^= (uint64_t)getpid() << 32;
		body(context);
		finish(failures > 0 ? STATUS_FAILED : 0);
	}
	return child;
}

static int reap(pid_t child)
{
	int status = -1;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

void test_wait(pid_t child)
{
	int status = reap(child);

	if (WIFSIGNALED(status))
		test_fail(TEST_AT(TEST_EXPECT), "child ended by signal %d", WTERMSIG(status));
	else if (status != 0)
		test_fail(TEST_AT(TEST_EXPECT), "child ended with status %d", WEXITSTATUS(status));
}

void test_kill(pid_t child)
{
	kill(child, SIGKILL);
	reap(child);
}

void test_gate_init(struct test_gate *gate)
{
	ASSERT_OK(pipe2(gate->ends, O_CLOEXEC));
}

void test_gate_open(struct test_gate *gate)
{
	ASSERT_EQ_INT(write(gate->ends[1], "", 1), 1);
}

void test_gate_wait(struct test_gate *gate)
{
	char byte;

	ASSERT_EQ_INT(read(gate->ends[0], &byte, 1), 1);
}

const char *test_directory(void)
{
	ASSERT_TRUE(mkdir(directory, 0700) == 0 || errno == EEXIST);
	return directory;
}

/* ---- of the runner ------------------------------------------------------------------------- */

struct outcome {
	enum { PASSED, FAILED, SKIPPED } kind;
	char why[64];
};

static int remove_entry(const char *path, const struct stat *status, int flag, struct FTW *ftw)
{
	(void)status, (void)flag, (void)ftw;
	return remove(path);
}

static void child_main(const struct test_case *test, int output)
{
	setpgid(0, 0);
	dup2(output, STDOUT_FILENO);
	dup2(output, STDERR_FILENO);
	random_state = seed;
	test->run();
	fflush(NULL);
	/* Through exit(), as a leak checker looks there. */
	exit(failures > 0 ? STATUS_FAILED : 0);
}

/* Waits for the child at most limit seconds; true if it ended by itself. */
static bool await(pid_t child, unsigned limit_s)
{
	int fd = (int)syscall(SYS_pidfd_open, child, 0);
	struct pollfd one = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&one, 1, (int)limit_s * 1000 * LIMIT_FACTOR);
	while (n < 0 && errno == EINTR);
	close(fd);
	return n > 0;
}

static struct outcome run(const struct test_case *test, int output)
{
	struct outcome outcome = { .kind = FAILED };
	bool ended;
	pid_t child;
	int status;

	snprintf(directory, sizeof(directory), "/tmp/latzero-test-%d", getpid());
	fflush(NULL);
	child = fork();
	if (child == 0)
		child_main(test, output);
	setpgid(child, child); /* both sides, as either may be first */
	ended = await(child, test->limit_s);
	kill(-child, SIGKILL);
	status = reap(child);
	nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	if (!ended)
		snprintf(outcome.why, sizeof(outcome.why), "no end after %u s", test->limit_s * LIMIT_FACTOR);
	else if (WIFSIGNALED(status))
		snprintf(outcome.why, sizeof(outcome.why), "signal %d (%s)", WTERMSIG(status),
		         sigabbrev_np(WTERMSIG(status)));
	else if (WEXITSTATUS(status) == STATUS_SKIPPED)
		outcome.kind = SKIPPED;
	else if (WEXITSTATUS(status) != 0)
		snprintf(outcome.why, sizeof(outcome.why), "status %d", WEXITSTATUS(status));
	else
		outcome.kind = PASSED;
	return outcome;
}

static void show(int output)
{
	char text[4096];
	ssize_t n;

	lseek(output, 0, SEEK_SET);
	fflush(stdout);
	while ((n = read(output, text, sizeof(text))) > 0)
		if (write(STDOUT_FILENO, text, (size_t)n) < 0)
			return;
}

static bool wanted(const char *name, char **parts, int count)
{
	for (int i = 0; i < count; i++)
		if (strstr(name, parts[i]) != NULL)
			return true;
	return count == 0;
}

static void read_seed(void)
{
	const char *given = getenv("LTZ_TEST_SEED");
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	seed = given ? strtoull(given, NULL, 0) : ((uint64_t)now.tv_nsec << 20) ^ (uint64_t)getpid();
}

static struct outcome run_shown(const struct test_case *test, bool verbose)
{
	int output = memfd_create("test-output", MFD_CLOEXEC);
	struct outcome outcome = run(test, output);

	if (outcome.kind == FAILED)
		printf("  FAILED %s: %s\n", test->name, outcome.why);
	else if (outcome.kind == SKIPPED)
		printf("  skipped %s: ", test->name);
	else if (verbose)
		printf("  passed %s\n", test->name);
	if (verbose || outcome.kind != PASSED)
		show(output);
	if (outcome.kind == SKIPPED)
		putchar('\n');
	fflush(stdout);
	close(output);
	return outcome;
}

int main(int argc, char **argv)
{
	unsigned counts[3] = { 0, 0, 0 };
	bool verbose = false;
	int option;

	while ((option = getopt(argc, argv, "lv")) != -1) {
		if (option == 'v')
			verbose = true;
		for (const struct test_case *t = first; option == 'l' && t != NULL; t = t->next)
			puts(t->name);
		if (option != 'v')
			return option != 'l';
	}
	read_seed();
	printf("%s (LTZ_TEST_SEED=%llu)\n", program_invocation_short_name, (unsigned long long)seed);
	for (const struct test_case *t = first; t != NULL; t = t->next)
		if (wanted(t->name, argv + optind, argc - optind))
			counts[run_shown(t, verbose).kind]++;
	if (counts[SKIPPED] > 0)
		printf("%u skipped\n", counts[SKIPPED]);
	printf("%u passed, %u failed\n", counts[PASSED], counts[FAILED]);
	/* Nothing run is no success: a name was misspelt. */
	return counts[FAILED] > 0 || counts[PASSED] + counts[SKIPPED] == 0;
}
