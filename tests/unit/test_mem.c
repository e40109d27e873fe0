/* SPDX-License-Identifier: MIT */
/* test_mem.c - a pool's memory: made, joined, refused when damaged, left. */
#include "shm/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "../stress/pools.h"
#include "base/error.h"
#include "sys/sys.h"

static int attach(int fd, struct ltz_mem **mem)
{
	struct ltz_mem_options options = { 0 };

	*mem = NULL;
	return ltz__mem_attach(fd, &options, mem);
}

static unsigned open_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* ---- making ------------------------------------------------------------------------------- */

TEST(a_new_pool_is_sealed_and_mostly_not_there)
{
	int fd = pool_make(1024 * MIB, 0);
	uint64_t size = 0;
	struct stat status;

	EXPECT_EQ_INT(ltz__sys_memfd_verify(fd, &size), 0);
	EXPECT_TRUE(size > 1024 * MIB);
	ASSERT_OK(fstat(fd, &status));
	EXPECT_EQ_U64(status.st_size, size);
	EXPECT_TRUE(status.st_blocks * 512 <= 256 * 1024);
	close(fd);
}

TEST(the_size_is_rounded_up_and_never_tiny)
{
	const uint64_t asked[] = { 1, 2 * MIB, 2 * MIB + 1, 10 * MIB - 1 };
	const uint64_t granules[] = { 32, 32, 33, 160 };

	for (unsigned i = 0; i < 4; i++) {
		struct ltz_mem *mem = bare_new(asked[i]);

		EXPECT_EQ_U64(mem->granules, granules[i]);
		EXPECT_EQ_U64(mem->geometry.max_bytes, granules[i] * SHM_GRANULE);
		bare_leave(mem);
	}
}

TEST(without_a_size_there_is_room_for_twice_the_machine_s_memory)
{
	struct ltz_mem *mem = bare_new(0);

	EXPECT_TRUE(mem->space_bytes >= 2 * ltz__sys_total_bytes() || ltz__sys_address_limit() != UINT64_MAX);
	EXPECT_TRUE(mem->units <= mem->ref_mask + 1);
	EXPECT_TRUE(hash_bits(mem) >= 24);
}

TEST(a_limit_on_address_space_makes_the_default_smaller)
{
	struct rlimit limit = { 1024 * MIB, 1024 * MIB };
	struct ltz_mem_options options = { 0 };
	int fd;
	uint64_t size = 0;

	ASSERT_OK(setrlimit(RLIMIT_FSIZE, &limit));
	fd = ltz__mem_make(&options);
	ASSERT_OK(fd);
	ASSERT_EQ_INT(ltz__sys_memfd_verify(fd, &size), 0);
	EXPECT_TRUE(size <= 1024 * MIB);
	options.max_size_bytes = 2048 * MIB;
	EXPECT_EQ_INT(ltz__mem_make(&options), -EFBIG);
	close(fd);
}

TEST(what_it_was_made_with_is_what_members_see)
{
	struct ltz_mem_options options = { .max_size_bytes = 4 * MIB, .pool_flags = 2, .name = "a pool", .min_buckets_log2 = 3 };
	int fd = ltz__mem_make(&options);
	struct ltz_mem *mem = bare_join(fd), *other = bare_join(fd);
	uint8_t a[16], b[16], none[16] = { 0 };

	EXPECT_EQ_U64(ltz__mem_flags(mem), 2);
	EXPECT_STR(mem->geometry.name, "a pool");
	EXPECT_EQ_U64(mem->geometry.table_log2, 3);
	EXPECT_TRUE(ltz__sys_unix_ms() - mem->geometry.created_ms < 60000);
	ltz__mem_id(mem, a);
	ltz__mem_id(other, b);
	EXPECT_EQ_MEM(a, b, 16);
	EXPECT_TRUE(memcmp(a, none, 16) != 0);
	EXPECT_EQ_U64(mem->seed, other->seed);
	close(fd);
}

TEST(two_pools_have_different_ids_and_seeds)
{
	struct ltz_mem *mem = bare_new(2 * MIB), *other = bare_new(2 * MIB);

	EXPECT_TRUE(mem->seed != other->seed);
	EXPECT_TRUE(memcmp(mem->geometry.id, other->geometry.id, 16) != 0);
}

