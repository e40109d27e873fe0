/* SPDX-License-Identifier: MIT */
/*
 * format.h - every structure that lies in the pool.
 *
 *   offset 0    struct shm_header       geometry, root word, counters
 *   4 KiB       shm_table_entry[2048]   directory of index tables
 *   124 KiB     shm_members              one page
 *   128 KiB     shm_row[4096]           one per member; touched up to rows_high
 *   8.125 MiB   uint64_t[granules]      owner words, one per 64 KiB granule
 *   64 KiB-aligned: granule space       extents: slabs, runs, tables
 *
 * The file is sparse: what no member ever needed is not there. All words are
 * 64 bits in the machine's order (both supported machines are little endian).
 * Beside each field: who writes it / under which guard / who reads it.
 *
 * A *ref* names a block: its offset in granule space divided by 32. 0 is none
 * (the first granule begins with an extent header, never with a block).
 */
#ifndef LTZ_SHM_FORMAT_H
#define LTZ_SHM_FORMAT_H

#include "base/atomic.h"

#define SHM_MAGIC   UINT64_C(0x6f72657a74616c01) /* "\1latzero" */
#define SHM_VERSION 1u

#define SHM_UNIT_LOG2    5u
#define SHM_GRANULE_LOG2 16u
#define SHM_GRANULE      (UINT64_C(1) << SHM_GRANULE_LOG2)
#define SHM_ROWS         4096u
#define SHM_LANES        16u /* per row; lane 0 is the service thread's */
#define SHM_VIEWS        64u /* per row */
#define SHM_TABLES       2048u
#define SHM_RUN_MAX      ((1u << 17) - 1) /* granules of one extent: what a label's length bits hold */

/* ---- header -------------------------------------------------------------------- */

enum shm_pool_flags {
	SHM_FENCES = 1u << 31, /* members fence by themselves: this kernel has no membarrier */
};

struct shm_geometry { /* written once by the maker before anybody joins; readers copy it to private memory and check it */
	uint64_t magic;
	uint32_t version;
	uint32_t flags; /* latzero.h's open flags | enum shm_pool_flags */
	uint64_t file_bytes;
	uint64_t rows_offset, owners_offset, space_offset;
	uint64_t granules;
	uint64_t seed;       /* of the key hash */
	uint8_t id[16];
	int64_t created_ms;  /* Unix time */
	uint64_t max_bytes;  /* of data */
	uint32_t table_log2; /* the smallest index table */
	uint32_t reserved;
	uint64_t time_namespace; /* of the maker: whose boottime is the pool's clock */
	uint64_t created_ns;     /* created_ms by the pool's clock */
	char name[104];      /* NUL-terminated; for people */
};

struct shm_header {
	struct shm_geometry geometry;
	uint8_t pad0[512 - sizeof(struct shm_geometry)];

	/* one line: read by every call, written by a resize or destroy (compare-and-swap) */
	uint64_t root;
	uint8_t pad1[56];

	/* one line: written by all writers now and then (fetch_add) */
	uint64_t next_version; /* first of the next batch */
	uint8_t pad2[56];

	/* one line: housekeeping */
	uint64_t janitor;      /* lease {row 12, generation 28, time 24}: a hint who sweeps */
	uint64_t recovered;    /* dead members settled (fetch_add by the winner of the row's release) */
	uint64_t resizes;      /* fetch_add by the winner of a resize's end */
	uint64_t expired;      /* fetch_add by sweeps */
	uint64_t resizer;      /* lease, as janitor: a hint who is about to begin a resize */
	uint8_t pad3[24];

