/* SPDX-License-Identifier: MIT */
/* member.c - joining a row; proof of death. */
#include "shm/member.h"

#include "base/canary.h"
#include "base/copy.h"
#include "sys/fault.h"
#include "sys/sys.h"

#include <errno.h>
#include <string.h>

unsigned ltz__member_row(const struct ltz_mem *mem) { return mem->row_index; }

unsigned ltz__rows_high(const struct ltz_mem *mem)
{
	uint64_t high = load_acquire(&mem->members->rows_high);

	return high < SHM_ROWS ? (unsigned)high : SHM_ROWS;
}

int ltz__members_barrier(const struct ltz_mem *mem)
{
	if (!mem->fences)
		return ltz__sys_barrier();
	fence_full(); /* each member fences its own hazards: shm/attachment.h:fence_hazard */
	return 0;
}

bool ltz__label_lives(const struct ltz_mem *mem, uint64_t word)
{
	uint64_t row;

	if (label_row(word) >= ltz__rows_high(mem))
		return false;
	row = load_acquire(&mem->rows[label_row(word)].word);
	return row_up(row) && row_generation(row) == label_generation(word);
}

static void clear_row(struct shm_row *row)
{
	for (unsigned i = 0; i < SHM_VIEWS; i++)
		store_release(&row->view[i], 0);
	for (unsigned i = 0; i < SHM_LANES; i++) {
		store_release(&row->lane[i].hw, 0);
		store_release(&row->lane[i].hr, 0);
		store_release(&row->lane[i].th, 0);
		store_release(&row->lane[i].working, 0);
		store_release(&row->lane[i].taking, 0);
	}
	store_relaxed(&row->hits, 0);
	store_relaxed(&row->misses, 0);
	store_relaxed(&row->sets, 0);
	store_relaxed(&row->deletes, 0);
}

static void describe_row(struct shm_row *row)
{
	char program[sizeof(row->program)] = {0};

	ltz__sys_program_name(program, sizeof(program));
	copy_to_pool(row->program, program, sizeof(program));
	store_relaxed(&row->pid_uid, ltz__sys_pid() | (uint64_t)ltz__sys_uid() << 32);
	store_relaxed(&row->pid_namespace, ltz__sys_pid_namespace());
	store_relaxed(&row->joined_ms, (uint64_t)ltz__sys_unix_ms());
	store_release(&row->heartbeat_ms, (uint64_t)ltz__sys_unix_ms());
}

/* JOIN of the memory protocol. 0, -EAGAIN: another row, or a failure. */
static int join_row(struct ltz_mem *mem, unsigned index)
{
	struct shm_row *row = &mem->rows[index];
	uint64_t word, generation;
	int result;

	if (index >= ltz__rows_high(mem)) { /* rows below it have memory already */
		result = ltz__sys_commit(mem->fd, mem->geometry.rows_offset + index * sizeof(*row), sizeof(*row));
		if (result < 0)
			return result;
		LTZ_CRASH_POINT("shm.row_backed");
	}
	if (row_up(load_acquire(&row->word)))
		return -EAGAIN;
	result = ltz__sys_lock_take(mem->fd, index);
	if (result < 0)
		return result;
	LTZ_CRASH_POINT("shm.row_locked");
	word = load_acquire(&row->word); /* again, now that nobody else can join here */
	generation = row_generation(word) + 1;
	if (row_up(word) || generation > GENERATION_MAX) {
		ltz__sys_lock_drop(mem->fd, index);
		return -EAGAIN;
	}
	/* scanners must look at the row from now on. pairs with: shm/lane.c:ltz__hazards_read */
	raise_acq_rel(&mem->members->rows_high, index + 1);
	LTZ_CRASH_POINT("shm.rows_raised");
	store_release(&row->lanes_used, 0);
	store_release(&row->views_used, 0);
	LTZ_CRASH_POINT("shm.row_reset");
	if (!cas_seq_cst(&row->word, word, row_word(generation, 1))) {
		ltz__sys_lock_drop(mem->fd, index);
		return -EAGAIN;
	}
	LTZ_CRASH_POINT("shm.row_up");
	clear_row(row); /* step 4: only now is the row ours to clear */
	LTZ_CRASH_POINT("shm.row_cleared");
	describe_row(row);
	LTZ_CRASH_POINT("shm.row_described");
	mem->row = row;
	mem->row_index = index;
	mem->generation = generation;
	return 0;
}

int ltz__member_join(struct ltz_mem *mem)
{
	for (unsigned i = 0; i < SHM_ROWS; i++) {
		int result = join_row(mem, i);

		if (result != -EAGAIN)
			return result;
	}
	return -EBUSY;
}

int ltz__member_dead(const struct ltz_mem *mem, unsigned row, uint64_t *word)
{
	int held;

	*word = load_acquire(&mem->rows[row].word);
	if (!row_up(*word) || row == mem->row_index)
		return 0;
	if (canary(CANARY_NO_PROOF))
		return 1;
	/* The lock test orders the dead member's last stores before what we read next. */
	held = ltz__sys_lock_held(mem->fd, row);
	return held < 0 ? held : !held;
}

bool ltz__member_next(const struct ltz_mem *mem, unsigned *row, uint64_t *word, uint32_t *pid)
{
	uint64_t here = load_relaxed(&mem->row->pid_namespace);
	unsigned rows = ltz__rows_high(mem);

	for (unsigned i = 0; here && i < rows; i++) {
		*row = (*row + 1) % rows;
		if (*row == mem->row_index)
			return false;
		*word = load_acquire(&mem->rows[*row].word);
		*pid = (uint32_t)load_relaxed(&mem->rows[*row].pid_uid);
		if (row_up(*word) && *pid && load_relaxed(&mem->rows[*row].pid_namespace) == here)
			return true;
	}
	return false;
}
