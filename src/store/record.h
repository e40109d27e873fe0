/* SPDX-License-Identifier: MIT */
/*
 * record.h - a block's contents: laid out, filled, looked at.
 *
 * Looking works on bytes that may be changing or hostile: the meta word is
 * read once, everything derived from it is checked against the room that the
 * caller knows, and the answer counts only after the caller's validation.
 */
#ifndef LTZ_STORE_RECORD_H
#define LTZ_STORE_RECORD_H

#include "base/copy.h"
#include "base/hash.h"
#include "shm/attachment.h"

#define HIDDEN_KEY_TYPE 0u  /* of keys in pools with hidden names; no key of a caller has it */
#define HIDDEN_KEY_BYTES 16u

/*
 * A key, hashed for one pool. data, size and type are those that lie in the
 * pool. In one with hidden names that is a mark made from the key
 * (store/seal.h); the key itself is then beside it.
 */
struct ltz_hkey {
	const void *data; /* NULL, of a hidden name: mark (no pointer: a key may be copied) */
	uint32_t size;
	uint8_t type;
	uint64_t meta; /* the bits of a record's meta word under META_KEY_MASK */
	uint64_t hash;
	uint64_t word; /* a slot word for it with ref 0 */

	/* hidden names only */
	const void *name;
	uint32_t name_size;
	uint8_t name_type;
	uint8_t mark[HIDDEN_KEY_BYTES];
};

/* The key's bytes in the pool. (NULL too for an empty key, of which nobody reads a byte.) */
LTZ_INLINE const void *hkey_data(const struct ltz_hkey *k) { return k->data ? k->data : k->mark; }

#define SLOT_FROZEN (UINT64_C(1) << 63)
#define SLOT_RECORD (UINT64_C(1) << 62)

LTZ_INLINE unsigned hash_bits(const struct ltz_mem *mem) { return 62 - mem->ref_bits; }

LTZ_INLINE uint64_t slot_word(const struct ltz_mem *mem, uint64_t hash, uint64_t ref)
{
	return SLOT_RECORD | hash >> (64 - hash_bits(mem)) << mem->ref_bits | ref;
}

/* From the bytes that lie in the pool. */
LTZ_INLINE void hkey_init_stored(const struct ltz_mem *mem, struct ltz_hkey *k, unsigned type, const void *data, uint32_t size)
{
	k->data = data;
	k->size = size;
	k->type = (uint8_t)type;
	k->meta = size | (uint64_t)type << 16;
	k->hash = hash_key(mem->seed, type, data, size);
	k->word = slot_word(mem, k->hash, 0);
}

/* In a pool with hidden names: marks the key, then as above. */
void ltz__hkey_hide(const struct ltz_mem *mem, struct ltz_hkey *k, unsigned type, const void *data, uint32_t size);

/* From a key as callers know it. */
LTZ_INLINE void hkey_init(const struct ltz_mem *mem, struct ltz_hkey *k, unsigned type, const void *data, uint32_t size)
{
	if (unlikely(mem->hidden_names))
		ltz__hkey_hide(mem, k, type, data, size);
	else
		hkey_init_stored(mem, k, type, data, size);
}

struct ltz_old; /* store/edit.h */

/* What is to be written. */
struct ltz_content {
	const void *data;
	uint64_t size;
	uint64_t expires_ms; /* pool's clock; SHM_NEVER */
	uint8_t type;
	const struct ltz_old *from; /* not NULL, in a sealed pool: this record's value, instead of data, size and type */
};

/* What a record says, as read once. */
struct ltz_look {
	uint64_t meta;
	uint64_t expires_ms;
	uint64_t size;        /* of the value */
	uint64_t value_offset; /* from the record's start */
	uint64_t key_offset;
};

LTZ_INLINE uint64_t value_offset(unsigned flags, uint64_t key_end)
{
	return flags & REC_ALIGNED ? (key_end + 63) & ~UINT64_C(63) : key_end;
}

/* room: bytes that may be read from rec on. false: the words make no sense. */
LTZ_INLINE bool record_look(const struct shm_record *rec, uint64_t room, uint64_t meta, struct ltz_look *look)
{
	unsigned flags = meta_flags(meta);
	uint64_t offset = sizeof(*rec);

	look->meta = meta;
	look->size = meta_size(meta);
	look->expires_ms = SHM_NEVER;
	if (unlikely(flags)) {
		if (room < sizeof(*rec) + 16)
			return false;
		if (flags & REC_EXPIRES) {
			look->expires_ms = load_relaxed((const uint64_t *)((const uint8_t *)rec + offset));
			offset += 8;
		}
		if (flags & REC_LONG) {
			look->size = load_relaxed((const uint64_t *)((const uint8_t *)rec + offset));
			offset += 8;
		}
	}
	look->key_offset = offset;
	look->value_offset = value_offset(flags, offset + meta_key_size(meta));
	return look->value_offset <= room && look->size <= room - look->value_offset;
}

/* The flags and total size of a record to be. */
LTZ_INLINE unsigned record_flags_for(const struct ltz_content *content)
{
	return (content->expires_ms != SHM_NEVER ? REC_EXPIRES : 0) | (content->size > UINT32_MAX ? REC_LONG : 0) |
	       (content->size >= REC_ALIGN_FROM ? REC_ALIGNED : 0);
}
LTZ_INLINE uint64_t record_key_offset(unsigned flags)
{
	return sizeof(struct shm_record) + (flags & REC_EXPIRES ? 8 : 0) + (flags & REC_LONG ? 8 : 0);
}
LTZ_INLINE uint64_t record_bytes(unsigned flags, uint32_t key_size, uint64_t size)
{
	return value_offset(flags, record_key_offset(flags) + key_size) + size;
}

LTZ_INLINE uint64_t record_meta(unsigned flags, const struct ltz_hkey *key, const struct ltz_content *content)
{
	return meta_make(key->size, key->type, flags, content->type, flags & REC_LONG ? 0 : (uint32_t)content->size);
}

/* Is the record's key this one, with data = hkey_data(key)? Its meta word was read; bounds were checked by record_look. */
LTZ_INLINE bool record_has_key(const struct shm_record *rec, const struct ltz_look *look, const struct ltz_hkey *key, const void *data)
{
	return (look->meta & META_KEY_MASK) == key->meta &&
	       equal_in_pool((const uint8_t *)rec + look->key_offset, data, key->size);
}

/*
 * Copies look->size bytes of the value. A reader that was stopped in the
 * middle may find that the memory was given back meanwhile: each page it goes
 * on to read comes back, as zeros. So a large value is copied in pieces, and
 * what is left is not if the record has gone; validation then says so again.
 */
#define COPY_PIECE (UINT64_C(16) << 20)

LTZ_INLINE void record_copy_value(const struct shm_record *rec, const struct ltz_look *look, uint64_t version, void *to)
{
	const uint8_t *from = (const uint8_t *)rec + look->value_offset;
	uint64_t size = look->size, at = 0;

	for (; unlikely(size - at > COPY_PIECE); at += COPY_PIECE) {
		copy_from_pool((uint8_t *)to + at, from + at, COPY_PIECE);
		if (load_acquire(&rec->version) != version)
			return;
	}
	copy_from_pool((uint8_t *)to + at, from + at, size - at);
}

#endif
