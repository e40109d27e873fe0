/* SPDX-License-Identifier: MIT */
/*
 * storm.c - many workers on one pool, killed, stopped and forked at random,
 * and an oracle that knows what must be there. See storm.h.
 *
 *     storm [-s SECONDS] [-r SEED] [-w SLOTS] [-c CANARY]
 *
 * Prints its seed first, then a report, and a line for each violation; the
 * exit status is 0 if there was none. A canary is a lie that the storm must
 * notice: value, forget, count, undelete, leak.
 *
 * This is the conductor. It forks all processes, is no member of the pool, and
 * is the subreaper, so that it learns of the end of forked workers too.
 */
#include "storm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
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

#ifdef __SANITIZE_ADDRESS__
/*
 * A leak check at exit makes a helper that shares the worker's descriptors.
 * If the worker is killed meanwhile the helper lives on and holds the lock of
 * its row, so the member counts as alive: right, but not what is tried here.
 */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}
#endif

#ifdef __SANITIZE_THREAD__
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "die_after_fork=0:report_thread_leaks=0"; /* a child has no threads to join */
}
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
/* Of the leak checker's helper process, whose parent was killed meanwhile. */
#define STATUS_LEAK_TRACER 4

#define EVENT_NS      (8 * MS_NS) /* mean time between two events */
#define JOINERS       6u
#define KNOWN_MAX     256u
#define STUCK_NS      (30 * SECOND_NS)
#define JUDGE_MAX_NS  (120 * SECOND_NS)

enum role { ROLE_WORKER, ROLE_JOINER, ROLE_FORKED };

/* A process that we started, or that we sent a signal. */
struct known {
	pid_t pid; /* 0: free */
	enum role role;
	uint64_t incarnation;
	bool killed, crashed, stopped;
	uint64_t continue_ns;
};

static struct site site;
static struct shared *shared;
static struct known known[KNOWN_MAX];
static pid_t survivor;
static int survivor_status = -1;
static bool stopping;
static uint64_t random_state;
static struct totals total;
static struct { uint64_t progress, since_ns; } watch[SLOTS_MAX];

static uint64_t draw_below(uint64_t limit)
{
	return (random_state = mix(random_state)) % limit;
}

/* Orphans that we do not know end by themselves, as nobody renews the beat. */
static _Noreturn void give_up(const char *what)
{
	printf("storm: %s: %s\n", what, strerror(errno));
	for (unsigned i = 0; i < KNOWN_MAX; i++)
		if (known[i].pid > 0)
			kill(known[i].pid, SIGKILL);
	if (survivor > 0)
		kill(survivor, SIGKILL);
	exit(2);
}

/* ---- processes --------------------------------------------------------------------- */

static struct known *find(pid_t pid)
{
	for (unsigned i = 0; i < KNOWN_MAX; i++)
		if (known[i].pid == pid)
			return &known[i];
	return NULL;
}

static struct known *remember(pid_t pid, enum role role, uint64_t incarnation)
{
	struct known *one = find(pid);

	if (one == NULL)
		one = find(0);
	if (one == NULL)
		give_up("too many processes");
	if (one->pid == 0)
		*one = (struct known){ .pid = pid, .role = role, .incarnation = incarnation };
	return one;
}

