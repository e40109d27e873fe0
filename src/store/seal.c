/* SPDX-License-Identifier: MIT */
/* seal.c - subkeys, marks, sealers; which kind of seal a call goes to. */
#include "store/seal.h"

#include <stdlib.h>
#include <string.h>

#include "guard/hkdf.h"
#include "guard/wipe.h"
#include "store/sealer.h"
#include "sys/fault.h"
#include "sys/sys.h"

#define SUBKEY_BYTES 32
#define SIZE_LIMIT   (UINT64_C(1) << 46) /* more than a pool has (shm/mem.c): sums of sizes do not overflow */

static_assert(SUBKEY_BYTES == LTZ_XAES_KEY_BYTES, "one size for all subkeys");
static_assert(HIDDEN_KEY_BYTES >= LTZ_HMAC_BYTES_MIN, "a mark is long enough to stand for its key");

static __thread uint32_t hint __attribute__((tls_model("initial-exec"))); /* the sealer this thread had last */

/* ---- making --------------------------------------------------------------------- */

struct origin { /* what subkeys are made from */
	struct ltz_bytes key, salt;
};

static int subkey(const struct origin *origin, const char *info, uint8_t key[SUBKEY_BYTES])
{
	return ltz__hkdf(origin->salt, origin->key, (struct ltz_bytes){info, strlen(info)}, (struct ltz_room){key, SUBKEY_BYTES});
}

static int init_hmac(struct ltz_hmac *hmac, const struct origin *origin, const char *info)
{
	uint8_t key[SUBKEY_BYTES];
	int result = subkey(origin, info, key);

	if (result == 0)
		result = ltz__hmac_init(hmac, (struct ltz_bytes){key, sizeof(key)});
	ltz__wipe(key, sizeof(key));
	return result;
}

static int init_nonces(struct ltz_seal *seal)
{
	void *page;
	int result = ltz__sys_map_unforked(sizeof(*seal->nonces), &page);

	if (result < 0)
		return result;
	seal->nonces = page;
	seal->nonces->ours = 1;
	return ltz__sys_random(seal->nonces->prefix, sizeof(seal->nonces->prefix));
}

static int init_box(struct ltz_seal *seal, const struct origin *origin)
{
	uint8_t key[SUBKEY_BYTES];
	int result = init_hmac(&seal->names, origin, "latzero 1 names");

	if (result == 0)
		result = init_nonces(seal);
	if (result == 0)
		result = subkey(origin, "latzero 1 seal", key);
	for (unsigned i = 0; result == 0 && i < SEALERS; i++) {
		seal->sealer[i].next = (uint64_t)i << 56;
		result = ltz__xaes_new(&seal->sealer[i].xaes, key);
	}
	ltz__wipe(key, sizeof(key));
	return result;
}

int ltz__seal_new(struct ltz_seal **out, const uint8_t pool_key[LTZ_MEM_KEY_BYTES], const uint8_t pool_id[16], bool encrypted)
{
	const struct origin origin = {{pool_key, LTZ_MEM_KEY_BYTES}, {pool_id, 16}};
	struct ltz_seal *seal = LTZ_PTR_CALL(NULL, aligned_alloc(64, sizeof(*seal)));
	int result;

	if (!seal)
		return -ENOMEM;
	memset(seal, 0, sizeof(*seal));
	seal->encrypted = encrypted;
	/* its pages come when a sealer is first used */
	seal->scratch = LTZ_PTR_CALL(NULL, malloc(SEALERS * SCRATCH_BYTES));
	result = !seal->scratch ? -ENOMEM : encrypted ? init_box(seal, &origin) : init_hmac(&seal->mac, &origin, "latzero 1 mac");
	if (result < 0) {
		ltz__seal_free(seal);
		return result;
	}
	for (unsigned i = 0; i < SEALERS; i++)
		seal->sealer[i].scratch = seal->scratch + i * SCRATCH_BYTES;
	*out = seal;
	return 0;
}

void ltz__seal_free(struct ltz_seal *seal)
{
	if (!seal)
		return;
	for (unsigned i = 0; i < SEALERS; i++)
		ltz__xaes_free(seal->sealer[i].xaes);
	if (seal->nonces)
		ltz__sys_unmap(seal->nonces, sizeof(*seal->nonces));
	free(seal->scratch);
	ltz__wipe(seal, sizeof(*seal));
	free(seal);
}

/* ---- sealers --------------------------------------------------------------------- */

static bool try_sealer(struct ltz_sealer *sealer) { return !__atomic_exchange_n(&sealer->busy, 1, __ATOMIC_ACQUIRE); }

struct ltz_sealer *ltz__sealer_take(struct ltz_seal *seal)
{
	uint32_t i = hint;

	while (!try_sealer(&seal->sealer[i])) {
		if (++i == SEALERS) {
			ltz__sys_yield();
			i = 0;
		}
		hint = i;
	}
	return &seal->sealer[i];
}

/* ---- keys ------------------------------------------------------------------------- */

