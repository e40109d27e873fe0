/* SPDX-License-Identifier: MIT */
/*
 * proof.h - a joiner of a locked pool proves that it knows the password, and
 * the member that it knows it too (SPAKE2: guard/spake2.h).
 *
 *     client                                       server
 *       HELLO JOIN                          ──►
 *                                           ◄──    LOCKED {id, flags, terms}
 *       [connection closed; w from the password: Argon2id, 0.2 s]
 *       PROVE {name, id, message}           ──►
 *                                           ◄──    SHARE {message}
 *       CONFIRM {confirmation}              ──►
 *                                           ◄──    WAIT {retry_ns}      if others guess: it is kept
 *                                           ◄──    ENTRY {confirmation, WELCOME, sealed pool key} + 2 descriptors
 *                                                  or refused: -EKEYREJECTED
 *
 * - No connection is open while Argon2id runs, so a member never waits for it;
 *   and a proof that was cut off is tried again without it.
 * - The server verifies a confirmation only when it has taken a token from the
 *   pool's bucket (bucket.h), and gives it back if the confirmation is right:
 *   the service does that (service.c). A wrong one costs it two
 *   multiplications of points, done before.
 * - Nothing is shown to who has not confirmed: no descriptor, no pool key, not
 *   even the server's own confirmation.
 * - Both sides' names are their role and uid, the context is {version, flags,
 *   id, terms, pool name}: where the two sides' views of these differ, no
 *   confirmation is right.
 * - The pool key is sealed (AES-256-GCM) under a key from SPAKE2's, used once;
 *   the rest of ENTRY is what it is bound to.
 */
#ifndef LTZ_POOL_PROOF_H
#define LTZ_POOL_PROOF_H

#include "pool/handshake.h"

struct packet_prove;
struct packet_confirm;

/* ---- the serving side: steps of ltz__handshake_serve ------------------------------------ */

/* 0: refused; -EAGAIN: our share was sent. */
int ltz__proof_begin(struct ltz_handshake *handshake, const struct ltz_offer *offer, const struct packet_prove *prove);
/* 0: nonsense; -EAGAIN: it waits for its turn. */
int ltz__proof_hear(struct ltz_handshake *handshake, const struct packet_confirm *confirm, size_t size);
/* It is its turn. 0: it was right and is let in; -EKEYREJECTED and others: refused. Over either way. */
int ltz__proof_judge(struct ltz_handshake *handshake, const struct ltz_offer *offer);
/* It is not: tells it when somebody's will be. */
void ltz__proof_tell(const struct ltz_handshake *handshake, uint64_t retry_ns);

/* ---- the asking side --------------------------------------------------------------------- */

/*
 * Asks to prove w of keys to whoever listens, who said `locked` before.
 * *spake2 is then the caller's to free. -EACCES, -ECONNRESET, -ENOMEM, -ENOPKG.
 */
int ltz__proof_ask(int fd, const char *name, const struct ltz_keys *keys, const struct ltz_answer *locked,
                   struct ltz_spake2 **spake2);
/* The share must have come: takes it and confirms. Failures as ltz__handshake_result. -ESTALE: it is another pool by now. */
int ltz__proof_confirm(int fd, struct ltz_spake2 *spake2);

#define LTZ_TOLD_TO_WAIT 1
/*
 * The answer must have come. 0: *answer is as after a JOIN, and keys are
 * complete. LTZ_TOLD_TO_WAIT: the answer comes later; *retry_ns says when
 * somebody's turn is. -EKEYREJECTED: the password is not the pool's, or the
 * listener does not know it. Failures as ltz__handshake_result.
 */
int ltz__proof_result(int fd, struct ltz_spake2 *spake2, struct ltz_keys *keys, const struct ltz_answer *locked,
                      struct ltz_answer *answer, uint64_t *retry_ns);

#endif
