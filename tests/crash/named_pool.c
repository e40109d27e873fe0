/* SPDX-License-Identifier: MIT */
/*
 * named_pool.c - deaths on the way to a pool by its name, in its service and
 * on the way out. Perhaps a bystander (tests/proc/role_member.c) is in the
 * pool already, made it and set k to 1. Victims act by themselves; or they
 * serve, and the test acts on them. Afterwards bystander and test go on, and
 * in the end nothing is left of the name.
 */
#include "named.h"

#include "../proc/proc.h"
#include "pool/handshake.h"
#include "sys/sys.h"

struct stage {
	char dir[96];
	struct ltz_open_options options;
	unsigned lock; /* flags to create with */
	struct role bystander;
	const char *last; /* point that a serving victim comes by at last */
	struct test_gate ready, go;
};

struct pool_scene {
	const char *name;
	bool bystander, locked;
	void (*before)(struct stage *stage);
	void (*victim)(void *stage);
	void (*act)(struct stage *stage);   /* on a victim that serves; NULL: it acts by itself */
	const char *last;
	void (*after)(struct stage *stage); /* NULL: as always */
};

static int ignore(void *context, const struct ltz_pool_info *info)
{
	(void)context, (void)info;
	return 0;
}

/* ---- victims that act by themselves -------------------------------------------------- */

static const char raw_key[32] = "mortal-key";

static ltz_pool *create(struct stage *stage)
{
	struct ltz_open_options options = stage->options;
	ltz_pool *pool;

	options.flags |= stage->lock;
	return ltz_create("mortal", &options, &pool) == 0 ? pool : NULL;
}

static ltz_pool *connect_to(struct stage *stage)
{
	ltz_pool *pool;

	return ltz_connect("mortal", &stage->options, &pool) == 0 ? pool : NULL;
}

static void end_with(bool good)
{
	crash_end();
	_exit(good ? 0 : 1);
}

static void victim_creates(void *context)
{
	ltz_pool *pool;

	crash_begin();
	pool = create(context);
	end_with(pool != NULL && set_number(pool, "k", 1) == 0);
}

static void victim_connects(void *context)
{
	ltz_pool *pool;

	crash_begin();
	pool = connect_to(context);
	end_with(pool != NULL && set_number(pool, "v", 1) == 0);
}

static void victim_leaves(void *context)
{
	ltz_pool *pool = connect_to(context);

	crash_begin();
	ltz_close(pool);
	end_with(pool != NULL);
}

static void victim_leaves_last(void *context)
{
	ltz_pool *pool = create(context);

	crash_begin();
	ltz_close(pool);
	end_with(pool != NULL);
}

/* Without ltz_close; crash_end comes when all of the library has ended. */
static void victim_exits(void *context)
{
	ltz_pool *pool = create(context);

	crash_begin();
	exit(pool != NULL ? 0 : 1);
}

static void victim_destroys(void *context)
{
	struct stage *stage = context;

	crash_begin();
	end_with(ltz_destroy("mortal", &stage->options) == 0);
}

static void victim_lists(void *context)
{
	struct stage *stage = context;

	crash_begin();
	end_with(ltz_list(stage->dir, ignore, NULL) == 0);
}

static void go_on_in_child(ltz_pool *pool)
{
	int64_t number;
	bool good = get_number(pool, "k", &number) == 0 && number == 1 && set_number(pool, "v", 2) == 0;

	ltz_close(pool);
	end_with(good);
}

static void count_breach(void *context, const char *line)
{
	printf("%s\n", line);
	++*(unsigned *)context;
}

static bool is_sound(ltz_pool *pool)
{
	unsigned breaches = 0;

	return ltz_check(pool, count_breach, &breaches) == 0 && breaches == 0;
}

/* A child that dies takes nothing from its parent, who then follows it: so the death is noted. */
static void victim_forks(void *context)
{
	ltz_pool *pool = connect_to(context);
	int status = 1;
	pid_t child;

	crash_begin();
	child = fork();
	if (child == 0)
		go_on_in_child(pool);
	waitpid(child, &status, 0);
	POLL_UNTIL(count_members(pool) == 2);
	if (WIFSIGNALED(status) && is_sound(pool) && set_number(pool, "v", 3) == 0)
		kill(getpid(), SIGKILL);
	end_with(status == 0 && set_number(pool, "v", 3) == 0);
}

