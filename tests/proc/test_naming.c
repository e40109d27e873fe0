/* SPDX-License-Identifier: MIT */
/* test_naming.c - names: who sees them, how they end, where they may lie. */
#include "proc.h"
#include "sys/fault.h"

#define NOBODY 65534

/* What a killed last member leaves: a socket on which nobody listens. */
struct seen {
	unsigned count;
	struct ltz_pool_info last;
};

static int see(void *context, const struct ltz_pool_info *info)
{
	struct seen *seen = context;

	seen->count++;
	seen->last = *info;
	return 0;
}

static int stop_at_first(void *context, const struct ltz_pool_info *info)
{
	(void)info;
	++*(unsigned *)context;
	return 7;
}

TEST(list_tells_what_the_members_know)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct seen seen = { 0 };
	struct role role;
	ltz_pool *pool;

	EXPECT_EQ_INT(ltz_list(dir, see, &seen), 0);
	EXPECT_EQ_U64(seen.count, 0);
	options.max_size_bytes = 64u << 20;
	ASSERT_EQ_INT(ltz_create("listed", &options, &pool), 0);
	ASSERT_EQ_INT(set_number(pool, "a", 1), 0);
	ASSERT_EQ_INT(set_number(pool, "b", 1), 0);
	role_start(&role, dir);
	ASSERT_EQ_INT(role_ask(&role, "connect listed 0"), 0);
	EXPECT_EQ_INT(ltz_list(dir, see, &seen), 0);
	EXPECT_EQ_U64(seen.count, 1);
	EXPECT_STR(seen.last.name, "listed");
	EXPECT_EQ_INT(seen.last.answered, 1);
	EXPECT_EQ_INT(seen.last.auth + seen.last.encryption, 0);
	EXPECT_EQ_U64(seen.last.members, 2);
	EXPECT_EQ_U64(seen.last.keys, 2);
	EXPECT_EQ_U64(seen.last.max_bytes, 64u << 20);
	EXPECT_TRUE(seen.last.used_bytes > 0);
	EXPECT_TRUE(seen.last.created_ms > 1500000000000 && seen.last.heartbeat_ms >= seen.last.created_ms);
	role_end(&role);
	ltz_close(pool);
}

TEST(list_ends_when_the_visitor_says_so)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	unsigned count = 0;
	ltz_pool *a, *b;

	ASSERT_EQ_INT(ltz_create("first", &options, &a), 0);
	ASSERT_EQ_INT(ltz_create("second", &options, &b), 0);
	EXPECT_EQ_INT(ltz_list(dir, stop_at_first, &count), 7);
	EXPECT_EQ_U64(count, 1);
	ltz_close(a);
	ltz_close(b);
}

/* What else a crash may leave: folder of a maker killed before it had the name; removals cut short. */
static void leave_folder(const char *dir, const char *folder, const char *file)
{
	char path[200];

	ASSERT_TRUE(snprintf(path, sizeof path, "%s/%s", dir, folder) < (int)sizeof path);
	ASSERT_OK(mkdir(path, 0700));
	if (file == NULL)
		return;
	ASSERT_TRUE(snprintf(path, sizeof path, "%s/%s/%s", dir, folder, file) < (int)sizeof path);
	ASSERT_OK(close(open(path, O_CREAT | O_WRONLY, 0600)));
}

TEST(stale_names_are_removed_by_list)
{
	const char *dir = test_directory();
	struct seen seen = { 0 };

	leave_stale_name(dir, "stale");
	leave_folder(dir, "empty.pool", NULL);
	leave_folder(dir, ".new-0123456789abcdef", NULL);
	leave_folder(dir, ".new-0123456789abcdee", "0123456789abcdee");
	EXPECT_EQ_U64(count_entries(dir), 4);
	EXPECT_EQ_INT(ltz_list(dir, see, &seen), 0);
	EXPECT_EQ_U64(seen.count, 0);
	EXPECT_EQ_U64(count_entries(dir), 0);
}

