/* SPDX-License-Identifier: MIT */
/* test_member.c - rows: taken by one member each, cleared for the next, and proof of death. */
#include "shm/member.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include "../stress/pools.h"
#include "base/error.h"
#include "sys/sys.h"

TEST(members_take_rows_in_order)
{
	int fd = pool_make(2 * MIB, 0);

	for (unsigned i = 0; i < 5; i++) {
		struct ltz_mem *mem = bare_join(fd);

		EXPECT_EQ_U64(mem->row_index, i);
		EXPECT_TRUE(mem->row == &mem->rows[i]);
		EXPECT_EQ_U64(load_acquire(&mem->row->word), row_word(1, 1));
		EXPECT_EQ_U64(ltz__rows_high(mem), i + 1);
	}
}

TEST(a_row_says_who_is_in_it)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	char program[32] = "";
	int64_t age = ltz__sys_unix_ms() - (int64_t)mem->row->joined_ms;

	ltz__sys_program_name(program, sizeof(program));
	EXPECT_EQ_U64(mem->row->pid_uid, (uint64_t)getpid() | (uint64_t)geteuid() << 32);
	EXPECT_STR(mem->row->program, program);
	EXPECT_TRUE(age >= 0 && age < 60000);
	EXPECT_TRUE(mem->row->heartbeat_ms >= mem->row->joined_ms);
	EXPECT_EQ_U64(mem->row->lanes_used, 1); /* the service thread's */
}

TEST(the_next_member_of_a_row_starts_clean_in_a_new_generation)
{
	struct ltz_mem *survivor = pool_new(2 * MIB, 0), *other = pool_join_again(survivor);
	struct shm_row *row = &survivor->rows[1];

	store_release(&row->lane[3].hw, 77);
	store_release(&row->lane[15].hr, 78);
	store_release(&row->lane[0].th, 79);
	store_release(&row->view[63], 80);
	store_relaxed(&row->hits, 81);
	store_relaxed(&row->deletes, 82);
	pool_leave(other);
	EXPECT_EQ_U64(ltz__adopt_dead(survivor), 1);
	EXPECT_EQ_U64(load_acquire(&row->word), row_word(1, 0));
	other = pool_join_again(survivor);
	EXPECT_EQ_U64(other->row_index, 1);
	EXPECT_EQ_U64(other->generation, 2);
	EXPECT_EQ_U64(load_acquire(&row->word), row_word(2, 1));
	EXPECT_EQ_U64(row->lane[3].hw | row->lane[15].hr | row->view[63] | row->hits | row->deletes, 0);
	EXPECT_EQ_U64(label_generation(other->lane[4].label), 2);
	EXPECT_EQ_U64(label_row(other->lane[4].label), 1);
	EXPECT_EQ_U64(label_lane(other->lane[4].label), 4);
}

TEST(a_row_that_is_up_is_not_taken_though_its_member_is_dead)
{
	struct ltz_mem *survivor = bare_new(2 * MIB), *dead = bare_join(ltz__mem_fd(survivor)), *next;

	bare_leave(dead);
	next = bare_join(ltz__mem_fd(survivor));
	EXPECT_EQ_U64(next->row_index, 2);
}

TEST(a_row_whose_lock_is_held_is_not_taken)
{
	struct ltz_mem *first = bare_new(2 * MIB), *next;
	int holder = ltz__sys_reopen(ltz__mem_fd(first));

	ASSERT_OK(holder);
	ASSERT_EQ_INT(ltz__sys_lock_take(holder, 1), 0);
	next = bare_join(ltz__mem_fd(first));
	EXPECT_EQ_U64(next->row_index, 2);
	EXPECT_EQ_U64(load_acquire(&first->rows[1].word), 0);
	close(holder);
}

