/* SPDX-License-Identifier: MIT */
/*
 * test_crash_points.c - death at every crash point of the core.
 *
 * Each piece of work is done once without a death, which tells which points
 * are on its way and how often. Then victims do the same from the same state
 * and die at each of them: at its first hit, its second, its last and one in
 * between. Survivors must find what scene.h wants: the old or the new state,
 * nothing else changed, nothing left over.
 *
 *   first    the operations of operations.c, and those of named_core.c
 *   second   one dies at a point, its adopter at another, a third settles both
 *   third    the end of a pool; then pools with a name: named_pool.c
 *   last     no point may be left at which nobody died
 *
 * -v prints the account: point, hits, kills.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "named_scenes.h"
#include "shm/mem.h"
#include "store/tick.h"
#include "sys/sys.h"

/* ---- what is to be tried, and who tries it ---------------------------------------- */

#define WORKERS_MOST  8u
#define JOBS_MOST     8192u
#define FAILURES_KEPT 12u
#define STUCK_SECS    20 /* of processor time, at one death */

struct job {
	const struct operation *op;
	struct death death;
	uint64_t pages; /* of the same without a death */
};

/* Both in shared memory. */
static struct round {
	uint32_t next, tried, failed;
	uint32_t deaths, missed; /* ordered, and those that did not come */
	char failure[FAILURES_KEPT][420];
} *round;
static struct desk { /* a worker's */
	struct told told;
	uint64_t hits[NAMED_MOST];
	char now[200];
} *desk, *mine;

static struct job *job;
static uint32_t jobs;

static void note_failure(const struct desk *at, const char *why)
{
	uint32_t i = __atomic_fetch_add(&round->failed, 1, __ATOMIC_RELAXED);

	if (i < FAILURES_KEPT)
		snprintf(round->failure[i], sizeof(round->failure[i]), "%s: %s", at->now, why);
}

static void stuck(int signal)
{
	(void)signal;
	note_failure(mine, "somebody runs without end");
	_exit(3);
}

static void work(void (*try)(const struct job *job))
{
	struct itimerval limit = { .it_value = { .tv_sec = STUCK_SECS } };
	uint32_t i;

	signal(SIGPROF, stuck);
	while ((i = __atomic_fetch_add(&round->next, 1, __ATOMIC_RELAXED)) < jobs) {
		setitimer(ITIMER_PROF, &limit, NULL);
		try(&job[i]);
		__atomic_fetch_add(&round->tried, 1, __ATOMIC_RELAXED);
	}
	_exit(0);
}

/* As many workers as processors. Reports what they found. */
static void share_out(void (*try)(const struct job *job))
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned n = processors < 1 ? 1 : processors > (long)WORKERS_MOST ? WORKERS_MOST : (unsigned)processors;
	pid_t pid[WORKERS_MOST];
	int status;

	fflush(NULL);
	for (unsigned w = 0; w < n; w++) {
		mine = &desk[w];
		pid[w] = fork();
		if (pid[w] == 0)
			work(try);
	}
	for (unsigned w = 0; w < n; w++)
		if (waitpid(pid[w], &status, 0) == pid[w] && status != 0 && !(WIFEXITED(status) && WEXITSTATUS(status) == 3))
			note_failure(&desk[w], "the survivor did not survive");
	for (uint32_t i = 0; i < round->failed && i < FAILURES_KEPT; i++)
		test_fail(TEST_AT(TEST_EXPECT), "%s", round->failure[i]);
	printf("%u deaths, %u that did not come, %u failures\n", round->deaths - round->missed, round->missed, round->failed);
	EXPECT_EQ_U64(round->tried, jobs);
	EXPECT_EQ_U64(round->failed, 0);
	EXPECT_TRUE(round->missed <= round->deaths / 20); /* what depends on the clock may go another way */
}

static void add_job(const struct operation *op, uint32_t point, uint64_t k, uint64_t pages)
{
	ASSERT_TRUE(jobs < JOBS_MOST);
	job[jobs++] = (struct job){ op, { point, k }, pages };
}

static void begin_round(void)
{
	round = shared_memory(sizeof(*round));
	desk = mine = shared_memory(WORKERS_MOST * sizeof(*desk));
	job = calloc(JOBS_MOST, sizeof(*job));
	jobs = 0;
	crash_seed = test_seed() & 0xffffff;
}

/* ---- one operation ------------------------------------------------------------------- */

