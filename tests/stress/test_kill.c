/* SPDX-License-Identifier: MIT */
/*
 * test_kill.c - members as processes that are killed at any moment.
 *
 * Every worker notes on a board, which outlives it, what it is about to do to
 * its own keys and what was acknowledged. After its death the acknowledged
 * state must be there, or the one in flight; its successor takes over from
 * there. Nobody but workers looks after the pool while they die: who adopts
 * may be killed as well, and now and then all are.
 */
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "pools.h"
#include "store/expiry.h"
#include "sys/sys.h"
#include "values.h"

#define WORKERS  5u
#define OWN      24u /* keys of each worker            */
#define PASSING  8u  /* of each, with a short life     */
#define SHARED   6u  /* that everybody writes          */
#define COUNTERS 2u
#define LARGEST  (256u * 1024u)

#define OWN_KEY     UINT64_C(1000)  /* + 100 * worker */
#define PASSING_KEY UINT64_C(5000)  /* + 100 * worker */
#define SHARED_KEY  UINT64_C(9000)
#define COUNTER_KEY UINT64_C(9500)
#define BREATH_KEY  UINT64_C(20000) /* + 1000 * worker */
#define BREATH      200u

/* A key's state: seq of its value << 1 | 1, or seq of its removal << 1. */
struct note {
	uint64_t acknowledged, in_flight; /* in_flight 0: nothing */
};

struct slot {
	struct note own[OWN];
	uint64_t gone_by[PASSING];   /* ms of the pool's clock when the key must have expired; 0: never set */
	uint64_t seq;                /* the last one used */
	uint64_t added[COUNTERS], adding[COUNTERS];
	uint64_t operations, refused;
};

static struct board {
	uint64_t stop, offset_ns;
	uint64_t perhaps[COUNTERS];  /* additions that were in flight at a death */
	struct slot slot[WORKERS];
} *board;

static struct {
	int fd;
	uint64_t seed;
	unsigned kills, massacres, stops;
	pid_t child[WORKERS];
	bool stopped[WORKERS];
} s;

struct worker {
	struct ltz_mem *mem;
	struct slot *slot;
	uint64_t id, random;
	uint32_t rung;
	struct ltz_thread service;
	uint8_t *in, *out;
};

#define WRONG(...) test_fail(TEST_AT(TEST_ASSERT), __VA_ARGS__)
#define LL(x) ((unsigned long long)(x))

static uint64_t below(struct worker *w, uint64_t limit) { return random_below(&w->random, limit); }

/* ---- a worker: joining, its service thread ------------------------------------------------------- */

static void set_clock(struct ltz_mem *mem)
{
	pool_set_ahead(mem, load_acquire(&board->offset_ns));
}

static void ring(void *context)
{
	uint32_t *rung = context;

	__atomic_store_n(rung, 1, __ATOMIC_RELEASE);
	ltz__sys_futex_wake(rung, 1);
}

static void serve(void *context)
{
	struct worker *w = context;

	while (!load_acquire(&board->stop)) {
		uint64_t next = ltz__tick(w->mem);

		if (next) /* until rung; at most 3 ms, as the pool's clock runs faster than ours */
			ltz__sys_futex_wait(&w->rung, 0, next < 3000000 ? next : 3000000);
		__atomic_store_n(&w->rung, 0, __ATOMIC_RELAXED);
		set_clock(w->mem);
	}
}

/* ---- what must be there --------------------------------------------------------------------------- */

static int get(struct worker *w, uint64_t number, ltz_item *item)
{
	struct ltz_hkey key = key_of_number(w->mem, &number);
	int result = ltz__map_get(w->mem, &key, w->out, LARGEST, item);

	if (result != 0 && result != LTZ_NOT_FOUND)
		WRONG("get of %llu: %d", LL(number), result);
	return result;
}

/* The state a key is in now. */
static uint64_t state_of(struct worker *w, uint64_t number)
{
	struct value_head head = { 0 };
	ltz_item item = { 0 };
	const char *wrong;

	if (get(w, number, &item) != 0)
		return 0;
	wrong = value_judge(w->out, item.size, number, &head);
	if (wrong)
		WRONG("key %llu, %llu bytes: %s", LL(number), LL(item.size), wrong);
	return head.seq << 1 | 1;
}

static bool same_state(uint64_t seen, uint64_t noted)
{
	return seen & 1 ? seen == noted : !(noted & 1);
}

static void expect_noted(struct worker *w, unsigned i, const char *when)
{
	struct note *note = &w->slot->own[i];
	uint64_t number = OWN_KEY + 100 * w->id + i, seen = state_of(w, number);

	if (!same_state(seen, note->acknowledged) && !(note->in_flight && same_state(seen, note->in_flight)))
		WRONG("%s: key %llu is in state %llu, acknowledged %llu, in flight %llu", when, LL(number), LL(seen),
		      LL(note->acknowledged), LL(note->in_flight));
}