TEST(a_name_of_any_length_is_cut_to_fit)
{
	char name[300];
	struct ltz_mem_options options = { .max_size_bytes = 2 * MIB, .name = name };
	struct ltz_mem *mem;
	int fd;

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	fd = ltz__mem_make(&options);
	mem = bare_join(fd);
	EXPECT_EQ_U64(strnlen(mem->geometry.name, sizeof(mem->geometry.name)), sizeof(mem->geometry.name) - 1);
	close(fd);
}

/* ---- joining ------------------------------------------------------------------------------------ */

TEST(members_see_one_memory)
{
	struct ltz_mem *mem = bare_new(2 * MIB), *other = bare_join(ltz__mem_fd(mem));

	EXPECT_TRUE(mem->base != other->base);
	store_release(&mem->header->recovered, 4711);
	EXPECT_EQ_U64(load_acquire(&other->header->recovered), 4711);
	EXPECT_TRUE(ltz__mem_fd(mem) != ltz__mem_fd(other));
}

TEST(the_descriptor_stays_the_caller_s)
{
	int fd = pool_make(2 * MIB, 0);
	unsigned before = open_descriptors();
	struct ltz_mem *mem = bare_join(fd);

	EXPECT_EQ_U64(open_descriptors(), before + 2);
	bare_leave(mem);
	EXPECT_EQ_U64(open_descriptors(), before);
	EXPECT_OK(fcntl(fd, F_GETFD));
	mem = bare_join(fd);
	close(fd);
	store_release(&mem->header->recovered, 1);
	bare_leave(mem);
}

TEST(memory_that_is_not_sealed_is_refused)
{
	unsigned before = open_descriptors();
	struct ltz_mem *mem;
	int fd = ltz__sys_memfd("open");

	ASSERT_OK(fd);
	ASSERT_OK(ftruncate(fd, 64 << 20));
	EXPECT_EQ_INT(attach(fd, &mem), -EUCLEAN);
	EXPECT_CONTAINS(ltz__detail(), "sealed");
	EXPECT_EQ_INT(attach(-1, &mem), -EUCLEAN);
	EXPECT_EQ_INT(attach(STDIN_FILENO, &mem), -EUCLEAN);
	close(fd);
	EXPECT_EQ_U64(open_descriptors(), before);
}

TEST(memory_that_is_too_small_is_refused)
{
	const uint64_t sizes[] = { 4096, 1 * MIB, 8 * MIB };

	for (unsigned i = 0; i < 3; i++) {
		struct ltz_mem *mem;
		int fd = ltz__sys_memfd("small");

		ASSERT_OK(fd);
		ASSERT_EQ_INT(ltz__sys_memfd_fix(fd, sizes[i]), 0);
		EXPECT_EQ_INT(attach(fd, &mem), -EUCLEAN);
		EXPECT_CONTAINS(ltz__detail(), "small");
		close(fd);
	}
}

TEST(memory_of_something_else_is_refused)
{
	struct ltz_mem *mem;
	int fd = ltz__sys_memfd("else");

	ASSERT_OK(fd);
	ASSERT_EQ_INT(ltz__sys_memfd_fix(fd, 64 * MIB), 0);
	EXPECT_EQ_INT(attach(fd, &mem), -EUCLEAN);
	EXPECT_CONTAINS(ltz__detail(), "not a latzero pool");
	EXPECT_TRUE(mem == NULL);
	close(fd);
}

/* ---- damage --------------------------------------------------------------------------------------- */

static struct shm_geometry *map_geometry(int fd)
{
	void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	ASSERT_TRUE(at != MAP_FAILED);
	return at;
}

