/* SPDX-License-Identifier: MIT */
/* test_granule.c - owner words: taken whole or not at all, given back, and the memory behind them. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "../stress/pools.h"
#include "sys/fault.h"
#include "sys/sys.h"

static struct ltz_lane *lane_of(struct ltz_mem *mem) { return &mem->lane[LANE_SERVICE]; }
static uint64_t kind_at(struct ltz_mem *mem, uint64_t g) { return owner_kind(owner_load(mem, g)); }

static int64_t claim(struct ltz_mem *mem, unsigned n) { return ltz__granules_claim(mem, lane_of(mem), n); }
static void release(struct ltz_mem *mem, int64_t head, unsigned n)
{
	ltz__granules_release(mem, lane_of(mem), (uint64_t)head, n);
}

TEST(a_claim_is_a_labelled_head_and_its_parts)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	int64_t head = claim(mem, 5);
	uint64_t word;

	ASSERT_OK(head);
	word = owner_load(mem, (uint64_t)head);
	EXPECT_EQ_U64(word, owner_make(OWNER_CLAIM, lane_of(mem)->label, 5));
	EXPECT_EQ_U64(label_row(word), mem->row_index);
	EXPECT_EQ_U64(label_generation(word), mem->generation);
	EXPECT_EQ_U64(owner_low(word), 5);
	for (uint64_t i = 1; i < 5; i++)
		EXPECT_EQ_U64(owner_load(mem, (uint64_t)head + i), owner_part((uint64_t)head));
	EXPECT_EQ_U64(pool_counts(mem).claimed, 5);
}

TEST(a_claim_has_memory_behind_it)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t before = pool_backed_bytes(mem);
	int64_t head = claim(mem, 20);

	ASSERT_OK(head);
	EXPECT_TRUE(pool_backed_bytes(mem) >= before + 20 * SHM_GRANULE);
	memset(at_granule(mem, (uint64_t)head), 0xff, 20 * SHM_GRANULE);
}

TEST(claims_never_overlap)
{
	struct ltz_mem *mem = bare_new(8 * MIB); /* 128 granules */
	uint8_t taken[128] = { 0 };

	for (unsigned n = 1; n <= 12; n++) {
		int64_t head = claim(mem, n);

		ASSERT_OK(head);
		for (unsigned i = 0; i < n; i++) {
			ASSERT_TRUE((uint64_t)head + i < 128);
			EXPECT_EQ_U64(taken[head + i]++, 0);
		}
	}
}

TEST(forming_makes_an_extent_and_release_makes_it_free)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	int64_t head = claim(mem, 3);
	struct ltz_granule_counts counts;

	ASSERT_OK(head);
	ltz__granules_form(mem, lane_of(mem), (uint64_t)head, 3, OWNER_RUN, 3);
	EXPECT_EQ_U64(owner_load(mem, (uint64_t)head), owner_make(OWNER_RUN, lane_of(mem)->label, 3));
	EXPECT_EQ_U64(pool_counts(mem).run, 3);
	ASSERT_TRUE(owner_cas(mem, (uint64_t)head, owner_make(OWNER_RUN, lane_of(mem)->label, 3),
	                      owner_make(OWNER_CLAIM, lane_of(mem)->label, 3)));
	release(mem, head, 3);
	counts = pool_counts(mem);
	EXPECT_EQ_U64(counts.run + counts.claimed, 0);
	EXPECT_TRUE(counts.free >= 3);
	EXPECT_EQ_INT(claim(mem, 3), head); /* and is found again */
}