/* ---- victims that serve ----------------------------------------------------------------- */

static void serve(struct stage *stage, ltz_pool *pool)
{
	crash_begin();
	test_gate_open(&stage->ready);
	test_gate_wait(&stage->go);
	POLL_UNTIL(named_hits(stage->last) > 0); /* the thread's last step may come after what the test saw of it */
	end_with(pool != NULL);
}

static void victim_serves(void *context)
{
	ltz_pool *pool = create(context);

	if (pool != NULL)
		set_number(pool, "k", 1);
	serve(context, pool);
}

static bool watches_somebody(void)
{
	DIR *stream = opendir("/proc/self/fd");
	bool found = false;

	for (struct dirent *entry; stream != NULL && (entry = readdir(stream)) != NULL;) {
		char target[64] = "";

		if (readlinkat(dirfd(stream), entry->d_name, target, sizeof target - 1) > 0)
			found |= strstr(target, "pidfd") != NULL;
	}
	closedir(stream);
	return found;
}

static void victim_watches(void *context)
{
	ltz_pool *pool = connect_to(context);

	POLL_UNTIL(watches_somebody());
	serve(context, pool);
}

/* ---- what the test does to them ------------------------------------------------------------ */

static void act_connect(struct stage *stage)
{
	ltz_pool *pool;
	int64_t number = 0;
	int r = ltz_connect("mortal", &stage->options, &pool);

	EXPECT_TRUE(r == 0 || r == -ENOENT); /* the only member died before it let us in */
	if (r != 0)
		return;
	EXPECT_EQ_INT(get_number(pool, "k", &number), 0);
	EXPECT_EQ_INT(number, 1);
	EXPECT_EQ_INT(set_number(pool, "k", 2), 0);
	expect_sound(pool);
	ltz_close(pool);
}

/* More often than it may be done at once. */
static void act_guess(struct stage *stage)
{
	static const char wrong[32] = "another-key";
	struct ltz_open_options options = stage->options;
	ltz_pool *pool;

	options.key = wrong;
	options.timeout_ms = 50;
	for (unsigned i = 0; i < 7; i++) {
		int r = ltz_connect("mortal", &options, &pool);
		EXPECT_TRUE(r == -EKEYREJECTED || r == -ENOENT || r == -ETIMEDOUT); /* it died, or is just dying */
	}
}

static void act_list(struct stage *stage)
{
	EXPECT_EQ_INT(ltz_list(stage->dir, ignore, NULL), 0);
}

static void act_destroy(struct stage *stage)
{
	int r = ltz_destroy("mortal", &stage->options);

	EXPECT_TRUE(r == 0 || r == -ENOENT);
}

/* A question for another pool. */
static void act_ask_wrongly(struct stage *stage)
{
	struct sockaddr_un address = address_of(stage->dir, "mortal");
	int fd = ltz__sys_connect(AT_FDCWD, address.sun_path);
	struct ltz_answer answer;

	EXPECT_TRUE(fd >= 0 || fd == -ECONNREFUSED); /* it may be dead by now, or when we ask */
	if (fd >= 0 && ltz__handshake_ask(fd, LTZ_ASK_IDENTITY, "other") == 0) {
		EXPECT_EQ_INT(ltz__sys_wait_readable(fd, 10000000000u), 0);
		EXPECT_TRUE(ltz__handshake_result(fd, LTZ_ASK_IDENTITY, &answer) < 0);
	}
	ltz__sys_close(fd);
}

static void act_kill_bystander(struct stage *stage)
{
	role_kill(&stage->bystander);
}

/* ---- before and after -------------------------------------------------------------------------- */

static void leave_dead_name(struct stage *stage)
{
	ASSERT_TRUE(crash_bury(victim_creates, stage, (struct last_step){ .point = "pool.confirmed" }));
}

static void leave_temporary_name(struct stage *stage)
{
	ASSERT_TRUE(crash_bury(victim_creates, stage, (struct last_step){ .point = "pool.listening" }));
	EXPECT_EQ_U64(count_entries(stage->dir), 1);
}