/* In a child: as any program is started, and with core files where they are wanted. */
static void become_ordinary(void)
{
	struct rlimit core = { 0, 0 };
	sigset_t none;

	if (site.cores)
		core = (struct rlimit){ RLIM_INFINITY, RLIM_INFINITY };
	setrlimit(RLIMIT_CORE, &core);
	setpriority(PRIO_PROCESS, 0, 0);
	signal(SIGSEGV, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static pid_t start(void)
{
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		give_up("fork");
	if (pid == 0)
		become_ordinary();
	return pid;
}

/* The owner word may be set by either side first, but only once. */
static void own(unsigned slot, uint64_t was, uint64_t now)
{
	__atomic_compare_exchange_n(&shared->slot[slot].owner, &was, now, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static void start_worker(unsigned slot)
{
	uint64_t incarnation = next_incarnation(shared), was = peek(&shared->slot[slot].owner);
	pid_t pid = start();

	if (pid == 0) {
		own(slot, was, owner_word(getpid(), incarnation));
		exit(run_worker(&site, slot, incarnation));
	}
	own(slot, was, owner_word(pid, incarnation));
	remember(pid, ROLE_WORKER, incarnation);
	watch[slot].since_ns = now_ns();
	total.workers++;
}

static void start_joiner(void)
{
	uint64_t incarnation = next_incarnation(shared);
	pid_t pid = start();

	if (pid == 0)
		exit(run_joiner(&site, incarnation));
	remember(pid, ROLE_JOINER, incarnation);
	total.joiners++;
}

static void start_survivor(void)
{
	uint64_t incarnation = next_incarnation(shared), deadline_ns = now_ns() + STUCK_NS;

	survivor = start();
	if (survivor == 0)
		exit(run_survivor(&site, incarnation));
	while (!peek(&shared->survivor_ready) && !peek(&shared->violations) && now_ns() < deadline_ns)
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL); /* tidy-ok: polls with a deadline */
	if (!peek(&shared->survivor_ready))
		violation(shared, "the survivor made no pool");
}

/* ---- deaths ---------------------------------------------------------------------------- */

static void remove_names(void)
{
	DIR *names = opendir("names");

	for (struct dirent *entry; names != NULL && (entry = readdir(names)) != NULL;)
		unlinkat(dirfd(names), entry->d_name, 0);
	if (names != NULL)
		closedir(names);
}

/* Removes the core; one that nobody asked for goes to /tmp, for whoever looks into it. */
static void take_core(pid_t unexpected)
{
	DIR *here = opendir(".");
	struct stat status;
	char kept[64];

	for (struct dirent *entry; here != NULL && (entry = readdir(here)) != NULL;) {
		if (strncmp(entry->d_name, "core", 4) != 0)
			continue;
		if (stat(entry->d_name, &status) == 0 && status.st_size > 0)
			total.cores++;
		snprintf(kept, sizeof kept, "/tmp/latzero-storm-core.%d", unexpected);
		if (unexpected && rename(entry->d_name, kept) == 0)
			violation(shared, "its core is %s", kept);
		unlink(entry->d_name);
	}
	if (here != NULL)
		closedir(here);
}

/* A process that owned a slot goes on to the end; one that forked leaves. After a violation everybody leaves. */
static bool ended_as_told(const struct known *one, int slot, int status)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == STATUS_FORKED)
		return true;
	if (SANITIZED && one == NULL && WIFEXITED(status) && WEXITSTATUS(status) == STATUS_LEAK_TRACER)
		return true;
	if (WIFEXITED(status))
		return (WEXITSTATUS(status) == 0 && (slot < 0 || stopping)) || peek(&shared->violations) != 0;
	if (WTERMSIG(status) == SIGKILL)
		return one == NULL || one->killed || one->role != ROLE_JOINER; /* a worker that forked kills itself */
	return WTERMSIG(status) == SIGSEGV && one != NULL && one->crashed;
}

/* Which slot has lost its owner; the claim keeps a child that it forked out. */
static int bereft_slot(pid_t pid, uint64_t *incarnation)
{
	for (unsigned s = 0; s < shared->slots; s++) {
		uint64_t owner = peek(&shared->slot[s].owner);

		if (owner_pid(owner) != pid)
			continue;
		*incarnation = (uint32_t)owner;
		if (__atomic_compare_exchange_n(&shared->slot[s].owner, &owner, owner_word(0, *incarnation), false, __ATOMIC_SEQ_CST,
		                                __ATOMIC_SEQ_CST))
			return (int)s;
	}
	return -1;
}

static void bury(pid_t pid, int status)
{
	struct known *one = find(pid);
	uint64_t incarnation = one ? one->incarnation : 0;
	int slot = bereft_slot(pid, &incarnation);

	if (pid == survivor) {
		survivor_status = status;
		return;
	}
	bool as_told = ended_as_told(one, slot, status);
	if (!as_told)
		violation(shared, "pid %d, incarnation %" PRIu64 ", slot %d ended with status 0x%x that nobody asked for (doing %" PRIx64 ")",
		          pid, incarnation, slot, (unsigned)status, slot >= 0 ? peek(&shared->slot[slot].doing) : 0);
	if (WIFSIGNALED(status)) {
		const struct incarnation *life = &shared->incarnation[incarnation];

		total.kills += WTERMSIG(status) == SIGKILL;
		total.crashes += WTERMSIG(status) == SIGSEGV;
		if (incarnation != 0 && life->joined && !life->left)
			shared->kills++;
		if (WCOREDUMP(status))
			take_core(as_told ? 0 : pid);
	}
	if (one != NULL)
		one->pid = 0;
	if (slot >= 0 && !stopping)
		start_worker((unsigned)slot);
}

static void bury_all(void)
{
	int status;

	for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
		bury(pid, status);
}

/* ---- events -------------------------------------------------------------------------------- */

/* The process that owns the slot now; it may be one that a worker forked. */
static struct known *owner_of(unsigned slot)
{
	uint64_t owner = peek(&shared->slot[slot].owner);

	return owner_pid(owner) ? remember(owner_pid(owner), ROLE_FORKED, (uint32_t)owner) : NULL;
}

static struct known *some_joiner(void)
{
	unsigned from = (unsigned)draw_below(KNOWN_MAX);

	for (unsigned i = 0; i < KNOWN_MAX; i++) {
		struct known *one = &known[(from + i) % KNOWN_MAX];

		if (one->pid && one->role == ROLE_JOINER)
			return one;
	}
	return NULL;
}

static unsigned count_joiners(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < KNOWN_MAX; i++)
		count += known[i].pid && known[i].role == ROLE_JOINER;
	return count;
}