TEST(counts_give_parts_to_the_kind_of_their_head)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	struct ltz_lane *lane = lane_of(mem);
	static const struct { enum owner_kind kind; unsigned n; } made[] = {
		{ OWNER_SLAB, 2 }, { OWNER_RUN, 4 }, { OWNER_TABLE, 3 }, { OWNER_CLAIM, 5 },
	};
	struct ltz_granule_counts counts;

	for (unsigned i = 0; i < 4; i++) {
		int64_t head = claim(mem, made[i].n);

		ASSERT_OK(head);
		if (made[i].kind != OWNER_CLAIM)
			ltz__granules_form(mem, lane, (uint64_t)head, made[i].n, made[i].kind, made[i].n);
	}
	counts = pool_counts(mem);
	EXPECT_EQ_U64(counts.slab, 2);
	EXPECT_EQ_U64(counts.run, 4);
	EXPECT_EQ_U64(counts.table, 3);
	EXPECT_EQ_U64(counts.claimed, 5);
	EXPECT_EQ_U64(counts.slab + counts.run + counts.table + counts.claimed + counts.free + counts.virgin,
	              ltz__granules_high(mem));
}

TEST(a_cut_extent_gives_its_tail_back)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	struct ltz_lane *lane = lane_of(mem);
	int64_t head = claim(mem, 10);

	ASSERT_OK(head);
	ltz__granules_form(mem, lane, (uint64_t)head, 10, OWNER_TABLE, 10);
	ltz__granules_cut(mem, lane, (uint64_t)head, 10, 4, OWNER_TABLE);
	EXPECT_EQ_U64(owner_load(mem, (uint64_t)head), owner_make(OWNER_TABLE, lane->label, 4));
	for (uint64_t i = 1; i < 10; i++)
		EXPECT_EQ_U64(kind_at(mem, (uint64_t)head + i), i < 4 ? OWNER_PART : OWNER_FREE);
	EXPECT_EQ_U64(pool_counts(mem).table, 4);
	EXPECT_EQ_INT(claim(mem, 6), head + 4);
}

TEST(teardown_frees_parts_punches_the_head_and_spares_strangers)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	struct ltz_lane *lane = lane_of(mem);
	int64_t head = claim(mem, 4);
	uint64_t before;

	ASSERT_OK(head);
	/* the dead one had given up its last part, and somebody else made a run of it */
	store_release(&mem->owners[head + 3], owner_make(OWNER_RUN, label_make(7, 1, 1), 1));
	memset(at_granule(mem, (uint64_t)head), 0xff, SHM_GRANULE);
	before = pool_backed_bytes(mem);
	ltz__granules_teardown(mem, lane, (uint64_t)head, 4);
	EXPECT_EQ_U64(owner_load(mem, (uint64_t)head), 0);
	EXPECT_EQ_U64(kind_at(mem, (uint64_t)head + 1), OWNER_FREE);
	EXPECT_EQ_U64(kind_at(mem, (uint64_t)head + 2), OWNER_FREE);
	EXPECT_EQ_U64(owner_load(mem, (uint64_t)head + 3), owner_make(OWNER_RUN, label_make(7, 1, 1), 1));
	EXPECT_EQ_U64(pool_backed_bytes(mem), before - SHM_GRANULE);
}

TEST(teardown_and_release_leave_what_is_not_the_lane_s)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	int64_t head = claim(mem, 1);
	uint64_t other = owner_make(OWNER_CLAIM, label_make(9, 9, 9), 1);

	ASSERT_OK(head);
	store_release(&mem->owners[head], other);
	release(mem, head, 1);
	EXPECT_EQ_U64(owner_load(mem, (uint64_t)head), other);
}

TEST(teardown_of_a_claim_longer_than_the_pool_stays_inside)
{
	struct ltz_mem *mem = bare_new(2 * MIB); /* 32 granules */
	uint64_t word = owner_make(OWNER_CLAIM, lane_of(mem)->label, 500);

	ASSERT_OK(claim(mem, 32));
	store_release(&mem->owners[31], word);
	ltz__granules_teardown(mem, lane_of(mem), 31, 500);
	EXPECT_EQ_U64(owner_load(mem, 31), 0);
}

