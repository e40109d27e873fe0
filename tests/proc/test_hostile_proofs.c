/* SPDX-License-Identifier: MIT */
/*
 * test_hostile_proofs.c - the same for locked pools: who does not know the
 * password gets nothing, whatever it says, and keeps nobody out.
 */
#include "hostile.h"

/* ---- hostile listeners of locked pools ------------------------------------------------- */

static const uint8_t raw_key[32] = "thirty-two bytes that are random";

static void hope_with_raw_key(void)
{
	hopeful.key = raw_key;
	hopeful.key_size = sizeof raw_key;
	hopeful.flags = LTZ_RAW_KEY;
}

static void hope_with_password(void)
{
	hopeful.key = "password";
	hopeful.key_size = 8;
	hopeful.flags = 0;
}

static struct packet_locked locked = { .head = { MAGIC, VERSION, LOCKED }, .id = { 1, 2, 3 }, .pool_flags = LTZ_AUTH };

static void answer_locked(const struct listener *listener, int peer)
{
	(void)listener;
	raw_send(peer, &locked, sizeof locked, NULL, 0);
}

static void expect_terms(uint32_t kind, uint32_t memory_kib, uint32_t passes, uint32_t lanes, int expected)
{
	locked.kind = kind, locked.memory_kib = memory_kib, locked.passes = passes, locked.lanes = lanes;
	expect_connect(answer_locked, -1, expected, "");
}

TEST(a_listener_cannot_make_the_proof_cheap_or_endless)
{
	hope_with_password();
	expect_terms(1, 1024, 3, 1, -EPROTO);
	expect_terms(1, 64 << 10, 1, 1, -EPROTO);
	expect_terms(1, 64 << 10, 0, 1, -EPROTO);
	expect_terms(1, 64 << 10, 3, 0, -EPROTO);
	expect_terms(1, UINT32_MAX, 3, 1, -EPROTO);
	expect_terms(1, 64 << 10, UINT32_MAX, 1, -EPROTO);
	expect_terms(1, 64 << 10, 3, UINT32_MAX, -EPROTO);
	expect_terms(2, 0, 0, 0, -EKEYREJECTED); /* "no Argon2id, please" */
	expect_terms(0, 0, 0, 0, -EPROTO);
	expect_terms(77, 0, 0, 0, -EPROTO);
}

static void answer_locked_with_descriptors(const struct listener *listener, int peer)
{
	const int fds[] = { listener->memfd, listener->fd };

	raw_send(peer, &locked, sizeof locked, fds, 2);
}

/* Whoever hopes for a locked pool takes no other. */
TEST(an_open_welcome_is_no_answer_to_a_key)
{
	hope_with_raw_key();
	locked.kind = 2;
	expect_connect(answer_locked_with_descriptors, sealed_memory(64 << 20), -EPROTO, "descriptors");
	expect_connect(answer_with_these, sealed_memory(64 << 20), -EKEYREJECTED, "no password");
}

/* Says LOCKED; to a PROVE what `then` says. */
static void (*then)(const struct listener *listener, int peer);

static void answer_locked_then(const struct listener *listener, int peer)
{
	if (asked.hello.head.what == PROVE)
		then(listener, peer);
	else
		answer_locked(listener, peer);
}

static void expect_proof(void (*answer)(const struct listener *, int), int expected, const char *detail)
{
	hope_with_raw_key();
	locked.kind = 2;
	then = answer;
	expect_connect(answer_locked_then, sealed_memory(64 << 20), expected, detail);
}

static void send_share(int peer, const uint8_t *message)
{
	struct packet_share share = { .head = { MAGIC, VERSION, SHARE } };

	memcpy(share.message, message, sizeof share.message);
	raw_send(peer, &share, sizeof share, NULL, 0);
}

static void share_garbage(const struct listener *listener, int peer)
{
	uint8_t garbage[65] = { 4, 5, 6 };

	(void)listener;
	send_share(peer, garbage);
}

static void share_too_short(const struct listener *listener, int peer)
{
	struct packet_share share = { .head = { MAGIC, VERSION, SHARE } };

	(void)listener;
	raw_send(peer, &share, sizeof share - 1, NULL, 0);
}

