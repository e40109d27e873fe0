/* SPDX-License-Identifier: MIT */
/* worker.c - processes that work on the pool until they are killed or told to leave. See storm.h. */
#include "storm.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ORPHAN_NS      (60 * SECOND_NS)
#define LINGER_MAX_NS  (100 * MS_NS)
#define CHURN_STEP     100u
#define CANARY_ONE_IN  10u

enum doing { DOING_JOIN = 1, DOING_SETTLE, DOING_SET, DOING_DELETE, DOING_LOOK, DOING_ADD, DOING_CHURN, DOING_SCAN, DOING_FORK, DOING_LEAVE };

struct worker {
	const struct site *site;
	struct shared *shared;
	ltz_pool *pool;
	unsigned index;           /* of the slot */
	struct slot *slot;
	uint64_t incarnation;
	struct incarnation *life;
	uint64_t random;
	int64_t sum[COUNTERS];    /* last seen */
	uint8_t buffer[VALUE_MAX];
	uint8_t scan[LTZ_SCAN_BUFFER];
	uint8_t seen[KEYS];
	uint8_t churn_seen[CHURN_MAX + 2 * CHURN_STEP];
};

static uint64_t draw_below(struct worker *w, uint64_t limit)
{
	return (w->random = mix(w->random)) % limit;
}

static void doing(struct worker *w, enum doing what, uint64_t key)
{
	put(&w->slot->doing, (uint64_t)what << 32 | key);
	put(&w->slot->progress, w->slot->progress + 1);
}

static bool canary(struct worker *w, enum canary which)
{
	return w->shared->canary == which && draw_below(w, CANARY_ONE_IN) == 0;
}

/* Something that must be true of one of the worker's own keys. */
static bool expect(struct worker *w, bool is, unsigned key, const char *what, int result)
{
	const struct entry *entry = &w->slot->entry[key];
	const struct state *state = &entry->state[entry->acked & 1];

	if (!is)
		violation(w->shared, "slot %u key %u, incarnation %lu: %s: result %d (%s); acked %lu issued %lu, present %lu version %lu expires %d",
		          w->index, key, w->incarnation, what, result, ltz_strerror(result), entry->acked, entry->issued,
		          state->present, state->version, state->gone_by_ns != NEVER);
	return is;
}

/* ---- own keys ---------------------------------------------------------------------------- */

static bool surely_there(const struct state *now)
{
	return now->present && now->gone_from_ns == NEVER;
}

/* Conditions that must refuse, and change nothing. */
static void try_refused(struct worker *w, unsigned key, const ltz_key *k, const struct state *now)
{
	struct ltz_set_options options = { .flags = surely_there(now) ? LTZ_NX : LTZ_XX };
	const ltz_value value = { .data = "nobody's", .size = 8, .type = LTZ_BYTES };
	int result;

	if (now->present && !surely_there(now))
		return;
	if (now->version && now->present && draw_below(w, 2)) {
		options.flags = LTZ_IF_VERSION;
		options.if_version = now->version - 1;
	}
	result = ltz_set(w->pool, k, &value, &options, NULL);
	expect(w, result == LTZ_REFUSED, key, "a set with a wrong condition", result);
}

/* A condition that must hold. */
static void choose_condition(struct worker *w, const struct state *now, struct ltz_set_options *options)
{
	if (!now->present) {
		options->flags = draw_below(w, 2) ? LTZ_NX : 0;
	} else if (surely_there(now)) {
		options->flags = draw_below(w, 3) == 0 ? LTZ_XX : 0;
		if (now->version && draw_below(w, 2)) {
			options->flags = LTZ_IF_VERSION;
			options->if_version = now->version;
		}
	}
}

static void expires_after(struct state *next, uint64_t before_ns, uint64_t after_ns, uint64_t ttl_ms)
{
	next->gone_from_ns = before_ns + ttl_ms * MS_NS - ROUNDING_NS;
	next->gone_by_ns = after_ns + ttl_ms * MS_NS + ROUNDING_NS;
}

