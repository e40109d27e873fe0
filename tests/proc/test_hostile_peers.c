/* SPDX-License-Identifier: MIT */
/*
 * test_hostile_peers.c - listeners and clients of this user that do not play
 * by the rules: the right error in time, no descriptor leaked, nobody kept out.
 *
 * The packets are written down here a second time, on purpose: a change of the
 * wire format that forgets the version number fails here.
 */
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "proc.h"

#define MAGIC 0x6c61747a65726f31ull
#define VERSION 1
#define TIMEOUT_MS 600

struct packet_head {
	uint64_t magic;
	uint32_t version;
	int32_t what;
};

struct packet_hello {
	struct packet_head head;
	char name[104];
};

struct packet_welcome {
	struct packet_head head;
	uint8_t id[16];
	uint64_t pool_now_ns;
	uint32_t pool_flags;
	uint8_t auth, encryption, reserved[2];
};

static int raw_socket(const char *dir, const char *name, struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ASSERT_OK(fd);
	*address = address_of(dir, name);
	return fd;
}

static void raw_send(int fd, const void *data, size_t size, const int *fds, unsigned nfds)
{
	char control[CMSG_SPACE(8 * sizeof(int))] = { 0 };
	struct iovec part = { (void *)data, size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (nfds > 0) {
		message.msg_control = control;
		message.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		struct cmsghdr *head = CMSG_FIRSTHDR(&message);
		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(head), fds, nfds * sizeof(int));
	}
	(void)!sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* ---- hostile listeners ---------------------------------------------------------------- */

static int listener_flags = O_NONBLOCK;

struct listener {
	int fd, memfd;
	void (*answer)(const struct listener *listener, int peer);
};

static int sealed_memory(size_t size)
{
	int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ASSERT_OK(fd);
	ASSERT_OK(ftruncate(fd, (off_t)size));
	ASSERT_OK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	return fd;
}

static struct packet_welcome welcome(void)
{
	return (struct packet_welcome){ .head = { MAGIC, VERSION, 0 }, .id = { 1, 2, 3 }, .pool_now_ns = 1 };
}

static void answer_nothing_and_close(const struct listener *listener, int peer)
{
	(void)listener;
	close(peer);
}

static void stall(const struct listener *listener, int peer)
{
	(void)listener;
	(void)peer;
}

static void answer_garbage(const struct listener *listener, int peer)
{
	(void)listener;
	raw_send(peer, "GET / HTTP/1.1 and more than sixteen bytes", 42, NULL, 0);
}

static void answer_too_much(const struct listener *listener, int peer)
{
	static char much[100000];

	(void)listener;
	raw_send(peer, much, sizeof much, NULL, 0);
}

static void answer_another_version(const struct listener *listener, int peer)
{
	struct packet_head head = { MAGIC, VERSION + 1, 0 };

	(void)listener;
	raw_send(peer, &head, sizeof head, NULL, 0);
}

static void answer_short(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->fd };

	raw_send(peer, &packet, sizeof packet - 8, fds, 2);
}

static void answer_without_descriptors(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();

	(void)listener;
	raw_send(peer, &packet, sizeof packet, NULL, 0);
}

static void answer_with_three(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->fd, listener->fd };

	raw_send(peer, &packet, sizeof packet, fds, 3);
}

static void answer_with_eight(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->fd, 0, 0, 0, 0, 0, 0 };

	raw_send(peer, &packet, sizeof packet, fds, 8);
}

static void answer_with_these(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->fd };

	raw_send(peer, &packet, sizeof packet, fds, 2);
}

static void answer_with_memory_twice(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->memfd };

	raw_send(peer, &packet, sizeof packet, fds, 2);
}

static void listen_in_child(void *context)
{
	const struct listener *listener = context;
	struct packet_hello hello;
	int peer;

	for (;;) {
		struct pollfd ready = { .fd = listener->fd, .events = POLLIN };
		poll(&ready, 1, -1);
		peer = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
		if (peer < 0 && errno == EAGAIN)
			continue;
		ASSERT_OK(peer);
		if (recv(peer, &hello, sizeof hello, 0) == 0)
			continue; /* somebody looked whether anybody listens */
		listener->answer(listener, peer);
		/* peer stays open: a close would be one more hint to the client */
	}
}

/*
 * A child listens as `hostile` and answers so; a connect must give `expected`,
 * and leave no descriptor open.
 */
static void expect_connect(void (*answer)(const struct listener *, int), int memfd, int expected, const char *detail)
{
	const char *dir = test_directory();
	struct ltz_open_options options = { .dir = dir, .timeout_ms = TIMEOUT_MS };
	struct sockaddr_un address;
	struct listener listener = { .fd = raw_socket(dir, "hostile", &address), .memfd = memfd, .answer = answer };
	unsigned before;
	ltz_pool *pool = NULL;

	unlink(address.sun_path);
	ASSERT_OK(bind(listener.fd, (struct sockaddr *)&address, sizeof address));
	ASSERT_OK(listen(listener.fd, 64));
	ASSERT_OK(fcntl(listener.fd, F_SETFL, listener_flags));
	pid_t child = test_fork(listen_in_child, &listener);
	close(listener.fd);
	before = count_descriptors();
	EXPECT_EQ_INT(ltz_connect("hostile", &options, &pool), expected);
	EXPECT_TRUE(pool == NULL);
	if (detail != NULL)
		EXPECT_CONTAINS(ltz_error_detail(), detail);
	EXPECT_EQ_U64(count_descriptors(), before);
	EXPECT_THREADS(1);
	test_kill(child);
}

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

/* Sends this, and wants no descriptor back: a refusal or a close. */
static void ask_wrong(const char *dir, const void *data, size_t size, const int *fds, unsigned nfds)
{
	char control[256], answer[256];
	struct iovec part = { answer, sizeof answer };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct sockaddr_un address;
	int fd = raw_socket(dir, "asked", &address);

	ASSERT_OK(connect(fd, (struct sockaddr *)&address, sizeof address));
	raw_send(fd, data, size, fds, nfds);
	ssize_t got = recvmsg(fd, &message, 0);
	EXPECT_TRUE(got <= 0 || got == sizeof(struct packet_head));
	EXPECT_EQ_U64(message.msg_controllen, 0);
	close(fd);
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
