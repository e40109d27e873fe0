/* SPDX-License-Identifier: MIT */
/*
 * test_proof.c - the proof of a password, packet by packet: both real sides on
 * a socket pair, or one of them against bytes that the test makes.
 */
#include <string.h>

#include "../proc/proc.h"

#include "base/error.h"
#include "pool/packets.h"
#include "pool/proof.h"
#include "shm/mem.h"
#include "store/map.h"
#include "sys/sys.h"

#define NAME "proved"

static const uint8_t raw[LTZ_RAW_KEY_BYTES] = "thirty-two bytes that are random";
static const uint8_t other[LTZ_RAW_KEY_BYTES] = "thirty-two bytes that are Random";

/* A pool with a member that serves, and a client that was told LOCKED. */
struct stage {
	struct ltz_keys keys, own; /* the server's; the client's */
	struct ltz_offer offer;
	uint8_t id[LTZ_ID_BYTES];
	struct ltz_answer locked;
	struct ltz_handshake server;
	struct ltz_spake2 *client;
	int fd; /* the client's */
};

static void connect_both(struct stage *s)
{
	int ends[2];

	ASSERT_OK(ltz__sys_socket_pair(ends));
	s->server = (struct ltz_handshake){ .fd = ends[0] };
	s->fd = ends[1];
	s->client = NULL;
}

static void hang_up(struct stage *s)
{
	ltz__handshake_deinit(&s->server);
	ltz__spake2_free(s->client);
	ltz__sys_close(s->server.fd);
	ltz__sys_close(s->fd);
}

static void set_own(struct stage *s, const uint8_t *key)
{
	const struct ltz_password password = { key, LTZ_RAW_KEY_BYTES, true };

	ASSERT_OK(ltz__keys_derive(&s->own, &s->locked.terms, NAME, &password));
}

static void set_stage(struct stage *s)
{
	const struct ltz_password password = { raw, sizeof raw, true };
	struct ltz_mem_options options = { .max_size_bytes = 2 << 20, .pool_flags = LTZ_AUTH };
	struct ltz_terms terms;

	*s = (struct stage){ .offer = { .name = NAME } };
	ASSERT_OK(s->offer.memfd = ltz__mem_make(&options));
	ASSERT_OK(s->offer.listener = ltz__sys_duplicate(s->offer.memfd));
	ASSERT_OK(ltz__terms_new(true, &terms));
	ASSERT_OK(ltz__keys_derive(&s->keys, &terms, NAME, &password));
	ASSERT_OK(ltz__keys_complete(&s->keys, NULL));
	options.pool_key = ltz__keys_pool_key(&s->keys);
	ASSERT_OK(ltz__map_attach(s->offer.memfd, &options, &s->offer.mem));
	ltz__mem_id(s->offer.mem, s->id);
	s->offer.id = s->id;
	s->offer.keys = &s->keys;

	connect_both(s);
	ASSERT_OK(ltz__handshake_ask(s->fd, LTZ_ASK_JOIN, NAME));
	ASSERT_EQ_INT(ltz__handshake_serve(&s->server, &s->offer), 0);
	ASSERT_OK(ltz__handshake_result(s->fd, LTZ_ASK_JOIN, &s->locked));
	hang_up(s);
	connect_both(s);
	set_own(s, raw);
}

static void clear_stage(struct stage *s)
{
	hang_up(s);
	ltz__map_detach(s->offer.mem);
	ltz__sys_close(s->offer.memfd);
	ltz__sys_close(s->offer.listener);
	ltz__keys_deinit(&s->keys);
	ltz__keys_deinit(&s->own);
}

#define STAGE __attribute__((cleanup(clear_stage))) struct stage

