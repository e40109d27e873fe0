/* SPDX-License-Identifier: MIT */
/*
 * spake2.c - SPAKE2 (RFC 9382) on OpenSSL's P-256. The letters are the RFC's.
 *
 *	pA = x*P + w*M        pB = y*P + w*N        K = x*(pB - w*N) = y*(pA - w*M)
 *	TT = A, B, pA, pB, K, w, each behind its length (8 bytes, little-endian)
 *	Ke || Ka = SHA256(TT), 16 bytes each
 *	KcA || KcB = HKDF(Ka, "ConfirmationKeys" || AAD), 16 bytes each
 *	confirmation of A = HMAC(KcA, TT), of B = HMAC(KcB, TT)
 *
 * P-256 has cofactor 1: a point that is on the curve and not the identity is
 * in the group, and there is nothing else to check.
 *
 * EC_POINT_mul takes two scalars at once, but then not in constant time where
 * OpenSSL has no assembly for P-256. So one at a time.
 */
#include "guard/spake2.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "guard/crypto.h"
#include "guard/hkdf.h"
#include "guard/hmac.h"
#include "guard/wipe.h"
#include "sys/fault.h"
#include "sys/sys.h"

#define SCALAR_BYTES LTZ_SPAKE2_W_BYTES
#define POINT_BYTES  LTZ_SPAKE2_MESSAGE_BYTES
#define LABEL        "ConfirmationKeys"
#define LABEL_BYTES  (sizeof(LABEL) - 1)
#define NAME_BYTES   LTZ_SPAKE2_NAME_BYTES_MAX
#define TT_MAX       (6 * sizeof(uint64_t) + 2 * NAME_BYTES + 3 * POINT_BYTES + SCALAR_BYTES)

enum state { STARTED, RECEIVED, CONFIRMED, FAILED };

struct name {
	size_t size;
	uint8_t bytes[NAME_BYTES];
};

struct ltz_spake2 {
	enum ltz_spake2_side side;
	enum state state;
	struct name names[2], context; /* names: by side */
	uint8_t message[POINT_BYTES];
	struct {
		uint8_t w[SCALAR_BYTES], scalar[SCALAR_BYTES]; /* until received */
		uint8_t confirmations[2][LTZ_SPAKE2_CONFIRMATION_BYTES], key[LTZ_SPAKE2_KEY_BYTES]; /* by side; then */
	} secrets;
};

/* ---- the group ------------------------------------------------------------------------ */

struct curve {
	EC_GROUP *group;
	EC_POINT *masks[2]; /* M, N: what hides the message of each side */
};

/* RFC 9382, section 6, P-256. */
static const uint8_t masks[2][1 + SCALAR_BYTES] = {
	{ 0x02, 0x88, 0x6e, 0x2f, 0x97, 0xac, 0xe4, 0x6e, 0x55, 0xba, 0x9d, 0xd7, 0x24, 0x25, 0x79, 0xf2, 0x99,
	  0x3b, 0x64, 0xe1, 0x6e, 0xf3, 0xdc, 0xab, 0x95, 0xaf, 0xd4, 0x97, 0x33, 0x3d, 0x8f, 0xa1, 0x2f },
	{ 0x03, 0xd8, 0xbb, 0xd6, 0xc6, 0x39, 0xc6, 0x29, 0x37, 0xb0, 0x4d, 0x99, 0x7f, 0x38, 0xc3, 0x77, 0x07,
	  0x19, 0xc6, 0x29, 0xd7, 0x01, 0x4d, 0x49, 0xa2, 0x4b, 0x4f, 0x98, 0xba, 0xa1, 0x29, 0x2b, 0x49 },
};

static uint64_t loaded_curve; /* address; the curve never changes and is never freed */

static void drop_curve(struct curve *curve)
{
	const struct ltz_crypto *c = ltz__crypto();

	for (int i = 0; i < 2; i++)
		c->EC_POINT_free(curve->masks[i]); /* NULL is allowed, here and below */
	c->EC_GROUP_free(curve->group);
	free(curve);
}

