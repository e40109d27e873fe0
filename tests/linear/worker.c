/* SPDX-License-Identifier: MIT */
/*
 * worker.c - the processes that work on the pool. They may be killed or stopped
 * at any instruction.
 *
 * - Every value ever written is one of a kind: 62 random bits. A value of type
 *   LTZ_BYTES is made from its number alone, so a reader knows all its bytes.
 * - The log entry is complete before its call ticket says that it exists, and
 *   its result before its end ticket.
 */
#include "linear.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <latzero.h>

#define VALUE_MAX  (72 * 1024)
#define CHURN_KEYS 6000
#define ORPHAN_NS  60000000000u
#define SETTLE_NS  20000000000u

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t mix(uint64_t z) /* splitmix64 */
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void fail(struct shared *shared, const char *format, ...)
{
	char line[256];
	va_list arguments;

	va_start(arguments, format);
	int length = vsnprintf(line, sizeof line - 1, format, arguments);
	va_end(arguments);
	if (length > (int)sizeof line - 2)
		length = sizeof line - 2;
	line[length++] = '\n';
	__atomic_fetch_add(&shared->failures, 1, __ATOMIC_SEQ_CST);
	if (write(STDOUT_FILENO, line, (size_t)length) < 0)
		_exit(3);
}

/* ---- of one process --------------------------------------------------------------- */

struct self {
	struct shared *shared;
	ltz_pool *pool;
	struct log *log;
	unsigned client;
	uint64_t random;
	uint64_t seen[HOT_KEYS]; /* the last version seen of each key; 0: none */
	uint8_t buffer[VALUE_MAX];
};

static uint64_t draw(struct self *self)
{
	return self->random = mix(self->random);
}

static ltz_key hot_key(const uint8_t *number)
{
	return (ltz_key){ .data = number, .size = 1, .type = LTZ_KEY_INT };
}

static size_t bytes_of(int64_t number)
{
	uint64_t h = mix((uint64_t)number);

	return 8 + (h & 63 ? (h >> 8) % 1500 : 65536 + (h >> 8) % 4096);
}

static void spell(int64_t number, uint8_t *bytes, size_t size)
{
	uint64_t word = (uint64_t)number;

	for (size_t i = 0; i < size; i += 8, word += 0x9e3779b97f4a7c15u)
		memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
}

/* The number that these bytes spell; false: they are nobody's value. */
static bool unspell(const uint8_t *bytes, size_t size, int64_t *number)
{
	uint64_t word;

	if (size < 8)
		return false;
	memcpy(number, bytes, 8);
	word = (uint64_t)*number;
	if (size != bytes_of(*number))
		return false;
	for (size_t i = 0; i < size; i += 8, word += 0x9e3779b97f4a7c15u)
		if (memcmp(bytes + i, &word, size - i < 8 ? size - i : 8) != 0)
			return false;
	return true;
}

/* ---- one operation ----------------------------------------------------------------------- */

static void note_value(struct self *self, struct history_op *op, const ltz_item *item)
{
	op->version = item->version;
	op->got_type = item->type;
	if (item->type == LTZ_INT64 && item->size == 8)
		memcpy(&op->got, self->buffer, 8);
	else if (item->type != LTZ_BYTES || !unspell(self->buffer, item->size, &op->got))
		op->got_type = TYPE_TORN;
	self->seen[op->key] = item->version;
}

static void choose_condition(struct self *self, struct history_op *op)
{
	uint64_t h = draw(self);

	switch (h % 6) {
	case 0:
		op->flags = LTZ_NX;
		break;
	case 1:
		op->flags = LTZ_XX;
		break;
	case 2:
	case 3:
		op->flags = LTZ_IF_VERSION;
		op->extra = (h >> 8) % 8 ? self->seen[op->key] : 0;
		break;
	default:
		break;
	}
}

