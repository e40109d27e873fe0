/* SPDX-License-Identifier: MIT */
/* tracing.c - ptrace: stepping, breakpoints, the record of a piece of work. x86-64. */
#include "tracing.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

/* This program's text, of the linker. */
extern const char __executable_start[], etext[];

__attribute__((noinline)) void crash_begin(void) { __asm__ __volatile__("int3" ::: "memory"); }
__attribute__((noinline)) void crash_end(void) { __asm__ __volatile__("int3" ::: "memory"); }

static bool is_own(uint64_t rip) { return rip >= (uint64_t)__executable_start && rip < (uint64_t)etext; }
/* crash_end has nothing but its trap: within a few bytes of its entry. */
static bool is_end(uint64_t rip) { return rip - (uint64_t)crash_end < 8; }

/* ---- the victim ------------------------------------------------------------------- */

static uint64_t peek_user(pid_t pid, size_t offset) { return (uint64_t)ptrace(PTRACE_PEEKUSER, pid, offset, 0); }
#define RIP offsetof(struct user_regs_struct, rip)
#define RSP offsetof(struct user_regs_struct, rsp)

/* After something that lets it run: waits until it stands again. */
static void await(struct victim *victim)
{
	while (waitpid(victim->pid, &victim->status, 0) < 0)
		if (errno != EINTR) {
			victim->broken = true;
			return;
		}
	if (!WIFSTOPPED(victim->status) || WSTOPSIG(victim->status) != SIGTRAP) {
		victim->broken = true;
		return;
	}
	victim->rip = peek_user(victim->pid, RIP);
	victim->ended = is_end(victim->rip);
}

struct victim victim_start(void (*body)(void *context), void *context)
{
	struct victim victim = { .pid = fork() };

	if (victim.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		body(context);
		_exit(0);
	}
	await(&victim);
	return victim;
}

void victim_kill(struct victim *victim)
{
	int status;

	kill(victim->pid, SIGKILL);
	while (waitpid(victim->pid, &status, 0) < 0 && errno == EINTR)
		;
}

void victim_finish(struct victim *victim)
{
	while (!victim->ended && !victim->broken) {
		ptrace(PTRACE_CONT, victim->pid, 0, 0);
		await(victim);
	}
}

bool victim_exit(struct victim *victim)
{
	int status = victim->status, signal = 0;

	if (victim->broken)
		return false;
	do { /* the trap of crash_end may still be before it */
		ptrace(PTRACE_CONT, victim->pid, 0, signal);
		while (waitpid(victim->pid, &status, 0) < 0 && errno == EINTR)
			;
		if (WIFSTOPPED(status) && WSTOPSIG(status) != SIGTRAP)
			signal = WSTOPSIG(status);
	} while (WIFSTOPPED(status));
	victim->status = status;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void step(struct victim *victim)
{
	ptrace(PTRACE_SINGLESTEP, victim->pid, 0, 0);
	await(victim);
}

/* ---- breakpoints -------------------------------------------------------------------- */

static uint64_t put_trap(struct victim *victim, uint64_t address)
{
	uint64_t word = (uint64_t)ptrace(PTRACE_PEEKTEXT, victim->pid, address, 0);

	ptrace(PTRACE_POKETEXT, victim->pid, address, (word & ~UINT64_C(0xff)) | 0xcc);
	return word;
}

/* Runs into the trap at address, and takes it out again. */
static bool run_to_trap(struct victim *victim, uint64_t address)
{
	uint64_t word = put_trap(victim, address);

	ptrace(PTRACE_CONT, victim->pid, 0, 0);
	await(victim);
	if (victim->broken)
		return false;
	ptrace(PTRACE_POKETEXT, victim->pid, address, word);
	if (victim->rip != address + 1)
		return false; /* the end came first */
	ptrace(PTRACE_POKEUSER, victim->pid, RIP, address);
	victim->rip = address;
	return true;
}

bool victim_run_to(struct victim *victim, uint64_t address)
{
	if (victim->ended || victim->broken)
		return false;
	return run_to_trap(victim, address);
}

bool crash_bury(void (*body)(void *context), void *context, struct last_step at)
{
	struct victim victim = victim_start(body, context);
	bool there = true;

	for (unsigned i = 0; i < at.calls && there; i++)
		there = victim_run_to(&victim, at.function);
	victim_kill(&victim);
	return there;
}

/* One step of its own code, with its excursion. Returns the excursion's length, at most `count`. */
static uint32_t step_own(struct victim *victim, uint32_t count)
{
	uint64_t back;
	uint32_t n = 0;

	step(victim);
	if (victim->broken || is_own(victim->rip))
		return 0;
	/* just called: the return address is on top */
	back = (uint64_t)ptrace(PTRACE_PEEKDATA, victim->pid, peek_user(victim->pid, RSP), 0);
	while (!victim->broken && !is_own(victim->rip) && n < count) {
		step(victim);
		n++;
	}
	if (!victim->broken && !is_own(victim->rip))
		run_to_trap(victim, back);
	return n;
}

/* ---- recording ------------------------------------------------------------------------- */

/* What is known of each instruction: open addressing by its address. */
#define COUNTS (1u << 16)
struct counts {
	uint64_t rip[COUNTS];
	uint32_t times[COUNTS];
	uint32_t last[COUNTS]; /* step + 1 of the last execution */
};

static uint32_t find_count(const struct counts *counts, uint64_t rip)
{
	uint32_t i = (uint32_t)(rip * 0x9e3779b97f4a7c15u >> 48) % COUNTS;

	while (counts->rip[i] && counts->rip[i] != rip)
		i = (i + 1) % COUNTS;
	return i;
}

/* The first entry of `stack` that is >= from: with the least cost of all steps from there on. */
static uint32_t cheapest(const uint32_t *stack, uint32_t n, uint32_t from)
{
	uint32_t low = 0, high = n - 1;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (stack[middle] < from)
			low = middle + 1;
		else
			high = middle;
	}
	return stack[low];
}

