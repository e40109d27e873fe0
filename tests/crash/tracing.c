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
	int status = victim->status;

	if (victim->broken && (WIFEXITED(status) || WIFSIGNALED(status)))
		return false;
	ptrace(PTRACE_CONT, victim->pid, 0, victim->broken && WIFSTOPPED(status) ? WSTOPSIG(status) : 0);
	while (waitpid(victim->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSTOPPED(status)) { /* a signal on the way out */
		victim_kill(victim);
		return false;
	}
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

/* How often each instruction was executed: open addressing by its address. */
#define COUNTS (1u << 16)
struct counts {
	uint64_t rip[COUNTS];
	uint32_t times[COUNTS];
};

static uint32_t count_one(struct counts *counts, uint64_t rip)
{
	uint32_t i = (uint32_t)(rip * 0x9e3779b97f4a7c15u >> 48) % COUNTS;

	while (counts->rip[i] && counts->rip[i] != rip)
		i = (i + 1) % COUNTS;
	counts->rip[i] = rip;
	return ++counts->times[i];
}

/* What reaching a step costs from each anchor, in single steps: a trap that is hit again costs two. */
static void choose_anchors(struct trace *trace)
{
	for (uint32_t i = 0; i < trace->steps; i++) {
		uint32_t best = i, cost = i; /* 0: single steps all the way */

		trace->anchor[i] = 0;
		for (uint32_t back = 0; back <= i && back < cost; back++) {
			uint32_t j = i - back, now = back + 2 * trace->times[j] - 1;

			if (now < cost) {
				cost = now;
				best = j;
				trace->anchor[i] = best;
			}
		}
	}
}

void trace_record(struct trace *trace, struct victim *victim, bool (*changed)(void *context), void *context)
{
	struct counts *counts = calloc(1, sizeof(*counts));
	uint32_t n = 0;

	*trace = (struct trace){
		.rip = calloc(STEPS_MOST, sizeof(*trace->rip)), .times = calloc(STEPS_MOST, sizeof(*trace->times)),
		.inside = calloc(STEPS_MOST, sizeof(*trace->inside)), .same = calloc(STEPS_MOST, 1),
		.anchor = calloc(STEPS_MOST, sizeof(*trace->anchor)),
	};
	while (!victim->ended && !victim->broken && n < STEPS_MOST) {
		trace->rip[n] = victim->rip;
		trace->times[n] = count_one(counts, victim->rip);
		if (trace->times[n] > OFTEN)
			trace->same[n] = !changed(context);
		trace->inside[n] = (uint16_t)step_own(victim, INSIDE_MOST);
		n++;
	}
	trace->steps = n;
	choose_anchors(trace);
	free(counts);
}

void trace_free(struct trace *trace)
{
	free(trace->rip);
	free(trace->times);
	free(trace->inside);
	free(trace->same);
	free(trace->anchor);
}

/* ---- going there --------------------------------------------------------------------------- */

static bool go_to_anchor(const struct trace *trace, struct victim *victim, uint32_t anchor)
{
	uint64_t rip = trace->rip[anchor];
	uint32_t hits = victim->rip == rip;

	while (hits < trace->times[anchor]) {
		if (victim->rip == rip)
			step_own(victim, 0);
		if (victim->broken || victim->ended)
			return false;
		if (victim->rip != rip && !run_to_trap(victim, rip))
			return false;
		hits++;
	}
	return true;
}

bool trace_reach(const struct trace *trace, struct victim *victim, uint32_t at, uint32_t inside)
{
	uint32_t i;

	if (at >= trace->steps) {
		victim_finish(victim);
		return victim->ended;
	}
	i = trace->anchor[at];
	if (i && !go_to_anchor(trace, victim, i))
		return false;
	for (; i < at && !victim->broken && !victim->ended; i++)
		step_own(victim, 0);
	if (victim->broken || victim->ended || victim->rip != trace->rip[at])
		return false;
	for (i = 0; i < inside && !victim->broken; i++)
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
