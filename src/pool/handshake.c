/* SPDX-License-Identifier: MIT */
/*
 * handshake.c - the packets of a join, both sides. See handshake.h.
 *
 * - The structures below are packets. What comes from a socket is copied to
 *   private memory first and checked there: size, magic, version, bounds.
 * - A packet has no padding and no pointer: nothing of this process leaks.
 */
#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "pool/handshake.h"
#include "pool/inspect.h"
#include "shm/mem.h"
#include "sys/fault.h"
#include "sys/sys.h"

#define HANDSHAKE_MAGIC 0x6c61747a65726f31ull /* "latzero1" */
#define JOIN_FDS 2u

struct packet_head {
	uint64_t magic;
	uint32_t version;
	int32_t what;
};

struct packet_hello {
	struct packet_head head;
	char name[104]; /* NUL-terminated, then zeros */
};

struct packet_welcome {
	struct packet_head head;
	uint8_t id[LTZ_ID_BYTES];
	uint64_t pool_now_ns;
	uint32_t pool_flags;
	uint8_t auth, encryption;
	uint8_t reserved[2];
};

struct packet_report {
	struct packet_head head;
	uint8_t id[LTZ_ID_BYTES];
	uint64_t keys, used_bytes, max_bytes;
	int64_t created_ms, heartbeat_ms;
	uint32_t members;
	uint8_t auth, encryption;
	uint8_t reserved[2];
};

union packet {
	struct packet_head head;
	struct packet_hello hello;
	struct packet_welcome welcome;
	struct packet_report report;
};

static_assert(sizeof(struct packet_head) == 16, "the head is the same in every version");
static_assert(sizeof(struct packet_hello) == 120, "no padding in packets");
static_assert(sizeof(struct packet_welcome) == 48, "no padding in packets");
static_assert(sizeof(struct packet_report) == 80, "no padding in packets");
static_assert(LTZ_NAME_MAX < 104, "a name and its NUL fit a hello");

static struct packet_head make_head(int32_t what)
{
	return (struct packet_head){
		.magic = HANDSHAKE_MAGIC, .version = LTZ_PROTOCOL_VERSION, .what = what };
}

static int check_peer(int fd)
{
	uint32_t uid, pid;
	int r = ltz__sys_peer(fd, &uid, &pid);
	if (r < 0)
		return r;
	if (uid != ltz__sys_uid())
		return ltz__fail(-EACCES, "the listener is a process of user %u, not of user %u", uid, ltz__sys_uid());
	return 0;
}

/* ---- the serving side ------------------------------------------------------------- */

static void refuse(int fd, int result)
{
	struct packet_head head = make_head(result);
	(void)ltz__sys_send(fd, &head, sizeof head, NULL, 0); /* it is closed next, whatever came of it */
	LTZ_CRASH_POINT("pool.refused");
}

/* 0 if this is a question for the pool on offer; else what to refuse with. */
static int judge_hello(const struct packet_hello *hello, size_t size, const struct ltz_offer *offer)
{
	if (size < sizeof hello->head || hello->head.magic != HANDSHAKE_MAGIC)
		return -EPROTO;
	if (hello->head.version != LTZ_PROTOCOL_VERSION || size != sizeof *hello)
		return -EPROTO;
	if (strncmp(hello->name, offer->name, sizeof hello->name) != 0)
		return -ENOENT;
	if (ltz__mem_destroyed(offer->mem))
		return -ESHUTDOWN;
	return 0;
}

static void send_welcome(int fd, const struct ltz_offer *offer, unsigned nfds)
{
	struct packet_welcome welcome = {
		.head = make_head(0),
		.pool_now_ns = ltz__mem_now_ns(offer->mem),
		.pool_flags = ltz__mem_flags(offer->mem),
	};
	memcpy(welcome.id, offer->id, sizeof welcome.id);
	const int fds[JOIN_FDS] = { offer->memfd, offer->listener };
	(void)ltz__sys_send(fd, &welcome, sizeof welcome, nfds ? fds : NULL, nfds);
	LTZ_CRASH_POINT("pool.welcome_sent");
}

static void send_report(int fd, const struct ltz_offer *offer)
{
	struct ltz_stats stats = { 0 };
	int r = ltz__inspect_stats(offer->mem, &stats);
	if (r < 0) {
		refuse(fd, r);
		return;
	}
	struct packet_report report = {
		.head = make_head(0),
		.keys = stats.keys,
		.used_bytes = stats.used_bytes,
		.max_bytes = stats.max_bytes,
		.created_ms = stats.created_ms,
		.heartbeat_ms = ltz__sys_unix_ms(),
		.members = stats.members,
		.auth = stats.auth,
		.encryption = stats.encryption,
	};
	memcpy(report.id, offer->id, sizeof report.id);
	(void)ltz__sys_send(fd, &report, sizeof report, NULL, 0);
	LTZ_CRASH_POINT("pool.report_sent");
}

static void answer_hello(int fd, const struct packet_hello *hello, size_t size, const struct ltz_offer *offer)
{
	int r = judge_hello(hello, size, offer);
	if (r < 0) {
		refuse(fd, r);
		return;
	}
	switch (hello->head.what) {
	case LTZ_ASK_JOIN:
		send_welcome(fd, offer, JOIN_FDS);
		break;
	case LTZ_ASK_IDENTITY:
		send_welcome(fd, offer, 0);
		break;
	case LTZ_ASK_INFO:
		send_report(fd, offer);
		break;
	default:
		refuse(fd, -EPROTO);
	}
}