/* What to do next. Even keys are mostly numbers that are added to, odd ones mostly replaced. */
static void choose(struct self *self, struct history_op *op)
{
	static const uint8_t likes[2][16] = {
		{ DO_ADD, DO_ADD, DO_ADD, DO_ADD, DO_ADD, DO_ADD, DO_GET, DO_GET,
		  DO_GET, DO_GET, DO_LOOK, DO_DELETE, DO_POP, DO_SET, DO_SET, DO_ADD },
		{ DO_SET, DO_SET, DO_SET, DO_SET, DO_SET, DO_SET, DO_GET, DO_GET,
		  DO_GET, DO_GET, DO_LOOK, DO_DELETE, DO_DELETE, DO_POP, DO_SET, DO_ADD },
	};
	uint64_t h = draw(self);

	memset(op, 0, sizeof *op);
	op->client = self->client;
	op->key = (uint8_t)(h & 1 ? (h >> 1) % 2 : (h >> 1) % HOT_KEYS);
	op->kind = likes[op->key & 1][(h >> 8) % 16];
	switch (op->kind) {
	case DO_SET:
		op->arg = (int64_t)(draw(self) >> 2);
		op->arg_type = (h >> 16) % 8 < (op->key & 1 ? 6 : 1) ? LTZ_BYTES : LTZ_INT64;
		choose_condition(self, op);
		break;
	case DO_DELETE:
		op->extra = (h >> 16) % 2 ? self->seen[op->key] : 0;
		break;
	case DO_ADD:
		op->arg = (int64_t)(draw(self) >> 16);
		op->extra = draw(self) >> 16;
		break;
	default:
		break;
	}
}

static int do_set(struct self *self, const ltz_key *key, struct history_op *op)
{
	struct ltz_set_options options = { .flags = op->flags, .if_version = op->extra };
	ltz_value value = { .data = &op->arg, .size = 8, .type = op->arg_type };

	if (op->arg_type == LTZ_BYTES) {
		value.data = self->buffer;
		value.size = bytes_of(op->arg);
	}
	int result = ltz_set(self->pool, key, &value, op->flags ? &options : NULL, &op->version);
	if (result == 0)
		self->seen[op->key] = op->version;
	return result;
}

static int perform(struct self *self, struct history_op *op)
{
	const ltz_key key = hot_key(&op->key);
	const ltz_number by = { .type = LTZ_INT64, .as.i64 = op->arg };
	const ltz_number initial = { .type = LTZ_INT64, .as.i64 = (int64_t)op->extra };
	ltz_number sum;
	ltz_item item;
	int result;

	switch (op->kind) {
	case DO_GET:
	case DO_POP:
		result = (op->kind == DO_GET ? ltz_get : ltz_pop)(self->pool, &key, self->buffer, VALUE_MAX, &item);
		if (result == 0)
			note_value(self, op, &item);
		return result;
	case DO_LOOK:
		result = ltz_get(self->pool, &key, NULL, 0, &item);
		if (result == LTZ_TRUNCATED)
			op->version = item.version;
		return result;
	case DO_SET:
		return do_set(self, &key, op);
	case DO_DELETE:
		return ltz_delete(self->pool, &key, op->extra);
	default:
		result = ltz_add(self->pool, &key, by, initial, &sum, NULL);
		if (result == 0) {
			op->got = sum.as.i64;
			op->got_type = sum.type;
		}
		return result;
	}
}

static uint64_t take_ticket(struct shared *shared)
{
	return __atomic_add_fetch(&shared->ticket, 1, __ATOMIC_SEQ_CST);
}

static void operate(struct self *self)
{
	struct history_op *op = &self->log->op[self->log->count];

	choose(self, op);
	if (op->kind == DO_SET && op->arg_type == LTZ_BYTES)
		spell(op->arg, self->buffer, bytes_of(op->arg));
	/* In this order: a killed process' entry counts if it has a call ticket. */
	__atomic_store_n(&self->log->count, self->log->count + 1, __ATOMIC_SEQ_CST);
	__atomic_store_n(&op->call, take_ticket(self->shared), __ATOMIC_SEQ_CST);
	op->result = perform(self, op);
	__atomic_store_n(&op->end, take_ticket(self->shared), __ATOMIC_SEQ_CST);
	if (op->result < 0)
		fail(self->shared, "client %u: operation %u on key %u: %s", self->client, op->kind, op->key,
		     ltz_strerror(op->result));
}

