/* SPDX-License-Identifier: MIT */
/* sweep.c - the loop over n and errors, and what is counted around each piece of work. See sweep.h. */
#include "sweep.h"

#include "../proc/proc.h"
#include "heap.h"

#define N_MAX 2000 /* more calls than any work here makes */

/* How calls fail. error 0: one of `varied`, another for each n. */
struct attack {
	int error;
	bool lasting; /* all calls from the n-th on */
};

static const struct attack attacks[] = { { ENOMEM, false }, { 0, false }, { ENOMEM, true } };
static const struct attack interruption = { EINTR, false }; /* of each call, once */
static const int varied[] = { EMFILE, EAGAIN, ENOSPC, EIO };

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- where we are, and what was wrong --------------------------------------------------- */

static const struct sweep *running;
static struct attack now;
static uint64_t now_n;
static bool failed;
static uint64_t runs;

void sweep_wrong(const char *format, ...)
{
	char what[400];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	failed = true;
	if (now_n == 0 || now.error == EINTR)
		test_fail(TEST_AT(TEST_EXPECT), "%s, %s, with %s: %s", running->function, running->state,
		          now.error == EINTR ? "each call interrupted" : "nothing failing", what);
	else
		test_fail(TEST_AT(TEST_EXPECT), "%s, %s, call %" PRIu64 "%s failing with %s: %s", running->function,
		          running->state, now_n, now.lasting ? " and all later ones" : "", strerrorname_np(now.error), what);
}

void sweep_expect(const char *what, int64_t is, int64_t wanted)
{
	if (is != wanted)
		sweep_wrong("%s is %" PRId64 ", not %" PRId64, what, is, wanted);
}

bool sweep_failed(void)
{
	return failed;
}

bool sweep_samples(void)
{
	return runs % 16 == 0;
}

/* ---- counting ------------------------------------------------------------------------------- */

/* Mappings of pools in this process. */
static unsigned count_mappings(void)
{
	static char text[1 << 18];
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	unsigned count = 0;
	ssize_t n;

	ASSERT_OK(fd);
	while (used < sizeof text - 1 && (n = read(fd, text + used, sizeof text - 1 - used)) > 0)
		used += (size_t)n;
	close(fd);
	text[used] = '\0';
	for (const char *at = text; (at = strstr(at, "memfd:latzero")) != NULL; at++)
		count++;
	return count;
}

struct holdings {
	int64_t pieces;
	unsigned descriptors, threads, mappings;
};

static struct holdings take_stock(void)
{
	return (struct holdings){ .descriptors = count_descriptors(), .threads = count_entries("/proc/self/task"),
		                  .mappings = count_mappings(), .pieces = heap_pieces() };
}

static void expect_same(const struct holdings *before)
{
	struct holdings after = take_stock();

	sweep_expect("the number of descriptors", after.descriptors, before->descriptors);
	sweep_expect("the number of threads", after.threads, before->threads);
	sweep_expect("the number of mappings", after.mappings, before->mappings);
	sweep_expect("the number of pieces of memory", after.pieces, before->pieces);
}

/* ---- how many failures each function has met ----------------------------------------------------- */

#define FUNCTIONS_MAX 64

static struct tally {
	const char *function;
	unsigned states;
	uint64_t failures;
} tallies[FUNCTIONS_MAX];

static struct tally *tally_of(const char *function)
{
	for (unsigned i = 0; i < FUNCTIONS_MAX; i++) {
		if (tallies[i].function == NULL)
			tallies[i].function = function;
		if (strcmp(tallies[i].function, function) == 0)
			return &tallies[i];
	}
	test_fail(TEST_AT(TEST_ASSERT), "more than %d functions", FUNCTIONS_MAX);
	return NULL;
}

void sweep_report(void)
{
	for (unsigned i = 0; i < FUNCTIONS_MAX && tallies[i].function != NULL; i++)
		printf("    %-20s %5" PRIu64 " failures in %u state%s\n", tallies[i].function, tallies[i].failures,
		       tallies[i].states, tallies[i].states == 1 ? "" : "s");
}

/* ---- the sweep --------------------------------------------------------------------------------------- */

/* The act with its n-th call failing. False: it did not make that many. */
static bool act_with(const struct sweep *sweep, uint64_t n, struct attack attack, int *result)
{
	if (attack.error == EINTR)
		ltz__fault_interrupt(sweep->scope);
	else if (attack.lasting)
		ltz__fault_set_calls_from(sweep->scope, n, attack.error);
	else
		ltz__fault_set_call(sweep->scope, n, attack.error);
	*result = sweep->act(sweep->scene);
	bool reached = (sweep->calls != NULL ? *sweep->calls : ltz__fault_calls(sweep->scope)) >= n;
	ltz__fault_set_call(sweep->scope, 0, 0);
	return reached;
}

/* One n, one error. False: the act does not make n calls. */
static bool run_once(const struct sweep *sweep, uint64_t n, struct attack attack)
{
	struct holdings before = take_stock();
	bool reached;
	int result;

	now = attack;
	now_n = n;
	runs++;
	sweep->before(sweep->scene);
	reached = act_with(sweep, n, attack, &result);
	if (!reached || attack.error == EINTR)
		sweep_expect("the result", result, sweep->expected);
	else if (result != sweep->expected && !result_is_documented(sweep->function, result, attack.error))
		sweep_wrong("the result is %d (%s), which latzero.h does not name", result, ltz_strerror(result));
	sweep->after(sweep->scene, result);
	expect_same(&before);
	return reached;
}

void sweep_run(const struct sweep *sweep)
{
	struct tally *tally = tally_of(sweep->function);
	unsigned lasting = sweep->scope == LTZ_FAULT_THREAD; /* a service thread that may never wait only spins */

	running = sweep;
	now = (struct attack){ 0, false };
	tally->states++;
	for (int i = 0; i < 2; i++) { /* what is made once and kept is there after the first */
		failed = false;
		now_n = 0;
		sweep->before(sweep->scene);
		int result = sweep->act(sweep->scene);
		sweep->after(sweep->scene, result);
		sweep_expect("the result", result, sweep->expected);
	}
	if (!failed)
		run_once(sweep, 1, interruption);
	for (size_t a = 0; a < COUNT(attacks) && !failed; a++) {
		struct attack attack = attacks[a];
		if (attack.lasting && !lasting)
			continue;
		for (uint64_t n = 1; !failed && (sweep->most == 0 || n <= sweep->most); n++) {
			if (attacks[a].error == 0)
				attack.error = varied[(n + test_seed()) % COUNT(varied)];
			if (!run_once(sweep, n, attack))
				break;
			tally->failures++;
			if (n == N_MAX)
				sweep_wrong("there is no end of calls");
		}
	}
	running = NULL;
}