TEST(a_full_pool_says_so_and_is_usable_again)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	int64_t heads[32];

	for (unsigned i = 0; i < 32; i++)
		ASSERT_OK(heads[i] = claim(mem, 1));
	EXPECT_EQ_INT(claim(mem, 1), -ENOSPC);
	EXPECT_EQ_INT(claim(mem, 33), -ENOSPC);
	EXPECT_EQ_INT(claim(mem, SHM_RUN_MAX + 1), -ENOSPC);
	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 1, 1), -ENOSPC);
	release(mem, heads[13], 1);
	EXPECT_EQ_INT(claim(mem, 2), -ENOSPC);
	EXPECT_EQ_INT(claim(mem, 1), heads[13]);
	EXPECT_EQ_INT(claim(mem, 1), -ENOSPC);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 32);
	for (unsigned i = 0; i < 32; i++)
		release(mem, heads[i], 1);
	EXPECT_EQ_INT(claim(mem, 32), 0);
}

TEST(a_claim_of_more_than_is_left_changes_nothing)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	int64_t head = claim(mem, 20);

	ASSERT_OK(head);
	EXPECT_EQ_INT(claim(mem, 13), -ENOSPC);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 20);
	ASSERT_OK(claim(mem, 12));
}

/* A part that somebody else holds: the claim around it must not happen, and must leave no trace. */
TEST(a_claim_goes_around_what_is_taken)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	uint64_t foreign = owner_make(OWNER_RUN, label_make(7, 1, 1), 1);

	ASSERT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 32, 32), 32);
	for (uint64_t g = 3; g < 32; g += 4)
		store_release(&mem->owners[g], foreign);
	EXPECT_EQ_INT(claim(mem, 4), -ENOSPC);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
	EXPECT_EQ_INT(claim(mem, 3), 0);
	EXPECT_EQ_INT(claim(mem, 3), 4);
	for (uint64_t g = 3; g < 32; g += 4)
		EXPECT_EQ_U64(owner_load(mem, g), foreign);
}

/* ---- FREE and VIRGIN side by side ------------------------------------------------------------ */

/* A pool of 32 granules, all taken one by one: granule g as layout[g] says: '.' FREE, ' ' VIRGIN, 'x' taken. */
static struct ltz_mem *laid_out(const char *layout)
{
	struct ltz_mem *mem = bare_new(2 * MIB);

	for (uint64_t g = 0; g < 32; g++)
		ASSERT_EQ_INT(claim(mem, 1), (int64_t)g);
	for (uint64_t g = 0; g < 32; g++)
		if (layout[g] == '.')
			release(mem, (int64_t)g, 1);
		else if (layout[g] == ' ')
			ltz__granules_teardown(mem, lane_of(mem), g, 1);
		else
			ltz__granules_form(mem, lane_of(mem), g, 1, OWNER_RUN, 1);
	return mem;
}

static void expect_claimed(struct ltz_mem *mem, uint64_t head, unsigned n)
{
	struct ltz_granule_counts counts = pool_counts(mem);

	EXPECT_EQ_U64(owner_load(mem, head), owner_make(OWNER_CLAIM, lane_of(mem)->label, n));
	for (uint64_t i = 1; i < n; i++)
		EXPECT_EQ_U64(owner_load(mem, head + i), owner_part(head));
	EXPECT_EQ_U64(load_relaxed(&mem->header->free_hint), counts.free);
	EXPECT_EQ_U64(load_relaxed(&mem->header->committed_hint), ltz__granules_high(mem) - counts.virgin);
}

TEST(what_is_free_and_virgin_side_by_side_serves_one_claim)
{
	struct ltz_mem *mem = laid_out("xx. x.  .x. ..xxxxxxxxxxxxxxxxxx");
	uint64_t before = pool_backed_bytes(mem);

	EXPECT_EQ_INT(claim(mem, 5), -ENOSPC); /* no place is that long */
	EXPECT_EQ_U64(pool_counts(mem).free + pool_counts(mem).virgin, 10);
	EXPECT_EQ_U64(pool_backed_bytes(mem), before);
	ASSERT_EQ_INT(claim(mem, 4), 5);
	expect_claimed(mem, 5, 4);
	EXPECT_EQ_U64(pool_backed_bytes(mem), before + 2 * SHM_GRANULE); /* what was VIRGIN has memory now */
	memset(at_granule(mem, 5), 0xff, 4 * SHM_GRANULE);
	ASSERT_EQ_INT(claim(mem, 4), 10);
	expect_claimed(mem, 10, 4);
	ASSERT_EQ_INT(claim(mem, 2), 2);
	EXPECT_EQ_INT(claim(mem, 1), -ENOSPC);
}

