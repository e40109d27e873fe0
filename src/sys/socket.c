/* SPDX-License-Identifier: MIT */
/*
 * socket.c - SOCK_SEQPACKET unix sockets, found by name in a directory.
 * The directory itself is in directory.c.
 *
 * A unix address holds 107 bytes, a pool's name and directory may need more.
 * So both sides go through /proc/self/fd:
 *   listen   binds /proc/self/fd/DIR/<short temporary folder>/<number>; the
 *            caller then renames the folder, which is also the election
 *   connect  opens the name with O_PATH and connects to /proc/self/fd/N
 */
#include "sys/sys.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sys/call.h"

#define SOCKET_FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK)
#define NS_PER_S 1000000000u

static int new_socket(void)
{
	return (int)LTZ_CALL(socket(AF_UNIX, SOCK_SEQPACKET | SOCKET_FLAGS, 0));
}

static int bind_in(int fd, int dir, const char *name)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir, name) >=
	    (int)sizeof(address.sun_path))
		return -ENAMETOOLONG;
	return (int)LTZ_CALL(bind(fd, (const struct sockaddr *)&address, sizeof(address)));
}

#define TEMPORARY ".new-"

/* ".new-" and 16 hex digits: too many to meet another one's by chance, or to guess. */
static int temporary_name(char *name, size_t size)
{
	uint64_t number;
	int result = ltz__sys_random(&number, sizeof(number));

	if (result == 0 && snprintf(name, size, TEMPORARY "%016llx", (unsigned long long)number) >= (int)size)
		result = -EINVAL;
	return result;
}

/*
 * A socket that listens at this path. Closed to others; no umask(), which would
 * change the files of other threads too: nobody listens before, and the folder
 * is closed to others anyway.
 */
static int listen_at(int dir, const char *path)
{
	int fd = new_socket(), result;

	if (fd < 0)
		return fd;
	result = bind_in(fd, dir, path);
	LTZ_CRASH_POINT("sys.bound");
	if (result == 0) {
		result = (int)LTZ_CALL(fchmodat(dir, path, 0600, 0));
		if (result == 0)
			result = (int)LTZ_CALL(listen(fd, SOMAXCONN));
		if (result < 0)
			LTZ_CALL(unlinkat(dir, path, 0)); /* left behind, it is removed by who lists the directory */
	}
	if (result < 0)
		ltz__sys_close(fd);
	return result < 0 ? result : fd;
}

int ltz__sys_listen(int dir, char *temporary, size_t size)
{
	char path[64];
	int result = temporary_name(temporary, size);

	if (result < 0)
		return result;
	result = (int)LTZ_CALL(mkdirat(dir, temporary, 0700));
	if (result < 0)
		return result;
	LTZ_CRASH_POINT("sys.folder_made");
	snprintf(path, sizeof(path), "%s/%s", temporary, temporary + strlen(TEMPORARY));
	result = (int)LTZ_CALL(fchmodat(dir, temporary, 0700, 0)); /* whatever the umask has taken */
	if (result == 0)
		result = listen_at(dir, path);
	if (result < 0)
		LTZ_CALL(unlinkat(dir, temporary, AT_REMOVEDIR));
	return result;
}

static int connect_by_fd(int fd, int name_fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct stat status;
	long result = LTZ_CALL(fstat(name_fd, &status));

	if (result < 0)
		return (int)result;
	if (!S_ISSOCK(status.st_mode)) /* a symbolic link too: it is not followed */
		return -ECONNREFUSED;
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", name_fd);
	result = LTZ_CALL(connect(fd, (const struct sockaddr *)&address, sizeof(address)));
	return result == -EPROTOTYPE ? -EPROTO : (int)result; /* a listener of another kind */
}

