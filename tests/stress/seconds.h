/* SPDX-License-Identifier: MIT */
/* seconds.h - how long and from which seed: LTZ_SECS, LTZ_SEED. The seed is printed first. */
#ifndef LTZ_TEST_SECONDS_H
#define LTZ_TEST_SECONDS_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "harness.h"

/* splitmix64: any number of sequences from one seed. */
static inline uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}
static inline uint64_t random_below(uint64_t *state, uint64_t limit) { return next_random(state) % limit; }

static inline uint64_t seed_of_run(void)
{
	const char *given = getenv("LTZ_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : test_seed();

	printf("LTZ_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

static inline uint64_t monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* When the run is to end: LTZ_SECS from now. */
static inline uint64_t end_of_run(unsigned usual_s)
{
	const char *given = getenv("LTZ_SECS");

	return monotonic_ms() + (given ? strtoull(given, NULL, 0) : usual_s) * 1000;
}

#endif
