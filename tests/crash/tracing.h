/* SPDX-License-Identifier: MIT */
/*
 * tracing.h - a victim process, brought to any instruction of a piece of work.
 *
 * The victim calls crash_begin() right before the work and crash_end() right
 * after it. A *step* is one instruction of latzero's own code (this program's
 * text); what the C library executes between two of them is an *excursion*,
 * and is part of the step that called it. Steps are numbered from 0; a point
 * (step, inside) stands before the instruction `step` has been executed, or,
 * inside > 0, so many instructions into the excursion that step begins.
 *
 * One victim is stepped through once and its steps recorded. All later ones do
 * the same work from the same state, so a recorded step is found again by a
 * breakpoint: a trap costs less than a single step, and one is enough.
 */
#ifndef LTZ_TEST_TRACING_H
#define LTZ_TEST_TRACING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "victims.h"

struct victim {
	pid_t pid;
	uint64_t rip; /* of the instruction it stands before */
	bool ended;   /* stands in crash_end: the work is done */
	bool broken;  /* a signal or an exit that nobody sent; see status */
	int status;   /* of waitpid */
};

/* Forks a child that runs body(context); it stands in crash_begin on return, or is broken. */
struct victim victim_start(void (*body)(void *context), void *context);
void victim_kill(struct victim *victim);
/* Lets it run to the end of the work: then ended, or broken. */
void victim_finish(struct victim *victim);
/* Lets it run until the end of the process. True: status 0. */
bool victim_exit(struct victim *victim);
/* Runs until it stands at this address. False: ended or broken before. */
bool victim_run_to(struct victim *victim, uint64_t address);

struct trace {
	uint64_t *rip;      /* of each step                                       */
	uint32_t *times;    /* how often this instruction was executed so far, 1 .. */
	uint16_t *inside;   /* instructions of the step's excursion, up to INSIDE_MOST */
	uint8_t *same;      /* memory is what it was at the step before           */
	uint32_t *from;     /* the step before it on the shortest way there ...   */
	uint8_t *by_trap;   /* ... and whether a trap leads from there, or a step */
	uint32_t steps;
};

#define STEPS_MOST  400000u
#define INSIDE_MOST 300u

/*
 * Steps the victim through to its end. changed(context) is asked before each
 * step whether the memory differs from the last time.
 */
void trace_record(struct trace *trace, struct victim *victim, bool (*changed)(void *context), void *context);
void trace_free(struct trace *trace);

/* Brings a fresh victim there. False: it did not come by (it is then somewhere else, ended or broken). */
bool trace_reach(const struct trace *trace, struct victim *victim, uint32_t step, uint32_t inside);

/* Runs a fresh victim to its end; how many steps of its own it took, at most `most`. */
uint32_t trace_count(struct victim *victim, uint32_t most);

/* "function file:line" of an instruction of this program, by addr2line. */
void trace_place(uint64_t rip, char *text, unsigned size);

#endif