/* Without a death; its hits go to the account and to mine->hits. */
static uint64_t rehearse(const struct operation *op)
{
	struct scene scene;
	uint64_t pages = 0;

	scene_open(&scene, op, &mine->told);
	memset(mine->hits, 0, sizeof(mine->hits));
	if (named_run(scene_victim, &scene, (struct death){ NOWHERE, 0 }, mine->hits) != ENDED || mine->told.result != 0)
		scene_wrong(&scene, "the work gives %lld", (long long)mine->told.result);
	if (!(scene_settle(&scene, BY_FIRST) && scene_intact(&scene, true) && scene_vacate(&scene, &pages)) || scene.why[0])
		test_fail(TEST_AT(TEST_EXPECT), "%s, and nobody was killed: %s", op->name, scene.why);
	scene_close(&scene);
	named_note(mine->hits);
	return pages;
}

static void plan(const struct operation *op)
{
	uint64_t pages = rehearse(op);

	for (uint32_t i = 0; i < named_points(); i++) {
		uint64_t hits = mine->hits[i];

		for (uint64_t k = 1; k <= hits && k <= 2; k++)
			add_job(op, i, k, pages);
		if (hits > 3)
			add_job(op, i, 3 + test_random_below(hits - 3), pages);
		if (hits > 2)
			add_job(op, i, hits, pages);
	}
}

static void count_death(enum fate fate)
{
	__atomic_fetch_add(&round->deaths, 1, __ATOMIC_RELAXED);
	__atomic_fetch_add(&round->missed, fate == ENDED, __ATOMIC_RELAXED);
}

/* By survivors: everything that scene.h wants. */
static void settle_and_look(const struct job *job, struct scene *scene)
{
	enum adopter adopter = (enum adopter)((job->death.point + job->death.k) % ADOPTERS);
	uint64_t pages = job->pages;

	if (!(scene_settle(scene, adopter) && scene_intact(scene, mine->told.result == 0) && scene_vacate(scene, &pages)) || scene->why[0])
		note_failure(mine, scene->why);
}

static void die_once(const struct job *job)
{
	struct scene scene;
	enum fate fate;

	snprintf(mine->now, sizeof(mine->now), "%s, %s:%llu", job->op->name,
	         named_name(job->death.point), (unsigned long long)job->death.k);
	scene_open(&scene, job->op, &mine->told);
	fate = named_run(scene_victim, &scene, job->death, NULL);
	if (fate == BROKEN)
		scene_wrong(&scene, "the victim neither died there nor came to its end");
	count_death(fate);
	settle_and_look(job, &scene);
	scene_close(&scene);
}

TEST_WITH_LIMIT(death_at_each_point_of_an_operation, 300)
{
	begin_round();
	for (unsigned i = 0; i < operation_count; i++)
		plan(&operations[i]);
	for (unsigned i = 0; i < more_operation_count; i++)
		plan(&more_operations[i]);
	share_out(die_once);
}

/* ---- and its adopter ------------------------------------------------------------------- */

static void adopt_and_tidy(void *context)
{
	struct ltz_mem_options options = { 0 };
	struct scene *scene = context;
	struct ltz_mem *mem;

	scene_leave_parent(scene);
	if (ltz__map_attach(scene->fd, &options, &mem) < 0)
		_exit(2);
	crash_begin();
	ltz__adopt_dead(mem);
	for (int i = 0; i < 2; i++) {
		ltz__mem_set_now(mem, ltz__mem_now_ns(mem) + 10 * SECOND_NS);
		ltz__tick(mem);
	}
	crash_end();
	ltz__map_detach(mem);
}

/* The adopter's lease runs ahead as its clock did: until it is over. */
static void wait_for_lease(struct scene *scene)
{
	struct ltz_mem_options options = { 0 };

	if (!scene->first && ltz__map_attach(scene->fd, &options, &scene->first) < 0)
		abort();
	ltz__mem_set_now(scene->first, ltz__mem_now_ns(scene->first) + 60 * SECOND_NS);
}

/* One dies, and another, who adopts, dies there; NOWHERE: does not. */
static void die_and_adopt(const struct job *job, struct death second)
{
	struct scene scene;
	enum fate fate;

	snprintf(mine->now, sizeof(mine->now), "%s, %s:%llu, adopter at %s:%llu", job->op->name,
	         named_name(job->death.point), (unsigned long long)job->death.k, named_name(second.point),
	         (unsigned long long)second.k);
	scene_open(&scene, job->op, &mine->told);
	memset(mine->hits, 0, sizeof(mine->hits));
	fate = named_run(scene_victim, &scene, job->death, NULL);
	if (fate == BROKEN)
		scene_wrong(&scene, "the victim neither died there nor came to its end");
	fate = named_run(adopt_and_tidy, &scene, second, second.point == NOWHERE ? mine->hits : NULL);
	if (fate == BROKEN)
		scene_wrong(&scene, "the adopter neither died there nor came to its end");
	wait_for_lease(&scene);
	if (second.point != NOWHERE)
		count_death(fate);
	settle_and_look(job, &scene);
	scene_close(&scene);
}

#define ADOPTERS_EACH 8u