/* The second half of KIND_SET_EXPIRE and KIND_SET_PERSIST. */
static void change_expiry(struct worker *w, unsigned key, const ltz_key *k, struct state *next, uint64_t ttl_ms)
{
	uint64_t before_ns = now_ns();
	int result = ltz_expire(w->pool, k, ttl_ms);
	uint64_t after_ns = now_ns();

	if (result == LTZ_NOT_FOUND) {
		expect(w, after_ns >= next->gone_from_ns, key, "expire finds nothing", result);
		next->present = 0;
		return;
	}
	expect(w, result == 0, key, "expire", result);
	expect(w, before_ns < next->gone_by_ns, key, "expire found it after its expiry", result);
	next->version = 0; /* another one, not told */
	next->gone_from_ns = next->gone_by_ns = NEVER;
	if (ttl_ms)
		expires_after(next, before_ns, after_ns, ttl_ms);
}

static struct state do_set(struct worker *w, unsigned key, const struct name *name, const struct state *now, uint64_t seq)
{
	enum kind kind = kind_of(w->shared, w->index, key, seq);
	uint64_t ttl_ms = ttl_ms_of(w->shared, w->index, key, seq);
	struct ltz_set_options options = { 0 };
	struct state next = { .present = 1, .gone_from_ns = NEVER, .gone_by_ns = NEVER };
	const ltz_key k = name_key(name);
	const ltz_value value = { .data = w->buffer, .size = size_of(w->shared, w->index, key, seq), .type = LTZ_BYTES };

	value_write(w->buffer, value.size, name, seq, w->incarnation);
	if (canary(w, CANARY_VALUE))
		w->buffer[draw_below(w, value.size)] ^= 0x10;
	choose_condition(w, now, &options);
	if (kind == KIND_SET_TTL || kind == KIND_SET_PERSIST)
		options.ttl_ms = ttl_ms;
	if (canary(w, CANARY_FORGET))
		return next;
	uint64_t before_ns = now_ns();
	int result = ltz_set(w->pool, &k, &value, &options, &next.version);
	expect(w, result == 0, key, "a set whose condition holds", result);
	expect(w, next.version != now->version, key, "a set keeps the version", result);
	if (options.ttl_ms)
		expires_after(&next, before_ns, now_ns(), ttl_ms);
	if (kind == KIND_SET_EXPIRE)
		change_expiry(w, key, &k, &next, ttl_ms);
	if (kind == KIND_SET_PERSIST)
		change_expiry(w, key, &k, &next, 0);
	return next;
}

static int do_pop(struct worker *w, unsigned key, const struct name *name, const struct state *now)
{
	const char *why_not = "of another number";
	const ltz_key k = name_key(name);
	uint64_t seq = 0;
	ltz_item item;
	int result = ltz_pop(w->pool, &k, w->buffer, VALUE_MAX, &item);

	if (result == 0) {
		bool good = value_read(w->buffer, item.size, name, &seq, &why_not) && seq == w->slot->entry[key].acked;

		expect(w, good, key, why_not, result);
		expect(w, now->version == 0 || now->version == item.version, key, "pop gives another version", result);
	}
	return result;
}

static struct state do_delete(struct worker *w, unsigned key, const struct name *name, const struct state *now)
{
	struct state next = { .gone_from_ns = NEVER, .gone_by_ns = NEVER };
	const ltz_key k = name_key(name);
	uint64_t before_ns = now_ns();
	int result;

	if (draw_below(w, 2))
		result = do_pop(w, key, name, now);
	else
		result = ltz_delete(w->pool, &k, surely_there(now) && draw_below(w, 2) ? now->version : 0);
	if (result == 0) {
		expect(w, now->present, key, "deleted what was not there", result);
		expect(w, before_ns < now->gone_by_ns, key, "deleted it after its expiry", result);
	} else {
		expect(w, result == LTZ_NOT_FOUND, key, "delete", result);
		expect(w, !now->present || now_ns() >= now->gone_from_ns, key, "nothing there to delete", result);
	}
	if (canary(w, CANARY_UNDELETE)) {
		const ltz_value value = { .data = w->buffer, .size = 100, .type = LTZ_BYTES };

		value_write(w->buffer, value.size, name, w->slot->entry[key].acked, w->incarnation);
		ltz_set(w->pool, &k, &value, NULL, NULL);
	}
	return next;
}

