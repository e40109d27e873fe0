/* SPDX-License-Identifier: MIT */
/* test_cgroup.c - what is left: never more than the machine has, less in a limited cgroup. */
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

#define MIB (1024u * 1024u)

TEST(available_lies_within_the_machine)
{
	uint64_t available = ltz__sys_available_bytes();

	EXPECT_TRUE(available > 0);
	EXPECT_TRUE(available <= ltz__sys_total_bytes());
}

static bool put(const char *folder, const char *file, const char *text)
{
	char path[256];
	int fd;
	bool done;

	snprintf(path, sizeof(path), "%s/%s", folder, file);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return false;
	done = write(fd, text, strlen(text)) > 0;
	close(fd);
	return done;
}

struct hierarchy {
	const char *top, *limit_file;
};

/* In a new cgroup with that limit; the parent removes it. */
static void look_from_inside(void *context)
{
	const char *folder = context;

	ASSERT_TRUE(put(folder, "cgroup.procs", "0"));
	EXPECT_TRUE(ltz__sys_available_bytes() <= 64u * MIB);
	EXPECT_TRUE(ltz__sys_available_bytes() > 16u * MIB);
}

/* Also in a child of the limited one, which itself has no limit. */
static void try_hierarchy(const struct hierarchy *hierarchy)
{
	char outer[128], inner[160];

	snprintf(outer, sizeof(outer), "%s/latzero-test-%d", hierarchy->top, getpid());
	snprintf(inner, sizeof(inner), "%s/inner", outer);
	if (mkdir(outer, 0755) < 0)
		test_skip("cannot make a cgroup in %s: errno %d", hierarchy->top, errno);
	if (put(outer, hierarchy->limit_file, "67108864") && mkdir(inner, 0755) == 0) {
		test_wait(test_fork(look_from_inside, outer));
		test_wait(test_fork(look_from_inside, inner));
		rmdir(inner);
		rmdir(outer);
	} else {
		rmdir(outer);
		test_skip("%s has no %s", hierarchy->top, hierarchy->limit_file);
	}
}

TEST(a_v1_limit_counts_also_from_a_child_group)
{
	try_hierarchy(&(struct hierarchy){ "/sys/fs/cgroup/memory", "memory.limit_in_bytes" });
}

TEST(a_v2_limit_counts_also_from_a_child_group)
{
	struct stat status;
	const char *top = stat("/sys/fs/cgroup/unified", &status) == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";

	try_hierarchy(&(struct hierarchy){ top, "memory.max" });
}