static bool make_curve(struct curve *curve)
{
	const struct ltz_crypto *c = ltz__crypto();

	curve->group = LTZ_PTR_CALL(NULL, c->EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1));
	if (curve->group == NULL)
		return false;
	for (int i = 0; i < 2; i++) {
		curve->masks[i] = LTZ_PTR_CALL(NULL, c->EC_POINT_new(curve->group));
		if (curve->masks[i] == NULL ||
		    c->EC_POINT_oct2point(curve->group, curve->masks[i], masks[i], sizeof(masks[i]), NULL) != 1)
			return false;
	}
	return true;
}

static int load_curve(const struct curve **out)
{
	struct curve *curve;
	int result = ltz__crypto_load();

	if (result < 0)
		return result;
	/* Sees the points; pairs with: guard/spake2.c:load_curve, its compare-and-swap */
	if (load_acquire(&loaded_curve) == 0) {
		curve = LTZ_PTR_CALL(NULL, calloc(1, sizeof(*curve)));
		if (curve == NULL)
			return -ENOMEM;
		if (!make_curve(curve)) {
			drop_curve(curve);
			return ltz__crypto_failed(-ENOMEM);
		}
		if (!cas_acq_rel(&loaded_curve, 0, (uintptr_t)curve))
			drop_curve(curve); /* another thread was first */
	}
	*out = (const struct curve *)(uintptr_t)load_acquire(&loaded_curve);
	return 0;
}

/* ---- scalars and points ----------------------------------------------------------------- */

static BIGNUM *number_of(struct ltz_bytes bytes)
{
	const struct ltz_crypto *c = ltz__crypto();
	BIGNUM *number = LTZ_PTR_CALL(NULL, c->BN_bin2bn(bytes.data, (int)bytes.size, NULL));

	if (number != NULL)
		c->BN_set_flags(number, BN_FLG_CONSTTIME);
	return number;
}

/* out = bytes modulo the order: -EINVAL if that is 0. */
static int reduce(const struct curve *curve, struct ltz_bytes bytes, uint8_t out[SCALAR_BYTES])
{
	const struct ltz_crypto *c = ltz__crypto();
	BN_CTX *context = LTZ_PTR_CALL(NULL, c->BN_CTX_new());
	BIGNUM *number = number_of(bytes);
	int result = -ENOMEM;

	if (context != NULL && number != NULL &&
	    c->BN_nnmod(number, number, c->EC_GROUP_get0_order(curve->group), context) == 1 &&
	    c->BN_bn2binpad(number, out, SCALAR_BYTES) == SCALAR_BYTES)
		result = c->BN_is_zero(number) ? -EINVAL : 0;
	c->BN_clear_free(number);
	c->BN_CTX_free(context);
	return result == -ENOMEM ? ltz__crypto_failed(result) : result;
}

/* 0 < scalar < order? */
static int check_scalar(const struct curve *curve, const uint8_t scalar[SCALAR_BYTES])
{
	uint8_t reduced[SCALAR_BYTES];
	int result = reduce(curve, (struct ltz_bytes){ scalar, SCALAR_BYTES }, reduced);

	if (result == 0 && !ltz__same(scalar, reduced, SCALAR_BYTES))
		result = -EINVAL;
	ltz__wipe(reduced, sizeof(reduced));
	return result;
}

/* A new point: scalar * base, or scalar * P if base is NULL. NULL: no memory. */
static EC_POINT *multiply(const struct curve *curve, const EC_POINT *base, const uint8_t scalar[SCALAR_BYTES])
{
	const struct ltz_crypto *c = ltz__crypto();
	BIGNUM *number = number_of((struct ltz_bytes){ scalar, SCALAR_BYTES });
	EC_POINT *point = LTZ_PTR_CALL(NULL, c->EC_POINT_new(curve->group));

	if (number == NULL || point == NULL ||
	    c->EC_POINT_mul(curve->group, point, base == NULL ? number : NULL, base, base == NULL ? NULL : number,
	                    NULL) != 1) {
		c->EC_POINT_clear_free(point);
		point = NULL;
	}
	c->BN_clear_free(number);
	return point;
}