TEST(a_claim_reaches_from_what_is_free_over_the_frontier)
{
	struct ltz_mem *mem = bare_new(2 * MIB);

	ASSERT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 20, 20), 20);
	ASSERT_EQ_INT(claim(mem, 17), 0);
	ASSERT_EQ_U64(ltz__granules_high(mem), 20);
	ASSERT_EQ_INT(claim(mem, 15), 17); /* 3 FREE, 12 that nobody ever had */
	expect_claimed(mem, 17, 15);
	memset(at_granule(mem, 17), 0xff, 15 * SHM_GRANULE);
}

/* Neither the claim nor its commit touches what lies on both sides of a granule in use. */
TEST(a_place_with_a_granule_in_use_in_it_is_none)
{
	struct ltz_mem *mem = laid_out("x. .xxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	uint64_t foreign = owner_make(OWNER_RUN, label_make(7, 1, 1), 1);

	store_release(&mem->owners[2], foreign);
	EXPECT_EQ_INT(claim(mem, 3), -ENOSPC);
	EXPECT_EQ_U64(kind_at(mem, 1), OWNER_FREE);
	EXPECT_EQ_U64(owner_load(mem, 2), foreign);
	EXPECT_EQ_U64(kind_at(mem, 3), OWNER_FREE);
}

#ifdef LTZ_FAULTS
/*
 * The system gives no memory for a place, or stops half-way: nothing stays
 * claimed, and nothing behind what is VIRGIN. Every call on the way fails once.
 */
TEST(memory_that_is_refused_leaves_nothing_claimed_and_nothing_behind)
{
	unsigned refused = 0;
	uint64_t n = 1;
	bool reached = true;

	for (; reached && n < 200; n++) {
		struct ltz_mem *mem = laid_out("x. .xxxxxxxxxxxxxxxxxxxxxxxxxxxx");
		uint64_t before = pool_backed_bytes(mem);
		int64_t head;

		*(uint8_t *)at_granule(mem, 2) = 1; /* as far as it got */
		ltz__fault_set_call(LTZ_FAULT_THREAD, n, ENOSPC);
		head = claim(mem, 3);
		reached = ltz__fault_calls(LTZ_FAULT_THREAD) >= n;
		ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
		if (head < 0) {
			refused++;
			EXPECT_EQ_INT(head, -ENOSPC);
			EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
			EXPECT_EQ_U64(kind_at(mem, 2), OWNER_VIRGIN);
			EXPECT_EQ_U64(pool_backed_bytes(mem), before);
			ASSERT_EQ_INT(claim(mem, 3), 1); /* and is there when the system has some */
		}
		expect_claimed(mem, 1, 3);
		bare_leave(mem);
	}
	EXPECT_TRUE(n < 200 && refused > 0);
}
#endif

/* ---- committing and punching ------------------------------------------------------------- */

TEST(commit_gives_free_granules_side_by_side)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t before = pool_backed_bytes(mem);

	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 10, 16), 16);
	EXPECT_EQ_U64(pool_counts(mem).free, 16);
	EXPECT_TRUE(pool_backed_bytes(mem) >= before + 16 * SHM_GRANULE);
	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 100, 200), 112);
	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 1, 1), -ENOSPC);
	EXPECT_EQ_U64(pool_counts(mem).free, 128);
}

