/* SPDX-License-Identifier: MIT */
/*
 * packets.h - the bytes of a handshake, for handshake.c and proof.c.
 *
 * A packet has no padding and no pointer: nothing of this process leaks. What
 * comes from a socket is copied to private memory first and checked there:
 * size, magic, version, bounds.
 */
#ifndef LTZ_POOL_PACKETS_H
#define LTZ_POOL_PACKETS_H

#include <assert.h>
#include <stddef.h>

#include "guard/gcm.h"
#include "guard/spake2.h"
#include "pool/handshake.h"
#include "pool/keys.h"

#define HANDSHAKE_MAGIC 0x6c61747a65726f31ull /* "latzero1" */
#define JOIN_FDS 2u

/* What a server says that is neither done (0) nor a refusal (a negative errno). */
enum packet_says {
	SAYS_LOCKED = 1, /* to JOIN: prove that you know the password */
	SAYS_SHARE = 2,  /* to PROVE                                  */
	SAYS_WAIT = 3,   /* to CONFIRM: others guess; it is kept      */
};

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

struct packet_locked {
	struct packet_head head;
	uint8_t id[LTZ_ID_BYTES];
	uint32_t pool_flags;
	uint32_t reserved;
	struct ltz_terms terms;
};

struct packet_prove {
	struct packet_hello hello;
	uint8_t id[LTZ_ID_BYTES]; /* of the pool that said LOCKED */
	uint8_t message[LTZ_SPAKE2_MESSAGE_BYTES];
	uint8_t reserved[7];
};

struct packet_share {
	struct packet_head head;
	uint8_t message[LTZ_SPAKE2_MESSAGE_BYTES];
	uint8_t reserved[7];
};

struct packet_confirm {
	struct packet_head head;
	uint8_t confirmation[LTZ_SPAKE2_CONFIRMATION_BYTES];
};

struct packet_wait {
	struct packet_head head;
	uint64_t retry_ns;
};

/* The welcome of a locked pool: what comes before sealed_key is sealed with it. */
struct packet_entry {
	struct packet_welcome welcome;
	uint8_t confirmation[LTZ_SPAKE2_CONFIRMATION_BYTES];
	uint8_t sealed_key[LTZ_POOL_KEY_BYTES];
	uint8_t tag[LTZ_GCM_TAG_BYTES];
};

union packet {
	struct packet_head head;
	struct packet_hello hello;
	struct packet_welcome welcome;
	struct packet_report report;
	struct packet_locked locked;
	struct packet_prove prove;
	struct packet_share share;
	struct packet_confirm confirm;
	struct packet_wait wait;
	struct packet_entry entry;
};

static_assert(sizeof(struct packet_head) == 16, "the head is the same in every version");
static_assert(sizeof(struct packet_hello) == 120, "no padding in packets");
static_assert(sizeof(struct packet_welcome) == 48, "no padding in packets");
static_assert(sizeof(struct packet_report) == 80, "no padding in packets");
static_assert(sizeof(struct packet_locked) == 72, "no padding in packets");
static_assert(sizeof(struct packet_prove) == 208, "no padding in packets");
static_assert(sizeof(struct packet_share) == 88, "no padding in packets");
static_assert(sizeof(struct packet_confirm) == 48, "no padding in packets");
static_assert(sizeof(struct packet_wait) == 24, "no padding in packets");
static_assert(sizeof(struct packet_entry) == 128, "no padding in packets");
static_assert(LTZ_NAME_MAX < 104, "a name and its NUL fit a hello");

static inline struct packet_head packet_head_make(int32_t what)
{
	return (struct packet_head){
		.magic = HANDSHAKE_MAGIC, .version = LTZ_PROTOCOL_VERSION, .what = what };
}

/* Answers with a negative errno. */
void ltz__handshake_refuse(int fd, int result);
/* Fills a welcome. */
struct packet_welcome ltz__handshake_welcome(const struct ltz_offer *offer);
void ltz__handshake_read_welcome(const struct packet_welcome *welcome, struct ltz_answer *answer);
/*
 * Is the packet latzero's, of this version, and one of the kind and shape that
 * is expected? 0, or the negative result it says or is worth, with a detail.
 */
int ltz__handshake_judge(const union packet *packet, size_t size, unsigned nfds,
                         int32_t what, size_t right_size, unsigned right_nfds);

#endif
