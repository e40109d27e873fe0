/* SPDX-License-Identifier: MIT */
/* test_spake2.c - SPAKE2: the published vectors, who learns what when, and messages that must not pass. */
#include "guard/spake2.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>

#include "harness.h"
#include "hex.h"
#include "sys/fault.h"

#define MESSAGE      LTZ_SPAKE2_MESSAGE_BYTES
#define CONFIRMATION LTZ_SPAKE2_CONFIRMATION_BYTES
#define KEY          LTZ_SPAKE2_KEY_BYTES

/* The order of P-256, and the prime of its field. */
#define ORDER "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
#define PRIME "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"

/* RFC 9382, appendix B: SPAKE2-P256-SHA256-HKDF-HMAC, all four, without AAD. Checked by a second implementation. */
static const struct vector {
	const char *a, *b, *w, *x, *pa, *y, *pb, *ke, *ca, *cb;
} vectors[] = {
	{ "server", "client",
	  "2ee57912099d31560b3a44b1184b9b4866e904c49d12ac5042c97dca461b1a5f",
	  "43dd0fd7215bdcb482879fca3220c6a968e66d70b1356cac18bb26c84a78d729",
	  "04a56fa807caaa53a4d28dbb9853b9815c61a411118a6fe516a8798434751470f9"
	  "010153ac33d0d5f2047ffdb1a3e42c9b4e6be662766e1eeb4116988ede5f912c",
	  "dcb60106f276b02606d8ef0a328c02e4b629f84f89786af5befb0bc75b6e66be",
	  "0406557e482bd03097ad0cbaa5df82115460d951e3451962f1eaf4367a420676d0"
	  "9857ccbc522686c83d1852abfa8ed6e4a1155cf8f1543ceca528afb591a1e0b7",
	  "0e0672dc86f8e45565d338b0540abe69",
	  "58ad4aa88e0b60d5061eb6b5dd93e80d9c4f00d127c65b3b35b1b5281fee38f0",
	  "d3e2e547f1ae04f2dbdbf0fc4b79f8ecff2dff314b5d32fe9fcef2fb26dc459b" },
	{ "", "client",
	  "0548d8729f730589e579b0475a582c1608138ddf7054b73b5381c7e883e2efae",
	  "403abbe3b1b4b9ba17e3032849759d723939a27a27b9d921c500edde18ed654b",
	  "04a897b769e681c62ac1c2357319a3d363f610839c4477720d24cbe32f5fd85f44"
	  "fb92ba966578c1b712be6962498834078262caa5b441ecfa9d4a9485720e918a",
	  "903023b6598908936ea7c929bd761af6039577a9c3f9581064187c3049d87065",
	  "04e0f816fd1c35e22065d5556215c097e799390d16661c386e0ecc84593974a61b"
	  "881a8c82327687d0501862970c64565560cb5671f696048050ca66ca5f8cc7fc",
	  "642f05c473c2cd79909f9a841e2f30a7",
	  "47d29e6666af1b7dd450d571233085d7a9866e4d49d2645e2df975489521232b",
	  "3313c5cefc361d27fb16847a91c2a73b766ffa90a4839122a9b70a2f6bd1d6df" },
	{ "server", "",
	  "626e0cdc7b14c9db3e52a0b1b3a768c98e37852d5db30febe0497b14eae8c254",
	  "07adb3db6bc623d3399726bfdbfd3d15a58ea776ab8a308b00392621291f9633",
	  "04f88fb71c99bfffaea370966b7eb99cd4be0ff1a7d335caac4211c4afd855e2e1"
	  "5a873b298503ad8ba1d9cbb9a392d2ba309b48bfd7879aefd0f2cea6009763b0",
	  "b6a4fc8dbb629d4ba51d6f91ed1532cf87adec98f25dd153a75accafafedec16",
	  "040c269d6be017dccb15182ac6bfcd9e2a14de019dd587eaf4bdfd353f031101e7"
	  "cca177f8eb362a6e83e7d5e729c0732e1b528879c086f39ba0f31a9661bd34db",
	  "005184ff460da2ce59062c87733c299c",
	  "bc9f9bbe99f26d0b2260e6456e05a86196a3307ec6663a18bf6ac825736533b2",
	  "c2370e1bf813b086dff0d834e74425a06e6390f48f5411900276dcccc5a297ec" },
	{ "", "",
	  "7bf46c454b4c1b25799527d896508afd5fc62ef4ec59db1efb49113063d70cca",
	  "8cef65df64bb2d0f83540c53632de911b5b24b3eab6cc74a97609fd659e95473",
	  "04a65b367a3f613cf9f0654b1b28a1e3a8a40387956c8ba6063e8658563890f46c"
	  "a1ef6a676598889fc28de2950ab8120b79a5ef1ea4c9f44bc98f585634b46d66",
	  "d7a66f64074a84652d8d623a92e20c9675c61cb5b4f6a0063e4648a2fdc02d53",
	  "04589f13218822710d98d8b2123a079041052d9941b9cf88c6617ddb2fcc049466"
	  "2eea8ba6b64692dc318250030c6af045cb738bc81ba35b043c3dcb46adf6f58d",
	  "fc6374762ba5cf11f4b2caa08b2cd1b9",
	  "dfb4db8d48ae5a675963ea5e6c19d98d4ea028d8e898dad96ea19a80ade95dca",
	  "d0f0609d1613138d354f7e95f19fb556bf52d751947241e8c7118df5ef0ae175" },
};
#define VECTORS (sizeof(vectors) / sizeof(vectors[0]))

