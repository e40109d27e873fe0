/* SPDX-License-Identifier: MIT */
/*
 * granule.h - owner words: taking and giving 64 KiB granules; memory from and
 * to the system.
 *
 * Every function changes owner words by compare-and-swap only and can be cut
 * short by death at any point: what is then left is a CLAIM with the dead
 * member's label, which adoption tears down (shm/adopt.h).
 */
#ifndef LTZ_SHM_GRANULE_H
#define LTZ_SHM_GRANULE_H

#include "shm/attachment.h"

LTZ_INLINE uint64_t owner_load(const struct ltz_mem *mem, uint64_t granule)
{
	return load_acquire(&mem->owners[granule]);
}
LTZ_INLINE bool owner_cas(const struct ltz_mem *mem, uint64_t granule, uint64_t from, uint64_t to)
{
	return cas_seq_cst(&mem->owners[granule], from, to);
}

/* Granules below it may be other than VIRGIN. */
uint64_t ltz__granules_high(const struct ltz_mem *mem);

/* Is more than three quarters of the pool in use? By hints. Lanes then keep nothing that they do not need. */
LTZ_INLINE bool granules_scarce(const struct ltz_mem *mem)
{
	uint64_t committed = load_relaxed(&mem->header->committed_hint), free_now = load_relaxed(&mem->header->free_hint);

	return (int64_t)(committed - free_now) > (int64_t)(mem->granules / 4 * 3);
}

/*
 * Takes n granules side by side: CLAIM EXTENT steps 1 and 2. The head's word
 * is then CLAIM(label, n). Commits memory if need be. Returns the head's
 * number, or -ENOSPC.
 */
int64_t ltz__granules_claim(struct ltz_mem *mem, struct ltz_lane *lane, unsigned n);

/* CLAIM -> kind: the extent's header is valid from here on. low: class or n. */
void ltz__granules_form(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, unsigned n,
                        enum owner_kind kind, unsigned low);

/* RELEASE EXTENT steps 3 and 4, after the scan: parts, then the head (CLAIM) become FREE. */
void ltz__granules_release(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, unsigned n);

/*
 * TEARDOWN steps 2 to 4, after the scan: parts of it become FREE, the head is
 * punched and VIRGIN. false: it could not be punched and is a CLAIM still.
 */
bool ltz__granules_teardown(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, unsigned n);

/*
 * Shortens an extent of the lane from n to keep granules: its last parts
 * become FREE, then its head's word says so.
 */
void ltz__granules_cut(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t head, unsigned n, unsigned keep, enum owner_kind kind);

/*
 * Commits up to `want` VIRGIN granules, at least `least` of them side by side;
 * they become FREE. Returns how many, or -ENOSPC.
 */
int64_t ltz__granules_commit(struct ltz_mem *mem, struct ltz_lane *lane, unsigned least, unsigned want);

/* About how many granules members are committing just now: FREE soon. */
uint64_t ltz__granules_coming(const struct ltz_mem *mem);

/*
 * Gives back FREE granules that have been free for age_ns, highest first,
 * at most `most`. Returns how many.
 */
uint64_t ltz__granules_punch(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t age_ns, uint64_t most);

/*
 * Gives back memory behind VIRGIN granules: pages that a reader, stopped since
 * before they were punched, touched once more. Returns how many granules.
 */
uint64_t ltz__granules_repunch(struct ltz_mem *mem, struct ltz_lane *lane);

struct ltz_granule_counts {
	uint64_t free, claimed, slab, run, table; /* parts count with their head's kind */
	uint64_t virgin;                           /* below granules_high                */
};
/* Walks the owner words. */
void ltz__granules_count(const struct ltz_mem *mem, struct ltz_granule_counts *counts);
/* Corrects the header's hints from a walk. */
void ltz__granules_correct_hints(struct ltz_mem *mem, const struct ltz_granule_counts *counts);

#endif
