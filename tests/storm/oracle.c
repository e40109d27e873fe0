/* SPDX-License-Identifier: MIT */
/* oracle.c - what each key may hold. See storm.h. */
#include "storm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void violation(struct shared *shared, const char *format, ...)
{
	uint64_t index = __atomic_fetch_add(&shared->violations, 1, __ATOMIC_SEQ_CST);
	va_list arguments;

	if (index >= LINES)
		return;
	va_start(arguments, format);
	vsnprintf(shared->line[index], LINE_BYTES, format, arguments);
	va_end(arguments);
}

/* ---- keys and values ------------------------------------------------------------------ */

void name_make(struct name *name, enum key_class class, unsigned slot, uint64_t number)
{
	name->class = (uint8_t)class;
	name->slot = (uint8_t)slot;
	memcpy(name->number, &number, sizeof name->number);
}

uint64_t name_number(const struct name *name)
{
	uint64_t number = 0;

	memcpy(&number, name->number, sizeof name->number);
	return number;
}

static uint64_t chance(const struct shared *shared, unsigned slot, unsigned key, uint64_t seq, uint64_t what)
{
	return mix(shared->seed ^ mix(((uint64_t)slot << 56) + ((uint64_t)key << 44) + (what << 40) + seq));
}

enum kind kind_of(const struct shared *shared, unsigned slot, unsigned key, uint64_t seq)
{
	uint64_t h = chance(shared, slot, key, seq, 1) % 100;

	if (seq == 0)
		return KIND_DELETE;
	return h < 60 ? KIND_SET : h < 72 ? KIND_SET_TTL : h < 78 ? KIND_SET_EXPIRE : h < 84 ? KIND_SET_PERSIST : KIND_DELETE;
}

uint64_t ttl_ms_of(const struct shared *shared, unsigned slot, unsigned key, uint64_t seq)
{
	return 1 + chance(shared, slot, key, seq, 2) % TTL_MAX_MS;
}

/* 8 bytes to 1 MiB, each power of two rarer than the one below. */
size_t size_of(const struct shared *shared, unsigned slot, unsigned key, uint64_t seq)
{
	uint64_t h = chance(shared, slot, key, seq, 3);
	unsigned power = 3 + (unsigned)(h % 8);

	if ((h >> 8) % 8 == 0)
		power += (h >> 16) % 8;
	if ((h >> 24) % 64 == 0)
		power = 16 + (h >> 32) % 5;
	return power >= 20 ? VALUE_MAX : ((size_t)1 << power) + (h >> 40) % ((size_t)1 << power);
}

#define STEP UINT64_C(0x9e3779b97f4a7c15)

static uint64_t tag_of(const struct name *name, uint64_t seq)
{
	uint64_t key;

	memcpy(&key, name, sizeof key);
	return mix(key) << 40 | (seq & ((UINT64_C(1) << 40) - 1));
}

static uint64_t checksum_of(const uint64_t head[3])
{
	return mix(head[0] ^ mix(head[1] ^ mix(head[2])));
}

/* Writes or compares the bytes after the first `done` ones. */
static void pattern_write(uint8_t *bytes, size_t size, size_t done, uint64_t word)
{
	for (; done + 8 <= size; done += 8, word += STEP)
		memcpy(bytes + done, &word, 8);
	memcpy(bytes + done, &word, size - done);
}

static bool pattern_is(const uint8_t *bytes, size_t size, size_t done, uint64_t word)
{
	for (; done + 8 <= size; done += 8, word += STEP)
		if (memcmp(bytes + done, &word, 8) != 0)
			return false;
	return memcmp(bytes + done, &word, size - done) == 0;
}

void value_write(uint8_t *bytes, size_t size, const struct name *name, uint64_t seq, uint64_t writer)
{
	uint64_t head[4] = { tag_of(name, seq), writer, size };
	size_t done = size < sizeof head ? 8 : sizeof head;

	head[3] = checksum_of(head);
	memcpy(bytes, head, done);
	pattern_write(bytes, size, done, mix(done == 8 ? head[0] : head[3]));
}

