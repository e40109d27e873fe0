/* SPDX-License-Identifier: MIT */
/*
 * forks.c - a forked child joins by itself at its first call. Whichever system
 * call of that fails: the call says so, the next one joins after all, and the
 * child gives back as much as ever when it closes.
 *
 * The act is the child's whole life; the calls are the child's.
 */
#include <sys/wait.h>

#include "heap.h"
#include "stage.h"
#include "tables.h"

/* What a child tells its parent. */
struct told {
	uint64_t calls;
	int64_t result;              /* of its first call          */
	int64_t descriptors, pieces; /* given back in its life     */
};

static struct told last, usual;
static const struct stage_case *usual_of; /* the case whose first child told it */

static void note_line(void *context, const char *line)
{
	(void)context;
	sweep_wrong("in the child: %s", line);
}

static struct told live(struct stage *stage, int (*first)(struct stage *))
{
	struct told told = { .descriptors = count_descriptors(), .pieces = heap_pieces() };
	const ltz_key key = key_of("child");

	told.result = first(stage);
	told.calls = ltz__fault_calls(LTZ_FAULT_THREAD);
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	if (!content_is(stage->pool, "k", told.result == 0 ? stage->now->new : stage->now->old))
		sweep_wrong("in the child \"k\" has not the content that goes with the result");
	sweep_expect("the child's ltz_set", content_set(stage->pool, "child", A_NUMBER(1), NULL), 0);
	sweep_expect("the child's ltz_delete", ltz_delete(stage->pool, &key, 0), 0);
	sweep_expect("the child's ltz_check", ltz_check(stage->pool, note_line, NULL), 0);
	ltz_close(stage->pool);
	told.descriptors -= count_descriptors();
	told.pieces -= heap_pieces();
	return told;
}

static int call_in_child(struct stage *stage, int (*first)(struct stage *))
{
	int ends[2], status;

	ASSERT_OK(pipe2(ends, O_CLOEXEC));
	fflush(NULL);
	pid_t child = fork(); /* with what is to fail, and the count so far */
	ASSERT_OK(child);
	if (child == 0) {
		struct told told = live(stage, first);
		fflush(NULL);
		_exit(write(ends[1], &told, sizeof told) != sizeof told || sweep_failed());
	}
	close(ends[1]);
	if (read(ends[0], &last, sizeof last) != sizeof last)
		sweep_wrong("the child tells nothing");
	close(ends[0]);
	ASSERT_OK(waitpid(child, &status, 0));
	sweep_expect("the child's status", status, 0);
	if (usual_of != stage->now)
		usual = last;
	usual_of = stage->now;
	sweep_expect("the number of descriptors given back", last.descriptors, usual.descriptors);
	sweep_expect("the number of pieces of memory given back", last.pieces, usual.pieces);
	return (int)last.result;
}

static int get_k(struct stage *stage)
{
	const ltz_key key = key_of("k");
	int64_t number;

	return ltz_get(stage->pool, &key, &number, sizeof number, NULL);
}

static int set_k(struct stage *stage)
{
	return content_set(stage->pool, "k", stage->now->new, NULL);
}

static int get_in_child(struct stage *stage)
{
	return call_in_child(stage, get_k);
}

static int set_in_child(struct stage *stage)
{
	return call_in_child(stage, set_k);
}

/* The parent's thread goes on resting. */
static void keep_resting(struct stage *stage)
{
	(void)stage;
	ltz_defer_restart(1);
}

static void work_again(struct stage *stage, int result)
{
	(void)stage, (void)result;
	ltz_defer_restart(0);
}

static const struct stage_case cases[] = {
	{ "after fork", "ltz_get", get_in_child, .prepare = keep_resting, .old = A_NUMBER(7), .new = A_NUMBER(7),
	  .look = work_again, .calls = &last.calls },
	{ "after fork", "ltz_set", set_in_child, .prepare = keep_resting, .old = A_NUMBER(7), .new = A_NUMBER(8),
	  .look = work_again, .calls = &last.calls },
};

const struct stage_case *const fork_cases = cases;
const size_t fork_case_count = sizeof cases / sizeof cases[0];