/* Both sides of one exchange. */
struct pair {
	struct ltz_spake2 *sides[2];
	uint8_t messages[2][MESSAGE];
};

#define A LTZ_SPAKE2_JOINER
#define B LTZ_SPAKE2_LISTENER

static struct ltz_bytes message_of(const struct pair *pair, int side)
{
	return (struct ltz_bytes){ pair->messages[side], MESSAGE };
}

static const struct ltz_spake2_names some_names = {
	.joiner = { "joiner", 6 }, .listener = { "listener", 8 }, .context = { "pool 1", 6 },
};

static void password_w(uint8_t w[LTZ_SPAKE2_W_BYTES], uint8_t fill)
{
	uint8_t secret[40];

	memset(secret, fill, sizeof(secret));
	ASSERT_EQ_INT(ltz__spake2_w(w, (struct ltz_bytes){ secret, sizeof(secret) }), 0);
}

static struct pair started(uint8_t fill_a, uint8_t fill_b, const struct ltz_spake2_names *names_a,
                           const struct ltz_spake2_names *names_b)
{
	uint8_t w[LTZ_SPAKE2_W_BYTES];
	struct pair pair;

	password_w(w, fill_a);
	ASSERT_EQ_INT(ltz__spake2_new(&pair.sides[A], A, w, names_a, pair.messages[A]), 0);
	password_w(w, fill_b);
	ASSERT_EQ_INT(ltz__spake2_new(&pair.sides[B], B, w, names_b, pair.messages[B]), 0);
	return pair;
}

static struct pair received(uint8_t fill_a, uint8_t fill_b, const struct ltz_spake2_names *names_a,
                            const struct ltz_spake2_names *names_b)
{
	struct pair pair = started(fill_a, fill_b, names_a, names_b);

	ASSERT_EQ_INT(ltz__spake2_receive(pair.sides[A], message_of(&pair, B)), 0);
	ASSERT_EQ_INT(ltz__spake2_receive(pair.sides[B], message_of(&pair, A)), 0);
	return pair;
}

static void free_pair(struct pair *pair)
{
	ltz__spake2_free(pair->sides[A]);
	ltz__spake2_free(pair->sides[B]);
}

/* From both messages received to both keys; false: a confirmation was rejected. */
static bool confirmed(struct pair *pair, uint8_t keys[2][KEY])
{
	uint8_t confirmation[CONFIRMATION];
	struct ltz_bytes bytes = { confirmation, sizeof(confirmation) };
	int result;

	ASSERT_EQ_INT(ltz__spake2_confirmation(pair->sides[A], confirmation), 0);
	result = ltz__spake2_confirm(pair->sides[B], bytes);
	if (result < 0) {
		EXPECT_EQ_INT(result, -EKEYREJECTED);
		return false;
	}
	ASSERT_EQ_INT(ltz__spake2_confirmation(pair->sides[B], confirmation), 0);
	ASSERT_EQ_INT(ltz__spake2_confirm(pair->sides[A], bytes), 0);
	ASSERT_EQ_INT(ltz__spake2_key(pair->sides[A], keys[A]), 0);
	ASSERT_EQ_INT(ltz__spake2_key(pair->sides[B], keys[B]), 0);
	return true;
}