TEST(what_another_is_just_taking_is_not_there_twice)
{
	struct ltz_mem *mem = bare_new(0), *other = bare_join(ltz__mem_fd(mem));
	uint64_t *taking = &other->lane[LANE_SERVICE].shm->taking;

	store_release(taking, UINT64_MAX); /* all there is: bounded, as every word of the pool */
	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 1, 1), -ENOSPC);
	EXPECT_EQ_U64(load_acquire(&lane_of(mem)->shm->taking), 0);
	store_release(taking, (ltz__sys_available_bytes() >> SHM_GRANULE_LOG2) / 2);
	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 1, 48), 48);
	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 1, (unsigned)mem->granules), 32); /* a step of what is left */
	store_release(taking, UINT64_MAX);
	bare_leave(other); /* in the middle of it: counted until it is settled */
	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 1, 1), -ENOSPC);
	store_release(&mem->rows[1].word, row_word(row_generation(load_acquire(&mem->rows[1].word)), 0));
	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 1, 1), 1);
	EXPECT_EQ_U64(load_acquire(&lane_of(mem)->shm->taking), 0);
}

TEST(commit_finds_holes_below_the_frontier)
{
	struct ltz_mem *mem = bare_new(2 * MIB);

	ASSERT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 32, 32), 32);
	store_release(&mem->owners[5], 0);
	store_release(&mem->owners[6], 0);
	EXPECT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 2, 2), 2);
	EXPECT_EQ_U64(pool_counts(mem).free, 32);
}

TEST(punch_gives_back_only_what_has_been_free_long_enough)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	uint64_t backed;

	ASSERT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 20, 20), 20);
	backed = pool_backed_bytes(mem);
	EXPECT_EQ_U64(ltz__granules_punch(mem, lane_of(mem), SECOND_NS, 100), 0);
	EXPECT_EQ_U64(pool_backed_bytes(mem), backed);
	pool_travel(mem, 3 * SECOND_NS);
	ASSERT_OK(claim(mem, 2)); /* granules 0 and 1 are in use, and stay */
	EXPECT_EQ_U64(ltz__granules_punch(mem, lane_of(mem), SECOND_NS, 5), 5);
	EXPECT_EQ_U64(pool_backed_bytes(mem), backed - 5 * SHM_GRANULE);
	for (uint64_t g = 0; g < 20; g++) /* the highest go first */
		EXPECT_EQ_U64(kind_at(mem, g), g < 2 ? (g ? OWNER_PART : OWNER_CLAIM) : g < 15 ? OWNER_FREE : OWNER_VIRGIN);
	EXPECT_EQ_U64(ltz__granules_punch(mem, lane_of(mem), SECOND_NS, 1000), 13);
	EXPECT_EQ_U64(pool_backed_bytes(mem), backed - 18 * SHM_GRANULE);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 2);
}

TEST(what_was_released_starts_to_age_then)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	int64_t head = claim(mem, 8);

	ASSERT_OK(head);
	pool_travel(mem, 60 * SECOND_NS);
	release(mem, head, 8);
	while (ltz__granules_punch(mem, lane_of(mem), SECOND_NS, 100))
		; /* the others of that commit are old */
	EXPECT_EQ_U64(pool_counts(mem).free, 8);
	pool_travel(mem, 3 * SECOND_NS);
	EXPECT_EQ_U64(ltz__granules_punch(mem, lane_of(mem), SECOND_NS, 100), 8);
}

TEST(punched_granules_are_committed_anew_and_zero)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	int64_t head = claim(mem, 32);
	const uint8_t *bytes = at_granule(mem, 0);

	ASSERT_EQ_INT(head, 0);
	memset(at_granule(mem, 0), 0xff, 32 * SHM_GRANULE);
	release(mem, head, 32);
	pool_travel(mem, 3 * SECOND_NS);
	ASSERT_EQ_U64(ltz__granules_punch(mem, lane_of(mem), 0, 100), 32);
	ASSERT_EQ_INT(claim(mem, 32), 0);
	for (uint64_t i = 0; i < 32 * SHM_GRANULE; i += 4096)
		ASSERT_EQ_U64(bytes[i], 0);
}

/* ---- who is stopped in the middle -------------------------------------------------------- */

static int traced_fd;

