/* SPDX-License-Identifier: MIT */
/* test_poll.c - one wait for many descriptors and a bell. */
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "harness.h"

#define FOR_EVER_NS (60ull * 1000000000u)

static struct ltz_poll *new_poll(void)
{
	struct ltz_poll *poll = NULL;

	ASSERT_OK(ltz__sys_poll_new(&poll));
	return poll;
}

static int new_event(unsigned count)
{
	int fd = eventfd(count, EFD_CLOEXEC | EFD_NONBLOCK);

	ASSERT_OK(fd);
	return fd;
}

TEST(ready_descriptors_come_by_their_tags)
{
	struct ltz_poll *poll = new_poll();
	int quiet = new_event(0), ready = new_event(1);
	void *tags[8];

	ASSERT_OK(ltz__sys_poll_add(poll, quiet, &quiet, false));
	ASSERT_OK(ltz__sys_poll_add(poll, ready, &ready, true));
	ASSERT_EQ_INT(ltz__sys_poll_wait(poll, FOR_EVER_NS, tags, 8), 1);
	EXPECT_TRUE(tags[0] == &ready);
	ltz__sys_poll_remove(poll, ready);
	ltz__sys_poll_remove(poll, ready); /* harmless */
	EXPECT_EQ_INT(ltz__sys_poll_wait(poll, 0, tags, 8), 0);
	ltz__sys_poll_free(poll);
}

TEST(a_ring_is_not_lost_and_not_counted)
{
	struct ltz_poll *poll = new_poll();
	void *tags[1];

	ltz__sys_poll_ring(poll);
	ltz__sys_poll_ring(poll);
	EXPECT_EQ_INT(ltz__sys_poll_wait(poll, FOR_EVER_NS, tags, 1), 0);
	EXPECT_EQ_INT(ltz__sys_poll_wait(poll, 0, tags, 1), 0);
	ltz__sys_poll_free(poll);
}

TEST(a_ring_takes_no_descriptor_s_place)
{
	struct ltz_poll *poll = new_poll();
	int ready = new_event(1);
	void *tags[1];

	ASSERT_OK(ltz__sys_poll_add(poll, ready, &ready, false));
	ltz__sys_poll_ring(poll);
	EXPECT_EQ_INT(ltz__sys_poll_wait(poll, FOR_EVER_NS, tags, 1), 1);
	EXPECT_TRUE(tags[0] == &ready);
	ltz__sys_poll_free(poll);
}

static void *ring(void *poll)
{
	ltz__sys_poll_ring(poll);
	return NULL;
}

TEST(another_thread_rings)
{
	struct ltz_poll *poll = new_poll();
	pthread_t thread;
	void *tags[1];

	ASSERT_EQ_INT(pthread_create(&thread, NULL, ring, poll), 0);
	EXPECT_EQ_INT(ltz__sys_poll_wait(poll, FOR_EVER_NS, tags, 1), 0);
	pthread_join(thread, NULL);
	ltz__sys_poll_free(poll);
}

TEST(a_wait_never_ends_before_its_time)
{
	struct ltz_poll *poll = new_poll();
	uint64_t start_ns = ltz__sys_boottime_ns();
	void *tags[1];

	EXPECT_EQ_INT(ltz__sys_poll_wait(poll, 1500000, tags, 1), 0);
	EXPECT_TRUE(ltz__sys_boottime_ns() - start_ns >= 1500000);
	ltz__sys_poll_free(poll);
}

TEST(more_ready_ones_than_asked_for_come_later)
{
	struct ltz_poll *poll = new_poll();
	bool seen[100] = { false };
	void *tags[16];
	int fds[100], total = 0;

	for (int i = 0; i < 100; i++) {
		fds[i] = new_event(1);
		ASSERT_OK(ltz__sys_poll_add(poll, fds[i], &fds[i], false));
	}
	for (int round = 0; total < 100; round++) {
		int n = ltz__sys_poll_wait(poll, FOR_EVER_NS, tags, 16);

		ASSERT_TRUE(n > 0 && n <= 16 && round < 1000);
		for (int i = 0; i < n; i++) {
			int which = (int)((int *)tags[i] - fds);

			total += !seen[which];
			seen[which] = true;
		}
	}
	ltz__sys_poll_free(poll);
}

TEST(what_cannot_be_watched_is_an_error)
{
	struct ltz_poll *poll = new_poll();
	int fd = new_event(0);

	EXPECT_EQ_INT(ltz__sys_poll_add(poll, -1, NULL, false), -EBADF);
	ASSERT_OK(ltz__sys_poll_add(poll, fd, &fd, false));
	EXPECT_EQ_INT(ltz__sys_poll_add(poll, fd, &fd, false), -EEXIST);
	ltz__sys_poll_free(poll);
	ltz__sys_poll_free(NULL);
}
