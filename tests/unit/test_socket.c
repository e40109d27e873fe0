/* SPDX-License-Identifier: MIT */
/* test_socket.c - long names, stale names, packets, and descriptors that travel. */
#include "sys/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "sys/fault.h"

#define SECOND_NS 1000000000u

struct room {
	int dir, listener;
	char temporary[32];
	char path[160]; /* of its socket */
};

static void room_init(struct room *room, const char *folder)
{
	char why[400] = "";

	room->dir = ltz__sys_directory(test_directory(), why, sizeof(why));
	ASSERT_OK(room->dir);
	room->listener = ltz__sys_listen(room->dir, room->temporary, sizeof(room->temporary));
	ASSERT_OK(room->listener);
	ASSERT_OK(ltz__sys_take_name(room->dir, room->temporary, folder));
	ASSERT_OK(ltz__sys_socket_path(room->dir, folder, room->path, sizeof(room->path)));
}

/* A connected pair by way of the room. */
static void pair_init(int pair[2])
{
	struct room room;

	room_init(&room, "pair");
	pair[0] = ltz__sys_connect(room.dir, room.path);
	ASSERT_OK(pair[0]);
	pair[1] = ltz__sys_accept(room.listener);
	ASSERT_OK(pair[1]);
}

static int open_descriptors(void)
{
	DIR *stream = opendir("/proc/self/fd");
	int count = 0;

	ASSERT_TRUE(stream != NULL);
	while (readdir(stream) != NULL)
		count++;
	closedir(stream);
	return count;
}

TEST(names_of_100_characters_connect)
{
	char name[106];
	struct room room;
	int client, server;

	memset(name, 'n', 100);
	memcpy(name + 100, ".pool", 6);
	room_init(&room, name);
	EXPECT_EQ_INT(ltz__sys_accept(room.listener), -EAGAIN);
	client = ltz__sys_connect(room.dir, room.path);
	ASSERT_OK(client);
	EXPECT_OK(ltz__sys_wait_readable(room.listener, 0));
	server = ltz__sys_accept(room.listener);
	ASSERT_OK(server);
	EXPECT_TRUE(fcntl(client, F_GETFD) & FD_CLOEXEC);
	EXPECT_TRUE(fcntl(server, F_GETFD) & FD_CLOEXEC);
	EXPECT_TRUE(fcntl(client, F_GETFL) & O_NONBLOCK);
	EXPECT_TRUE(fcntl(server, F_GETFL) & O_NONBLOCK);
}

TEST(the_name_of_a_listener_is_closed_to_others)
{
	struct room room;
	struct stat status;

	umask(0);
	room_init(&room, "open");
	ASSERT_OK(fstatat(room.dir, "open", &status, AT_SYMLINK_NOFOLLOW));
	EXPECT_EQ_U64(status.st_mode & 07777, 0700);
	ASSERT_OK(fstatat(room.dir, room.path, &status, AT_SYMLINK_NOFOLLOW));
	EXPECT_EQ_U64(status.st_mode & 07777, 0600);
	umask(0777); /* nor is it closed to ourselves */
	room_init(&room, "closed");
	ASSERT_OK(fstatat(room.dir, "closed", &status, AT_SYMLINK_NOFOLLOW));
	EXPECT_EQ_U64(status.st_mode & 07777, 0700);
}

TEST(connecting_says_what_is_missing)
{
	struct room room;
	char target[300];

	room_init(&room, "x");
	EXPECT_EQ_INT(ltz__sys_connect(room.dir, "x/none"), -ENOENT);
	EXPECT_EQ_INT(ltz__sys_connect(room.dir, "x"), -ECONNREFUSED); /* a folder */
	snprintf(target, sizeof(target), "%s/%s", test_directory(), room.path);
	ASSERT_OK(symlinkat(target, room.dir, "link"));
	EXPECT_EQ_INT(ltz__sys_connect(room.dir, "link"), -ECONNREFUSED);
	ltz__sys_close(openat(room.dir, "file", O_CREAT | O_WRONLY, 0600));
	EXPECT_EQ_INT(ltz__sys_connect(room.dir, "file"), -ECONNREFUSED);
	ltz__sys_close(room.listener);
	EXPECT_EQ_INT(ltz__sys_connect(room.dir, room.path), -ECONNREFUSED);
}