static int serve_hello(struct ltz_handshake *handshake, const struct ltz_offer *offer)
{
	union packet packet = { 0 };
	int no_fds[LTZ_SYS_MAX_FDS];
	unsigned nfds = 0; /* a question carries none: with one it is -EPROTO */
	ssize_t size = ltz__sys_receive(handshake->fd, &packet, sizeof packet, no_fds, &nfds);
	if (size == -EAGAIN)
		return -EAGAIN;
	handshake->state = LTZ_FINISHED;
	if (size <= 0)
		return 0;
	LTZ_CRASH_POINT("pool.hello_heard");
	int r = check_peer(handshake->fd);
	if (r == -EACCES)
		refuse(handshake->fd, r);
	else if (r == 0)
		answer_hello(handshake->fd, &packet.hello, (size_t)size, offer);
	/* else it cannot be told who asks: closed without an answer, the peer asks again */
	return 0;
}

int ltz__handshake_serve(struct ltz_handshake *handshake, const struct ltz_offer *offer)
{
	switch (handshake->state) {
	case LTZ_AWAITS_HELLO:
		return serve_hello(handshake, offer);
	case LTZ_FINISHED:
		return 0;
	}
	return 0;
}

/* ---- the asking side ----------------------------------------------------------------- */

int ltz__handshake_ask(int fd, enum ltz_question question, const char *name)
{
	struct packet_hello hello = { .head = make_head(question) };
	assert(strlen(name) <= LTZ_NAME_MAX);
	memcpy(hello.name, name, strlen(name));
	int r = check_peer(fd);
	if (r < 0)
		return r;
	r = ltz__sys_send(fd, &hello, sizeof hello, NULL, 0);
	LTZ_CRASH_POINT("pool.asked");
	return r == -EPIPE ? -ECONNRESET : r;
}

/* What a packet says that should be an answer to `question`. */
static int judge_answer(const union packet *packet, size_t size, enum ltz_question question, unsigned nfds)
{
	size_t right_size = question == LTZ_ASK_INFO ? sizeof packet->report : sizeof packet->welcome;
	unsigned right_nfds = question == LTZ_ASK_JOIN ? JOIN_FDS : 0;

	if (size < sizeof packet->head || packet->head.magic != HANDSHAKE_MAGIC)
		return ltz__fail(-EPROTO, "the listener does not speak latzero's protocol");
	if (packet->head.version != LTZ_PROTOCOL_VERSION)
		return ltz__fail(-EPROTO, "the pool's members speak protocol %u, this library speaks %u",
		                 packet->head.version, LTZ_PROTOCOL_VERSION);
	switch (packet->head.what) {
	case 0:
		break;
	case -EACCES:
		return ltz__fail(-EACCES, "the listener does not let user %u in", ltz__sys_uid());
	case -ESHUTDOWN:
	case -EUCLEAN:
		return packet->head.what;
	default:
		return ltz__fail(-EPROTO, "the listener refuses the question (%d)", packet->head.what);
	}
	if (size != right_size || nfds != right_nfds)
		return ltz__fail(-EPROTO, "the listener's answer has %zu bytes and %u descriptors, expected %zu and %u",
		                 size, nfds, right_size, right_nfds);
	return 0;
}

static void read_welcome(const struct packet_welcome *welcome, struct ltz_answer *answer)
{
	memcpy(answer->id, welcome->id, sizeof answer->id);
	answer->pool_flags = welcome->pool_flags;
	answer->pool_now_ns = welcome->pool_now_ns;
}

static void read_report(const struct packet_report *report, struct ltz_answer *answer)
{
	memcpy(answer->id, report->id, sizeof answer->id);
	answer->info = (struct ltz_pool_info){
		.answered = 1,
		.auth = report->auth != 0,
		.encryption = report->encryption != 0,
		.members = report->members,
		.keys = report->keys,
		.used_bytes = report->used_bytes,
		.max_bytes = report->max_bytes,
		.created_ms = report->created_ms,
		.heartbeat_ms = report->heartbeat_ms,
	};
}

int ltz__handshake_result(int fd, enum ltz_question question, struct ltz_answer *answer)
{
	union packet packet = { 0 };
	int fds[LTZ_SYS_MAX_FDS];
	unsigned nfds = LTZ_SYS_MAX_FDS;
	ssize_t size = ltz__sys_receive(fd, &packet, sizeof packet, fds, &nfds);
	if (size == -EPROTO)
		return ltz__fail(-EPROTO, "the listener's answer is too long or carries too many descriptors");
	if (size <= 0)
		return size == 0 ? -ECONNRESET : (int)size;
	LTZ_CRASH_POINT("pool.answered");

	int r = judge_answer(&packet, (size_t)size, question, nfds);
	if (r < 0) {
		for (unsigned i = 0; i < nfds; i++)
			ltz__sys_close(fds[i]);
		return r;
	}
	*answer = (struct ltz_answer){ .memfd = -1, .listener = -1 };
	if (question == LTZ_ASK_INFO) {
		read_report(&packet.report, answer);
		return 0;
	}
	read_welcome(&packet.welcome, answer);
	if (question == LTZ_ASK_JOIN) {
		answer->memfd = fds[0];
		answer->listener = fds[1];
	}
	return 0;
}
