/* SPDX-License-Identifier: MIT */
/*
 * victims.h - what scenes need of the program that kills: tracing.c, which
 * kills at an instruction, or named.c, which kills at a crash point.
 */
#ifndef LTZ_TEST_VICTIMS_H
#define LTZ_TEST_VICTIMS_H

#include <stdbool.h>
#include <stdint.h>

/* A victim calls them right before its work and right after it. */
void crash_begin(void);
void crash_end(void);

/* Where a member dies before the victim comes: in one program's words and in the other's. */
struct last_step {
	uint64_t function; /* before this one's calls-th call */
	unsigned calls;
	const char *point; /* at its first hit                */
};

/* A child runs body(context), which calls crash_begin(), and dies there. False: it did not come there. */
bool crash_bury(void (*body)(void *context), void *context, struct last_step at);

#endif
