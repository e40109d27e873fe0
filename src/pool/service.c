/* SPDX-License-Identifier: MIT */
/*
 * service.c - the process' one thread. See service.h.
 *
 *     wait (no lock) ──► lock ──► ready sockets ──► late visitors ──► turns, due ticks ──► unlock ─┐
 *        ▲                                                                                         │
 *        └─────────────────────────────────────────────────────────────────────────────────────────┘
 *
 * - A visitor is a half-open connection. There are at most VISITORS_MAX: one
 *   more drops the oldest of the process that has the most, so a flood of
 *   silent ones delays a rightful joiner, who speaks at once, by nothing.
 * - Who has confirmed that it knows the password of a locked pool waits for its
 *   turn: one that was drawn by lot is believed or not for each token of the
 *   pool's bucket (bucket.h). First a process is drawn, then one of its
 *   visitors: who guesses on many connections at once gains nothing by it.
 * - What epoll reports may have been freed between its wait and our lock, so a
 *   tag is used only after it was found in the lists. (A new object at an old
 *   one's address is harmless: its socket then says -EAGAIN.)
 * - A socket leaves the set before it is closed: others hold the same listening
 *   socket, and epoll would go on reporting it.
 */
#include <pthread.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "base/error.h"
#include "pool/bucket.h"
#include "pool/handshake.h"
#include "pool/proof.h"
#include "pool/rendezvous.h"
#include "pool/service.h"
#include "shm/mem.h"
#include "store/tick.h"
#include "sys/fault.h"
#include "sys/sys.h"

#define VISITORS_MAX 64
#define VISIT_NS 1000000000ull     /* a visitor's whole time                       */
#define TURN_NS 5000000000ull      /* and of one that waits for its turn           */
#define FIRST_TICK_NS 300000ull    /* after joining, which ends with a question to ourselves */
#define WAIT_MAX_NS 6000000000ull  /* a destroyed pool is noticed by then at last  */
#define ACCEPTS_MAX 16             /* a round, so that ticks get their turn        */
#define READY_MAX 32
#define REST_NS 10000000ull
#define FREEZE_TRIES 200

struct ltz_visitor {
	struct ltz_visitor *next; /* older ones come later */
	struct ltz_served *host;
	struct ltz_handshake handshake;
	uint32_t pid; /* as the kernel says; 0: of another pid namespace */
	bool told;    /* that it waits for its turn                      */
};

static struct {
	pthread_mutex_t lock;
	uint64_t waiting;  /* atomic: threads of the API that want the lock; ours lets them go first */
	uint64_t stopping; /* atomic: 1 tells the thread to end                                      */
	bool running;      /* under the registry lock, as thread and poll                            */
	struct ltz_thread thread;
	struct ltz_poll *poll; /* constant while anything is served */
	/* under lock */
	struct ltz_served *served;
	struct ltz_visitor *visitors;
	unsigned visitor_count;
	bool starved; /* somebody waits whom we cannot let in: no descriptor, no memory */
} service = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the lock -------------------------------------------------------------------- */

static void enter(void)
{
	fetch_add_relaxed(&service.waiting, 1);
	pthread_mutex_lock(&service.lock);
	fetch_add_relaxed(&service.waiting, UINT64_MAX);
}

static void leave(void)
{
	pthread_mutex_unlock(&service.lock);
}

/* The thread's own way in: a mutex is not fair, and it comes back very soon. */
static void enter_last(void)
{
	while (load_relaxed(&service.waiting) != 0)
		ltz__sys_yield();
	pthread_mutex_lock(&service.lock);
}

/* ---- visitors (under the lock) ------------------------------------------------------ */

static void free_visitor(struct ltz_visitor *visitor)
{
	ltz__handshake_deinit(&visitor->handshake);
	ltz__sys_close(visitor->handshake.fd);
	free(visitor);
}

static void drop_visitor(struct ltz_visitor **link)
{
	struct ltz_visitor *visitor = *link;

	*link = visitor->next;
	service.visitor_count--;
	ltz__sys_poll_remove(service.poll, visitor->handshake.fd);
	free_visitor(visitor);
}

static unsigned visitors_of(uint32_t pid)
{
	unsigned count = 0;

	for (const struct ltz_visitor *v = service.visitors; v != NULL; v = v->next)
		count += v->pid == pid;
	return count;
}