static void commit_and_punch(void *context)
{
	struct ltz_mem *mem;

	(void)context;
	ASSERT_OK(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
	ASSERT_OK(raise(SIGSTOP));
	mem = bare_join(traced_fd);
	ASSERT_EQ_INT(ltz__granules_commit(mem, lane_of(mem), 1, 1000), 1000);
	pool_travel(mem, 3 * SECOND_NS);
	ASSERT_EQ_U64(ltz__granules_punch(mem, lane_of(mem), SECOND_NS, 1000), 1000);
}

/* Looked at before and after each of its system calls: so much would stay in its hands if it were stopped there. */
TEST(who_commits_or_punches_holds_little_at_a_time)
{
	struct ltz_mem *mem;
	uint64_t most = 0;
	int status;
	pid_t child;

	traced_fd = pool_make(128 * MIB, 0);
	mem = bare_join(traced_fd);
	child = test_fork(commit_and_punch, NULL);
	while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
		uint64_t claimed = pool_counts(mem).claimed;

		if (claimed > most)
			most = claimed;
		ASSERT_OK(ptrace(PTRACE_SYSCALL, child, NULL, NULL));
	}
	ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	EXPECT_EQ_U64(pool_counts(mem).virgin, 1000);
	EXPECT_TRUE(most > 0 && most <= 2 * MIB / SHM_GRANULE);
}

/* ---- hints ------------------------------------------------------------------------------------ */

TEST(hints_agree_with_the_words_when_nothing_went_wrong)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	struct ltz_granule_counts counts;
	int64_t a = claim(mem, 3), b = claim(mem, 7), c = claim(mem, 1);

	ASSERT_TRUE(a >= 0 && b >= 0 && c >= 0);
	release(mem, b, 7);
	ltz__granules_form(mem, lane_of(mem), (uint64_t)a, 3, OWNER_TABLE, 3);
	ltz__granules_cut(mem, lane_of(mem), (uint64_t)a, 3, 1, OWNER_TABLE);
	ltz__granules_teardown(mem, lane_of(mem), (uint64_t)c, 1);
	pool_travel(mem, 3 * SECOND_NS);
	ltz__granules_punch(mem, lane_of(mem), 0, 2);
	counts = pool_counts(mem);
	EXPECT_EQ_U64(load_relaxed(&mem->header->free_hint), counts.free);
	EXPECT_EQ_U64(load_relaxed(&mem->header->committed_hint), ltz__granules_high(mem) - counts.virgin);
}

TEST(wrong_hints_are_corrected)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	struct ltz_granule_counts counts;
	int64_t heads[32];

	for (unsigned i = 0; i < 32; i++)
		ASSERT_OK(heads[i] = claim(mem, 1));
	release(mem, heads[9], 1);
	store_relaxed(&mem->header->free_hint, (uint64_t)-5);
	store_relaxed(&mem->header->free_low, 30);
	store_relaxed(&mem->header->virgin_low, 0);
	store_relaxed(&mem->header->committed_hint, 99);
	counts = pool_counts(mem);
	ltz__granules_correct_hints(mem, &counts);
	EXPECT_EQ_U64(load_relaxed(&mem->header->free_hint), 1);
	EXPECT_EQ_U64(load_relaxed(&mem->header->free_low), 9);
	EXPECT_EQ_U64(load_relaxed(&mem->header->virgin_low), 32);
	EXPECT_EQ_U64(load_relaxed(&mem->header->committed_hint), 32);
	EXPECT_EQ_INT(claim(mem, 1), heads[9]);
}

TEST(hints_that_are_too_high_cost_only_a_search)
{
	struct ltz_mem *mem = bare_new(2 * MIB);

	ASSERT_OK(claim(mem, 16));
	store_relaxed(&mem->header->free_hint, 1000);
	store_relaxed(&mem->header->free_low, UINT64_MAX);
	store_relaxed(&mem->header->virgin_low, UINT64_MAX);
	ASSERT_OK(claim(mem, 16));
	EXPECT_EQ_INT(claim(mem, 1), -ENOSPC);
}

