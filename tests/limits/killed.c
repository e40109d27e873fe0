/* SPDX-License-Identifier: MIT */
/*
 * killed.c - what a killed member held.
 *
 * A member fills the pool, deletes some of it again and is SIGKILLed. Its values
 * are the pool's and stay; what it held is its memory: every extent must carry
 * a living label, and what it had deleted must come free. Both are counted from
 * the moment when the kernel has let go of the process, which for much memory
 * takes the kernel itself a while. Nobody calls anything meanwhile.
 */
#include "prove.h"

#include <stdio.h>
#include <string.h>

#define FLOOR (8 * MIB) /* an empty pool keeps 4 MiB ready */

struct plan {
	const char *name;
	uint64_t value_bytes, memory; /* what it fills */
	bool large;
};

static struct victim {
	uint64_t keys, filled;
} *victim;

static struct gate start;

static void be_victim(void *context)
{
	static char value[MIB];
	const struct plan *plan = context;
	struct ltz_stats stats = { 0 };
	ltz_pool *pool;

	gate_wait(&start);
	pool = pool_connect();
	memset(value, 'v', sizeof value);
	do {
		for (unsigned i = 0; i < 64; i++, victim->keys++)
			NEED_OK(put(pool, victim->keys, value, plan->value_bytes));
		if (plan->large || victim->keys % 65536 == 0)
			stats = pool_stats(pool);
	} while (stats.used_bytes < plan->memory);
	for (uint64_t key = 0; key < victim->keys; key += 4)
		NEED(drop(pool, key) == 0);
	__atomic_store_n(&victim->filled, 1, __ATOMIC_RELEASE);
	for (;;)
		pause_ns(SECOND_NS);
}

static uint64_t quarter_of_keys(void) { return (victim->keys + 3) / 4; }

/* One in two of what is left: is it what it was? */
static uint64_t wrong_values(ltz_pool *pool, const struct plan *plan)
{
	static char bytes[MIB];
	uint64_t wrong = 0;

	for (uint64_t key = 1; key < victim->keys; key += 2) {
		ltz_item item;

		wrong += fetch(pool, key, bytes, sizeof bytes, &item) != 0 || item.size != plan->value_bytes || bytes[item.size - 1] != 'v';
	}
	return wrong;
}

static void give_back_rest(ltz_pool *pool, const struct plan *plan)
{
	uint64_t start_ns, rest = backed_bytes(pool) / 20;

	NEED(ltz_clear(pool, NULL) == 0);
	start_ns = now_ns();
	NEED(WAIT_UNTIL(backed_bytes(pool) <= (rest < FLOOR ? FLOOR : rest), 2 * PATIENCE_NS));
	row_at_most(SPEED, (double)(now_ns() - start_ns) / 1e9, 10, "s", "%s: a survivor deletes all, memory is given back after", plan->name);
}

static void run_plan(const struct plan *plan)
{
	uint64_t kill_ns, gone_ns, settled_ns, held, free_at_once;
	pid_t child;
	ltz_pool *pool;

	gate_init(&start);
	victim = share(sizeof *victim);
	child = spawn(be_victim, (void *)plan);
	pool = pool_create(0);
	gate_open(&start);
	NEED(WAIT_UNTIL(__atomic_load_n(&victim->filled, __ATOMIC_ACQUIRE), 5 * PATIENCE_NS));
	held = pool_stats(pool).used_bytes;
	free_at_once = plan->large ? held - quarter_of_keys() * plan->value_bytes : held;
	kill_ns = now_ns();
	gone_ns = slay(child);
	NEED(WAIT_UNTIL(pool_stats(pool).recovered_members == 1, 2 * PATIENCE_NS));
	settled_ns = now_ns();
	row_shown((double)held / GIB, "GiB", "%s: the killed member held", plan->name);
	row_shown((double)(gone_ns - kill_ns) / 1e6, "ms", "%s: the kernel needs for its end", plan->name);
	if (plan->large) {
		row_at_most(SPEED, (double)(settled_ns - gone_ns) / 1e6, 200, "ms", "%s: everything has a living owner after", plan->name);
		NEED(WAIT_UNTIL(pool_stats(pool).used_bytes <= free_at_once, PATIENCE_NS));
		row_at_most(SPEED, (double)(now_ns() - gone_ns) / 1e6, 200, "ms", "%s: what it had deleted is free after", plan->name);
	} else {
		row_at_least(SPEED, (double)held / GIB / ((double)(settled_ns - gone_ns) / 1e9), 0.5, "GiB/s",
		             "%s: everything has a living owner after %.2f s", plan->name, (double)(settled_ns - gone_ns) / 1e9);
	}
	row_equal(key_count(pool), victim->keys - quarter_of_keys(), "%s: keys left", plan->name);
	row_equal(wrong_values(pool, plan), 0, "%s: values lost or wrong", plan->name);
	row_equal(findings(pool), 0, "%s: findings of check", plan->name);
	give_back_rest(pool, plan);
	ltz_close(pool);
}

int main(int argc, char **argv)
{
	prove_begin(argc, argv, "killed: what a killed member held");
	run_plan(&(struct plan){ .name = "1 MiB values", .value_bytes = MIB, .memory = prove_quick() ? 128 * MIB : GIB, .large = true });
	run_plan(&(struct plan){ .name = "100 B values", .value_bytes = 100, .memory = prove_quick() ? 64 * MIB : GIB });
	return prove_end();
}