/* False for the identity, which has no such encoding. */
static bool encode(const struct curve *curve, const EC_POINT *point, uint8_t out[POINT_BYTES])
{
	return ltz__crypto()->EC_POINT_point2oct(curve->group, point, POINT_CONVERSION_UNCOMPRESSED, out,
	                                         POINT_BYTES, NULL) == POINT_BYTES;
}

/* out = scalar * P + w * mask */
static int make_message(const struct curve *curve, const EC_POINT *mask, const uint8_t *w, const uint8_t *scalar,
                        uint8_t out[POINT_BYTES])
{
	const struct ltz_crypto *c = ltz__crypto();
	EC_POINT *share = multiply(curve, NULL, scalar), *hiding = multiply(curve, mask, w);
	int result = -ENOMEM;

	if (share != NULL && hiding != NULL &&
	    c->EC_POINT_add(curve->group, share, share, hiding, NULL) == 1 && encode(curve, share, out))
		result = 0;
	c->EC_POINT_clear_free(share);
	c->EC_POINT_clear_free(hiding);
	return result < 0 ? ltz__crypto_failed(result) : 0;
}

/* out = scalar * (message - w * mask) */
static int make_shared(const struct curve *curve, const EC_POINT *mask, const uint8_t *w, const uint8_t *scalar,
                       const uint8_t message[POINT_BYTES], uint8_t out[POINT_BYTES])
{
	const struct ltz_crypto *c = ltz__crypto();
	EC_POINT *peer = LTZ_PTR_CALL(NULL, c->EC_POINT_new(curve->group));
	EC_POINT *hiding = multiply(curve, mask, w), *shared = NULL;
	int result = -ENOMEM;

	if (peer == NULL || hiding == NULL)
		goto done;
	result = -EBADMSG; /* oct2point refuses coordinates out of range and points off the curve */
	if (message[0] != POINT_CONVERSION_UNCOMPRESSED ||
	    c->EC_POINT_oct2point(curve->group, peer, message, POINT_BYTES, NULL) != 1)
		goto done;
	result = -ENOMEM;
	if (c->EC_POINT_invert(curve->group, hiding, NULL) != 1 ||
	    c->EC_POINT_add(curve->group, peer, peer, hiding, NULL) != 1)
		goto done;
	shared = multiply(curve, peer, scalar);
	if (shared != NULL)
		result = encode(curve, shared, out) ? 0 : -EBADMSG;
done:
	c->EC_POINT_clear_free(peer);
	c->EC_POINT_clear_free(hiding);
	c->EC_POINT_clear_free(shared);
	return result < 0 ? ltz__crypto_failed(result) : 0;
}

int ltz__spake2_w(uint8_t w[LTZ_SPAKE2_W_BYTES], struct ltz_bytes secret)
{
	const struct curve *curve;
	int result;

	if (secret.size < LTZ_SPAKE2_SECRET_BYTES_MIN || secret.size > LTZ_SPAKE2_SECRET_BYTES_MAX)
		return -EINVAL;
	result = load_curve(&curve);
	return result < 0 ? result : reduce(curve, secret, w);
}

/* ---- transcript --------------------------------------------------------------------------- */

static uint8_t *append(uint8_t *at, const void *bytes, size_t size)
{
	uint64_t length = htole64(size);

	memcpy(at, &length, sizeof(length));
	memcpy(at + sizeof(length), bytes, size);
	return at + sizeof(length) + size;
}

static int derive_confirmations(struct ltz_spake2 *s, struct ltz_bytes tt, struct ltz_bytes ka)
{
	const size_t half = LTZ_SPAKE2_KEY_BYTES;
	uint8_t info[LABEL_BYTES + NAME_BYTES], keys[2 * LTZ_SPAKE2_KEY_BYTES];
	struct ltz_hmac hmac;
	int result;

	memcpy(info, LABEL, LABEL_BYTES);
	memcpy(info + LABEL_BYTES, s->context.bytes, s->context.size);
	result = ltz__hkdf((struct ltz_bytes){ NULL, 0 }, ka, (struct ltz_bytes){ info, LABEL_BYTES + s->context.size },
	                   (struct ltz_room){ keys, sizeof(keys) });
	for (size_t side = 0; side < 2 && result == 0; side++) {
		result = ltz__hmac_init(&hmac, (struct ltz_bytes){ keys + side * half, half });
		if (result == 0)
			ltz__hmac(&hmac, &tt, 1, s->secrets.confirmations[side]);
	}
	ltz__wipe(&hmac, sizeof(hmac));
	ltz__wipe(keys, sizeof(keys));
	return result;
}