TEST(a_row_whose_generations_are_used_up_is_left_alone)
{
	struct ltz_mem *first = bare_new(2 * MIB), *next;

	store_release(&first->rows[1].word, row_word(GENERATION_MAX, 0));
	next = bare_join(ltz__mem_fd(first));
	EXPECT_EQ_U64(next->row_index, 2);
	EXPECT_EQ_INT(ltz__sys_lock_held(first->fd, 1), 0); /* the lock was given back */
	EXPECT_EQ_U64(load_acquire(&first->rows[1].word), row_word(GENERATION_MAX, 0));
}

TEST(the_last_generation_is_still_used)
{
	struct ltz_mem *first = bare_new(2 * MIB), *next;

	store_release(&first->rows[1].word, row_word(GENERATION_MAX - 1, 0));
	next = bare_join(ltz__mem_fd(first));
	EXPECT_EQ_U64(next->row_index, 1);
	EXPECT_EQ_U64(next->generation, GENERATION_MAX);
	EXPECT_EQ_U64(label_generation(next->lane[15].label), GENERATION_MAX);
	EXPECT_EQ_U64(label_row(next->lane[15].label), 1);
}

TEST(a_pool_without_a_free_row_refuses)
{
	struct ltz_mem *first = bare_new(2 * MIB), *next = NULL;
	struct ltz_mem_options options = { 0 };

	for (unsigned r = 1; r < SHM_ROWS; r++)
		store_release(&first->rows[r].word, row_word(1, 1));
	store_release(&first->members->rows_high, SHM_ROWS);
	EXPECT_EQ_INT(ltz__mem_attach(ltz__mem_fd(first), &options, &next), -EBUSY);
	EXPECT_TRUE(next == NULL);
	EXPECT_CONTAINS(ltz__strerror(-EBUSY), "member");
	store_release(&first->rows[SHM_ROWS - 1].word, row_word(1, 0));
	next = bare_join(ltz__mem_fd(first));
	EXPECT_EQ_U64(next->row_index, SHM_ROWS - 1);
}

TEST(a_damaged_row_count_stays_inside)
{
	struct ltz_mem *mem = bare_new(2 * MIB);

	store_release(&mem->members->rows_high, UINT64_MAX);
	EXPECT_EQ_U64(ltz__rows_high(mem), SHM_ROWS);
}

/* ---- dead or alive -------------------------------------------------------------------------- */

TEST(who_lives_is_not_dead_and_oneself_never_is)
{
	struct ltz_mem *mem = bare_new(2 * MIB), *other = bare_join(ltz__mem_fd(mem));
	uint64_t word;

	EXPECT_TRUE(!ltz__member_dead(mem, 0, &word));
	EXPECT_EQ_U64(word, row_word(1, 1));
	EXPECT_TRUE(!ltz__member_dead(mem, 1, &word));
	EXPECT_TRUE(!ltz__member_dead(other, 0, &word));
	EXPECT_TRUE(!ltz__member_dead(mem, 2, &word)); /* an empty row is no death */
	EXPECT_EQ_U64(word, 0);
}

TEST(who_left_is_dead)
{
	struct ltz_mem *mem = bare_new(2 * MIB), *other = bare_join(ltz__mem_fd(mem));
	uint64_t word = 0;

	bare_leave(other);
	EXPECT_TRUE(ltz__member_dead(mem, 1, &word));
	EXPECT_EQ_U64(word, row_word(1, 1));
}

static struct test_gate joined, never;

static void join_and_stay(void *context)
{
	bare_join(*(int *)context);
	test_gate_open(&joined);
	test_gate_wait(&never);
}

TEST(a_process_is_dead_once_it_was_killed_and_not_before)
{
	int fd = pool_make(2 * MIB, 0);
	struct ltz_mem *mem;
	uint64_t word = 0;
	pid_t child;

	test_gate_init(&joined);
	test_gate_init(&never);
	child = test_fork(join_and_stay, &fd);
	test_gate_wait(&joined);
	mem = bare_join(fd);
	EXPECT_EQ_U64(mem->row_index, 1);
	EXPECT_TRUE(!ltz__member_dead(mem, 0, &word));
	kill(child, SIGSTOP); /* stopped is not dead */
	EXPECT_TRUE(!ltz__member_dead(mem, 0, &word));
	test_kill(child);
	EXPECT_TRUE(ltz__member_dead(mem, 0, &word));
}