static void send(struct known *one, int signal_number)
{
	if (one == NULL)
		return;
	one->killed |= signal_number == SIGKILL;
	one->crashed |= signal_number == SIGSEGV;
	kill(one->pid, signal_number); /* it is ours until we bury it, so it is nobody else's pid */
}

static void stop(struct known *one)
{
	uint64_t h = draw_below(100), most_ms = h < 70 ? 30 : h < 95 ? 300 : 2000;

	if (one == NULL || one->stopped)
		return;
	one->stopped = true;
	one->continue_ns = now_ns() + draw_below(most_ms * MS_NS);
	kill(one->pid, SIGSTOP);
	total.stops++;
}

static void continue_until(uint64_t until_ns)
{
	for (unsigned i = 0; i < KNOWN_MAX; i++)
		if (known[i].pid && known[i].stopped && known[i].continue_ns <= until_ns) {
			known[i].stopped = false;
			kill(known[i].pid, SIGCONT);
		}
}

static void cause_event(void)
{
	unsigned h = (unsigned)draw_below(100), slot = (unsigned)draw_below(shared->slots);

	if (h < 30)
		send(owner_of(slot), SIGKILL);
	else if (h < 38)
		send(owner_of(slot), SANITIZED ? SIGKILL : SIGSEGV);
	else if (h < 62)
		stop(owner_of(slot));
	else if (h < 78)
		put(&shared->slot[slot].fork_now, 1);
	else if (h < 92 && count_joiners() < JOINERS)
		start_joiner();
	else if (h < 96)
		send(some_joiner(), SIGKILL);
	else
		stop(some_joiner());
}

/* Nobody waits for the dead or the stopped: whoever runs gets on. */
static void watch_progress(uint64_t now)
{
	static uint64_t survivor_seen, survivor_since_ns;
	uint64_t progress = peek(&shared->survivor_progress);

	for (unsigned s = 0; s < shared->slots; s++) {
		const struct known *owner = find(owner_pid(peek(&shared->slot[s].owner)));
		uint64_t seen = peek(&shared->slot[s].progress);

		if (seen != watch[s].progress || (owner != NULL && owner->stopped)) {
			watch[s].progress = seen;
			watch[s].since_ns = now;
		} else if (now > watch[s].since_ns + STUCK_NS) {
			violation(shared, "slot %u, pid %d: no progress for 30 s (doing %" PRIx64 ")", s,
			          owner_pid(peek(&shared->slot[s].owner)), peek(&shared->slot[s].doing));
			watch[s].since_ns = now;
		}
	}
	if (progress != survivor_seen || survivor_since_ns == 0) {
		survivor_seen = progress;
		survivor_since_ns = now;
	} else if (now > survivor_since_ns + STUCK_NS) {
		violation(shared, "the survivor, pid %d, makes no progress for 30 s", survivor);
		survivor_since_ns = now;
	}
}