/* What follows from the shared point: key and both confirmations. */
static int derive_keys(struct ltz_spake2 *s, const uint8_t peer[POINT_BYTES], const uint8_t shared[POINT_BYTES])
{
	const struct ltz_crypto *c = ltz__crypto();
	const bool joins = s->side == LTZ_SPAKE2_JOINER;
	uint8_t tt[TT_MAX], hash[2 * LTZ_SPAKE2_KEY_BYTES], *end = tt;
	SHA256_CTX sha;
	int result;

	for (int side = 0; side < 2; side++)
		end = append(end, s->names[side].bytes, s->names[side].size);
	end = append(end, joins ? s->message : peer, POINT_BYTES);
	end = append(end, joins ? peer : s->message, POINT_BYTES);
	end = append(end, shared, POINT_BYTES);
	end = append(end, s->secrets.w, SCALAR_BYTES);
	c->SHA256_Init(&sha);
	c->SHA256_Update(&sha, tt, (size_t)(end - tt));
	c->SHA256_Final(hash, &sha);
	memcpy(s->secrets.key, hash, LTZ_SPAKE2_KEY_BYTES);
	result = derive_confirmations(s, (struct ltz_bytes){ tt, (size_t)(end - tt) },
	                              (struct ltz_bytes){ hash + LTZ_SPAKE2_KEY_BYTES, LTZ_SPAKE2_KEY_BYTES });
	ltz__wipe(tt, sizeof(tt));
	ltz__wipe(hash, sizeof(hash));
	ltz__wipe(&sha, sizeof(sha));
	return result;
}

/* ---- the exchange ---------------------------------------------------------------------------- */

static int copy_name(struct name *to, struct ltz_bytes from)
{
	if (from.size > NAME_BYTES)
		return -EINVAL;
	to->size = from.size;
	if (from.size > 0)
		memcpy(to->bytes, from.data, from.size);
	return 0;
}

static int start(struct ltz_spake2 *s, const struct curve *curve, const uint8_t *w, const uint8_t *scalar,
                 const struct ltz_spake2_names *names)
{
	int result = check_scalar(curve, w);

	if (result == 0)
		result = check_scalar(curve, scalar);
	if (result == 0)
		result = copy_name(&s->names[LTZ_SPAKE2_JOINER], names->joiner);
	if (result == 0)
		result = copy_name(&s->names[LTZ_SPAKE2_LISTENER], names->listener);
	if (result == 0)
		result = copy_name(&s->context, names->context);
	if (result < 0)
		return result;
	memcpy(s->secrets.w, w, SCALAR_BYTES);
	memcpy(s->secrets.scalar, scalar, SCALAR_BYTES);
	return make_message(curve, curve->masks[s->side], w, scalar, s->message);
}

int ltz__spake2_new_with(struct ltz_spake2 **out, enum ltz_spake2_side side, const uint8_t w[LTZ_SPAKE2_W_BYTES],
                         const uint8_t scalar[LTZ_SPAKE2_W_BYTES], const struct ltz_spake2_names *names,
                         uint8_t message[LTZ_SPAKE2_MESSAGE_BYTES])
{
	const struct curve *curve;
	struct ltz_spake2 *s;
	int result = load_curve(&curve);

	if (result < 0)
		return result;
	s = LTZ_PTR_CALL(NULL, calloc(1, sizeof(*s)));
	if (s == NULL)
		return -ENOMEM;
	s->side = side;
	s->state = STARTED;
	result = start(s, curve, w, scalar, names);
	if (result < 0) {
		ltz__spake2_free(s);
		return result;
	}
	memcpy(message, s->message, POINT_BYTES);
	*out = s;
	return 0;
}