static void operate(struct worker *w, unsigned key)
{
	struct entry *entry = &w->slot->entry[key];
	const struct state now = entry->state[entry->acked & 1];
	uint64_t seq = entry->issued + 1;
	struct name name;

	if (((seq ^ entry->acked) & 1) == 0)
		seq++; /* after a void one: the other state is to be written */
	bool deletes = kind_of(w->shared, w->index, key, seq) == KIND_DELETE;
	name_make(&name, KEY_OWN, w->index, key);
	doing(w, deletes ? DOING_DELETE : DOING_SET, key);
	if (draw_below(w, 16) == 0) {
		const ltz_key k = name_key(&name);

		try_refused(w, key, &k, &now);
	}
	put(&entry->issued, seq);
	entry->state[seq & 1] = deletes ? do_delete(w, key, &name, &now) : do_set(w, key, &name, &now, seq);
	put(&entry->acked, seq);
	count(&w->shared->operations, 1);
}

/* ---- counters, churn ------------------------------------------------------------------------ */

static void add(struct worker *w)
{
	unsigned c = (unsigned)draw_below(w, COUNTERS);
	int64_t by = c < COUNTERS / 2 ? 1 : 1 + (int64_t)draw_below(w, 1000);
	const ltz_number plus = { .type = LTZ_INT64, .as.i64 = by }, zero = { .type = LTZ_INT64 };
	ltz_number sum = zero;
	struct name name;
	int result = 0;

	name_make(&name, KEY_COUNTER, 0, c);
	const ltz_key k = name_key(&name);
	put(&w->life->begun[c], w->life->begun[c] + (uint64_t)by);
	if (!canary(w, CANARY_COUNT)) {
		result = ltz_add(w->pool, &k, plus, zero, &sum, NULL);
		if (result != 0 || sum.type != LTZ_INT64 || sum.as.i64 < w->sum[c] + by)
			violation(w->shared, "counter %u: add %ld gives %ld after %ld: %s", c, (long)by, (long)sum.as.i64,
			          (long)w->sum[c], ltz_strerror(result));
		w->sum[c] = sum.as.i64;
	}
	put(&w->life->acked[c], w->life->begun[c]);
	count(&w->shared->operations, 1);
}

static int churn_in(ltz_pool *pool, unsigned slot, uint64_t number)
{
	struct ltz_set_options options = { .flags = LTZ_NX };
	uint8_t bytes[128];
	const ltz_value value = { .data = bytes, .size = 8 + mix(number) % 120, .type = LTZ_BYTES };
	struct name name;

	name_make(&name, KEY_CHURN, slot, number);
	const ltz_key k = name_key(&name);
	value_write(bytes, value.size, &name, number, slot);
	return ltz_set(pool, &k, &value, &options, NULL);
}

static int churn_out(ltz_pool *pool, unsigned slot, uint64_t number)
{
	struct name name;

	name_make(&name, KEY_CHURN, slot, number);
	const ltz_key k = name_key(&name);
	return ltz_delete(pool, &k, 0);
}