bool value_read(const uint8_t *bytes, size_t size, const struct name *name, uint64_t *seq, const char **why_not)
{
	uint64_t head[4] = { 0 };
	size_t done = size < sizeof head ? 8 : sizeof head;

	*why_not = "shorter than 8 bytes";
	if (size < 8)
		return false;
	memcpy(head, bytes, done);
	*seq = head[0] & ((UINT64_C(1) << 40) - 1);
	*why_not = "of another key";
	if (head[0] != tag_of(name, *seq))
		return false;
	*why_not = "with a wrong checksum";
	if (done > 8 && head[3] != checksum_of(head))
		return false;
	*why_not = "of another length than it says";
	if (done > 8 && head[2] != size)
		return false;
	*why_not = "with wrong bytes";
	return pattern_is(bytes, size, done, mix(done == 8 ? head[0] : head[3]));
}

/* ---- judging ------------------------------------------------------------------------------ */

static bool accuse(const struct sight *s, const char *what)
{
	violation(s->shared,
	          "slot %u key %u: %s: result %d read seq %lu version %lu ttl %ld; oracle acked %lu..issued %lu void %lu "
	          "present %lu version %lu; gone from %+ld us by %+ld us, read took %lu us",
	          s->slot, s->key, what, s->result, s->seq, s->item.version, (long)s->item.ttl_ms, s->acked, s->issued,
	          s->void_seq, s->state.present, s->state.version,
	          s->state.gone_from_ns == NEVER ? 0 : ((long)s->state.gone_from_ns - (long)s->after_ns) / 1000,
	          s->state.gone_by_ns == NEVER ? 0 : ((long)s->state.gone_by_ns - (long)s->before_ns) / 1000,
	          (s->after_ns - s->before_ns) / 1000);
	return false;
}

/* No operation was under way between the two ends of the look. */
static bool is_still(const struct sight *s)
{
	return s->issued == s->acked || (s->issued == s->void_seq && s->acked < s->void_seq);
}

static bool may_be_gone(const struct sight *s)
{
	return !s->state.present || s->after_ns >= s->state.gone_from_ns;
}

static bool judge_found(const struct sight *s)
{
	if (s->seq < s->acked)
		return accuse(s, "a value older than the last acknowledged one");
	if (s->seq > s->issued)
		return accuse(s, "a value that was never written");
	if (kind_of(s->shared, s->slot, s->key, s->seq) == KIND_DELETE)
		return accuse(s, "a value that only a delete could have");
	if (s->item.size != size_of(s->shared, s->slot, s->key, s->seq))
		return accuse(s, "a value of another length");
	if (s->seq != s->acked && s->seq <= s->void_seq)
		return accuse(s, "a write that had not happened when its writer died");
	if (!is_still(s))
		return true;
	if (s->seq != s->acked)
		return accuse(s, "a value that was not acknowledged");
	if (!s->state.present)
		return accuse(s, "back after it was deleted or expired");
	if (s->before_ns >= s->state.gone_by_ns)
		return accuse(s, "there after its expiry");
	if (s->state.version != 0 && s->item.version != s->state.version)
		return accuse(s, "another version without a write");
	if ((s->item.ttl_ms >= 0) != (s->state.gone_by_ns != NEVER))
		return accuse(s, "an expiry that was not set, or none");
	return true;
}

static bool judge_missing(const struct sight *s)
{
	if (is_still(s))
		return may_be_gone(s) || accuse(s, "lost");
	for (uint64_t n = s->acked; n <= s->issued; n++)
		if (n != s->void_seq && kind_of(s->shared, s->slot, s->key, n) != KIND_SET)
			return true; /* deleted, or expired by now perhaps */
	return may_be_gone(s) || accuse(s, "lost while it was replaced");
}

static bool judge(const struct sight *s)
{
	if (s->result == LTZ_NOT_FOUND)
		return judge_missing(s);
	if (s->result != 0)
		return accuse(s, ltz_strerror(s->result));
	return judge_found(s);
}

