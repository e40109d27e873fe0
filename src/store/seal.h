/* SPDX-License-Identifier: MIT */
/*
 * seal.h - records that others cannot read, or cannot change, unnoticed.
 *
 * A *sealed pool* has a key that every member holds and that never lies in the
 * pool. If it is encrypted (LTZ_ENCRYPTION), the pool shows neither values nor
 * keys; if it is only locked (LTZ_AUTH), it shows both, but a change of either
 * is noticed by whoever reads next. All of a sealed pool that is not a record's
 * value area is as in an open one, and so is every step of the protocols.
 *
 * Subkeys, by HKDF-SHA256 from the pool's key with the pool's id as salt (so a
 * record of another pool never fits) and as info:
 *	"latzero 1 seal"   AES-256-GCM in XAES layout (guard/xaes.h)
 *	"latzero 1 mac"    HMAC-SHA256 over records
 *	"latzero 1 names"  HMAC-SHA256 over keys
 *
 * What every tag covers, besides the value: struct bound, 32 bytes,
 *	version 8 | expiry 8 | meta 8 | size of the value area 8
 * (meta with the key's type and size, the value's type and the flags as they
 * are in the record), and then the record's key as it is in the record. So a
 * record cannot be moved under another key, given another age, or cut.
 *
 * Encrypted. The record's key is of type HIDDEN_KEY_TYPE and is a mark, the
 * first 16 bytes of HMAC(names, type ‖ key): the index works on it as on any
 * key. The value's type is part of the content (it is all there is of None, False
 * and True); meta has the size of the pad in its place. The value area:
 *
 *	small   nonce 24 | { value | key | pad | trailer 4 } | tag 16
 *	large   { chunk } ... | tag 16 ... | { key | trailer 4 } | tag 16 | nonce 24 | key size 4
 *	chunk   65536 bytes of the value; the last one: what is left
 *	pad     0 to 15 zeros, so that { } has whole blocks of 16
 *	trailer key size 2 | key type 1 | value type 1
 *
 * { } is encrypted; the chunks lie where the value would, so on whole cache
 * lines, and each has its tag behind them. Large: the value has more than SEAL_SMALL_MAX bytes; so a
 * scan, and a question for size and type, opens at most SEAL_SMALL_MAX bytes
 * and a key. Head and chunks share one number of the nonce's counter.
 * Associated data: struct bound | mark 16.
 *
 * Locked only. Key and meta as in an open pool. The value area:
 *
 *	small   value | HMAC(mac, bound | key | value) 32
 *	large   value | digest 32 | HMAC(mac, bound | key | digest) 32
 *	digest  HMAC(mac, 32 zeros | value): a bound is never zeros, as no version is 0
 *
 * Hostile memory. What lies in the pool is copied to private memory, once, and
 * judged there. Where the copy may be torn by a writer, a bad tag (-EBADMSG)
 * counts only if the caller finds the record unchanged afterwards.
 *
 * Threads. Any number may use one seal: each call takes one of SEALERS sets
 * of contexts and scratch memory, for as long as it computes. Nothing is
 * allocated by a call but a prefix' context (guard/xaes.h) at its first use.
 *
 * fork. Nonces begin with a prefix drawn for each attachment, which lies in a
 * page that the kernel wipes in a forked child. What the child inherited can
 * be freed and does not seal (-ENOTSUP); it joins by itself and draws its own.
 */
#ifndef LTZ_STORE_SEAL_H
#define LTZ_STORE_SEAL_H

#include "store/record.h"

#define SEAL_SMALL_MAX (16u * 1024)

struct ltz_seal;

/* pool_key is read only here, and nothing of it is kept but contexts. -ENOPKG, -ENOMEM. */
int ltz__seal_new(struct ltz_seal **out, const uint8_t pool_key[LTZ_MEM_KEY_BYTES], const uint8_t pool_id[16], bool encrypted);
void ltz__seal_free(struct ltz_seal *seal); /* NULL is allowed; also in a forked child */

/*
 * What the record's words must say of a content: type, size of the value area,
 * REC_LARGE or 0. -ENOSPC: no such size.
 */
int ltz__seal_layout(const struct ltz_seal *seal, const struct ltz_hkey *key, const struct ltz_content *content,
                     struct ltz_content *area, unsigned *flags);

/* Writes the value area of a record whose words are those of area and version; to: in a block not yet published. */
int ltz__seal_put(struct ltz_seal *seal, const struct ltz_hkey *key, const struct ltz_content *content,
                  const struct ltz_look *area, uint64_t version, uint8_t *to);

/*
 * Opens the key's record, whose version and look were read from the pool. The
 * value goes to buf if capacity suffices; look then says the value's own size
 * and type. LTZ_TRUNCATED: it did not suffice; size and type are genuine.
 * -EBADMSG (nothing of the value is in buf then), -ENOMEM, -EIO.
 */
int ltz__seal_read(struct ltz_seal *seal, const struct ltz_hkey *key, const struct shm_record *record, uint64_t version,
                   struct ltz_look *look, void *buf, size_t capacity);

/* The key of a genuine record: its bytes to name[LTZ_KEY_MAX], size and type. Results as above. */
int ltz__seal_name(struct ltz_seal *seal, const struct shm_record *record, uint64_t version, const struct ltz_look *look,
                   uint8_t *name, uint32_t *size, uint8_t *type);

/* Is all of the record genuine? 0 or -EBADMSG; -ENOMEM. */
int ltz__seal_check(struct ltz_seal *seal, const struct shm_record *record, uint64_t version, const struct ltz_look *look);

#endif