/* The oldest of the process that has the most. */
static void drop_some_visitor(void)
{
	struct ltz_visitor **chosen = NULL;
	unsigned most = 0;

	for (struct ltz_visitor **link = &service.visitors; *link != NULL; link = &(*link)->next) {
		unsigned count = visitors_of((*link)->pid);

		if (count >= most) {
			most = count;
			chosen = link;
		}
	}
	if (chosen != NULL)
		drop_visitor(chosen);
}

static void drop_visitors_of(const struct ltz_served *host)
{
	struct ltz_visitor **link = &service.visitors;

	while (*link != NULL) {
		if ((*link)->host == host)
			drop_visitor(link);
		else
			link = &(*link)->next;
	}
}

/* Drops those whose time is over; returns when the next one's will be. */
static uint64_t drop_late_visitors(uint64_t now_ns)
{
	struct ltz_visitor **link = &service.visitors;
	uint64_t first_ns = UINT64_MAX;

	while (*link != NULL) {
		uint64_t deadline_ns = (*link)->handshake.deadline_ns;
		if (deadline_ns <= now_ns) {
			drop_visitor(link);
			continue;
		}
		if (deadline_ns < first_ns)
			first_ns = deadline_ns;
		link = &(*link)->next;
	}
	return first_ns;
}

static struct ltz_offer offer_of(const struct ltz_served *host)
{
	return (struct ltz_offer){
		.name = host->name, .id = host->id, .mem = host->mem, .keys = host->keys,
		.memfd = host->memfd, .listener = host->listener,
	};
}

static int drive(struct ltz_visitor *visitor)
{
	const struct ltz_offer offer = offer_of(visitor->host);
	int r = ltz__handshake_serve(&visitor->handshake, &offer);

	if (visitor->handshake.state == LTZ_AWAITS_TURN)
		visitor->handshake.deadline_ns = ltz__sys_boottime_ns() + TURN_NS;
	return r;
}

/* Takes in the connection fd. Most have spoken already and are gone again at once. */
static void receive_visitor(struct ltz_served *host, int fd)
{
	struct ltz_visitor *visitor = LTZ_PTR_CALL(NULL, malloc(sizeof *visitor));
	uint32_t uid;

	if (visitor == NULL) {
		ltz__sys_close(fd);
		return;
	}
	*visitor = (struct ltz_visitor){
		.host = host,
		.handshake = { .fd = fd, .deadline_ns = ltz__sys_boottime_ns() + VISIT_NS },
	};
	if (drive(visitor) != -EAGAIN || ltz__sys_poll_add(service.poll, fd, visitor, false) < 0) {
		free_visitor(visitor);
		return;
	}
	(void)ltz__sys_peer(fd, &uid, &visitor->pid);
	if (service.visitor_count == VISITORS_MAX)
		drop_some_visitor();
	visitor->next = service.visitors;
	service.visitors = visitor;
	service.visitor_count++;
}

static void accept_visitors(struct ltz_served *host)
{
	for (int i = 0; i < ACCEPTS_MAX && host->listener >= 0; i++) {
		int fd = ltz__sys_accept(host->listener);
		if (fd < 0) {
			service.starved |= fd != -EAGAIN && fd != -ECONNABORTED;
			return;
		}
		LTZ_CRASH_POINT("pool.accepted");
		receive_visitor(host, fd);
	}
}

/* ---- whose turn it is (under the lock) -------------------------------------------------- */

static bool awaits_turn(const struct ltz_visitor *visitor, const struct ltz_served *host)
{
	return visitor->host == host && visitor->handshake.state == LTZ_AWAITS_TURN;
}

/* Is there none before it in the list of the same process that waits for its turn? */
static bool speaks_for_process(const struct ltz_visitor *visitor)
{
	for (const struct ltz_visitor *v = service.visitors; v != visitor; v = v->next)
		if (v->pid == visitor->pid && awaits_turn(v, visitor->host))
			return false;
	return true;
}

/* Of one of the processes, each as likely, the visitor that came first. NULL: nobody waits. */
static struct ltz_visitor **draw_visitor(const struct ltz_served *host)
{
	struct ltz_visitor **drawn = NULL;
	uint64_t processes = 0, number;
	uint32_t pid = 0;

	for (const struct ltz_visitor *v = service.visitors; v != NULL; v = v->next)
		processes += awaits_turn(v, host) && speaks_for_process(v);
	if (processes == 0 || ltz__sys_random(&number, sizeof number) < 0)
		return NULL;
	number %= processes;
	for (const struct ltz_visitor *v = service.visitors; v != NULL; v = v->next)
		if (awaits_turn(v, host) && speaks_for_process(v) && number-- == 0)
			pid = v->pid;
	for (struct ltz_visitor **link = &service.visitors; *link != NULL; link = &(*link)->next)
		if ((*link)->pid == pid && awaits_turn(*link, host))
			drawn = link;
	return drawn;
}