/* To where the server has the client's confirmation. */
static void confirm(struct stage *s)
{
	ASSERT_OK(ltz__proof_ask(s->fd, NAME, &s->own, &s->locked, &s->client));
	ASSERT_EQ_INT(ltz__handshake_serve(&s->server, &s->offer), -EAGAIN);
	ASSERT_EQ_INT(s->server.state, LTZ_AWAITS_CONFIRMATION);
	ASSERT_OK(ltz__proof_confirm(s->fd, s->client));
	ASSERT_EQ_INT(ltz__handshake_serve(&s->server, &s->offer), -EAGAIN);
	ASSERT_EQ_INT(s->server.state, LTZ_AWAITS_TURN);
}

static int result(struct stage *s, struct ltz_answer *answer)
{
	uint64_t retry_ns;

	return ltz__proof_result(s->fd, s->client, &s->own, &s->locked, answer, &retry_ns);
}

static void expect_rejected(struct stage *s)
{
	struct ltz_answer answer;
	unsigned before = count_descriptors();

	confirm(s);
	EXPECT_EQ_INT(ltz__proof_judge(&s->server, &s->offer), -EKEYREJECTED);
	EXPECT_EQ_INT(result(s, &answer), -EKEYREJECTED);
	EXPECT_EQ_U64(count_descriptors(), before);
	hang_up(s);
	connect_both(s);
}

TEST(who_asks_to_join_a_locked_pool_is_told_how_and_gets_nothing)
{
	STAGE s;

	set_stage(&s);
	EXPECT_EQ_INT(s.locked.memfd, -1);
	EXPECT_EQ_INT(s.locked.listener, -1);
	EXPECT_EQ_U64(s.locked.pool_flags, LTZ_AUTH);
	EXPECT_TRUE(ltz__terms_same(&s.locked.terms, &s.keys.terms));
	EXPECT_EQ_MEM(s.locked.id, s.id, LTZ_ID_BYTES);
}

TEST(the_right_password_gets_the_pool_key_and_the_descriptors)
{
	STAGE s;
	struct ltz_answer answer;

	set_stage(&s);
	confirm(&s);
	EXPECT_EQ_INT(ltz__sys_wait_readable(s.fd, 0), -ETIMEDOUT); /* nothing before its turn */
	EXPECT_EQ_INT(ltz__proof_judge(&s.server, &s.offer), 0);
	ASSERT_EQ_INT(result(&s, &answer), 0);
	EXPECT_EQ_MEM(ltz__keys_pool_key(&s.own), ltz__keys_pool_key(&s.keys), LTZ_POOL_KEY_BYTES);
	EXPECT_EQ_MEM(answer.id, s.id, LTZ_ID_BYTES);
	EXPECT_TRUE(answer.memfd >= 0 && answer.listener >= 0);
}

TEST(who_waits_is_told_so_and_then_let_in)
{
	STAGE s;
	struct ltz_answer answer;
	uint64_t retry_ns = 0;

	set_stage(&s);
	confirm(&s);
	ltz__proof_tell(&s.server, 12345);
	EXPECT_EQ_INT(ltz__proof_result(s.fd, s.client, &s.own, &s.locked, &answer, &retry_ns), LTZ_TOLD_TO_WAIT);
	EXPECT_EQ_U64(retry_ns, 12345);
	EXPECT_EQ_INT(ltz__handshake_serve(&s.server, &s.offer), -EAGAIN);
	EXPECT_EQ_INT(ltz__proof_judge(&s.server, &s.offer), 0);
	EXPECT_EQ_INT(result(&s, &answer), 0);
}

TEST(a_wrong_password_gets_nothing)
{
	STAGE s;

	set_stage(&s);
	set_own(&s, other);
	expect_rejected(&s);
}

