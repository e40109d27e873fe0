/* SPDX-License-Identifier: MIT */
/*
 * harness.h - tests in C: a process per test.
 *
 *	TEST(what_would_be_broken)
 *	{
 *		ASSERT_OK(prepare(&x));
 *		EXPECT_EQ_U64(x.size, 3);
 *	}
 *
 * No main: it is in harness.c. Each test runs in a forked child with a process
 * group and a time limit of its own; what it prints is shown only if it
 * fails; whatever it left running is killed. A crash, a sanitizer's report and
 * a time-out are failures.
 *   EXPECT_*  notes a failure and goes on    ASSERT_*  ends the test
 * Both print both sides. They work in children made by test_fork too.
 *
 * Program: [-v] [-l] [part of a test's name]...
 *   -v  a line for each test, output of good ones too     -l  list the tests
 * LTZ_TEST_SEED=n gives test_seed(); it is printed first.
 * The last line is `N passed, N failed`; the exit status is 0 if none failed.
 */
#ifndef LTZ_TEST_HARNESS_H
#define LTZ_TEST_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef void test_function(void);

struct test_case {
	const char *name;
	test_function *run;
	unsigned limit_s;
	struct test_case *next;
};

#define TEST_LIMIT_S 30

void test_register(struct test_case *test);

#define TEST_WITH_LIMIT(test_name, seconds)                                                        \
	static void run_##test_name(void);                                                         \
	static struct test_case case_##test_name = { #test_name, run_##test_name, seconds, NULL }; \
	__attribute__((constructor)) static void register_##test_name(void)                        \
	{                                                                                          \
		test_register(&case_##test_name);                                                  \
	}                                                                                          \
	static void run_##test_name(void)
#define TEST(test_name) TEST_WITH_LIMIT(test_name, TEST_LIMIT_S)

/* Ends the test as skipped; the reason is printed and counted. Only where the machine cannot. */
void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

uint64_t test_seed(void);
uint64_t test_random(void);                /* from the seed; one sequence for each process */
uint64_t test_random_below(uint64_t limit); /* 0 <= it < limit                              */

/*
 * Runs body(context) in a child, then ends it with its failures as status.
 * test_wait wants exactly that: the child ended with none. test_kill sends
 * SIGKILL and reaps.
 */
pid_t test_fork(void (*body)(void *context), void *context);
void test_wait(pid_t child);
void test_kill(pid_t child);

/*
 * Two-sided meeting points between a test and its children, made before
 * test_fork: pass n wakes one wait n. Ends the test if the other side is gone.
 */
struct test_gate {
	int ends[2];
};
void test_gate_init(struct test_gate *gate);
void test_gate_open(struct test_gate *gate);
void test_gate_wait(struct test_gate *gate);

/* A directory of this test's own, mode 0700, removed with its contents after the test. */
const char *test_directory(void);

/* ---- comparisons ---------------------------------------------------------------------- */

enum test_severity { TEST_EXPECT, TEST_ASSERT };

struct test_place {
	const char *file;
	int line;
	enum test_severity severity;
};

void test_check_true(struct test_place at, bool is, const char *text);
void test_check_u64(struct test_place at, uint64_t a, uint64_t b, const char *text_a, const char *text_b);
void test_check_i64(struct test_place at, int64_t a, int64_t b, const char *text_a, const char *text_b);
void test_check_str(struct test_place at, const char *a, const char *b, const char *text_a, const char *text_b);
void test_check_contains(struct test_place at, const char *whole, const char *part, const char *text);
void test_check_mem(struct test_place at, const void *a, const void *b, size_t size, const char *text_a,
                    const char *text_b);
/* result >= 0; prints the error's name otherwise. */
void test_check_ok(struct test_place at, int64_t result, const char *text);
void test_fail(struct test_place at, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define TEST_AT(severity) ((struct test_place){ __FILE__, __LINE__, severity })

#define EXPECT_TRUE(x) test_check_true(TEST_AT(TEST_EXPECT), (x), #x)
#define ASSERT_TRUE(x) test_check_true(TEST_AT(TEST_ASSERT), (x), #x)
#define EXPECT_EQ_U64(a, b) test_check_u64(TEST_AT(TEST_EXPECT), (a), (b), #a, #b)
#define ASSERT_EQ_U64(a, b) test_check_u64(TEST_AT(TEST_ASSERT), (a), (b), #a, #b)
#define EXPECT_EQ_INT(a, b) test_check_i64(TEST_AT(TEST_EXPECT), (a), (b), #a, #b)
#define ASSERT_EQ_INT(a, b) test_check_i64(TEST_AT(TEST_ASSERT), (a), (b), #a, #b)
#define EXPECT_STR(a, b) test_check_str(TEST_AT(TEST_EXPECT), (a), (b), #a, #b)
#define ASSERT_STR(a, b) test_check_str(TEST_AT(TEST_ASSERT), (a), (b), #a, #b)
#define EXPECT_CONTAINS(whole, part) test_check_contains(TEST_AT(TEST_EXPECT), (whole), (part), #whole)
#define EXPECT_EQ_MEM(a, b, size) test_check_mem(TEST_AT(TEST_EXPECT), (a), (b), (size), #a, #b)
#define ASSERT_EQ_MEM(a, b, size) test_check_mem(TEST_AT(TEST_ASSERT), (a), (b), (size), #a, #b)
#define EXPECT_OK(x) test_check_ok(TEST_AT(TEST_EXPECT), (x), #x)
#define ASSERT_OK(x) test_check_ok(TEST_AT(TEST_ASSERT), (x), #x)

#endif
