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
#define HEAD_AT (NONCE + 4u) /* of a large one: behind its nonce and the key's size */

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
};

/* One chunk: from data, or from where it lies in scratch, to its place in the pool. */
static int put_chunk(struct put *put, const struct ltz_xaes_chunk *chunk, const uint8_t *data)
{
	const struct ltz_bytes part = {data, chunk->size};
	int result = ltz__xaes_seal(put->sealer->xaes, chunk->nonce, aad_bytes(&put->aad), &part, 1, put->scratch,
	                            put->scratch + chunk->size);

	if (result < 0)
		return result;
	copy_to_pool(put->to, put->scratch, chunk->size + TAG);
	put->to += chunk->size + TAG;
	return 0;
}

/* Nonce, head and tag; parts: the head's content. at: where in scratch the ciphertext goes. */
static int put_head(struct put *put, unsigned at, const struct ltz_bytes *parts, unsigned count)
{
	uint64_t size = at;
	int result;

	for (unsigned i = 0; i < count; i++)
		size += parts[i].size;
	memcpy(put->scratch, put->nonce, NONCE);
	result = ltz__xaes_seal(put->sealer->xaes, put->nonce, aad_bytes(&put->aad), parts, count, put->scratch + at, put->scratch + size);
	if (result < 0)
		return result;
	copy_to_pool(put->to, put->scratch, size + TAG);
	put->to += size + TAG;
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
	struct ltz_bytes parts[] = {{content->data, content->size}, {rest, key->name_size + pad + TRAILER}};
	int result;

	if (key->name_size)
		memcpy(rest, key->name, key->name_size);
	memset(rest + key->name_size, 0, pad);
	put_trailer(rest + key->name_size + pad, (struct trailer){key->name_size, key->name_type, content->type});
	if (gather) {
		if (content->size)
			memcpy(text, content->data, content->size);
		parts[1] = (struct ltz_bytes){text, content->size + parts[1].size};
	}
	result = put_head(put, NONCE, parts + gather, 2 - gather);
	if (unlikely(result < 0))
		ltz__wipe(text, content->size + key->name_size + pad + TRAILER);
	return result;
}

static int put_new(struct put *put, const struct ltz_hkey *key, const struct ltz_content *content, bool large)
{
	uint8_t trailer[TRAILER];
	const struct ltz_bytes parts[] = {{key->name, key->name_size}, {trailer, TRAILER}};
	const uint32_t key_size = htole32(key->name_size);
	struct ltz_xaes_chunk chunk;
	uint64_t chunks = ltz__xaes_chunks(content->size);
	int result;

	if (likely(!large))
		return put_small(put, key, content);
	put_trailer(trailer, (struct trailer){key->name_size, key->name_type, content->type});
	memcpy(put->scratch + NONCE, &key_size, sizeof(key_size));
	result = put_head(put, HEAD_AT, parts, 2);
	for (uint64_t i = 0; result == 0 && i < chunks; i++) {
		result = ltz__xaes_chunk(&chunk, put->nonce, content->size, i);
		if (result == 0)
			result = put_chunk(put, &chunk, (const uint8_t *)content->data + chunk.offset);
	}
	return result;
}

/* ---- opening ------------------------------------------------------------------------- */

struct box { /* a value area, as far as it was opened */
	struct ltz_sealer *sealer;
	uint8_t *scratch;
	struct aad aad;
	const uint8_t *from;
	uint64_t size;         /* of the area, then of what follows */
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

/* Opens the head of a large one; from and size are then its chunks'. */
static int open_large(struct box *box)
{
	uint64_t head, chunks;
	uint32_t key_size;
	struct ltz_room room;
	int result;

	if (box->size < HEAD_AT)
		return -EBADMSG;
	copy_from_pool(box->scratch, box->from, HEAD_AT);
	memcpy(box->nonce, box->scratch, NONCE);
	memcpy(&key_size, box->scratch + NONCE, sizeof(key_size));
	key_size = le32toh(key_size);
	if (key_size > LTZ_KEY_MAX)
		return -EBADMSG;
	head = key_size + TRAILER;
	if (box->size <= HEAD_AT + head + TAG)
		return -EBADMSG;
	copy_from_pool(box->scratch + HEAD_AT, box->from + HEAD_AT, head + TAG);
	room = (struct ltz_room){box->scratch + HEAD_AT, head};
	result = ltz__xaes_open(box->sealer->xaes, box->nonce, aad_bytes(&box->aad), room.data, &room, 1, box->scratch + HEAD_AT + head);
	if (result < 0)
		return result;
	box->plain_at = box->scratch + HEAD_AT;
	box->plain = head;
	box->name = box->scratch + HEAD_AT;
	box->trailer = get_trailer(box->name + key_size);
	box->from += HEAD_AT + head + TAG;
	box->size -= HEAD_AT + head + TAG;
	chunks = (box->size + CHUNK + TAG - 1) / (CHUNK + TAG);
	box->value_size = box->size - chunks * TAG;
	return box->trailer.key_size == key_size && box->size > chunks * TAG && ltz__xaes_chunks(box->value_size) == chunks ? 0 : -EBADMSG;
}

static int open_head(struct box *box) { return box->large ? open_large(box) : open_small(box, NULL, 0); }

/*
 * Opens all chunks of a large one: to buf, or if that is NULL each in scratch,
 * where put (if not NULL) seals it anew; then nothing of it stays there.
 */
static int open_chunks(struct box *box, uint8_t *buf, struct put *put)
{
	uint64_t chunks = ltz__xaes_chunks(box->value_size);
	struct ltz_xaes_chunk chunk, fresh;
	uint8_t tag[TAG];
	int result = 0;

	for (uint64_t i = 0; result == 0 && i < chunks; i++) {
		struct ltz_room room;

		if (ltz__xaes_chunk(&chunk, box->nonce, box->value_size, i) < 0)
			return -EBADMSG;
		room = (struct ltz_room){buf ? buf + chunk.offset : box->scratch, chunk.size};
		copy_from_pool(room.data, box->from, chunk.size);
		copy_from_pool(tag, box->from + chunk.size, TAG);
		box->from += chunk.size + TAG;
		result = ltz__xaes_open(box->sealer->xaes, chunk.nonce, aad_bytes(&box->aad), room.data, &room, 1, tag);
		if (result == 0 && put) {
			result = ltz__xaes_chunk(&fresh, put->nonce, box->value_size, i);
			if (result == 0)
				result = put_chunk(put, &fresh, room.data);
		}
		if (!buf && (!put || result < 0))
			ltz__wipe(room.data, chunk.size);
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
		part = (struct ltz_bytes){box.plain_at, box.plain};
		result = put_head(put, (unsigned)(box.plain_at - box.scratch), &part, 1); /* in place; the key's size stays */
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
	return content->from ? put_from(&put, key, content->from) : put_new(&put, key, content, meta_flags(bound->meta) & REC_LARGE);
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