TEST(rfc_9382_vectors)
{
	for (size_t i = 0; i < VECTORS; i++) {
		const struct vector *v = &vectors[i];
		struct hex w = unhex(v->w), scalars[2] = { unhex(v->x), unhex(v->y) }, ca = unhex(v->ca);
		struct ltz_spake2_names names = { text_bytes(v->a), text_bytes(v->b), { NULL, 0 } };
		uint8_t confirmation[CONFIRMATION], key[KEY];
		struct pair pair;

		for (int side = A; side <= B; side++)
			ASSERT_EQ_INT(ltz__spake2_new_with(&pair.sides[side], side, w.bytes, scalars[side].bytes, &names,
			                                   pair.messages[side]), 0);
		EXPECT_HEX(pair.messages[A], MESSAGE, v->pa);
		EXPECT_HEX(pair.messages[B], MESSAGE, v->pb);
		ASSERT_EQ_INT(ltz__spake2_receive(pair.sides[A], message_of(&pair, B)), 0);
		ASSERT_EQ_INT(ltz__spake2_receive(pair.sides[B], message_of(&pair, A)), 0);
		ASSERT_EQ_INT(ltz__spake2_confirmation(pair.sides[A], confirmation), 0);
		EXPECT_HEX(confirmation, CONFIRMATION, v->ca);
		ASSERT_EQ_INT(ltz__spake2_confirm(pair.sides[B], bytes_of(&ca)), 0);
		ASSERT_EQ_INT(ltz__spake2_confirmation(pair.sides[B], confirmation), 0);
		EXPECT_HEX(confirmation, CONFIRMATION, v->cb);
		ASSERT_EQ_INT(ltz__spake2_confirm(pair.sides[A], (struct ltz_bytes){ confirmation, CONFIRMATION }), 0);
		for (int side = A; side <= B; side++) {
			ASSERT_EQ_INT(ltz__spake2_key(pair.sides[side], key), 0);
			EXPECT_HEX(key, KEY, v->ke);
		}
		free_pair(&pair);
	}
}

/* Not published: vector 1 with AAD "context", by a second implementation. */
TEST(the_context_enters_the_confirmations)
{
	const struct vector *v = &vectors[0];
	struct hex w = unhex(v->w), x = unhex(v->x), pb = unhex(v->pb);
	struct ltz_spake2_names names = { text_bytes(v->a), text_bytes(v->b), text_bytes("context") };
	uint8_t message[MESSAGE], confirmation[CONFIRMATION];
	struct ltz_spake2 *a;

	ASSERT_EQ_INT(ltz__spake2_new_with(&a, A, w.bytes, x.bytes, &names, message), 0);
	ASSERT_EQ_INT(ltz__spake2_receive(a, bytes_of(&pb)), 0);
	ASSERT_EQ_INT(ltz__spake2_confirmation(a, confirmation), 0);
	EXPECT_HEX(confirmation, CONFIRMATION, "f48768385fd8a027444aa268e14e79f88b27f32c4e344b83018b1d07902b3aa7");
	ltz__spake2_free(a);
}

TEST(the_same_password_gives_one_key_and_every_exchange_another)
{
	uint8_t keys[3][2][KEY];
	uint8_t messages[3][MESSAGE];

	for (int i = 0; i < 3; i++) {
		struct pair pair = received(1, 1, &some_names, &some_names);

		memcpy(messages[i], pair.messages[A], MESSAGE);
		ASSERT_TRUE(confirmed(&pair, keys[i]));
		EXPECT_EQ_MEM(keys[i][A], keys[i][B], KEY);
		for (int j = 0; j < i; j++) {
			EXPECT_TRUE(memcmp(keys[i][A], keys[j][A], KEY) != 0);
			EXPECT_TRUE(memcmp(messages[i], messages[j], MESSAGE) != 0);
		}
		free_pair(&pair);
	}
	ltz__spake2_free(NULL);
}

TEST(another_password_name_or_context_is_rejected)
{
	struct ltz_spake2_names other[3] = { some_names, some_names, some_names };
	uint8_t keys[2][KEY];

	other[0].joiner = text_bytes("jointer");
	other[1].listener.size = 7;
	other[2].context = text_bytes("pool 2");
	for (int i = 0; i < 4; i++) {
		struct pair pair = received(1, i == 3 ? 2 : 1, &some_names, i < 3 ? &other[i] : &some_names);

		EXPECT_TRUE(!confirmed(&pair, keys));
		free_pair(&pair);
	}
}

