/* SPDX-License-Identifier: MIT */
/*
 * linear.c - histories of many processes on a few keys of one pool, while
 * members are killed and stopped, others join, and the index is resized.
 *
 *     linear FILE [SEED [OPERATIONS]]
 *
 * Writes the histories to FILE (history.h) for check/ to judge. The conductor,
 * which is no member, forks all processes and never touches the library.
 *
 *   era     one pool, made and held by a keeper, for some rounds
 *   round   WORKERS processes with a history and CHURNERS without, until about
 *           ROUND_OPS operations are done; the hot keys are absent at its start
 *   event   a process is killed (another takes its place), or stopped for a while
 *
 * The histories stay short, so that judging them is cheap, and are many.
 */
#include "linear.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OPERATIONS   2000000
#define ROUND_OPS    24000
#define ROUNDS_AN_ERA 2
#define EVENT_NS     500000  /* mean time between two events */
#define STOP_MAX_NS  8000000
#define STUCK_NS     30000000000u

struct slot {
	pid_t pid;
	bool killed, stopped;
	uint64_t continue_ns;
};

static struct site site;
static uint64_t random_state, total_kills, total_stops;
static struct slot slots[SLOTS];
static unsigned next_client;
static struct history_round head;

static struct keeper {
	pid_t pid;
	int orders, answers;
} keeper;

static uint64_t draw_below(uint64_t limit)
{
	return (random_state = mix(random_state)) % limit;
}

static _Noreturn void give_up(const char *what)
{
	printf("linear: %s: %s\n", what, strerror(errno));
	for (unsigned s = 0; s < SLOTS; s++)
		if (slots[s].pid > 0)
			kill(slots[s].pid, SIGKILL);
	exit(2); /* the keeper ends with its orders */
}

/* ---- processes ---------------------------------------------------------------------- */

static void start_slot(unsigned s)
{
	unsigned client = next_client++;

	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		give_up("fork");
	if (pid == 0)
		_exit((s < WORKERS ? run_worker : run_churner)(&site, client));
	slots[s] = (struct slot){ .pid = pid };
}

static void start_keeper(void)
{
	int orders[2], answers[2];
	char byte;

	fflush(stdout);
	if (pipe(orders) < 0 || pipe(answers) < 0 || (keeper.pid = fork()) < 0)
		give_up("keeper");
	if (keeper.pid == 0) {
		close(orders[1]);
		close(answers[0]);
		_exit(run_keeper(&site, orders[0], answers[1]));
	}
	close(orders[0]);
	close(answers[1]);
	keeper.orders = orders[1];
	keeper.answers = answers[0];
	if (read(keeper.answers, &byte, 1) != 1)
		give_up("the keeper made no pool");
}

/* The keeper's turn at the end of a round. */
static void ask_keeper(void)
{
	char byte = 0;

	if (write(keeper.orders, &byte, 1) != 1 || read(keeper.answers, &byte, 1) != 1)
		give_up("the keeper has ended");
}

static void end_keeper(void)
{
	int status;

	close(keeper.orders);
	waitpid(keeper.pid, &status, 0);
	close(keeper.answers);
	if (status != 0)
		fail(site.shared, "the keeper ended with status 0x%x", (unsigned)status);
}

static void judge_end(unsigned s, int status)
{
	struct slot *slot = &slots[s];
	bool as_told = slot->killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

	if (status != 0 && !as_told)
		fail(site.shared, "round %lu: process %u ended with status 0x%x that nobody sent", head.round, s,
		     (unsigned)status);
}

/* ---- events ------------------------------------------------------------------------------ */

static void kill_slot(unsigned s)
{
	int status;

	slots[s].killed = true;
	kill(slots[s].pid, SIGKILL);
	head.kills++;
	waitpid(slots[s].pid, &status, 0);
	judge_end(s, status);
	start_slot(s);
}

static void stop_slot(unsigned s)
{
	if (slots[s].stopped)
		return;
	kill(slots[s].pid, SIGSTOP);
	head.stops++;
	slots[s].stopped = true;
	slots[s].continue_ns = now_ns() + draw_below(STOP_MAX_NS);
}

static void continue_slots(uint64_t until_ns)
{
	for (unsigned s = 0; s < SLOTS; s++)
		if (slots[s].stopped && slots[s].continue_ns <= until_ns) {
			kill(slots[s].pid, SIGCONT);
			slots[s].stopped = false;
		}
}

static uint64_t tickets(void)
{
	return __atomic_load_n(&site.shared->ticket, __ATOMIC_RELAXED);
}

