/* SPDX-License-Identifier: MIT */
/*
 * test_threads.c - members as threads of one process, each with an attachment
 * and a service thread of its own, over all operations on few keys and small
 * tables; and threads that share a membership. Under ThreadSanitizer this
 * shows races between members, which separate processes would hide.
 *
 * The pool's clock runs faster than the machine's, so that sweeping, shrinking
 * and giving memory back happen all the time.
 */
#include <errno.h>
#include <pthread.h>

#include "pools.h"
#include "store/expiry.h"
#include "sys/sys.h"
#include "values.h"

#define WORKERS  4u
#define SHARED   8u   /* keys that everybody writes, deletes and lets expire */
#define STEADY   40u  /* keys that everybody writes and nobody deletes       */
#define COUNTERS 3u
#define OWN      10u  /* of each worker                                      */
#define BREATH   250u /* keys that come and go together: the table breathes  */
#define LARGEST  700000u

/* Numbers of keys. */
#define SHARED_KEY  UINT64_C(1000)
#define STEADY_KEY  UINT64_C(2000)
#define COUNTER_KEY UINT64_C(3000)
#define LOCK_KEY    UINT64_C(4000)
#define OWN_KEY     UINT64_C(5000) /* + 100 * worker */
#define BREATH_KEY  UINT64_C(9000)

static struct {
	int fd;
	uint64_t seed, end_ms;
	uint64_t offset_ns;                   /* of the pool's clock */
	uint64_t issued[WORKERS + 1];         /* the last seq of each writer       */
	uint64_t added[COUNTERS];
	uint64_t holders, locked, visits, operations, refused;
} s;

struct member {
	struct ltz_mem *mem;
	pthread_t service;
	uint32_t rung, stop;
};

struct worker {
	struct member member;
	struct ltz_mem *mem; /* its member's, or a visitor's */
	pthread_t thread;
	uint32_t id;
	uint64_t random, seq;
	uint64_t own[OWN];                               /* its seq; 0: absent */
	uint64_t seen[SHARED + STEADY][WORKERS + 1];     /* the last seq of each writer seen under each key */
	int64_t counted[COUNTERS];
	uint8_t *in, *out;
};

#define WRONG(...) test_fail(TEST_AT(TEST_ASSERT), __VA_ARGS__)

static uint64_t below(struct worker *w, uint64_t limit) { return random_below(&w->random, limit); }

/* ---- a member and its service thread ------------------------------------------------------------- */

static void ring(void *context)
{
	struct member *member = context;

	__atomic_store_n(&member->rung, 1, __ATOMIC_RELEASE);
	ltz__sys_futex_wake(&member->rung, 1);
}

#define FASTER 20u /* the pool's clock against the machine's */

static void set_clock(struct ltz_mem *mem)
{
	pool_set_ahead(mem, __atomic_load_n(&s.offset_ns, __ATOMIC_RELAXED));
}

static void *serve(void *context)
{
	struct member *member = context;

	while (!__atomic_load_n(&member->stop, __ATOMIC_ACQUIRE)) {
		uint64_t before = ltz__sys_boottime_ns(), next = ltz__tick(member->mem) / FASTER;

		if (next)
			ltz__sys_futex_wait(&member->rung, 0, next < 10000000 ? next : 10000000);
		__atomic_store_n(&member->rung, 0, __ATOMIC_RELAXED);
		__atomic_fetch_add(&s.offset_ns, (ltz__sys_boottime_ns() - before) * FASTER / WORKERS, __ATOMIC_RELAXED);
		set_clock(member->mem);
	}
	return NULL;
}

static void begin_member(struct member *member)
{
	*member = (struct member){ .mem = pool_join(s.fd) };
	set_clock(member->mem);
	ltz__mem_on_ring(member->mem, ring, member);
	ASSERT_EQ_INT(pthread_create(&member->service, NULL, serve, member), 0);
}