/* What does not belong there is removed too, or it would keep the name for ever. */
TEST(a_foreign_file_does_not_keep_a_name)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	char path[200];
	ltz_pool *pool;

	snprintf(path, sizeof path, "%s/foreign.pool", dir);
	ASSERT_OK(close(open(path, O_CREAT | O_WRONLY, 0600)));
	EXPECT_EQ_INT(ltz_connect("foreign", &options, &pool), -ENOENT);
	ASSERT_OK(symlink("/", path));
	EXPECT_EQ_INT(ltz_exists("foreign", dir), -ENOENT);
	leave_folder(dir, "foreign.pool", "a");
	snprintf(path, sizeof path, "%s/foreign.pool/b", dir);
	ASSERT_OK(close(open(path, O_CREAT | O_WRONLY, 0600)));
	ASSERT_EQ_INT(ltz_create("foreign", &options, &pool), 0);
	ltz_close(pool);
	EXPECT_EQ_U64(count_entries(dir), 0);
}

TEST(stale_names_are_removed_by_exists_connect_create_and_destroy)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	ltz_pool *pool;

	leave_stale_name(dir, "stale");
	EXPECT_EQ_INT(ltz_exists("stale", dir), -ENOENT);
	EXPECT_EQ_U64(count_entries(dir), 0);
	leave_stale_name(dir, "stale");
	EXPECT_EQ_INT(ltz_connect("stale", &options, &pool), -ENOENT);
	EXPECT_EQ_U64(count_entries(dir), 0);
	leave_stale_name(dir, "stale");
	EXPECT_EQ_INT(ltz_destroy("stale", &options), -ENOENT);
	EXPECT_EQ_U64(count_entries(dir), 0);
	leave_stale_name(dir, "stale");
	EXPECT_EQ_INT(ltz_create("stale", &options, &pool), 0);
	EXPECT_EQ_INT(ltz_exists("stale", dir), 0);
	ltz_close(pool);
	EXPECT_EQ_U64(count_entries(dir), 0);
}

TEST(stopped_members_hold_their_pool)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct seen seen = { 0 };
	struct role role;
	ltz_pool *pool;

	options.timeout_ms = 300;
	role_start(&role, dir);
	ASSERT_EQ_INT(role_ask(&role, "create stopped 64"), 0);
	ASSERT_OK(kill(role.pid, SIGSTOP));
	ASSERT_OK(waitpid(role.pid, NULL, WUNTRACED));
	EXPECT_EQ_INT(ltz_exists("stopped", dir), 0);
	EXPECT_EQ_INT(ltz_list(dir, see, &seen), 0);
	EXPECT_EQ_U64(seen.count, 1);
	EXPECT_STR(seen.last.name, "stopped");
	EXPECT_EQ_INT(seen.last.answered, 0);
	EXPECT_EQ_U64(seen.last.keys + seen.last.members + seen.last.max_bytes, 0);
	EXPECT_EQ_INT(ltz_connect("stopped", &options, &pool), -ETIMEDOUT);
	EXPECT_CONTAINS(ltz_error_detail(), "stopped");
	EXPECT_EQ_INT(ltz_create("stopped", &options, &pool), -EEXIST);
	EXPECT_EQ_INT(ltz_destroy("stopped", &options), -ETIMEDOUT);
	ASSERT_OK(kill(role.pid, SIGCONT));
	options.timeout_ms = 10000;
	EXPECT_EQ_INT(ltz_connect("stopped", &options, &pool), 0);
	ltz_close(pool);
	role_end(&role);
}

TEST(one_stopped_member_does_not_keep_a_joiner_out)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct role stopped, running;
	ltz_pool *pool;

	role_start(&stopped, dir);
	role_start(&running, dir);
	ASSERT_EQ_INT(role_ask(&stopped, "create halves 64"), 0);
	ASSERT_EQ_INT(role_ask(&running, "connect halves 0"), 0);
	ASSERT_OK(kill(stopped.pid, SIGSTOP));
	ASSERT_OK(waitpid(stopped.pid, NULL, WUNTRACED));
	for (int i = 0; i < 5; i++) {
		ASSERT_EQ_INT(ltz_connect("halves", &options, &pool), 0);
		ltz_close(pool);
	}
	role_end(&running);
	role_kill(&stopped);
}

/* Takes, gives back, ends and removes names, for ever. */
static void change_names(void *context)
{
	const char *dir = context;
	struct ltz_open_options options = options_in(dir);
	ltz_pool *pool;

	for (;;) {
		ASSERT_EQ_INT(ltz_create("changing", &options, &pool), 0);
		ASSERT_EQ_INT(ltz_destroy("changing", &options), 0);
		ltz_close(pool);
		leave_stale_name(dir, "left");
		ASSERT_EQ_INT(ltz_exists("left", dir), -ENOENT);
	}
}