	/* one line: granules; all three are hints, corrected by the janitor */
	uint64_t granules_high; /* granules below it may be other than VIRGIN; only raised */
	uint64_t free_hint;     /* about how many granules are FREE */
	uint64_t virgin_low;    /* granules below it are probably not VIRGIN */
	uint64_t free_low;      /* granules below it are probably not FREE */
	uint64_t committed_hint; /* about how many granules are not VIRGIN */
	uint8_t pad4[24];
};
static_assert(sizeof(struct shm_geometry) <= 512, "geometry fits its half KiB");
static_assert(sizeof(struct shm_header) == 512 + 4 * 64, "the header's lines");
static_assert(offsetof(struct shm_header, root) % 64 == 0, "root has a line of its own");

/* ---- root word: {cur id 11, cur log2 5, prev id 11, prev log2 5, gen 32} ---------- */

/* Table id 0 is none. A root whose cur is none: 0 before the first table, else a destroyed pool. */
#define ROOT_DESTROYED (UINT64_C(0xffffffff) << 32)

LTZ_INLINE uint64_t root_make(unsigned cur, unsigned cur_log2, unsigned prev, unsigned prev_log2, uint32_t gen)
{
	return (uint64_t)gen << 32 | (uint64_t)prev_log2 << 27 | (uint64_t)prev << 16 | cur_log2 << 11 | cur;
}
LTZ_INLINE unsigned root_cur(uint64_t r) { return r & 0x7ff; }
LTZ_INLINE unsigned root_cur_log2(uint64_t r) { return r >> 11 & 31; }
LTZ_INLINE unsigned root_prev(uint64_t r) { return r >> 16 & 0x7ff; }
LTZ_INLINE unsigned root_prev_log2(uint64_t r) { return r >> 27 & 31; }
LTZ_INLINE uint32_t root_gen(uint64_t r) { return r >> 32; }

/* ---- labels and owner words -------------------------------------------------------- */

/* Label: row 12 | lane 4 | generation 28, kept in its place in the word: bits 20..63. */
#define LABEL_SHIFT 20u
#define LABEL_MASK  (~UINT64_C(0) << LABEL_SHIFT)
#define GENERATION_MAX ((UINT64_C(1) << 28) - 1)

LTZ_INLINE uint64_t label_make(unsigned row, unsigned lane, uint64_t generation)
{
	return generation << 36 | (uint64_t)row << 24 | (uint64_t)lane << LABEL_SHIFT;
}
LTZ_INLINE unsigned label_row(uint64_t w) { return w >> 24 & 0xfff; }
LTZ_INLINE unsigned label_lane(uint64_t w) { return w >> LABEL_SHIFT & 0xf; }
LTZ_INLINE uint64_t label_generation(uint64_t w) { return w >> 36; }

/*
 * Owner word of a granule; changed only by compare-and-swap of the whole word.
 * Who holds the label in CLAIM, SLAB, RUN or TABLE is the only one to change
 * the extent's words; FREE and VIRGIN belong to whoever swaps first.
 */
enum owner_kind {
	OWNER_VIRGIN = 0, /* no memory behind it; the whole word is 0                     */
	OWNER_FREE   = 1, /* memory with meaningless contents; since when (64 ms units)    */
	OWNER_CLAIM  = 2, /* label, granules: exclusive, contents and backing meaningless  */
	OWNER_PART   = 3, /* belongs to the extent whose head granule it names             */
	OWNER_SLAB   = 4, /* label, class: blocks of one size; the header is valid         */
	OWNER_RUN    = 5, /* label, granules: one block                                    */
	OWNER_TABLE  = 6, /* label, granules: an index table with its lines                */
};

LTZ_INLINE unsigned owner_kind(uint64_t w) { return w & 7; }
LTZ_INLINE unsigned owner_low(uint64_t w) { return w >> 3 & 0x1ffff; } /* class or granules */
LTZ_INLINE uint64_t owner_make(enum owner_kind kind, uint64_t label, unsigned low) { return label | (uint64_t)low << 3 | kind; }
LTZ_INLINE uint64_t owner_free(uint64_t now_ns) { return (now_ns >> 26) << 3 | OWNER_FREE; }
LTZ_INLINE uint64_t owner_part(uint64_t head) { return head << 3 | OWNER_PART; }
LTZ_INLINE uint64_t owner_part_head(uint64_t w) { return w >> 3; }
LTZ_INLINE bool owner_labelled(uint64_t w)
{
	unsigned kind = owner_kind(w);
	return kind == OWNER_CLAIM || kind == OWNER_SLAB || kind == OWNER_RUN || kind == OWNER_TABLE;
}

