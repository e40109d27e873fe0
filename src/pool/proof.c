/* SPDX-License-Identifier: MIT */
/* proof.c - the packets of a proof, both sides. See proof.h. */
#include <string.h>

#include "base/error.h"
#include "guard/hkdf.h"
#include "guard/wipe.h"
#include "pool/packets.h"
#include "pool/proof.h"
#include "shm/mem.h"
#include "sys/fault.h"
#include "sys/sys.h"

static_assert(sizeof(((struct ltz_handshake *)0)->confirmation) == LTZ_SPAKE2_CONFIRMATION_BYTES, "a confirmation");

/* ---- what both sides must agree on ----------------------------------------------------- */

struct side_name {
	char role[12];
	uint32_t uid;
};

struct context {
	uint32_t version, pool_flags;
	uint8_t id[LTZ_ID_BYTES];
	struct ltz_terms terms;
	char name[104];
};

struct transcript {
	struct side_name joiner, listener;
	struct context context;
};

static_assert(sizeof(struct side_name) == 16, "no padding in what is compared");
static_assert(sizeof(struct context) == 160, "no padding in what is compared");

static struct transcript make_transcript(const char *name, const uint8_t *id, uint32_t pool_flags,
                                         const struct ltz_terms *terms)
{
	struct transcript transcript = {
		.joiner = { .role = "joiner" }, .listener = { .role = "listener" },
		.context = { .version = LTZ_PROTOCOL_VERSION, .pool_flags = pool_flags, .terms = *terms },
	};

	memcpy(transcript.context.id, id, LTZ_ID_BYTES);
	memcpy(transcript.context.name, name, strlen(name));
	return transcript;
}

static struct ltz_spake2_names names_of(const struct transcript *transcript)
{
	return (struct ltz_spake2_names){
		.joiner = { &transcript->joiner, sizeof transcript->joiner },
		.listener = { &transcript->listener, sizeof transcript->listener },
		.context = { &transcript->context, sizeof transcript->context },
	};
}

/* ---- the pool key on its way ------------------------------------------------------------ */

/* The key is used for one packet: its nonce can be any constant. */
static const uint8_t entry_nonce[LTZ_GCM_NONCE_BYTES];

static int entry_cipher(const struct ltz_spake2 *spake2, const uint8_t *id, struct ltz_gcm *gcm)
{
	static const char purpose[] = "latzero entry";
	uint8_t shared[LTZ_SPAKE2_KEY_BYTES], key[LTZ_GCM_KEY_BYTES];
	int r = ltz__spake2_key(spake2, shared);

	if (r == 0)
		r = ltz__hkdf((struct ltz_bytes){ id, LTZ_ID_BYTES }, (struct ltz_bytes){ shared, sizeof shared },
		              (struct ltz_bytes){ purpose, sizeof purpose - 1 }, (struct ltz_room){ key, sizeof key });
	if (r == 0)
		r = ltz__gcm_init(gcm, key);
	ltz__wipe(shared, sizeof shared);
	ltz__wipe(key, sizeof key);
	return r;
}

static struct ltz_bytes bound_part(const struct packet_entry *entry)
{
	return (struct ltz_bytes){ entry, offsetof(struct packet_entry, sealed_key) };
}

static int seal_entry(const struct ltz_spake2 *spake2, const struct ltz_keys *keys, struct packet_entry *entry)
{
	const struct ltz_bytes pool_key = { ltz__keys_pool_key(keys), LTZ_POOL_KEY_BYTES };
	struct ltz_gcm gcm;
	int r = entry_cipher(spake2, entry->welcome.id, &gcm);

	if (r < 0)
		return r;
	r = ltz__gcm_seal(&gcm, entry_nonce, bound_part(entry), &pool_key, 1, entry->sealed_key, entry->tag);
	ltz__gcm_deinit(&gcm);
	return r;
}

static int open_entry(const struct ltz_spake2 *spake2, const struct packet_entry *entry, struct ltz_keys *keys)
{
	uint8_t pool_key[LTZ_POOL_KEY_BYTES];
	const struct ltz_room room = { pool_key, sizeof pool_key };
	struct ltz_gcm gcm;
	int r = entry_cipher(spake2, entry->welcome.id, &gcm);

	if (r < 0)
		return r;
	r = ltz__gcm_open(&gcm, entry_nonce, bound_part(entry), entry->sealed_key, &room, 1, entry->tag);
	ltz__gcm_deinit(&gcm);
	if (r == 0)
		r = ltz__keys_complete(keys, pool_key);
	else if (r == -EBADMSG)
		r = ltz__fail(-EPROTO, "the listener's welcome fails its check");
	ltz__wipe(pool_key, sizeof pool_key);
	return r;
}

/* ---- the serving side --------------------------------------------------------------------- */

