/* SPDX-License-Identifier: MIT */
/*
 * test_seal.c - sealed pools: what lies in the memory, what happens when
 * somebody without the key changes it, and that nonces never meet. That all
 * operations do what they do elsewhere is for tests/model, and for the map's
 * own tests run once more (tests/proc/test_sealed.c).
 *
 * On a core with LTZ_CANARY, tests/proc/test_sealed.c wants each broken
 * rule to be noticed here.
 */
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "../stress/pools.h"
#include "base/canary.h"
#include "guard/xaes.h"
#include "shm/member.h"
#include "store/edit.h"
#include "store/expiry.h"
#include "store/seal.h"
#include "sys/fault.h"

#define LOCKED    ((uint32_t)LTZ_AUTH)
#define ENCRYPTED ((uint32_t)LTZ_ENCRYPTION)
#define NONCE     LTZ_XAES_NONCE_BYTES

static const uint32_t sealed_kinds[] = { LOCKED, ENCRYPTED };

#ifdef LTZ_CANARY
unsigned ltz__canary;
__attribute__((constructor)) static void choose_canary(void)
{
	const char *number = getenv("LTZ_CANARY");

	ltz__canary = number ? (unsigned)atoi(number) : CANARY_NONE;
}
#endif

static struct ltz_mem *new_pool(uint32_t kind, uint64_t size)
{
	pool_kind = kind;
	return pool_new(size, 3);
}

static void fill(uint8_t *bytes, size_t size, uint8_t with)
{
	for (size_t i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i * 31 + i / 251 + with);
}

static struct shm_record *record_of(struct ltz_mem *mem, const struct ltz_hkey *key)
{
	return at_ref(mem, *pool_slot(mem, key) & mem->ref_mask);
}

static struct ltz_look look_at(const struct shm_record *rec)
{
	struct ltz_look look;

	ASSERT_TRUE(record_look(rec, UINT64_MAX / 2, rec->meta, &look));
	return look;
}

static uint8_t *area_of(struct shm_record *rec) { return (uint8_t *)rec + look_at(rec).value_offset; }

static int get(struct ltz_mem *mem, const char *name, void *buf, size_t capacity, ltz_item *item)
{
	struct ltz_hkey key = key_of(mem, name);

	return ltz__map_get(mem, &key, buf, capacity, item);
}

/* ---- sizes ---------------------------------------------------------------------------------- */

/* All that reads or carries on a value of that size. */
static void use_size(struct ltz_mem *mem, const struct ltz_hkey *key, uint8_t *in, uint8_t *out, size_t size)
{
	ltz_item item = { 0 };

	fill(in, size, (uint8_t)size);
	ASSERT_EQ_INT(put(mem, key, in, size), 0);
	memset(out, 0, size);
	ASSERT_EQ_INT(ltz__map_get(mem, key, out, size, &item), 0);
	EXPECT_EQ_U64(item.size, size);
	EXPECT_EQ_INT(item.type, LTZ_BYTES);
	EXPECT_TRUE(memcmp(in, out, size) == 0);
	if (size) {
		EXPECT_EQ_INT(ltz__map_get(mem, key, out, size - 1, &item), LTZ_TRUNCATED);
		EXPECT_EQ_U64(item.size, size);
		item = (ltz_item){ 0 };
		EXPECT_EQ_INT(ltz__map_get(mem, key, NULL, 0, &item), LTZ_TRUNCATED);
		EXPECT_EQ_U64(item.size, size);
		EXPECT_EQ_INT(item.type, LTZ_BYTES);
	}
	EXPECT_EQ_INT(ltz__map_expire(mem, key, 100000), 0); /* carried on into another block */
	EXPECT_EQ_INT(ltz__map_expire(mem, key, 200000), 0);
	memset(out, 0, size);
	ASSERT_EQ_INT(ltz__map_pop(mem, key, out, size, &item), 0);
	EXPECT_EQ_U64(item.size, size);
	EXPECT_TRUE(item.ttl_ms > 100000);
	EXPECT_TRUE(memcmp(in, out, size) == 0);
	EXPECT_EQ_INT(ltz__map_get(mem, key, out, size, NULL), LTZ_NOT_FOUND);
}

