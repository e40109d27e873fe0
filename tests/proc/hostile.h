/* SPDX-License-Identifier: MIT */
/*
 * hostile.h - listeners and clients that do not play by the rules.
 *
 * The packets are written down here a second time, on purpose: a change of the
 * wire format that forgets the version number fails here.
 */
#ifndef LTZ_TEST_HOSTILE_H
#define LTZ_TEST_HOSTILE_H

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

struct packet_locked {
	struct packet_head head;
	uint8_t id[16];
	uint32_t pool_flags, reserved;
	uint32_t kind, memory_kib, passes, lanes;
	uint8_t salt[16];
};

struct packet_prove {
	struct packet_hello hello;
	uint8_t id[16], message[65], reserved[7];
};

struct packet_share {
	struct packet_head head;
	uint8_t message[65], reserved[7];
};

struct packet_confirm {
	struct packet_head head;
	uint8_t confirmation[32];
};

struct packet_entry {
	struct packet_welcome welcome;
	uint8_t confirmation[32], sealed_key[32], tag[16];
};

enum { JOIN = 1, PROVE = 4, CONFIRM = 5, LOCKED = 1, SHARE = 2, WAIT = 3 }; /* head.what */

static UNUSED int raw_socket(const char *dir, const char *name, struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ASSERT_OK(fd);
	*address = address_of(dir, name);
	return fd;
}

static UNUSED void raw_send(int fd, const void *data, size_t size, const int *fds, unsigned nfds)
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

static UNUSED int listener_flags = O_NONBLOCK;

struct listener {
	int fd, memfd;
	void (*answer)(const struct listener *listener, int peer);
};

static UNUSED int sealed_memory(size_t size)
{
	int fd = memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ASSERT_OK(fd);
	ASSERT_OK(ftruncate(fd, (off_t)size));
	ASSERT_OK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
	return fd;
}

static UNUSED struct packet_welcome welcome(void)
{
	return (struct packet_welcome){ .head = { MAGIC, VERSION, 0 }, .id = { 1, 2, 3 }, .pool_now_ns = 1 };
}

static UNUSED void answer_nothing_and_close(const struct listener *listener, int peer)
{
	(void)listener;
	close(peer);
}

static UNUSED void stall(const struct listener *listener, int peer)
{
	(void)listener;
	(void)peer;
}

static UNUSED void answer_garbage(const struct listener *listener, int peer)
{
	(void)listener;
	raw_send(peer, "GET / HTTP/1.1 and more than sixteen bytes", 42, NULL, 0);
}

static UNUSED void answer_too_much(const struct listener *listener, int peer)
{
	static char much[100000];

	(void)listener;
	raw_send(peer, much, sizeof much, NULL, 0);
}

static UNUSED void answer_another_version(const struct listener *listener, int peer)
{
	struct packet_head head = { MAGIC, VERSION + 1, 0 };

	(void)listener;
	raw_send(peer, &head, sizeof head, NULL, 0);
}

static UNUSED void answer_short(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->fd };

	raw_send(peer, &packet, sizeof packet - 8, fds, 2);
}

static UNUSED void answer_without_descriptors(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();

	(void)listener;
	raw_send(peer, &packet, sizeof packet, NULL, 0);
}

static UNUSED void answer_with_three(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->fd, listener->fd };

	raw_send(peer, &packet, sizeof packet, fds, 3);
}

static UNUSED void answer_with_eight(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->fd, 0, 0, 0, 0, 0, 0 };

	raw_send(peer, &packet, sizeof packet, fds, 8);
}

static UNUSED void answer_with_these(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->fd };

	raw_send(peer, &packet, sizeof packet, fds, 2);
}

static UNUSED void answer_with_memory_twice(const struct listener *listener, int peer)
{
	struct packet_welcome packet = welcome();
	const int fds[] = { listener->memfd, listener->memfd };

	raw_send(peer, &packet, sizeof packet, fds, 2);
}

static struct packet_prove asked; /* what the client asked last */

static UNUSED void listen_in_child(void *context)
{
	const struct listener *listener = context;
	int peer;

	for (;;) {
		struct pollfd ready = { .fd = listener->fd, .events = POLLIN };
		poll(&ready, 1, -1);
		peer = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
		if (peer < 0 && errno == EAGAIN)
			continue;
		ASSERT_OK(peer);
		if (recv(peer, &asked, sizeof asked, 0) == 0)
			continue; /* somebody looked whether anybody listens */
		listener->answer(listener, peer);
		/* peer stays open: a close would be one more hint to the client */
	}
}

/*
 * A child listens as `hostile` and answers so; a connect must give `expected`,
 * and leave no descriptor open.
 */
static UNUSED struct ltz_open_options hopeful; /* what the client hopes with */

static UNUSED void expect_connect(void (*answer)(const struct listener *, int), int memfd, int expected, const char *detail)
{
	const char *dir = test_directory();
	struct ltz_open_options options = hopeful;
	struct sockaddr_un address;
	struct listener listener = { .fd = raw_socket(dir, "hostile", &address), .memfd = memfd, .answer = answer };
	unsigned before;
	ltz_pool *pool = NULL;

	options.dir = dir;
	options.timeout_ms = TIMEOUT_MS;
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

/* Sends this, and wants no descriptor back: a refusal or a close. */
static UNUSED void ask_wrong(const char *dir, const void *data, size_t size, const int *fds, unsigned nfds)
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

#endif
