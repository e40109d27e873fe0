/* SPDX-License-Identifier: MIT */
/*
 * test_model.c - random operations against a dictionary that is nothing but an
 * array. Members take turns, come and go; the table begins with two buckets
 * and changes its size all the time; time is travelled.
 *
 * Expiry cannot be told to the millisecond from outside. So a key whose life
 * ends about now is first brought past its end: every answer is then certain.
 */
#include <errno.h>

#include "../stress/pools.h"
#include "../stress/seconds.h"
#include "store/expiry.h"
#include "sys/sys.h"

#define KEYS    300u
#define MEMBERS 5u
#define LARGEST 300000u
#define ABOUT_NOW_MS 10000u

struct entry { /* what must be there */
	bool present;
	uint8_t type;
	uint32_t size;
	uint64_t filling;              /* its bytes' seed; of a number: its 8 bytes    */
	uint64_t version;              /* 0: not known, after an operation that tells none */
	uint64_t expires_from, expires_to; /* ms of the pool's clock; SHM_NEVER       */
};

static struct {
	struct ltz_mem *member[MEMBERS];
	int fd;
	uint64_t offset_ns; /* the pool's clock is so far ahead of the machine's */
	struct entry entry[KEYS];
	uint8_t key[KEYS][600];
	uint32_t key_size[KEYS];
	uint8_t key_type[KEYS];
	uint64_t random, operations;
	unsigned range;     /* keys below it are worked on */
	uint8_t in[LARGEST], out[LARGEST];
} m;

static uint64_t below(uint64_t limit) { return random_below(&m.random, limit); }
static uint64_t clock_ms(void) { return (ltz__sys_boottime_ns() + m.offset_ns) / 1000000; }

#define AGREE(condition, ...)                                                                                        \
	do {                                                                                                         \
		if (!(condition)) {                                                                                  \
			printf("operation %llu: ", (unsigned long long)m.operations);                                \
			test_fail(TEST_AT(TEST_ASSERT), __VA_ARGS__);                                                \
		}                                                                                                    \
	} while (0)

/* ---- members and time ----------------------------------------------------------------------------- */

static void set_clocks(void)
{
	for (unsigned i = 0; i < MEMBERS; i++)
		if (m.member[i])
			pool_set_ahead(m.member[i], m.offset_ns);
}

static void travel(uint64_t ms)
{
	m.offset_ns += ms * 1000000;
	set_clocks();
}

static struct ltz_mem *some_member(void)
{
	unsigned i = (unsigned)below(MEMBERS);

	while (!m.member[i])
		i = (i + 1) % MEMBERS;
	return m.member[i];
}

static void come_or_go(void)
{
	unsigned i = (unsigned)below(MEMBERS), others = 0;

	for (unsigned k = 0; k < MEMBERS; k++)
		others += k != i && m.member[k];
	if (!m.member[i]) {
		m.member[i] = pool_join(m.fd);
		set_clocks();
	} else if (others) {
		pool_leave(m.member[i]);
		m.member[i] = NULL;
	}
}

/* ---- the dictionary ---------------------------------------------------------------------------------- */

static void fill(uint8_t *bytes, const struct entry *e)
{
	uint64_t state = e->filling;

	if (e->type == LTZ_INT64 || e->type == LTZ_FLOAT64) {
		memcpy(bytes, &e->filling, 8);
		return;
	}
	for (uint32_t i = 0; i < e->size; i++) {
		if (i % 8 == 0)
			state = next_random(&state);
		bytes[i] = (uint8_t)(state >> i % 8 * 8);
	}
}

static void make_keys(void)
{
	static const uint32_t sizes[] = { 0, 1, 2, 3, 8, 15, 16, 17, 40, 64, 65, 600 };

	for (unsigned i = 0; i < KEYS; i++) {
		uint32_t size = sizes[i % 12] < 2 && i >= 84 ? 4 : sizes[i % 12]; /* few keys of no or one byte */

		m.key_type[i] = (uint8_t)(1 + i / 12 % 7);
		m.key_size[i] = size;
		for (uint32_t b = 0; b < size; b++)
			m.key[i][b] = (uint8_t)(b < 2 ? i >> b * 8 : i * 3 + b);
	}
}

static struct ltz_hkey key_at(struct ltz_mem *mem, unsigned i)
{
	struct ltz_hkey key;

	hkey_init(mem, &key, m.key_type[i], m.key[i], m.key_size[i]);
	return key;
}

/* The entry, with its expiry judged; after that its state is certain for a while. */
static struct entry *settled(unsigned i)
{
	struct entry *e = &m.entry[i];
	uint64_t now = clock_ms();

