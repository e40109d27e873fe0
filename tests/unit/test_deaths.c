/* SPDX-License-Identifier: MIT */
/* test_deaths.c - a death is known by pidfd, without any sweep of locks. */
#include "../stress/pools.h"

#include "pool/deaths.h"
#include "shm/member.h"
#include "store/tick.h"
#include "sys/sys.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

/* Joins in a child of its own and waits there; the row is in *row once it has joined. */
static pid_t join_in_child(unsigned *row)
{
	int told[2];
	pid_t pid;

	ASSERT_EQ_INT(pipe(told), 0);
	pid = fork();
	if (pid == 0) {
		struct ltz_mem *own = pool_join(pool_fd);
		unsigned mine = ltz__member_row(own);

		if (write(told[1], &mine, sizeof(mine)) == (ssize_t)sizeof(mine))
			for (;;)
				pause();
		_exit(1);
	}
	ASSERT_TRUE(pid > 0);
	ASSERT_EQ_INT((int)read(told[0], row, sizeof(*row)), (int)sizeof(*row));
	close(told[0]);
	close(told[1]);
	return pid;
}

static unsigned watched(const struct ltz_deaths *deaths)
{
	unsigned n = 0;

	for (unsigned i = 0; i < LTZ_WATCHED; i++)
		n += deaths->watched[i].pidfd >= 0;
	return n;
}

TEST(a_death_is_settled_by_who_watches_the_row)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);
	struct ltz_deaths deaths;
	struct ltz_poll *poll;
	unsigned row[3];
	pid_t pid[3];
	void *tag = NULL;
	uint64_t word;

	for (unsigned i = 0; i < 3; i++)
		pid[i] = join_in_child(&row[i]);
	ASSERT_EQ_INT(ltz__sys_poll_new(&poll), 0);
	ltz__deaths_init(&deaths);
	ltz__deaths_renew(&deaths, poll, mem, 1);
	EXPECT_EQ_U64(watched(&deaths), LTZ_WATCHED); /* the next two of three */
	EXPECT_EQ_INT(ltz__sys_poll_wait(poll, 0, &tag, 1), 0);

	ASSERT_EQ_INT(kill(pid[0], SIGKILL), 0);
	ASSERT_EQ_INT(ltz__sys_poll_wait(poll, UINT64_C(20000000000), &tag, 1), 1);
	EXPECT_TRUE(ltz__deaths_ready(&deaths, poll, mem, tag));
	EXPECT_EQ_U64(row_up(load_acquire(&mem->rows[row[0]].word)), 0);
	EXPECT_TRUE(!ltz__member_dead(mem, row[1], &word));

	/* the next ones are now the other two */
	ltz__deaths_renew(&deaths, poll, mem, 2);
	EXPECT_EQ_U64(watched(&deaths), 2);
	for (unsigned i = 1; i < 3; i++)
		ASSERT_EQ_INT(kill(pid[i], SIGKILL), 0);
	for (unsigned i = 1; i < 3; i++) {
		ASSERT_EQ_INT(ltz__sys_poll_wait(poll, UINT64_C(20000000000), &tag, 1), 1);
		EXPECT_TRUE(ltz__deaths_ready(&deaths, poll, mem, tag));
	}
	ltz__deaths_renew(&deaths, poll, mem, 3);
	EXPECT_EQ_U64(watched(&deaths), 0);
	EXPECT_TRUE(!ltz__deaths_ready(&deaths, poll, mem, mem)); /* another's tag */
	ltz__deaths_deinit(&deaths, poll);
	for (unsigned i = 0; i < 3; i++)
		waitpid(pid[i], NULL, 0);
	ltz__sys_poll_free(poll);
	EXPECT_CLEAN(mem);
}

TEST(a_pid_that_is_gone_or_of_another_namespace_is_not_watched)
{
	struct ltz_mem *mem = survivor_of(8 * MIB, 0);
	struct ltz_deaths deaths;
	struct ltz_poll *poll;
	unsigned row;
	pid_t pid = join_in_child(&row);

	ASSERT_EQ_INT(ltz__sys_poll_new(&poll), 0);
	ltz__deaths_init(&deaths);
	store_relaxed(&mem->rows[row].pid_namespace, 1); /* none has that number */
	ltz__deaths_renew(&deaths, poll, mem, 1);
	EXPECT_EQ_U64(watched(&deaths), 0);
	store_relaxed(&mem->rows[row].pid_namespace, load_relaxed(&mem->row->pid_namespace));
	ASSERT_EQ_INT(kill(pid, SIGKILL), 0);
	ASSERT_EQ_INT(waitpid(pid, NULL, 0), pid);
	deaths.renew_ns = 0;
	ltz__deaths_renew(&deaths, poll, mem, 2);
	EXPECT_EQ_U64(watched(&deaths), 0);
	EXPECT_TRUE(ltz__settle_row(mem, row)); /* as the sweep would */
	EXPECT_TRUE(!ltz__settle_row(mem, row));
	ltz__deaths_deinit(&deaths, poll);
	ltz__sys_poll_free(poll);
}