/* ---- directory of tables ---------------------------------------------------------------- */

/*
 * Claimed by compare-and-swap of claim, 0 -> label | 1, and released, -> 0, by
 * the owner of the table's extent, or by an adopter if there is none.
 */
struct shm_table_entry {
	uint64_t claim;   /* see above / compare-and-swap / claimers, adopters, check                */
	uint64_t place;   /* head granule + 1, or 0; the claimer / before the table is in the root / all */
	uint64_t born;    /* gen of the root that makes it cur; the claimer / likewise / hazard scans  */
	uint64_t pad;
};
static_assert(sizeof(struct shm_table_entry) == 32, "two to a line");
#define SHM_DIRECTORY_OFFSET 4096u

/* ---- members ---------------------------------------------------------------------------- */

/* In a page of its own before the rows, so that read-only members can map it writable with them. */
struct shm_members {
	uint64_t rows_high; /* rows below it may be up; only raised (compare-and-swap) */
	uint64_t up_hint;   /* about how many are up; whoever looks at all rows; says how seldom idle members need to look up */
	uint64_t pad[6];
	uint64_t guesses;   /* a time: see pool/bucket.h; members that serve joins / compare-and-swap / likewise */
};
#define SHM_MEMBERS_OFFSET (131072u - 4096u)

struct shm_lane { /* one line; written by its lane's user only, read by every scanner */
	uint64_t hw; /* writer's hazard and intent: a ref                         */
	uint64_t vw; /* the intent's version                                      */
	uint64_t hr; /* recovery hazard: a ref                                    */
	uint64_t th; /* table hazard: gen + 1 of the root it works under, 0: none */
	uint64_t working; /* 1: taken, so what is half done in its extents may be its user's; for check */
	uint64_t taking; /* granules that it is just taking from the system, read by others who want some */
	uint64_t pad[2];
};
static_assert(sizeof(struct shm_lane) == 64, "a lane is a line");

LTZ_INLINE uint64_t row_word(uint64_t generation, unsigned up) { return generation << 1 | up; }
LTZ_INLINE unsigned row_up(uint64_t w) { return w & 1; }
LTZ_INLINE uint64_t row_generation(uint64_t w) { return w >> 1; }

struct shm_row {
	uint64_t word;        /* {generation, up}; joiner and releaser / compare-and-swap / all */
	uint64_t lanes_used;  /* lanes below it may hold something; the member; only raised while up */
	uint64_t views_used;  /* the same for views                                             */
	uint64_t pid_uid;     /* pid | uid << 32, for people; the member                       */
	char program[32];     /* for people; the member                                         */
	uint64_t joined_ms;   /* Unix time; the member                                          */
	uint64_t heartbeat_ms; /* Unix time; the member's service thread                        */
	uint64_t pid_namespace; /* in which pid means something; the member                     */
	uint64_t pad0[5];

	uint64_t hits, misses, sets, deletes; /* the member; threads may lose a count         */
	uint64_t pad1[12];

	uint64_t view[SHM_VIEWS]; /* refs held by views; the member                            */
	struct shm_lane lane[SHM_LANES];
	uint64_t pad2[32];
};
static_assert(sizeof(struct shm_row) == 2048, "two rows a page");
static_assert(offsetof(struct shm_row, lane) % 64 == 0, "lanes on lines");

/* ---- extents ------------------------------------------------------------------------------ */

#define SHM_NEVER UINT64_MAX

