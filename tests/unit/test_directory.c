/* SPDX-License-Identifier: MIT */
/* test_directory.c - only a safe directory is used; its names and its lock. */
#include "sys/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"

static char path[256], why[400];

/* path := <the test's directory>/name */
static const char *at(const char *name)
{
	snprintf(path, sizeof(path), "%s/%s", test_directory(), name);
	return path;
}

static int try(const char *name)
{
	why[0] = '\0';
	return ltz__sys_directory(name, why, sizeof(why));
}

TEST(a_missing_directory_is_made_private)
{
	int dir = try(at("new"));
	struct stat status;

	ASSERT_OK(dir);
	ASSERT_OK(fstat(dir, &status));
	EXPECT_TRUE(S_ISDIR(status.st_mode));
	EXPECT_EQ_U64(status.st_mode & 0777, 0700);
	EXPECT_TRUE(fcntl(dir, F_GETFD) & FD_CLOEXEC);
	EXPECT_OK(try(path)); /* and found the next time */
}

TEST(an_odd_umask_does_not_spoil_what_is_made)
{
	umask(0777);
	EXPECT_OK(try(at("new")));
}

TEST(a_directory_open_to_others_is_refused_with_its_mode)
{
	ASSERT_OK(mkdir(at("open"), 0700));
	ASSERT_OK(chmod(path, 0750));
	EXPECT_EQ_INT(try(path), -EACCES);
	EXPECT_CONTAINS(why, path);
	EXPECT_CONTAINS(why, "0750");
	EXPECT_CONTAINS(why, "chmod 700");
}

TEST(a_directory_closed_to_ourselves_is_refused)
{
	ASSERT_OK(mkdir(at("closed"), 0700));
	ASSERT_OK(chmod(path, 0500));
	EXPECT_EQ_INT(try(path), -EACCES);
	EXPECT_CONTAINS(why, "closed to yourself");
}

TEST(another_user_s_directory_is_refused_with_both_names)
{
	if (geteuid() != 0)
		test_skip("needs root to make a directory of another user");
	ASSERT_OK(mkdir(at("theirs"), 0700));
	ASSERT_OK(chown(path, 12345, 12345));
	EXPECT_EQ_INT(try(path), -EACCES);
	EXPECT_CONTAINS(why, "user 12345");
	EXPECT_CONTAINS(why, "user 0");
}

TEST(a_symbolic_link_is_refused_with_and_without_a_slash)
{
	char link[256];

	ASSERT_OK(mkdir(at("real"), 0700));
	snprintf(link, sizeof(link), "%s/link", test_directory());
	ASSERT_OK(symlink(path, link));
	EXPECT_EQ_INT(try(link), -EACCES);
	EXPECT_CONTAINS(why, "a symbolic link");
	snprintf(link, sizeof(link), "%s/link/", test_directory());
	EXPECT_EQ_INT(try(link), -EACCES);
	EXPECT_CONTAINS(why, "a symbolic link");
}

TEST(a_dangling_link_is_not_followed_to_make_something)
{
	char target[300];

	snprintf(target, sizeof(target), "%s/target", test_directory());
	ASSERT_OK(symlink(target, at("dangling")));
	EXPECT_EQ_INT(try(path), -EACCES);
	EXPECT_EQ_INT(access(target, F_OK), -1);
}

TEST(a_file_in_its_place_is_refused)
{
	ltz__sys_close(open(at("file"), O_CREAT | O_WRONLY, 0600));
	EXPECT_EQ_INT(try(path), -EACCES);
	EXPECT_CONTAINS(why, "a file");
}

TEST(a_missing_parent_is_not_mistaken_for_a_missing_pool)
{
	EXPECT_EQ_INT(try(at("no/such")), -ENOTDIR);
	EXPECT_CONTAINS(why, "LATZERO_DIR");
	EXPECT_EQ_INT(try(""), -ENOTDIR);
}

static char names[100];

static int collect(void *context, const char *name)
{
	size_t used = strlen(context);

	snprintf((char *)context + used, sizeof(names) - used, "%s ", name);
	return strcmp(name, "stop") == 0 ? 5 : 0;
}