TEST(a_damaged_high_water_mark_stays_inside)
{
	struct ltz_mem *mem = bare_new(2 * MIB);

	store_relaxed(&mem->header->granules_high, UINT64_MAX);
	EXPECT_EQ_U64(ltz__granules_high(mem), 32);
	ASSERT_OK(claim(mem, 1));
	ltz__granules_punch(mem, lane_of(mem), 0, 100);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 1);
	EXPECT_EQ_U64(pool_counts(mem).virgin, 31);
}

/* ---- several at once ------------------------------------------------------------------------------ */

#define RACERS 4
static int race_fd;
static unsigned overlaps;
static uint8_t race_taken[64];

static void *claim_and_release(void *context)
{
	struct ltz_mem *mem = bare_join(race_fd);
	uint64_t random = (uintptr_t)context * UINT64_C(0x9e3779b97f4a7c15);

	for (unsigned i = 0; i < 3000; i++) {
		unsigned n = 1 + (random >> 60) % 6;
		int64_t head = claim(mem, n);

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		if (head < 0)
			continue; /* the others have it all: -ENOSPC is right */
		for (unsigned k = 0; k < n; k++)
			if (__atomic_exchange_n(&race_taken[head + k], 1, __ATOMIC_SEQ_CST))
				__atomic_add_fetch(&overlaps, 1, __ATOMIC_RELAXED);
		for (unsigned k = 0; k < n; k++)
			__atomic_store_n(&race_taken[head + k], 0, __ATOMIC_SEQ_CST);
		release(mem, head, n);
		if (i % 64 == 0)
			ltz__granules_punch(mem, lane_of(mem), 0, 8);
	}
	return mem;
}

TEST(members_that_race_for_granules_never_share_one)
{
	struct ltz_granule_counts counts;
	pthread_t thread[RACERS];
	void *mem[RACERS];

	race_fd = pool_make(4 * MIB, 0);
	for (uintptr_t i = 0; i < RACERS; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, claim_and_release, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < RACERS; i++)
		ASSERT_EQ_INT(pthread_join(thread[i], &mem[i]), 0);
	EXPECT_EQ_U64(overlaps, 0);
	counts = pool_counts(mem[0]);
	EXPECT_EQ_U64(counts.free + counts.virgin, ltz__granules_high(mem[0]));
	EXPECT_EQ_U64(load_relaxed(&((struct ltz_mem *)mem[0])->header->free_hint), counts.free);
	EXPECT_EQ_INT(claim(mem[0], 1) < 0, 0);
}

/* ---- the system refuses to take memory back ------------------------------------------------------------ */

#ifdef LTZ_FAULTS

TEST(granules_that_cannot_be_punched_stay_free)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	struct ltz_granule_counts before;

	release(mem, claim(mem, 4), 4);
	before = pool_counts(mem);
	ltz__fault_set_calls_from(LTZ_FAULT_THREAD, 1, ENOMEM);
	EXPECT_EQ_U64(ltz__granules_punch(mem, lane_of(mem), 0, UINT64_MAX), 0);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	EXPECT_EQ_U64(pool_counts(mem).free, before.free);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
	EXPECT_EQ_U64(load_relaxed(&mem->header->free_hint), before.free);
	EXPECT_EQ_U64(ltz__granules_punch(mem, lane_of(mem), 0, UINT64_MAX), before.free);
}

TEST(a_claim_that_cannot_be_torn_down_stays_one)
{
	struct ltz_mem *mem = bare_new(8 * MIB);
	struct ltz_lane *lane = lane_of(mem);
	int64_t head = claim(mem, 4);

	ASSERT_OK(head);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 1, ENOMEM);
	EXPECT_TRUE(!ltz__granules_teardown(mem, lane, (uint64_t)head, 4));
	EXPECT_EQ_U64(kind_at(mem, (uint64_t)head), OWNER_CLAIM);
	EXPECT_TRUE(ltz__granules_teardown(mem, lane, (uint64_t)head, 4));
	EXPECT_EQ_U64(owner_load(mem, (uint64_t)head), 0);
	EXPECT_EQ_U64(pool_counts(mem).claimed, 0);
}

#endif