/* Until then, or until a child ends. */
static void await_child(uint64_t until_ns)
{
	uint64_t now = now_ns(), wait_ns = until_ns > now ? until_ns - now : 0;
	sigset_t child;

	if (wait_ns > 5 * MS_NS)
		wait_ns = 5 * MS_NS; /* somebody may have to be continued */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigtimedwait(&child, NULL, &(struct timespec){ .tv_nsec = (long)wait_ns });
}

static void conduct(uint64_t end_ns)
{
	uint64_t event_ns = now_ns();

	for (uint64_t now = event_ns; now < end_ns && !peek(&shared->violations); now = now_ns()) {
		put(&shared->beat_ns, now);
		bury_all();
		continue_until(now);
		if (now >= event_ns) {
			cause_event();
			event_ns = now + draw_below(2 * EVENT_NS);
		}
		watch_progress(now);
		await_child(event_ns);
	}
}

/* ---- the end ----------------------------------------------------------------------------------- */

static bool anybody_left(void)
{
	for (unsigned s = 0; s < shared->slots; s++)
		if (owner_pid(peek(&shared->slot[s].owner)))
			return true;
	for (unsigned i = 0; i < KNOWN_MAX; i++)
		if (known[i].pid)
			return true;
	return false;
}

/* All but the survivor: those that are told to leave may still be ones that we do not know yet. */
static void gather(void)
{
	uint64_t deadline_ns = now_ns() + STUCK_NS;

	stopping = true;
	put(&shared->stop, 1);
	while (anybody_left() && now_ns() < deadline_ns) {
		put(&shared->beat_ns, now_ns());
		continue_until(UINT64_MAX);
		await_child(UINT64_MAX);
		bury_all();
	}
	for (unsigned s = 0; s < shared->slots; s++)
		if (owner_pid(peek(&shared->slot[s].owner))) {
			violation(shared, "slot %u does not end (doing %" PRIx64 ")", s, peek(&shared->slot[s].doing));
			kill(owner_pid(peek(&shared->slot[s].owner)), SIGKILL);
		}
	/* A forked worker's parent lingers for 100 ms at most. */
	for (uint64_t until_ns = now_ns() + 200 * MS_NS; now_ns() < until_ns;) {
		await_child(until_ns);
		bury_all();
	}
	put(&shared->workers_gone, 1);
}

static void await_survivor(void)
{
	uint64_t deadline_ns = now_ns() + JUDGE_MAX_NS;

	while (survivor_status < 0 && now_ns() < deadline_ns) {
		put(&shared->beat_ns, now_ns());
		await_child(UINT64_MAX);
		bury_all();
	}
	if (survivor_status < 0) {
		violation(shared, "the survivor does not come to an end");
		kill(survivor, SIGKILL);
	} else if (survivor_status != 0 && !peek(&shared->violations)) {
		violation(shared, "the survivor ended with status 0x%x", (unsigned)survivor_status);
	}
}

/* ---- setting up --------------------------------------------------------------------------------------------- */

/* NULL if a crash writes a core into the working directory; otherwise why not. */
static const char *why_no_cores(void)
{
	static char pattern[200];
	FILE *file = fopen("/proc/sys/kernel/core_pattern", "r");
	struct rlimit limit;

	if (file == NULL || fgets(pattern, sizeof pattern, file) == NULL)
		return "core_pattern cannot be read";
	fclose(file);
	if (pattern[0] == '|' || strchr(pattern, '/') != NULL || strncmp(pattern, "core", 4) != 0)
		return "core_pattern leads elsewhere";
	if (getrlimit(RLIMIT_CORE, &limit) < 0 || limit.rlim_max != RLIM_INFINITY)
		return "the hard limit of core files is not unlimited";
	return NULL;
}