TEST(names_come_and_go)
{
	int dir = try(at("new"));

	ASSERT_OK(dir);
	EXPECT_EQ_INT(ltz__sys_names(dir, collect, names), 0);
	EXPECT_STR(names, "");
	ltz__sys_close(openat(dir, "a", O_CREAT | O_WRONLY, 0600));
	EXPECT_EQ_INT(ltz__sys_name_exists(dir, "a"), 1);
	EXPECT_EQ_INT(ltz__sys_name_exists(dir, "b"), 0);
	EXPECT_EQ_INT(ltz__sys_unlink(dir, "a"), 0);
	EXPECT_EQ_INT(ltz__sys_unlink(dir, "a"), -ENOENT);
	ASSERT_OK(mkdirat(dir, "stop", 0700));
	EXPECT_EQ_INT(ltz__sys_names(dir, collect, names), 5); /* the visitor's word is returned */
	EXPECT_STR(names, "stop ");
}

/* A folder with one file in it, or an empty one. */
static void put_folder(int dir, const char *folder, const char *file)
{
	char inside[100];

	ASSERT_OK(mkdirat(dir, folder, 0700));
	if (file == NULL)
		return;
	snprintf(inside, sizeof(inside), "%s/%s", folder, file);
	ASSERT_OK(close(openat(dir, inside, O_CREAT | O_WRONLY, 0600)));
}

TEST(a_name_is_taken_by_one_folder_only)
{
	int dir = try(at("new"));

	ASSERT_OK(dir);
	put_folder(dir, "a", "1");
	put_folder(dir, "b", "2");
	put_folder(dir, "empty", NULL);
	ASSERT_OK(close(openat(dir, "file", O_CREAT | O_WRONLY, 0600)));
	EXPECT_EQ_INT(ltz__sys_take_name(dir, "a", "x"), 0);
	EXPECT_EQ_INT(ltz__sys_take_name(dir, "b", "x"), -EEXIST);
	EXPECT_EQ_INT(ltz__sys_take_name(dir, "b", "file"), -EEXIST);
	EXPECT_EQ_INT(ltz__sys_take_name(dir, "none", "y"), -ENOENT);
	EXPECT_EQ_INT(ltz__sys_name_exists(dir, "x/1"), 1);
	EXPECT_EQ_INT(ltz__sys_take_name(dir, "b", "empty"), 0);
	EXPECT_EQ_INT(ltz__sys_name_exists(dir, "empty/2"), 1);
	EXPECT_EQ_INT(ltz__sys_name_exists(dir, "b"), 0);
}

TEST(a_folder_is_removed_only_when_it_is_empty)
{
	int dir = try(at("new"));

	ASSERT_OK(dir);
	put_folder(dir, "x", "1");
	EXPECT_EQ_INT(ltz__sys_remove_folder(dir, "x"), 0);
	EXPECT_EQ_INT(ltz__sys_name_exists(dir, "x/1"), 1);
	EXPECT_EQ_INT(ltz__sys_unlink(dir, "x/1"), 0);
	EXPECT_EQ_INT(ltz__sys_remove_folder(dir, "x"), 0);
	EXPECT_EQ_INT(ltz__sys_remove_folder(dir, "x"), -ENOENT);
}

TEST(the_path_of_a_socket_is_what_is_in_its_folder)
{
	int dir = try(at("new"));
	char found[40];

	ASSERT_OK(dir);
	put_folder(dir, "x", "1");
	put_folder(dir, "empty", NULL);
	ASSERT_OK(close(openat(dir, "file", O_CREAT | O_WRONLY, 0600)));
	ASSERT_OK(symlinkat("x", dir, "link"));
	EXPECT_EQ_INT(ltz__sys_socket_path(dir, "x", found, sizeof(found)), 0);
	EXPECT_STR(found, "x/1");
	EXPECT_EQ_INT(ltz__sys_socket_path(dir, "empty", found, sizeof(found)), -ENOENT);
	EXPECT_EQ_INT(ltz__sys_socket_path(dir, "none", found, sizeof(found)), -ENOENT);
	EXPECT_EQ_INT(ltz__sys_socket_path(dir, "file", found, sizeof(found)), 0);
	EXPECT_STR(found, "file");
	EXPECT_EQ_INT(ltz__sys_socket_path(dir, "link", found, sizeof(found)), 0);
	EXPECT_STR(found, "link");
	EXPECT_EQ_INT(ltz__sys_socket_path(dir, "x", found, 3), -ENAMETOOLONG);
}
