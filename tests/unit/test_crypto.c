/* SPDX-License-Identifier: MIT */
/* test_crypto.c - libcrypto is there when asked for and not before, once for all threads, and until the very end. */
#include "guard/crypto.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "guard/library.h"
#include "harness.h"
#include "sys/fault.h"

#define THREADS 8

static bool libcrypto_is_mapped(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool found = false;

	ASSERT_TRUE(maps != NULL);
	while (fgets(line, sizeof(line), maps) != NULL)
		found |= strstr(line, "libcrypto") != NULL;
	fclose(maps);
	return found;
}

TEST(nothing_is_loaded_before_it_is_needed)
{
	EXPECT_TRUE(!libcrypto_is_mapped());
	EXPECT_TRUE(ltz__crypto() == NULL);
	ASSERT_EQ_INT(ltz__crypto_load(), 0);
	EXPECT_TRUE(libcrypto_is_mapped());
}

TEST(loading_again_changes_nothing)
{
	const struct ltz_crypto *first;

	ASSERT_EQ_INT(ltz__crypto_load(), 0);
	first = ltz__crypto();
	ASSERT_TRUE(first->aes_256_gcm != NULL && first->aes_256_ecb != NULL);
	ASSERT_EQ_INT(ltz__crypto_load(), 0);
	EXPECT_TRUE(ltz__crypto() == first);
}

static pthread_barrier_t start;

static void *load(void *seen)
{
	pthread_barrier_wait(&start);
	EXPECT_EQ_INT(ltz__crypto_load(), 0);
	*(const void **)seen = ltz__crypto();
	return NULL;
}

TEST(threads_that_load_at_once_have_one_table)
{
	pthread_t threads[THREADS];
	const void *seen[THREADS];

	pthread_barrier_init(&start, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		ASSERT_EQ_INT(pthread_create(&threads[i], NULL, load, &seen[i]), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		EXPECT_TRUE(seen[i] != NULL && seen[i] == seen[0]);
	}
}

static void use_at_exit(void)
{
	if (ltz__crypto()->EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL) == NULL)
		_exit(9);
}

/* Exit handlers run last one first: this one runs after libcrypto's, if that has one. */
TEST(exit_handlers_of_the_program_can_still_use_it)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		atexit(use_at_exit);
		if (ltz__crypto_load() != 0)
			_exit(1);
		exit(0);
	}
	ASSERT_EQ_INT(waitpid(child, &status, 0), child);
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ_INT(WEXITSTATUS(status), 0);
}

TEST(a_failure_leaves_the_program_s_error_queue_empty)
{
	static const char *const names[] = { "ERR_peek_error" };
	unsigned long (*peek)(void);
	void *address;

	ASSERT_EQ_INT(ltz__crypto_load(), 0);
	ASSERT_EQ_INT(ltz__library_load("libcrypto.so.3", names, 1, &address), 0);
	memcpy(&peek, &address, sizeof(peek));
	EXPECT_TRUE(ltz__crypto()->EVP_CIPHER_fetch(NULL, "no such cipher", NULL) == NULL);
	EXPECT_TRUE(peek() != 0);
	EXPECT_EQ_INT(ltz__crypto_failed(-EIO), -EIO);
	EXPECT_TRUE(peek() == 0);
}

#ifdef LTZ_FAULTS
TEST(whatever_fails_the_next_try_works)
{
	for (uint64_t n = 1; n < 20; n++) {
		int result;

		ltz__fault_set_call(LTZ_FAULT_THREAD, n, ENOMEM);
		result = ltz__crypto_load();
		ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
		if (result == 0) {
			EXPECT_TRUE(n > 1);
			return;
		}
		EXPECT_TRUE(result == -ENOPKG || result == -ENOMEM);
		EXPECT_TRUE(ltz__crypto() == NULL);
	}
	EXPECT_TRUE(!"it never worked");
}
#endif