struct shm_extent { /* the first bytes of a SLAB or RUN */
	uint64_t due;   /* no block in it expires before (ms of the pool's clock); SHM_NEVER; lowered by writers, reset by the sweep */
	uint64_t pad[7];
	uint64_t bits[]; /* alloc words (the owner lane), then as many retired words (fetch_or: anyone; cleared: the owner) */
};
static_assert(sizeof(struct shm_extent) == 64, "header line");

/* ---- index tables ----------------------------------------------------------------------------- */

#define BUCKET_SLOTS 5u
#define LINE_SLOTS   7u
#define BUCKET_SLOTS_MAX (BUCKET_SLOTS + 35 * LINE_SLOTS) /* slot numbers fit 8 bits */
/* Writers append up to here; beyond, the table grows. Two such buckets still fit into one when it shrinks. */
#define BUCKET_SLOTS_WRITERS (BUCKET_SLOTS + 15 * LINE_SLOTS)
static_assert(2 * BUCKET_SLOTS_WRITERS <= BUCKET_SLOTS_MAX, "a shrink never overflows a bucket");

struct shm_bucket {
	struct word_pair ctrl; /* a = {seq 54, state 2, slot 8}, b = the record to insert */
	uint64_t slot[BUCKET_SLOTS];
	uint64_t link;         /* 0, or number of the next line + 1 */
};
struct shm_line {
	uint64_t slot[LINE_SLOTS];
	uint64_t link;
};
static_assert(sizeof(struct shm_bucket) == 64 && sizeof(struct shm_line) == 64, "cache lines");

struct shm_table { /* the first bytes of a TABLE */
	uint64_t id;         /* its number in the directory; the maker, before publication */
	uint64_t log2;       /* buckets; likewise                                           */
	uint64_t settled;    /* lines used when migration into it ended; a hint; whoever ends a resize */
	uint64_t pad0[5];
	uint64_t lines;      /* {room for 32, used 32}; compare-and-swap: users take one, the owner cuts the room */
	uint64_t pad1[7];
	struct shm_bucket bucket[]; /* then the lines */
};
static_assert(sizeof(struct shm_table) == 128, "two lines");

/* ---- records --------------------------------------------------------------------------------- */

/*
 * A block holds one record:
 *   version 8 | meta 8 | [expiry 8: ms of the pool's clock] | [value size 8] | key | pad | value
 * meta = {key size 16, key type 3, flags 5, value type 8, value size 32}. The
 * bracketed words are there as the flags say; a value begins right behind the
 * key, or at the next multiple of 64 bytes of the block if REC_ALIGNED.
 * version: 0 = free or being filled; else unique in the pool for ever. The
 * owner lane writes it last, with release.
 */
struct shm_record {
	uint64_t version;
	uint64_t meta;
	uint8_t rest[];
};

enum record_flags {
	REC_EXPIRES = 1, /* the expiry word is there */
	REC_LONG    = 2, /* the value size word is there; meta's is 0 */
	REC_ALIGNED = 4,
	REC_LARGE   = 8, /* a sealed value in the form for large ones (store/seal.h) */
};
#define REC_ALIGN_FROM 4096u /* values of that size and more are aligned */

LTZ_INLINE uint64_t meta_make(unsigned key_size, unsigned key_type, unsigned flags, unsigned type, uint32_t size)
{
	return key_size | (uint64_t)key_type << 16 | (uint64_t)flags << 19 | (uint64_t)type << 24 | (uint64_t)size << 32;
}
/* The bits that say which key it is: size and type. */
#define META_KEY_MASK UINT64_C(0x7ffff)
LTZ_INLINE unsigned meta_key_size(uint64_t m) { return m & 0xffff; }
LTZ_INLINE unsigned meta_key_type(uint64_t m) { return m >> 16 & 7; }
LTZ_INLINE unsigned meta_flags(uint64_t m) { return m >> 19 & 31; }
LTZ_INLINE unsigned meta_type(uint64_t m) { return m >> 24 & 0xff; }
LTZ_INLINE uint32_t meta_size(uint64_t m) { return m >> 32; }

#endif
