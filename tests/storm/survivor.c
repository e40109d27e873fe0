/* SPDX-License-Identifier: MIT */
/*
 * survivor.c - the member that sees the whole storm, and judges the pool when
 * all others have gone. See storm.h.
 */
#include "storm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define POOL_BYTES      (UINT64_C(8) << 30)
#define SMALL_BYTES     4096u            /* gets of at most that many bytes are timed */
#define SAMPLE_NS       (50 * MS_NS)
#define CHECK_NS        (1000 * MS_NS)
#define ORPHAN_NS       (60 * SECOND_NS)
#define SETTLE_MAX_NS   (20 * SECOND_NS)
#define SWEEP_MAX_NS    (10 * SECOND_NS)
#define MEMORY_MAX_NS   (10 * SECOND_NS)  /* product.md: 10 s, 5 % */
#define MEMORY_PERCENT  5u
#define MEMORY_LEAST    (UINT64_C(5) << 20) /* the small reserve that every pool keeps, and a little */

static struct survivor {
	struct shared *shared;
	ltz_pool *pool;
	uint64_t random;
	uint8_t buffer[VALUE_MAX];
	uint8_t scan[LTZ_SCAN_BUFFER];
} self;

static uint64_t draw_below(uint64_t limit)
{
	return (self.random = mix(self.random)) % limit;
}

static struct ltz_stats statistics(void)
{
	struct ltz_stats stats = { 0 };
	int result = ltz_get_stats(self.pool, &stats);

	if (result != 0)
		violation(self.shared, "survivor: statistics: %s", ltz_strerror(result));
	put(&self.shared->survivor_progress, self.shared->survivor_progress + 1);
	return stats;
}

static void pause_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL); /* tidy-ok: between two looks, each with a deadline */
}

/* ---- during the storm ------------------------------------------------------------------ */

static void note_latency(struct latencies *latencies, uint64_t ns)
{
	unsigned power = 63 - (unsigned)__builtin_clzll(ns | 16);

	latencies->bucket[power * 16 + ((ns >> (power - 4)) & 15)]++;
	latencies->count++;
	if (ns > latencies->max_ns)
		latencies->max_ns = ns;
}

static long switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw + usage.ru_nivcsw;
}

static void look_somewhere(void)
{
	long before = switches();
	struct sight sight;
	bool good = look(&sight, self.pool, self.shared, (unsigned)draw_below(self.shared->slots), (unsigned)draw_below(KEYS), self.buffer);
	uint64_t ns = sight.after_ns - sight.before_ns;

	if (good && sight.result == 0 && sight.item.size <= SMALL_BYTES) {
		note_latency(&self.shared->all, ns);
		if (switches() == before)
			note_latency(&self.shared->whole, ns);
	}
	put(&self.shared->survivor_progress, self.shared->survivor_progress + 1);
}

/*
 * A member that is stopped, or dead and not settled yet, may hold a block that
 * it did not publish. Nothing else is explained by others' work.
 */
static void note_breach(void *context, const char *line)
{
	(void)context;
	if (strstr(line, "allocated, not retired, in no index") != NULL)
		count(&self.shared->explained, 1);
	else
		violation(self.shared, "ltz_check during the storm: %s", line);
}

static void report_breach(void *context, const char *line)
{
	(void)context;
	violation(self.shared, "ltz_check at the end: %s", line);
}

static void print_breach(void *context, const char *line)
{
	(void)context;
	printf("  ltz_check: %s\n", line);
}

uint64_t counter_acked(const struct shared *shared, unsigned counter)
{
	uint64_t sum = 0, incarnations = peek(&shared->incarnations);

	for (uint64_t i = 0; i < incarnations; i++)
		sum += peek(&shared->incarnation[i].acked[counter]);
	return sum;
}

uint64_t counter_begun(const struct shared *shared, unsigned counter)
{
	uint64_t sum = 0, incarnations = peek(&shared->incarnations);

	for (uint64_t i = 0; i < incarnations; i++)
		sum += peek(&shared->incarnation[i].begun[counter]);
	return sum;
}