static void conduct(void)
{
	uint64_t event_ns = now_ns() + draw_below(2 * EVENT_NS), moved_ns = now_ns(), seen = 0;

	while (tickets() < site.shared->limit && site.shared->failures == 0) {
		uint64_t now = now_ns();

		__atomic_store_n(&site.shared->beat_ns, now, __ATOMIC_RELAXED);
		continue_slots(now);
		if (now >= event_ns) {
			if (draw_below(2) == 0 && next_client < CLIENTS)
				kill_slot((unsigned)draw_below(SLOTS));
			else
				stop_slot((unsigned)draw_below(SLOTS));
			event_ns = now + draw_below(2 * EVENT_NS);
		}
		if (tickets() != seen) {
			seen = tickets();
			moved_ns = now;
		} else if (now > moved_ns + STUCK_NS) {
			fail(site.shared, "round %lu: nobody got on for 30 s", head.round);
		}
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL); /* tidy-ok: the pace of events */
	}
}

static void gather(void)
{
	uint64_t deadline_ns = now_ns() + STUCK_NS;

	continue_slots(UINT64_MAX);
	for (unsigned s = 0; s < SLOTS; s++) {
		int status;

		while (waitpid(slots[s].pid, &status, WNOHANG) == 0) {
			if (now_ns() > deadline_ns) {
				fail(site.shared, "round %lu: process %u does not end", head.round, s);
				kill(slots[s].pid, SIGKILL);
			}
			nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL); /* tidy-ok: polls with a deadline */
		}
		judge_end(s, status);
	}
}

/* ---- rounds -------------------------------------------------------------------------------- */

static void write_or_give_up(FILE *file, const void *data, size_t size)
{
	if (fwrite(data, 1, size, file) != size)
		give_up("writing the history");
}

/* Operations of the round; those of a killed process that never got a call ticket did not begin. */
static uint64_t count_ops(FILE *file)
{
	uint64_t count = 0;

	for (unsigned c = 0; c < next_client; c++) {
		struct log *log = &site.shared->log[c];

		for (uint64_t i = 0; i < log->count; i++) {
			if (log->op[i].call == 0)
				continue;
			count++;
			if (file)
				write_or_give_up(file, &log->op[i], sizeof log->op[i]);
		}
	}
	return count;
}

static uint64_t run_round(FILE *file, uint64_t round, uint64_t *resizes_before)
{
	head = (struct history_round){ .magic = HISTORY_MAGIC, .seed = site.seed, .round = round };
	for (unsigned c = 0; c < next_client; c++) {
		memset(site.shared->log[c].op, 0, site.shared->log[c].count * sizeof(struct history_op));
		site.shared->log[c].count = 0;
	}
	next_client = 0;
	site.shared->ticket = 0;
	site.shared->limit = 2 * ROUND_OPS;
	site.shared->beat_ns = now_ns();
	site.seed = mix(head.seed + round);
	for (unsigned s = 0; s < SLOTS; s++)
		start_slot(s);
	conduct();
	gather();
	site.seed = head.seed;
	ask_keeper();
	head.clients = next_client;
	head.resizes = (uint32_t)(site.shared->resizes - *resizes_before);
	*resizes_before = site.shared->resizes;
	head.count = count_ops(NULL);
	write_or_give_up(file, &head, sizeof head);
	count_ops(file);
	total_kills += head.kills;
	total_stops += head.stops;
	return head.count;
}

static bool run_rounds(FILE *file, uint64_t wanted)
{
	uint64_t done = 0, resizes = 0;

	for (uint64_t round = 0; done < wanted && site.shared->failures == 0; round++) {
		if (round % ROUNDS_AN_ERA == 0) {
			if (round > 0)
				end_keeper();
			start_keeper();
			resizes = 0;
		}
		done += run_round(file, round, &resizes);
	}
	end_keeper();
	return site.shared->failures == 0;
}

int main(int argc, char **argv)
{
	char dir[] = "/tmp/latzero-linear-XXXXXX";
	struct timespec now;

	if (argc < 2) {
		fputs("usage: linear FILE [SEED [OPERATIONS]]\n", stderr);
		return 2;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	site.seed = argc > 2 && argv[2][0] ? strtoull(argv[2], NULL, 0) : (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 32;
	printf("linear SEED=%lu\n", site.seed);
	random_state = mix(site.seed);
	site.shared = mmap(NULL, sizeof *site.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	FILE *file = fopen(argv[1], "wb");
	if (site.shared == MAP_FAILED || file == NULL || mkdtemp(dir) == NULL)
		give_up(argv[1]);
	site.dir = dir;

	bool good = run_rounds(file, argc > 3 ? strtoull(argv[3], NULL, 0) : OPERATIONS);
	if (fclose(file) != 0)
		give_up(argv[1]);
	if (rmdir(dir) < 0)
		fail(site.shared, "%s: %s after the last pool", dir, strerror(errno));
	printf("%lu kills, %lu stops%s\n", total_kills, total_stops, good ? "" : "; FAILED, see above");
	return good && site.shared->failures == 0 ? 0 : 1;
}