TEST(names_do_not_run_into_each_other)
{
	struct ltz_spake2_names one = { text_bytes("ab"), text_bytes("c"), { NULL, 0 } };
	struct ltz_spake2_names two = { text_bytes("a"), text_bytes("bc"), { NULL, 0 } };
	struct pair pair = received(1, 1, &one, &two);
	uint8_t keys[2][KEY];

	EXPECT_TRUE(!confirmed(&pair, keys));
	free_pair(&pair);
}

TEST(a_listener_shows_nothing_before_it_was_shown_a_right_confirmation)
{
	struct pair pair = started(1, 1, &some_names, &some_names);
	uint8_t confirmation[CONFIRMATION], key[KEY];
	struct ltz_bytes bytes = { confirmation, sizeof(confirmation) };

	for (int side = A; side <= B; side++) { /* nothing received */
		EXPECT_EQ_INT(ltz__spake2_confirmation(pair.sides[side], confirmation), -EINVAL);
		EXPECT_EQ_INT(ltz__spake2_confirm(pair.sides[side], bytes), -EINVAL);
		EXPECT_EQ_INT(ltz__spake2_key(pair.sides[side], key), -EINVAL);
	}
	ASSERT_EQ_INT(ltz__spake2_receive(pair.sides[A], message_of(&pair, B)), 0);
	ASSERT_EQ_INT(ltz__spake2_receive(pair.sides[B], message_of(&pair, A)), 0);
	EXPECT_EQ_INT(ltz__spake2_receive(pair.sides[A], message_of(&pair, B)), -EINVAL); /* once is enough */
	EXPECT_EQ_INT(ltz__spake2_confirmation(pair.sides[B], confirmation), -EINVAL);
	EXPECT_EQ_INT(ltz__spake2_key(pair.sides[A], key), -EINVAL);
	EXPECT_EQ_INT(ltz__spake2_key(pair.sides[B], key), -EINVAL);
	ASSERT_EQ_INT(ltz__spake2_confirmation(pair.sides[A], confirmation), 0);
	ASSERT_EQ_INT(ltz__spake2_confirm(pair.sides[B], bytes), 0);
	EXPECT_EQ_INT(ltz__spake2_confirm(pair.sides[B], bytes), -EINVAL);
	EXPECT_EQ_INT(ltz__spake2_confirmation(pair.sides[B], confirmation), 0);
	EXPECT_EQ_INT(ltz__spake2_key(pair.sides[B], key), 0);
	EXPECT_EQ_INT(ltz__spake2_key(pair.sides[A], key), -EINVAL); /* not before it has confirmed */
	free_pair(&pair);
}

TEST(a_side_s_own_confirmation_sent_back_is_rejected)
{
	struct pair pair = received(1, 1, &some_names, &some_names);
	uint8_t confirmation[CONFIRMATION];

	ASSERT_EQ_INT(ltz__spake2_confirmation(pair.sides[A], confirmation), 0);
	EXPECT_EQ_INT(ltz__spake2_confirm(pair.sides[A], (struct ltz_bytes){ confirmation, CONFIRMATION }), -EKEYREJECTED);
	free_pair(&pair);
}

TEST(every_wrong_bit_of_a_confirmation_ends_the_exchange)
{
	for (size_t bit = 0; bit < 8 * CONFIRMATION; bit += 5) {
		struct pair pair = received(1, 1, &some_names, &some_names);
		uint8_t confirmation[CONFIRMATION], key[KEY];
		struct ltz_bytes bytes = { confirmation, sizeof(confirmation) };

		ASSERT_EQ_INT(ltz__spake2_confirmation(pair.sides[A], confirmation), 0);
		confirmation[bit / 8] ^= (uint8_t)(1u << bit % 8);
		EXPECT_EQ_INT(ltz__spake2_confirm(pair.sides[B], bytes), -EKEYREJECTED);
		confirmation[bit / 8] ^= (uint8_t)(1u << bit % 8);
		EXPECT_EQ_INT(ltz__spake2_confirm(pair.sides[B], bytes), -EINVAL); /* no second guess */
		EXPECT_EQ_INT(ltz__spake2_confirmation(pair.sides[B], confirmation), -EINVAL);
		EXPECT_EQ_INT(ltz__spake2_key(pair.sides[B], key), -EINVAL);
		free_pair(&pair);
	}
}