#define JOINERS 8
static int race_fd;

static void *join_in_race(void *context)
{
	(void)context;
	return bare_join(race_fd);
}

TEST(members_that_join_at_once_get_a_row_each)
{
	pthread_t thread[JOINERS];
	bool taken[JOINERS] = { false };

	race_fd = pool_make(2 * MIB, 0);
	for (unsigned i = 0; i < JOINERS; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, join_in_race, NULL), 0);
	for (unsigned i = 0; i < JOINERS; i++) {
		void *result = NULL;
		struct ltz_mem *mem;

		ASSERT_EQ_INT(pthread_join(thread[i], &result), 0);
		mem = result;
		ASSERT_TRUE(mem->row_index < JOINERS);
		EXPECT_TRUE(!taken[mem->row_index]);
		taken[mem->row_index] = true;
		EXPECT_EQ_U64(mem->generation, 1);
	}
}

/*
 * What everything else rests on, with words of the test: a hazard is stored,
 * then a slot looked at; a slot is changed, then hazards are looked at. Never
 * may both miss the other's store.
 */
#define ROUNDS 60000u

static struct {
	uint64_t hazard, pad0[7], unlinked, pad1[7], arrived, pad2[7];
} litmus __attribute__((aligned(64)));
static uint8_t saw_link[ROUNDS], saw_no_hazard[ROUNDS], far_away[ROUNDS * 512u];
static struct ltz_mem *litmus_mem;

static void meet(uint64_t times)
{
	__atomic_fetch_add(&litmus.arrived, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 1; load_acquire(&litmus.arrived) < times; i++)
		if (i % 4096 == 0)
			sched_yield();
}

/* One side a little later than the other, each time by another bit. */
static void come_late(uint64_t steps)
{
	for (uint64_t i = 0; i < steps; i++)
		fence_compiler();
}

static void *announce_hazards(void *context)
{
	(void)context;
	for (uint64_t i = 0; i < ROUNDS; i++) {
		meet(2 * (i + 1));
		come_late(i % 61);
		far_away[i * 40503 % ROUNDS * 512] = 1; /* stores wait for each other: the hazard's is not seen before this one is */
		store_release(&litmus.hazard, i + 1);
		fence_hazard(litmus_mem);
		saw_link[i] = load_acquire(&litmus.unlinked) != i + 1;
	}
	return NULL;
}

static void expect_no_miss(bool fences)
{
	unsigned misses = 0;
	pthread_t thread;

	litmus_mem = bare_new(2 * MIB);
	litmus_mem->fences = fences;
	ASSERT_EQ_INT(pthread_create(&thread, NULL, announce_hazards, NULL), 0);
	for (uint64_t i = 0; i < ROUNDS; i++) {
		meet(2 * (i + 1));
		come_late(i % 199);
		store_release(&litmus.unlinked, i + 1);
		ASSERT_EQ_INT(ltz__members_barrier(litmus_mem), 0);
		saw_no_hazard[i] = load_acquire(&litmus.hazard) != i + 1;
	}
	ASSERT_EQ_INT(pthread_join(thread, NULL), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		misses += saw_link[i] && saw_no_hazard[i];
	EXPECT_EQ_U64(misses, 0);
}

TEST_WITH_LIMIT(a_hazard_and_its_scan_never_both_miss_the_other, 200) { expect_no_miss(false); }
TEST_WITH_LIMIT(a_hazard_and_its_scan_miss_nothing_where_the_kernel_has_no_barrier, 200) { expect_no_miss(true); }