static void end_service(struct member *member)
{
	__atomic_store_n(&member->stop, 1, __ATOMIC_RELEASE);
	ring(member);
	ASSERT_EQ_INT(pthread_join(member->service, NULL), 0);
}

/* ---- writing and judging values --------------------------------------------------------------------- */

static uint32_t some_size(struct worker *w)
{
	switch (below(w, 400)) {
	case 0: return VALUE_LEAST + (uint32_t)below(w, LARGEST - VALUE_LEAST);
	case 1: case 2: case 3: case 4: case 5: case 6: case 7: case 8: return VALUE_LEAST + (uint32_t)below(w, 20000);
	default: return VALUE_LEAST + (uint32_t)below(w, 300);
	}
}

static ltz_value next_value(struct worker *w, uint64_t number)
{
	struct value_head head = { .key = number, .seq = ++w->seq, .writer = w->id, .size = some_size(w) };

	__atomic_store_n(&s.issued[w->id], w->seq, __ATOMIC_RELEASE);
	value_make(w->in, head);
	return (ltz_value){ .data = w->in, .size = head.size, .type = LTZ_BYTES };
}

/* The value in w->out, of a shared or steady key. index: in w->seen. */
static void judge(struct worker *w, uint64_t number, unsigned index, const ltz_item *item)
{
	struct value_head head = { 0 };
	const char *wrong = value_judge(w->out, item->size, number, &head);

	if (wrong)
		WRONG("key %llu, %llu bytes: %s", (unsigned long long)number, (unsigned long long)item->size, wrong);
	if (head.writer > WORKERS || head.seq > __atomic_load_n(&s.issued[head.writer], __ATOMIC_ACQUIRE))
		WRONG("key %llu: a value that nobody wrote", (unsigned long long)number);
	if (head.seq < w->seen[index][head.writer])
		WRONG("key %llu: seq %llu of writer %u after %llu", (unsigned long long)number, (unsigned long long)head.seq, head.writer,
		      (unsigned long long)w->seen[index][head.writer]);
	w->seen[index][head.writer] = head.seq;
}

static int get(struct worker *w, uint64_t number, ltz_item *item)
{
	struct ltz_hkey key = key_of_number(w->mem, &number);
	int result = ltz__map_get(w->mem, &key, w->out, LARGEST, item);

	if (result != 0 && result != LTZ_NOT_FOUND)
		WRONG("get of %llu: %d", (unsigned long long)number, result);
	return result;
}

/* No memory is a possible answer in a small pool; nothing else is. */
static bool done(int result, uint64_t number)
{
	if (result < 0 && result != -ENOSPC)
		WRONG("key %llu: %d", (unsigned long long)number, result);
	if (result == -ENOSPC)
		__atomic_fetch_add(&s.refused, 1, __ATOMIC_RELAXED);
	return result == 0;
}

/* ---- operations ------------------------------------------------------------------------------------------ */

static void use_shared(struct worker *w)
{
	unsigned i = (unsigned)below(w, SHARED);
	uint64_t number = SHARED_KEY + i;
	struct ltz_mem *mem = w->mem;
	struct ltz_hkey key = key_of_number(mem, &number);
	struct ltz_set_options options = { .flags = (unsigned)below(w, 8), .ttl_ms = below(w, 3) ? 0 : 1 + below(w, 2000) };
	ltz_item item = { 0 };
	ltz_value value;
	int result;

	switch (below(w, 8)) {
	case 0: case 1:
		if (get(w, number, &item) == 0)
			judge(w, number, i, &item);
		break;
	case 2: case 3:
		value = next_value(w, number);
		done(ltz__map_set(mem, &key, &value, &options, NULL), number);
		break;
	case 4:
		done(ltz__map_delete(mem, &key, 0), number);
		break;
	case 5:
		if (done(ltz__map_pop(mem, &key, w->out, LARGEST, &item), number))
			judge(w, number, i, &item);
		break;
	case 6:
		done(ltz__map_expire(mem, &key, below(w, 2) ? 0 : 1 + below(w, 2000)), number);
		break;
	default: /* read, then replace exactly that */
		result = get(w, number, &item);
		options.flags = LTZ_IF_VERSION;
		options.if_version = result == 0 ? item.version : 0;
		value = next_value(w, number);
		done(ltz__map_set(mem, &key, &value, &options, NULL), number);
		break;
	}
}