void ltz__hkey_hide(const struct ltz_mem *mem, struct ltz_hkey *k, unsigned type, const void *data, uint32_t size)
{
	const uint8_t type_byte = (uint8_t)type;
	const struct ltz_bytes parts[] = {{&type_byte, 1}, {data, size}};
	uint8_t tag[LTZ_HMAC_BYTES];

	ltz__hmac(&mem->seal->names, parts, 2, tag);
	memcpy(k->mark, tag, HIDDEN_KEY_BYTES);
	hkey_init_stored(mem, k, HIDDEN_KEY_TYPE, k->mark, HIDDEN_KEY_BYTES);
	k->data = NULL;
	k->name = data;
	k->name_size = size;
	k->name_type = (uint8_t)type;
}

/* ---- records ----------------------------------------------------------------------- */

int ltz__seal_layout(const struct ltz_seal *seal, const struct ltz_hkey *key, const struct ltz_content *content,
                     struct ltz_content *area, unsigned *flags)
{
	*area = *content;
	if (content->from) {
		area->size = content->from->look.size;
		area->type = (uint8_t)meta_type(content->from->look.meta);
		*flags = meta_flags(content->from->look.meta) & REC_LARGE;
		return 0;
	}
	if (content->size > SIZE_LIMIT)
		return -ENOSPC;
	*flags = content->size > SEAL_SMALL_MAX ? REC_LARGE : 0;
	if (!seal->encrypted) {
		area->size += *flags ? 2 * LTZ_HMAC_BYTES : LTZ_HMAC_BYTES;
		return 0;
	}
	area->type = *flags ? 0 : seal_pad(content->size + key->name_size);
	area->size += LTZ_XAES_NONCE_BYTES + key->name_size + area->type + SEAL_TRAILER + LTZ_XAES_TAG_BYTES;
	if (*flags)
		area->size += 4 + LTZ_XAES_TAG_BYTES * ltz__xaes_chunks(content->size);
	return 0;
}

int ltz__seal_put(struct ltz_seal *seal, const struct ltz_hkey *key, const struct ltz_content *content,
                  const struct ltz_look *area, uint64_t version, uint8_t *to)
{
	const struct bound bound = bound_of(area, version);
	struct ltz_sealer *sealer = ltz__sealer_take(seal);
	int result = (seal->encrypted ? ltz__box_put : ltz__mac_put)(seal, sealer, key, content, &bound, to);

	sealer_give(sealer);
	return result;
}

int ltz__seal_read(struct ltz_seal *seal, const struct ltz_hkey *key, const struct shm_record *record, uint64_t version,
                   struct ltz_look *look, void *buf, size_t capacity)
{
	struct ltz_sealer *sealer = ltz__sealer_take(seal);
	int result = (seal->encrypted ? ltz__box_read : ltz__mac_read)(seal, sealer, key, record, version, look, buf, capacity);

	sealer_give(sealer);
	return result;
}

/* The key of a record in a pool that shows it; it lies in name. */
static struct ltz_hkey shown_key(const struct shm_record *record, const struct ltz_look *look, uint8_t *name)
{
	struct ltz_hkey key = {.data = name, .size = meta_key_size(look->meta), .type = (uint8_t)meta_key_type(look->meta)};

	copy_from_pool(name, (const uint8_t *)record + look->key_offset, key.size);
	return key;
}

int ltz__seal_name(struct ltz_seal *seal, const struct shm_record *record, uint64_t version, const struct ltz_look *look,
                   uint8_t *name, uint32_t *size, uint8_t *type)
{
	struct ltz_sealer *sealer = ltz__sealer_take(seal);
	int result;

	if (seal->encrypted) {
		result = ltz__box_name(sealer, record, version, look, name, size, type, false);
	} else {
		struct ltz_hkey key = shown_key(record, look, name);
		struct ltz_look copy = *look;

		*size = key.size;
		*type = key.type;
		result = ltz__mac_read(seal, sealer, &key, record, version, &copy, NULL, 0);
	}
	sealer_give(sealer);
	return result < 0 ? result : 0;
}

int ltz__seal_check(struct ltz_seal *seal, const struct shm_record *record, uint64_t version, const struct ltz_look *look)
{
	uint64_t room = seal->encrypted ? LTZ_KEY_MAX : LTZ_KEY_MAX + look->size; /* HMAC wants the value in one piece */
	uint8_t *bytes = LTZ_PTR_CALL(NULL, malloc(room)), type;
	struct ltz_sealer *sealer;
	uint32_t size = 0;
	int result;

	if (!bytes)
		return -ENOMEM;
	sealer = ltz__sealer_take(seal);
	if (seal->encrypted) {
		result = ltz__box_name(sealer, record, version, look, bytes, &size, &type, true);
	} else {
		struct ltz_hkey key = shown_key(record, look, bytes);
		struct ltz_look copy = *look;

		result = ltz__mac_read(seal, sealer, &key, record, version, &copy, bytes + LTZ_KEY_MAX, look->size);
	}
	sealer_give(sealer);
	ltz__wipe(bytes, size);
	free(bytes);
	return result;
}