TEST(a_confirmation_of_another_length_is_rejected)
{
	for (size_t size = 0; size <= 64; size++) {
		struct pair pair = received(1, 1, &some_names, &some_names);
		uint8_t confirmation[64] = { 0 };

		ASSERT_EQ_INT(ltz__spake2_confirmation(pair.sides[A], confirmation), 0);
		EXPECT_EQ_INT(ltz__spake2_confirm(pair.sides[B], (struct ltz_bytes){ confirmation, size }),
		              size == CONFIRMATION ? 0 : -EKEYREJECTED);
		free_pair(&pair);
	}
}

/* ---- messages ------------------------------------------------------------------------------ */

static void expect_refused(const uint8_t *message, size_t size)
{
	struct pair pair = started(1, 1, &some_names, &some_names);

	for (int side = A; side <= B; side++) {
		EXPECT_EQ_INT(ltz__spake2_receive(pair.sides[side], (struct ltz_bytes){ message, size }), -EBADMSG);
		/* the exchange has failed: a right message comes too late */
		EXPECT_EQ_INT(ltz__spake2_receive(pair.sides[side], message_of(&pair, 1 - side)), -EINVAL);
	}
	free_pair(&pair);
}

static struct hex good_message(void)
{
	return unhex(vectors[0].pb);
}