static void use_steady(struct worker *w)
{
	unsigned i = (unsigned)below(w, STEADY);
	uint64_t number = STEADY_KEY + i;
	ltz_item item = { 0 };

	if (below(w, 2)) {
		struct ltz_hkey key = key_of_number(w->mem, &number);
		ltz_value value = next_value(w, number);

		done(ltz__map_set(w->mem, &key, &value, NULL, NULL), number);
		return;
	}
	if (get(w, number, &item) != 0)
		WRONG("key %llu, which is always there, is not", (unsigned long long)number);
	judge(w, number, SHARED + i, &item);
}

static void use_counter(struct worker *w)
{
	unsigned i = (unsigned)below(w, COUNTERS);
	uint64_t number = COUNTER_KEY + i;
	struct ltz_hkey key = key_of_number(w->mem, &number);
	ltz_number one = { .type = LTZ_INT64, .as.i64 = 1 }, none = { .type = LTZ_INT64 }, sum = { 0 };

	if (!done(ltz__map_add(w->mem, &key, one, none, &sum, NULL), number))
		return;
	if (sum.type != LTZ_INT64 || sum.as.i64 <= w->counted[i])
		WRONG("counter %u: %lld after %lld", i, (long long)sum.as.i64, (long long)w->counted[i]);
	w->counted[i] = sum.as.i64;
	__atomic_fetch_add(&s.added[i], 1, __ATOMIC_RELAXED);
}

/* A lock made of nx and delete-if-version: one holder at a time. */
static void use_lock(struct worker *w)
{
	uint64_t number = LOCK_KEY, version = 0;
	struct ltz_hkey key = key_of_number(w->mem, &number);
	struct ltz_set_options nx = { .flags = LTZ_NX };
	ltz_value value = next_value(w, number);
	int result;

	if (!done(ltz__map_set(w->mem, &key, &value, &nx, &version), number))
		return;
	if (__atomic_fetch_add(&s.holders, 1, __ATOMIC_SEQ_CST))
		WRONG("two hold the lock");
	__atomic_fetch_add(&s.locked, 1, __ATOMIC_RELAXED);
	__atomic_fetch_sub(&s.holders, 1, __ATOMIC_SEQ_CST);
	result = ltz__map_delete(w->mem, &key, version);
	if (result != 0)
		WRONG("cannot unlock: %d", result);
}

static void use_own(struct worker *w)
{
	unsigned i = (unsigned)below(w, OWN);
	uint64_t number = OWN_KEY + 100 * w->id + i;
	struct ltz_mem *mem = w->mem;
	struct ltz_hkey key = key_of_number(mem, &number);
	struct value_head head = { 0 };
	ltz_item item = { 0 };
	ltz_value value;
	int result = get(w, number, &item);

	if (result != (w->own[i] ? 0 : LTZ_NOT_FOUND))
		WRONG("own key %llu, seq %llu: %d", (unsigned long long)number, (unsigned long long)w->own[i], result);
	if (result == 0 && (value_judge(w->out, item.size, number, &head) || head.seq != w->own[i]))
		WRONG("own key %llu: seq %llu instead of %llu", (unsigned long long)number, (unsigned long long)head.seq,
		      (unsigned long long)w->own[i]);
	switch (below(w, 4)) {
	case 0:
		result = ltz__map_delete(mem, &key, 0);
		if (result != (w->own[i] ? 0 : LTZ_NOT_FOUND))
			WRONG("delete of own key: %d", result);
		w->own[i] = 0;
		break;
	case 1:
		done(ltz__map_expire(mem, &key, below(w, 2) ? 0 : 1000000000), number);
		break;
	default:
		value = next_value(w, number);
		if (done(ltz__map_set(mem, &key, &value, NULL, NULL), number))
			w->own[i] = w->seq;
		break;
	}
}