static void churn(struct worker *w)
{
	struct churn *churn = &w->slot->churn;
	bool grows = now_ns() / SECOND_NS % 4 < 2;

	for (unsigned i = 0; i < CHURN_STEP; i++) {
		uint64_t number;
		int result;

		if (grows && churn->in_acked - churn->out_acked < CHURN_MAX) {
			number = churn->in_acked;
			put(&churn->in_issued, number + 1);
			result = churn_in(w->pool, w->index, number);
			put(&churn->in_acked, number + 1);
		} else if (churn->out_acked < churn->in_acked) {
			number = churn->out_acked;
			put(&churn->out_issued, number + 1);
			result = churn_out(w->pool, w->index, number);
			put(&churn->out_acked, number + 1);
		} else {
			return;
		}
		if (result != 0)
			violation(w->shared, "slot %u: churn key %lu, %s: %s", w->index, number, grows ? "new" : "deleted",
			          ltz_strerror(result));
		doing(w, DOING_CHURN, number);
	}
	count(&w->shared->operations, CHURN_STEP);
}

void settle_churn(ltz_pool *pool, struct shared *shared, unsigned slot)
{
	struct churn *churn = &shared->slot[slot].churn;
	int result = 0;

	if (churn->in_issued != churn->in_acked) {
		result = churn_in(pool, slot, churn->in_acked);
		if (result != 0 && result != LTZ_REFUSED)
			violation(shared, "slot %u: churn key %lu put in again: %s", slot, churn->in_acked, ltz_strerror(result));
		put(&churn->in_acked, churn->in_issued);
	}
	if (churn->out_issued != churn->out_acked) {
		result = churn_out(pool, slot, churn->out_acked);
		if (result != 0 && result != LTZ_NOT_FOUND)
			violation(shared, "slot %u: churn key %lu taken out again: %s", slot, churn->out_acked, ltz_strerror(result));
		put(&churn->out_acked, churn->out_issued);
	}
}

/* ---- scans ----------------------------------------------------------------------------------- */

static void note_scanned(struct worker *w, const struct ltz_scan_entry *entry)
{
	const struct name *name = (const struct name *)(entry + 1);
	uint64_t number;

	if (entry->size != sizeof *name || entry->type != LTZ_KEY_BYTES) {
		violation(w->shared, "slot %u: a scan gives a key of %u bytes, type %u", w->index, entry->size, entry->type);
		return;
	}
	number = name_number(name);
	if (name->slot != w->index)
		return;
	if (name->class == KEY_OWN && number < KEYS) {
		w->seen[number]++;
	} else if (name->class == KEY_CHURN) {
		number -= w->slot->churn.out_acked;
		if (number < sizeof w->churn_seen)
			w->churn_seen[number]++;
		else
			violation(w->shared, "slot %u: a scan gives churn key %lu beyond %lu..%lu", w->index, name_number(name),
			          w->slot->churn.out_acked, w->slot->churn.in_acked);
	}
}

static bool scan_all(struct worker *w, const ltz_key *prefix)
{
	uint64_t cursor = 0;

	do {
		size_t used = 0;
		int result = ltz_scan(w->pool, &cursor, 1 + draw_below(w, 2000), prefix, w->scan, sizeof w->scan, &used);

		if (result != 0) {
			violation(w->shared, "slot %u: scan: %s", w->index, ltz_strerror(result));
			return false;
		}
		for (size_t at = 0; at < used;) {
			const struct ltz_scan_entry *entry = (const struct ltz_scan_entry *)(w->scan + at);

			note_scanned(w, entry);
			at += sizeof *entry + (entry->size + 7u) / 8 * 8;
		}
		doing(w, DOING_SCAN, used);
	} while (cursor != 0);
	return true;
}