/* Every kind of call on names that the stopped process does not hold. */
static void expect_usable_names(const char *dir)
{
	struct ltz_open_options options = options_in(dir);
	ltz_pool *a, *b;

	options.timeout_ms = 2000; /* a stopped process is waited for in vain */
	leave_stale_name(dir, "stale");
	EXPECT_EQ_INT(ltz_exists("stale", dir), -ENOENT);
	leave_stale_name(dir, "stale");
	EXPECT_EQ_INT(ltz_connect("stale", &options, &a), -ENOENT);
	leave_stale_name(dir, "stale");
	ASSERT_EQ_INT(ltz_create("stale", &options, &a), 0);
	ASSERT_EQ_INT(ltz_connect("stale", &options, &b), 0);
	ltz_close(b);
	EXPECT_EQ_INT(ltz_destroy("stale", &options), 0);
	EXPECT_EQ_INT(ltz_exists("stale", dir), -ENOENT);
	ltz_close(a);
}

TEST_WITH_LIMIT(a_process_stopped_while_it_changes_names_keeps_nobody_from_others, 120)
{
	const char *dir = test_directory();
	pid_t child = test_fork(change_names, (void *)dir);
	int status;

	for (int i = 0; i < 60; i++) {
		uint64_t until_ns = now_ns() + test_random_below(3000000);

		while (now_ns() < until_ns)
			;
		ASSERT_OK(kill(child, SIGSTOP));
		ASSERT_EQ_INT(waitpid(child, &status, WUNTRACED), child);
		ASSERT_TRUE(WIFSTOPPED(status)); /* else it failed */
		expect_usable_names(dir);
		ASSERT_OK(kill(child, SIGCONT));
	}
	test_kill(child);
}

/* ---- destroy ------------------------------------------------------------------------ */

TEST(destroy_ends_the_pool_for_every_member_and_frees_the_name)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct role a, b;
	ltz_pool *fresh;
	int64_t number;

	role_start(&a, dir);
	role_start(&b, dir);
	ASSERT_EQ_INT(role_ask(&a, "create doomed 64"), 0);
	ASSERT_EQ_INT(role_ask(&b, "connect doomed 0"), 0);
	ASSERT_EQ_INT(role_ask(&b, "set k 1"), 0);
	EXPECT_EQ_INT(ltz_destroy("doomed", &options), 0);
	ASSERT_EQ_INT(ltz_create("doomed", &options, &fresh), 0);
	EXPECT_EQ_INT(role_ask(&a, "set k 2"), -ESHUTDOWN);
	EXPECT_EQ_INT(role_ask(&b, "get k"), -ESHUTDOWN);
	EXPECT_EQ_INT(get_number(fresh, "k", &number), LTZ_NOT_FOUND);
	EXPECT_EQ_INT(role_ask(&a, "close"), 0);
	ASSERT_EQ_INT(role_ask(&a, "connect doomed 0"), 0);
	EXPECT_EQ_INT(role_ask(&a, "set k 3"), 0);
	EXPECT_EQ_INT(get_number(fresh, "k", &number), 0);
	EXPECT_EQ_INT(number, 3);
	role_end(&a);
	role_end(&b); /* leaves the destroyed one: the new one's name must survive that */
	EXPECT_EQ_INT(ltz_exists("doomed", dir), 0);
	ltz_close(fresh);
	EXPECT_EQ_U64(count_entries(dir), 0);
}

TEST(a_member_can_destroy_its_own_pool_and_make_it_again)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	unsigned before = count_descriptors();
	ltz_pool *old, *fresh;
	int64_t number;

	EXPECT_EQ_INT(ltz_destroy("own", &options), -ENOENT);
	ASSERT_EQ_INT(ltz_create("own", &options, &old), 0);
	EXPECT_EQ_INT(ltz_destroy("own", &options), 0);
	EXPECT_EQ_INT(ltz_exists("own", dir), -ENOENT);
	EXPECT_EQ_INT(set_number(old, "k", 1), -ESHUTDOWN);
	ASSERT_EQ_INT(ltz_create("own", &options, &fresh), 0);
	EXPECT_EQ_INT(get_number(old, "k", &number), -ESHUTDOWN);
	EXPECT_EQ_INT(set_number(fresh, "k", 1), 0);
	ltz_close(old);
	EXPECT_EQ_INT(get_number(fresh, "k", &number), 0);
	ltz_close(fresh);
	EXPECT_EQ_U64(count_entries(dir), 0);
	EXPECT_EQ_U64(count_descriptors(), before);
}

