/* SPDX-License-Identifier: MIT */
/* seal_mac.c - records that everybody may read and nobody without the key change. The bytes are described in seal.h. */
#include <string.h>

#include "guard/wipe.h"
#include "store/sealer.h"

#define TAG LTZ_HMAC_BYTES

static_assert(SCRATCH_BYTES >= SEAL_SMALL_MAX, "a small value fits");

static const struct bound no_bound; /* what a digest begins with */

static void digest_of(const struct ltz_seal *seal, const void *value, size_t size, uint8_t digest[TAG])
{
	const struct ltz_bytes parts[] = {{&no_bound, sizeof(no_bound)}, {value, size}};

	ltz__hmac(&seal->mac, parts, 2, digest);
}

/* rest: the value of a small one, the digest of a large one. */
static void tag_of(const struct ltz_seal *seal, const struct bound *bound, const struct ltz_hkey *key, const void *rest, size_t size,
                   uint8_t tag[TAG])
{
	const struct ltz_bytes parts[] = {{bound, sizeof(*bound)}, {key->data, key->size}, {rest, size}};

	ltz__hmac(&seal->mac, parts, 3, tag);
}

static bool tag_is(const uint8_t right[TAG], const uint8_t tag[TAG])
{
	return ltz__same(right, tag, canary(CANARY_TAG_CUT) ? 4 : TAG);
}

static bool is_large(const struct bound *bound) { return meta_flags(bound->meta) & REC_LARGE; }

/* ---- reading ------------------------------------------------------------------------ */

static int read_small(const struct ltz_seal *seal, struct ltz_sealer *sealer, const struct ltz_hkey *key, const struct bound *bound,
                      const uint8_t *from, uint64_t size, void *buf, size_t capacity)
{
	uint8_t tag[TAG], right[TAG], *copy = size <= capacity && buf ? buf : sealer->scratch;

	if (size > SEAL_SMALL_MAX)
		return -EBADMSG;
	copy_from_pool(copy, from, size);
	copy_from_pool(tag, from + size, TAG);
	tag_of(seal, bound, key, copy, size, right);
	if (unlikely(!tag_is(right, tag)))
		return -EBADMSG;
	return size <= capacity ? 0 : LTZ_TRUNCATED;
}

/* The digest of a large one, if it is genuine. */
static int read_digest(const struct ltz_seal *seal, const struct ltz_hkey *key, const struct bound *bound, const uint8_t *from,
                       uint64_t size, uint8_t digest[TAG])
{
	uint8_t tags[2 * TAG], right[TAG];

	copy_from_pool(tags, from + size, sizeof(tags));
	tag_of(seal, bound, key, tags, TAG, right);
	memcpy(digest, tags, TAG);
	return tag_is(right, tags + TAG) ? 0 : -EBADMSG;
}

int ltz__mac_read(struct ltz_seal *seal, struct ltz_sealer *sealer, const struct ltz_hkey *key, const struct shm_record *record,
                  uint64_t version, struct ltz_look *look, void *buf, size_t capacity)
{
	const struct bound bound = bound_of(look, version);
	const uint8_t *from = value_area(record, look);
	uint64_t tags = is_large(&bound) ? 2 * TAG : TAG;
	uint8_t digest[TAG], right[TAG];
	int result;

	if (look->size < tags)
		return -EBADMSG;
	look->size -= tags;
	if (likely(!is_large(&bound)))
		return read_small(seal, sealer, key, &bound, from, look->size, buf, capacity);
	result = read_digest(seal, key, &bound, from, look->size, digest);
	if (result < 0 || look->size > capacity)
		return result < 0 ? result : LTZ_TRUNCATED;
	record_copy_value(record, look, version, buf);
	digest_of(seal, buf, look->size, right);
	return tag_is(right, digest) ? 0 : -EBADMSG;
}

/* ---- writing -------------------------------------------------------------------------- */

static void put_tags(const struct ltz_seal *seal, const struct ltz_hkey *key, const struct bound *bound, const void *rest, size_t size,
                     uint8_t *to)
{
	uint8_t tag[TAG];

	tag_of(seal, bound, key, rest, size, tag);
	copy_to_pool(to, tag, TAG);
}

/* A large value is not looked at: its digest is genuine, and whoever reads it compares. */
static int put_large_from(const struct ltz_seal *seal, struct ltz_sealer *sealer, const struct ltz_hkey *key, const struct bound *was,
                          const struct bound *bound, const uint8_t *from, uint8_t *to)
{
	uint64_t size = was->size - 2 * TAG;
	uint8_t digest[TAG];

	if (was->size < 2 * TAG || read_digest(seal, key, was, from, size, digest) < 0)
		return -EBADMSG;
	for (uint64_t at = 0; at < size;) {
		uint64_t step = size - at < SCRATCH_BYTES ? size - at : SCRATCH_BYTES;

		copy_from_pool(sealer->scratch, from + at, step);
		copy_to_pool(to + at, sealer->scratch, step);
		at += step;
	}
	copy_to_pool(to + size, digest, TAG);
	put_tags(seal, key, bound, digest, TAG, to + size + TAG);
	return 0;
}

static int put_from(const struct ltz_seal *seal, struct ltz_sealer *sealer, const struct ltz_hkey *key, const struct ltz_old *old,
                    const struct bound *bound, uint8_t *to)
{
	const struct bound was = bound_of(&old->look, old->version);
	const uint8_t *from = value_area(old->record, &old->look);
	uint64_t size = was.size - TAG;
	int result;

	if (is_large(&was))
		return put_large_from(seal, sealer, key, &was, bound, from, to);
	if (was.size < TAG)
		return -EBADMSG;
	result = read_small(seal, sealer, key, &was, from, size, sealer->scratch, SCRATCH_BYTES);
	if (result < 0)
		return result;
	copy_to_pool(to, sealer->scratch, size);
	put_tags(seal, key, bound, sealer->scratch, size, to + size);
	return 0;
}

int ltz__mac_put(struct ltz_seal *seal, struct ltz_sealer *sealer, const struct ltz_hkey *key, const struct ltz_content *content,
                 const struct bound *bound, uint8_t *to)
{
	uint8_t digest[TAG];

	if (content->from)
		return put_from(seal, sealer, key, content->from, bound, to);
	copy_to_pool(to, content->data, content->size);
	if (likely(!is_large(bound))) {
		put_tags(seal, key, bound, content->data, content->size, to + content->size);
		return 0;
	}
	digest_of(seal, content->data, content->size, digest);
	copy_to_pool(to + content->size, digest, TAG);
	put_tags(seal, key, bound, digest, TAG, to + content->size + TAG);
	return 0;
}