/* Those that wait, once. Returns whether any does. */
static bool tell_all(const struct ltz_served *host, uint64_t retry_ns)
{
	bool any = false;

	for (struct ltz_visitor *v = service.visitors; v != NULL; v = v->next) {
		if (!awaits_turn(v, host))
			continue;
		any = true;
		if (retry_ns != 0 && !v->told)
			ltz__proof_tell(&v->handshake, retry_ns);
		v->told |= retry_ns != 0;
	}
	return any;
}

/* Believes or refuses as many as the bucket allows; returns when to come again. */
static uint64_t give_turns(const struct ltz_served *host)
{
	uint64_t *guesses = ltz__mem_guesses(host->mem);
	const struct ltz_offer offer = offer_of(host);

	while (tell_all(host, 0)) {
		uint64_t retry_ns = ltz__bucket_take(guesses, ltz__mem_now_ns(host->mem));
		if (retry_ns != 0) {
			tell_all(host, retry_ns);
			return ltz__sys_boottime_ns() + retry_ns;
		}
		LTZ_CRASH_POINT("pool.charged");
		struct ltz_visitor **link = draw_visitor(host);
		/* Only a wrong password is charged: not our failing, nor the pool's end. */
		if (link == NULL || ltz__proof_judge(&(*link)->handshake, &offer) != -EKEYREJECTED)
			ltz__bucket_give_back(guesses);
		if (link == NULL)
			return ltz__sys_boottime_ns() + REST_NS;
		drop_visitor(link);
	}
	return UINT64_MAX;
}

/* ---- the thread's work (under the lock) ------------------------------------------------ */

/* The pool was destroyed: nobody is to be let in any more. */
static void stop_listening(struct ltz_served *served)
{
	if (served->listener < 0)
		return;
	drop_visitors_of(served);
	ltz__sys_poll_remove(service.poll, served->listener);
	ltz__sys_close(served->listener);
	served->listener = -1;
	LTZ_CRASH_POINT("pool.stopped_listening");
	ltz__name_leave(served->dir, served->name);
}

static void handle_ready(const void *tag)
{
	for (struct ltz_served *served = service.served; served != NULL; served = served->next)
		if (served == tag) {
			accept_visitors(served);
			return;
		} else if (ltz__deaths_ready(&served->deaths, service.poll, served->mem, tag)) {
			served->due_ns = 0; /* its tick goes on with what the dead left */
			return;
		}
	for (struct ltz_visitor **link = &service.visitors; *link != NULL; link = &(*link)->next)
		if (*link == tag) {
			if (drive(*link) != -EAGAIN)
				drop_visitor(link);
			return;
		}
}

static void keep_house(struct ltz_served *served)
{
	if (ltz__mem_destroyed(served->mem))
		stop_listening(served);
	/* Before the tick: what is rung for during it is done by the next. pairs with: pool/service.c:ring */
	if (exchange_seq_cst(&served->rung, 0) == 0 && ltz__sys_boottime_ns() < served->due_ns)
		return;
	uint64_t wanted_ns = ltz__tick(served->mem);
	if (wanted_ns > WAIT_MAX_NS)
		wanted_ns = WAIT_MAX_NS;
	served->due_ns = ltz__sys_boottime_ns() + wanted_ns;
	ltz__deaths_renew(&served->deaths, service.poll, served->mem, ltz__sys_boottime_ns());
}

/* One round; returns how long to wait for the next. */
static uint64_t work(void *const *ready, int count)
{
	for (int i = 0; i < count; i++)
		handle_ready(ready[i]);
	uint64_t next_ns = drop_late_visitors(ltz__sys_boottime_ns());
	for (struct ltz_served *served = service.served; served != NULL; served = served->next) {
		uint64_t turn_ns = give_turns(served);
		keep_house(served);
		if (turn_ns < next_ns)
			next_ns = turn_ns;
		if (served->due_ns < next_ns)
			next_ns = served->due_ns;
	}
	uint64_t now_ns = ltz__sys_boottime_ns();
	if (next_ns <= now_ns)
		return 0;
	return next_ns - now_ns < WAIT_MAX_NS ? next_ns - now_ns : WAIT_MAX_NS;
}

static void rest(void)
{
	static const uint32_t never = 0;

	(void)ltz__sys_futex_wait(&never, never, REST_NS);
}