TEST(both_sides_must_mean_the_same_pool)
{
	STAGE s;
	struct ltz_keys *own = &s.own;

	set_stage(&s);
	s.locked.pool_flags |= LTZ_ENCRYPTION;
	expect_rejected(&s);
	s.locked.pool_flags = LTZ_AUTH;
	own->terms.memory_kib++; /* somebody between them changed the terms */
	expect_rejected(&s);
	own->terms.memory_kib--;
	own->terms.salt[3] ^= 1;
	expect_rejected(&s);
	own->terms.salt[3] ^= 1;
	s.offer.name = NAME "2"; /* another name is another question */
	ASSERT_OK(ltz__proof_ask(s.fd, NAME, &s.own, &s.locked, &s.client));
	EXPECT_EQ_INT(ltz__handshake_serve(&s.server, &s.offer), 0);
	EXPECT_TRUE(ltz__proof_confirm(s.fd, s.client) == -EPROTO);
	hang_up(&s);
	connect_both(&s);
	s.offer.name = NAME;
	s.locked.id[0] ^= 1;
	ASSERT_OK(ltz__proof_ask(s.fd, NAME, &s.own, &s.locked, &s.client));
	EXPECT_EQ_INT(ltz__handshake_serve(&s.server, &s.offer), 0);
	EXPECT_EQ_INT(ltz__proof_confirm(s.fd, s.client), -ESTALE);
}

TEST(a_guess_is_judged_once)
{
	STAGE s;
	struct packet_confirm packet = { .head = packet_head_make(LTZ_ASK_CONFIRM) };

	set_stage(&s);
	confirm(&s);
	ASSERT_OK(ltz__sys_send(s.fd, &packet, sizeof packet, NULL, 0)); /* another one while it waits */
	EXPECT_EQ_INT(ltz__handshake_serve(&s.server, &s.offer), 0);
	EXPECT_EQ_INT(s.server.state, LTZ_FINISHED);
}

TEST(nonsense_ends_a_proof)
{
	STAGE s;

	set_stage(&s);
	for (size_t size = 1; size <= sizeof(union packet); size++) {
		struct packet_confirm packet = { .head = packet_head_make(size == sizeof packet ? 77 : LTZ_ASK_CONFIRM) };
		uint8_t bytes[sizeof(union packet)] = { 0 };

		memcpy(bytes, &packet, sizeof packet);
		ASSERT_OK(ltz__proof_ask(s.fd, NAME, &s.own, &s.locked, &s.client));
		ASSERT_EQ_INT(ltz__handshake_serve(&s.server, &s.offer), -EAGAIN);
		ASSERT_OK(ltz__sys_send(s.fd, bytes, size, NULL, 0));
		EXPECT_EQ_INT(ltz__handshake_serve(&s.server, &s.offer), 0);
		EXPECT_EQ_INT(s.server.state, LTZ_FINISHED);
		hang_up(&s);
		connect_both(&s);
	}
}

TEST(a_share_that_is_no_point_is_refused)
{
	STAGE s;
	struct packet_prove prove = { .hello = { packet_head_make(LTZ_ASK_PROVE), NAME } };

	set_stage(&s);
	memcpy(prove.id, s.id, sizeof prove.id);
	for (int i = 0; i < 3; i++) {
		memset(prove.message, i == 1 ? 0xff : 0, sizeof prove.message);
		if (i == 2)
			prove.message[0] = 4;
		ASSERT_OK(ltz__sys_send(s.fd, &prove, sizeof prove, NULL, 0));
		EXPECT_EQ_INT(ltz__handshake_serve(&s.server, &s.offer), 0);
		hang_up(&s);
		connect_both(&s);
	}
}

TEST(an_open_pool_asks_for_no_proof)
{
	const struct ltz_keys none = { 0 };
	STAGE s;

	set_stage(&s);
	s.offer.keys = &none;
	ASSERT_OK(ltz__proof_ask(s.fd, NAME, &s.own, &s.locked, &s.client));
	EXPECT_EQ_INT(ltz__handshake_serve(&s.server, &s.offer), 0);
	EXPECT_EQ_INT(ltz__proof_confirm(s.fd, s.client), -EPROTO);
}

/* ---- listeners that do not know the password ---------------------------------------- */

/* What the client sent, and its answer's head. */
static void hear(struct stage *s, union packet *packet, size_t size)
{
	int fds[LTZ_SYS_MAX_FDS];
	unsigned nfds = 0;

	ASSERT_EQ_INT(ltz__sys_receive(s->server.fd, packet, sizeof *packet, fds, &nfds), (int)size);
}