static void use_scan(struct worker *w)
{
	unsigned steady[STEADY] = { 0 };
	uint64_t cursor = 0;

	do {
		size_t used = 0;
		int result = ltz__map_scan(w->mem, &cursor, 1 + below(w, 60), NULL, w->out, LARGEST, &used);

		if (result != 0)
			WRONG("scan: %d", result);
		for (size_t at = 0; at < used; at += sizeof(struct ltz_scan_entry) + 8) {
			struct ltz_scan_entry entry;
			uint64_t number;

			memcpy(&entry, w->out + at, sizeof(entry));
			memcpy(&number, w->out + at + sizeof(entry), 8);
			if (entry.type != LTZ_KEY_INT || entry.size != 8 || !entry.version)
				WRONG("scan: an entry that nobody made");
			if (number >= STEADY_KEY && number < STEADY_KEY + STEADY)
				steady[number - STEADY_KEY]++;
		}
	} while (cursor);
	for (unsigned i = 0; i < STEADY; i++)
		if (steady[i] != 1)
			WRONG("scan: key %llu %u times", (unsigned long long)(STEADY_KEY + i), steady[i]);
}

/* Many keys come, or go: the table grows or shrinks. */
static void breathe(struct worker *w)
{
	uint64_t from = BREATH_KEY + 1000 * w->id, in = below(w, 2);

	for (uint64_t n = from; n < from + BREATH; n++)
		done(in ? put_number(w->mem, n, &n, 8) : drop_number(w->mem, n), n);
}

/* A member that comes, works a little and is gone without a word. */
static void visit(struct worker *w)
{
	struct ltz_mem *mem = pool_join(s.fd);

	set_clock(mem);
	w->mem = mem;
	for (unsigned i = 0; i < 30; i++)
		below(w, 2) ? use_shared(w) : use_own(w);
	w->mem = w->member.mem;
	pool_leave(mem);
	__atomic_fetch_add(&s.visits, 1, __ATOMIC_RELAXED);
}

