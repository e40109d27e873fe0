/* SPDX-License-Identifier: MIT */
/*
 * test_crash.c - death, or a stop for ever, at every instruction.
 *
 *	test_crash [kill | stop | canaries]
 *
 * kill      each operation of operations.c is killed before each of its
 *           instructions; survivors must find the old or the new state, nothing
 *           else changed, and nothing left over.
 * stop      the same with a victim that only stands still: others do everything
 *           meanwhile, then it goes on.
 * canaries  (the build with broken rules) each broken rule must be found out.
 * nothing   kill and stop at points chosen at random, for about half a minute.
 *
 * Environment: SECS= limit of the whole (then a sample), SEED= of the hashes and of the choice,
 * OPS= only operations whose names contain one of these words (a,b,c),
 * CANARIES= likewise.
 *
 * Which points: every instruction of latzero's own code. Left out, but for one
 * in 64, are those executed more than 16 times before (twice in work of more
 * than 20,000 instructions) at which no word of the pool has changed since the
 * instruction before: the state left behind is one already tried. Inside of
 * what the C library executes (copies, system calls) one point is chosen, or
 * four if it changes the pool. Stops, but for those of the operations on one
 * key: wherever the pool changes, and 200 more.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/canary.h"
#include "points.h"

#define SAMPLE_SECS 26u
#define POINTS_LEAST 2u /* on however slow a machine */
#define LENGTHY     4u /* operations with the flag */
#define SAME_ONE_IN 64u
#define OFTEN       16u
#define SELDOM      2u
#define STOPS_MORE  200u /* beside those where the pool changes */
#define STEPS_LONG  20000u
#define INSIDE_FEW  4u

static struct board *board;
static struct {
	enum mode mode;
	bool sample, until_first;
	uint64_t limit_ns;
	const char *filter;
} run;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static uint64_t random_state;

static uint64_t random_number(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* ---- which points ----------------------------------------------------------------- */

static void add_point(struct course *course, uint32_t step, uint32_t inside)
{
	course->point[course->points++] = (struct point){ step, inside };
}

/* Does the excursion of this step change the pool? */
static bool touches(const struct trace *trace, uint32_t i) { return i + 1 >= trace->steps || !trace->same[i + 1]; }

/* Is this step worth a victim? */
static bool chosen(const struct course *course, uint32_t i)
{
	const struct trace *trace = &course->trace;

	if (run.sample)
		return trace->times[i] <= SELDOM;
	if (!trace->same[i])
		return true;
	if (run.mode == STOP && !course->op->every_stop)
		return random_number() % trace->steps < STOPS_MORE;
	return trace->times[i] <= (trace->steps > STEPS_LONG ? SELDOM : OFTEN) || random_number() % SAME_ONE_IN == 0;
}

static void choose_points(struct course *course)
{
	const struct trace *trace = &course->trace;

	course->point = malloc(((size_t)trace->steps * (1 + INSIDE_FEW) + 1) * sizeof(*course->point));
	course->points = 0;
	for (uint32_t i = 0; i < trace->steps; i++) {
		unsigned length = trace->inside[i];

		if (!chosen(course, i))
			continue;
		add_point(course, i, 0);
		for (unsigned k = 0; k < (touches(trace, i) ? INSIDE_FEW : 1) && k < length; k++)
			add_point(course, i, 1 + (unsigned)(random_number() % length));
	}
	add_point(course, trace->steps, 0);
	for (uint32_t i = course->points - 1; run.sample && i > 0; i--) {
		uint32_t k = (uint32_t)(random_number() % (i + 1));
		struct point other = course->point[k];

		course->point[k] = course->point[i];
		course->point[i] = other;
	}
}

/* ---- a worker ------------------------------------------------------------------------ */

#define STUCK_SECS 20 /* of processor time, at one point: somebody waits for the victim */

static void note_failure(const struct failure *failure)
{
	uint32_t i = __atomic_fetch_add(&board->noted, 1, __ATOMIC_RELAXED);

	__atomic_fetch_add(&board->failed, 1, __ATOMIC_RELAXED);
	if (i < FAILURES_KEPT)
		board->failure[i] = *failure;
}

static struct failure *here;

static void stuck(int signal)
{
	(void)signal;
	memcpy(here->why, "somebody runs without end", 26);
	note_failure(here);
	_exit(3);
}

static void work(struct course *course)
{
	struct itimerval limit = { .it_value = { .tv_sec = STUCK_SECS } };
	uint32_t i;

	here = &board->now[course->worker];
	signal(SIGPROF, stuck);
	while ((i = __atomic_fetch_add(&board->next, 1, __ATOMIC_RELAXED)) < course->points &&
	       (i < POINTS_LEAST || now_ns() < board->deadline_ns)) {
		bool lost = false, good;

		*here = (struct failure){ course->point[i].step, course->point[i].inside, "" };
		setitimer(ITIMER_PROF, &limit, NULL);
		good = run.mode == KILL ? point_kill(course, course->point[i], &lost, here->why, sizeof(here->why))
		                        : point_stop(course, course->point[i], &lost, here->why, sizeof(here->why));
		__atomic_fetch_add(&board->tried, 1, __ATOMIC_RELAXED);
		__atomic_fetch_add(&board->lost, lost, __ATOMIC_RELAXED);
		if (!good)
			note_failure(here);
		if (!good && run.until_first)
			board->next = course->points;
	}
	_exit(0);
}

/* Stopped members make check() wait: more workers than processors. */
static void share_out(struct course *course)
{
	unsigned n = run.mode == STOP ? WORKERS_MOST : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	pid_t pid[WORKERS_MOST];
	int status;

	n = n < 1 ? 1 : n > WORKERS_MOST ? WORKERS_MOST : n;
	fflush(NULL);
	for (unsigned w = 0; w < n; w++) {
		course->worker = w;
		pid[w] = fork();
		if (pid[w] == 0)
			work(course);
	}
	for (unsigned w = 0; w < n; w++) {
		waitpid(pid[w], &status, 0);
		if (status == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 3))
			continue;
		snprintf(board->now[w].why, sizeof(board->now[w].why), "the survivor ended with status 0x%x", status);
		note_failure(&board->now[w]);
	}
	course->worker = 0;
}