int ltz__spake2_new(struct ltz_spake2 **out, enum ltz_spake2_side side, const uint8_t w[LTZ_SPAKE2_W_BYTES],
                    const struct ltz_spake2_names *names, uint8_t message[LTZ_SPAKE2_MESSAGE_BYTES])
{
	uint8_t random[LTZ_SPAKE2_SECRET_BYTES_MIN], scalar[SCALAR_BYTES];
	const struct curve *curve;
	int result = load_curve(&curve);

	/* 64 bits more than needed: nearly uniform below the order. 0, which would show w, is refused. */
	if (result == 0)
		result = ltz__sys_random(random, sizeof(random));
	if (result == 0)
		result = reduce(curve, (struct ltz_bytes){ random, sizeof(random) }, scalar);
	if (result == 0)
		result = ltz__spake2_new_with(out, side, w, scalar, names, message);
	ltz__wipe(random, sizeof(random));
	ltz__wipe(scalar, sizeof(scalar));
	return result;
}

void ltz__spake2_free(struct ltz_spake2 *spake2)
{
	if (spake2 != NULL)
		ltz__wipe(spake2, sizeof(*spake2));
	free(spake2);
}

static enum ltz_spake2_side other_than(enum ltz_spake2_side side)
{
	return side == LTZ_SPAKE2_JOINER ? LTZ_SPAKE2_LISTENER : LTZ_SPAKE2_JOINER;
}

static int fail(struct ltz_spake2 *s, int result)
{
	s->state = FAILED;
	ltz__wipe(&s->secrets, sizeof(s->secrets));
	return result;
}

int ltz__spake2_receive(struct ltz_spake2 *spake2, struct ltz_bytes message)
{
	const enum ltz_spake2_side other = other_than(spake2->side);
	uint8_t shared[POINT_BYTES];
	const struct curve *curve;
	int result;

	if (spake2->state != STARTED)
		return -EINVAL;
	if (message.size != POINT_BYTES)
		return fail(spake2, -EBADMSG);
	result = load_curve(&curve); /* it is loaded */
	if (result == 0)
		result = make_shared(curve, curve->masks[other], spake2->secrets.w, spake2->secrets.scalar,
		                     message.data, shared);
	if (result == 0)
		result = derive_keys(spake2, message.data, shared);
	ltz__wipe(shared, sizeof(shared));
	if (result < 0)
		return fail(spake2, result);
	ltz__wipe(spake2->secrets.w, SCALAR_BYTES);
	ltz__wipe(spake2->secrets.scalar, SCALAR_BYTES);
	spake2->state = RECEIVED;
	return 0;
}

int ltz__spake2_confirmation(const struct ltz_spake2 *spake2, uint8_t confirmation[LTZ_SPAKE2_CONFIRMATION_BYTES])
{
	if (spake2->state != CONFIRMED && !(spake2->state == RECEIVED && spake2->side == LTZ_SPAKE2_JOINER))
		return -EINVAL;
	memcpy(confirmation, spake2->secrets.confirmations[spake2->side], LTZ_SPAKE2_CONFIRMATION_BYTES);
	return 0;
}

int ltz__spake2_confirm(struct ltz_spake2 *spake2, struct ltz_bytes confirmation)
{
	const enum ltz_spake2_side other = other_than(spake2->side);

	if (spake2->state != RECEIVED)
		return -EINVAL;
	if (confirmation.size != LTZ_SPAKE2_CONFIRMATION_BYTES ||
	    !ltz__same(confirmation.data, spake2->secrets.confirmations[other], LTZ_SPAKE2_CONFIRMATION_BYTES))
		return fail(spake2, -EKEYREJECTED);
	spake2->state = CONFIRMED;
	return 0;
}

int ltz__spake2_key(const struct ltz_spake2 *spake2, uint8_t key[LTZ_SPAKE2_KEY_BYTES])
{
	if (spake2->state != CONFIRMED)
		return -EINVAL;
	memcpy(key, spake2->secrets.key, LTZ_SPAKE2_KEY_BYTES);
	return 0;
}
