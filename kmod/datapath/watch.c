// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stream ends only at its two ends, and each has to hear of the other's end,
 * whatever state the split is in. So both connections are watched from when
 * they belong to a split until it is released. Their callbacks report most
 * ends; a timer looks for what no callback reports:
 *
 *  - A relay that is gone without a word. While bytes are in flight, keepalive
 *    does nothing, and TCP itself goes on for a quarter of an hour. TCP's user
 *    time-out is no help: it also ends connections whose other end is there but
 *    has no room. The difference is when anything came from the other end last.
 *  - An idle split.
 *
 * forward.c and the engines decide what becomes of a split then.
 *
 * The callbacks and the timer hold no reference: they take one, if there still
 * is any. Releasing a split stops both before it closes the connections.
 */

#include "datapath/watch.h"
#include "control/net.h"
#include "control/stats.h"
#include "datapath/forward.h"
#include "datapath/framed.h"
#include "datapath/refusal.h"
#include "datapath/split.h"
#include "datapath/threads.h"
#include "lib/compat/timer.h"
#include "lib/compat/workqueue.h"
#include "lib/socket.h"
#include "lib/socket_state.h"

#include <linux/net.h>
#include <net/sock.h>
#include <net/tcp.h>

/* Time between two looks of the timer. */
#define LOOK (5 * HZ)
/* If the idle time-out is short, how many looks there are before it ends. */
#define LOOKS_IDLE 4
/* A relay that owes an answer for so long is gone; we know one look later. */
#define SILENCE_MAX (25 * HZ)
/* A relay without room is probed at least so often. */
#define PROBE_MAX (4 * HZ)

static struct workqueue_struct *queue;

static void watch_begin(struct ktcp_split *split);

/**
 * ktcp_watch_kick() - Queue a work item of a split
 * @split: the split
 * @work: the work item; drops a reference when it has run
 *
 * Context: any; the split must not be freed meanwhile, but may have no
 * reference.
 */
void ktcp_watch_kick(struct ktcp_split *split, struct work_struct *work)
{
	if (!kref_get_unless_zero(&split->ref))
		return;
	/*
	 * If the work is queued already, it has a reference of its own, and we
	 * drop ours. But it may have run meanwhile, so that ours is the last
	 * one. Dropping the last one may sleep, so let the work do it: queue it
	 * again.
	 */
	do {
		if (queue_work(queue, work))
			return;
	} while (!refcount_dec_not_one(&split->ref.refcount));
}

static void watch_kick(struct ktcp_split *split)
{
	/* Pairs with ktcp_event_run(). */
	struct work_struct *engine = smp_load_acquire(&split->watch.engine);

	ktcp_watch_kick(split, engine ?: &split->watch.work);
}

static void watch_state_change(struct sock *sk)
{
	struct ktcp_watched *end = sk->sk_user_data;

	end->own.state_change(sk);
	/* Note a refusal before the client hears of it and tries again. */
	if (end->side == KTCP_FAR)
		ktcp_refusal_look(end->split);
	watch_kick(end->split);
}

static void watch_error_report(struct sock *sk)
{
	struct ktcp_watched *end = sk->sk_user_data;

	end->own.error_report(sk);
	watch_kick(end->split);
}

static const struct ktcp_callbacks callbacks = {
	.state_change = watch_state_change,
	.error_report = watch_error_report,
};

/**
 * ktcp_watch_add() - Watch a connection
 * @split: the split that it belongs to until the split is released
 * @side: which of the two it is
 *
 * Context: may sleep; the caller holds a reference, and nobody else uses
 * the socket's callbacks.
 */
void ktcp_watch_add(struct ktcp_split *split, unsigned int side)
{
	struct ktcp_watched *end = &split->watch.end[side];
	struct sock *sk = split->sock[side]->sk;
	bool ended;

	if (end->on)
		return;
	if (!split->watch.release)
		watch_begin(split);
	end->split = split;
	end->side = side;
	end->heard = jiffies;
	end->on = true;
	lock_sock(sk);
	ktcp_callbacks_take(sk, &callbacks, end, &end->own);
	ended = sk->sk_state == TCP_CLOSE;
	if (ended && side == KTCP_FAR)
		ktcp_refusal_look(split);
	release_sock(sk);
	if (ended)
		watch_kick(split);
}