/* ---- what came of it ---------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
	const struct failure *x = a, *y = b;

	if (x->step != y->step)
		return x->step < y->step ? -1 : 1;
	return x->inside < y->inside ? -1 : x->inside > y->inside;
}

static void show_failures(const struct course *course)
{
	uint32_t n = board->noted < FAILURES_KEPT ? board->noted : FAILURES_KEPT, shown = 0;
	char place[500];

	qsort(board->failure, n, sizeof(board->failure[0]), by_place);
	for (uint32_t i = 0, next; i < n && shown < 12; i = next, shown++) {
		const struct failure *failure = &board->failure[i];

		for (next = i + 1; next < n && strcmp(board->failure[next].why, failure->why) == 0;)
			next++;
		trace_place(course->trace.rip[failure->step < course->trace.steps ? failure->step : course->trace.steps - 1],
		            place, sizeof(place));
		printf("    step %u+%u to %u (%u points), first before %s: %s\n", failure->step, failure->inside,
		       board->failure[next - 1].step, next - i, place, failure->why);
	}
}

static bool never(void *context)
{
	(void)context;
	return false;
}

static bool record(struct course *course)
{
	struct scene scene;
	struct victim victim;

	scene_open(&scene, course->op, &board->told[0]);
	victim = victim_start(scene_victim, &scene);
	trace_record(&course->trace, &victim, run.sample ? never : scene_changed, &scene);
	victim_kill(&victim);
	scene_close(&scene);
	return victim.ended;
}

static void print_line(const struct course *course, uint64_t begun)
{
	const char *name = course->op->name;
	uint32_t inside = 0;

	for (uint32_t i = 0; i < course->points && i < board->tried; i++)
		inside += course->point[i].inside > 0;
	printf("  %-15s %7u steps %7u of %7u points (%u in libc), %u lost, %u failed, %.1f s", name, course->trace.steps,
	       board->tried, course->points, inside, board->lost, board->failed, (double)(now_ns() - begun) / 1e9);
	if (board->unhindered)
		printf(", others' steps %u, at most %u", board->unhindered, board->most_steps);
	puts(run.sample && run.mode == STOP ? " (stopped)" : "");
	show_failures(course);
	fflush(stdout);
}

/* One operation, one line of the table. True: nothing was found. */
static bool try_recorded(struct course *course, enum mode mode, uint64_t until_ns)
{
	uint64_t begun = now_ns();
	char why[200];

	run.mode = mode;
	memset(board, 0, sizeof(*board));
	board->deadline_ns = until_ns;
	if (!point_none(course, mode == STOP && !run.sample, why, sizeof(why))) {
		printf("  %-15s FAILED, and nobody was %s: %s\n", course->op->name, mode == KILL ? "killed" : "stopped", why);
		return false;
	}
	choose_points(course);
	share_out(course);
	print_line(course, begun);
	free(course->point);
	return board->failed == 0 && board->tried > 0;
}

struct tally {
	unsigned passed, failed;
};

static void count_outcome(struct tally *tally, bool good) { ++*(good ? &tally->passed : &tally->failed); }

/* share_ns: how long it may take, recording included; 0: as long as it takes. */
static void try_operation(const struct operation *op, bool kill, bool stop, uint64_t share_ns, struct tally *tally)
{
	struct course course = { .op = op, .board = board };
	uint64_t until = share_ns ? now_ns() + share_ns : UINT64_MAX, least = SECOND_NS / 8, half;

	stop = stop && !op->kill_only;
	if (!record(&course)) {
		printf("  %-15s FAILED: no end after %u steps\n", op->name, course.trace.steps);
		tally->failed++;
	} else {
		half = share_ns && until > now_ns() ? (until - now_ns()) / (kill + stop ? kill + stop : 1) : 0;
		if (kill)
			count_outcome(tally, try_recorded(&course, KILL, share_ns ? now_ns() + half + least : until));
		if (stop)
			count_outcome(tally, try_recorded(&course, STOP, share_ns ? now_ns() + half + least : until));
	}
	trace_free(&course.trace);
}