TEST_WITH_LIMIT(values_and_keys_of_all_sizes_come_back, 120)
{
	static const size_t sizes[] = { 0, 1, 15, 16, 17, 63, 64, 4095, 4096, SEAL_SMALL_MAX - 1, SEAL_SMALL_MAX, SEAL_SMALL_MAX + 1,
		                        65535, 65536, 65537, 131071, 131072, 131073, MIB - 1, MIB, MIB + 1, 70 * MIB };
	static const uint32_t key_sizes[] = { 0, 1, 16, 300, LTZ_KEY_MAX };
	uint8_t *in = malloc(70 * MIB), *out = malloc(70 * MIB), *name = malloc(LTZ_KEY_MAX);

	fill(name, LTZ_KEY_MAX, 9);
	for (unsigned k = 0; k < 2; k++) {
		struct ltz_mem *mem = new_pool(sealed_kinds[k], 256 * MIB);

		for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			for (unsigned n = 0; n < 5; n++) {
				struct ltz_hkey key;

				hkey_init(mem, &key, LTZ_KEY_BYTES, name, key_sizes[n]);
				if (sizes[i] <= 2 * MIB || n == 2)
					use_size(mem, &key, in, out, sizes[i]);
			}
		}
		EXPECT_CLEAN(mem);
		pool_leave(mem);
	}
	free(in), free(out), free(name);
}

/* ---- what can be seen ----------------------------------------------------------------------------- */

/* Does the pool's memory, all of it, hold the bytes? */
static bool memory_holds(struct ltz_mem *mem, const void *bytes, size_t size)
{
	return memmem(mem->base, mem->map_bytes, bytes, size) != NULL;
}

static const char sentinel_value[] = "SENTINEL of a value, long enough to be found";
static const char sentinel_name[] = "SENTINEL of a name, long enough to be found";

/* Every way in which a value or a name gets into the memory. */
static void leave_traces(struct ltz_mem *mem, uint8_t *large, size_t size)
{
	struct ltz_hkey key = key_of(mem, sentinel_name), other = key_of(mem, "SENTINEL of a name of a large value");

	for (size_t at = 0; at + sizeof(sentinel_value) <= size; at += sizeof(sentinel_value))
		memcpy(large + at, sentinel_value, sizeof(sentinel_value));
	for (unsigned i = 0; i < 3; i++) {
		ASSERT_EQ_INT(put(mem, &key, sentinel_value, sizeof(sentinel_value)), 0);
		ASSERT_EQ_INT(ltz__map_expire(mem, &key, 1000000), 0);
		ASSERT_EQ_INT(put(mem, &other, large, size), 0);
		ASSERT_EQ_INT(ltz__map_expire(mem, &other, 1000000), 0);
	}
	ASSERT_EQ_INT(get(mem, sentinel_name, large, size, NULL), 0);
	ASSERT_EQ_INT(ltz__map_delete(mem, &key, 0), 0); /* what was freed is searched too */
}

TEST_WITH_LIMIT(the_memory_of_an_encrypted_pool_shows_neither_values_nor_names, 120)
{
	static const uint32_t kinds[] = { 0, LOCKED, ENCRYPTED };
	static uint8_t large[300000];

	for (unsigned k = 0; k < 3; k++) {
		struct ltz_mem *mem = new_pool(kinds[k], 8 * MIB);

		leave_traces(mem, large, sizeof(large));
		/* in the open ones the search must find what it looks for, or it proves nothing */
		EXPECT_EQ_INT(memory_holds(mem, sentinel_value, 16), kinds[k] != ENCRYPTED);
		EXPECT_EQ_INT(memory_holds(mem, sentinel_name, 16), kinds[k] != ENCRYPTED);
		EXPECT_TRUE(!memory_holds(mem, pool_key, 16));
		pool_leave(mem);
	}
}