static void hold_listener(void *context)
{
	test_gate_wait(context);
}

TEST(a_listener_passed_on_outlives_its_maker)
{
	struct test_gate gate;
	struct room room;
	pid_t child;

	test_gate_init(&gate);
	room_init(&room, "x");
	child = test_fork(hold_listener, &gate);
	ltz__sys_close(room.listener);
	EXPECT_OK(ltz__sys_connect(room.dir, room.path));
	test_kill(child);
	EXPECT_EQ_INT(ltz__sys_connect(room.dir, room.path), -ECONNREFUSED);
}

TEST(only_a_real_listener_is_verified)
{
	int pair[2], stream, blocking;
	struct room room;

	room_init(&room, "x");
	EXPECT_EQ_INT(ltz__sys_listener_verify(room.listener), 0);
	pair_init(pair);
	EXPECT_EQ_INT(ltz__sys_listener_verify(pair[0]), -EPROTO);
	stream = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	EXPECT_EQ_INT(ltz__sys_listener_verify(stream), -EPROTO);
	EXPECT_EQ_INT(ltz__sys_listener_verify(room.dir), -EPROTO);
	EXPECT_EQ_INT(ltz__sys_listener_verify(-1), -EPROTO);
	blocking = ltz__sys_duplicate(room.listener);
	ASSERT_OK(fcntl(blocking, F_SETFL, 0));
	EXPECT_EQ_INT(ltz__sys_listener_verify(room.listener), -EPROTO);
}

TEST(the_peer_is_known)
{
	uint32_t uid = 0xdead, pid = 0;
	int pair[2];

	pair_init(pair);
	EXPECT_OK(ltz__sys_peer(pair[1], &uid, &pid));
	EXPECT_EQ_U64(uid, geteuid());
	EXPECT_EQ_U64(pid, (uint64_t)getpid());
}

TEST(packets_keep_their_borders)
{
	char data[16];
	unsigned nfds = 0;
	int pair[2];

	pair_init(pair);
	EXPECT_EQ_INT(ltz__sys_receive(pair[1], data, sizeof(data), NULL, &nfds), -EAGAIN);
	ASSERT_OK(ltz__sys_send(pair[0], "one", 3, NULL, 0));
	ASSERT_OK(ltz__sys_send(pair[0], "twelve", 6, NULL, 0));
	EXPECT_EQ_INT(ltz__sys_receive(pair[1], data, sizeof(data), NULL, &nfds), 3);
	EXPECT_EQ_MEM(data, "one", 3);
	EXPECT_EQ_INT(ltz__sys_receive(pair[1], data, sizeof(data), NULL, &nfds), 6);
	EXPECT_EQ_MEM(data, "twelve", 6);
	EXPECT_EQ_U64(nfds, 0);
	EXPECT_EQ_INT(ltz__sys_send(pair[0], "", 0, NULL, 0), -EINVAL);
}

TEST(a_packet_that_was_cut_is_refused)
{
	char data[4];
	unsigned nfds = 0;
	int pair[2];

	pair_init(pair);
	ASSERT_OK(ltz__sys_send(pair[0], "twelve", 6, NULL, 0));
	EXPECT_EQ_INT(ltz__sys_receive(pair[1], data, sizeof(data), NULL, &nfds), -EPROTO);
}

TEST(a_full_queue_and_a_closed_peer_are_results)
{
	static char packet[1024];
	unsigned nfds = 0;
	int pair[2], result, sent = 0;

	pair_init(pair);
	while ((result = ltz__sys_send(pair[0], packet, sizeof(packet), NULL, 0)) == 0)
		ASSERT_TRUE(sent++ < 100000);
	EXPECT_EQ_INT(result, -EAGAIN);
	ltz__sys_close(pair[1]);
	EXPECT_EQ_INT(ltz__sys_send(pair[0], packet, sizeof(packet), NULL, 0), -EPIPE);
	EXPECT_EQ_INT(ltz__sys_receive(pair[0], packet, sizeof(packet), NULL, &nfds), 0);
}

