/* SPDX-License-Identifier: MIT */
/*
 * cgroup.c - how much memory this process may still take.
 *
 * The least of
 *   - MemAvailable of the machine, and
 *   - limit - usage of the process' memory cgroup and of each of its
 *     ancestors: any of them can bring the out-of-memory killer.
 * Version 1 and 2 name the same things differently, and a machine may have
 * both mounted (with memory in only one of them). Page cache that nobody uses
 * counts as usage but is dropped on need: it is added back, else a process
 * that has read a large file would look full.
 *
 * Nothing here fails: what cannot be read does not limit.
 */
#include "sys/sys.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/call.h"

#define NO_LIMIT   UINT64_MAX
#define MARGIN_MAX (UINT64_C(256) << 20)

/* How one version of cgroups names things. */
struct version {
	const char *fstype, *option; /* of the mount: option "" means any   */
	const char *limit, *soft_limit, *usage, *idle_cache;
};

static const struct version v1 = {
	"cgroup", "memory", "memory.limit_in_bytes", NULL, "memory.usage_in_bytes", "total_inactive_file ",
};
static const struct version v2 = {
	"cgroup2", "", "memory.max", "memory.high", "memory.current", "inactive_file ",
};

/* Reads a small file as text. false if it cannot be read. */
static bool read_text(const char *path, char *text, size_t size)
{
	long fd = LTZ_CALL(open(path, O_RDONLY | O_CLOEXEC));
	size_t used = 0;
	long n = 0;

	if (fd < 0)
		return false;
	while (used < size - 1 && (n = LTZ_CALL(read((int)fd, text + used, size - 1 - used))) > 0)
		used += (size_t)n;
	text[used] = '\0';
	ltz__sys_close((int)fd);
	return n >= 0;
}

/* The number after label at the beginning of a line; missing if there is none. */
static uint64_t number_after(const char *text, const char *label, uint64_t missing)
{
	size_t length = strlen(label);

	for (const char *line = text; line != NULL && *line != '\0';) {
		if (strncmp(line, label, length) == 0)
			return strtoull(line + length, NULL, 10);
		line = strchr(line, '\n');
		if (line != NULL)
			line++;
	}
	return missing;
}

/* A file of one number, in the cgroup folder; "max" and unreadable give missing. */
static uint64_t read_number(const char *folder, const char *name, uint64_t missing)
{
	char path[PATH_MAX], text[64];

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return missing;
	if (!read_text(path, text, sizeof(text)) || text[0] < '0' || text[0] > '9')
		return missing;
	return strtoull(text, NULL, 10);
}

static uint64_t idle_cache(const char *folder, const struct version *version)
{
	char path[PATH_MAX], text[4096];

	if (snprintf(path, sizeof(path), "%s/memory.stat", folder) >= (int)sizeof(path) ||
	    !read_text(path, text, sizeof(text)))
		return 0;
	return number_after(text, version->idle_cache, 0);
}

/*
 * Of what is left below a limit, what may be taken: a 32nd of the limit, at
 * most 256 MiB, stays for everybody's stacks, sockets and page tables.
 */
static uint64_t less_margin(uint64_t left, uint64_t limit)
{
	uint64_t margin = limit / 32 < MARGIN_MAX ? limit / 32 : MARGIN_MAX;

	return left > margin ? left - margin : 0;
}

/* The lesser of least and what this one level leaves. */
static uint64_t level_leaves(const char *folder, const struct version *version, uint64_t least)
{
	uint64_t limit = read_number(folder, version->limit, NO_LIMIT);
	uint64_t usage = read_number(folder, version->usage, 0), left;

	if (version->soft_limit != NULL) {
		/* Above it the kernel throttles until the process all but stands still. */
		uint64_t soft = read_number(folder, version->soft_limit, NO_LIMIT);

		limit = soft < limit ? soft : limit;
	}
	if (limit == NO_LIMIT)
		return least;
	left = less_margin(limit > usage ? limit - usage : 0, limit);
	if (left < least) /* memory.stat is dear: only where it matters */
		left += idle_cache(folder, version);
	return left < least ? left : least;
}

