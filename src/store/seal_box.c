/* SPDX-License-Identifier: MIT */
/* seal_box.c - encrypted records. The bytes are described in seal.h. */
#include <endian.h>
#include <string.h>

#include "guard/wipe.h"
#include "store/sealer.h"

#define NONCE   LTZ_XAES_NONCE_BYTES
#define TAG     LTZ_XAES_TAG_BYTES
#define CHUNK   LTZ_XAES_CHUNK_BYTES
#define TRAILER SEAL_TRAILER
#define GATHER_MAX 512u
#define END     (NONCE + 4u) /* of a large one: its nonce and the key's size */

struct aad {
	struct bound bound;
	uint8_t mark[HIDDEN_KEY_BYTES];
};
static_assert(sizeof(struct aad) == 48, "no padding");

static struct ltz_bytes aad_bytes(const struct aad *aad)
{
	if (canary(CANARY_NO_AAD))
		return (struct ltz_bytes){NULL, 0};
	return (struct ltz_bytes){aad, sizeof(*aad)};
}

static struct aad aad_of(const struct bound *bound, const void *mark)
{
	struct aad aad = {.bound = *bound};

	memcpy(aad.mark, mark, sizeof(aad.mark));
	return aad;
}

struct trailer {
	uint32_t key_size;
	uint8_t key_type, type;
};

static void put_trailer(uint8_t bytes[TRAILER], struct trailer t)
{
	const uint16_t size = htole16((uint16_t)t.key_size);

	memcpy(bytes, &size, sizeof(size));
	bytes[2] = t.key_type;
	bytes[3] = t.type;
}

static struct trailer get_trailer(const uint8_t bytes[TRAILER])
{
	uint16_t size;

	memcpy(&size, bytes, sizeof(size));
	return (struct trailer){le16toh(size), bytes[2], bytes[3]};
}

/* ---- sealing ------------------------------------------------------------------------ */

/* -ENOTSUP: we are a forked child, and the prefix and the counter are our parent's. */
static int new_nonce(const struct ltz_seal *seal, struct ltz_sealer *sealer, uint8_t nonce[NONCE])
{
	if (unlikely(!seal->nonces->ours))
		return -ENOTSUP;
	ltz__xaes_nonce(nonce, seal->nonces->prefix, sealer->next++);
	return 0;
}

struct put {
	struct ltz_sealer *sealer;
	uint8_t *scratch, *to;
	struct aad aad;
	uint8_t nonce[NONCE];
	uint64_t value_size; /* of a large one */
};

/* Where in a large one's area a chunk's tag is, and what follows the tags. */
static uint64_t tag_at(uint64_t value_size, uint64_t chunk) { return value_size + TAG * chunk; }
static uint64_t head_at(uint64_t value_size) { return tag_at(value_size, ltz__xaes_chunks(value_size)); }

/*
 * A chunk goes through libcrypto in pieces that stay in the nearest cache on
 * the way, while the processor fetches the pool's next ones: moving a value and
 * enciphering it then cost little more than enciphering alone.
 */
#define PIECE 2048u
#define STAGE CHUNK /* where in scratch a piece lies: behind a chunk */
static_assert(SCRATCH_BYTES >= STAGE + PIECE, "both fit");

static size_t piece_at(size_t at, size_t size) { return size - at < PIECE ? size - at : PIECE; }

/* Chunk i: from data, or from where it lies in scratch, to its place in the pool. */
static int put_chunk(struct put *put, uint64_t i, const uint8_t *data)
{
	struct ltz_xaes_chunk chunk;
	struct ltz_gcm *gcm;
	uint8_t tag[TAG], *to;
	int result = ltz__xaes_chunk(&chunk, put->nonce, put->value_size, i);

	if (result == 0)
		result = ltz__xaes_seal_begin(put->sealer->xaes, chunk.nonce, aad_bytes(&put->aad), &gcm);
	to = put->to + i * CHUNK;
	for (size_t at = 0; result == 0 && at < chunk.size; at += PIECE) {
		size_t size = piece_at(at, chunk.size);
		uint8_t *stage = put->scratch + (data == put->scratch ? at : STAGE);

		result = ltz__gcm_seal_more(gcm, data + at, size, stage);
		if (result < 0)
			break;
		copy_to_pool(to + at, stage, size);
		for (size_t ahead = 0; ahead < size; ahead += 64)
			__builtin_prefetch(to + at + size + ahead, 1, 2);
	}
	if (result == 0)
		result = ltz__gcm_seal_end(gcm, tag);
	if (result == 0)
		copy_to_pool(put->to + tag_at(put->value_size, i), tag, TAG);
	return result;
}