TEST(descriptors_travel_close_on_exec)
{
	unsigned nfds = LTZ_SYS_MAX_FDS;
	int pair[2], received[LTZ_SYS_MAX_FDS];
	uint64_t size = 0;
	char data[8];
	int memfd = ltz__sys_memfd("latzero-test");

	ASSERT_OK(ltz__sys_memfd_fix(memfd, 4096));
	pair_init(pair);
	ASSERT_OK(ltz__sys_send(pair[0], "fds", 3, (int[]){ memfd, pair[0] }, 2));
	ASSERT_EQ_INT(ltz__sys_receive(pair[1], data, sizeof(data), received, &nfds), 3);
	ASSERT_EQ_U64(nfds, 2);
	EXPECT_OK(ltz__sys_memfd_verify(received[0], &size));
	EXPECT_EQ_U64(size, 4096);
	EXPECT_TRUE(fcntl(received[0], F_GETFD) & FD_CLOEXEC);
	EXPECT_TRUE(fcntl(received[1], F_GETFD) & FD_CLOEXEC);
}

/* Like ltz__sys_send, without its limit. */
static void send_many(int fd, unsigned count)
{
	struct iovec part = { (void *)"x", 1 };
	union {
		char bytes[CMSG_SPACE(sizeof(int) * 16)];
		struct cmsghdr head;
	} control = { .bytes = { 0 } };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
		.msg_controllen = CMSG_SPACE(sizeof(int) * count),
	};

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(int) * count);
	for (unsigned i = 0; i < count; i++)
		memcpy(CMSG_DATA(&control.head) + i * sizeof(int), &fd, sizeof(int));
	ASSERT_EQ_INT(sendmsg(fd, &message, 0), 1);
}

TEST(surplus_descriptors_are_closed)
{
	int pair[2], received[LTZ_SYS_MAX_FDS], before;
	char data[8];

	pair_init(pair);
	before = open_descriptors();
	for (unsigned count = 1; count <= 16; count++) {
		unsigned nfds = count <= LTZ_SYS_MAX_FDS ? count - 1 : LTZ_SYS_MAX_FDS;

		send_many(pair[0], count);
		EXPECT_EQ_INT(ltz__sys_receive(pair[1], data, sizeof(data), received, &nfds), -EPROTO);
		EXPECT_EQ_U64(nfds, 0);
		EXPECT_EQ_INT(open_descriptors(), before);
	}
	EXPECT_EQ_INT(ltz__sys_send(pair[0], "x", 1, received, LTZ_SYS_MAX_FDS + 1), -EINVAL);
}

TEST(waiting_ends_by_data_by_the_peer_s_end_or_by_time)
{
	uint64_t start_ns = ltz__sys_boottime_ns();
	int pair[2];

	pair_init(pair);
	EXPECT_EQ_INT(ltz__sys_wait_readable(pair[1], 0), -ETIMEDOUT);
	EXPECT_EQ_INT(ltz__sys_wait_readable(pair[1], 20000000), -ETIMEDOUT);
	EXPECT_TRUE(ltz__sys_boottime_ns() - start_ns >= 20000000);
	ASSERT_OK(ltz__sys_send(pair[0], "x", 1, NULL, 0));
	EXPECT_EQ_INT(ltz__sys_wait_readable(pair[1], 10ull * SECOND_NS), 0);
	ltz__sys_close(pair[1]);
	EXPECT_EQ_INT(ltz__sys_wait_readable(pair[0], 10ull * SECOND_NS), 0);
	EXPECT_EQ_INT(ltz__sys_wait_readable(pair[1], 0), -EBADF);
}

TEST(a_failed_listen_leaves_no_name)
{
	char temporary[8]; /* too small */
	struct room room;
	int before;

	room_init(&room, "x");
	before = open_descriptors();
	EXPECT_EQ_INT(ltz__sys_listen(room.dir, temporary, sizeof(temporary)), -EINVAL);
	EXPECT_EQ_INT(open_descriptors(), before);
	ltz__sys_close(-1);
}

#ifdef LTZ_FAULTS

TEST(a_listener_that_cannot_be_verified_now_is_no_wrong_one)
{
	struct room room;

	room_init(&room, "x.sock");
	for (uint64_t n = 1; n <= 4; n++) {
		ltz__fault_set_call(LTZ_FAULT_THREAD, n, ENOMEM);
		EXPECT_EQ_INT(ltz__sys_listener_verify(room.listener), -ENOMEM);
	}
	EXPECT_EQ_INT(ltz__sys_listener_verify(room.listener), 0);
}

#endif