/* The sums are taken before and after, as others go on adding. Is the counter there? */
static bool judge_counter(unsigned counter)
{
	uint64_t low = counter_acked(self.shared, counter), high;
	int64_t value = 0;
	struct name name;

	name_make(&name, KEY_COUNTER, 0, counter);
	const ltz_key k = name_key(&name);
	int result = ltz_get(self.pool, &k, &value, sizeof value, NULL);

	high = counter_begun(self.shared, counter);
	if ((result != 0 && (result != LTZ_NOT_FOUND || low > 0)) || (uint64_t)value < low || (uint64_t)value > high)
		violation(self.shared, "counter %u is %" PRId64 " (%s): %" PRIu64 " acknowledged, %" PRIu64 " begun", counter, value,
		          ltz_strerror(result), low, high);
	return result == 0;
}

static void sample(void)
{
	struct ltz_stats stats = statistics();

	if (stats.committed_bytes > self.shared->peak_committed)
		self.shared->peak_committed = stats.committed_bytes;
	if (stats.used_bytes > self.shared->peak_used)
		self.shared->peak_used = stats.used_bytes;
	judge_counter((unsigned)draw_below(COUNTERS));
}

static void ride_out(void)
{
	uint64_t sample_ns = 0, check_ns = now_ns() + CHECK_NS;

	while (!peek(&self.shared->workers_gone) && !peek(&self.shared->violations)) {
		uint64_t now = now_ns();

		look_somewhere();
		if (now >= sample_ns) {
			sample();
			sample_ns = now + SAMPLE_NS;
		}
		if (now >= check_ns) {
			ltz_check(self.pool, note_breach, NULL);
			self.shared->checks++;
			check_ns = now_ns() + CHECK_NS;
		}
		if (now > peek(&self.shared->beat_ns) + ORPHAN_NS)
			return;
	}
}

/* ---- after it --------------------------------------------------------------------------- */

/* All rows but ours are given back, and as many as died were counted. */
static void await_settlement(void)
{
	uint64_t begin_ns = now_ns(), dead = 0;
	struct ltz_stats stats = statistics();

	while (stats.members > 1 && now_ns() < begin_ns + SETTLE_MAX_NS) {
		pause_ms(1);
		stats = statistics();
	}
	self.shared->settle_ms = (now_ns() - begin_ns) / MS_NS;
	for (uint64_t i = 0; i < self.shared->incarnations; i++)
		dead += self.shared->incarnation[i].joined && !self.shared->incarnation[i].left;
	dead--; /* we */
	if (stats.members != 1)
		violation(self.shared, "%u members are left of which only the survivor lives", stats.members);
	if (stats.recovered_members < dead || dead < self.shared->kills)
		violation(self.shared, "%" PRIu64 " members recovered, but %" PRIu64 " died (%" PRIu64 " by kills)",
		          stats.recovered_members, dead, self.shared->kills);
	self.shared->recovered = stats.recovered_members;
	self.shared->resizes = stats.resizes;
}

static void settle_all(void)
{
	for (unsigned slot = 0; slot < self.shared->slots; slot++) {
		for (unsigned key = 0; key < KEYS; key++)
			settle(self.pool, self.shared, slot, key, self.buffer);
		settle_churn(self.pool, self.shared, slot);
	}
}

static void await_expiries(void)
{
	uint64_t last_ns = 0;

	for (unsigned slot = 0; slot < self.shared->slots; slot++)
		for (unsigned key = 0; key < KEYS; key++) {
			const struct entry *entry = &self.shared->slot[slot].entry[key];
			const struct state *state = &entry->state[entry->acked & 1];

			if (state->present && state->gone_by_ns != NEVER && state->gone_by_ns > last_ns)
				last_ns = state->gone_by_ns;
		}
	while (now_ns() < last_ns)
		pause_ms(5);
}

static uint64_t count_own(unsigned slot)
{
	uint64_t there = 0;

	for (unsigned key = 0; key < KEYS; key++) {
		struct sight sight;

		if (!look(&sight, self.pool, self.shared, slot, key, self.buffer))
			continue;
		there += sight.result == 0;
		self.shared->live_bytes += sight.result == 0 ? sight.item.size : 0;
		self.shared->expected_expiries += sight.state.gone_by_ns != NEVER;
	}
	return there;
}