static int seal_head(struct put *put, const struct ltz_bytes *parts, unsigned count, uint8_t *out, uint64_t size)
{
	return ltz__xaes_seal(put->sealer->xaes, put->nonce, aad_bytes(&put->aad), parts, count, out, out + size);
}

/* A whole small one; parts: its content, size bytes. */
static int put_whole(struct put *put, const struct ltz_bytes *parts, unsigned count, uint64_t size)
{
	int result = seal_head(put, parts, count, put->scratch + NONCE, size);

	if (unlikely(result < 0))
		return result;
	memcpy(put->scratch, put->nonce, NONCE);
	copy_to_pool(put->to, put->scratch, NONCE + size + TAG);
	return 0;
}

/* A large one's head and end. */
static int put_head(struct put *put, const struct ltz_bytes *parts, unsigned count, uint64_t size)
{
	const uint32_t key_size = htole32((uint32_t)(size - TRAILER));
	uint8_t *end = put->scratch + size + TAG;
	int result = seal_head(put, parts, count, put->scratch, size);

	if (result < 0)
		return result;
	memcpy(end, put->nonce, NONCE);
	memcpy(end + NONCE, &key_size, sizeof(key_size));
	copy_to_pool(put->to + head_at(put->value_size), put->scratch, size + TAG + END);
	return 0;
}

/*
 * A small one. Each part costs libcrypto's call, so key and trailer, and a
 * value of a few lines, are brought together first, where the ciphertext goes.
 */
static int put_small(struct put *put, const struct ltz_hkey *key, const struct ltz_content *content)
{
	uint8_t *text = put->scratch + NONCE, *rest = text + content->size;
	bool gather = content->size <= GATHER_MAX;
	unsigned pad = seal_pad(content->size + key->name_size);
	uint64_t size = content->size + key->name_size + pad + TRAILER;
	struct ltz_bytes parts[] = {{content->data, content->size}, {rest, size - content->size}};
	int result;

	if (key->name_size)
		memcpy(rest, key->name, key->name_size);
	memset(rest + key->name_size, 0, pad);
	put_trailer(rest + key->name_size + pad, (struct trailer){key->name_size, key->name_type, content->type});
	if (gather) {
		if (content->size)
			memcpy(text, content->data, content->size);
		parts[1] = (struct ltz_bytes){text, size};
	}
	result = put_whole(put, parts + gather, 2 - gather, size);
	if (unlikely(result < 0))
		ltz__wipe(text, size);
	return result;
}

static int put_large(struct put *put, const struct ltz_hkey *key, const struct ltz_content *content)
{
	uint8_t trailer[TRAILER];
	const struct ltz_bytes parts[] = {{key->name, key->name_size}, {trailer, TRAILER}};
	uint64_t chunks = ltz__xaes_chunks(content->size);
	int result;

	put->value_size = content->size;
	put_trailer(trailer, (struct trailer){key->name_size, key->name_type, content->type});
	result = put_head(put, parts, 2, key->name_size + TRAILER);
	for (uint64_t i = 0; result == 0 && i < chunks; i++)
		result = put_chunk(put, i, (const uint8_t *)content->data + i * CHUNK);
	return result;
}

/* ---- opening ------------------------------------------------------------------------- */

struct box { /* a value area, as far as it was opened */
	struct ltz_sealer *sealer;
	uint8_t *scratch;
	struct aad aad;
	const uint8_t *from;
	uint64_t size;         /* of the area */
	unsigned pad;
	bool large;
	uint8_t nonce[NONCE];
	struct trailer trailer;
	const uint8_t *name;   /* in scratch */
	uint64_t value_size;
	uint64_t plain;        /* bytes in scratch to be wiped */
	uint8_t *plain_at;
};

static void box_init(struct box *box, struct ltz_sealer *sealer, const struct bound *bound, const void *mark, const uint8_t *from)
{
	box->sealer = sealer;
	box->scratch = sealer->scratch;
	box->aad = aad_of(bound, mark);
	box->from = from;
	box->size = bound->size;
	box->large = meta_flags(bound->meta) & REC_LARGE;
	box->pad = meta_type(bound->meta) & 15;
	box->plain = 0;
}

static void box_wipe(const struct box *box) { ltz__wipe(box->plain_at, box->plain); }

/* What a name and a trailer must be to belong to the key. */
static bool names_key(const struct box *box, const struct ltz_hkey *key)
{
	return box->trailer.key_size == key->name_size && box->trailer.key_type == key->name_type &&
	       (!key->name_size || memcmp(box->name, key->name, key->name_size) == 0);
}