/*
 * The shortest way to each step: a single step from the one before, or a trap
 * from any step after this instruction's last execution.
 */
static void choose_ways(struct trace *trace)
{
	uint32_t *cost = calloc(trace->steps + 1, sizeof(*cost)), *stack = calloc(trace->steps + 1, sizeof(*stack));
	struct counts *counts = calloc(1, sizeof(*counts));
	uint32_t n = 0;

	for (uint32_t i = 0; i < trace->steps; i++) {
		uint32_t c = find_count(counts, trace->rip[i]);

		if (i > 0) {
			uint32_t from = i - 1;

			if (counts->last[c] < i) /* 0: never; last + 1: the step after it */
				from = cheapest(stack, n, counts->last[c]);
			trace->by_trap[i] = counts->last[c] < i && cost[from] < cost[i - 1];
			trace->from[i] = trace->by_trap[i] ? from : i - 1;
			cost[i] = cost[trace->from[i]] + 1;
		}
		counts->rip[c] = trace->rip[i];
		counts->last[c] = i + 1;
		while (n && cost[stack[n - 1]] >= cost[i])
			n--;
		stack[n++] = i;
	}
	free(cost);
	free(stack);
	free(counts);
}

void trace_record(struct trace *trace, struct victim *victim, bool (*changed)(void *context), void *context)
{
	struct counts *counts = calloc(1, sizeof(*counts));
	uint32_t n = 0;

	*trace = (struct trace){
		.rip = calloc(STEPS_MOST, sizeof(*trace->rip)), .times = calloc(STEPS_MOST, sizeof(*trace->times)),
		.inside = calloc(STEPS_MOST, sizeof(*trace->inside)), .same = calloc(STEPS_MOST, 1),
		.from = calloc(STEPS_MOST, sizeof(*trace->from)), .by_trap = calloc(STEPS_MOST, 1),
	};
	for (; !victim->ended && !victim->broken && n < STEPS_MOST; n++) {
		uint32_t c = find_count(counts, victim->rip);

		counts->rip[c] = victim->rip;
		trace->rip[n] = victim->rip;
		trace->times[n] = ++counts->times[c];
		trace->same[n] = !changed(context);
		trace->inside[n] = (uint16_t)step_own(victim, INSIDE_MOST);
	}
	trace->steps = n;
	choose_ways(trace);
	free(counts);
}

void trace_free(struct trace *trace)
{
	free(trace->rip);
	free(trace->times);
	free(trace->inside);
	free(trace->same);
	free(trace->from);
	free(trace->by_trap);
}

/* ---- going there --------------------------------------------------------------------------- */

/* Along the recorded way. False: somewhere it went another way. */
static bool go(const struct trace *trace, struct victim *victim, uint32_t at)
{
	uint32_t *way = malloc((at + 1) * sizeof(*way)), n = 0;
	bool there = way != NULL;

	for (uint32_t i = at; i && there; i = trace->from[i])
		way[n++] = i;
	while (n && there) {
		uint32_t i = way[--n];

		if (!trace->by_trap[i])
			step_own(victim, 0);
		else if (victim->rip != trace->rip[i])
			run_to_trap(victim, trace->rip[i]);
		there = !victim->broken && !victim->ended && victim->rip == trace->rip[i];
	}
	free(way);
	return there;
}

bool trace_reach(const struct trace *trace, struct victim *victim, uint32_t at, uint32_t inside)
{
	if (at >= trace->steps) {
		victim_finish(victim);
		return victim->ended;
	}
	if (!go(trace, victim, at))
		return false;
	for (uint32_t i = 0; i < inside && !victim->broken; i++)
		step(victim);
	return !victim->broken;
}

uint32_t trace_count(struct victim *victim, uint32_t most)
{
	uint32_t n = 0;

	for (; n < most && !victim->broken && !victim->ended; n++)
		step_own(victim, 0);
	return n;
}

void trace_place(uint64_t rip, char *text, unsigned size)
{
	char command[300], program[200], function[100] = "", line[300] = "";
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
	uint64_t offset = rip - (uint64_t)__executable_start;
	FILE *pipe;

	program[n > 0 ? n : 0] = '\0';
	if (!is_own(rip)) {
		snprintf(text, size, "the C library");
		return;
	}
	snprintf(command, sizeof(command), "addr2line -f -e %s 0x%llx 2>/dev/null", program, (unsigned long long)offset);
	pipe = popen(command, "r");
	if (pipe) {
		if (!fgets(function, sizeof(function), pipe) || !fgets(line, sizeof(line), pipe))
			snprintf(line, sizeof(line), "?");
		pclose(pipe);
	}
	function[strcspn(function, "\n")] = line[strcspn(line, "\n")] = '\0';
	snprintf(text, size, "%s %s", function, strstr(line, "/src/") ? strstr(line, "/src/") + 1 : line);
}