int ltz__sys_connect(int dir, const char *path)
{
	int name_fd, fd, result;

	name_fd = (int)LTZ_CALL(openat(dir, path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
	if (name_fd < 0)
		return name_fd;
	result = fd = new_socket();
	if (fd >= 0) {
		result = connect_by_fd(fd, name_fd);
		if (result < 0)
			ltz__sys_close(fd);
	}
	ltz__sys_close(name_fd);
	return result < 0 ? result : fd;
}

int ltz__sys_accept(int listener)
{
	return (int)LTZ_CALL(accept4(listener, NULL, NULL, SOCKET_FLAGS));
}

/* 0, -EPROTO: it is not, or fd is no socket; or why it cannot be told. */
static int expect_option(int fd, int option, int wanted)
{
	int value = 0;
	socklen_t size = sizeof(value);
	long result = LTZ_CALL(getsockopt(fd, SOL_SOCKET, option, &value, &size));

	if (result == -ENOTSOCK || result == -EBADF || (result == 0 && value != wanted))
		return -EPROTO;
	return (int)result;
}

int ltz__sys_listener_verify(int fd)
{
	long flags = LTZ_CALL(fcntl(fd, F_GETFL));
	int result;

	/* Not blocking: else accept() would hang the thread that serves. */
	if (flags == -EBADF || (flags >= 0 && !(flags & O_NONBLOCK)))
		return -EPROTO;
	if (flags < 0)
		return (int)flags;
	result = expect_option(fd, SO_DOMAIN, AF_UNIX);
	if (result == 0)
		result = expect_option(fd, SO_TYPE, SOCK_SEQPACKET);
	if (result == 0)
		result = expect_option(fd, SO_ACCEPTCONN, 1);
	return result;
}

int ltz__sys_peer(int fd, uint32_t *uid, uint32_t *pid)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);
	long result = LTZ_CALL(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size));

	if (result < 0)
		return (int)result;
	*uid = (uint32_t)peer.uid;
	*pid = (uint32_t)peer.pid;
	return 0;
}

int ltz__sys_socket_pair(int fds[2])
{
	long result = LTZ_CALL(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCKET_FLAGS, 0, fds));

	return result < 0 ? (int)result : 0;
}

/* Room for descriptors in a message, aligned as the kernel wants it. */
union control {
	char bytes[CMSG_SPACE(sizeof(int) * LTZ_SYS_MAX_FDS)];
	struct cmsghdr align;
};

int ltz__sys_send(int fd, const void *data, size_t size, const int *fds, unsigned nfds)
{
	struct iovec part = { .iov_base = (void *)data, .iov_len = size };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	union control control = { .bytes = { 0 } };
	long result;

	if (size == 0 || nfds > LTZ_SYS_MAX_FDS) /* an empty packet reads like a closed peer */
		return -EINVAL;
	if (nfds > 0) {
		struct cmsghdr *head = &control.align;

		head->cmsg_level = SOL_SOCKET;
		head->cmsg_type = SCM_RIGHTS;
		head->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(head), fds, sizeof(int) * nfds);
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
	}
	result = LTZ_CALL(sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
	if (result == -ECONNRESET) /* it closed with something of ours unread */
		return -EPIPE;
	return result < 0 ? (int)result : 0;
}

/* Moves the descriptors of a received message to fds[0..LTZ_SYS_MAX_FDS); returns their number. */
static unsigned take_descriptors(struct msghdr *message, int *fds)
{
	unsigned count = 0;

	for (struct cmsghdr *head = CMSG_FIRSTHDR(message); head != NULL; head = CMSG_NXTHDR(message, head)) {
		unsigned here;

		if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS)
			continue;
		here = (unsigned)((head->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds + count, CMSG_DATA(head), sizeof(int) * here); /* all fit: so large is the buffer */
		count += here;
	}
	return count;
}

ssize_t ltz__sys_receive(int fd, void *data, size_t size, int *fds, unsigned *nfds)
{
	struct iovec part = { .iov_base = data, .iov_len = size };
	union control control;
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	int received[LTZ_SYS_MAX_FDS];
	unsigned wanted = *nfds, count;
	long n;

	*nfds = 0;
	n = LTZ_CALL(recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT));
	if (n < 0)
		return n == -ECONNRESET ? 0 : n;
	/* Those beyond LTZ_SYS_MAX_FDS the kernel has dropped already (MSG_CTRUNC). */
	count = take_descriptors(&message, received);
	if (count > wanted || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || (n == 0 && count > 0)) {
		while (count > 0)
			ltz__sys_close(received[--count]);
		return -EPROTO;
	}
	if (count > 0)
		memcpy(fds, received, sizeof(int) * count);
	*nfds = count;
	return n;
}

int ltz__sys_wait_readable(int fd, uint64_t timeout_ns)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };
	uint64_t start_ns = ltz__sys_boottime_ns();

	for (;;) {
		uint64_t gone_ns = ltz__sys_boottime_ns() - start_ns;
		uint64_t left_ns = gone_ns < timeout_ns ? timeout_ns - gone_ns : 0;
		struct timespec left = { (time_t)(left_ns / NS_PER_S), (long)(left_ns % NS_PER_S) };
		int n = LTZ_SYS_CALL(ppoll(&one, 1, &left, NULL));

		if (n > 0)
			return one.revents & POLLNVAL ? -EBADF : 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

void ltz__sys_close(int fd)
{
	if (fd >= 0)
		close(fd); /* never again on EINTR: see call.h */
}

int ltz__sys_duplicate(int fd)
{
	/* From 3 on: a program with a closed stderr must not print into a pool. */
	return (int)LTZ_CALL(fcntl(fd, F_DUPFD_CLOEXEC, 3));
}