/* My keys do not change while I scan, so each must be given once, or not at all. */
static void scan(struct worker *w)
{
	const uint8_t mine[2] = { KEY_OWN, (uint8_t)w->index };
	const ltz_key prefix = { .data = mine, .size = sizeof mine, .type = LTZ_KEY_BYTES };
	bool narrow = draw_below(w, 2);
	uint64_t churned = w->slot->churn.in_acked - w->slot->churn.out_acked;

	memset(w->seen, 0, sizeof w->seen);
	memset(w->churn_seen, 0, sizeof w->churn_seen);
	if (!scan_all(w, narrow ? &prefix : NULL))
		return;
	for (unsigned key = 0; key < KEYS; key++) {
		const struct entry *entry = &w->slot->entry[key];
		const struct state *now = &entry->state[entry->acked & 1];

		expect(w, w->seen[key] <= 1, key, "a scan gives it twice", w->seen[key]);
		expect(w, w->seen[key] == 1 || !surely_there(now), key, "a scan does not give it", 0);
		expect(w, w->seen[key] == 0 || now->present, key, "a scan gives it though it is gone", 0);
	}
	for (uint64_t i = 0; i < sizeof w->churn_seen && !narrow; i++)
		if (w->churn_seen[i] != (i < churned))
			violation(w->shared, "slot %u: a scan gives churn key %lu %u times, of %lu..%lu", w->index,
			          w->slot->churn.out_acked + i, w->churn_seen[i], w->slot->churn.out_acked, w->slot->churn.in_acked);
	count(&w->shared->scans, 1);
}

/* ---- others' keys, and the rest ------------------------------------------------------------------ */

static void look_around(struct worker *w)
{
	unsigned slot = (unsigned)draw_below(w, w->shared->slots), key = (unsigned)draw_below(w, KEYS);
	struct name name[8];
	ltz_key k[8];
	struct sight sight;

	for (unsigned i = 0; i < 8; i++) {
		name_make(&name[i], KEY_OWN, slot, (key + i) % KEYS);
		k[i] = name_key(&name[i]);
	}
	if (draw_below(w, 4) == 0)
		ltz_prefetch(w->pool, k, 8); /* a hint: nothing may come of it */
	look(&sight, w->pool, w->shared, slot, key, w->buffer);
	count(&w->shared->operations, 1);
}

static void look_at_own(struct worker *w, unsigned key)
{
	struct entry *entry = &w->slot->entry[key];
	struct sight sight;

	doing(w, DOING_LOOK, key);
	if (look(&sight, w->pool, w->shared, w->index, key, w->buffer) && sight.result == 0)
		put(&entry->state[entry->acked & 1].version, sight.item.version);
	else if (sight.result == LTZ_NOT_FOUND)
		put(&entry->state[entry->acked & 1].present, 0); /* expired: it must stay so */
	count(&w->shared->operations, 1);
}

static int see_member(void *context, const struct ltz_member_info *info)
{
	*(bool *)context |= info->self;
	return 0;
}

static void look_inside(struct worker *w)
{
	struct ltz_stats stats;
	uint64_t keys;
	bool self = false;

	if (ltz_get_stats(w->pool, &stats) != 0 || ltz_count(w->pool, &keys) != 0 || stats.members == 0)
		violation(w->shared, "slot %u: no statistics", w->index);
	if (ltz_members(w->pool, see_member, &self) != 0 || !self)
		violation(w->shared, "slot %u: incarnation %lu is not among the members", w->index, w->incarnation);
}

/* ---- processes --------------------------------------------------------------------------------------- */

uint64_t next_incarnation(struct shared *shared)
{
	uint64_t incarnation = __atomic_fetch_add(&shared->incarnations, 1, __ATOMIC_SEQ_CST);

	if (incarnation >= INCARNATIONS) {
		violation(shared, "more than %u incarnations: a shorter storm", INCARNATIONS);
		_exit(3);
	}
	return incarnation;
}

static bool is_over(const struct shared *shared)
{
	if (peek(&shared->stop) != 0 || peek(&shared->violations) != 0)
		return true;
	return now_ns() > peek(&shared->beat_ns) + ORPHAN_NS;
}

static void be(struct worker *w, uint64_t incarnation)
{
	w->incarnation = incarnation;
	w->life = &w->shared->incarnation[incarnation];
	w->random = mix(w->shared->seed ^ mix(incarnation));
}

