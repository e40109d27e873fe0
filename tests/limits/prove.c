/* SPDX-License-Identifier: MIT */
/* prove.c - see prove.h. */
#include "prove.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct {
	bool quick;
	unsigned passed, failed, skipped;
	uint64_t seed;
	pid_t owner; /* of the directory */
	char dir[32];
} run;

/* ---- the program ---------------------------------------------------------------------- */

static void remove_directory(void)
{
	static const char *const sockets[] = { "limits.sock" };
	char path[64];

	if (run.owner != getpid())
		return;
	for (unsigned i = 0; i < sizeof sockets / sizeof *sockets; i++) {
		snprintf(path, sizeof path, "%s/%s", run.dir, sockets[i]);
		unlink(path);
	}
	rmdir(run.dir);
}

static void make_directory(void)
{
	snprintf(run.dir, sizeof run.dir, "/tmp/ltz-limits-XXXXXX");
	NEED(mkdtemp(run.dir) != NULL);
	run.owner = getpid();
	setenv("LATZERO_DIR", run.dir, 1);
	atexit(remove_directory);
}

/* Pools hold descriptors: as many as we may have. */
static void raise_limits(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

void prove_begin(int argc, char **argv, const char *title)
{
	int option;

	run.seed = now_ns();
	while ((option = getopt(argc, argv, "qr:")) != -1) {
		if (option == 'q') {
			run.quick = true;
		} else if (option == 'r') {
			run.seed = strtoull(optarg, NULL, 0);
		} else {
			fprintf(stderr, "usage: %s [-q] [-r SEED]\n", argv[0]);
			exit(2);
		}
	}
	raise_limits();
	make_directory();
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("-- %s (seed %" PRIu64 ")\n", title, run.seed);
}

bool prove_quick(void) { return run.quick; }

int prove_end(void)
{
	if (run.skipped)
		printf("%u skipped\n", run.skipped);
	printf("%u passed, %u failed\n", run.passed, run.failed);
	return run.failed != 0;
}

void prove_need(bool holds, const char *text, const char *file, int line)
{
	if (holds)
		return;
	printf("  %s:%d: not so: %s (errno %d)\n", file, line, text, errno);
	if (run.owner == getpid()) {
		run.failed++;
		prove_end();
	}
	exit(1);
}

int prove_need_ok(int result, const char *text, const char *file, int line)
{
	if (result < 0)
		printf("  %s: %s %s\n", text, ltz_strerror(result), ltz_error_detail());
	prove_need(result >= 0, text, file, line);
	return result;
}

/* ---- the table --------------------------------------------------------------------------- */

/* Three digits that count. */
static const char *figure(char *text, size_t size, double value, const char *unit)
{
	int decimals = value >= 99.95 || value == (double)(int64_t)value ? 0 : value >= 9.995 ? 1 : value >= 0.9995 ? 2 : 3;

	snprintf(text, size, "%.*f%s%s", decimals, value, *unit ? " " : "", unit);
	return text;
}

static void print_row(const char *format, va_list arguments, const char *measured, const char *bound, const char *met)
{
	char what[96];

	vsnprintf(what, sizeof what, format, arguments);
	printf("  %-66s %14s  %-16s %s\n", what, measured, bound, met);
}

static const char *judge(enum judged judged, bool met)
{
	if (judged == SPEED && run.quick)
		return met ? "yes" : "not judged";
	run.passed += met;
	run.failed += !met;
	return met ? "yes" : "NO";
}

void row_at_most(enum judged judged, double measured, double bound, const char *unit, const char *format, ...)
{
	char is[48], most[48] = "<= ";
	va_list arguments;

	figure(most + 3, sizeof most - 3, bound, unit);
	va_start(arguments, format);
	print_row(format, arguments, figure(is, sizeof is, measured, unit), most, judge(judged, measured <= bound));
	va_end(arguments);
}

void row_at_least(enum judged judged, double measured, double bound, const char *unit, const char *format, ...)
{
	char is[48], least[48] = ">= ";
	va_list arguments;

	figure(least + 3, sizeof least - 3, bound, unit);
	va_start(arguments, format);
	print_row(format, arguments, figure(is, sizeof is, measured, unit), least, judge(judged, measured >= bound));
	va_end(arguments);
}

void row_equal(uint64_t measured, uint64_t expected, const char *format, ...)
{
	char is[24], wanted[24];
	va_list arguments;

	snprintf(is, sizeof is, "%" PRIu64, measured);
	snprintf(wanted, sizeof wanted, "= %" PRIu64, expected);
	va_start(arguments, format);
	print_row(format, arguments, is, wanted, judge(SOUND, measured == expected));
	va_end(arguments);
}

void row_shown(double measured, const char *unit, const char *format, ...)
{
	char is[48];
	va_list arguments;

	va_start(arguments, format);
	print_row(format, arguments, figure(is, sizeof is, measured, unit), "", "");
	va_end(arguments);
}

void row_skipped(const char *why, const char *format, ...)
{
	va_list arguments;

	run.skipped++;
	va_start(arguments, format);
	print_row(format, arguments, "skipped", why, "");
	va_end(arguments);
}

/* ---- time and chance ------------------------------------------------------------------------ */

uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

void pause_ns(uint64_t ns)
{
	const struct timespec time = { .tv_sec = (time_t)(ns / SECOND_NS), .tv_nsec = (long)(ns % SECOND_NS) };

	nanosleep(&time, NULL); /* tidy-ok: polling, and the time over which something is measured */
}

uint64_t random_next(void) /* splitmix64 */
{
	static uint64_t state;
	static pid_t of;

	if (of != getpid()) {
		of = getpid();
		state = run.seed + (uint64_t)of * UINT64_C(0xd1342543de82ef95);
	}
	uint64_t z = state += UINT64_C(0x9e3779b97f4a7c15);
	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

uint64_t random_below(uint64_t limit) { return random_next() % limit; }

void spread_note(struct spread *spread, uint64_t ns)
{
	unsigned power = 63 - (unsigned)__builtin_clzll(ns | SPREAD_STEPS);
	uint64_t step = (ns >> (power - 5)) % SPREAD_STEPS;

	if (ns < SPREAD_STEPS)
		power = 0, step = ns;
	spread->bucket[power * SPREAD_STEPS + step]++;
	spread->count++;
	if (ns > spread->max_ns)
		spread->max_ns = ns;
}

double spread_us(const struct spread *spread, double quantile)
{
	uint64_t wanted = (uint64_t)(quantile * (double)spread->count), seen = 0;

	for (unsigned i = 0; i < 64 * SPREAD_STEPS; i++) {
		unsigned power = i / SPREAD_STEPS;
		uint64_t step = i % SPREAD_STEPS;

		seen += spread->bucket[i];
		if (seen > wanted) /* the upper end of its step */
			return (double)(power < 5 ? step : ((SPREAD_STEPS + step + 1) << (power - 5))) / 1000;
	}
	return (double)spread->max_ns / 1000;
}

/* ---- processes --------------------------------------------------------------------------------- */

void *share(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	NEED(memory != MAP_FAILED);
	return memory;
}

pid_t spawn(void (*body)(void *context), void *context)
{
	pid_t parent = getpid(), child;

	fflush(stdout);
	child = fork();
	NEED(child >= 0);
	if (child > 0)
		return child;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	body(context);
	exit(0);
}

uint64_t slay(pid_t child)
{
	int status;

	NEED(kill(child, SIGKILL) == 0);
	NEED(waitpid(child, &status, 0) == child);
	NEED(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return now_ns();
}

bool ended_well(pid_t child)
{
	int status;

	NEED(waitpid(child, &status, 0) == child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

unsigned cpus(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

void pin_to_cpu(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	NEED(sched_setaffinity(0, sizeof set, &set) == 0);
}

uint64_t cpu_ns(pid_t pid)
{
	struct timespec used;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
		return 0;
	return (uint64_t)used.tv_sec * SECOND_NS + (uint64_t)used.tv_nsec;
}

void gate_init(struct gate *gate) { NEED(pipe(gate->ends) == 0); }

void gate_open(struct gate *gate)
{
	char go = 1;

	NEED(write(gate->ends[1], &go, 1) == 1);
}

void gate_wait(struct gate *gate)
{
	struct pollfd door = { .fd = gate->ends[0], .events = POLLIN };

	/* Nobody reads, so nobody who is killed here takes the news away. */
	while (poll(&door, 1, -1) != 1)
		;
}

/* ---- pools ------------------------------------------------------------------------------------------ */

ltz_pool *pool_create(uint64_t max_size_bytes)
{
	const struct ltz_open_options options = { .max_size_bytes = max_size_bytes, .timeout_ms = 60000 };
	ltz_pool *pool = NULL;

	NEED_OK(ltz_create("limits", &options, &pool));
	return pool;
}

ltz_pool *pool_connect(void)
{
	const struct ltz_open_options options = { .timeout_ms = 60000 };
	ltz_pool *pool = NULL;

	NEED_OK(ltz_connect("limits", &options, &pool));
	return pool;
}

static ltz_key key_of(const uint64_t *number)
{
	return (ltz_key){ .data = number, .size = sizeof *number, .type = LTZ_KEY_INT };
}

int put_for(ltz_pool *pool, uint64_t number, const void *data, uint64_t size, uint64_t ttl_ms)
{
	const ltz_key key = key_of(&number);
	const ltz_value value = { .data = data, .size = size, .type = LTZ_BYTES };
	const struct ltz_set_options options = { .ttl_ms = ttl_ms };

	return ltz_set(pool, &key, &value, &options, NULL);
}

int put(ltz_pool *pool, uint64_t number, const void *data, uint64_t size)
{
	const ltz_key key = key_of(&number);
	const ltz_value value = { .data = data, .size = size, .type = LTZ_BYTES };

	return ltz_set(pool, &key, &value, NULL, NULL);
}

int fetch(ltz_pool *pool, uint64_t number, void *buf, size_t capacity, ltz_item *item)
{
	const ltz_key key = key_of(&number);

	return ltz_get(pool, &key, buf, capacity, item);
}

int drop(ltz_pool *pool, uint64_t number)
{
	const ltz_key key = key_of(&number);

	return ltz_delete(pool, &key, 0);
}

uint64_t key_count(ltz_pool *pool)
{
	uint64_t count = 0;

	NEED_OK(ltz_count(pool, &count));
	return count;
}

struct ltz_stats pool_stats(ltz_pool *pool)
{
	struct ltz_stats stats;

	NEED_OK(ltz_get_stats(pool, &stats));
	return stats;
}

static int count_member(void *context, const struct ltz_member_info *info)
{
	(void)info;
	++*(unsigned *)context;
	return 0;
}

unsigned member_count(ltz_pool *pool)
{
	unsigned count = 0;

	NEED_OK(ltz_members(pool, count_member, &count));
	return count;
}

static void print_finding(void *context, const char *line)
{
	uint64_t *count = context;

	if (++*count <= 5)
		printf("  check: %s\n", line);
}

uint64_t findings(ltz_pool *pool)
{
	uint64_t count = 0;

	NEED_OK(ltz_check(pool, print_finding, &count));
	return count;
}

/* ---- memory as the kernel counts it ------------------------------------------------------------------- */

int pool_memfd(ltz_pool *pool)
{
	int fds[LTZ_EXPORT_FDS];

	NEED_OK(ltz_export(pool, fds));
	close(fds[1]);
	return fds[0];
}

uint64_t backed_bytes(ltz_pool *pool)
{
	struct stat status;
	int memfd = pool_memfd(pool);

	NEED(fstat(memfd, &status) == 0);
	close(memfd);
	return (uint64_t)status.st_blocks * 512;
}

/* The sum of a field's lines, which are in kB. */
static uint64_t sum_of_field(const char *path, const char *field)
{
	FILE *file = fopen(path, "re");
	char line[256];
	uint64_t kib, sum = 0;

	while (file != NULL && fgets(line, sizeof line, file) != NULL)
		if (strncmp(line, field, strlen(field)) == 0 && sscanf(line + strlen(field), ": %" SCNu64, &kib) == 1)
			sum += kib;
	if (file != NULL)
		fclose(file);
	return sum * KIB;
}

uint64_t status_bytes(pid_t pid, const char *field)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/status", pid ? pid : getpid());
	return sum_of_field(path, field);
}

uint64_t private_bytes(void)
{
	return sum_of_field("/proc/self/smaps_rollup", "Private_Clean") + sum_of_field("/proc/self/smaps_rollup", "Private_Dirty");
}
