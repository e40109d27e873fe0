/* SPDX-License-Identifier: MIT */
/*
 * bucket.h - how often somebody may guess: a burst of 5, then 3 a second, for
 * all members of a pool together.
 *
 * The bucket is one word in the pool: the time at which it will be full again
 * (a "theoretical arrival time", as in the generic cell rate algorithm). A
 * token taken moves it later by a third of a second. There is nothing to hold,
 * so nothing to adopt: who dies between taking and giving back costs a third
 * of a second. Any value is a valid one: a time farther ahead than can be, and
 * than a member that was stopped in here may have seen of others, is taken for
 * "empty now", so garbage heals within four seconds.
 */
#ifndef LTZ_POOL_BUCKET_H
#define LTZ_POOL_BUCKET_H

#include <stdint.h>

#define LTZ_BUCKET_BURST 5u
#define LTZ_BUCKET_TOKEN_NS (1000000000ull / 3)

/* now_ns: the pool's clock. 0: taken. Else nothing was taken, and in so many ns there will be one. */
uint64_t ltz__bucket_take(uint64_t *word, uint64_t now_ns);
/* The last one taken is given back. */
void ltz__bucket_give_back(uint64_t *word);

#endif