static int send_share(struct ltz_handshake *handshake, const struct ltz_offer *offer, const struct packet_prove *prove)
{
	struct transcript transcript =
		make_transcript(offer->name, offer->id, ltz__mem_flags(offer->mem), &offer->keys->terms);
	const struct ltz_spake2_names names = names_of(&transcript);
	struct packet_share share = { .head = packet_head_make(SAYS_SHARE) };
	uint32_t pid;
	int r = ltz__sys_peer(handshake->fd, &transcript.joiner.uid, &pid);

	transcript.listener.uid = ltz__sys_uid();
	if (r == 0)
		r = ltz__spake2_new(&handshake->spake2, LTZ_SPAKE2_LISTENER, ltz__keys_w(offer->keys), &names, share.message);
	if (r == 0)
		r = ltz__spake2_receive(handshake->spake2, (struct ltz_bytes){ prove->message, sizeof prove->message });
	if (r == 0)
		r = ltz__sys_send(handshake->fd, &share, sizeof share, NULL, 0);
	LTZ_CRASH_POINT("pool.share_sent");
	return r;
}

int ltz__proof_begin(struct ltz_handshake *handshake, const struct ltz_offer *offer, const struct packet_prove *prove)
{
	int r = 0;

	LTZ_CRASH_POINT("pool.proof_heard");
	if (memcmp(prove->id, offer->id, LTZ_ID_BYTES) != 0)
		r = -ESTALE;
	else if (!ltz__keys_any(offer->keys))
		r = -EPROTO;
	else
		r = send_share(handshake, offer, prove);
	if (r < 0) {
		ltz__handshake_refuse(handshake->fd, r == -EBADMSG ? -EPROTO : r);
		return 0;
	}
	handshake->state = LTZ_AWAITS_CONFIRMATION;
	return -EAGAIN;
}

int ltz__proof_hear(struct ltz_handshake *handshake, const struct packet_confirm *confirm, size_t size)
{
	if (size != sizeof *confirm || confirm->head.magic != HANDSHAKE_MAGIC ||
	    confirm->head.version != LTZ_PROTOCOL_VERSION || confirm->head.what != LTZ_ASK_CONFIRM) {
		ltz__handshake_refuse(handshake->fd, -EPROTO);
		return 0;
	}
	memcpy(handshake->confirmation, confirm->confirmation, sizeof handshake->confirmation);
	handshake->state = LTZ_AWAITS_TURN;
	LTZ_CRASH_POINT("pool.confirmation_heard");
	return -EAGAIN;
}

static int send_entry(const struct ltz_handshake *handshake, const struct ltz_offer *offer)
{
	struct packet_entry entry = { .welcome = ltz__handshake_welcome(offer) };
	const int fds[JOIN_FDS] = { offer->memfd, offer->listener };
	int r = ltz__spake2_confirmation(handshake->spake2, entry.confirmation);

	if (r == 0)
		r = seal_entry(handshake->spake2, offer->keys, &entry);
	if (r < 0)
		return r;
	(void)ltz__sys_send(handshake->fd, &entry, sizeof entry, fds, JOIN_FDS); /* gone? it is let in, if it had stayed */
	LTZ_CRASH_POINT("pool.entry_sent");
	return 0;
}

int ltz__proof_judge(struct ltz_handshake *handshake, const struct ltz_offer *offer)
{
	const struct ltz_bytes confirmation = { handshake->confirmation, sizeof handshake->confirmation };
	int r = ltz__mem_destroyed(offer->mem) ? -ESHUTDOWN : ltz__spake2_confirm(handshake->spake2, confirmation);

	handshake->state = LTZ_FINISHED;
	if (r == 0)
		r = send_entry(handshake, offer);
	if (r < 0)
		ltz__handshake_refuse(handshake->fd, r);
	return r;
}

void ltz__proof_tell(const struct ltz_handshake *handshake, uint64_t retry_ns)
{
	const struct packet_wait wait = { .head = packet_head_make(SAYS_WAIT), .retry_ns = retry_ns };

	(void)ltz__sys_send(handshake->fd, &wait, sizeof wait, NULL, 0); /* if it is gone, the poll says so */
	LTZ_CRASH_POINT("pool.wait_sent");
}

/* ---- the asking side ------------------------------------------------------------------------ */

int ltz__proof_ask(int fd, const char *name, const struct ltz_keys *keys, const struct ltz_answer *locked,
                   struct ltz_spake2 **spake2)
{
	struct transcript transcript = make_transcript(name, locked->id, locked->pool_flags, &keys->terms);
	const struct ltz_spake2_names names = names_of(&transcript);
	struct packet_prove prove = { .hello.head = packet_head_make(LTZ_ASK_PROVE) };
	uint32_t pid;
	int r = ltz__handshake_check_peer(fd);