TEST(each_damaged_field_of_the_geometry_is_refused)
{
	static const struct { const char *what; size_t offset; unsigned size; uint64_t to; } damage[] = {
#define FIELD(name, to) { #name " <- " #to, offsetof(struct shm_geometry, name), sizeof(((struct shm_geometry *)0)->name), to }
		FIELD(magic, 0),           FIELD(magic, SHM_MAGIC ^ 256), FIELD(version, 0),
		FIELD(version, 2),         FIELD(file_bytes, 0),          FIELD(file_bytes, UINT64_MAX),
		FIELD(rows_offset, 0),     FIELD(rows_offset, 65536),     FIELD(rows_offset, UINT64_MAX),
		FIELD(owners_offset, 0),   FIELD(owners_offset, 131072),  FIELD(owners_offset, UINT64_MAX),
		FIELD(space_offset, 0),    FIELD(space_offset, 65536),    FIELD(space_offset, UINT64_MAX - 65535),
		FIELD(granules, 0),        FIELD(granules, 1),            FIELD(granules, 31),
		FIELD(granules, 33),       FIELD(granules, 1u << 30),     FIELD(granules, UINT64_MAX),
		FIELD(granules, UINT64_C(1) << 61), FIELD(table_log2, 0), FIELD(table_log2, 21),
		FIELD(table_log2, UINT32_MAX),
#undef FIELD
	};
	int fd = pool_make(2 * MIB, 0);
	struct shm_geometry *geometry = map_geometry(fd), good = *geometry;
	unsigned before = open_descriptors();
	struct ltz_mem *mem;

	for (unsigned i = 0; i < sizeof(damage) / sizeof(*damage); i++) {
		int result;

		memcpy((uint8_t *)geometry + damage[i].offset, &damage[i].to, damage[i].size);
		result = attach(fd, &mem);
		if (result != -EUCLEAN)
			test_fail(TEST_AT(TEST_EXPECT), "%s: %d instead of -EUCLEAN", damage[i].what, result);
		EXPECT_TRUE(mem == NULL && ltz__detail()[0]);
		*geometry = good;
	}
	EXPECT_EQ_U64(open_descriptors(), before);
	mem = bare_join(fd); /* nothing of it stayed, and no row was taken */
	EXPECT_EQ_U64(mem->row_index, 0);
	munmap(geometry, 4096);
	close(fd);
}

TEST(another_version_is_named)
{
	int fd = pool_make(2 * MIB, 0);
	struct shm_geometry *geometry = map_geometry(fd);
	struct ltz_mem *mem;

	geometry->version = 77;
	EXPECT_EQ_INT(attach(fd, &mem), -EUCLEAN);
	EXPECT_CONTAINS(ltz__detail(), "77");
	munmap(geometry, 4096);
	close(fd);
}

TEST(geometry_changed_after_the_join_misleads_nobody)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0);
	uint64_t granules = mem->granules;

	ASSERT_EQ_INT(put_text(mem, "key", "before"), 0);
	memset(&mem->header->geometry, 0xff, sizeof(mem->header->geometry));
	EXPECT_EQ_U64(mem->granules, granules);
	EXPECT_STR(text_at(mem, "key"), "before");
	ASSERT_EQ_INT(put_text(mem, "key", "after"), 0);
	EXPECT_STR(text_at(mem, "key"), "after");
	EXPECT_CLEAN(mem);
}

/* ---- read-only members -------------------------------------------------------------------------------- */

TEST(a_readonly_member_reads_and_cannot_write_data)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0), *reader = NULL;
	struct ltz_mem_options options = { .readonly = true };

	ASSERT_EQ_INT(put_text(mem, "key", "seen"), 0);
	ASSERT_EQ_INT(ltz__map_attach(ltz__mem_fd(mem), &options, &reader), 0);
	pool_remember(reader);
	EXPECT_STR(text_at(reader, "key"), "seen");
	ASSERT_EQ_INT(put_text(mem, "key", "seen again"), 0);
	EXPECT_STR(text_at(reader, "key"), "seen again");
	EXPECT_EQ_U64(ltz__map_count(reader), 1);
	EXPECT_EQ_U64(reader->row->hits, 2); /* its own row it may write */
	EXPECT_TRUE((uint8_t *)reader->row >= reader->members_map);
	EXPECT_EQ_U64(reader->row_index, 1);
	EXPECT_TRUE(ltz__tick(reader) > 0);
}

/* The mapping itself refuses: mprotect would have to be called to write. */
TEST(a_readonly_member_s_mapping_is_readonly)
{
	struct ltz_mem *mem = bare_new(2 * MIB), *reader = NULL;
	struct ltz_mem_options options = { .readonly = true };
	char line[256];
	bool found = false;
	FILE *maps;

	ASSERT_EQ_INT(ltz__mem_attach(ltz__mem_fd(mem), &options, &reader), 0);
	pool_remember(reader);
	maps = fopen("/proc/self/maps", "r");
	ASSERT_TRUE(maps != NULL);
	while (fgets(line, sizeof(line), maps)) {
		uintptr_t from = (uintptr_t)strtoull(line, NULL, 16);

		if (from == (uintptr_t)reader->base) {
			found = true;
			EXPECT_CONTAINS(line, " r--s ");
		}
	}
	fclose(maps);
	EXPECT_TRUE(found);
}