/* None, False and True have no bytes but their type. */
TEST(the_type_of_an_encrypted_value_is_not_to_be_seen)
{
	struct ltz_mem *mem = new_pool(ENCRYPTED, 4 * MIB);
	struct ltz_hkey key = key_of(mem, "key");

	for (unsigned type = LTZ_NONE; type <= LTZ_TRUE; type++) {
		ltz_item item;

		ASSERT_EQ_INT(ltz__map_set(mem, &key, &(ltz_value){ .type = (uint8_t)type }, NULL, NULL), 0);
		EXPECT_EQ_U64(meta_type(record_of(mem, &key)->meta), 9); /* the pad of 3 + 4 bytes */
		ASSERT_EQ_INT(ltz__map_get(mem, &key, NULL, 0, &item), 0);
		EXPECT_EQ_U64(item.type, type);
	}
	pool_leave(mem);
}

/* ---- tampering ------------------------------------------------------------------------------------- */

struct truth {
	const char *name;
	uint8_t *value, *out;
	size_t size;
	ltz_item item;
};

/* Reads the tampered record: it is refused, missing, or as it was. Returns if it was refused. */
static bool read_tampered(struct ltz_mem *mem, const struct truth *t, const char *what, uint64_t at)
{
	ltz_item item = { 0 };
	int result = get(mem, t->name, t->out, t->size, &item);

	if (result == 0 && (item.size != t->item.size || item.type != t->item.type || item.version != t->item.version ||
	                    (item.ttl_ms < 0) != (t->item.ttl_ms < 0) || item.ttl_ms > t->item.ttl_ms + 60000 ||
	                    item.ttl_ms < t->item.ttl_ms - 60000 || memcmp(t->out, t->value, t->size) != 0))
		test_fail(TEST_AT(TEST_EXPECT), "%s %llu changed, and the wrong thing was read", what, (unsigned long long)at);
	if (result != 0 && result != -EBADMSG && result != LTZ_NOT_FOUND && result != LTZ_TRUNCATED && result != -EUCLEAN)
		test_fail(TEST_AT(TEST_EXPECT), "%s %llu changed: %d", what, (unsigned long long)at, result);
	return result == -EBADMSG;
}

static struct truth make_truth(struct ltz_mem *mem, const char *name, size_t size)
{
	struct truth t = { .name = name, .value = malloc(size), .out = malloc(size), .size = size };
	struct ltz_hkey key = key_of(mem, name);

	fill(t.value, size, 77);
	for (unsigned i = 0; i < 10; i++) /* no version from which one bit makes 0: that means no record */
		ASSERT_EQ_INT(put_text(mem, "before", ""), 0);
	ASSERT_EQ_INT(put_ttl(mem, &key, t.value, size, 10000000), 0);
	ASSERT_EQ_INT(get(mem, name, t.out, size, &t.item), 0);
	return t;
}

/* Flips one bit after another of [from, to) of the record; step: bytes from one to the next. */
static uint64_t flip_all(struct ltz_mem *mem, const struct truth *t, uint64_t from, uint64_t to, uint64_t step)
{
	struct ltz_hkey key = key_of(mem, t->name);
	uint8_t *bytes = (uint8_t *)record_of(mem, &key);
	uint64_t refused = 0;

	for (uint64_t at = from; at < to; at += step) {
		uint8_t was = bytes[at];

		bytes[at] ^= (uint8_t)(1u << at % 8);
		refused += read_tampered(mem, t, "byte", at);
		bytes[at] = was;
	}
	ASSERT_EQ_INT(get(mem, t->name, t->out, t->size, NULL), 0);
	return refused;
}

