/* SPDX-License-Identifier: MIT */
/* points.c - one victim killed, or stopped, at one point. */
#include "points.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "shm/mem.h"

static struct told *told_of(struct course *course) { return &course->board->told[2 * course->worker]; }

/* Opens the scene and brings a victim to the point. */
static struct victim go(struct course *course, struct scene *scene, struct point point, bool *lost)
{
	struct victim victim;

	scene_open(scene, course->op, told_of(course));
	victim = victim_start(scene_victim, scene);
	*lost = !trace_reach(&course->trace, &victim, point.step, point.inside) && !victim.broken;
	if (victim.broken)
		scene_wrong(scene, "the victim got signal or status 0x%x", victim.status);
	return victim;
}

/* Did the call return, and with what it should? */
static bool returned(struct scene *scene, const struct victim *victim)
{
	if (victim->ended && scene->told->result != 0)
		scene_wrong(scene, "the call gave %lld", (long long)scene->told->result);
	return victim->ended || scene->told->result == 0;
}

static bool end(struct scene *scene, bool good, char *why, size_t size)
{
	snprintf(why, size, "%s", scene->why);
	good = good && !scene->why[0];
	scene_close(scene);
	return good;
}

bool point_kill(struct course *course, struct point point, bool *lost, char *why, size_t size)
{
	enum adopter adopter = (enum adopter)((point.step + point.inside) % ADOPTERS);
	struct scene scene;
	struct victim victim = go(course, &scene, point, lost);
	bool done = returned(&scene, &victim);

	victim_kill(&victim);
	return end(&scene, !victim.broken && scene_settle(&scene, adopter) && scene_intact(&scene, done) &&
	                       scene_vacate(&scene, &course->board->pages), why, size);
}

/* ---- stopped -------------------------------------------------------------------------- */

/* Another process that does everything once, counted. */
static void do_beside(void *context)
{
	struct ltz_mem_options options = { 0 };
	struct scene *scene = context;
	struct told *told = scene->told + 1;
	struct ltz_mem *mem;
	bool early = false;

	scene_leave_parent(scene);
	if (ltz__map_attach(scene->fd, &options, &mem) < 0)
		return;
	crash_begin();
	told->result = scene_beside(scene, mem, &early, true) ? early : -1;
	crash_end();
	memcpy(told->why, scene->why, sizeof(told->why));
	ltz__map_detach(mem);
}

#define STEPS_BOUND(unhindered) (3 * (unhindered) + 20000)
#define STEPS_UNBOUND 2000000u

static bool count_beside(struct course *course, struct scene *scene, uint32_t bound, uint32_t *steps, bool *early)
{
	struct told *told = scene->told + 1;
	struct victim other;

	*told = (struct told){ .result = -1 };
	other = victim_start(do_beside, scene);
	*steps = trace_count(&other, bound);
	if (!other.ended) {
		victim_kill(&other);
		return scene_wrong(scene, "others took more than %u steps beside a stopped member", bound);
	}
	if (!victim_exit(&other) || told->result < 0)
		return scene_wrong(scene, "another process: %s", told->why);
	if (*steps > course->board->most_steps)
		course->board->most_steps = *steps;
	*early = told->result;
	scene_note_beside(scene);
	return true;
}

static bool first_beside(struct scene *scene, bool *early)
{
	struct ltz_mem_options options = { 0 };

	if (!scene->first && ltz__map_attach(scene->fd, &options, &scene->first) < 0)
		return scene_wrong(scene, "cannot join beside a stopped member");
	return scene_beside(scene, scene->first, early, false);
}

#define COUNTED_ONE_IN 64u
#define HELD_ONE_IN    4u

bool point_stop(struct course *course, struct point point, bool *lost, char *why, size_t size)
{
	struct scene scene;
	struct victim victim = go(course, &scene, point, lost);
	uint64_t chance = (point.step * 0x9e3779b97f4a7c15u + crash_seed) >> 32;
	bool good, early = false, ended = victim.ended;
	uint32_t steps;

	scene.resize_first = chance / 256 % 2;
	if (course->board->unhindered && chance % COUNTED_ONE_IN == 0)
		good = count_beside(course, &scene, STEPS_BOUND(course->board->unhindered), &steps, &early);
	else
		good = first_beside(&scene, &early);
	if (good && scene.first && chance % HELD_ONE_IN == 0)
		good = scene_held(&scene);
	victim_finish(&victim);
	returned(&scene, &victim);
	if (victim.broken || !victim_exit(&victim))
		good = scene_wrong(&scene, "the stopped one went on and ended with status 0x%x", victim.status);
	if (good && !ended)
		scene_went_on(&scene, early);
	scene.key = NO_KEY; /* decided */
	return end(&scene, good && scene_settle(&scene, BY_FIRST) && scene_intact(&scene, true) &&
	                       scene_vacate(&scene, &course->board->pages), why, size);
}

/* ---- neither --------------------------------------------------------------------------------- */

static bool count_unhindered(struct course *course, char *why, size_t size)
{
	struct scene scene;
	struct victim victim;
	bool early, good;

	scene_open(&scene, course->op, told_of(course));
	victim = victim_start(scene_victim, &scene);
	victim_finish(&victim);
	good = victim_exit(&victim) || scene_wrong(&scene, "status 0x%x", victim.status);
	good = good && count_beside(course, &scene, STEPS_UNBOUND, &course->board->unhindered, &early);
	course->board->most_steps = 0;
	return end(&scene, good, why, size);
}

bool point_none(struct course *course, bool count, char *why, size_t size)
{
	struct scene scene;
	struct victim victim;
	bool good;

	course->board->pages = 0;
	if (count && !count_unhindered(course, why, size))
		return false;
	scene_open(&scene, course->op, told_of(course));
	victim = victim_start(scene_victim, &scene);
	victim_finish(&victim);
	returned(&scene, &victim);
	good = victim_exit(&victim) || scene_wrong(&scene, "status 0x%x", victim.status);
	return end(&scene, good && scene_settle(&scene, BY_FIRST) && scene_intact(&scene, true) &&
	                       scene_vacate(&scene, &course->board->pages), why, size);
}
