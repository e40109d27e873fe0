/* SPDX-License-Identifier: MIT */
/*
 * attachment.h - what is behind `struct ltz_mem`: the mapping, private geometry
 * and this member's lanes. Included by the shm and store floors only.
 *
 * Everything here is private memory. Bounds always come from here, never from
 * the pool: shared bytes are input.
 */
#ifndef LTZ_SHM_ATTACHMENT_H
#define LTZ_SHM_ATTACHMENT_H

#include "shm/format.h"
#include "shm/mem.h"

/* ---- size classes (slab.c) ------------------------------------------------- */

#define CLASSES_MAX 144u

struct ltz_class {
	uint64_t reciprocal;  /* ceil(2^32 / units): division by multiplying; 2^32 itself for 1 */
	uint32_t units;       /* block size / 32                              */
	uint32_t first_units; /* offset of block 0 / 32                       */
	uint16_t blocks;
	uint16_t granules;
	uint16_t words;       /* of each bitmap                               */
};

/* ---- a lane's extents -------------------------------------------------------- */

enum extent_state {
	EXTENT_NONE = 0, /* the entry is unused                                       */
	EXTENT_SLAB,
	EXTENT_RUN,
	EXTENT_TABLE,
	EXTENT_LEAVING,  /* is CLAIM, was ours: waits for a hazard scan                */
	EXTENT_UNKNOWN,  /* is CLAIM, history unknown (adopted): waits for a teardown  */
};

struct ltz_extent {
	uint32_t granule;
	uint32_t granules;
	uint16_t cls;       /* SLAB: class index, and whether it is for expiring records */
	uint8_t state;
	uint8_t listed;     /* is in its class' list of slabs with room, or was when it left */
	uint32_t next;      /* in that list, or in the list of unused entries; + 1, 0: last */
	uint32_t table_id;  /* TABLE */
	uint64_t dropped;   /* TABLE: a root gen, +1, that no longer has it; 0: in use or being made */
};

#define CLS_EXPIRING 0x100u
#define CLS_INDEX(c) ((c) & 0xffu)

struct ltz_cursor { /* where a lane allocates blocks of one class */
	uint64_t *alloc;     /* the current extent's alloc words, NULL: none */
	uint64_t free_mask;  /* free blocks of the current word              */
	uint32_t word;
	uint32_t behind;     /* a block of an earlier word came free          */
	uint32_t extent;     /* its index in the lane's extents, + 1; 0: none  */
	uint32_t room;       /* list of this class' slabs with room; index + 1 */
	uint64_t base_ref;   /* of its block 0                                */
};

struct ltz_lane {
	uint32_t busy;            /* private lock among this process' threads */
	uint32_t index;
	struct shm_lane *shm;
	uint64_t label;
	uint64_t th;              /* what shm->th holds */
	uint64_t resizing, resized; /* under that root this lane helped with buckets below resized */
	uint64_t spare_table, spare_line; /* a line claimed in that table (its gen of birth) but not linked */
	uint64_t next_version, end_version;
	uint32_t extents, extents_room; /* used and allocated entries */
	struct ltz_extent *extent;
	uint32_t reclaim_at;      /* where the next partial reclaim goes on  */
	uint32_t used;            /* taken by a caller since the last tidying */
	uint32_t unused;          /* list of unused entries; index + 1       */
	struct ltz_cursor *cursor; /* [2 * CLASSES_MAX] */
} __attribute__((aligned(64)));

/* What the store floor lends to this one: questions about the index. */
struct ltz_index_ops {
	/*
	 * Is the record in block ref (whose header and key lie within extent
	 * bounds) named by the index? true if some authoritative word named it
	 * during the whole call; must be false for garbage. th of lane is set.
	 * < 0: cannot be told now (treat as true).
	 */
	int (*refers)(struct ltz_mem *mem, struct ltz_lane *lane, uint64_t ref, uint64_t bytes);
	/* refers will be asked about this block soon: brings what it looks at near. */
	void (*expect)(const struct ltz_mem *mem, uint64_t ref, uint64_t bytes);
};

struct ltz_mem {
	/* hot: read by every call */
	uint8_t *space;             /* granule space                    */
	struct shm_header *header;
	uint64_t space_bytes;
	uint64_t units;             /* space_bytes / 32                 */
	uint64_t ref_mask;          /* bits of a slot word: block ref    */
	uint64_t tag_mask;          /* ... hash bits and the RECORD bit   */
	uint64_t seed;
	uint64_t *owners;
	struct shm_row *row;        /* this member's                    */
	uint32_t ref_bits;
	bool fences;                /* fence by ourselves, no membarrier */
	bool readonly;
	bool hidden_names;          /* records are kept under marks of their keys (store/seal.h) */
	int64_t clock_offset_ns;
	struct ltz_seal *seal;      /* the store floor's; NULL in an open pool */

	struct ltz_lane lane[SHM_LANES];

	/* cold */
	struct shm_row *rows;
	struct shm_members *members;
	struct shm_table_entry *directory;
	uint8_t *base;
	uint64_t map_bytes;
	uint8_t *members_map;       /* readonly members: members and rows, mapped writable */
	struct shm_geometry geometry;
	uint64_t granules;
	uint64_t owners_backed;     /* owner words known to have memory behind them */
	uint64_t generation;
	uint32_t row_index;
	int fd;                     /* carries the lock of the row */
	int share_fd;               /* without a lock: handed to joiners */
	uint32_t classes;
	struct ltz_class cls[CLASSES_MAX];
	uint8_t class_of_units[512];   /* for blocks up to 16 KiB: units -> class, rounded up */
	const struct ltz_index_ops *index;
	void (*ring)(void *context);
	void *ring_context;
	void *tick;                 /* the store floor's own state (tick.c) */
};

/* ---- addresses: the only way from a ref or a number to memory --------------------- */

LTZ_INLINE uint64_t granule_offset(uint64_t granule) { return granule << SHM_GRANULE_LOG2; }
LTZ_INLINE void *at_granule(const struct ltz_mem *mem, uint64_t granule) { return mem->space + granule_offset(granule); }
LTZ_INLINE uint64_t ref_granule(uint64_t ref) { return ref >> (SHM_GRANULE_LOG2 - SHM_UNIT_LOG2); }
/* Bytes from ref to the end of granule space; 0 for a ref outside of it. */
LTZ_INLINE uint64_t ref_room(const struct ltz_mem *mem, uint64_t ref)
{
	return ref < mem->units ? mem->space_bytes - (ref << SHM_UNIT_LOG2) : 0;
}
LTZ_INLINE struct shm_record *at_ref(const struct ltz_mem *mem, uint64_t ref)
{
	return (struct shm_record *)(mem->space + (ref << SHM_UNIT_LOG2));
}

/*
 * Between a hazard store and the re-read that validates it. With membarrier a
 * compiler barrier is enough: the scanner's ltz__sys_barrier is the full fence
 * on this processor. pairs with: shm/lane.c:ltz__hazards_read
 */
LTZ_INLINE void fence_hazard(const struct ltz_mem *mem)
{
	fence_compiler();
	if (unlikely(mem->fences))
		fence_full();
}

#endif
