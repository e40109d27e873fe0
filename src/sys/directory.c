/* SPDX-License-Identifier: MIT */
/*
 * directory.c - the rendezvous directory: safe to use, and its names.
 *
 * Safe means: a directory and no symbolic link, this user's own, closed to
 * everybody else. Then nobody else can have put a name there, and what is
 * checked once stays true, as only we could change it. All later calls go
 * through the checked descriptor and never through the path again.
 */
#include "sys/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/call.h"

#define OPEN_FLAGS (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* A copy of path without '/' at its end: "link/" would be followed in spite of O_NOFOLLOW. */
static int strip_slashes(const char *path, char *stripped)
{
	size_t length = strlen(path);

	if (length == 0 || length >= PATH_MAX)
		return length == 0 ? -ENOENT : -ENAMETOOLONG;
	while (length > 1 && path[length - 1] == '/')
		length--;
	memcpy(stripped, path, length);
	stripped[length] = '\0';
	return 0;
}

/* Why the directory cannot be had; the result to give. */
static int explain(int error, const char *path, char *why, size_t why_size)
{
	struct stat status;

	if (error == -ENOENT) {
		snprintf(why, why_size, "the folder that '%s' should be in does not exist: "
		         "make it, or set LATZERO_DIR to another place", path);
		return -ENOTDIR; /* ENOENT would read as: no such pool */
	}
	if ((error == -ENOTDIR || error == -ELOOP) && LTZ_CALL(lstat(path, &status)) == 0) {
		snprintf(why, why_size, "'%s' is %s and not a directory: remove it, or set LATZERO_DIR to another place",
		         path, S_ISLNK(status.st_mode) ? "a symbolic link" : "a file");
		return -EACCES;
	}
	snprintf(why, why_size, "cannot use the directory '%s': error %d (%s)", path, -error,
	         error == -EACCES ? "not permitted" : "see errno(3)");
	return error;
}

static int check_owner_and_mode(const struct stat *status, const char *path, char *why, size_t why_size)
{
	if (status->st_uid != geteuid()) {
		snprintf(why, why_size, "'%s' belongs to user %u and not to you (user %u): "
		         "set LATZERO_DIR to a directory of your own", path, status->st_uid, geteuid());
		return -EACCES;
	}
	if ((status->st_mode & 0077) != 0) {
		snprintf(why, why_size, "'%s' is open to other users (mode %04o): run chmod 700 on it, "
		         "or set LATZERO_DIR to another place", path, status->st_mode & 07777);
		return -EACCES;
	}
	if ((status->st_mode & 0700) != 0700) {
		snprintf(why, why_size, "'%s' is closed to yourself (mode %04o): run chmod 700 on it",
		         path, status->st_mode & 07777);
		return -EACCES;
	}
	return 0;
}

/* The umask may have taken more than it should from what we made. */
static void restore_mode(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	LTZ_CALL(chmod(path, 0700)); /* if it fails, the check says so */
}

int ltz__sys_directory(const char *path, char *why, size_t why_size)
{
	char plain[PATH_MAX];
	struct stat status;
	long made, result;
	int fd;

	result = strip_slashes(path, plain);
	if (result < 0)
		return explain((int)result, path, why, why_size);
	made = LTZ_CALL(mkdir(plain, 0700));
	if (made < 0 && made != -EEXIST)
		return explain((int)made, plain, why, why_size);
	fd = (int)LTZ_CALL(open(plain, OPEN_FLAGS));
	if (fd < 0)
		return explain(fd, plain, why, why_size);
	if (made == 0) {
		LTZ_CRASH_POINT("sys.directory_made");
		restore_mode(fd);
	}
	result = LTZ_CALL(fstat(fd, &status));
	if (result < 0)
		result = explain((int)result, plain, why, why_size);
	else
		result = check_owner_and_mode(&status, plain, why, why_size);
	if (result < 0) {
		ltz__sys_close(fd);
		return (int)result;
	}
	return fd;
}

int ltz__sys_take_name(int dir, const char *temporary, const char *folder)
{
	/* In one step, over an empty folder too. ENOTDIR: over what is no folder. */
	long result = LTZ_CALL(renameat(dir, temporary, dir, folder));

	return result == -ENOTEMPTY || result == -ENOTDIR ? -EEXIST : (int)result;
}

int ltz__sys_unlink(int dir, const char *path)
{
	return (int)LTZ_CALL(unlinkat(dir, path, 0));
}

int ltz__sys_remove_folder(int dir, const char *folder)
{
	long result = LTZ_CALL(unlinkat(dir, folder, AT_REMOVEDIR));

	return result == -ENOTEMPTY || result == -EEXIST ? 0 : (int)result;
}

int ltz__sys_name_exists(int dir, const char *name)
{
	struct stat status;
	long result = LTZ_CALL(fstatat(dir, name, &status, AT_SYMLINK_NOFOLLOW));

	if (result == -ENOENT)
		return 0;
	return result < 0 ? (int)result : 1;
}

/* Calls visit for each entry of fd, which is used up. */
static int visit_entries(int fd, int (*visit)(void *context, const char *name), void *context)
{
	struct dirent *entry;
	DIR *stream;
	int result = 0;

	if (fd < 0)
		return fd;
	stream = LTZ_PTR_CALL(NULL, fdopendir(fd));
	if (stream == NULL) {
		ltz__sys_close(fd);
		return -ENOMEM;
	}
	while (result == 0 && (errno = 0, entry = LTZ_PTR_CALL(NULL, readdir(stream))) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			result = visit(context, entry->d_name);
	if (result == 0)
		result = -errno; /* 0 at the end of the directory */
	closedir(stream);
	return result;
}

/* A new description: O_PATH ones cannot be read. */
static int open_folder(int dir, const char *folder)
{
	return (int)LTZ_CALL(openat(dir, folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
}

int ltz__sys_names(int dir, int (*visit)(void *context, const char *name), void *context)
{
	return visit_entries(open_folder(dir, "."), visit, context);
}

struct path {
	const char *folder;
	char *text;
	size_t size;
};

/* Takes the first entry there is. */
static int take_entry(void *context, const char *name)
{
	struct path *path = context;
	int length = snprintf(path->text, path->size, "%s/%s", path->folder, name);

	return length < (int)path->size ? 1 : -ENAMETOOLONG;
}

int ltz__sys_socket_path(int dir, const char *folder, char *path, size_t size)
{
	struct path found = { folder, path, size };
	int fd = open_folder(dir, folder), result;

	if (fd == -ENOTDIR || fd == -ELOOP)
		return snprintf(path, size, "%s", folder) < (int)size ? 0 : -ENAMETOOLONG;
	result = visit_entries(fd, take_entry, &found);
	if (result == 0)
		return -ENOENT;
	return result > 0 ? 0 : result;
}