/*
 * Opens a small one. buf, if not NULL, gets the value if it has value_size
 * bytes, which the key's size tells; else it stays in scratch.
 */
static int open_small(struct box *box, void *buf, uint64_t value_size)
{
	uint64_t size = box->size - (NONCE + TAG); /* of the ciphertext */
	uint8_t *text = box->scratch + NONCE;
	struct ltz_room rooms[2];
	int result;

	if (box->size < NONCE + TRAILER + TAG || box->size > SCRATCH_BYTES || (buf && value_size > size - TRAILER))
		return -EBADMSG;
	copy_from_pool(box->scratch, box->from, box->size);
	memcpy(box->nonce, box->scratch, NONCE);
	if (!buf)
		value_size = 0;
	rooms[0] = (struct ltz_room){buf, value_size};
	rooms[1] = (struct ltz_room){text + value_size, size - value_size};
	result = ltz__xaes_open(box->sealer->xaes, box->nonce, aad_bytes(&box->aad), text, rooms, 2, text + size);
	if (result < 0)
		return result;
	box->plain_at = text + value_size;
	box->plain = size - value_size;
	box->trailer = get_trailer(text + size - TRAILER);
	if (box->trailer.key_size + box->pad > size - TRAILER)
		return -EBADMSG;
	box->value_size = size - TRAILER - box->pad - box->trailer.key_size;
	box->name = text + box->value_size;
	return !buf || value_size == box->value_size ? 0 : -EBADMSG;
}

/* Opens the head of a large one. */
static int open_large(struct box *box)
{
	uint8_t end[END];
	uint64_t head, rest, chunks;
	uint32_t key_size;
	struct ltz_room room;
	int result;

	if (box->size < END)
		return -EBADMSG;
	copy_from_pool(end, box->from + box->size - END, END);
	memcpy(box->nonce, end, NONCE);
	memcpy(&key_size, end + NONCE, sizeof(key_size));
	key_size = le32toh(key_size);
	head = (uint64_t)key_size + TRAILER;
	if (key_size > LTZ_KEY_MAX || box->size <= head + TAG + END)
		return -EBADMSG;
	rest = box->size - head - TAG - END; /* the chunks and their tags */
	chunks = (rest + CHUNK + TAG - 1) / (CHUNK + TAG);
	box->value_size = rest - chunks * TAG;
	if (rest <= chunks * TAG || ltz__xaes_chunks(box->value_size) != chunks)
		return -EBADMSG;
	copy_from_pool(box->scratch, box->from + rest, head + TAG);
	room = (struct ltz_room){box->scratch, head};
	result = ltz__xaes_open(box->sealer->xaes, box->nonce, aad_bytes(&box->aad), room.data, &room, 1, box->scratch + head);
	if (result < 0)
		return result;
	box->plain_at = box->scratch;
	box->plain = head;
	box->name = box->scratch;
	box->trailer = get_trailer(box->name + key_size);
	return box->trailer.key_size == key_size ? 0 : -EBADMSG;
}

static int open_head(struct box *box) { return box->large ? open_large(box) : open_small(box, NULL, 0); }

/* Chunk i: from the pool to a private place, which may be the scratch's. */
static int open_chunk(struct box *box, uint64_t i, uint8_t *to, size_t *size_out)
{
	uint8_t tag[TAG], *stage = box->scratch + STAGE;
	const uint8_t *from = box->from + i * CHUNK;
	struct ltz_xaes_chunk chunk;
	struct ltz_gcm *gcm;
	int result;

	*size_out = 0;
	if (ltz__xaes_chunk(&chunk, box->nonce, box->value_size, i) < 0)
		return -EBADMSG; /* that nonce is not a record's */
	*size_out = chunk.size;
	copy_from_pool(tag, box->from + tag_at(box->value_size, i), TAG);
	result = ltz__xaes_open_begin(box->sealer->xaes, chunk.nonce, aad_bytes(&box->aad), tag, &gcm);
	for (size_t at = 0; result == 0 && at < chunk.size; at += PIECE) {
		size_t size = piece_at(at, chunk.size);

		copy_from_pool(stage, from + at, size);
		for (size_t ahead = 0; ahead < size; ahead += 64)
			__builtin_prefetch(from + at + size + ahead, 0, 2);
		result = ltz__gcm_open_more(gcm, stage, size, to + at);
	}
	return result < 0 ? result : ltz__gcm_open_end(gcm);
}