static void share_with_descriptors(const struct listener *listener, int peer)
{
	struct packet_share share = { .head = { MAGIC, VERSION, SHARE } };
	const int fds[] = { listener->memfd, listener->fd };

	memcpy(share.message, asked.message, sizeof share.message);
	raw_send(peer, &share, sizeof share, fds, 2);
}

/* Then a peer's last word, with or without descriptors. */
static void mirror_then_send(const struct listener *listener, int peer, const void *packet, size_t size, unsigned nfds)
{
	const int fds[] = { listener->memfd, listener->fd, listener->fd };
	struct packet_confirm confirm;

	send_share(peer, asked.message);
	if (recv(peer, &confirm, sizeof confirm, 0) == sizeof confirm)
		raw_send(peer, packet, size, fds, nfds);
}

static void enter_without_knowing(const struct listener *listener, int peer)
{
	const struct packet_entry entry = { .welcome = { .head = { MAGIC, VERSION, 0 }, .id = { 1, 2, 3 }, .pool_flags = LTZ_AUTH } };

	mirror_then_send(listener, peer, &entry, sizeof entry, 2);
}

static void enter_with_three(const struct listener *listener, int peer)
{
	const struct packet_entry entry = { .welcome = { .head = { MAGIC, VERSION, 0 } } };

	mirror_then_send(listener, peer, &entry, sizeof entry, 3);
}

static void welcome_after_confirmation(const struct listener *listener, int peer)
{
	const struct packet_welcome packet = welcome();

	mirror_then_send(listener, peer, &packet, sizeof packet, 2);
}

static void wait_for_ever(const struct listener *listener, int peer)
{
	const struct { struct packet_head head; uint64_t retry_ns; } wait = { { MAGIC, VERSION, WAIT }, UINT64_MAX };

	mirror_then_send(listener, peer, &wait, sizeof wait, 0);
}

static void refuse_proof(const struct listener *listener, int peer)
{
	const struct packet_head head = { MAGIC, VERSION, -EKEYREJECTED };

	mirror_then_send(listener, peer, &head, sizeof head, 0);
}

TEST(a_listener_that_does_not_know_the_password_is_not_believed)
{
	expect_proof(share_garbage, -EPROTO, "share");
	expect_proof(share_too_short, -EPROTO, NULL);
	expect_proof(share_with_descriptors, -EPROTO, "descriptors");
	expect_proof(enter_without_knowing, -EKEYREJECTED, "does not know");
	expect_proof(enter_with_three, -EPROTO, "descriptors");
	expect_proof(welcome_after_confirmation, -EPROTO, NULL);
	expect_proof(refuse_proof, -EKEYREJECTED, "wrong");
	expect_proof(answer_garbage, -EPROTO, "protocol");
	expect_proof(answer_too_much, -EPROTO, NULL);
	expect_proof(answer_with_eight, -EPROTO, NULL);
	expect_proof(answer_another_version, -EPROTO, "protocol 2");
	expect_proof(answer_nothing_and_close, -EPROTO, "closes");
	expect_proof(stall, -ETIMEDOUT, "hostile");
	expect_proof(wait_for_ever, -EKEYREJECTED, "too many");
	EXPECT_TRUE(ltz_retry_after_ms() <= 60000);
}

/* ---- hostile clients of locked pools ------------------------------------------------------ */

static struct packet_prove proof_to(const char *dir)
{
	struct packet_prove prove = { .hello = { { MAGIC, VERSION, PROVE }, "asked" } };
	const struct packet_hello hello = { { MAGIC, VERSION, JOIN }, "asked" };
	/* the generator of P-256: a point as good as any */
	static const uint8_t point[65] = {
		0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
		0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
		0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16,
		0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
	};
	struct packet_locked answer;
	struct sockaddr_un address;
	int fd = raw_socket(dir, "asked", &address);