/* The oracle is read before and after, so that its two ends enclose the reading. */
static bool take_sight(struct sight *s, ltz_pool *pool, struct shared *shared, unsigned slot, unsigned key, uint8_t *buffer)
{
	struct entry *entry = &shared->slot[slot].entry[key];
	const char *why_not = "";
	struct name name;

	*s = (struct sight){ .shared = shared, .slot = slot, .key = key };
	name_make(&name, KEY_OWN, slot, key);
	s->void_seq = peek(&entry->void_seq);
	s->acked = peek(&entry->acked);
	const struct state *state = &entry->state[s->acked & 1];
	s->state = (struct state){ peek(&state->present), peek(&state->gone_from_ns), peek(&state->gone_by_ns), peek(&state->version) };
	s->before_ns = now_ns();
	const ltz_key k = name_key(&name);
	s->result = ltz_get(pool, &k, buffer, VALUE_MAX, &s->item);
	s->after_ns = now_ns();
	s->issued = peek(&entry->issued);
	if (s->result == 0 && !value_read(buffer, s->item.size, &name, &s->seq, &why_not)) {
		char what[80];

		snprintf(what, sizeof what, "a value of %lu bytes %s", s->item.size, why_not);
		return accuse(s, what);
	}
	return true;
}

bool look(struct sight *s, ltz_pool *pool, struct shared *shared, unsigned slot, unsigned key, uint8_t *buffer)
{
	return take_sight(s, pool, shared, slot, key, buffer) && judge(s);
}

void check_clock(ltz_pool *pool, struct shared *shared, uint64_t incarnation)
{
	uint64_t before_ns, after_ns, ttl_ns;
	struct name name;
	ltz_item item;
	int result;

	name_make(&name, KEY_CLOCK, 0, 0);
	const ltz_key k = name_key(&name);
	before_ns = now_ns();
	result = ltz_get(pool, &k, NULL, 0, &item);
	after_ns = now_ns();
	ttl_ns = result == LTZ_TRUNCATED ? (uint64_t)item.ttl_ms * MS_NS : 0;
	if (after_ns + ttl_ns < shared->clock.gone_from_ns || before_ns + ttl_ns > shared->clock.gone_by_ns)
		violation(shared, "incarnation %lu: its clock is %ld ms behind the pool's (get of the clock's key: %d)", incarnation,
		          ((long)(before_ns + ttl_ns) - (long)shared->clock.gone_from_ns) / (long)MS_NS, result);
}

/* ---- settling ---------------------------------------------------------------------------------- */

static void settle_as_done(const struct sight *s, struct entry *entry)
{
	struct state *state = &entry->state[s->issued & 1];
	bool expires = s->result == 0 && s->item.ttl_ms >= 0;
	uint64_t ttl_ns = expires ? (uint64_t)s->item.ttl_ms * MS_NS : 0;

	put(&state->present, s->result == 0);
	put(&state->version, s->result == 0 ? s->item.version : 0);
	put(&state->gone_from_ns, expires ? s->before_ns + ttl_ns - ROUNDING_NS : NEVER);
	put(&state->gone_by_ns, expires ? s->after_ns + ttl_ns + ROUNDING_NS : NEVER);
	put(&entry->acked, s->issued);
}

static void settle_as_void(const struct sight *s, struct entry *entry)
{
	if (s->result == LTZ_NOT_FOUND)
		put(&entry->state[s->acked & 1].present, 0);
	put(&entry->void_seq, s->issued);
}

bool settle(ltz_pool *pool, struct shared *shared, unsigned slot, unsigned key, uint8_t *buffer)
{
	struct entry *entry = &shared->slot[slot].entry[key];
	struct sight s;

	if (!take_sight(&s, pool, shared, slot, key, buffer))
		return false;
	if (is_still(&s))
		return judge(&s);
	if (!judge(&s))
		return false;
	count(&shared->unsettled, 1);
	enum kind kind = kind_of(shared, slot, key, s.issued);
	if (s.result == 0) {
		if (s.seq == s.issued)
			settle_as_done(&s, entry);
		else if (s.seq == s.acked && s.state.present)
			settle_as_void(&s, entry);
		else
			return accuse(&s, "neither the last acknowledged value nor the one in flight");
	} else if (kind == KIND_DELETE || (kind != KIND_SET && !may_be_gone(&s))) {
		settle_as_done(&s, entry); /* gone by it, or by its expiry */
	} else if (may_be_gone(&s)) {
		settle_as_void(&s, entry);
	} else {
		return accuse(&s, "lost with its writer");
	}
	/* What was seen once is now certain. */
	return look(&s, pool, shared, slot, key, buffer);
}