static bool wanted(const char *name, const char *filter)
{
	char words[200], *rest = words, *word;

	if (!filter || !*filter)
		return true;
	snprintf(words, sizeof(words), "%s", filter);
	while ((word = strsep(&rest, ",")))
		if (*word && strstr(name, word))
			return true;
	return false;
}

/* Of the lengthy ones a sample has one. */
static bool is_due(unsigned i, bool kill)
{
	const struct operation *op = &operations[i];
	unsigned lengthy = 0;

	for (unsigned k = 0; k < i; k++)
		lengthy += operations[k].lengthy;
	return wanted(op->name, run.filter) && (kill || !op->kill_only) &&
	       !(run.sample && !run.filter && op->lengthy && lengthy != crash_seed % LENGTHY);
}

static void try_all(bool kill, bool stop, uint64_t limit_ns, struct tally *tally)
{
	uint64_t begun = now_ns();
	unsigned left = 0;

	for (unsigned i = 0; i < operation_count; i++)
		left += is_due(i, kill);
	for (unsigned i = 0; i < operation_count; i++) {
		uint64_t now = now_ns(), share = 0;

		if (!is_due(i, kill))
			continue;
		if (limit_ns) /* equal shares of what is left */
			share = begun + limit_ns > now ? (begun + limit_ns - now) / left : 1;
		left--;
		try_operation(&operations[i], kill, stop, share, tally);
	}
	if (run.sample && !run.filter)
		printf("  left out of a sample: %u of the lengthy operations\n", LENGTHY - 1);
}

/* ---- canaries --------------------------------------------------------------------------------- */

#ifdef LTZ_CANARY
unsigned ltz__canary;

static const struct {
	const char *what;
	unsigned canary;
	enum mode mode;
	const char *filter;
} canaries[] = {
	{ "the intent has no version", CANARY_NO_INTENT, KILL, "replace,delete" },
	{ "alloc bit cleared before the retired bit", CANARY_BITS_SWAPPED, KILL, "reclaim" },
	{ "no hazard is stored", CANARY_NO_HAZARD, KILL, "replace,delete" },
	{ "the hazard ends before the retirement", CANARY_HAZARD_SHORT, KILL, "replace,delete" },
	{ "death without proof", CANARY_NO_PROOF, STOP, "insert,replace" },
	{ "the row released before the work is done", CANARY_ROW_EARLY, KILL, "adopt" },
	{ "an adopted extent is not swept", CANARY_NO_SWEEP, KILL, "insert" },
	{ "a run's head goes before its parts", CANARY_HEAD_FIRST, KILL, "reclaim" },
	{ "a torn down granule is not punched", CANARY_NO_PUNCH, KILL, "first block" },
	{ "others' inserts are not helped", CANARY_NO_HELP, STOP, "insert" },
	{ "slots are copied without freezing", CANARY_NO_FREEZE, STOP, "replace" },
};

static void try_canaries(struct tally *tally)
{
	run.until_first = true;
	for (unsigned i = 0; i < sizeof(canaries) / sizeof(canaries[0]); i++) {
		struct tally found = { 0, 0 };

		if (!wanted(canaries[i].what, getenv("CANARIES")))
			continue;
		printf("canary: %s\n", canaries[i].what);
		ltz__canary = canaries[i].canary;
		for (unsigned k = 0; k < operation_count && !found.failed; k++)
			if (wanted(operations[k].name, canaries[i].filter))
				try_operation(&operations[k], canaries[i].mode == KILL, canaries[i].mode == STOP, 0, &found);
		printf("  %s\n", found.failed ? "caught" : "NOT CAUGHT");
		count_outcome(tally, found.failed > 0);
	}
}
#else
static void try_canaries(struct tally *tally)
{
	puts("this build has no canaries");
	tally->failed++;
}
#endif

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "", *secs = getenv("SECS"), *seed = getenv("SEED");
	bool kill = strcmp(mode, "stop") != 0, stop = strcmp(mode, "kill") != 0;
	uint64_t limit_ns = secs && *secs ? strtoull(secs, NULL, 0) * SECOND_NS : 0;
	struct tally tally = { 0, 0 };

	crash_seed = seed && *seed ? strtoull(seed, NULL, 0) : now_ns() >> 10 & 0xffffff;
	random_state = crash_seed;
	run.filter = getenv("OPS");
	printf("test_crash %s (SEED=%llu)\n", mode, (unsigned long long)crash_seed);
	board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (board == MAP_FAILED)
		return 2;
	if (!*mode && !limit_ns)
		limit_ns = SAMPLE_SECS * SECOND_NS;
	run.sample = limit_ns > 0;
	if (strcmp(mode, "canaries") == 0) {
		run.sample = false;
		try_canaries(&tally);
	} else {
		try_all(kill, stop, limit_ns, &tally);
	}
	printf("%u passed, %u failed\n", tally.passed, tally.failed);
	return tally.failed > 0 || tally.passed == 0;
}
