/* SPDX-License-Identifier: MIT */
/* report.c - what the storm says at its end, and what of the machine must be as before. See storm.h. */
#include "storm.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SHMEM_SLACK_KIB 4096
#define GONE_MAX_NS     (10 * SECOND_NS)

/* ---- what must be as before ------------------------------------------------------------------------ */

int64_t shmem_kib(void)
{
	FILE *file = fopen("/proc/meminfo", "r");
	char line[128];
	int64_t kib = -1;

	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (sscanf(line, "Shmem: %" SCNd64, &kib) == 1)
			break;
	if (file != NULL)
		fclose(file);
	return kib;
}

unsigned count_entries(const char *path)
{
	DIR *stream = opendir(path);
	unsigned count = 0;

	while (stream != NULL && readdir(stream) != NULL)
		count++;
	if (stream != NULL)
		closedir(stream);
	return count;
}

/* Does another process have a pool? Then Shmem is not ours alone to judge. */
static int stranger_with_pool(void)
{
	DIR *processes = opendir("/proc");
	int found = 0;

	for (struct dirent *entry; processes != NULL && found == 0 && (entry = readdir(processes)) != NULL;) {
		char path[300], line[512];
		int pid = atoi(entry->d_name);

		snprintf(path, sizeof path, "/proc/%d/maps", pid);
		FILE *maps = pid > 0 ? fopen(path, "r") : NULL;
		while (maps != NULL && found == 0 && fgets(line, sizeof line, maps) != NULL)
			if (strstr(line, "/memfd:") != NULL || strstr(line, "/dev/shm/") != NULL)
				found = pid;
		if (maps != NULL)
			fclose(maps);
	}
	if (processes != NULL)
		closedir(processes);
	return found;
}

void judge_machine(int64_t kib_before, unsigned entries_before, uint64_t *violations)
{
	uint64_t deadline_ns = now_ns() + GONE_MAX_NS;
	unsigned entries;
	bool left;
	int pid;

	for (;;) {
		int64_t kib = shmem_kib();

		entries = count_entries("/dev/shm");
		left = kib > kib_before + SHMEM_SLACK_KIB || entries > entries_before;
		if (left && now_ns() < deadline_ns) {
			nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL); /* tidy-ok: polls with a deadline */
			continue;
		}
		printf("Shmem %" PRId64 " KiB before, %" PRId64 " KiB after; /dev/shm %u entries before, %u after\n", kib_before, kib,
		       entries_before, entries);
		break;
	}
	if (left && (pid = stranger_with_pool()) != 0) {
		printf("skipped: what is left is not judged, as pid %d has shared memory too\n", pid);
	} else if (left) {
		printf("VIOLATION: shared memory is left\n");
		++*violations;
	}
}

/* ---- the report ----------------------------------------------------------------------------------------- */

static double latency_us(const struct latencies *latencies, unsigned per_myriad)
{
	uint64_t wanted = latencies->count * per_myriad / 10000, seen = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		unsigned power = i / 16;

		seen += latencies->bucket[i];
		if (seen > wanted)
			return (double)((UINT64_C(1) << power) + ((uint64_t)(i % 16 + 1) << (power - 4))) / 1000;
	}
	return (double)latencies->max_ns / 1000;
}

static void report_latencies(const struct latencies *latencies, const char *which)
{
	printf("get of <= 4 KiB by the survivor, %s, %" PRIu64 " times: p50 %.2f, p99 %.2f, p99.9 %.1f, p99.99 %.1f, max %.1f us\n", which,
	       latencies->count, latency_us(latencies, 5000), latency_us(latencies, 9900), latency_us(latencies, 9990),
	       latency_us(latencies, 9999), (double)latencies->max_ns / 1000);
}

uint64_t report(const struct shared *shared, const struct totals *total, double seconds, bool cores)
{
	uint64_t violations = peek(&shared->violations);

	printf("%.1f s, %" PRIu64 " slots: %" PRIu64 " operations, %" PRIu64 " scans, %" PRIu64 " checks (%" PRIu64 " blocks in hand)\n", seconds,
	       shared->slots, shared->operations, shared->scans, shared->checks, shared->explained);
	printf("%" PRIu64 " killed (SIGKILL), %" PRIu64 " crashed (SIGSEGV), %" PRIu64 " cores written, %" PRIu64 " stopped, %" PRIu64 " forked, "
	       "%" PRIu64 " joiners, %" PRIu64 " workers started\n",
	       total->kills, total->crashes, total->cores, total->stops, shared->forks, total->joiners, total->workers);
	printf("%" PRIu64 " operations left open by a death; %" PRIu64 " killed members, %" PRIu64 " recovered, the last %" PRIu64
	       " ms after the end\n", shared->unsettled, shared->kills, shared->recovered, shared->settle_ms);
	printf("keys: %" PRIu64 " expected, %" PRIu64 " counted; %" PRIu64 " index resizes\n", shared->count_expected, shared->count_found,
	       shared->resizes);
	report_latencies(&shared->all, "all");
	report_latencies(&shared->whole, "not preempted");
	printf("memory: peak %.1f MiB committed, %.1f MiB used; with only the survivor left %.1f MiB used for %.1f MiB of values; %" PRIu64 " ms after clear %.1f MiB committed, %.1f MiB used\n",
	       (double)shared->peak_committed / 1048576, (double)shared->peak_used / 1048576, (double)shared->full_used / 1048576,
	       (double)shared->live_bytes / 1048576, shared->after_ms,
	       (double)shared->after_committed / 1048576, (double)shared->after_used / 1048576);
	for (uint64_t i = 0; i < violations && i < LINES; i++)
		printf("VIOLATION: %s\n", shared->line[i]);
	if (violations > LINES)
		printf("VIOLATION: and %" PRIu64 " more\n", violations - LINES);
	if (cores && total->crashes > 0 && total->cores == 0) {
		printf("VIOLATION: no core was written\n");
		violations++;
	}
	return violations;
}