/* Those that must be there are, with their bytes; the ones on both sides are not. */
static uint64_t count_churn(unsigned slot)
{
	const struct churn *churn = &self.shared->slot[slot].churn;
	uint64_t begin = churn->out_acked, first = begin < 8 ? 0 : begin - 8;

	for (uint64_t number = first; number < churn->in_acked + 8; number++) {
		bool expected = number >= begin && number < churn->in_acked;
		const char *why_not = "missing";
		uint64_t seq = 0;
		struct name name;
		ltz_item item;

		name_make(&name, KEY_CHURN, slot, number);
		const ltz_key k = name_key(&name);
		int result = ltz_get(self.pool, &k, self.buffer, VALUE_MAX, &item);
		bool good = result == 0 && value_read(self.buffer, item.size, &name, &seq, &why_not) && seq == number;

		if (expected ? !good : result != LTZ_NOT_FOUND)
			violation(self.shared, "slot %u: churn key %" PRIu64 " of %" PRIu64 "..%" PRIu64 " at the end: %s, %s", slot, number,
			          begin, churn->in_acked, ltz_strerror(result), result == 0 ? why_not : "");
	}
	return churn->in_acked - begin;
}

static uint64_t count_counters(void)
{
	uint64_t there = 0;

	for (unsigned counter = 0; counter < COUNTERS; counter++) {
		uint64_t open = 0;

		there += judge_counter(counter);
		for (uint64_t i = 0; i < self.shared->incarnations; i++)
			open += self.shared->incarnation[i].begun[counter] != self.shared->incarnation[i].acked[counter];
		uint64_t doubt = counter_begun(self.shared, counter) - counter_acked(self.shared, counter);
		if (counter < COUNTERS / 2 && doubt != open)
			violation(self.shared, "counter %u: %" PRIu64 " in doubt, but %" PRIu64 " adders died", counter, doubt, open);
	}
	return there;
}

static uint64_t scan_count(void)
{
	uint64_t cursor = 0, found = 0;

	do {
		size_t used = 0;
		int result = ltz_scan(self.pool, &cursor, 4096, NULL, self.scan, sizeof self.scan, &used);

		if (result != 0) {
			violation(self.shared, "survivor: scan: %s", ltz_strerror(result));
			return found;
		}
		for (size_t at = 0; at < used; found++) {
			const struct ltz_scan_entry *entry = (const struct ltz_scan_entry *)(self.scan + at);

			at += sizeof *entry + (entry->size + 7u) / 8 * 8;
		}
	} while (cursor != 0);
	return found;
}

static uint64_t keys_counted(void)
{
	uint64_t keys = 0;
	int result = ltz_count(self.pool, &keys);

	if (result != 0)
		violation(self.shared, "survivor: count: %s", ltz_strerror(result));
	return keys;
}

static void judge_count(uint64_t expected)
{
	uint64_t deadline_ns = now_ns() + SWEEP_MAX_NS;

	while (keys_counted() != expected && now_ns() < deadline_ns)
		pause_ms(10); /* expired ones count until swept */
	self.shared->count_expected = expected;
	self.shared->count_found = keys_counted();
	if (self.shared->count_found != expected)
		violation(self.shared, "ltz_count is %" PRIu64 ", there are %" PRIu64 " keys", self.shared->count_found, expected);
	uint64_t scanned = scan_count();
	if (scanned != expected)
		violation(self.shared, "a scan gives %" PRIu64 " keys, there are %" PRIu64, scanned, expected);
}