/*
 * Opens all chunks of a large one: to buf, or if that is NULL each in scratch,
 * where put (if not NULL) seals it anew; then nothing of it stays there.
 */
static int open_chunks(struct box *box, uint8_t *buf, struct put *put)
{
	uint64_t chunks = ltz__xaes_chunks(box->value_size);
	int result = 0;

	for (uint64_t i = 0; result == 0 && i < chunks; i++) {
		size_t size;

		result = open_chunk(box, i, buf ? buf + i * CHUNK : box->scratch, &size);
		if (result == 0 && put)
			result = put_chunk(put, i, box->scratch);
		if (!buf && (!put || result < 0))
			ltz__wipe(box->scratch, size);
	}
	if (result < 0 && buf)
		ltz__wipe(buf, box->value_size);
	return result;
}

/* ---- the calls of seal.h ---------------------------------------------------------------- */

/* The present record's content, sealed anew. */
static int put_from(struct put *put, const struct ltz_hkey *key, const struct ltz_old *old)
{
	const struct bound bound = bound_of(&old->look, old->version);
	struct box box;
	struct ltz_bytes part;
	int result;

	box_init(&box, put->sealer, &bound, key->mark, value_area(old->record, &old->look));
	result = open_head(&box);
	if (result == 0 && !names_key(&box, key))
		result = -EBADMSG;
	if (result == 0) {
		part = (struct ltz_bytes){box.plain_at, box.plain}; /* it is sealed in place */
		put->value_size = box.value_size;
		result = (box.large ? put_head : put_whole)(put, &part, 1, box.plain);
	}
	if (result < 0)
		box_wipe(&box);
	return result < 0 || !box.large ? result : open_chunks(&box, NULL, put);
}

int ltz__box_put(struct ltz_seal *seal, struct ltz_sealer *sealer, const struct ltz_hkey *key, const struct ltz_content *content,
                 const struct bound *bound, uint8_t *to)
{
	struct put put = {.sealer = sealer, .scratch = sealer->scratch, .to = to, .aad = aad_of(bound, key->mark)};
	int result = new_nonce(seal, sealer, put.nonce);

	if (unlikely(result < 0))
		return result;
	if (content->from)
		return put_from(&put, key, content->from);
	return unlikely(meta_flags(bound->meta) & REC_LARGE) ? put_large(&put, key, content) : put_small(&put, key, content);
}

int ltz__box_read(struct ltz_seal *seal, struct ltz_sealer *sealer, const struct ltz_hkey *key, const struct shm_record *record,
                  uint64_t version, struct ltz_look *look, void *buf, size_t capacity)
{
	const struct bound bound = bound_of(look, version);
	uint64_t around = NONCE + key->name_size + (meta_type(look->meta) & 15) + TRAILER + TAG;
	struct box box;
	int result;

	(void)seal;
	box_init(&box, sealer, &bound, key->mark, value_area(record, look));
	if (likely(!box.large && look->size >= around && look->size - around <= capacity && buf))
		result = open_small(&box, buf, look->size - around);
	else
		result = open_head(&box);
	if (result == 0 && unlikely(!names_key(&box, key)))
		result = -EBADMSG;
	box_wipe(&box);
	if (result < 0)
		return result;
	look->size = box.value_size;
	look->meta = (look->meta & ~(UINT64_C(0xff) << 24)) | (uint64_t)box.trailer.type << 24;
	if (box.value_size > capacity)
		return LTZ_TRUNCATED;
	return box.large ? open_chunks(&box, buf, NULL) : 0;
}

int ltz__box_name(struct ltz_sealer *sealer, const struct shm_record *record, uint64_t version, const struct ltz_look *look,
                  uint8_t *name, uint32_t *size, uint8_t *type, bool all)
{
	const struct bound bound = bound_of(look, version);
	uint8_t mark[HIDDEN_KEY_BYTES];
	struct box box;
	int result;

	if (meta_key_size(look->meta) != HIDDEN_KEY_BYTES || meta_key_type(look->meta) != HIDDEN_KEY_TYPE)
		return -EBADMSG;
	copy_from_pool(mark, (const uint8_t *)record + look->key_offset, sizeof(mark));
	box_init(&box, sealer, &bound, mark, value_area(record, look));
	result = open_head(&box);
	if (result == 0) {
		*size = box.trailer.key_size;
		*type = box.trailer.key_type;
		memcpy(name, box.name, *size);
	}
	box_wipe(&box);
	return result == 0 && all && box.large ? open_chunks(&box, NULL, NULL) : result;
}
