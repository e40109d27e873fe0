/* SPDX-License-Identifier: MIT */
/*
 * edit.h - the one way to change a key: find it, decide, publish in one step.
 */
#ifndef LTZ_STORE_EDIT_H
#define LTZ_STORE_EDIT_H

#include "shm/slab.h"
#include "store/table.h"

/* The present record, valid while `decide` runs: a hazard holds its block. NULL look: absent. */
struct ltz_old {
	const struct shm_record *record;
	struct ltz_look look;
	uint64_t version;
	uint64_t ref;
};

enum edit_verdict { EDIT_STOP, EDIT_PUT, EDIT_DELETE };

struct ltz_edit {
	const struct ltz_hkey *key;
	struct ltz_mem *mem;
	struct ltz_lane *lane;

	/*
	 * What to do, from the present state (old NULL: absent or expired). Sets
	 * outcome for EDIT_STOP; for EDIT_PUT, block must hold the complete new
	 * record. Called again after every lost race. NULL: put block.
	 */
	enum edit_verdict (*decide)(struct ltz_edit *edit, const struct ltz_old *old);
	int outcome;

	struct ltz_block block;   /* ref 0: none */
	uint64_t version;         /* of block */
	bool see_expired;         /* decide is shown records past their expiry too */
	bool replaced;            /* out: there was an unexpired record that was put over or deleted */
	void *context;
};

/*
 * PUT and DELETE of protocol-index.md with the intent of protocol-memory.md.
 * Takes no lane and gives none back. A block that was not published is freed.
 * 0: put or deleted; the outcome set by decide; or a negative failure.
 */
int ltz__edit(struct ltz_edit *edit);

/*
 * Allocates edit->block anew (freeing one it has) and fills it: ALLOC of
 * protocol-memory.md, steps 1 to 5. -ENOSPC.
 */
int ltz__edit_fill(struct ltz_edit *edit, const struct ltz_content *content);

#endif