TEST_WITH_LIMIT(no_byte_of_a_record_can_be_changed_unnoticed, 300)
{
	for (unsigned k = 0; k < 2; k++) {
		struct ltz_mem *mem = new_pool(sealed_kinds[k], 8 * MIB);
		struct truth small = make_truth(mem, "a small one", 100), large = make_truth(mem, "a large one", 150000);
		struct ltz_hkey small_key = key_of(mem, small.name), large_key = key_of(mem, large.name);
		struct ltz_look look = look_at(record_of(mem, &small_key));
		uint64_t end = look.value_offset + look.size, area = look.size;

		EXPECT_EQ_U64(flip_all(mem, &small, 0, 8, 1) + flip_all(mem, &small, 16, 24, 1), 16); /* version, expiry */
		flip_all(mem, &small, 8, 16, 1);                                                      /* meta: also not found */
		flip_all(mem, &small, look.key_offset, look.value_offset, 1);
		EXPECT_EQ_U64(flip_all(mem, &small, look.value_offset, end, 1), area);
		look = look_at(record_of(mem, &large_key));
		end = look.value_offset + look.size;
		EXPECT_EQ_U64(flip_all(mem, &large, look.value_offset, look.value_offset + 120, 1), 120);
		EXPECT_EQ_U64(flip_all(mem, &large, end - 80, end, 1), 80);
		EXPECT_EQ_U64(flip_all(mem, &large, look.value_offset + 120, end, 4099), (look.size - 120 + 4098) / 4099);
		EXPECT_STR(text_at(mem, "another"), "");
		EXPECT_EQ_INT(put_text(mem, "another", "is as it was"), 0);
		EXPECT_STR(text_at(mem, "another"), "is as it was");
		EXPECT_CLEAN(mem);
		pool_leave(mem);
		free(small.value), free(small.out), free(large.value), free(large.out);
	}
}

/* Every word of a record set to what would suit an attacker. */
TEST_WITH_LIMIT(no_word_of_a_record_is_believed, 300)
{
	static const uint64_t words[] = { 0, 1, UINT64_MAX, UINT64_MAX >> 1, UINT64_C(1) << 32 };

	for (unsigned k = 0; k < 2; k++) {
		struct ltz_mem *mem = new_pool(sealed_kinds[k], 8 * MIB);
		struct truth t[2] = { make_truth(mem, "a small one", 100), make_truth(mem, "a large one", 70000) };

		for (unsigned i = 0; i < 2; i++) {
			struct ltz_hkey key = key_of(mem, t[i].name);
			uint64_t *word = (uint64_t *)record_of(mem, &key), meta = word[1];

			for (unsigned w = 2; w < 12; w++) {
				for (unsigned v = 0; v < 5; v++) {
					uint64_t was = word[w];

					word[w] = words[v];
					read_tampered(mem, &t[i], "word", w);
					word[w] = was;
				}
			}
			for (uint64_t size = 0; size < 200; size++) { /* of the value area: shorter and a little longer */
				word[1] = (meta & UINT32_MAX) | size << 32;
				read_tampered(mem, &t[i], "size", size);
				word[1] = meta ^ (uint64_t)REC_LARGE << 19;
				read_tampered(mem, &t[i], "form", size);
			}
			word[1] = meta;
			free(t[i].value), free(t[i].out);
		}
		pool_leave(mem);
	}
}

/* Copies `from`'s value area over `to`'s: both have the same size. */
static void copy_area(struct ltz_mem *mem, const char *from, const char *to)
{
	struct ltz_hkey a = key_of(mem, from), b = key_of(mem, to);
	struct shm_record *x = record_of(mem, &a), *y = record_of(mem, &b);

	memcpy(area_of(y), area_of(x), look_at(x).size);
}

TEST(a_record_fits_no_other_key)
{
	for (unsigned k = 0; k < 2; k++) {
		struct ltz_mem *mem = new_pool(sealed_kinds[k], 4 * MIB);
		struct ltz_hkey a = key_of(mem, "key a"), b = key_of(mem, "key b");
		struct shm_record *x, *y;
		char text[8];

		ASSERT_EQ_INT(put_text(mem, "key a", "value a"), 0);
		ASSERT_EQ_INT(put_text(mem, "key b", "value b"), 0);
		copy_area(mem, "key a", "key b");
		EXPECT_EQ_INT(get(mem, "key b", text, 8, NULL), -EBADMSG);
		/* the whole record, version and all, under the other's key */
		x = record_of(mem, &a), y = record_of(mem, &b);
		y->version = x->version;
		EXPECT_EQ_INT(get(mem, "key b", text, 8, NULL), -EBADMSG);
		/* the slot that names b's record names a's: it is another key's */
		*pool_slot(mem, &b) = b.word | (*pool_slot(mem, &a) & mem->ref_mask);
		EXPECT_EQ_INT(get(mem, "key b", text, 8, NULL), LTZ_NOT_FOUND);
		EXPECT_STR(text_at(mem, "key a"), "value a");
		pool_leave(mem);
	}
}