/* What the predecessor left is as good as acknowledged from now on. */
static void take_over(struct worker *w)
{
	for (unsigned i = 0; i < OWN; i++) {
		struct note *note = &w->slot->own[i];

		expect_noted(w, i, "after a death");
		if (note->in_flight && same_state(state_of(w, OWN_KEY + 100 * w->id + i), note->in_flight))
			store_release(&note->acknowledged, note->in_flight);
		store_release(&note->in_flight, 0);
	}
	for (unsigned i = 0; i < COUNTERS; i++)
		if (load_acquire(&w->slot->adding[i])) {
			fetch_add_relaxed(&board->perhaps[i], 1);
			store_release(&w->slot->adding[i], 0);
		}
}

/* ---- operations ---------------------------------------------------------------------------------------- */

/* No memory is a possible answer in a small pool; nothing else is. */
static bool done(struct worker *w, int result, uint64_t number)
{
	if (result < 0 && result != -ENOSPC)
		WRONG("key %llu: %d", LL(number), result);
	if (result == -ENOSPC)
		store_release(&w->slot->refused, w->slot->refused + 1);
	return result == 0;
}

static uint32_t some_size(struct worker *w)
{
	switch (below(w, 40)) {
	case 0: return VALUE_LEAST + (uint32_t)below(w, LARGEST - VALUE_LEAST + 1);
	case 1: case 2: return VALUE_LEAST + (uint32_t)below(w, 10000);
	default: return VALUE_LEAST + (uint32_t)below(w, 250);
	}
}

static ltz_value next_value(struct worker *w, uint64_t number)
{
	struct value_head head = { .key = number, .seq = w->slot->seq + 1, .writer = (uint32_t)w->id, .size = some_size(w) };

	store_release(&w->slot->seq, head.seq); /* before anybody can see it */
	value_make(w->in, head);
	return (ltz_value){ .data = w->in, .size = head.size, .type = LTZ_BYTES };
}

static void use_own(struct worker *w)
{
	unsigned i = (unsigned)below(w, OWN), what = (unsigned)below(w, 8);
	struct note *note = &w->slot->own[i];
	uint64_t number = OWN_KEY + 100 * w->id + i, state;
	struct ltz_hkey key = key_of_number(w->mem, &number);
	struct ltz_set_options options = { .ttl_ms = below(w, 4) ? 0 : UINT64_C(1) << 40 };
	ltz_value value = next_value(w, number);
	int result;

	if (what == 0) {
		expect_noted(w, i, "in its life");
		return;
	}
	if (what == 1) { /* changes the record, not the value */
		done(w, ltz__map_expire(w->mem, &key, options.ttl_ms), number);
		return;
	}
	state = w->slot->seq << 1 | (what > 3);
	store_release(&note->in_flight, state);
	if (what > 3)
		result = ltz__map_set(w->mem, &key, &value, &options, NULL);
	else if (what == 3)
		result = ltz__map_delete(w->mem, &key, 0);
	else
		result = ltz__map_pop(w->mem, &key, w->out, LARGEST, NULL);
	if (what <= 3 && result == LTZ_NOT_FOUND && (note->acknowledged & 1))
		WRONG("key %llu, acknowledged %llu, is not there", LL(number), LL(note->acknowledged));
	if (done(w, result, number))
		store_release(&note->acknowledged, state);
	store_release(&note->in_flight, 0);
}

static void use_passing(struct worker *w)
{
	unsigned i = (unsigned)below(w, PASSING);
	uint64_t number = PASSING_KEY + 100 * w->id + i, ttl = 1 + below(w, 3000), now;
	struct ltz_set_options options = { .ttl_ms = ttl };
	struct ltz_hkey key = key_of_number(w->mem, &number);
	uint64_t gone_by = load_acquire(&w->slot->gone_by[i]);
	ltz_value value;

	now = map_now_ms(w->mem);
	if (gone_by && gone_by < now && state_of(w, number))
		WRONG("key %llu is still there, %llu ms after its end", LL(number), LL(now - gone_by));
	if (below(w, 2) == 0)
		return;
	value = next_value(w, number);
	store_release(&w->slot->gone_by[i], UINT64_MAX); /* until we know better */
	if (done(w, ltz__map_set(w->mem, &key, &value, &options, NULL), number))
		gone_by = map_now_ms(w->mem) + ttl + 2;
	store_release(&w->slot->gone_by[i], gone_by);
}