/* ---- the directory ---------------------------------------------------------------------- */

/* Every call that takes a directory refuses this one, and says why. */
static void expect_refused(const char *path, const char *why)
{
	struct ltz_open_options options = options_in(path);
	ltz_pool *pool;

	EXPECT_EQ_INT(ltz_create("refused", &options, &pool), -EACCES);
	EXPECT_CONTAINS(ltz_error_detail(), path);
	EXPECT_CONTAINS(ltz_error_detail(), why);
	EXPECT_EQ_INT(ltz_connect("refused", &options, &pool), -EACCES);
	EXPECT_EQ_INT(ltz_exists("refused", path), -EACCES);
	EXPECT_EQ_INT(ltz_destroy("refused", &options), -EACCES);
	EXPECT_EQ_INT(ltz_list(path, see, &(struct seen){ 0 }), -EACCES);
}

TEST(a_directory_that_others_can_enter_is_refused)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/open", test_directory());
	ASSERT_OK(mkdir(path, 0755));
	ASSERT_OK(chmod(path, 0755));
	expect_refused(path, "chmod 700");
}

TEST(a_symbolic_link_or_a_file_is_no_directory)
{
	const char *dir = test_directory();
	char target[4096], link_path[4096], file[4096];

	snprintf(target, sizeof target, "%s/target", dir);
	snprintf(link_path, sizeof link_path, "%s/link", dir);
	snprintf(file, sizeof file, "%s/file", dir);
	ASSERT_OK(mkdir(target, 0700));
	ASSERT_OK(symlink(target, link_path));
	ASSERT_OK(close(open(file, O_CREAT | O_WRONLY, 0600)));
	expect_refused(link_path, "symbolic link");
	expect_refused(file, "a file");
}

TEST(a_directory_of_another_user_is_refused)
{
	char path[4096];

	if (geteuid() != 0)
		test_skip("needs root");
	snprintf(path, sizeof path, "%s/theirs", test_directory());
	ASSERT_OK(mkdir(path, 0700));
	ASSERT_OK(chown(path, NOBODY, NOBODY));
	expect_refused(path, "user 65534");
}

TEST(the_directory_comes_from_the_environment)
{
	const char *dir = test_directory();
	char runtime[4096], own[4096], made[4200];
	ltz_pool *pool;

	snprintf(runtime, sizeof runtime, "%s/runtime", dir);
	snprintf(own, sizeof own, "%s/own", dir);
	ASSERT_OK(mkdir(runtime, 0700));
	unsetenv("LATZERO_DIR");
	setenv("XDG_RUNTIME_DIR", runtime, 1);
	ASSERT_EQ_INT(ltz_create("env", NULL, &pool), 0);
	snprintf(made, sizeof made, "%s/latzero", runtime);
	EXPECT_EQ_INT(ltz_exists("env", made), 0);
	ltz_close(pool);
	setenv("LATZERO_DIR", own, 1);
	ASSERT_EQ_INT(ltz_create("env", NULL, &pool), 0);
	EXPECT_EQ_INT(ltz_exists("env", own), 0);
	EXPECT_EQ_INT(ltz_exists("env", made), -ENOENT);
	ltz_close(pool);
}

/* ---- other users ---------------------------------------------------------------------------- */

static void try_as_another_user(void *context)
{
	const char *dir = context;
	struct ltz_open_options options = options_in(dir);
	ltz_pool *pool;

	ASSERT_OK(setgid(NOBODY));
	ASSERT_OK(setuid(NOBODY));
	EXPECT_EQ_INT(ltz_connect("private", &options, &pool), -EACCES);
	EXPECT_EQ_INT(ltz_list(dir, see, &(struct seen){ 0 }), -EACCES);
}

TEST(another_user_is_kept_out_and_even_root_joins_only_its_own)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	ltz_pool *pool;

	if (geteuid() != 0)
		test_skip("needs root");
	ASSERT_EQ_INT(ltz_create("private", &options, &pool), 0);
	test_wait(test_fork(try_as_another_user, (void *)dir));
	ltz_close(pool);
}

