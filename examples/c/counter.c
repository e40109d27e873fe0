/* SPDX-License-Identifier: MIT */
/*
 * counter.c - four processes on one counter, without a lock.
 *
 * Each child joins the pool by its name, as an unrelated program would; the
 * parent then reads what they counted.
 */
#include <latzero.h>

#include <inttypes.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 4, COUNTS = 100000 };

static const char pool_name[] = "example-c-counter";
static const ltz_key visits = {.data = "visits", .size = 6, .type = LTZ_KEY_STR};
static const ltz_number one = {.type = LTZ_INT64, .as.i64 = 1};
static const ltz_number zero = {.type = LTZ_INT64, .as.i64 = 0};

static int fail(const char *what, int result)
{
	fprintf(stderr, "counter: %s: %s\n", what, ltz_strerror(result));
	return 1;
}

static int count_visits(void)
{
	ltz_pool *pool;
	int result = ltz_connect(pool_name, NULL, &pool);
	if (result != 0)
		return fail("connect", result);
	for (int i = 0; i < COUNTS && result == 0; i++)
		result = ltz_add(pool, &visits, one, zero, NULL, NULL);
	ltz_close(pool);
	return result != 0 ? fail("add", result) : 0;
}

int main(void)
{
	pid_t children[CHILDREN];
	int failed = 0;
	int go[2];
	if (pipe(go) != 0)
		return 1;

	/* Start the children first; they wait for the pool on the pipe. */
	for (int i = 0; i < CHILDREN; i++) {
		children[i] = fork();
		if (children[i] < 0)
			return 1;
		if (children[i] == 0) {
			char byte;
			close(go[1]);
			_exit(read(go[0], &byte, 1) < 0 ? 1 : count_visits());
		}
	}

	ltz_pool *pool;
	int result = ltz_create(pool_name, NULL, &pool);
	close(go[1]); /* end of file: go */
	for (int i = 0; i < CHILDREN; i++) {
		int status;
		waitpid(children[i], &status, 0);
		failed |= status;
	}
	if (result != 0)
		return fail("create", result);

	int64_t total = 0;
	result = ltz_get(pool, &visits, &total, sizeof total, NULL);
	ltz_close(pool);
	if (result != 0)
		return fail("get", result);
	printf("visits: %" PRId64 " of %d\n", total, CHILDREN * COUNTS);
	return failed != 0 || total != (int64_t)CHILDREN * COUNTS;
}
