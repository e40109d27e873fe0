/* SPDX-License-Identifier: MIT */
/*
 * slab.h - blocks: allocated by a lane from its own extents, retired by
 * anybody, reclaimed by the owner.
 *
 *   free --alloc--> private --publish--> live --retire--> retired --reclaim--> free
 *
 * alloc bit: written by the owning lane only. retired bit: set by whoever
 * unlinked the block (holding a hazard on it), cleared by the owning lane
 * after a scan of hazards. retired implies allocated, always.
 */
#ifndef LTZ_SHM_SLAB_H
#define LTZ_SHM_SLAB_H

#include "shm/attachment.h"
#include "shm/lane.h"

/* Fills mem->cls; pure arithmetic, the same in every member. */
void ltz__classes_init(struct ltz_mem *mem);
/* The class for a block of so many units, or mem->classes: a run. */
unsigned ltz__class_of(const struct ltz_mem *mem, uint64_t units);

struct ltz_block {
	uint64_t ref;
	uint64_t bytes; /* its whole size */
};

/*
 * ALLOC steps 1 to 3: a private block of at least `bytes`, version 0, its
 * alloc bit set; uninitialised otherwise. expiring: from extents that the
 * expiry sweep visits. -ENOSPC.
 */
int ltz__block_alloc(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t bytes, bool expiring, struct ltz_block *block);

/* A block that was never published: alloc bit <- 0. */
void ltz__block_free(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t ref);

/* Sets the retired bit of a block just unlinked under a valid hazard. Garbage refs change nothing. */
void ltz__block_retire(struct ltz_mem *mem, uint64_t ref);

/* Where a ref lies, checked against its owner word. */
struct ltz_place {
	uint64_t head;        /* granule */
	uint64_t owner;       /* the head's word as read */
	uint64_t *alloc, *retired; /* the words that hold its bits */
	uint64_t bit;
	uint64_t bytes;       /* of the block */
	struct shm_extent *extent;
};
/* 0, or -EUCLEAN: ref is no block boundary of a SLAB or RUN. */
int ltz__block_place(const struct ltz_mem *mem, uint64_t ref, struct ltz_place *place);

/* The shape of an extent by its owner word; 0, or -EUCLEAN for words that cannot be. */
struct ltz_shape {
	uint64_t first_ref;
	uint32_t units;    /* of a block; 0 for a run (one block to the end) */
	uint32_t blocks, words, granules;
	uint64_t bytes;    /* of a block */
};
int ltz__extent_shape(const struct ltz_mem *mem, uint64_t head, uint64_t owner, struct ltz_shape *shape);

/* Remembers an extent as this lane's (made by it, or adopted). Returns its index, or -ENOMEM. */
int ltz__extent_add(struct ltz_lane *lane, const struct ltz_extent *extent);
/* Makes room for one more, so that the next add cannot fail. -ENOMEM. */
int ltz__extent_reserve(struct ltz_lane *lane);
void ltz__extent_forget(struct ltz_lane *lane, uint32_t index);
/* Puts a SLAB that has free blocks into its class' list of slabs with room. */
void ltz__extent_list(struct ltz_lane *lane, uint32_t index);
/* Current slabs become ordinary ones: an idle lane's may then be given back. */
void ltz__lane_drop_cursors(struct ltz_lane *lane);

/*
 * No granule is to be had: gives back what this process does not need, in all
 * its lanes that are not in use. lane is the caller's own.
 */
void ltz__process_reclaim(struct ltz_mem *mem, struct ltz_lane *lane);

/* How a reclaim weighs its cost. */
enum reclaim_mode {
	RECLAIM_CHEAP, /* nothing is done for a handful of blocks; one empty slab a class is kept */
	RECLAIM_IDLE,  /* everything that can be given back is; current slabs too                  */
};

/*
 * RECLAIM and RELEASE over this lane's slabs and runs: at most `most` of them,
 * going on where the last call stopped. Returns how many blocks came free.
 */
uint64_t ltz__lane_reclaim(struct ltz_mem *mem, struct ltz_lane *lane, uint32_t most, enum reclaim_mode mode);

#endif
