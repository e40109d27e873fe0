/* SPDX-License-Identifier: MIT */
/*
 * test_guessing.c - brute force against a locked pool, from one process and
 * from several, while somebody who knows the key joins again and again.
 *
 * The pool has a raw key: so a guess costs the attacker nothing, and only the
 * members' limit is in its way. Each attacker guesses on several connections at
 * once, through the library; a guess counts when a member has judged it. SECS=
 * says how long each attack lasts (3); -v shows the figures.
 */
#include <pthread.h>
#include <sys/mman.h>

#include "pool/bucket.h"
#include "proc.h"
#include "sys/sys.h"

#define CONNECTIONS 6 /* of each attacker */
#define ATTACKERS_MAX 6

static const uint8_t right_key[32] = "thirty-two bytes that are random";

struct siege {
	const char *dir;
	ltz_pool *pool; /* a member compares by itself: who is forked leaves first */
	uint64_t over; /* atomic: 1 when it is time to end */
	uint64_t judged, told_to_wait;
	uint64_t visits, turned_away, waited_ns, longest_ns; /* of who knows the key */
	unsigned timeout_ms;
};

static struct ltz_open_options with_key(const struct siege *siege, const uint8_t *key, unsigned flags)
{
	return (struct ltz_open_options){
		.dir = siege->dir, .flags = flags | LTZ_RAW_KEY, .key = key, .key_size = 32, .timeout_ms = siege->timeout_ms,
	};
}

static bool is_over(const struct siege *siege) { return __atomic_load_n(&siege->over, __ATOMIC_RELAXED) != 0; }

static void *guess(void *context)
{
	struct siege *siege = context;
	uint8_t key[32];
	ltz_pool *pool;

	while (!is_over(siege)) {
		for (size_t i = 0; i < sizeof key; i++)
			key[i] = (uint8_t)test_random();
		struct ltz_open_options options = with_key(siege, key, 0);
		int r = ltz_connect("besieged", &options, &pool);
		if (r == -EKEYREJECTED)
			__atomic_fetch_add(ltz_retry_after_ms() == 0 ? &siege->judged : &siege->told_to_wait, 1, __ATOMIC_RELAXED);
		else if (r != -ENOENT) /* the end */
			test_fail(TEST_AT(TEST_EXPECT), "a guess gave %d: %s", r, ltz_error_detail());
	}
	return NULL;
}

static void attack(void *context)
{
	pthread_t threads[CONNECTIONS];

	ltz_close(((struct siege *)context)->pool);
	for (int i = 0; i < CONNECTIONS; i++)
		ASSERT_EQ_INT(pthread_create(&threads[i], NULL, guess, context), 0);
	for (int i = 0; i < CONNECTIONS; i++)
		pthread_join(threads[i], NULL);
}

static void visit(void *context)
{
	struct siege *siege = context;
	struct ltz_open_options options = with_key(siege, right_key, 0);
	ltz_pool *pool;

	ltz_close(siege->pool);
	do {
		uint64_t begin_ns = ltz__sys_boottime_ns();
		int r = ltz_connect("besieged", &options, &pool);
		uint64_t took_ns = ltz__sys_boottime_ns() - begin_ns;

		siege->visits++;
		siege->waited_ns += took_ns;
		if (took_ns > siege->longest_ns)
			siege->longest_ns = took_ns;
		if (r == 0)
			ltz_close(pool);
		else if (r == -EKEYREJECTED && ltz_retry_after_ms() != 0)
			siege->turned_away++;
		else
			test_fail(TEST_AT(TEST_EXPECT), "who knows the key gets %d: %s", r, ltz_error_detail());
	} while (!is_over(siege));
}

static void besiege(unsigned attackers, unsigned timeout_ms)
{
	static const uint32_t never = 0;
	const char *word = getenv("SECS");
	uint64_t secs = word != NULL ? strtoull(word, NULL, 10) : 3;
	struct siege *siege = mmap(NULL, sizeof *siege, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t attacker[ATTACKERS_MAX], visitor;

	ASSERT_TRUE(siege != MAP_FAILED);
	siege->dir = test_directory();
	siege->timeout_ms = timeout_ms;
	struct ltz_open_options options = with_key(siege, right_key, LTZ_AUTH);
	ASSERT_EQ_INT(ltz_create("besieged", &options, &siege->pool), 0);
	uint64_t begin_ns = ltz__sys_boottime_ns();
	for (unsigned i = 0; i < attackers; i++)
		attacker[i] = test_fork(attack, siege);
	visitor = test_fork(visit, siege);
	while (ltz__sys_boottime_ns() - begin_ns < secs * 1000000000u)
	(void)ltz__sys_futex_wait(&never, never, secs * 1000000000u); /* as long as the attack is to last */
	__atomic_store_n(&siege->over, 1, __ATOMIC_RELAXED);
	test_wait(visitor);
	for (unsigned i = 0; i < attackers; i++)
		test_wait(attacker[i]);
	uint64_t took_ns = ltz__sys_boottime_ns() - begin_ns;
	double took = (double)took_ns / 1e9, waited = (double)siege->waited_ns / 1e9 / (double)siege->visits;

	printf("%u attackers x %d connections, %.1f s: %.2f guesses/s judged (%llu), %llu told to wait\n", attackers,
	       CONNECTIONS, took, (double)siege->judged / took, (unsigned long long)siege->judged,
	       (unsigned long long)siege->told_to_wait);
	printf("  who knows the key: %llu of %llu let in within %.1f s, %.2f s on average, at most %.2f s\n",
	       (unsigned long long)(siege->visits - siege->turned_away), (unsigned long long)siege->visits,
	       timeout_ms / 1000.0, waited, (double)siege->longest_ns / 1e9);
	EXPECT_TRUE(siege->judged > 0);
	EXPECT_TRUE(siege->judged <= LTZ_BUCKET_BURST + took_ns / LTZ_BUCKET_TOKEN_NS + 1);
	EXPECT_TRUE(siege->visits > siege->turned_away);
	ltz_close(siege->pool);
}

TEST_WITH_LIMIT(one_process_guesses_no_more_than_three_a_second, 300) { besiege(1, 10000); }
TEST_WITH_LIMIT(several_processes_together_guess_no_more, 300) { besiege(5, 10000); }
TEST_WITH_LIMIT(the_usual_timeout_is_enough_against_one_attacker, 300) { besiege(1, 2000); }