	if (!e->present || e->expires_from == SHM_NEVER || now + ABOUT_NOW_MS < e->expires_from)
		return e;
	if (now <= e->expires_to)
		travel(e->expires_to - now + 1);
	e->present = false;
	return e;
}

static unsigned some_key(struct entry **e)
{
	unsigned i = (unsigned)below(m.range);

	*e = settled(i);
	return i;
}

static uint32_t some_size(void)
{
	switch (below(12)) {
	case 0: return 0;
	case 1: return (uint32_t)below(LARGEST);
	case 2: case 3: return (uint32_t)below(9000);
	default: return (uint32_t)below(200);
	}
}

/* A new value that is no number. */
static struct entry some_value(void)
{
	struct entry e = { .present = true, .type = (uint8_t)(LTZ_TYPE_FREE + below(100)), .size = some_size(), .filling = next_random(&m.random) };

	e.expires_from = e.expires_to = SHM_NEVER;
	return e;
}

static void expect_value(const struct entry *e, const ltz_item *item)
{
	fill(m.in, e);
	AGREE(item->size == e->size && item->type == e->type, "size %llu, type %u instead of %u, %u", (unsigned long long)item->size,
	      item->type, e->size, e->type);
	AGREE(memcmp(m.in, m.out, e->size) == 0, "another value of %u bytes", e->size);
	AGREE(item->version && (!e->version || item->version == e->version), "version %llu instead of %llu",
	      (unsigned long long)item->version, (unsigned long long)e->version);
	if (e->expires_from == SHM_NEVER)
		AGREE(item->ttl_ms == -1, "ttl %lld of a key that stays", (long long)item->ttl_ms);
	else
		AGREE(item->ttl_ms > 0 && (uint64_t)item->ttl_ms <= e->expires_to - clock_ms() + ABOUT_NOW_MS, "ttl %lld",
		      (long long)item->ttl_ms);
}

/* ---- operations: each does the same to both --------------------------------------------------------------- */

static void op_get(struct ltz_mem *mem)
{
	struct entry *e;
	struct ltz_hkey key = key_at(mem, some_key(&e));
	size_t capacity = below(4) && e->present ? e->size : below(LARGEST);
	ltz_item item = { 0 };
	int result = ltz__map_get(mem, &key, m.out, capacity, &item);

	if (!e->present) {
		AGREE(result == LTZ_NOT_FOUND, "get of an absent key: %d", result);
	} else if (e->size > capacity) {
		AGREE(result == LTZ_TRUNCATED && item.size == e->size, "get into a small buffer: %d", result);
	} else {
		AGREE(result == 0, "get: %d", result);
		expect_value(e, &item);
		e->version = item.version;
	}
}

static void op_set(struct ltz_mem *mem)
{
	struct entry *e, new = some_value();
	struct ltz_hkey key = key_at(mem, some_key(&e));
	struct ltz_set_options options = { .flags = (unsigned)(below(2) ? 0 : below(16)) };
	uint64_t before = clock_ms(), version = 0;
	bool refused;
	int result;

	options.ttl_ms = below(3) ? 0 : 20000 + below(200000);
	options.if_version = below(2) ? e->version : below(2) ? 0 : e->version + 1;
	if ((options.flags & LTZ_IF_VERSION) && e->present && !e->version)
		options.flags &= ~(unsigned)LTZ_IF_VERSION; /* we do not know what the answer must be */
	refused = ((options.flags & LTZ_NX) && e->present) || ((options.flags & LTZ_XX) && !e->present) ||
	          ((options.flags & LTZ_IF_VERSION) && options.if_version != (e->present ? e->version : 0));
	fill(m.in, &new);
	result = ltz__map_set(mem, &key, &(ltz_value){ .data = m.in, .size = new.size, .type = new.type }, &options, &version);
	AGREE(result == (refused ? LTZ_REFUSED : 0), "set with flags %x: %d", options.flags, result);
	if (refused)
		return;
	if (options.flags & LTZ_KEEP_TTL) {
		new.expires_from = e->present ? e->expires_from : SHM_NEVER;
		new.expires_to = e->present ? e->expires_to : SHM_NEVER;
	} else if (options.ttl_ms) {
		new.expires_from = before + options.ttl_ms;
		new.expires_to = clock_ms() + options.ttl_ms + 1;
	}
	new.version = version;
	*e = new;
}

static void op_delete(struct ltz_mem *mem)
{
	struct entry *e;
	struct ltz_hkey key = key_at(mem, some_key(&e));
	uint64_t if_version = below(3) || !e->version ? 0 : e->version + below(2);
	int result = ltz__map_delete(mem, &key, if_version);
	bool refused = e->present && if_version && if_version != e->version;

	AGREE(result == (!e->present ? LTZ_NOT_FOUND : refused ? LTZ_REFUSED : 0), "delete: %d", result);
	if (result == 0)
		e->present = false;
}