static void run(void *context)
{
	void *ready[READY_MAX];
	uint64_t wait_ns = 0;

	(void)context;
	/* sees the wish to end; pairs with: pool/service.c:ltz__service_stop */
	while (load_acquire(&service.stopping) == 0) {
		int count = ltz__sys_poll_wait(service.poll, wait_ns, ready, READY_MAX);
		if (count < 0)
			rest(); /* the program closed descriptors that it did not open */
		enter_last();
		service.starved = false;
		wait_ns = work(ready, count);
		bool starved = service.starved;
		leave();
		if (starved)
			rest(); /* the socket stays ready: without a rest we would spin */
	}
}

/*
 * Called by the memory in any thread of the process, with any of its locks.
 * One system call for any number of rings before the tick.
 * pairs with: pool/service.c:keep_house
 */
static void ring(void *context)
{
	struct ltz_served *served = context;

	if (exchange_seq_cst(&served->rung, 1) == 0)
		ltz__sys_poll_ring(service.poll);
}

/* ---- starting and stopping (under the registry lock) -------------------------------------- */

static int start(void)
{
	if (service.running)
		return 0;
	store_relaxed(&service.stopping, 0); /* published by the thread's creation */
	int r = ltz__sys_thread_start(&service.thread, run, NULL, "latzero");
	service.running = r == 0;
	return r;
}

bool ltz__service_stop(void)
{
	if (!service.running)
		return false;
	/* tells it to end; pairs with: pool/service.c:run */
	store_release(&service.stopping, 1);
	ltz__sys_poll_ring(service.poll);
	ltz__sys_thread_join(&service.thread);
	service.running = false;
	return true;
}

int ltz__service_resume(void)
{
	return service.served != NULL ? start() : 0;
}

/* Ends what the last membership leaves behind. */
static void shut(void)
{
	ltz__service_stop();
	ltz__sys_poll_free(service.poll);
	service.poll = NULL;
}

static void unlink_served(const struct ltz_served *served)
{
	struct ltz_served **link = &service.served;

	while (*link != NULL && *link != served)
		link = &(*link)->next;
	if (*link != NULL)
		*link = served->next;
}

int ltz__service_add(struct ltz_served *served)
{
	int r;

	if (service.poll == NULL) {
		r = ltz__sys_poll_new(&service.poll);
		if (r < 0)
			return r;
	}
	served->due_ns = ltz__sys_boottime_ns() + FIRST_TICK_NS;
	served->rung = 0;
	ltz__deaths_init(&served->deaths);
	ltz__mem_on_ring(served->mem, ring, served);
	enter();
	r = ltz__sys_poll_add(service.poll, served->listener, served, true);
	if (r == 0) {
		served->next = service.served;
		service.served = served;
	}
	leave();
	if (r == 0) {
		r = start();
		if (r == 0) {
			ltz__sys_poll_ring(service.poll); /* so that it learns when the first tick is due */
			return 0;
		}
		ltz__service_remove(served);
	} else if (service.served == NULL) {
		shut();
	}
	return ltz__fail(r, "cannot serve joiners of pool '%s'", served->name);
}

void ltz__service_remove(struct ltz_served *served)
{
	enter();
	drop_visitors_of(served);
	unlink_served(served);
	ltz__deaths_deinit(&served->deaths, service.poll);
	if (served->listener >= 0)
		ltz__sys_poll_remove(service.poll, served->listener);
	leave();
	if (service.served == NULL)
		shut();
}

int ltz__service_listener(struct ltz_served *served)
{
	enter();
	int listener = served->listener;
	leave();
	return listener;
}

/* ---- fork and exit --------------------------------------------------------------------------- */

void ltz__service_forked(void)
{
	pthread_mutex_init(&service.lock, NULL);
	service.waiting = 0;
	service.running = false;
	/* Only our copies: to take them out of the set would take them out of the parent's. */
	while (service.visitors != NULL) {
		struct ltz_visitor *visitor = service.visitors;
		service.visitors = visitor->next;
		free_visitor(visitor);
	}
	service.visitor_count = 0;
	for (struct ltz_served *served = service.served; served != NULL; served = served->next)
		ltz__deaths_deinit(&served->deaths, NULL);
	service.served = NULL;
	ltz__sys_poll_free(service.poll);
	service.poll = NULL;
}

bool ltz__service_freeze(void)
{
	for (int i = 0; i < FREEZE_TRIES; i++) {
		if (pthread_mutex_trylock(&service.lock) == 0)
			return true;
		ltz__sys_yield();
	}
	return false;
}
