/* SPDX-License-Identifier: MIT */
/*
 * scene.h - one pool for one victim: what is in it, what must be in it after
 * the victim's death or while it is stopped, and what must be left of it.
 *
 * Members of a scene: `first`, in the test's process from the beginning on;
 * perhaps a member that is dead already; the victim; then whoever comes to
 * look. No service threads: ltz__tick is called by hand, with the member's
 * clock set forward each time.
 */
#ifndef LTZ_TEST_SCENE_H
#define LTZ_TEST_SCENE_H

#include <latzero.h>

#include "shm/lane.h"
#include "store/map.h"
#include "store/table.h"

#define MIB       (UINT64_C(1) << 20)
#define SECOND_NS UINT64_C(1000000000)
#define HOUR_MS   UINT64_C(3600000)

#define KEYS      44u
#define TARGET    40u /* the key that a victim inserts */
#define OF_VICTIM 41u /* a key that the victim inserted before */
#define OF_DEAD   42u /* a key that the member already dead inserted */
#define NO_KEY    KEYS
#define BLOB_SIZE MIB

/* What a key may have. */
struct state {
	enum { ABSENT, NUMBER, BLOB } kind;
	unsigned hours; /* to live; 0: for ever */
	int64_t number;
};
#define A_NUMBER(n) ((struct state){ NUMBER, 0, (n) })

/* What the victim tells, in memory shared with the test. */
struct told {
	int64_t result;
	char why[160];
	uint32_t count;
};

struct scene {
	const struct operation *op;
	int fd;
	struct ltz_mem *first;
	void *watched;            /* the whole pool, read-only: of scene_changed */
	struct told *told;
	struct state now[KEYS];   /* without the victim's work          */
	struct state after;       /* the op's key with the victim's work */
	unsigned key;             /* the op's key, or NO_KEY            */
	bool resize_first;        /* beside a stopped victim: before the key is changed */
	char why[200];            /* what is wrong; "": nothing         */
};

enum late { /* the op's key if the victim goes on after the others changed it */
	LATE_NOTHING, /* stays as the others left it   */
	LATE_AFTER,   /* gets the victim's state       */
	LATE_ADD,     /* the victim's 7 are added      */
	LATE_EXPIRES, /* gets an hour to live          */
};

struct operation {
	const char *name;
	unsigned log2;      /* of the smallest table                       */
	unsigned keys;      /* that `first` puts in before: 0 .. keys - 1   */
	bool alone;         /* nobody is there before the victim            */
	bool expires;       /* some of its keys have a time to live         */
	bool joins;         /* the victim attaches in run                   */
	unsigned size_mib;  /* of the pool; 0: 8                           */
	bool lengthy;       /* tens of thousands of instructions           */
	bool kill_only;     /* beside it there is no room to do everything     */
	bool every_stop;    /* stopped at every instruction, not only at some */
	enum late late;
	/* by `first`; sets key and after */
	void (*setup)(struct scene *scene);
	/* by the victim, before and after crash_begin(). mem NULL: joins */
	void (*prepare)(struct scene *scene, struct ltz_mem *mem);
	int64_t (*run)(struct scene *scene, struct ltz_mem **mem);
};

extern const struct operation operations[];
extern const unsigned operation_count;

/*
 * By setup: a member is dead before the victim comes. It held a claimed extent,
 * a private block and an intent that it had carried out, but not noted.
 */
void bury_replacer(struct scene *scene);

extern uint64_t crash_seed;

/* ---- a scene's life ------------------------------------------------------------------ */

void scene_open(struct scene *scene, const struct operation *op, struct told *told);
/* In a forked child: the parent's member is none of ours. */
void scene_leave_parent(struct scene *scene);
void scene_close(struct scene *scene);

/* The victim's life: attach, prepare, the work, and if it still lives: leave. For victim_start. */
void scene_victim(void *scene);

/* ---- by anybody ------------------------------------------------------------------------ */

void key_of(const struct ltz_mem *mem, unsigned key, struct ltz_hkey *out);
int scene_set(struct ltz_mem *mem, unsigned key, struct state state);
/* Puts it in for `first`, and notes it. */
void scene_put(struct scene *scene, unsigned key, struct state state);
void scene_drop(struct scene *scene, unsigned key);
/* Does mem find the key in that state? */
bool scene_has(struct ltz_mem *mem, unsigned key, struct state state);

/* The memory of all pool structures, as one sum: does it differ from the last time? For trace_record. */
bool scene_changed(void *scene);

/* ---- after the victim's death -------------------------------------------------------------- */

enum adopter { BY_FIRST, BY_NEWCOMER, BY_TICK, ADOPTERS };

/*
 * Settles the dead and looks at everything. returned: the victim's work was
 * done. False: scene->why says what is wrong.
 */
bool scene_settle(struct scene *scene, enum adopter adopter);
bool scene_intact(struct scene *scene, bool returned);
/* Deletes all, gives all back; false: something is left, or more memory than *pages (0: set it). */
bool scene_vacate(struct scene *scene, uint64_t *pages);

/* ---- beside a stopped victim ---------------------------------------------------------------- */

/*
 * Every kind of call, by mem, on the op's key and beside it; *early tells
 * whether the victim's work was to be seen. few: without looking at everything
 * in between.
 */
bool scene_beside(struct scene *scene, struct ltz_mem *mem, bool *early, bool few);
/* What it leaves behind, when another process did it. */
void scene_note_beside(struct scene *scene);
/* What the stopped one holds is no damage. */
bool scene_held(struct scene *scene);
/* The stopped one went on and ended. */
void scene_went_on(struct scene *scene, bool early);

__attribute__((format(printf, 2, 3))) bool scene_wrong(struct scene *scene, const char *format, ...);

#endif