static void op_pop(struct ltz_mem *mem)
{
	struct entry *e;
	struct ltz_hkey key = key_at(mem, some_key(&e));
	size_t capacity = below(3) ? LARGEST : below(300);
	ltz_item item = { 0 };
	int result = ltz__map_pop(mem, &key, m.out, capacity, &item);

	AGREE(result == (!e->present ? LTZ_NOT_FOUND : e->size > capacity ? LTZ_TRUNCATED : 0), "pop: %d", result);
	if (result != 0)
		return;
	expect_value(e, &item);
	e->present = false;
}

static ltz_number some_number(void)
{
	static const int64_t integers[] = { 0, 1, -1, 1000000007, INT64_MAX, INT64_MIN, INT64_MAX / 2 };

	if (below(4) == 0)
		return (ltz_number){ .type = LTZ_FLOAT64, .as.f64 = (double)below(1000) / 8 };
	return (ltz_number){ .type = LTZ_INT64, .as.i64 = below(3) ? (int64_t)below(100) - 50 : integers[below(7)] };
}

static double as_double(ltz_number n) { return n.type == LTZ_FLOAT64 ? n.as.f64 : (double)n.as.i64; }

static void op_add(struct ltz_mem *mem)
{
	struct entry *e;
	struct ltz_hkey key = key_at(mem, some_key(&e));
	ltz_number by = some_number(), initial = some_number(), present = initial, sum = { 0 }, want = { 0 };
	int result = ltz__map_add(mem, &key, by, initial, &sum, NULL), expected = 0;

	if (e->present) {
		present.type = e->type;
		memcpy(&present.as, &e->filling, 8);
	}
	want.type = present.type == LTZ_FLOAT64 || by.type == LTZ_FLOAT64 ? LTZ_FLOAT64 : LTZ_INT64;
	if (e->present && e->type != LTZ_INT64 && e->type != LTZ_FLOAT64)
		expected = LTZ_MISMATCH;
	else if (want.type == LTZ_FLOAT64)
		want.as.f64 = as_double(present) + as_double(by);
	else if (__builtin_add_overflow(present.as.i64, by.as.i64, &want.as.i64))
		expected = LTZ_OVERFLOW;
	AGREE(result == expected, "add: %d instead of %d", result, expected);
	if (result != 0)
		return;
	AGREE(sum.type == want.type && memcmp(&sum.as, &want.as, 8) == 0, "add: another sum");
	if (!e->present)
		e->expires_from = e->expires_to = SHM_NEVER;
	e->present = true;
	e->type = sum.type;
	e->size = 8;
	e->version = 0;
	memcpy(&e->filling, &sum.as, 8);
}

static void op_expire(struct ltz_mem *mem)
{
	struct entry *e;
	struct ltz_hkey key = key_at(mem, some_key(&e));
	uint64_t ttl = below(2) ? 0 : 20000 + below(200000), before = clock_ms();
	int result = ltz__map_expire(mem, &key, ttl);

	AGREE(result == (e->present ? 0 : LTZ_NOT_FOUND), "expire: %d", result);
	if (result != 0)
		return;
	e->expires_from = ttl ? before + ttl : SHM_NEVER;
	e->expires_to = ttl ? clock_ms() + ttl + 1 : SHM_NEVER;
	e->version = 0;
}

/* ---- looking at all of it ------------------------------------------------------------------------------------ */

static uint64_t settle_all(void)
{
	uint64_t count, offset;

	do { /* settling one may travel past another's end */
		offset = m.offset_ns;
		count = 0;
		for (unsigned i = 0; i < KEYS; i++)
			count += settled(i)->present;
	} while (offset != m.offset_ns);
	return count;
}

static unsigned number_of(const struct ltz_scan_entry *entry, const uint8_t *bytes)
{
	unsigned i = 0;

	while (i < KEYS && (m.key_type[i] != entry->type || m.key_size[i] != entry->size || memcmp(m.key[i], bytes, entry->size)))
		i++;
	AGREE(i < KEYS, "a scan gives a key that nobody made");
	return i;
}

static void op_scan(struct ltz_mem *mem)
{
	static uint8_t buf[LTZ_SCAN_BUFFER];
	unsigned seen[KEYS] = { 0 };
	uint64_t cursor = 0, present = settle_all(), found = 0;

	do {
		size_t used = 0, count = 1 + below(50);
		int result = ltz__map_scan(mem, &cursor, count, NULL, buf, sizeof(buf), &used);

		AGREE(result == 0, "scan: %d", result);
		for (size_t at = 0; at < used;) {
			struct ltz_scan_entry entry;
			unsigned i;

			memcpy(&entry, buf + at, sizeof(entry));
			i = number_of(&entry, buf + at + sizeof(entry));
			AGREE(m.entry[i].present && ++seen[i] == 1, "scan: key %u, present %d, %u times", i, m.entry[i].present, seen[i]);
			AGREE(!m.entry[i].version || m.entry[i].version == entry.version, "scan: another version of key %u", i);
			found++;
			at += (sizeof(entry) + entry.size + 7) & ~(size_t)7;
		}
		if (below(20) == 0)
			ltz__tick(some_member()); /* may resize */
	} while (cursor);
	AGREE(found == present, "scan: %llu keys instead of %llu", (unsigned long long)found, (unsigned long long)present);
}