/* Is word one of those that commas separate in text[0..end)? */
static bool has_word(const char *text, const char *end, const char *word)
{
	size_t length = strlen(word);

	while (text < end) {
		const char *comma = memchr(text, ',', (size_t)(end - text));
		const char *stop = comma != NULL ? comma : end;

		if ((size_t)(stop - text) == length && memcmp(text, word, length) == 0)
			return true;
		text = stop + 1;
	}
	return false;
}

/* This process' path within the hierarchy, from /proc/self/cgroup: "id:controllers:path" lines. */
static bool own_path(const char *cgroups, const struct version *version, char *path)
{
	for (const char *line = cgroups; line != NULL && *line != '\0';) {
		const char *first = strchr(line, ':'), *second = first ? strchr(first + 1, ':') : NULL;
		const char *end = strchrnul(line, '\n');

		if (second != NULL && second < end &&
		    (version == &v2 ? second == first + 1 : has_word(first + 1, second, version->option)) &&
		    end - second <= PATH_MAX) {
			memcpy(path, second + 1, (size_t)(end - second - 1));
			path[end - second - 1] = '\0';
			return true;
		}
		line = *end == '\0' ? NULL : end + 1;
	}
	return false;
}

/*
 * Finds the hierarchy's mount in a line of mountinfo:
 *   id parent major:minor ROOT MOUNT options ... - FSTYPE source SUPER
 */
static bool parse_mount(const char *line, const struct version *version, char *root, char *mount)
{
	char fstype[32], super[512];
	const char *dash = strstr(line, " - ");

	if (dash == NULL || sscanf(dash, " - %31s %*s %511s", fstype, super) != 2 ||
	    strcmp(fstype, version->fstype) != 0)
		return false;
	if (version->option[0] != '\0' && !has_word(super, super + strlen(super), version->option))
		return false;
	return sscanf(line, "%*s %*s %*s %4095s %4095s", root, mount) == 2;
}

static bool find_mount(const struct version *version, char *root, char *mount)
{
	FILE *file = LTZ_PTR_CALL(NULL, fopen("/proc/self/mountinfo", "re"));
	size_t size = 0;
	char *line = NULL;
	bool found = false;

	if (file == NULL)
		return false;
	while (!found && LTZ_SYS_CALL(getline(&line, &size, file)) > 0)
		found = parse_mount(line, version, root, mount);
	free(line);
	fclose(file);
	return found;
}

/*
 * The folder of the process' own cgroup. In a container the mount's root may
 * be the container's cgroup, which then is the beginning of the path too; a
 * path that leads outside what is mounted leaves only the mount's root.
 */
static void join_folder(const char *mount, const char *root, const char *path, char *folder, size_t size)
{
	size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);

	if (strncmp(path, root, length) != 0 || (path[length] != '/' && path[length] != '\0') ||
	    strstr(path, "/..") != NULL)
		path = "";
	else
		path += length;
	if (snprintf(folder, size, "%s%s", mount, path) >= (int)size)
		snprintf(folder, size, "%s", mount);
}

/* The lesser of least and what every level from the own cgroup up to the mount leaves. */
static uint64_t hierarchy_leaves(const char *cgroups, const struct version *version, uint64_t least)
{
	char path[PATH_MAX], root[PATH_MAX], mount[PATH_MAX], folder[2 * PATH_MAX];
	char *slash;

	if (!own_path(cgroups, version, path) || !find_mount(version, root, mount))
		return least;
	join_folder(mount, root, path, folder, sizeof(folder));
	for (;;) {
		least = level_leaves(folder, version, least);
		slash = strrchr(folder, '/');
		if (slash == NULL || slash < folder + strlen(mount))
			return least;
		*slash = '\0';
	}
}

uint64_t ltz__sys_available_bytes(void)
{
	char text[8192];
	uint64_t least = NO_LIMIT;

	if (read_text("/proc/meminfo", text, sizeof(text))) {
		uint64_t available_kib = number_after(text, "MemAvailable:", NO_LIMIT / 1024);
		uint64_t total_kib = number_after(text, "MemTotal:", 0);

		least = less_margin(available_kib * 1024, total_kib * 1024);
	}
	if (read_text("/proc/self/cgroup", text, sizeof(text))) {
		least = hierarchy_leaves(text, &v1, least);
		least = hierarchy_leaves(text, &v2, least);
	}
	return least;
}
