/* SPDX-License-Identifier: MIT */
/*
 * handshake.c - the packets of a join, both sides, but for the proof of a
 * password. See handshake.h, packets.h.
 */
#include <string.h>

#include "base/error.h"
#include "pool/inspect.h"
#include "pool/packets.h"
#include "pool/proof.h"
#include "shm/mem.h"
#include "sys/fault.h"
#include "sys/sys.h"

int ltz__handshake_check_peer(int fd)
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

void ltz__handshake_refuse(int fd, int result)
{
	struct packet_head head = packet_head_make(result);
	(void)ltz__sys_send(fd, &head, sizeof head, NULL, 0); /* it is closed next, whatever came of it */
	LTZ_CRASH_POINT("pool.refused");
}

/* 0 if this is a question for the pool on offer; else what to refuse with. */
static int judge_hello(const union packet *packet, size_t size, const struct ltz_offer *offer)
{
	const struct packet_hello *hello = &packet->hello;
	if (size < sizeof hello->head || hello->head.magic != HANDSHAKE_MAGIC)
		return -EPROTO;
	if (hello->head.version != LTZ_PROTOCOL_VERSION)
		return -EPROTO;
	if (size != (hello->head.what == LTZ_ASK_PROVE ? sizeof packet->prove : sizeof *hello))
		return -EPROTO;
	if (strncmp(hello->name, offer->name, sizeof hello->name) != 0)
		return -ENOENT;
	if (ltz__mem_destroyed(offer->mem))
		return -ESHUTDOWN;
	return 0;
}

struct packet_welcome ltz__handshake_welcome(const struct ltz_offer *offer)
{
	struct packet_welcome welcome = {
		.head = packet_head_make(0),
		.pool_now_ns = ltz__mem_now_ns(offer->mem),
		.pool_flags = ltz__mem_flags(offer->mem),
	};
	memcpy(welcome.id, offer->id, sizeof welcome.id);
	welcome.auth = (welcome.pool_flags & LTZ_AUTH) != 0;
	welcome.encryption = (welcome.pool_flags & LTZ_ENCRYPTION) != 0;
	return welcome;
}

static void send_welcome(int fd, const struct ltz_offer *offer, unsigned nfds)
{
	const struct packet_welcome welcome = ltz__handshake_welcome(offer);
	const int fds[JOIN_FDS] = { offer->memfd, offer->listener };
	(void)ltz__sys_send(fd, &welcome, sizeof welcome, nfds ? fds : NULL, nfds);
	LTZ_CRASH_POINT("pool.welcome_sent");
}

static void send_locked(int fd, const struct ltz_offer *offer)
{
	struct packet_locked locked = {
		.head = packet_head_make(SAYS_LOCKED),
		.pool_flags = ltz__mem_flags(offer->mem),
		.terms = offer->keys->terms,
	};
	memcpy(locked.id, offer->id, sizeof locked.id);
	(void)ltz__sys_send(fd, &locked, sizeof locked, NULL, 0);
	LTZ_CRASH_POINT("pool.locked_sent");
}