static void say_with_descriptors(struct stage *s, const void *packet, size_t size)
{
	const int fds[JOIN_FDS] = { s->offer.memfd, s->offer.listener };

	ASSERT_OK(ltz__sys_send(s->server.fd, packet, size, fds, JOIN_FDS));
}

TEST(a_mirror_is_not_believed)
{
	STAGE s;
	struct ltz_answer answer;
	union packet heard;
	struct packet_share share = { .head = packet_head_make(SAYS_SHARE) };
	struct packet_entry entry;

	set_stage(&s);
	unsigned before = count_descriptors();
	ASSERT_OK(ltz__proof_ask(s.fd, NAME, &s.own, &s.locked, &s.client));
	hear(&s, &heard, sizeof heard.prove);
	memcpy(share.message, heard.prove.message, sizeof share.message);
	ASSERT_OK(ltz__sys_send(s.server.fd, &share, sizeof share, NULL, 0));
	ASSERT_OK(ltz__proof_confirm(s.fd, s.client));
	hear(&s, &heard, sizeof heard.confirm);
	entry = (struct packet_entry){ .welcome = ltz__handshake_welcome(&s.offer) };
	memcpy(entry.confirmation, heard.confirm.confirmation, sizeof entry.confirmation);
	say_with_descriptors(&s, &entry, sizeof entry);
	EXPECT_EQ_INT(result(&s, &answer), -EKEYREJECTED);
	EXPECT_CONTAINS(ltz__detail(), "does not know the password");
	EXPECT_EQ_U64(count_descriptors(), before);
}

TEST(a_welcome_without_a_proof_is_not_believed)
{
	STAGE s;
	struct ltz_answer answer;

	set_stage(&s);
	const struct packet_welcome welcome = ltz__handshake_welcome(&s.offer);
	const struct packet_entry entry = { .welcome = welcome };
	unsigned before = count_descriptors();
	ASSERT_OK(ltz__proof_ask(s.fd, NAME, &s.own, &s.locked, &s.client));
	say_with_descriptors(&s, &welcome, sizeof welcome); /* in place of a share */
	EXPECT_EQ_INT(ltz__proof_confirm(s.fd, s.client), -EPROTO);
	EXPECT_EQ_U64(count_descriptors(), before);
	hang_up(&s);
	connect_both(&s);
	confirm(&s);
	say_with_descriptors(&s, &welcome, sizeof welcome);
	EXPECT_EQ_INT(result(&s, &answer), -EPROTO);
	say_with_descriptors(&s, &entry, sizeof entry);
	EXPECT_EQ_INT(result(&s, &answer), -EKEYREJECTED);
	EXPECT_EQ_U64(count_descriptors(), before);
}

TEST(every_bit_of_an_entry_is_checked)
{
	STAGE s;
	struct ltz_answer answer;
	union packet packet;
	int fds[LTZ_SYS_MAX_FDS];

	set_stage(&s);
	for (size_t at = 0; at < sizeof packet.entry; at++) {
		unsigned nfds = LTZ_SYS_MAX_FDS;

		set_own(&s, raw);
		confirm(&s);
		ASSERT_EQ_INT(ltz__proof_judge(&s.server, &s.offer), 0);
		ASSERT_EQ_INT(ltz__sys_receive(s.fd, &packet, sizeof packet, fds, &nfds), (int)sizeof packet.entry);
		((uint8_t *)&packet)[at] ^= 1u << test_random_below(8);
		ASSERT_OK(ltz__sys_send(s.server.fd, &packet, sizeof packet.entry, fds, nfds));
		for (unsigned i = 0; i < nfds; i++)
			ltz__sys_close(fds[i]);
		unsigned before = count_descriptors();
		int r = result(&s, &answer);
		if (r >= 0)
			test_fail(TEST_AT(TEST_EXPECT), "byte %zu of the entry can be changed", at);
		EXPECT_EQ_U64(count_descriptors(), before);
		hang_up(&s);
		connect_both(&s);
	}
}