	ASSERT_OK(connect(fd, (struct sockaddr *)&address, sizeof address));
	raw_send(fd, &hello, sizeof hello, NULL, 0);
	ASSERT_EQ_INT(recv(fd, &answer, sizeof answer, 0), sizeof answer);
	close(fd);
	memcpy(prove.id, answer.id, sizeof prove.id);
	memcpy(prove.message, point, sizeof point);
	return prove;
}

/* Half a proof: the share has come. */
static int prove_halfway(const char *dir, const struct packet_prove *prove)
{
	struct packet_share share;
	struct sockaddr_un address;
	int fd = raw_socket(dir, "asked", &address);

	ASSERT_OK(connect(fd, (struct sockaddr *)&address, sizeof address));
	raw_send(fd, prove, sizeof *prove, NULL, 0);
	EXPECT_EQ_INT(recv(fd, &share, sizeof share, 0), sizeof share);
	EXPECT_EQ_INT(share.head.what, SHARE);
	return fd;
}

static struct ltz_open_options with_raw_key(const char *dir, unsigned flags)
{
	struct ltz_open_options options = options_in(dir);

	options.key = raw_key;
	options.key_size = sizeof raw_key;
	options.flags = flags | LTZ_RAW_KEY;
	return options;
}

TEST(half_a_proof_gets_nothing_costs_no_token_and_keeps_nobody_out)
{
	enum { FLOOD = 150 };
	const char *dir = test_directory();
	struct ltz_open_options options = with_raw_key(dir, LTZ_AUTH);
	int fds[FLOOD];
	ltz_pool *pool, *second;

	ASSERT_EQ_INT(ltz_create("asked", &options, &pool), 0);
	options.flags = LTZ_RAW_KEY;
	unsigned before = count_descriptors();
	const struct packet_prove prove = proof_to(dir);
	for (int i = 0; i < FLOOD; i++)
		fds[i] = prove_halfway(dir, &prove);
	ASSERT_EQ_INT(ltz_connect("asked", &options, &second), 0);
	EXPECT_EQ_U64(ltz_retry_after_ms(), 0);
	ltz_close(second);
	for (int i = 0; i < FLOOD; i++)
		close(fds[i]);
	POLL_UNTIL(count_descriptors() <= before);
	ltz_close(pool);
}

TEST(wrong_and_repeated_confirmations_get_nothing)
{
	const char *dir = test_directory();
	struct ltz_open_options options = with_raw_key(dir, LTZ_AUTH);
	const struct packet_confirm confirm = { .head = { MAGIC, VERSION, CONFIRM } };
	struct packet_prove prove;
	ltz_pool *pool;

	ASSERT_EQ_INT(ltz_create("asked", &options, &pool), 0);
	prove = proof_to(dir);
	unsigned before = count_descriptors();
	ask_wrong(dir, &confirm, sizeof confirm, NULL, 0); /* without a proof */
	ask_wrong(dir, &prove, sizeof prove - 1, NULL, 0);
	ask_wrong(dir, &prove, sizeof prove.hello, NULL, 0);
	prove.message[1] ^= 1; /* no point */
	ask_wrong(dir, &prove, sizeof prove, NULL, 0);
	prove.message[1] ^= 1;
	for (int i = 0; i < 3; i++) {
		struct packet_head head;
		char control[256];
		struct iovec part = { &head, sizeof head };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
		int fd = prove_halfway(dir, &prove);

		raw_send(fd, &confirm, sizeof confirm, NULL, 0);
		raw_send(fd, &confirm, sizeof confirm, NULL, 0);
		ssize_t got = recvmsg(fd, &message, 0);
		if (got < 0 && errno == ECONNRESET) { /* closed with the second one unread: said first, then comes the answer */
			message.msg_controllen = sizeof control;
			got = recvmsg(fd, &message, 0);
		}
		EXPECT_EQ_INT(got, sizeof head);
		EXPECT_EQ_INT(head.what, -EKEYREJECTED);
		EXPECT_EQ_U64(message.msg_controllen, 0);
		EXPECT_TRUE(recv(fd, &head, sizeof head, 0) <= 0);
		close(fd);
	}
	POLL_UNTIL(count_descriptors() <= before);
	EXPECT_EQ_INT(set_number(pool, "k", 1), 0);
	ltz_close(pool);
}
