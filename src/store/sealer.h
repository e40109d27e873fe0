/* SPDX-License-Identifier: MIT */
/* sealer.h - what is behind `struct ltz_seal`. For seal.c, seal_box.c (encrypted) and seal_mac.c (locked only). */
#ifndef LTZ_STORE_SEALER_H
#define LTZ_STORE_SEALER_H

#include <errno.h>
#include <latzero.h>

#include "base/canary.h"
#include "guard/hmac.h"
#include "guard/xaes.h"
#include "store/edit.h"
#include "store/seal.h"

#define SEALERS 16u

#define SEAL_TRAILER 4u

/* Zeros that bring a small content to whole blocks of the cipher: half a block costs more than a whole one. */
LTZ_INLINE uint8_t seal_pad(uint64_t size) { return -(size + SEAL_TRAILER) & 15; }

/* The largest small value area: nonce, value, key, pad, trailer, tag. A chunk is less. */
#define SCRATCH_BYTES (LTZ_XAES_NONCE_BYTES + SEAL_SMALL_MAX + LTZ_KEY_MAX + 15 + SEAL_TRAILER + LTZ_XAES_TAG_BYTES)
static_assert(SCRATCH_BYTES >= LTZ_XAES_CHUNK_BYTES + LTZ_XAES_TAG_BYTES, "a chunk with its tag fits");

struct ltz_sealer { /* used by one thread at a time */
	uint32_t busy;
	uint8_t *scratch;       /* SCRATCH_BYTES; holds no plaintext between calls */
	struct ltz_xaes *xaes;  /* encrypted pools */
	uint64_t next;          /* number of the next nonce; its highest byte is the sealer's own */
} __attribute__((aligned(64)));

/* In a page that is zeroed in a forked child. */
struct ltz_nonces {
	uint64_t ours;
	uint8_t prefix[LTZ_XAES_PREFIX_BYTES];
};

struct ltz_seal {
	bool encrypted;
	struct ltz_hmac names, mac;
	struct ltz_nonces *nonces; /* encrypted pools */
	uint8_t *scratch;
	struct ltz_sealer sealer[SEALERS];
};

/* A free sealer; waits only for this process' own threads, which never wait for anything while they have one. */
struct ltz_sealer *ltz__sealer_take(struct ltz_seal *seal);
LTZ_INLINE void sealer_give(struct ltz_sealer *sealer) { __atomic_store_n(&sealer->busy, 0, __ATOMIC_RELEASE); }

/* What every tag covers. */
struct bound {
	uint64_t version, expires_ms, meta, size;
};
static_assert(sizeof(struct bound) == 32, "no padding");

LTZ_INLINE struct bound bound_of(const struct ltz_look *look, uint64_t version)
{
	return (struct bound){version, look->expires_ms, look->meta, look->size};
}

LTZ_INLINE const uint8_t *value_area(const struct shm_record *record, const struct ltz_look *look)
{
	return (const uint8_t *)record + look->value_offset;
}

/* The calls of seal.h for one kind of pool; name NULL: nobody wants it. */
int ltz__box_put(struct ltz_seal *, struct ltz_sealer *, const struct ltz_hkey *, const struct ltz_content *,
                 const struct bound *, uint8_t *to);
int ltz__box_read(struct ltz_seal *, struct ltz_sealer *, const struct ltz_hkey *, const struct shm_record *, uint64_t version,
                  struct ltz_look *, void *buf, size_t capacity);
int ltz__box_name(struct ltz_sealer *, const struct shm_record *, uint64_t version, const struct ltz_look *,
                  uint8_t *name, uint32_t *size, uint8_t *type, bool all);

int ltz__mac_put(struct ltz_seal *, struct ltz_sealer *, const struct ltz_hkey *, const struct ltz_content *,
                 const struct bound *, uint8_t *to);
int ltz__mac_read(struct ltz_seal *, struct ltz_sealer *, const struct ltz_hkey *, const struct shm_record *, uint64_t version,
                  struct ltz_look *, void *buf, size_t capacity);

#endif