/*
 * The directory's mode is the first wall. Here it has been torn down: the
 * second is that each side looks at the other's user.
 */
struct packet_head {
	uint64_t magic;
	uint32_t version;
	int32_t what;
};

struct packet_hello {
	struct packet_head head;
	char name[104];
};

static void ask_as_another_user(void *context)
{
	const struct sockaddr_un *address = context;
	const struct packet_hello hello = { { 0x6c61747a65726f31ull, 1, 1 }, "private" };
	struct packet_head answer = { 0 };
	char control[256];
	struct iovec part = { &answer, sizeof answer };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	ASSERT_OK(setgid(NOBODY));
	ASSERT_OK(setuid(NOBODY));
	ASSERT_OK(connect(fd, (const struct sockaddr *)address, sizeof *address));
	ASSERT_EQ_INT(send(fd, &hello, sizeof hello, 0), sizeof hello);
	ASSERT_EQ_INT(recvmsg(fd, &message, 0), sizeof answer);
	EXPECT_EQ_INT(answer.what, -EACCES);
	EXPECT_EQ_U64(message.msg_controllen, 0);
}

TEST(a_member_tells_another_user_nothing)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct sockaddr_un address;
	char folder[200];
	ltz_pool *pool;

	if (geteuid() != 0)
		test_skip("needs root");
	ASSERT_EQ_INT(ltz_create("private", &options, &pool), 0);
	address = address_of(dir, "private");
	snprintf(folder, sizeof folder, "%s/private.pool", dir);
	ASSERT_OK(chmod(dir, 0711));
	ASSERT_OK(chmod(folder, 0711));
	ASSERT_OK(chmod(address.sun_path, 0777));
	test_wait(test_fork(ask_as_another_user, &address));
	ASSERT_OK(chmod(dir, 0700));
	ltz_close(pool);
}

/* ---- what the system lacks ---------------------------------------------------------- */

#ifdef LTZ_FAULTS

/* The n-th call of this thread fails while list runs; false: it makes fewer. */
static bool list_failing(const char *dir, uint64_t n, int *result, struct seen *seen)
{
	*seen = (struct seen){ 0 };
	ltz__fault_set_call(LTZ_FAULT_THREAD, n, EMFILE);
	*result = ltz_list(dir, see, seen);
	bool reached = ltz__fault_calls(LTZ_FAULT_THREAD) >= n;
	ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
	return reached;
}

TEST(a_list_leaves_no_pool_out_because_it_could_not_ask)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	struct seen seen;
	ltz_pool *pool;
	int result;

	ASSERT_EQ_INT(ltz_create("there", &options, &pool), 0);
	for (uint64_t n = 1; list_failing(dir, n, &result, &seen); n++)
		EXPECT_EQ_U64(seen.count, result == 0);
	EXPECT_EQ_U64(seen.count, 1);
	ltz_close(pool);
}

TEST(nobody_is_there_also_when_the_name_cannot_be_removed)
{
	const char *dir = test_directory();
	int result;
	bool reached = true;

	for (uint64_t n = 1; reached; n++) {
		if (count_entries(dir) == 0)
			leave_stale_name(dir, "stale");
		ltz__fault_set_call(LTZ_FAULT_THREAD, n, EMFILE);
		result = ltz_exists("stale", dir);
		reached = ltz__fault_calls(LTZ_FAULT_THREAD) >= n;
		ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
		EXPECT_TRUE(result == -ENOENT || (result < 0 && n < 12)); /* from there on it is removing */
	}
	EXPECT_EQ_INT(result, -ENOENT);
}

TEST(a_destroy_that_fails_has_destroyed_nothing)
{
	const char *dir = test_directory();
	struct ltz_open_options options = options_in(dir);
	bool reached = true;

	for (uint64_t n = 1; reached; n++) {
		ltz_pool *pool;
		ASSERT_EQ_INT(ltz_create("doomed", &options, &pool), 0);
		ltz__fault_set_call(LTZ_FAULT_THREAD, n, EIO);
		int result = ltz_destroy("doomed", &options);
		reached = ltz__fault_calls(LTZ_FAULT_THREAD) >= n;
		ltz__fault_set_call(LTZ_FAULT_THREAD, 0, 0);
		EXPECT_EQ_INT(set_number(pool, "k", 1), result == 0 ? -ESHUTDOWN : 0);
		ltz_close(pool);
	}
}

#endif
