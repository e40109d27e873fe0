/* SPDX-License-Identifier: MIT */
/*
 * poll.c - one thread waits for many descriptors: epoll, and an eventfd as bell.
 *
 * What must not be assumed
 *   - epoll watches open file descriptions: one that another process holds too
 *     (a passed-on listener) keeps reporting after close(). Remove it first.
 *   - A forked child shares the epoll instance itself: removing there removes
 *     in the parent. A child only frees.
 */
#include "sys/sys.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sys/call.h"

#define EVENTS_MAX 64

struct ltz_poll {
	int epoll;
	int bell;
};

static int watch(struct ltz_poll *poll, int fd, void *tag, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = tag };

	return (int)LTZ_CALL(epoll_ctl(poll->epoll, EPOLL_CTL_ADD, fd, &event));
}

int ltz__sys_poll_new(struct ltz_poll **out)
{
	struct ltz_poll *poll = LTZ_PTR_CALL(NULL, malloc(sizeof(*poll)));
	int result;

	if (poll == NULL)
		return -ENOMEM;
	result = poll->epoll = (int)LTZ_CALL(epoll_create1(EPOLL_CLOEXEC));
	if (result < 0)
		goto epoll_failed;
	result = poll->bell = (int)LTZ_CALL(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (result < 0)
		goto bell_failed;
	/* The set's own address tags the bell: no caller can have that one. */
	result = watch(poll, poll->bell, poll, EPOLLIN);
	if (result < 0)
		goto watch_failed;
	*out = poll;
	return 0;

watch_failed:
	ltz__sys_close(poll->bell);
bell_failed:
	ltz__sys_close(poll->epoll);
epoll_failed:
	free(poll);
	return result;
}

void ltz__sys_poll_free(struct ltz_poll *poll)
{
	if (poll == NULL)
		return;
	ltz__sys_close(poll->bell);
	ltz__sys_close(poll->epoll);
	free(poll);
}

int ltz__sys_poll_add(struct ltz_poll *poll, int fd, void *tag, bool exclusive)
{
	return watch(poll, fd, tag, exclusive ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN);
}

void ltz__sys_poll_remove(struct ltz_poll *poll, int fd)
{
	/* Cannot fail but for a descriptor that is not there, which is what is wanted. */
	epoll_ctl(poll->epoll, EPOLL_CTL_DEL, fd, NULL); /* tidy-ok: see above */
}

void ltz__sys_poll_ring(struct ltz_poll *poll)
{
	uint64_t one = 1;
	ssize_t ignored;

	/* EAGAIN: it has been rung 2^64 - 2 times and still rings. */
	do
		ignored = write(poll->bell, &one, sizeof(one)); /* tidy-ok: an eventfd does not fail */
	while (ignored < 0 && errno == EINTR);
}

static void silence(struct ltz_poll *poll)
{
	uint64_t rings;
	ssize_t ignored;

	do
		ignored = read(poll->bell, &rings, sizeof(rings)); /* tidy-ok: an eventfd does not fail */
	while (ignored < 0 && errno == EINTR);
}

/* Up to the next millisecond, so that a wait never ends before its time. */
static int to_ms(uint64_t timeout_ns)
{
	uint64_t ms = timeout_ns / 1000000u + (timeout_ns % 1000000u != 0);

	return ms > INT_MAX ? INT_MAX : (int)ms;
}

/* epoll_wait, again after a signal for what is left of the time. */
static int wait_events(struct ltz_poll *poll, uint64_t timeout_ns, struct epoll_event *events, int max)
{
	uint64_t start_ns = ltz__sys_boottime_ns();

	for (;;) {
		uint64_t gone_ns = ltz__sys_boottime_ns() - start_ns;
		uint64_t left_ns = gone_ns < timeout_ns ? timeout_ns - gone_ns : 0;
		int n = LTZ_SYS_CALL(epoll_wait(poll->epoll, events, max, to_ms(left_ns)));

		if (n >= 0)
			return n;
		if (errno != EINTR)
			return -errno;
	}
}

int ltz__sys_poll_wait(struct ltz_poll *poll, uint64_t timeout_ns, void **tags, int max)
{
	struct epoll_event events[EVENTS_MAX];
	int found = 0, n;

	/* One place more than asked for: the bell's. */
	n = wait_events(poll, timeout_ns, events, max < EVENTS_MAX ? max + 1 : EVENTS_MAX);
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr == poll)
			silence(poll);
		else if (found < max)
			tags[found++] = events[i].data.ptr; /* one left out reports again: level-triggered */
	}
	return n < 0 ? n : found;
}