static void watch_forget(struct ktcp_watched *end, struct sock *sk)
{
	lock_sock(sk);
	ktcp_callbacks_give_back(sk, &callbacks, end, &end->own);
	release_sock(sk);
}

/* Stop watching: the split is about to be released. */
static void watch_remove(struct ktcp_split *split)
{
	unsigned int side;

	/* While a socket is locked, TCP calls none of its callbacks. */
	for (side = 0; side < KTCP_SIDES; side++)
		if (split->watch.end[side].on)
			watch_forget(&split->watch.end[side],
				     split->sock[side]->sk);
	timer_delete_sync(&split->watch.timer);
}

/* Note when the other end was there: now, as long as it owes no answer. */
static void note_heard(struct ktcp_watched *end, const struct socket *sock)
{
	unsigned long heard = jiffies;

	if (!ktcp_socket_is_sent(sock))
		heard -= ktcp_socket_silence(sock);
	if (time_after(heard, end->heard))
		WRITE_ONCE(end->heard, heard);
}

static bool is_silent(const struct ktcp_watched *end, const struct sock *sk)
{
	return READ_ONCE(sk->sk_state) != TCP_CLOSE &&
	       time_after_eq(jiffies, READ_ONCE(end->heard) + SILENCE_MAX);
}

/*
 * TCP probes an end without room less and less often, in the end every two
 * minutes. Silence for SILENCE_MAX would then say nothing.
 */
static bool asks_seldom(const struct sock *sk)
{
	const struct inet_connection_sock *icsk = inet_csk(sk);
	u32 backoff = READ_ONCE(icsk->icsk_backoff);

	return !READ_ONCE(tcp_sk(sk)->packets_out) && backoff &&
	       !skb_queue_empty_lockless(&sk->sk_write_queue) &&
	       (u64)READ_ONCE(icsk->icsk_rto) << backoff > PROBE_MAX;
}

static void ask_often(struct sock *sk)
{
	lock_sock(sk);
	while (asks_seldom(sk))
		inet_csk(sk)->icsk_backoff--;
	release_sock(sk);
}

static void note_activity(struct ktcp_split *split)
{
	u32 una = 0;
	unsigned int side;

	for (side = 0; side < KTCP_SIDES; side++)
		una += READ_ONCE(tcp_sk(split->sock[side]->sk)->snd_una);
	if (una == split->watch.una)
		return;
	split->watch.una = una;
	WRITE_ONCE(split->active, jiffies);
}

static bool look_at(struct ktcp_split *split, unsigned int side)
{
	struct ktcp_watched *end = &split->watch.end[side];
	struct sock *sk = split->sock[side]->sk;

	if (!split->relay[side])
		return false;
	note_heard(end, split->sock[side]);
	return is_silent(end, sk) || asks_seldom(sk);
}

static unsigned long next_look(const struct ktcp_split *split)
{
	long idle = ktcp_forward_idle_limit(split);

	return idle ? clamp_t(long, idle / LOOKS_IDLE, 1, LOOK) : LOOK;
}

static void watch_look(struct timer_list *timer)
{
	struct ktcp_watch *watch = timer_container_of(watch, timer, timer);
	struct ktcp_split *split = container_of(watch, struct ktcp_split, watch);
	unsigned int side;
	bool due;

	note_activity(split);
	ktcp_framed_lasts(split);
	due = ktcp_forward_is_idle(split) || ktcp_forward_is_broken(split);
	for (side = 0; side < KTCP_SIDES; side++)
		due |= look_at(split, side);
	mod_timer(timer, jiffies + next_look(split));
	if (due)
		ktcp_watch_kick(split, &watch->work);
}

static void judge_relay(struct ktcp_watched *end, struct socket *sock)
{
	if (asks_seldom(sock->sk))
		ask_often(sock->sk);
	if (!is_silent(end, sock->sk))
		return;
	ktcp_count(end->split->ktcp, KTCP_SILENT_RESETS);
	/* Passed on like any other end, after the bytes from there. */
	ktcp_socket_abort(sock);
}