TEST(points_off_the_curve_are_refused)
{
	struct hex message = good_message();

	for (size_t bit = 8; bit < 8 * MESSAGE; bit += 37) {
		message.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		expect_refused(message.bytes, MESSAGE);
		message.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	memset(message.bytes + 1, 0, MESSAGE - 1); /* (0, 0) */
	expect_refused(message.bytes, MESSAGE);
	memset(message.bytes + 1, 0xff, MESSAGE - 1);
	expect_refused(message.bytes, MESSAGE);
}

/* The point with x = 0 and y*y = b, once as it should be and once with x = p, which is the same modulo p. */
TEST(coordinates_not_below_the_prime_are_refused)
{
	struct hex y = unhex("66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4"), p = unhex(PRIME);
	uint8_t message[MESSAGE] = { 4 };
	struct pair pair = started(1, 1, &some_names, &some_names);

	memcpy(message + 33, y.bytes, 32);
	EXPECT_EQ_INT(ltz__spake2_receive(pair.sides[A], (struct ltz_bytes){ message, MESSAGE }), 0);
	free_pair(&pair);
	memcpy(message + 1, p.bytes, 32);
	expect_refused(message, MESSAGE);
}

TEST(the_identity_is_refused)
{
	uint8_t message[MESSAGE] = { 0 };

	expect_refused(message, 1); /* its encoding */
	expect_refused(message, MESSAGE);
}

TEST(other_encodings_and_lengths_are_refused)
{
	struct hex message = good_message();
	uint8_t y_is_odd = message.bytes[64] & 1;

	for (size_t size = 0; size <= MESSAGE + 10; size++)
		if (size != MESSAGE)
			expect_refused(message.bytes, size);
	for (unsigned form = 0; form < 256; form++) {
		if (form == 4)
			continue;
		message.bytes[0] = (uint8_t)form; /* 6 and 7: hybrid, which OpenSSL knows */
		expect_refused(message.bytes, MESSAGE);
	}
	message.bytes[0] = 2 + y_is_odd; /* compressed */
	expect_refused(message.bytes, 33);
}

/* A message that is only the mask, w*N, would make the shared point the identity. Here w = 1. */
TEST(a_message_that_cancels_out_is_refused)
{
	uint8_t w[LTZ_SPAKE2_W_BYTES] = { [31] = 1 }, message[MESSAGE];
	struct hex n = unhex("04d8bbd6c639c62937b04d997f38c3770719c629d7014d49a24b4f98baa1292b49"
	                     "07d60aa6bfade45008a636337f5168c64d9bd36034808cd564490b1e656edbe7");
	struct ltz_spake2 *a;

	ASSERT_EQ_INT(ltz__spake2_new(&a, A, w, &some_names, message), 0);
	EXPECT_EQ_INT(ltz__spake2_receive(a, bytes_of(&n)), -EBADMSG);
	ltz__spake2_free(a);
}

TEST(a_message_sent_back_gives_no_key)
{
	struct pair pair = started(1, 1, &some_names, &some_names);
	uint8_t confirmation[CONFIRMATION];

	ASSERT_EQ_INT(ltz__spake2_receive(pair.sides[A], message_of(&pair, A)), 0);
	ASSERT_EQ_INT(ltz__spake2_confirmation(pair.sides[A], confirmation), 0);
	EXPECT_EQ_INT(ltz__spake2_confirm(pair.sides[A], (struct ltz_bytes){ confirmation, CONFIRMATION }), -EKEYREJECTED);
	free_pair(&pair);
}

/* ---- w ----------------------------------------------------------------------------------------- */

static struct ltz_bytes last_40(const struct hex *hex)
{
	return (struct ltz_bytes){ hex->bytes + hex->size - 40, 40 };
}

TEST(w_is_the_secret_modulo_the_order)
{
	/* order + 5, and 2^320 - 1, whose remainder was worked out in Python */
	struct hex above = unhex("0000000000000000" "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632556");
	struct hex small = unhex("0000000000000000" "000000000000000000000000000000000000000000000000000000000000002a");
	struct hex most = unhex("ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff");
	uint8_t w[LTZ_SPAKE2_W_BYTES];

	ASSERT_EQ_INT(ltz__spake2_w(w, last_40(&above)), 0);
	EXPECT_HEX(w, sizeof(w), "0000000000000000000000000000000000000000000000000000000000000005");
	ASSERT_EQ_INT(ltz__spake2_w(w, last_40(&small)), 0);
	EXPECT_HEX(w, sizeof(w), "000000000000000000000000000000000000000000000000000000000000002a");
	ASSERT_EQ_INT(ltz__spake2_w(w, last_40(&most)), 0);
	EXPECT_HEX(w, sizeof(w), "fffffffe00000001431905529c0166cd22159165b6faae70f756a571fc632550");
}

TEST(secrets_of_a_wrong_size_or_worth_nothing_are_refused)
{
	struct hex order = unhex("0000000000000000" ORDER);
	uint8_t secret[LTZ_SPAKE2_SECRET_BYTES_MAX + 1], w[LTZ_SPAKE2_W_BYTES];

	memset(secret, 7, sizeof(secret));
	for (size_t size = 0; size <= sizeof(secret); size++)
		EXPECT_EQ_INT(ltz__spake2_w(w, (struct ltz_bytes){ secret, size }), size < 40 || size > 64 ? -EINVAL : 0);
	memset(secret, 0, sizeof(secret));
	EXPECT_EQ_INT(ltz__spake2_w(w, (struct ltz_bytes){ secret, 40 }), -EINVAL);
	EXPECT_EQ_INT(ltz__spake2_w(w, last_40(&order)), -EINVAL);
}

TEST(scalars_out_of_range_and_long_names_are_refused)
{
	struct hex order = unhex(ORDER), one = unhex("0000000000000000000000000000000000000000000000000000000000000001");
	uint8_t zero[LTZ_SPAKE2_W_BYTES] = { 0 }, message[MESSAGE], name[LTZ_SPAKE2_NAME_BYTES_MAX + 1] = { 0 };
	struct ltz_bytes longest = { name, LTZ_SPAKE2_NAME_BYTES_MAX }, too_long = { name, LTZ_SPAKE2_NAME_BYTES_MAX + 1 };
	struct ltz_spake2_names good = { longest, longest, longest };
	struct ltz_spake2_names bad[] = { { too_long, longest, longest }, { longest, too_long, longest },
		                          { longest, longest, too_long } };
	struct ltz_spake2 *a;

	EXPECT_EQ_INT(ltz__spake2_new(&a, A, zero, &good, message), -EINVAL);
	EXPECT_EQ_INT(ltz__spake2_new(&a, A, order.bytes, &good, message), -EINVAL);
	EXPECT_EQ_INT(ltz__spake2_new_with(&a, A, one.bytes, zero, &good, message), -EINVAL);
	EXPECT_EQ_INT(ltz__spake2_new_with(&a, A, one.bytes, order.bytes, &good, message), -EINVAL);
	order.bytes[31]++;
	EXPECT_EQ_INT(ltz__spake2_new(&a, A, order.bytes, &good, message), -EINVAL);
	for (int i = 0; i < 3; i++)
		EXPECT_EQ_INT(ltz__spake2_new(&a, A, one.bytes, &bad[i], message), -EINVAL);

	struct pair pair = received(1, 1, &good, &good);
	uint8_t keys[2][KEY];
	EXPECT_TRUE(confirmed(&pair, keys));
	free_pair(&pair);
}

static bool holds(const struct ltz_spake2 *spake2, const void *bytes, size_t size)
{
	return memmem(spake2, malloc_usable_size((void *)(uintptr_t)spake2), bytes, size) != NULL;
}

TEST(secrets_are_gone_when_they_are_not_needed)
{
	struct pair pair = started(1, 1, &some_names, &some_names);
	uint8_t w[LTZ_SPAKE2_W_BYTES], key[KEY], confirmation[CONFIRMATION], wrong[CONFIRMATION] = { 0 };

	password_w(w, 1);
	EXPECT_TRUE(holds(pair.sides[A], w, sizeof(w))); /* else nothing would be seen */
	ASSERT_EQ_INT(ltz__spake2_receive(pair.sides[A], message_of(&pair, B)), 0);
	ASSERT_EQ_INT(ltz__spake2_receive(pair.sides[B], message_of(&pair, A)), 0);
	EXPECT_TRUE(!holds(pair.sides[A], w, sizeof(w)));
	ASSERT_EQ_INT(ltz__spake2_confirmation(pair.sides[A], confirmation), 0);
	ASSERT_EQ_INT(ltz__spake2_confirm(pair.sides[B], (struct ltz_bytes){ confirmation, CONFIRMATION }), 0);
	ASSERT_EQ_INT(ltz__spake2_key(pair.sides[B], key), 0);
	EXPECT_TRUE(holds(pair.sides[A], key, sizeof(key)));
	EXPECT_EQ_INT(ltz__spake2_confirm(pair.sides[A], (struct ltz_bytes){ wrong, CONFIRMATION }), -EKEYREJECTED);
	EXPECT_TRUE(!holds(pair.sides[A], key, sizeof(key)));
	EXPECT_TRUE(!holds(pair.sides[A], confirmation, sizeof(confirmation)));
	free_pair(&pair);
}

/* ---- threads and failures ------------------------------------------------------------------------ */

static pthread_barrier_t start_line;

static void *exchange(void *context)
{
	uint8_t keys[2][KEY];

	(void)context;
	pthread_barrier_wait(&start_line); /* so that all make the curve */
	for (int i = 0; i < 20; i++) {
		struct pair pair = received(3, 3, &some_names, &some_names);

		EXPECT_TRUE(confirmed(&pair, keys));
		EXPECT_EQ_MEM(keys[A], keys[B], KEY);
		free_pair(&pair);
	}
	return NULL;
}

TEST(threads_do_not_disturb_each_other)
{
	pthread_t threads[4];

	pthread_barrier_init(&start_line, NULL, 4);
	for (int i = 0; i < 4; i++)
		ASSERT_EQ_INT(pthread_create(&threads[i], NULL, exchange, NULL), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

#ifdef LTZ_FAULTS
TEST(whatever_fails_is_an_error_and_the_next_exchange_works)
{
	struct hex pb = good_message();
	uint8_t w[LTZ_SPAKE2_W_BYTES] = { [31] = 9 }, message[MESSAGE];

	for (uint64_t n = 1; n < 60; n++) {
		struct ltz_spake2 *a = NULL;
		int made, result = -1;
		uint64_t calls;

		ltz__fault_set_call(LTZ_FAULT_THREAD, n, ENOMEM);
		made = ltz__spake2_new(&a, A, w, &some_names, message);
		if (made == 0)
			result = ltz__spake2_receive(a, bytes_of(&pb));
		calls = ltz__fault_calls(LTZ_FAULT_THREAD);
		ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
		EXPECT_TRUE(made == 0 || made == -ENOMEM || made == -ENOPKG);
		EXPECT_TRUE((made == 0) == (a != NULL));
		if (made == 0 && calls >= n) {
			EXPECT_EQ_INT(result, -ENOMEM);
			EXPECT_EQ_INT(ltz__spake2_receive(a, bytes_of(&pb)), -EINVAL);
		}
		ltz__spake2_free(a);
		if (calls < n) {
			EXPECT_EQ_INT(result, 0);
			return;
		}
	}
	EXPECT_TRUE(!"more calls than thought");
}
#endif