/* ---- processes ------------------------------------------------------------------------------ */

static bool is_over(const struct shared *shared)
{
	if (__atomic_load_n(&shared->ticket, __ATOMIC_RELAXED) >= __atomic_load_n(&shared->limit, __ATOMIC_RELAXED))
		return true;
	return now_ns() > __atomic_load_n(&shared->beat_ns, __ATOMIC_RELAXED) + ORPHAN_NS;
}

static bool join(const struct site *site, unsigned client, struct self *self)
{
	struct ltz_open_options options = { .dir = site->dir, .timeout_ms = 20000 };
	int result;

	self->shared = site->shared;
	self->client = client;
	self->random = mix(site->seed + client);
	self->log = &site->shared->log[client];
	result = ltz_connect(POOL_NAME, &options, &self->pool);
	if (result != 0)
		fail(site->shared, "client %u cannot join: %s: %s", client, ltz_strerror(result), ltz_error_detail());
	return result == 0;
}

int run_worker(const struct site *site, unsigned client)
{
	static struct self self;

	if (!join(site, client, &self))
		return 1;
	while (!is_over(site->shared) && self.log->count < LOG_OPS)
		operate(&self);
	ltz_close(self.pool);
	return 0;
}

int run_churner(const struct site *site, unsigned client)
{
	static struct self self;

	if (!join(site, client, &self))
		return 1;
	for (uint32_t i = 0; !is_over(site->shared); i++) {
		uint32_t name[2] = { client, i % CHURN_KEYS };
		const ltz_key key = { .data = name, .size = sizeof name, .type = LTZ_KEY_BYTES };
		const ltz_value value = { .data = &i, .size = sizeof i, .type = LTZ_BYTES };
		int result;

		if (i / CHURN_KEYS % 2 == 0)
			result = ltz_set(self.pool, &key, &value, NULL, NULL);
		else
			result = ltz_delete(self.pool, &key, 0);
		if (result != 0)
			fail(site->shared, "churner %u: step %u: %s", client, i, ltz_strerror(result));
	}
	ltz_close(self.pool);
	return 0;
}

static void report_breach(void *context, const char *line)
{
	fail(context, "ltz_check: %s", line);
}

/* The check is exact only when nothing is left to do for the dead. */
static void await_settlement(struct shared *shared, ltz_pool *pool)
{
	uint64_t deadline_ns = now_ns() + SETTLE_NS;
	struct ltz_stats stats;

	while (ltz_get_stats(pool, &stats) == 0 && stats.members > 1) {
		if (now_ns() > deadline_ns) {
			fail(shared, "keeper: %u members, all but one of which are dead", stats.members);
			return;
		}
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL); /* tidy-ok: polls with a deadline */
	}
}

/* The churners' keys stay: the pool keeps growing over its rounds, as the index should. */
static void end_round(struct shared *shared, ltz_pool *pool)
{
	struct ltz_stats stats;
	int result;

	for (uint8_t k = 0; k < HOT_KEYS; k++) {
		const ltz_key key = hot_key(&k);

		result = ltz_delete(pool, &key, 0);
		if (result != 0 && result != LTZ_NOT_FOUND)
			fail(shared, "keeper: delete: %s", ltz_strerror(result));
	}
	await_settlement(shared, pool);
	result = ltz_check(pool, report_breach, shared);
	if (result == 0)
		result = ltz_get_stats(pool, &stats);
	if (result == 0)
		shared->resizes = stats.resizes;
	else
		fail(shared, "keeper: check or statistics: %s", ltz_strerror(result));
}

int run_keeper(const struct site *site, int orders, int answers)
{
	struct ltz_open_options options = { .dir = site->dir, .timeout_ms = 20000 };
	ltz_pool *pool;
	int result = ltz_create(POOL_NAME, &options, &pool);
	char byte = 0;

	if (result != 0) {
		fail(site->shared, "cannot make the pool: %s: %s", ltz_strerror(result), ltz_error_detail());
		return 1;
	}
	while (write(answers, &byte, 1) == 1 && read(orders, &byte, 1) == 1)
		end_round(site->shared, pool);
	ltz_close(pool);
	return 0;
}