/* A side is broken: let the engine pass that on. */
static void pass_on(struct ktcp_split *split)
{
	/* Pairs with ktcp_event_run(). */
	struct work_struct *engine = smp_load_acquire(&split->watch.engine);

	if (engine)
		ktcp_watch_kick(split, engine);
	else if (ktcp_threads_end(split))
		mod_timer(&split->watch.timer, jiffies + KTCP_LOOK_AGAIN);
}

static void judge_open(struct ktcp_split *split)
{
	unsigned int side;

	for (side = 0; side < KTCP_SIDES; side++)
		if (split->relay[side])
			judge_relay(&split->watch.end[side], split->sock[side]);
	if (ktcp_forward_is_idle(split) && !ktcp_split_is_aborted(split)) {
		ktcp_count(split->ktcp, KTCP_IDLE_TIMEOUTS);
		ktcp_split_abort(split);
	}
	if (ktcp_forward_is_broken(split))
		pass_on(split);
}

static void judge_aborted(struct ktcp_split *split)
{
	const struct socket *far = READ_ONCE(split->sock[KTCP_FAR]);

	/* Its connect may have begun only after the abort: abort it again. */
	if (far && READ_ONCE(far->sk->sk_state) != TCP_CLOSE)
		ktcp_split_abort(split);
	pass_on(split);
}

static void watch_judge(struct work_struct *work)
{
	struct ktcp_watch *watch = container_of(work, struct ktcp_watch, work);
	struct ktcp_split *split = container_of(watch, struct ktcp_split, watch);

	/* Pairs with ktcp_watch_start(). */
	switch (smp_load_acquire(&split->life)) {
	case KTCP_LIFE_NEW:
	case KTCP_LIFE_OPENING:
		/* Nobody is left to open the far side for. */
		if (ktcp_split_is_broken(split, KTCP_NEAR))
			ktcp_split_abort(split);
		break;
	case KTCP_LIFE_OPEN:
	case KTCP_LIFE_CLOSING:
	case KTCP_LIFE_BREAKING:
		judge_open(split);
		break;
	case KTCP_LIFE_ABORTED:
		judge_aborted(split);
		break;
	case KTCP_LIFE_WAITING:
	case KTCP_LIFE_DROPPED:
	case KTCP_LIFE_HALF:
	case KTCP_LIFE_FAILED:
	case KTCP_LIFE_CLOSED:
		break;
	}
	ktcp_split_put(split);
}

static void watch_begin(struct ktcp_split *split)
{
	INIT_WORK(&split->watch.work, watch_judge);
	timer_setup(&split->watch.timer, watch_look, 0);
	split->watch.release = watch_remove;
}

/**
 * ktcp_watch_start() - Bytes will flow: watch both sides, and the time
 * @split: the split, with both sides connected; its state becomes
 * KTCP_LIFE_OPEN
 *
 * Context: may sleep; the caller holds a reference.
 */
void ktcp_watch_start(struct ktcp_split *split)
{
	unsigned int side;

	WRITE_ONCE(split->active, jiffies);
	for (side = 0; side < KTCP_SIDES; side++)
		ktcp_watch_add(split, side);
	/* Pairs with watch_judge(), for the sides. */
	ktcp_life_go(&split->life, KTCP_LIFE_OPEN);
	/* If a side broke before this, watch_judge() took the split for opening. */
	if (ktcp_forward_is_broken(split))
		watch_kick(split);
	mod_timer(&split->watch.timer, jiffies + next_look(split));
}

/**
 * ktcp_watch_module_init() - Make the queue for the work items of splits
 *
 * It has ordinary priority. Work that overtakes the sender finds a single skb
 * each time it runs, and pays for a wake-up and an ACK each time.
 *
 * Return: 0 or -ENOMEM.
 */
int ktcp_watch_module_init(void)
{
	queue = alloc_workqueue("ktcp", WQ_MEM_RECLAIM | WQ_PERCPU, 0);
	return queue ? 0 : -ENOMEM;
}

/**
 * ktcp_watch_module_exit() - Free the queue
 *
 * Context: may sleep; no split is left.
 */
void ktcp_watch_module_exit(void)
{
	destroy_workqueue(queue);
}