static bool join(struct worker *w, const struct site *site, uint64_t incarnation)
{
	struct ltz_open_options options = { .dir = site->dir, .timeout_ms = 30000 };
	int result;

	w->site = site;
	w->shared = site->shared;
	be(w, incarnation);
	result = ltz_connect(POOL_NAME, &options, &w->pool);
	if (result != 0 && !is_over(w->shared))
		violation(w->shared, "incarnation %lu cannot join: %s: %s", incarnation, ltz_strerror(result), ltz_error_detail());
	put(&w->life->joined, result == 0);
	if (result == 0)
		check_clock(w->pool, w->shared, incarnation);
	return result == 0;
}

/* The parent's last moments: none, or some time as an idle member. */
static _Noreturn void die_as_parent(struct worker *w)
{
	sigset_t none;

	if (draw_below(w, 2))
		kill(getpid(), SIGKILL);
	sigemptyset(&none);
	sigtimedwait(&none, NULL, &(struct timespec){ .tv_nsec = (long)draw_below(w, LINGER_MAX_NS) });
	_exit(STATUS_FORKED);
}

/* The slot goes on in a child, unless the conductor saw us die first. */
static void go_on_in_child(struct worker *w)
{
	uint64_t was = owner_word(getpid(), w->incarnation), heir = next_incarnation(w->shared);
	pid_t child;

	put(&w->slot->fork_now, 0);
	doing(w, DOING_FORK, heir);
	child = fork();
	if (child > 0)
		die_as_parent(w);
	if (child < 0)
		return;
	if (!__atomic_compare_exchange_n(&w->slot->owner, &was, owner_word(getpid(), heir), false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		_exit(0);
	be(w, heir);
	look_at_own(w, (unsigned)draw_below(w, KEYS)); /* the first call makes us a member */
	put(&w->life->joined, 1);
	check_clock(w->pool, w->shared, heir);
	count(&w->shared->forks, 1);
}

static void act(struct worker *w)
{
	unsigned h = (unsigned)draw_below(w, 1000);

	if (h < 400) {
		operate(w, (unsigned)draw_below(w, KEYS));
	} else if (h < 500) {
		look_at_own(w, (unsigned)draw_below(w, KEYS));
	} else if (h < 750) {
		doing(w, DOING_LOOK, h);
		look_around(w);
	} else if (h < 960) {
		doing(w, DOING_ADD, h);
		add(w);
	} else if (h < 990) {
		churn(w);
	} else if (h < 994) {
		scan(w);
	} else {
		look_inside(w);
	}
}

static void leak(struct worker *w)
{
	struct name name;

	name_make(&name, KEY_OWN, w->index, KEYS + 1);
	const ltz_key k = name_key(&name);
	const ltz_value value = { .data = "nobody's", .size = 8, .type = LTZ_BYTES };
	ltz_set(w->pool, &k, &value, NULL, NULL);
}

int run_worker(const struct site *site, unsigned slot, uint64_t incarnation)
{
	static struct worker w;

	w.index = slot;
	w.slot = &site->shared->slot[slot];
	doing(&w, DOING_JOIN, incarnation);
	if (!join(&w, site, incarnation))
		return 1;
	for (unsigned key = 0; key < KEYS; key++) {
		doing(&w, DOING_SETTLE, key);
		settle(w.pool, w.shared, slot, key, w.buffer);
	}
	settle_churn(w.pool, w.shared, slot);
	while (!is_over(w.shared)) {
		if (peek(&w.slot->fork_now) != 0)
			go_on_in_child(&w);
		act(&w);
		if (canary(&w, CANARY_LEAK))
			leak(&w);
	}
	doing(&w, DOING_LEAVE, 0);
	put(&w.life->left, 1);
	ltz_close(w.pool);
	return 0;
}

int run_joiner(const struct site *site, uint64_t incarnation)
{
	static struct worker w;

	if (!join(&w, site, incarnation))
		return 1;
	for (uint64_t i = draw_below(&w, 1000); i > 0 && !is_over(w.shared); i--) {
		look_around(&w);
		add(&w);
	}
	if (draw_below(&w, 2))
		return 0; /* a member ends without a word */
	put(&w.life->left, 1);
	ltz_close(w.pool);
	return 0;
}
