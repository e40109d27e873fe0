/* SPDX-License-Identifier: MIT */
/*
 * storm.h - what the processes of the storm share, and the oracle.
 *
 *   conductor   storm.c: forks, kills, stops; no member of the pool
 *   worker      worker.c: the owner of a slot, that is, of the slot's keys
 *   joiner      worker.c: joins, looks at all slots' keys, leaves
 *   survivor    survivor.c: a member from the beginning to the end; at the end
 *               it judges the whole pool
 *
 * The oracle is a MAP_SHARED memory, in which each worker writes what it is
 * about to do and what was acknowledged:
 *
 * - Only the slot's owner writes a slot's keys and their entries. The owner
 *   changes by a compare-and-swap of slot.owner, also when a worker forks and
 *   goes on in the child.
 * - The operations on a key are numbered. What number n does, with which
 *   value, is a function of (seed, key, n), so everybody knows it.
 *   `issued` = n before the call, `acked` = n after it. A process that died in
 *   between leaves issued > acked: n has happened or not. The next owner looks
 *   which; from then on there is no doubt again: if not, n is `void_seq`.
 * - state[n & 1] says what is known after number n. Two, so that a death while
 *   n is noted leaves what is known of n - 1.
 * - Counters are added to by all. Each incarnation (a process' life as an
 *   owner, or as a joiner) has its own sums, before and after the call.
 */
#ifndef LTZ_TEST_STORM_H
#define LTZ_TEST_STORM_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <latzero.h>

#define POOL_NAME    "storm"
#define SLOTS_MAX    32
#define KEYS         96          /* of a slot, beside its churn               */
#define CHURN_MAX    4000        /* keys of a slot that come and go in bulk   */
#define COUNTERS     8           /* the first half is added 1 at a time       */
#define INCARNATIONS (1u << 17)
#define VALUE_MAX    (1u << 20)
#define TTL_MAX_MS   400u
#define CLOCK_TTL_MS UINT64_C(1000000000) /* of the one key by which all see that their clocks agree */
#define LINES        32
#define LINE_BYTES   320
#define BUCKETS      (64 * 16)   /* of the latencies                          */
/* An expiry is a millisecond of the pool's clock, rounded up; ours is read beside the call. */
#define ROUNDING_NS  UINT64_C(2000000)
#define NEVER        UINT64_MAX
#define SECOND_NS    UINT64_C(1000000000)
#define MS_NS        UINT64_C(1000000)

enum canary { CANARY_NONE, CANARY_VALUE, CANARY_FORGET, CANARY_COUNT, CANARY_UNDELETE, CANARY_LEAK };

/* ---- the shared memory ------------------------------------------------------------- */

struct state {
	uint64_t present;
	uint64_t gone_from_ns; /* may be expired from then on; NEVER */
	uint64_t gone_by_ns;   /* must be expired then; NEVER        */
	uint64_t version;      /* 0: not known                       */
};

struct entry {
	uint64_t issued, acked, void_seq;
	struct state state[2];
};

/* Churn keys are numbered. Those from `out` up to `in` are there. */
struct churn {
	uint64_t in_issued, in_acked, out_issued, out_acked;
};

struct incarnation {
	uint64_t joined, left; /* 1: joined; is leaving by itself */
	uint64_t begun[COUNTERS], acked[COUNTERS];
};

struct slot {
	uint64_t owner;    /* pid and incarnation, see owner_word; pid 0: nobody        */
	uint64_t fork_now; /* the conductor's wish                                       */
	uint64_t progress; /* counts what the owner did                                  */
	uint64_t doing;    /* for people: enum doing and the key                         */
	struct entry entry[KEYS];
	struct churn churn;
};

struct latencies {
	uint64_t count, max_ns, bucket[BUCKETS];
};

struct shared {
	uint64_t seed, slots, canary;
	uint64_t stop;           /* workers: leave                                        */
	uint64_t beat_ns;        /* the conductor lives                                   */
	uint64_t incarnations;   /* given so far                                          */
	uint64_t violations;     /* lines below, and more                                 */
	struct state clock;      /* of KEY_CLOCK                                           */
	uint64_t survivor_ready, survivor_progress;
	uint64_t workers_gone;   /* the survivor may judge                                */
	uint64_t kills;          /* of processes that had joined; conductor               */
	uint64_t operations, scans, expected_expiries, forks, unsettled, checks, explained;
	uint64_t peak_committed, peak_used, live_bytes, full_used, after_committed, after_used, after_ms;
	uint64_t count_expected, count_found, recovered, resizes, settle_ms;
	struct latencies all, whole; /* whole: those that the scheduler did not interrupt */
	char line[LINES][LINE_BYTES];
	struct slot slot[SLOTS_MAX];
	struct incarnation incarnation[INCARNATIONS];
};