	if (r == 0)
		r = ltz__sys_peer(fd, &transcript.listener.uid, &pid);
	if (r < 0)
		return r;
	transcript.joiner.uid = ltz__sys_uid();
	memcpy(prove.hello.name, name, strlen(name));
	memcpy(prove.id, locked->id, sizeof prove.id);
	r = ltz__spake2_new(spake2, LTZ_SPAKE2_JOINER, ltz__keys_w(keys), &names, prove.message);
	if (r < 0)
		return r;
	r = ltz__sys_send(fd, &prove, sizeof prove, NULL, 0);
	LTZ_CRASH_POINT("pool.proof_sent");
	return r == -EPIPE ? -ECONNRESET : r;
}

static void close_all(const int *fds, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		ltz__sys_close(fds[i]);
}

/* One packet with its descriptors. Its size, or a negative result. */
static ssize_t receive(int fd, union packet *packet, int fds[LTZ_SYS_MAX_FDS], unsigned *nfds)
{
	*nfds = LTZ_SYS_MAX_FDS;
	ssize_t size = ltz__sys_receive(fd, packet, sizeof *packet, fds, nfds);

	if (size == -EPROTO)
		return ltz__fail(-EPROTO, "the listener's answer is too long or carries too many descriptors");
	return size == 0 ? -ECONNRESET : size;
}

int ltz__proof_confirm(int fd, struct ltz_spake2 *spake2)
{
	struct packet_confirm confirm = { .head = packet_head_make(LTZ_ASK_CONFIRM) };
	union packet packet = { 0 };
	int fds[LTZ_SYS_MAX_FDS];
	unsigned nfds;
	ssize_t size = receive(fd, &packet, fds, &nfds);

	if (size < 0)
		return (int)size;
	LTZ_CRASH_POINT("pool.share_heard");
	int r = ltz__handshake_judge(&packet, (size_t)size, nfds, SAYS_SHARE, sizeof packet.share, 0);
	close_all(fds, nfds);
	if (r < 0)
		return r;
	r = ltz__spake2_receive(spake2, (struct ltz_bytes){ packet.share.message, sizeof packet.share.message });
	if (r == -EBADMSG)
		return ltz__fail(-EPROTO, "the listener's share is not one");
	if (r == 0)
		r = ltz__spake2_confirmation(spake2, confirm.confirmation);
	if (r == 0)
		r = ltz__sys_send(fd, &confirm, sizeof confirm, NULL, 0);
	LTZ_CRASH_POINT("pool.confirmation_sent");
	return r == -EPIPE ? -ECONNRESET : r;
}

/* Is it the entry to the pool that said `locked`, of one who knows the password? Then keys are complete. */
static int judge_entry(const struct packet_entry *entry, struct ltz_spake2 *spake2, struct ltz_keys *keys,
                       const struct ltz_answer *locked)
{
	const struct ltz_bytes confirmation = { entry->confirmation, sizeof entry->confirmation };
	int r = ltz__spake2_confirm(spake2, confirmation);

	if (r == -EKEYREJECTED)
		return ltz__fail(r, "the listener lets us in, but does not know the password");
	if (r < 0)
		return r;
	if (memcmp(entry->welcome.id, locked->id, LTZ_ID_BYTES) != 0 || entry->welcome.pool_flags != locked->pool_flags)
		return ltz__fail(-EPROTO, "the listener's welcome is not to the pool that was announced");
	return open_entry(spake2, entry, keys);
}

int ltz__proof_result(int fd, struct ltz_spake2 *spake2, struct ltz_keys *keys, const struct ltz_answer *locked,
                      struct ltz_answer *answer, uint64_t *retry_ns)
{
	union packet packet = { 0 };
	int fds[LTZ_SYS_MAX_FDS];
	unsigned nfds;
	ssize_t size = receive(fd, &packet, fds, &nfds);
	bool waits = size >= (ssize_t)sizeof packet.head && packet.head.what == SAYS_WAIT;
	int r;

	if (size < 0)
		return (int)size;
	LTZ_CRASH_POINT("pool.entry_heard");
	if (waits)
		r = ltz__handshake_judge(&packet, (size_t)size, nfds, SAYS_WAIT, sizeof packet.wait, 0);
	else
		r = ltz__handshake_judge(&packet, (size_t)size, nfds, 0, sizeof packet.entry, JOIN_FDS);
	if (r == 0 && !waits)
		r = judge_entry(&packet.entry, spake2, keys, locked);
	if (r < 0 || waits) {
		close_all(fds, nfds);
		*retry_ns = packet.wait.retry_ns;
		return r < 0 ? r : LTZ_TOLD_TO_WAIT;
	}
	*answer = *locked;
	ltz__handshake_read_welcome(&packet.entry.welcome, answer);
	answer->memfd = fds[0];
	answer->listener = fds[1];
	return 0;
}