static void judge_clearing(uint64_t expected)
{
	uint64_t removed = 0, begin_ns, limit = self.shared->peak_committed / 100 * MEMORY_PERCENT;
	struct ltz_stats stats = statistics();

	if (limit < MEMORY_LEAST)
		limit = MEMORY_LEAST;
	self.shared->full_used = stats.used_bytes;
	int result = ltz_clear(self.pool, &removed);

	begin_ns = now_ns();
	if (result != 0 || removed != expected || keys_counted() != 0)
		violation(self.shared, "clear removed %" PRIu64 " of %" PRIu64 " keys: %s", removed, expected, ltz_strerror(result));
	do {
		pause_ms(10);
		stats = statistics();
	} while (stats.committed_bytes > limit && now_ns() < begin_ns + MEMORY_MAX_NS);
	self.shared->after_ms = (now_ns() - begin_ns) / MS_NS;
	self.shared->after_committed = stats.committed_bytes;
	self.shared->after_used = stats.used_bytes;
	if (stats.committed_bytes > limit || stats.used_bytes > limit)
		violation(self.shared, "10 s after clear %" PRIu64 " bytes used, %" PRIu64 " committed; the peak was %" PRIu64,
		          stats.used_bytes, stats.committed_bytes, self.shared->peak_committed);
}

static void judge_all(void)
{
	uint64_t expected;

	await_settlement();
	settle_all();
	await_expiries();
	check_clock(self.pool, self.shared, 0);
	expected = count_counters() + 1; /* the clock's key */
	for (unsigned slot = 0; slot < self.shared->slots; slot++)
		expected += count_own(slot) + count_churn(slot);
	judge_count(expected);
	int result = ltz_check(self.pool, report_breach, NULL);
	if (result != 0)
		violation(self.shared, "ltz_check: %s", ltz_strerror(result));
	judge_clearing(expected);
	ltz_check(self.pool, report_breach, NULL);
}

static void describe_pool(void)
{
	struct ltz_stats stats = statistics();

	printf("the pool: %" PRIu64 " keys, %u members, %" PRIu64 " recovered, used %" PRIu64 " committed %" PRIu64 " bytes, %" PRIu64
	       " buckets, %" PRIu64 " lines, %" PRIu64 " resizes, %" PRIu64 " expired\n",
	       stats.keys, stats.members, stats.recovered_members, stats.used_bytes, stats.committed_bytes, stats.index_buckets,
	       stats.index_lines, stats.resizes, stats.expired);
	ltz_check(self.pool, print_breach, NULL);
	fflush(stdout);
}

static void set_clock(void)
{
	const struct ltz_set_options options = { .ttl_ms = CLOCK_TTL_MS };
	const ltz_value value = { .data = "tick", .size = 4, .type = LTZ_BYTES };
	struct name name;

	name_make(&name, KEY_CLOCK, 0, 0);
	const ltz_key k = name_key(&name);
	self.shared->clock.gone_from_ns = now_ns() + CLOCK_TTL_MS * MS_NS - ROUNDING_NS;
	int result = ltz_set(self.pool, &k, &value, &options, NULL);
	self.shared->clock.gone_by_ns = now_ns() + CLOCK_TTL_MS * MS_NS + ROUNDING_NS;
	if (result != 0)
		violation(self.shared, "survivor: set: %s", ltz_strerror(result));
}

int run_survivor(const struct site *site, uint64_t incarnation)
{
	struct ltz_open_options options = { .dir = site->dir, .max_size_bytes = POOL_BYTES, .timeout_ms = 30000 };
	int result;

	self.shared = site->shared;
	self.random = mix(site->shared->seed ^ incarnation);
	result = ltz_create(POOL_NAME, &options, &self.pool);
	if (result != 0) {
		violation(self.shared, "survivor: create: %s: %s", ltz_strerror(result), ltz_error_detail());
		return 1;
	}
	put(&self.shared->incarnation[incarnation].joined, 1);
	set_clock();
	put(&self.shared->survivor_ready, 1);
	ride_out();
	if (!peek(&self.shared->violations))
		judge_all();
	if (peek(&self.shared->violations))
		describe_pool();
	ltz_close(self.pool);
	result = ltz_exists(POOL_NAME, site->dir);
	if (result == 0 && !peek(&self.shared->violations))
		violation(self.shared, "the pool is there after its last member closed it");
	return peek(&self.shared->violations) != 0;
}
