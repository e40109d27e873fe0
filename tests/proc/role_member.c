/* SPDX-License-Identifier: MIT */
/*
 * role_member.c - a program that uses pools as it is told, line by line.
 *
 *   create NAME MAX_MIB     connect NAME TIMEOUT_MS    readonly NAME
 *   import NAME FD FD FD    close                      destroy NAME
 *   key PASSWORD FLAGS      (for what comes; FLAGS for create; with LTZ_RAW_KEY
 *                            it is filled up with zeros)
 *   exists NAME             set KEY NUMBER             get KEY
 *   add KEY TIMES           fill MIB                   members
 *   used (bytes)            check (number of findings)      clear
 *   fork                    (goes on in the child; the parent is killed)
 *
 * Each is answered by one line: the call's result, and a number.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <latzero.h>

static ltz_pool *pool;
static char password[LTZ_NAME_MAX + 1];
static unsigned lock_flags;
static const struct ltz_open_options patient = { .timeout_ms = 30000 };

static ltz_key key_of(const char *text)
{
	return (ltz_key){ .data = text, .size = (uint32_t)strlen(text), .type = LTZ_KEY_STR };
}

static int count_member(void *context, const struct ltz_member_info *info)
{
	(void)info;
	++*(int64_t *)context;
	return 0;
}

static void count_finding(void *context, const char *line)
{
	(void)line;
	++*(int64_t *)context;
}

static int used_bytes(int64_t *bytes)
{
	struct ltz_stats stats = { 0 };
	int result = ltz_get_stats(pool, &stats);

	*bytes = (int64_t)stats.used_bytes;
	return result;
}

static int set_number(const char *text, int64_t number)
{
	const ltz_key key = key_of(text);
	const ltz_value value = { .data = &number, .size = sizeof number, .type = LTZ_INT64 };

	return ltz_set(pool, &key, &value, NULL, NULL);
}

static int add_times(const char *text, int64_t times, int64_t *sum)
{
	const ltz_key key = key_of(text);
	const ltz_number one = { .type = LTZ_INT64, .as.i64 = 1 }, zero = { .type = LTZ_INT64 };
	ltz_number now = zero;
	int result = 0;

	for (int64_t i = 0; i < times && result == 0; i++)
		result = ltz_add(pool, &key, one, zero, &now, NULL);
	*sum = now.as.i64;
	return result;
}

/* That many values of 1 MiB. */
static int fill(int64_t count)
{
	static char megabyte[1 << 20];
	const ltz_value value = { .data = megabyte, .size = sizeof megabyte, .type = LTZ_BYTES };
	int result = 0;

	memset(megabyte, 'x', sizeof megabyte);
	for (int64_t i = 0; i < count && result == 0; i++) {
		char name[32];
		snprintf(name, sizeof name, "fill-%" PRId64, i);
		const ltz_key key = key_of(name);
		result = ltz_set(pool, &key, &value, NULL, NULL);
	}
	return result;
}

/* The child goes on with our input and output; we die as a process can die. */
static int go_on_in_child(void)
{
	pid_t child = fork();

	if (child > 0)
		kill(getpid(), SIGKILL);
	return child < 0 ? -1 : 0;
}

static struct ltz_open_options usual_options(void)
{
	struct ltz_open_options options = patient;

	if (password[0] != '\0') {
		options.key = password;
		options.flags = lock_flags & LTZ_RAW_KEY;
		options.key_size = options.flags != 0 ? 32 : strlen(password);
	}
	return options;
}

static int open_pool(const char *command, const char *name, const int64_t *number)
{
	struct ltz_open_options options = usual_options();
	int64_t a = number[0];

	if (strcmp(command, "create") == 0) {
		options.flags = lock_flags;
		options.max_size_bytes = (uint64_t)a << 20;
		return ltz_create(name, &options, &pool);
	}
	if (strcmp(command, "connect") == 0) {
		if (a != 0)
			options.timeout_ms = (unsigned)a;
		return ltz_connect(name, &options, &pool);
	}
	if (strcmp(command, "readonly") == 0) {
		options.flags |= LTZ_READONLY;
		return ltz_connect(name, &options, &pool);
	}
	options = (struct ltz_open_options){ .timeout_ms = 30000 };
	return ltz_import(name, (const int[3]){ (int)a, (int)number[1], (int)number[2] }, &options, &pool);
}

static int set_key(const char *word, unsigned flags)
{
	memcpy(password, word, sizeof password);
	lock_flags = flags;
	return 0;
}

static int obey(const char *command, const char *name, const int64_t *number, int64_t *value)
{
	const struct ltz_open_options options = usual_options();
	int64_t a = number[0];

	if (strcmp(command, "key") == 0)
		return set_key(name, (unsigned)a);
	if (strcmp(command, "set") == 0)
		return set_number(name, a);
	if (strcmp(command, "get") == 0) {
		const ltz_key key = key_of(name);
		return ltz_get(pool, &key, value, sizeof *value, NULL);
	}
	if (strcmp(command, "add") == 0)
		return add_times(name, a, value);
	if (strcmp(command, "fill") == 0)
		return fill(strtoll(name, NULL, 10));
	if (strcmp(command, "members") == 0)
		return ltz_members(pool, count_member, value);
	if (strcmp(command, "used") == 0)
		return used_bytes(value);
	if (strcmp(command, "clear") == 0)
		return ltz_clear(pool, NULL);
	if (strcmp(command, "check") == 0)
		return ltz_check(pool, count_finding, value);
	if (strcmp(command, "exists") == 0)
		return ltz_exists(name, NULL);
	if (strcmp(command, "destroy") == 0)
		return ltz_destroy(name, &options);
	if (strcmp(command, "fork") == 0)
		return go_on_in_child();
	if (strcmp(command, "close") == 0) {
		ltz_close(pool);
		pool = NULL;
		return 0;
	}
	return open_pool(command, name, number);
}

int main(void)
{
	char line[256];

	while (fgets(line, sizeof line, stdin) != NULL) {
		char command[16] = "", name[LTZ_NAME_MAX + 1] = "";
		int64_t number[3] = { 0, 0, 0 }, value = 0;

		sscanf(line, "%15s %100s %" SCNd64 " %" SCNd64 " %" SCNd64, command, name, &number[0], &number[1], &number[2]);
		int result = obey(command, name, number, &value);
		printf("%d %" PRId64 "\n", result, value);
		fflush(stdout);
	}
	return 0;
}