static void *work(void *context)
{
	struct worker *w = context;

	for (uint64_t n = 0; n % 16 || monotonic_ms() < s.end_ms; n++) {
		switch (below(w, 16)) {
		case 0: case 1: case 2: case 3: case 4: use_shared(w); break;
		case 5: case 6: case 7: use_steady(w); break;
		case 8: case 9: case 10: use_counter(w); break;
		case 11: use_lock(w); break;
		case 12: case 13: use_own(w); break;
		case 14:
			if (below(w, 8) == 0)
				use_scan(w);
			break;
		default:
			if (below(w, 20) == 0)
				below(w, 4) ? breathe(w) : visit(w);
			break;
		}
		__atomic_fetch_add(&s.operations, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

/* ---- the whole --------------------------------------------------------------------------------------------- */

static void check_end(struct ltz_mem *mem, struct worker *workers)
{
	uint64_t cleared = 0;

	for (unsigned i = 0; i < COUNTERS; i++) {
		int64_t value = 0;

		EXPECT_EQ_INT(get_number(mem, COUNTER_KEY + i, &value, 8, NULL), s.added[i] ? 0 : LTZ_NOT_FOUND);
		EXPECT_EQ_INT(value, (int64_t)s.added[i]);
	}
	for (unsigned k = 0; k < WORKERS; k++)
		for (unsigned i = 0; i < OWN; i++) {
			struct ltz_hkey key;
			uint64_t number = OWN_KEY + 100 * workers[k].id + i;

			key = key_of_number(mem, &number);
			EXPECT_EQ_INT(ltz__map_get(mem, &key, workers[k].out, LARGEST, NULL), workers[k].own[i] ? 0 : LTZ_NOT_FOUND);
		}
	ltz__adopt_dead(mem);
	EXPECT_CLEAN(mem);
	EXPECT_EQ_INT(ltz__map_clear(mem, &cleared), 0);
	EXPECT_TRUE(cleared >= STEADY);
	for (unsigned round = 0; round < 12; round++)
		for (unsigned k = 0; k < WORKERS; k++)
			pool_tick(workers[k].member.mem, 1);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	EXPECT_CLEAN(mem);
	EXPECT_EQ_U64(pool_counts(mem).slab + pool_counts(mem).run + pool_counts(mem).claimed, 0);
	EXPECT_EQ_U64(extents_of_kind(mem, OWNER_TABLE), 1);
	EXPECT_EQ_U64(claimed_entries(mem), 1);
}

/* A value that happens to be too large for the pool gives way to another. */
static void make_steady(struct worker *w, uint64_t number)
{
	struct ltz_hkey key = key_of_number(w->mem, &number);
	int result = -ENOSPC;

	for (unsigned i = 0; result == -ENOSPC && i < 100; i++) {
		ltz_value value = next_value(w, number);

		result = ltz__map_set(w->mem, &key, &value, NULL, NULL);
	}
	ASSERT_EQ_INT(result, 0);
}

enum membership { ONE_EACH, ONE_FOR_ALL };

static void run_with(uint64_t max_size_bytes, unsigned share, enum membership membership)
{
	static struct worker workers[WORKERS];
	struct ltz_mem *mem;
	uint64_t end = end_of_run(3);

	s.seed = seed_of_run();
	s.end_ms = monotonic_ms() + (end - monotonic_ms()) / share;
	s.offset_ns = 1000 * SECOND_NS;
	s.fd = pool_make(max_size_bytes, 1);
	for (uint32_t i = 0; i < WORKERS; i++) {
		struct worker *w = &workers[i];

		*w = (struct worker){ .id = i + 1, .random = s.seed + i, .in = malloc(LARGEST), .out = malloc(LARGEST) };
		if (membership == ONE_EACH || i == 0)
			begin_member(&w->member);
		else
			w->member.mem = workers[0].member.mem;
		w->mem = w->member.mem;
	}
	mem = workers[0].member.mem;
	for (uint64_t i = 0; i < STEADY; i++)
		make_steady(&workers[0], STEADY_KEY + i);
	for (unsigned i = 0; i < WORKERS; i++)
		ASSERT_EQ_INT(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	for (unsigned i = 0; i < WORKERS; i++)
		ASSERT_EQ_INT(pthread_join(workers[i].thread, NULL), 0);
	for (unsigned i = 0; i < (membership == ONE_EACH ? WORKERS : 1); i++)
		end_service(&workers[i].member);
	printf("%llu operations, %llu without memory, %llu locked, %llu visits, %llu resizes, %llu expired, %llu adopted\n", (unsigned long long)s.operations, (unsigned long long)s.refused,
	       (unsigned long long)s.locked, (unsigned long long)s.visits, (unsigned long long)load_relaxed(&mem->header->resizes),
	       (unsigned long long)load_relaxed(&mem->header->expired), (unsigned long long)load_relaxed(&mem->header->recovered));
	check_end(mem, workers);
	for (unsigned i = 0; i < WORKERS; i++) {
		free(workers[i].in);
		free(workers[i].out);
	}
}

TEST_WITH_LIMIT(members_as_threads_never_see_a_wrong_value, 3600) { run_with(256 * MIB, 1, ONE_EACH); }

/* Memory runs out now and then: every lane of a process is asked for what it does not need. */
TEST_WITH_LIMIT(members_as_threads_in_a_pool_that_is_too_small, 3600) { run_with(3 * MIB, 2, ONE_EACH); }

TEST_WITH_LIMIT(threads_that_share_a_membership, 3600) { run_with(256 * MIB, 2, ONE_FOR_ALL); }
TEST_WITH_LIMIT(threads_that_share_a_membership_in_a_pool_that_is_too_small, 3600) { run_with(3 * MIB, 2, ONE_FOR_ALL); }