/* The same for the same job, whichever worker has it. */
static uint64_t chance(const struct job *job, uint64_t i, uint64_t limit)
{
	uint64_t x = (test_seed() ^ ((uint64_t)job->death.point << 32 | i)) * 0x9e3779b97f4a7c15u;

	return (x ^ x >> 29) * 0xbf58476d1ce4e5b9u % limit;
}

static void die_twice(const struct job *job)
{
	uint32_t chosen[NAMED_MOST], n = 0;
	uint64_t hits[NAMED_MOST];

	die_and_adopt(job, (struct death){ NOWHERE, 0 });
	memcpy(hits, mine->hits, sizeof(hits));
	for (uint32_t i = 0; i < named_points(); i++)
		if (hits[i])
			chosen[n++] = i;
	for (unsigned i = 0; i < ADOPTERS_EACH && n; i++) {
		uint32_t point = chosen[chance(job, 2 * i, n)];

		die_and_adopt(job, (struct death){ point, 1 + chance(job, 2 * i + 1, hits[point]) });
	}
}

/* For each point the first operation that has it on its way. */
TEST_WITH_LIMIT(death_of_the_adopter_of_one_who_died_at_a_point, 300)
{
	bool seen[NAMED_MOST] = { false };

	begin_round();
	for (unsigned i = 0; i < operation_count; i++) {
		uint64_t pages = rehearse(&operations[i]);

		for (uint32_t p = 0; p < named_points(); p++) {
			if (seen[p] || !mine->hits[p])
				continue;
			seen[p] = true;
			add_job(&operations[i], p, 1, pages);
			if (mine->hits[p] > 1)
				add_job(&operations[i], p, 2 + test_random_below(mine->hits[p] - 1), pages);
		}
	}
	share_out(die_twice);
}

/* ---- the end of a pool ---------------------------------------------------------------------- */

static void destroy_and_bury(void *context)
{
	struct ltz_mem_options options = { 0 };
	struct scene *scene = context;
	struct ltz_mem *mem;

	scene_leave_parent(scene);
	if (ltz__map_attach(scene->fd, &options, &mem) < 0)
		_exit(2);
	crash_begin();
	ltz__mem_destroy(mem);
	for (int i = 0; i < 2; i++) {
		ltz__tick(mem);
		ltz__mem_set_now(mem, ltz__mem_now_ns(mem) + 2 * SECOND_NS);
	}
	crash_end();
}

/* Whoever is left gives the memory back. */
static void expect_buried(struct scene *scene)
{
	struct ltz_mem *first = scene->first;

	EXPECT_EQ_INT(scene_set(first, 0, A_NUMBER(1)), -ESHUTDOWN);
	for (int i = 0; i < 2; i++) {
		ltz__tick(first);
		ltz__mem_set_now(first, ltz__mem_now_ns(first) + 2 * SECOND_NS);
	}
	EXPECT_EQ_INT(ltz__sys_next_data(scene->fd, first->geometry.space_offset), -ENXIO);
}

TEST(death_of_who_ends_a_pool)
{
	begin_round();
	for (uint32_t i = NOWHERE; i == NOWHERE || i < named_points(); i++) {
		struct scene scene;

		if (i != NOWHERE && !mine->hits[i])
			continue;
		scene_open(&scene, &operations[0], &mine->told);
		EXPECT_EQ_INT(named_run(destroy_and_bury, &scene, (struct death){ i, 1 }, i == NOWHERE ? mine->hits : NULL),
		              i == NOWHERE ? ENDED : DIED);
		if (i == NOWHERE)
			named_note(mine->hits);
		expect_buried(&scene);
		scene_close(&scene);
	}
}

/* ---- pools with a name ------------------------------------------------------------------------ */

TEST_WITH_LIMIT(death_on_the_way_to_a_name_and_from_it, 300) { named_pools(); }

/* ---- the account ------------------------------------------------------------------------- */

TEST(every_point_of_the_core_had_its_death)
{
	unsigned deaths = 0, points = named_points();

	printf("%-28s %10s %6s\n", "point", "hits", "kills");
	for (uint32_t i = 0; i < points; i++) {
		uint64_t hits = named_account->hits[i], kills = named_account->kills[i];

		printf("%-28s %10llu %6llu\n", named_name(i), (unsigned long long)hits, (unsigned long long)kills);
		deaths += kills > 0;
		if (!kills)
			test_fail(TEST_AT(TEST_EXPECT), "%s: %s", named_name(i), hits ? "nobody died there" : "on nobody's way");
		if (named_find(named_name(i)) != i)
			test_fail(TEST_AT(TEST_EXPECT), "%s: a name of two points", named_name(i));
	}
	printf("%u of %u points\n", deaths, points);
	EXPECT_TRUE(points > 0);
}