static void use_shared(struct worker *w)
{
	uint64_t number = SHARED_KEY + below(w, SHARED);
	struct ltz_hkey key = key_of_number(w->mem, &number);
	struct ltz_set_options options = { .flags = (unsigned)below(w, 8), .ttl_ms = below(w, 2) ? 0 : 1 + below(w, 500) };
	struct value_head head = { 0 };
	ltz_item item = { 0 };
	ltz_value value;
	const char *wrong;

	switch (below(w, 4)) {
	case 0:
		if (get(w, number, &item) != 0)
			break;
		wrong = value_judge(w->out, item.size, number, &head);
		if (wrong || head.writer >= WORKERS || head.seq > load_acquire(&board->slot[head.writer].seq))
			WRONG("shared key %llu: %s", LL(number), wrong ? wrong : "a value that nobody wrote");
		break;
	case 1:
		done(w, ltz__map_delete(w->mem, &key, 0), number);
		break;
	default:
		value = next_value(w, number);
		done(w, ltz__map_set(w->mem, &key, &value, &options, NULL), number);
		break;
	}
}

static void use_counter(struct worker *w)
{
	unsigned i = (unsigned)below(w, COUNTERS);
	uint64_t number = COUNTER_KEY + i;
	struct ltz_hkey key = key_of_number(w->mem, &number);
	ltz_number one = { .type = LTZ_INT64, .as.i64 = 1 }, none = { .type = LTZ_INT64 };
	uint64_t added = w->slot->added[i];

	store_release(&w->slot->adding[i], 1);
	if (done(w, ltz__map_add(w->mem, &key, one, none, NULL, NULL), number))
		store_release(&w->slot->added[i], added + 1);
	store_release(&w->slot->adding[i], 0);
}

/* Many keys come, or go: the table grows or shrinks, slabs fill and empty. */
static void breathe(struct worker *w)
{
	uint64_t from = BREATH_KEY + 1000 * w->id, in = below(w, 2);

	for (uint64_t n = from; n < from + BREATH; n++)
		done(w, in ? put_number(w->mem, n, &n, 8) : drop_number(w->mem, n), n);
}

static void be_worker(void *context)
{
	static struct worker w;
	unsigned id = (unsigned)(uintptr_t)context;

	w = (struct worker){ .id = id, .slot = &board->slot[id], .random = s.seed ^ (uint64_t)getpid() << 20 ^ ltz__sys_boottime_ns(),
		.in = malloc(LARGEST), .out = malloc(LARGEST) };
	w.mem = pool_join(s.fd);
	set_clock(w.mem);
	ltz__mem_on_ring(w.mem, ring, &w.rung);
	ASSERT_EQ_INT(ltz__sys_thread_start(&w.service, serve, &w, "service"), 0);
	take_over(&w);
	while (!load_acquire(&board->stop)) {
		switch (below(&w, 10)) {
		case 0: case 1: case 2: case 3: use_own(&w); break;
		case 4: use_passing(&w); break;
		case 5: case 6: use_shared(&w); break;
		case 7: case 8: use_counter(&w); break;
		default:
			if (below(&w, 12) == 0)
				breathe(&w);
			break;
		}
		store_release(&w.slot->operations, w.slot->operations + 1);
	}
	ltz__sys_thread_join(&w.service);
	pool_leave(w.mem);
}

/* ---- the killer ---------------------------------------------------------------------------------------------- */

static void start(unsigned i) { s.child[i] = test_fork(be_worker, (void *)(uintptr_t)i); }

