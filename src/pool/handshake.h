/* SPDX-License-Identifier: MIT */
/*
 * handshake.h - what a joiner and a serving member say to each other.
 *
 * SOCK_SEQPACKET: a message is a packet, in the machine's own byte order (both
 * sides are on one machine). Every packet begins with the same 16 bytes, for
 * ever and in every version, so that a stranger is told what is wrong:
 *
 *     magic 8 │ version 4 │ what 4        what: the question's kind, or the answer's result
 *
 *     client                                server
 *       HELLO {head, pool name}      ──►
 *                                    ◄──    JOIN:     WELCOME {head, id, flags, clock} + 2 descriptors
 *                                               or    LOCKED {head, id, flags, terms}: then see proof.h
 *                                           IDENTIFY: WELCOME {head, id, flags, clock}
 *                                           INFO:     REPORT  {head, id, numbers}
 *                                           refused:  head only, what = a negative errno
 *
 * - Both sides first check that SO_PEERCRED names their own uid.
 * - The server's side is a state machine driven by the service thread: each
 *   step takes one packet and never waits.
 * - A client believes nothing it received before it was checked; descriptors
 *   it does not want are closed here.
 */
#ifndef LTZ_POOL_HANDSHAKE_H
#define LTZ_POOL_HANDSHAKE_H

#include <stdbool.h>
#include <stdint.h>

#include <latzero.h>

#include "pool/keys.h"

#define LTZ_PROTOCOL_VERSION 1u
#define LTZ_ID_BYTES 16

struct ltz_mem;

enum ltz_question {
	LTZ_ASK_JOIN = 1,     /* the pool's descriptors          */
	LTZ_ASK_INFO = 2,     /* the numbers of ltz_pool_info    */
	LTZ_ASK_IDENTITY = 3, /* only which pool this is         */
	LTZ_ASK_PROVE = 4,    /* proof.h                         */
	LTZ_ASK_CONFIRM = 5,  /* likewise                        */
};

/* ---- the serving side ---------------------------------------------------------- */

/* What a serving member answers with. */
struct ltz_offer {
	const char *name;
	const uint8_t *id; /* LTZ_ID_BYTES */
	struct ltz_mem *mem;
	int memfd, listener;
	const struct ltz_keys *keys; /* none: the pool is open */
};

enum ltz_handshake_state {
	LTZ_AWAITS_HELLO,
	LTZ_AWAITS_CONFIRMATION, /* a proof: our share was sent                         */
	LTZ_AWAITS_TURN,         /* the confirmation has come; ltz__proof_judge is next */
	LTZ_FINISHED,
};

struct ltz_spake2;

/* One half-open connection. */
struct ltz_handshake {
	int fd;
	enum ltz_handshake_state state;
	uint64_t deadline_ns; /* CLOCK_BOOTTIME; the service drops it then */
	struct ltz_spake2 *spake2;        /* of a proof, or NULL                     */
	uint8_t confirmation[LTZ_W_BYTES]; /* the client's, once in LTZ_AWAITS_TURN  */
};

/*
 * Goes on as far as packets have come. Never waits. 0: over, well or badly,
 * the caller closes it; -EAGAIN: more must come.
 */
int ltz__handshake_serve(struct ltz_handshake *handshake, const struct ltz_offer *offer);
/* Frees what a handshake holds but its fd. */
void ltz__handshake_deinit(struct ltz_handshake *handshake);

/* ---- the asking side -------------------------------------------------------------- */

struct ltz_answer {
	uint8_t id[LTZ_ID_BYTES];
	uint32_t pool_flags;
	uint64_t pool_now_ns;
	struct ltz_terms terms;    /* JOIN: if not open, a proof is wanted, and there are no descriptors */
	int memfd, listener;       /* JOIN: the caller's; else -1           */
	struct ltz_pool_info info; /* INFO only                              */
};

/* 0 if the other side is of this user; else -EACCES with a detail. */
int ltz__handshake_check_peer(int fd);

/* Checks the listener's user and asks. -EACCES: another user's. */
int ltz__handshake_ask(int fd, enum ltz_question question, const char *name);

/*
 * Takes the answer, which must have come (the socket is readable). 0;
 * -ECONNRESET: the listener closed without one; -EPROTO: not latzero, or
 * another version of it; -ESHUTDOWN: that pool was destroyed; -EAGAIN: nothing
 * was there after all.
 */
int ltz__handshake_result(int fd, enum ltz_question question, struct ltz_answer *answer);

#endif