static void send_report(int fd, const struct ltz_offer *offer)
{
	struct ltz_stats stats = { 0 };
	int r = ltz__inspect_stats(offer->mem, &stats);
	if (r < 0) {
		ltz__handshake_refuse(fd, r);
		return;
	}
	struct packet_report report = {
		.head = packet_head_make(0),
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

/* 0: answered; -EAGAIN: it goes on. */
static int answer_hello(struct ltz_handshake *handshake, const union packet *packet, const struct ltz_offer *offer)
{
	int fd = handshake->fd;
	switch (packet->head.what) {
	case LTZ_ASK_JOIN:
		if (ltz__keys_any(offer->keys))
			send_locked(fd, offer);
		else
			send_welcome(fd, offer, JOIN_FDS);
		return 0;
	case LTZ_ASK_IDENTITY:
		send_welcome(fd, offer, 0);
		return 0;
	case LTZ_ASK_INFO:
		send_report(fd, offer);
		return 0;
	case LTZ_ASK_PROVE:
		return ltz__proof_begin(handshake, offer, &packet->prove);
	default:
		ltz__handshake_refuse(fd, -EPROTO);
		return 0;
	}
}

static int serve_hello(struct ltz_handshake *handshake, const struct ltz_offer *offer, const union packet *packet,
                       size_t size)
{
	LTZ_CRASH_POINT("pool.hello_heard");
	int r = ltz__handshake_check_peer(handshake->fd);
	if (r == 0)
		r = judge_hello(packet, size, offer);
	else if (r != -EACCES)
		return 0; /* it cannot be told who asks: closed without an answer, the peer asks again */
	if (r == 0)
		return answer_hello(handshake, packet, offer);
	ltz__handshake_refuse(handshake->fd, r);
	return 0;
}

int ltz__handshake_serve(struct ltz_handshake *handshake, const struct ltz_offer *offer)
{
	union packet packet = { 0 };
	int no_fds[LTZ_SYS_MAX_FDS];
	unsigned nfds = 0; /* a question carries none: with one it is -EPROTO */
	enum ltz_handshake_state state = handshake->state;
	ssize_t size = ltz__sys_receive(handshake->fd, &packet, sizeof packet, no_fds, &nfds);
	if (size == -EAGAIN)
		return -EAGAIN;
	handshake->state = LTZ_FINISHED; /* unless a step below says otherwise */
	if (size <= 0)
		return 0;
	switch (state) {
	case LTZ_AWAITS_HELLO:
		return serve_hello(handshake, offer, &packet, (size_t)size);
	case LTZ_AWAITS_CONFIRMATION:
		return ltz__proof_hear(handshake, &packet.confirm, (size_t)size);
	case LTZ_AWAITS_TURN: /* who waits has nothing to say */
	case LTZ_FINISHED:
		return 0;
	}
	return 0;
}

void ltz__handshake_deinit(struct ltz_handshake *handshake)
{
	ltz__spake2_free(handshake->spake2);
	handshake->spake2 = NULL;
}

/* ---- the asking side ----------------------------------------------------------------- */

int ltz__handshake_ask(int fd, enum ltz_question question, const char *name)
{
	struct packet_hello hello = { .head = packet_head_make(question) };
	assert(strlen(name) <= LTZ_NAME_MAX);
	memcpy(hello.name, name, strlen(name));
	int r = ltz__handshake_check_peer(fd);
	if (r < 0)
		return r;
	r = ltz__sys_send(fd, &hello, sizeof hello, NULL, 0);
	LTZ_CRASH_POINT("pool.asked");
	return r == -EPIPE ? -ECONNRESET : r;
}

/* What somebody says who does not say what is expected. */
static int judge_refusal(int32_t what)
{
	switch (what) {
	case -EACCES:
		return ltz__fail(-EACCES, "the listener does not let user %u in", ltz__sys_uid());
	case -EKEYREJECTED:
		return ltz__fail(-EKEYREJECTED, "the password is wrong");
	case -ESHUTDOWN:
	case -ESTALE:
	case -EUCLEAN:
		return what;
	default:
		return ltz__fail(-EPROTO, "the listener refuses the question (%d)", what);
	}
}

int ltz__handshake_judge(const union packet *packet, size_t size, unsigned nfds,
                         int32_t what, size_t right_size, unsigned right_nfds)
{
	if (size < sizeof packet->head || packet->head.magic != HANDSHAKE_MAGIC)
		return ltz__fail(-EPROTO, "the listener does not speak latzero's protocol");
	if (packet->head.version != LTZ_PROTOCOL_VERSION)
		return ltz__fail(-EPROTO, "the pool's members speak protocol %u, this library speaks %u",
		                 packet->head.version, LTZ_PROTOCOL_VERSION);
	if (packet->head.what != what)
		return judge_refusal(packet->head.what);
	if (size != right_size || nfds != right_nfds)
		return ltz__fail(-EPROTO, "the listener's answer has %zu bytes and %u descriptors, expected %zu and %u",
		                 size, nfds, right_size, right_nfds);
	return 0;
}

/* What a packet says that should be an answer to `question`. */
static int judge_answer(const union packet *packet, size_t size, enum ltz_question question, unsigned nfds)
{
	size_t right_size = question == LTZ_ASK_INFO ? sizeof packet->report : sizeof packet->welcome;

	if (question == LTZ_ASK_JOIN && size >= sizeof packet->head && packet->head.what == SAYS_LOCKED)
		return ltz__handshake_judge(packet, size, nfds, SAYS_LOCKED, sizeof packet->locked, 0);
	return ltz__handshake_judge(packet, size, nfds, 0, right_size, question == LTZ_ASK_JOIN ? JOIN_FDS : 0);
}

void ltz__handshake_read_welcome(const struct packet_welcome *welcome, struct ltz_answer *answer)
{
	memcpy(answer->id, welcome->id, sizeof answer->id);
	answer->pool_flags = welcome->pool_flags;
	answer->pool_now_ns = welcome->pool_now_ns;
}

static int read_locked(const struct packet_locked *locked, struct ltz_answer *answer)
{
	memcpy(answer->id, locked->id, sizeof answer->id);
	answer->pool_flags = locked->pool_flags;
	answer->terms = locked->terms;
	if ((locked->pool_flags & LTZ_AUTH) != 0 && locked->terms.kind != LTZ_TERMS_OPEN)
		return 0;
	return ltz__fail(-EPROTO, "the listener says that the pool is locked, and that it is not");
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
	if (packet.head.what == SAYS_LOCKED)
		return read_locked(&packet.locked, answer);
	ltz__handshake_read_welcome(&packet.welcome, answer);
	if (question == LTZ_ASK_JOIN) {
		answer->memfd = fds[0];
		answer->listener = fds[1];
	}
	return 0;
}