TEST(an_older_value_does_not_pass_as_the_present_one)
{
	for (unsigned k = 0; k < 2; k++) {
		struct ltz_mem *mem = new_pool(sealed_kinds[k], 4 * MIB);
		struct ltz_hkey key = key_of(mem, "key");
		uint8_t old[64];
		char text[8];

		ASSERT_EQ_INT(put_text(mem, "key", "value 1"), 0);
		ASSERT_TRUE(look_at(record_of(mem, &key)).size <= sizeof(old));
		memcpy(old, area_of(record_of(mem, &key)), look_at(record_of(mem, &key)).size);
		ASSERT_EQ_INT(put_text(mem, "key", "value 2"), 0);
		memcpy(area_of(record_of(mem, &key)), old, look_at(record_of(mem, &key)).size);
		EXPECT_EQ_INT(get(mem, "key", text, 8, NULL), -EBADMSG);
		pool_leave(mem);
	}
}

TEST(chunks_cannot_be_moved_within_a_value)
{
	struct ltz_mem *mem = new_pool(ENCRYPTED, 4 * MIB);
	struct ltz_hkey key = key_of(mem, "key");
	size_t size = 4 * LTZ_XAES_CHUNK_BYTES, chunk = LTZ_XAES_CHUNK_BYTES;
	uint8_t *bytes = calloc(1, size), *first;

	ASSERT_EQ_INT(put(mem, &key, bytes, size), 0);
	first = area_of(record_of(mem, &key));
	memcpy(first, first + chunk, chunk);
	memcpy(first + size, first + size + LTZ_XAES_TAG_BYTES, LTZ_XAES_TAG_BYTES); /* with its tag */
	EXPECT_EQ_INT(get(mem, "key", bytes, size, NULL), -EBADMSG);
	for (size_t i = 0; i < size; i++)
		if (bytes[i])
			test_fail(TEST_AT(TEST_ASSERT), "something of it is in the buffer");
	free(bytes);
	pool_leave(mem);
}

/* What was tampered with is carried on by nothing, and in nobody's way. */
TEST(a_tampered_record_is_refused_by_all_and_can_be_replaced)
{
	for (unsigned k = 0; k < 2; k++) {
		struct ltz_mem *mem = new_pool(sealed_kinds[k], 4 * MIB);
		struct ltz_hkey key = key_of(mem, "key");
		struct ltz_set_options keep = { .flags = LTZ_KEEP_TTL };
		ltz_number one = { .type = LTZ_INT64, .as.i64 = 1 };
		ltz_value value = { .data = "anew", .size = 4, .type = LTZ_BYTES };
		uint64_t *expiry;
		char text[8];

		for (unsigned round = 0; round < 3; round++) {
			ASSERT_EQ_INT(put_ttl(mem, &key, "8 bytes.", 8, 1000000), 0);
			expiry = (uint64_t *)((uint8_t *)record_of(mem, &key) + sizeof(struct shm_record));
			*expiry += 1000000; /* a longer life */
			EXPECT_EQ_INT(get(mem, "key", text, 8, NULL), -EBADMSG);
			EXPECT_EQ_INT(get(mem, "key", NULL, 0, NULL), -EBADMSG);
			EXPECT_EQ_INT(ltz__map_set(mem, &key, &value, &keep, NULL), -EBADMSG);
			EXPECT_EQ_INT(ltz__map_expire(mem, &key, 5000), -EBADMSG);
			EXPECT_EQ_INT(ltz__map_pop(mem, &key, text, 8, NULL), -EBADMSG);
			EXPECT_EQ_INT(ltz__map_add(mem, &key, one, one, NULL, NULL), -EBADMSG);
			EXPECT_FINDING(mem, "a tag that is not its own");
			if (round == 0)
				EXPECT_EQ_INT(ltz__map_set(mem, &key, &value, NULL, NULL), 0);
			else
				EXPECT_EQ_INT(round == 1 ? ltz__map_delete(mem, &key, 0) : ltz__map_clear(mem, NULL), 0);
			EXPECT_STR(text_at(mem, "key"), round == 0 ? "anew" : "");
			EXPECT_CLEAN(mem);
		}
		pool_leave(mem);
	}
}