static inline uint64_t peek(const uint64_t *word) { return __atomic_load_n(word, __ATOMIC_ACQUIRE); }
static inline void put(uint64_t *word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELEASE); }
static inline void count(uint64_t *word, uint64_t by) { __atomic_fetch_add(word, by, __ATOMIC_RELAXED); }

static inline uint64_t owner_word(pid_t pid, uint64_t incarnation) { return (uint64_t)(uint32_t)pid << 32 | incarnation; }
static inline pid_t owner_pid(uint64_t owner) { return (pid_t)(owner >> 32); }

static inline uint64_t mix(uint64_t z) /* splitmix64 */
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t now_ns(void); /* the pool's clock goes with this one */
void violation(struct shared *shared, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- keys and values (oracle.c) ------------------------------------------------------- */

enum key_class { KEY_OWN = 'o', KEY_CHURN = 'c', KEY_COUNTER = 'n', KEY_CLOCK = 'k' };

struct name {
	uint8_t class, slot;
	uint8_t number[6];
};
static_assert(sizeof(struct name) == 8, "a key is 8 bytes");

void name_make(struct name *name, enum key_class class, unsigned slot, uint64_t number);
uint64_t name_number(const struct name *name);
static inline ltz_key name_key(const struct name *name)
{
	return (ltz_key){ .data = name, .size = sizeof *name, .type = LTZ_KEY_BYTES };
}

enum kind { KIND_SET, KIND_SET_TTL, KIND_SET_EXPIRE, KIND_SET_PERSIST, KIND_DELETE };

/* What number seq on the key does; seq 0: the key was never there. */
enum kind kind_of(const struct shared *shared, unsigned slot, unsigned key, uint64_t seq);
uint64_t ttl_ms_of(const struct shared *shared, unsigned slot, unsigned key, uint64_t seq);
size_t size_of(const struct shared *shared, unsigned slot, unsigned key, uint64_t seq);

/*
 * A value tells what it is: key and number, and from 32 bytes on writer, size
 * and checksum; all other bytes follow from these.
 */
void value_write(uint8_t *bytes, size_t size, const struct name *name, uint64_t seq, uint64_t writer);
/* The number, if every byte is right; NULL and why_not otherwise. */
bool value_read(const uint8_t *bytes, size_t size, const struct name *name, uint64_t *seq, const char **why_not);

/* ---- judging what was read (oracle.c) ---------------------------------------------------- */

/* A look at one slot's key, which its owner may be changing meanwhile. */
struct sight {
	struct shared *shared;
	unsigned slot, key;
	uint64_t acked, void_seq, before_ns, after_ns, issued;
	struct state state; /* after acked: right if nothing changed meanwhile */
	int result;
	uint64_t seq;       /* read */
	ltz_item item;
};

/* Reads the key and says a violation if what was read cannot be. False then. */
bool look(struct sight *sight, ltz_pool *pool, struct shared *shared, unsigned slot, unsigned key, uint8_t *buffer);

/* The same, and settles what a dead owner left open. Only for the owner. */
bool settle(ltz_pool *pool, struct shared *shared, unsigned slot, unsigned key, uint8_t *buffer);

/* ---- processes ---------------------------------------------------------------------------- */

struct site {
	struct shared *shared;
	const char *dir;
	bool cores; /* SIGSEGV writes one */
};

#define STATUS_FORKED 7 /* of a worker whose child goes on, if it was in time to become the owner */

/* Each returns the exit status. */
int run_worker(const struct site *site, unsigned slot, uint64_t incarnation);
int run_joiner(const struct site *site, uint64_t incarnation);
int run_survivor(const struct site *site, uint64_t incarnation);

/* Says a violation if this process' idea of the pool's time is not that of the pool's maker. */
void check_clock(ltz_pool *pool, struct shared *shared, uint64_t incarnation);
uint64_t next_incarnation(struct shared *shared);
/* Keys of the slot that an owner's death left half put in or taken out. Only for the owner. */
void settle_churn(ltz_pool *pool, struct shared *shared, unsigned slot);
/* Lowest and highest value that the counter can have, if nobody adds meanwhile. */
uint64_t counter_acked(const struct shared *shared, unsigned counter);
uint64_t counter_begun(const struct shared *shared, unsigned counter);

/* ---- the end (report.c) ------------------------------------------------------------------- */

struct totals {
	uint64_t kills, crashes, cores, stops, joiners, workers;
};

/* Prints the figures and the violations; returns how many. */
uint64_t report(const struct shared *shared, const struct totals *total, double seconds, bool cores);

int64_t shmem_kib(void); /* shared memory of the whole machine */
unsigned count_entries(const char *path);
/* Waits until both are as before; adds to *violations if they do not become so. */
void judge_machine(int64_t kib_before, unsigned entries_before, uint64_t *violations);

#endif
