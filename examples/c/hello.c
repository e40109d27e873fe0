/* SPDX-License-Identifier: MIT */
/*
 * hello.c - make a pool, write a value, read it back.
 */
#include <latzero.h>

#include <stdio.h>

int main(void)
{
	ltz_pool *pool;
	int result = ltz_create("example-c-hello", NULL, &pool);
	if (result != 0) {
		fprintf(stderr, "hello: %s: %s\n", ltz_strerror(result), ltz_error_detail());
		return 1;
	}

	ltz_key key = {.data = "greeting", .size = 8, .type = LTZ_KEY_STR};
	ltz_value value = {.data = "hello, other process", .size = 20, .type = LTZ_STR};
	char text[64];
	ltz_item item;

	result = ltz_set(pool, &key, &value, NULL, NULL);
	if (result == 0)
		result = ltz_get(pool, &key, text, sizeof text, &item);
	if (result == 0)
		printf("%.*s\n", (int)item.size, text);
	else
		fprintf(stderr, "hello: %s\n", ltz_strerror(result));

	ltz_close(pool);
	printf("pool left behind: %s\n", ltz_exists("example-c-hello", NULL) == 0 ? "yes" : "no");
	return result != 0;
}