TEST(a_readonly_member_is_adopted_like_others)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0), *reader = NULL;
	struct ltz_mem_options options = { .readonly = true };

	ASSERT_EQ_INT(ltz__map_attach(ltz__mem_fd(mem), &options, &reader), 0);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 0);
	ltz__map_detach(reader);
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 1);
	EXPECT_CLEAN(mem);
}

/* ---- destroy, clock ------------------------------------------------------------------------------------- */

TEST(destroy_is_seen_by_every_member_and_changes_nothing_twice)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0), *other = pool_join_again(mem);
	struct ltz_hkey key = key_of(mem, "key");
	char buf[8];

	ASSERT_EQ_INT(put_text(mem, "key", "x"), 0);
	EXPECT_TRUE(!ltz__mem_destroyed(mem));
	ltz__mem_destroy(other);
	ltz__mem_destroy(mem);
	EXPECT_TRUE(ltz__mem_destroyed(mem) && ltz__mem_destroyed(other));
	EXPECT_EQ_INT(ltz__map_get(mem, &key, buf, sizeof(buf), NULL), -ESHUTDOWN);
	EXPECT_EQ_INT(put_text(mem, "key", "y"), -ESHUTDOWN);
	EXPECT_EQ_INT(ltz__map_delete(mem, &key, 0), -ESHUTDOWN);
	EXPECT_EQ_INT(ltz__map_clear(mem, NULL), -ESHUTDOWN);
}

TEST(the_pool_s_clock_is_boottime_until_told_otherwise)
{
	struct ltz_mem *mem = bare_new(2 * MIB);
	uint64_t now = ltz__sys_boottime_ns();

	EXPECT_TRUE(ltz__mem_now_ns(mem) - now < SECOND_NS);
	EXPECT_TRUE(ltz__mem_same_clock(mem)); /* then a joiner takes nobody's word, which may come late */
	mem->geometry.time_namespace++;
	EXPECT_TRUE(!ltz__mem_same_clock(mem));
	ltz__mem_set_now(mem, ltz__sys_boottime_ns() + SECOND_NS / 2); /* a message took that long: the same clock */
	EXPECT_EQ_INT(mem->clock_offset_ns, 0);
	ltz__mem_set_now(mem, ltz__sys_boottime_ns() + 5 * SECOND_NS);
	EXPECT_TRUE(ltz__mem_now_ns(mem) - ltz__sys_boottime_ns() > 4 * SECOND_NS);
	ltz__mem_set_now(mem, 1000); /* a namespace where the machine has just booted */
	EXPECT_TRUE(ltz__mem_now_ns(mem) < 60 * SECOND_NS);
}

static unsigned rings;
static void count_ring(void *context)
{
	rings += context == &rings;
}

TEST(a_ring_is_given_its_context)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 1);

	ltz__mem_on_ring(mem, count_ring, &rings);
	for (uint64_t i = 0; i < 40; i++) /* overflows two buckets */
		ASSERT_EQ_INT(put_number(mem, i, "v", 1), 0);
	EXPECT_TRUE(rings > 0);
}

/* ---- fork ---------------------------------------------------------------------------------------------------- */

static void abandon_and_join(void *context)
{
	struct ltz_mem *inherited = context, *mem;
	int fd = ltz__sys_duplicate(ltz__mem_fd(inherited));

	ASSERT_OK(fd);
	pool_forget(inherited);
	ltz__map_abandon(inherited);
	mem = pool_join(fd);
	EXPECT_EQ_U64(mem->row_index, 1);
	EXPECT_STR(text_at(mem, "key"), "parent's");
	ASSERT_EQ_INT(put_text(mem, "key", "child's"), 0);
	pool_leave(mem);
	close(fd);
}

TEST(a_forked_child_abandons_and_joins_by_itself)
{
	struct ltz_mem *mem = pool_new(2 * MIB, 0);

	ASSERT_EQ_INT(put_text(mem, "key", "parent's"), 0);
	test_wait(test_fork(abandon_and_join, mem));
	EXPECT_STR(text_at(mem, "key"), "child's");
	EXPECT_EQ_U64(ltz__adopt_dead(mem), 1);
	EXPECT_CLEAN(mem);
}