/* The name can be taken, found and left as if nothing had been. */
static void expect_usable(struct stage *stage)
{
	ltz_pool *pool = create(stage);

	ASSERT_TRUE(pool != NULL);
	EXPECT_EQ_INT(set_number(pool, "k", 1), 0);
	EXPECT_EQ_INT(ltz_exists("mortal", stage->dir), 0);
	EXPECT_EQ_U64(count_members(pool), 1);
	expect_sound(pool);
	ltz_close(pool);
	EXPECT_EQ_INT(ltz_list(stage->dir, ignore, NULL), 0);
	EXPECT_EQ_U64(count_entries(stage->dir), 0);
}

/* The bystander's pool is whole, without the victim. */
static void expect_in_use(struct stage *stage)
{
	ltz_pool *pool = connect_to(stage);
	int64_t number = 0;

	ASSERT_TRUE(pool != NULL);
	EXPECT_EQ_INT(role_value(&stage->bystander, "get k"), 1);
	EXPECT_EQ_INT(role_ask(&stage->bystander, "set k 2"), 0);
	POLL_UNTIL(role_value(&stage->bystander, "members") == 2);
	EXPECT_EQ_INT(get_number(pool, "k", &number), 0);
	EXPECT_EQ_INT(number, 2);
	expect_sound(pool);
	ltz_close(pool);
}

/* Either not at all or, for everybody: then the name is free, or a stranger's who makes it free. */
static void expect_destroyed_or_not(struct stage *stage)
{
	int r = role_ask(&stage->bystander, "set k 1");

	EXPECT_TRUE(r == 0 || r == -ESHUTDOWN);
	if (r == 0) {
		expect_in_use(stage);
		EXPECT_EQ_INT(ltz_destroy("mortal", &stage->options), 0);
		EXPECT_EQ_INT(role_ask(&stage->bystander, "set k 1"), -ESHUTDOWN);
	}
	expect_usable(stage); /* while the bystander still has its handle */
}

static void leave_stage(struct stage *stage, const struct pool_scene *scene)
{
	if (scene->after)
		scene->after(stage);
	else if (scene->bystander)
		expect_in_use(stage);
	if (scene->bystander && scene->act != act_kill_bystander)
		role_end(&stage->bystander);
	expect_usable(stage);
	EXPECT_EQ_INT(rmdir(stage->dir), 0);
}

/* ---- all of them ------------------------------------------------------------------------------------ */

static const struct pool_scene scenes[] = {
	{ "create", .victim = victim_creates },
	{ "create anew", .before = leave_dead_name, .victim = victim_creates },
	{ "connect", .bystander = true, .victim = victim_connects },
	{ "leave", .bystander = true, .victim = victim_leaves },
	{ "leave last", .victim = victim_leaves_last },
	{ "exit", .victim = victim_exits },
	{ "destroy", .bystander = true, .victim = victim_destroys, .after = expect_destroyed_or_not },
	{ "list", .before = leave_temporary_name, .victim = victim_lists },
	{ "fork", .bystander = true, .victim = victim_forks },
	{ "serve a join", .victim = victim_serves, .act = act_connect, .last = "pool.welcome_sent" },
	{ "serve a list", .victim = victim_serves, .act = act_list, .last = "pool.report_sent" },
	{ "serve an end", .victim = victim_serves, .act = act_destroy, .last = "pool.stopped_listening" },
	{ "serve nonsense", .victim = victim_serves, .act = act_ask_wrongly, .last = "pool.refused" },
	{ "lock", .locked = true, .victim = victim_creates },
	{ "prove", .bystander = true, .locked = true, .victim = victim_connects },
	{ "prove and destroy", .bystander = true, .locked = true, .victim = victim_destroys,
	  .after = expect_destroyed_or_not },
	{ "serve a proof", .locked = true, .victim = victim_serves, .act = act_connect, .last = "pool.entry_sent" },
	{ "serve guesses", .locked = true, .victim = victim_serves, .act = act_guess, .last = "pool.wait_sent" },
	{ "see a death", .bystander = true, .victim = victim_watches, .act = act_kill_bystander,
	  .last = "pool.death_settled", .after = expect_usable },
};