/* ---- scans ------------------------------------------------------------------------------------------- */

static unsigned count_of(struct ltz_mem *mem, const ltz_key *prefix)
{
	static uint8_t buf[LTZ_SCAN_BUFFER];
	uint64_t cursor = 0;
	unsigned count = 0;

	do {
		size_t used = 0;

		ASSERT_EQ_INT(ltz__map_scan(mem, &cursor, 1000, prefix, buf, sizeof(buf), &used), 0);
		for (size_t at = 0; at < used; count++) {
			struct ltz_scan_entry entry;

			memcpy(&entry, buf + at, sizeof(entry));
			EXPECT_EQ_INT(entry.type, LTZ_KEY_STR);
			EXPECT_TRUE(memcmp(buf + at + sizeof(entry), "a:", 2) == 0 || memcmp(buf + at + sizeof(entry), "bb:", 3) == 0);
			at += (sizeof(entry) + entry.size + 7) & ~(size_t)7;
		}
	} while (cursor);
	return count;
}

TEST(a_scan_shows_names_and_leaves_out_what_was_tampered_with)
{
	const ltz_key prefix = { .data = "bb:", .size = 3, .type = LTZ_KEY_STR };
	static uint8_t large[20000];

	for (unsigned k = 0; k < 2; k++) {
		struct ltz_mem *mem = new_pool(sealed_kinds[k], 8 * MIB);
		struct ltz_hkey key;
		char name[16];

		for (unsigned i = 0; i < 100; i++) {
			snprintf(name, sizeof(name), "%s%u", i % 2 ? "bb:" : "a:", i);
			key = key_of(mem, name);
			ASSERT_EQ_INT(put(mem, &key, large, i % 10 == 9 ? sizeof(large) : 20), 0);
		}
		EXPECT_EQ_U64(count_of(mem, NULL), 100);
		EXPECT_EQ_U64(count_of(mem, &prefix), 50);
		for (unsigned i = 0; i < 2; i++) { /* a small and a large one */
			key = key_of(mem, i ? "bb:9" : "bb:1");
			area_of(record_of(mem, &key))[look_at(record_of(mem, &key)).size - 1] ^= 1;
		}
		EXPECT_EQ_U64(count_of(mem, NULL), 98);
		EXPECT_EQ_U64(count_of(mem, &prefix), 48);
		ASSERT_EQ_INT(ltz__map_clear(mem, NULL), 0);
		EXPECT_EQ_U64(ltz__map_count(mem), 0);
		pool_leave(mem);
	}
}

/* ---- keys ---------------------------------------------------------------------------------------------- */

TEST(the_key_must_fit_the_pool)
{
	static const uint8_t other_key[LTZ_MEM_KEY_BYTES] = "another one";
	struct ltz_mem_options with = { .pool_key = pool_key }, without = { 0 }, wrong = { .pool_key = other_key };

	for (unsigned k = 0; k < 3; k++) {
		struct ltz_mem *mem = new_pool((uint32_t[]){ 0, LOCKED, ENCRYPTED }[k], 4 * MIB), *second;
		unsigned rows = ltz__rows_high(mem);
		char text[16];

		EXPECT_TRUE((mem->seal != NULL) == (k > 0));
		EXPECT_EQ_INT(ltz__map_attach(ltz__mem_fd(mem), k ? &without : &with, &second), -EINVAL);
		EXPECT_EQ_U64(ltz__rows_high(mem), rows);
		ASSERT_EQ_INT(put_text(mem, "key", "a value"), 0);
		if (k) {
			ASSERT_OK(ltz__map_attach(ltz__mem_fd(mem), &wrong, &second));
			EXPECT_EQ_INT(get(second, "key", text, 16, NULL), k == 1 ? -EBADMSG : LTZ_NOT_FOUND);
			EXPECT_EQ_U64(count_of(second, NULL), 0);
			ltz__map_detach(second);
		}
		pool_leave(mem);
	}
}