/* A worker that ended by itself has found something wrong. */
static void kill_worker(unsigned i)
{
	int status = 0;

	kill(s.child[i], SIGKILL);
	s.stopped[i] = false;
	while (waitpid(s.child[i], &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		WRONG("worker %u ended by itself: status 0x%x", i, status);
	s.kills++;
}

/* A random moment: a worker runs on until its death, there is nothing to wait for. */
static void let_them_run(uint64_t *random)
{
	uint32_t never = 0;

	ltz__sys_futex_wait(&never, 0, random_below(random, 12000000));
	fetch_add_relaxed(&board->offset_ns, random_below(random, 300000000)); /* the pool's clock runs on, too */
}

static void kill_until(uint64_t end_ms, uint64_t *random)
{
	while (monotonic_ms() < end_ms) {
		unsigned i = (unsigned)random_below(random, WORKERS);

		let_them_run(random);
		switch (random_below(random, 40)) {
		case 0: /* nobody is left to adopt */
			for (unsigned k = 0; k < WORKERS; k++)
				kill_worker(k);
			for (unsigned k = 0; k < WORKERS; k++)
				start(k);
			s.massacres++;
			break;
		case 1: case 2: case 3: /* stopped is not dead: the others must neither wait nor take its things */
			s.stopped[i] = !s.stopped[i];
			kill(s.child[i], s.stopped[i] ? SIGSTOP : SIGCONT);
			s.stops++;
			break;
		default:
			kill_worker(i);
			start(i);
			break;
		}
	}
	store_release(&board->stop, 1);
	for (unsigned i = 0; i < WORKERS; i++) {
		kill(s.child[i], SIGCONT);
		test_wait(s.child[i]);
	}
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static uint64_t count_by_scan(struct ltz_mem *mem)
{
	static uint8_t buf[LTZ_SCAN_BUFFER];
	uint64_t cursor = 0, count = 0;

	do {
		size_t used = 0;

		ASSERT_EQ_INT(ltz__map_scan(mem, &cursor, 1000, NULL, buf, sizeof(buf), &used), 0);
		for (size_t at = 0; at < used; at += sizeof(struct ltz_scan_entry) + 8)
			count++;
	} while (cursor);
	return count;
}

static void expect_all_noted(struct ltz_mem *mem)
{
	static struct worker w;

	w = (struct worker){ .mem = mem, .out = malloc(LARGEST) };
	for (unsigned k = 0; k < WORKERS; k++) {
		w.id = k;
		w.slot = &board->slot[k];
		for (unsigned i = 0; i < OWN; i++)
			expect_noted(&w, i, "in the end");
		for (unsigned i = 0; i < PASSING; i++)
			EXPECT_EQ_U64(state_of(&w, PASSING_KEY + 100 * k + i), 0);
	}
	free(w.out);
	for (unsigned i = 0; i < COUNTERS; i++) {
		uint64_t least = 0, most, value = 0;

		for (unsigned k = 0; k < WORKERS; k++)
			least += board->slot[k].added[i];
		most = least + board->perhaps[i];
		EXPECT_TRUE(get_number(mem, COUNTER_KEY + i, &value, 8, NULL) == (most ? 0 : LTZ_NOT_FOUND) || (least == 0 && value == 0));
		if (value < least || value > most)
			test_fail(TEST_AT(TEST_EXPECT), "counter %u is %llu, not %llu to %llu", i, LL(value), LL(least), LL(most));
	}
}

static void check_end(struct ltz_mem *mem)
{
	struct ltz_granule_counts counts;
	uint64_t next, removed = 0, peak = pool_backed_bytes(mem);

	ltz__adopt_dead(mem);
	EXPECT_CLEAN(mem);
	pool_travel(mem, 10 * SECOND_NS); /* whatever has a short life is over */
	ltz__sweep(mem, &mem->lane[LANE_SERVICE], true, &next);
	expect_all_noted(mem);
	EXPECT_EQ_U64(ltz__map_count(mem), count_by_scan(mem));
	EXPECT_CLEAN(mem);
	EXPECT_EQ_INT(ltz__map_clear(mem, &removed), 0);
	EXPECT_EQ_U64(ltz__map_count(mem), 0);
	pool_tick(mem, 30);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 0);
	counts = pool_counts(mem);
	EXPECT_EQ_U64(counts.slab + counts.run + counts.claimed, 0);
	EXPECT_EQ_U64(extents_of_kind(mem, OWNER_TABLE), 1);
	EXPECT_EQ_U64(claimed_entries(mem), 1);
	EXPECT_TRUE(pool_backed_bytes(mem) <= 6 * MIB);
	EXPECT_CLEAN(mem);
	printf("%llu KiB at last, %llu KiB after clear\n", LL(peak >> 10), LL(pool_backed_bytes(mem) >> 10));
}

static void run_with(uint64_t max_size_bytes, unsigned share)
{
	uint64_t end = end_of_run(5), random, operations = 0, refused = 0;
	struct ltz_mem *mem;

	s.seed = random = seed_of_run();
	s.fd = pool_make(max_size_bytes, 1);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(board != MAP_FAILED);
	board->offset_ns = 1000 * SECOND_NS;
	for (unsigned i = 0; i < WORKERS; i++)
		start(i);
	kill_until(monotonic_ms() + (end - monotonic_ms()) / share, &random);
	mem = pool_join(s.fd);
	set_clock(mem);
	for (unsigned i = 0; i < WORKERS; i++) {
		operations += board->slot[i].operations;
		refused += board->slot[i].refused;
	}
	printf("%llu operations, %llu without memory, %u kills, %u times all, %u stops, %llu resizes, %llu expired, %llu adopted\n",
	       LL(operations), LL(refused), s.kills, s.massacres, s.stops, LL(load_relaxed(&mem->header->resizes)), LL(load_relaxed(&mem->header->expired)),
	       LL(load_relaxed(&mem->header->recovered)));
	check_end(mem);
	EXPECT_TRUE(s.kills > 0 && operations > 0);
}

TEST_WITH_LIMIT(killed_members_lose_nothing_that_was_acknowledged, 3600) { run_with(256 * MIB, 1); }
TEST_WITH_LIMIT(killed_members_lose_nothing_in_a_pool_that_is_too_small, 3600) { run_with(4 * MIB, 2); }