static void let_serve(const struct pool_scene *scene, struct stage *stage)
{
	close(stage->ready.ends[1]); /* so that its end is seen here if it fails */
	test_gate_wait(&stage->ready);
	scene->act(stage);
	test_gate_open(&stage->go);
}

static enum fate play(const struct pool_scene *scene, struct death death, uint64_t *hits)
{
	struct stage stage;
	enum fate fate;
	pid_t victim;

	snprintf(stage.dir, sizeof stage.dir, "%s/names", test_directory());
	stage.options = options_in(stage.dir);
	stage.options.max_size_bytes = 8 << 20;
	stage.last = scene->last;
	stage.lock = 0;
	if (scene->locked) {
		stage.options.key = raw_key;
		stage.options.key_size = sizeof raw_key;
		stage.options.flags = LTZ_RAW_KEY;
		stage.lock = LTZ_AUTH;
	}
	test_gate_init(&stage.ready);
	test_gate_init(&stage.go);
	if (scene->before)
		scene->before(&stage);
	if (scene->bystander) {
		role_start(&stage.bystander, stage.dir);
		if (scene->locked) {
			role_tell(&stage.bystander, "key %s %u", raw_key, LTZ_AUTH | LTZ_RAW_KEY);
			ASSERT_EQ_INT(role_hear(&stage.bystander, NULL), 0);
		}
		ASSERT_EQ_INT(role_ask(&stage.bystander, "create mortal 8"), 0);
		ASSERT_EQ_INT(role_ask(&stage.bystander, "set k 1"), 0);
	}
	victim = named_start(scene->victim, &stage, death, hits);
	if (scene->act)
		let_serve(scene, &stage);
	fate = named_wait(victim, death);
	leave_stage(&stage, scene);
	close(stage.ready.ends[0]);
	if (!scene->act)
		close(stage.ready.ends[1]);
	close(stage.go.ends[0]);
	close(stage.go.ends[1]);
	return fate;
}

#define REHEARSALS 3u /* the service thread's part may differ */
#define DEATH_TRIES 5u

/* Tried again if the death did not come, as the service thread had been busy, or quick. */
static enum fate die_at(const struct pool_scene *scene, struct death death, unsigned tries)
{
	enum fate fate = ENDED;

	for (unsigned i = 0; i < tries && fate == ENDED; i++)
		fate = play(scene, death, NULL);
	if (fate == BROKEN)
		test_fail(TEST_AT(TEST_EXPECT), "%s, %s:%llu: the victim neither died there nor came to its end", scene->name,
		          named_name(death.point), (unsigned long long)death.k);
	return fate;
}

/* At a point's first hit; of what is about names also at the second, if there are that many. */
static void die_everywhere(const struct pool_scene *scene, const uint64_t *hits)
{
	unsigned deaths = 0, missed = 0;

	for (uint32_t i = 0; i < named_points(); i++) {
		/* housekeeping and edits come by chance here, and have had their deaths */
		bool of_names = strncmp(named_name(i), "pool.", 5) == 0 || strncmp(named_name(i), "sys.", 4) == 0;

		for (uint64_t k = 1; k <= (of_names ? 2 : 1) && k <= (hits[i] + REHEARSALS - 1) / REHEARSALS; k++) {
			enum fate fate = die_at(scene, (struct death){ i, k }, of_names && k == 1 ? DEATH_TRIES : 1);

			deaths += fate == DIED;
			missed += fate == ENDED;
		}
	}
	printf("%-16s %3u deaths, %u that did not come\n", scene->name, deaths, missed);
}

void named_pools(void)
{
	uint64_t *hits = shared_memory(NAMED_MOST * sizeof(*hits));

	for (unsigned i = 0; i < sizeof scenes / sizeof scenes[0]; i++) {
		memset(hits, 0, NAMED_MOST * sizeof(*hits));
		for (unsigned k = 0; k < REHEARSALS; k++)
			if (play(&scenes[i], (struct death){ NOWHERE, 0 }, hits) != ENDED)
				test_fail(TEST_AT(TEST_EXPECT), "%s does not work, and nobody was killed", scenes[i].name);
		named_note(hits);
		die_everywhere(&scenes[i], hits);
	}
}