static enum canary canary_named(const char *name)
{
	static const char *const names[] = { "", "value", "forget", "count", "undelete", "leak" };

	for (unsigned i = 1; i < sizeof names / sizeof *names; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum canary)i;
	give_up("no such canary");
}

struct wishes {
	uint64_t seconds, seed, slots;
	enum canary canary;
};

static struct wishes read_arguments(int argc, char **argv)
{
	struct wishes wishes = { .seconds = 60, .slots = 12 };
	int option;

	wishes.seed = (now_ns() << 16) ^ (uint64_t)getpid();
	while ((option = getopt(argc, argv, "s:r:w:c:")) != -1) {
		if (option == 's')
			wishes.seconds = strtoull(optarg, NULL, 0);
		else if (option == 'r' && *optarg)
			wishes.seed = strtoull(optarg, NULL, 0);
		else if (option == 'w')
			wishes.slots = strtoull(optarg, NULL, 0);
		else if (option == 'c')
			wishes.canary = canary_named(optarg);
		else if (option == '?')
			exit(2);
	}
	if (wishes.slots < 1 || wishes.slots > SLOTS_MAX)
		exit(2);
	return wishes;
}

static void set_up(const struct wishes *wishes)
{
	const char *why = why_no_cores();
	sigset_t child;

	random_state = mix(wishes->seed);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (shared == MAP_FAILED)
		give_up("mmap");
	madvise(shared, sizeof *shared, MADV_DONTDUMP);
	shared->seed = wishes->seed;
	shared->slots = wishes->slots;
	shared->canary = wishes->canary;
	shared->incarnations = 1; /* 0 is nobody */
	shared->beat_ns = now_ns();
	site = (struct site){ .shared = shared, .dir = "names", .cores = why == NULL && !SANITIZED };
	if (SANITIZED)
		printf("skipped: SIGKILL instead of SIGSEGV, which a sanitizer would report\n");
	else if (why != NULL)
		printf("skipped: SIGSEGV without cores: %s\n", why);
	for (unsigned s = 0; s < SLOTS_MAX; s++)
		for (unsigned key = 0; key < KEYS; key++)
			for (unsigned i = 0; i < 2; i++) {
				shared->slot[s].entry[key].state[i].gone_from_ns = NEVER;
				shared->slot[s].entry[key].state[i].gone_by_ns = NEVER;
			}
	setpriority(PRIO_PROCESS, 0, -10); /* if we may: so that events come in time */
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &child, NULL) < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		give_up("subreaper");
}

int main(int argc, char **argv)
{
	struct wishes wishes = read_arguments(argc, argv);
	char scratch[] = "/tmp/latzero-storm-XXXXXX";
	int64_t kib_before = shmem_kib();
	unsigned entries_before = count_entries("/dev/shm");

	printf("storm SEED=%" PRIu64 " SECS=%" PRIu64 "\n", wishes.seed, wishes.seconds);
	fflush(stdout);
	if (mkdtemp(scratch) == NULL || chdir(scratch) < 0 || mkdir("names", 0700) < 0)
		give_up(scratch);
	set_up(&wishes);
	uint64_t begin_ns = now_ns();
	start_survivor();
	for (unsigned s = 0; s < wishes.slots; s++)
		start_worker(s);
	conduct(begin_ns + wishes.seconds * SECOND_NS);
	gather();
	double seconds = (double)(now_ns() - begin_ns) / 1e9;
	await_survivor();
	take_core(0);
	uint64_t violations = report(shared, &total, seconds, site.cores);
	munmap(shared, sizeof *shared);
	if (violations)
		remove_names(); /* the last member may have been one that ended without a word */
	if (rmdir("names") < 0) {
		printf("VIOLATION: the rendezvous directory: %s\n", strerror(errno));
		violations++;
	}
	if (chdir("/") < 0 || rmdir(scratch) < 0)
		printf("%s is left: %s\n", scratch, strerror(errno));
	judge_machine(kib_before, entries_before, &violations);
	printf("verdict: %s (SEED=%" PRIu64 ")\n", violations ? "VIOLATED" : "held", wishes.seed);
	return violations != 0;
}
