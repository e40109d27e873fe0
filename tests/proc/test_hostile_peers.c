/* SPDX-License-Identifier: MIT */
/*
 * test_hostile_peers.c - listeners and clients of this user that do not play
 * by the rules: the right error in time, no descriptor leaked, nobody kept out.
 */
#include "hostile.h"

TEST(a_listener_that_closes_is_not_believed)
{
	expect_connect(answer_nothing_and_close, -1, -EPROTO, "closes");
}

TEST(a_listener_that_stalls_costs_the_timeout)
{
	expect_connect(stall, -1, -ETIMEDOUT, "hostile");
}

TEST(a_listener_that_talks_garbage_is_not_believed)
{
	expect_connect(answer_garbage, -1, -EPROTO, "protocol");
	expect_connect(answer_too_much, -1, -EPROTO, NULL);
}

TEST(another_version_is_named)
{
	expect_connect(answer_another_version, -1, -EPROTO, "protocol 2, this library speaks 1");
}

TEST(answers_of_a_wrong_shape_are_refused)
{
	int memfd = sealed_memory(1 << 20);

	expect_connect(answer_short, memfd, -EPROTO, NULL);
	expect_connect(answer_without_descriptors, memfd, -EPROTO, NULL);
	expect_connect(answer_with_three, memfd, -EPROTO, NULL);
	expect_connect(answer_with_eight, memfd, -EPROTO, NULL);
	expect_connect(answer_with_memory_twice, memfd, -EPROTO, NULL);
}

TEST(memory_that_could_shrink_is_refused)
{
	int memfd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ASSERT_OK(ftruncate(memfd, 64 << 20));
	expect_connect(answer_with_these, memfd, -EPROTO, NULL);
}

TEST(a_listening_socket_that_would_block_the_server_is_refused)
{
	listener_flags = 0;
	expect_connect(answer_with_these, sealed_memory(64 << 20), -EPROTO, "socket");
}

TEST(sealed_memory_that_is_no_pool_is_refused)
{
	expect_connect(answer_with_these, sealed_memory(4096), -EUCLEAN, NULL);
	expect_connect(answer_with_these, sealed_memory(64 << 10), -EUCLEAN, NULL);
	expect_connect(answer_with_these, sealed_memory(64 << 20), -EUCLEAN, NULL);
}

TEST(other_calls_meet_hostile_listeners_too)
{
	const char *dir = test_directory();
	struct ltz_open_options options = { .dir = dir, .timeout_ms = TIMEOUT_MS };
	struct sockaddr_un address;
	struct listener listener = { .fd = raw_socket(dir, "hostile", &address), .answer = answer_garbage };
	unsigned before;
	ltz_pool *pool = NULL;

	ASSERT_OK(bind(listener.fd, (struct sockaddr *)&address, sizeof address));
	ASSERT_OK(listen(listener.fd, 64));
	ASSERT_OK(fcntl(listener.fd, F_SETFL, listener_flags));
	pid_t child = test_fork(listen_in_child, &listener);
	close(listener.fd);
	before = count_descriptors();
	EXPECT_EQ_INT(ltz_create("hostile", &options, &pool), -EEXIST);
	EXPECT_EQ_INT(ltz_exists("hostile", dir), -EPROTO);
	EXPECT_EQ_INT(ltz_destroy("hostile", &options), -EPROTO);
	EXPECT_EQ_U64(count_descriptors(), before);
	test_kill(child);
	EXPECT_EQ_INT(ltz_create("hostile", &options, &pool), 0);
	ltz_close(pool);
}

/* ---- hostile clients --------------------------------------------------------------------- */

TEST(silent_connections_keep_nobody_out)
{
	enum { FLOOD = 300 };
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct role member;
	ltz_pool *pool;
	int fds[FLOOD];

	role_start(&member, dir);
	ASSERT_EQ_INT(role_ask(&member, "create flooded 64"), 0);
	for (int i = 0; i < FLOOD; i++) {
		struct sockaddr_un address;
		fds[i] = raw_socket(dir, "flooded", &address);
		ASSERT_OK(connect(fds[i], (struct sockaddr *)&address, sizeof address));
		if (i % 10 == 0) {
			ASSERT_EQ_INT(ltz_connect("flooded", &options, &pool), 0);
			ltz_close(pool);
		}
	}
	/* It keeps few of them. */
	char path[64];
	snprintf(path, sizeof path, "/proc/%d/fd", (int)member.pid);
	POLL_UNTIL(count_entries(path) < 100);
	for (int i = 0; i < FLOOD; i++)
		close(fds[i]);
	role_end(&member);
}

TEST(garbage_questions_get_no_descriptor_and_harm_nobody)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	const struct packet_hello good = { { MAGIC, VERSION, 1 }, "asked" };
	struct packet_hello bad;
	char noise[4096];
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_create("asked", &options, &pool), 0);
	unsigned before = count_descriptors();
	for (size_t size = 1; size < sizeof noise; size += 1 + size / 2) {
		for (size_t i = 0; i < size; i++)
			noise[i] = (char)test_random();
		ask_wrong(dir, noise, size, NULL, 0);
	}
	for (size_t size = 1; size < sizeof good; size++)
		ask_wrong(dir, &good, size, NULL, 0);
	bad = good, bad.head.version = 99;
	ask_wrong(dir, &bad, sizeof bad, NULL, 0);
	bad = good, bad.head.what = 77;
	ask_wrong(dir, &bad, sizeof bad, NULL, 0);
	bad = good, bad.name[0] = 'b';
	ask_wrong(dir, &bad, sizeof bad, NULL, 0);
	bad = good, memset(bad.name, 'n', sizeof bad.name);
	ask_wrong(dir, &bad, sizeof bad, NULL, 0);
	ask_wrong(dir, &good, sizeof good, (const int[]){ 0, 1, 2 }, 3);
	POLL_UNTIL(count_descriptors() <= before); /* less: it may have counted our own join's connection */
	EXPECT_EQ_INT(set_number(pool, "k", 1), 0);
	EXPECT_EQ_INT(ltz_exists("asked", dir), 0);
	ltz_close(pool);
}

static void connect_and_vanish(void *context)
{
	for (int i = 0; i < 200; i++) {
		struct sockaddr_un address;
		int fd = raw_socket(context, "asked", &address);
		const struct packet_hello hello = { { MAGIC, VERSION, 1 }, "asked" };
		if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
			raw_send(fd, &hello, sizeof hello, NULL, 0);
		close(fd); /* before or after the answer, which then carries descriptors to nobody */
	}
}

TEST(clients_that_vanish_leave_nothing)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_create("asked", &options, &pool), 0);
	unsigned before = count_descriptors();
	test_wait(test_fork(connect_and_vanish, (void *)dir));
	POLL_UNTIL(count_descriptors() <= before); /* less: it may have counted our own join's connection */
	ltz_close(pool);
	EXPECT_EQ_INT(ltz_connect("asked", &options, &pool), -ENOENT);
}