#if defined(LTZ_FAULTS) && !defined(LTZ_CANARY) /* that core has none */
TEST(a_failure_while_attaching_leaves_nothing)
{
	for (unsigned k = 0; k < 2; k++) {
		struct ltz_mem *mem = new_pool(sealed_kinds[k], 4 * MIB), *second;
		struct ltz_mem_options options = { .pool_key = pool_key };
		uint64_t n = 0;
		bool reached = true;

		while (reached) { /* some calls may fail and be done without */
			ltz__fault_set_call(LTZ_FAULT_THREAD, ++n, ENOMEM);
			int result = ltz__map_attach(ltz__mem_fd(mem), &options, &second);
			reached = ltz__fault_calls(LTZ_FAULT_THREAD) >= n;
			ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
			EXPECT_TRUE(reached || result == 0);
			if (result == 0)
				ltz__map_detach(second);
		}
		EXPECT_TRUE(n > 10);
		EXPECT_EQ_INT(put_text(mem, "key", "still there"), 0);
		EXPECT_CLEAN(mem);
		pool_leave(mem);
	}
}
#endif

/* Seals a value for that key into private memory and opens it with another seal. */
static int seal_and_open(struct ltz_mem *mem, struct ltz_seal *one, struct ltz_seal *other)
{
	struct ltz_hkey key = key_of(mem, "key");
	struct ltz_content content = { .data = "a value", .size = 7, .type = LTZ_BYTES, .expires_ms = SHM_NEVER }, area;
	_Alignas(8) uint8_t bytes[256] = { 0 };
	struct shm_record *rec = (struct shm_record *)bytes;
	struct ltz_look look;
	unsigned flags;
	char text[8];

	ASSERT_EQ_INT(ltz__seal_layout(one, &key, &content, &area, &flags), 0);
	rec->meta = record_meta(flags, &key, &area);
	memcpy(bytes + sizeof(*rec), hkey_data(&key), key.size);
	ASSERT_TRUE(record_look(rec, sizeof(bytes), rec->meta, &look));
	ASSERT_EQ_INT(ltz__seal_put(one, &key, &content, &look, 5, bytes + look.value_offset), 0);
	return ltz__seal_read(other, &key, rec, 5, &look, text, sizeof(text));
}

TEST(a_record_of_another_pool_does_not_fit_even_if_their_keys_are_the_same)
{
	for (unsigned k = 0; k < 2; k++) {
		struct ltz_mem *mem = new_pool(sealed_kinds[k], 4 * MIB);
		struct ltz_seal *seal[3];

		for (unsigned i = 0; i < 3; i++)
			ASSERT_OK(ltz__seal_new(&seal[i], pool_key, (const uint8_t *)(i ? "the id of pool 1" : "the id of pool 2"), k == 1));
		EXPECT_EQ_INT(seal_and_open(mem, seal[1], seal[2]), 0);
		EXPECT_EQ_INT(seal_and_open(mem, seal[0], seal[1]), -EBADMSG);
		for (unsigned i = 0; i < 3; i++)
			ltz__seal_free(seal[i]);
		pool_leave(mem);
	}
}

/* ---- nonces ---------------------------------------------------------------------------------------------- */

struct nonces {
	uint8_t (*nonce)[NONCE];
	size_t count;
};