static void op_count(struct ltz_mem *mem)
{
	uint64_t present = settle_all(), next, count;

	ltz__sweep(mem, &mem->lane[LANE_SERVICE], true, &next);
	count = ltz__map_count(mem);
	AGREE(count == present, "count: %llu instead of %llu", (unsigned long long)count, (unsigned long long)present);
}

static void op_clear(struct ltz_mem *mem)
{
	uint64_t present = settle_all(), removed = 0;

	AGREE(ltz__map_clear(mem, &removed) == 0, "clear");
	AGREE(removed == present, "clear: %llu instead of %llu", (unsigned long long)removed, (unsigned long long)present);
	for (unsigned i = 0; i < KEYS; i++)
		m.entry[i].present = false;
}

static void check_pool(struct ltz_mem *mem)
{
	struct pool_findings f = pool_check(mem);

	AGREE(f.count == 0, "check reports %u:\n%s", f.count, f.text);
}

static void op_rare(struct ltz_mem *mem)
{
	switch (below(40)) {
	case 0: op_clear(mem); break;
	case 1: case 2: check_pool(mem); break;
	case 3: case 4: op_count(mem); break;
	case 5: case 6: case 7: op_scan(mem); break;
	case 8: ltz__adopt_dead(mem); break;
	case 9: case 10: case 11: come_or_go(); break;
	case 12: case 13: m.range = (unsigned[]){ 4, 30, KEYS }[below(3)]; break;
	case 14: case 15: travel(below(100) * 1000); break;
	case 16: travel(100); break;
	default:
		travel(below(3) ? 100 : 1000);
		for (unsigned i = 0; i < MEMBERS; i++)
			for (unsigned k = 0; m.member[i] && k < 8 && ltz__tick(m.member[i]) == 0; k++)
				;
		break;
	}
}

static void operate(void)
{
	struct ltz_mem *mem = some_member();

	m.operations++;
	switch (below(12)) {
	case 0: case 1: case 2: op_get(mem); break;
	case 3: case 4: case 5: op_set(mem); break;
	case 6: op_delete(mem); break;
	case 7: op_pop(mem); break;
	case 8: op_add(mem); break;
	case 9: op_expire(mem); break;
	case 10: if (below(4) == 0) op_rare(mem); break;
	default: op_get(mem); break;
	}
}

static void agree_in(uint32_t kind)
{
	uint64_t end = end_of_run(3), seed = seed_of_run(), resizes;

	pool_kind = kind;
	m.random = seed;
	m.range = 30;
	m.offset_ns = 1000 * SECOND_NS;
	m.fd = pool_make(128 * MIB, 1);
	make_keys();
	for (unsigned i = 0; i < 2; i++)
		m.member[i] = pool_join(m.fd);
	set_clocks();
	while (monotonic_ms() < end)
		for (unsigned i = 0; i < 200; i++)
			operate();
	resizes = load_relaxed(&some_member()->header->resizes);
	printf("%llu operations, %llu resizes, %llu adopted\n", (unsigned long long)m.operations, (unsigned long long)resizes,
	       (unsigned long long)load_relaxed(&some_member()->header->recovered));
	op_scan(some_member());
	op_count(some_member());
	ltz__adopt_dead(some_member());
	check_pool(some_member());
	AGREE(resizes > 0 && m.operations >= 200, "nothing happened");
	op_clear(some_member());
	for (unsigned round = 0; round < 6; round++) { /* everything back */
		travel(3000);
		for (unsigned i = 0; i < MEMBERS; i++)
			if (m.member[i])
				ltz__tick(m.member[i]);
	}
	check_pool(some_member());
	EXPECT_EQ_U64(pool_counts(some_member()).slab + pool_counts(some_member()).run, 0);
}

TEST_WITH_LIMIT(random_operations_agree_with_a_dictionary, 3600) { agree_in(0); }
TEST_WITH_LIMIT(in_a_locked_pool_too, 3600) { agree_in(LTZ_AUTH); }
TEST_WITH_LIMIT(in_an_encrypted_pool_too, 3600) { agree_in(LTZ_AUTH | LTZ_ENCRYPTION); }