/* The nonces of all records, also of those that were replaced and are not yet overwritten. */
static void collect(struct ltz_mem *mem, struct nonces *out)
{
	for (uint64_t g = 0; g < ltz__granules_high(mem); g++) {
		struct ltz_shape shape;

		if (ltz__extent_shape(mem, g, owner_load(mem, g), &shape) < 0)
			continue;
		for (uint64_t i = 0; i < shape.blocks; i++) {
			const struct shm_record *rec = at_ref(mem, shape.first_ref + i * shape.units);
			struct ltz_look look;

			if (!rec->version || !record_look(rec, shape.bytes, rec->meta, &look) || look.size < NONCE ||
			    meta_key_size(look.meta) != HIDDEN_KEY_BYTES)
				continue;
			out->nonce = realloc(out->nonce, (out->count + 1) * NONCE);
			memcpy(out->nonce[out->count++], (const uint8_t *)rec + look.value_offset, NONCE);
		}
	}
}

static int compare_nonces(const void *a, const void *b) { return memcmp(a, b, NONCE); }

struct writer {
	struct ltz_mem *mem;
	uint64_t first;
};

static void *write_many(void *context)
{
	struct writer *w = context;

	for (uint64_t i = 0; i < 3000; i++)
		ASSERT_EQ_INT(put_number(w->mem, w->first + i % 1500, &i, sizeof(i)), 0);
	return NULL;
}

static void write_in_child(void *context)
{
	const struct writer *parents = context;
	struct writer mine = { .mem = pool_join(ltz__mem_fd(parents->mem)), .first = parents->first };

	write_many(&mine);
	pool_leave(mine.mem);
}

TEST_WITH_LIMIT(no_nonce_comes_twice, 120)
{
	struct ltz_mem *mem = new_pool(ENCRYPTED, 64 * MIB), *again = pool_join_again(mem);
	struct writer writer[8];
	pthread_t thread[4];
	pid_t child[4];
	struct nonces found = { 0 };

	for (unsigned i = 0; i < 8; i++)
		writer[i] = (struct writer){ i % 2 ? again : mem, 10000 * i };
	write_many(&writer[0]); /* the seal has a past when it is inherited */
	for (unsigned i = 0; i < 4; i++)
		child[i] = test_fork(write_in_child, &writer[4 + i]);
	for (unsigned i = 0; i < 4; i++)
		ASSERT_EQ_INT(pthread_create(&thread[i], NULL, write_many, &writer[i]), 0);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	for (unsigned i = 0; i < 4; i++)
		test_wait(child[i]);
	collect(mem, &found);
	EXPECT_TRUE(found.count >= 8 * 1500);
	qsort(found.nonce, found.count, NONCE, compare_nonces);
	for (size_t i = 1; i < found.count; i++)
		if (memcmp(found.nonce[i - 1], found.nonce[i], NONCE) == 0)
			test_fail(TEST_AT(TEST_ASSERT), "nonce %zu of %zu is there twice", i, found.count);
	free(found.nonce);
	pool_leave(again);
	pool_leave(mem);
}

/* In the child: the parent's mapping is gone, its seal is still there. */
static void seal_with_inherited(void *context)
{
	struct ltz_mem *mem = context;
	struct ltz_hkey key = { .meta = 16, .size = 16, .name = "key", .name_size = 3, .name_type = LTZ_KEY_STR };
	struct ltz_content content = { .data = "a value", .size = 7 };
	struct ltz_look look = { .meta = meta_make(16, 0, 0, 2, 0), .size = 16 + 40 };
	uint8_t bytes[64] = { 0 }, zeros[64] = { 0 };

	EXPECT_EQ_INT(ltz__seal_put(mem->seal, &key, &content, &look, 5, bytes), -ENOTSUP);
	EXPECT_EQ_MEM(bytes, zeros, sizeof(bytes));
	pool_forget(mem);
	ltz__map_abandon(mem);
}

TEST(a_forked_child_does_not_seal_with_its_parents_prefix)
{
	struct ltz_mem *mem = new_pool(ENCRYPTED, 4 * MIB);

	ASSERT_EQ_INT(put_text(mem, "key", "before"), 0);
	test_wait(test_fork(seal_with_inherited, mem));
	EXPECT_EQ_INT(put_text(mem, "key", "after"), 0);
	EXPECT_STR(text_at(mem, "key"), "after");
	pool_leave(mem);
}
