// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine "event": a split owns no thread. Bytes that arrive in softirq
 * are moved on at once when nobody else has either socket; whatever else a
 * split needs is done by its work, one bounded piece after the other.
 *
 * The work never runs twice at a time, so it alone decides what becomes of a
 * direction. It holds a reference whenever it is queued; another one is held
 * from the first callback that is installed to the last one removed, and so
 * no callback ever drops the last. Callbacks are changed with the socket
 * locked, which keeps TCP from calling any meanwhile; so they may use what
 * sk_user_data points to.
 */

#include "compat/timer.h"
#include "forward.h"
#include "net.h"
#include "socket.h"
#include "stats.h"
#include "trace.h"

#include <linux/net.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <net/sock.h>
#include <net/tcp.h>

/* Between two looks at what no callback tells. */
#define LOOK_AGAIN (HZ / 50 + 1)

/*
 * What arrives at once goes on in softirq. What comes in bulk does not: many
 * skbs go on together at less cost, and softirq should not be held for long.
 */
#define INLINE_MAX (16 << 10)

enum direction_state {
	HELD, /* the callbacks of both sides are not in place yet */
	PROVING, /* the other relay's proof comes first */
	RUNNING,
	FLUSHING, /* an RST waits until what is in flight has arrived */
	DONE,
};

/**
 * struct end - One of the two sockets; its sk_user_data
 * @event: whose
 * @side: which
 * @state: of the direction that starts here
 * @deadline: of its proof or its flushing, jiffies
 * @data_ready: the socket's own callback, as are the next
 * @write_space: tells of room
 * @state_change: tells of FIN and RST
 * @error_report: tells of errors
 */
struct end {
	struct ktcp_event *event;
	enum ktcp_side side;
	enum direction_state state;
	unsigned long deadline;
	void (*data_ready)(struct sock *sk);
	void (*write_space)(struct sock *sk);
	void (*state_change)(struct sock *sk);
	void (*error_report)(struct sock *sk);
};

/**
 * struct ktcp_event - What moves the bytes of a split
 * @split: the split
 * @work: does what softirq does not
 * @timer: has the work look again
 * @deadline: of flushing both sides at the end, jiffies; 0 before
 * @over: the callbacks are gone
 * @end: both sockets
 */
struct ktcp_event {
	struct ktcp_split *split;
	struct work_struct work;
	struct timer_list timer;
	unsigned long deadline;
	bool over;
	struct end end[KTCP_SIDES];
};

static struct workqueue_struct *queue;

/* Context: any; who calls holds a reference for as long. */
static void kick(struct ktcp_event *event)
{
	struct ktcp_split *split = event->split;

	ktcp_split_get(split);
	if (!queue_work(queue, &event->work))
		ktcp_split_put(split);
}

static void look_again(struct timer_list *timer)
{
	struct ktcp_event *event = timer_container_of(event, timer, timer);

	kick(event);
}

/*
 * Is the sink waiting for a third of its queue to be free, which its callback
 * tells? To fill each bit of room at once would make many small packets. Only
 * what is queued makes room: without it, it was memory that was short.
 */
static bool is_full(const struct sock *sink)
{
	return READ_ONCE(sink->sk_wmem_queued) &&
	       test_bit(SOCK_NOSPACE, &sink->sk_socket->flags);
}

/*
 * Softirq holds the spinlock of the source. It may not wait for the sink's:
 * the softirq of another CPU may hold that one and want this.
 */
static bool move_inline(struct end *end, struct sock *source)
{
	struct ktcp_split *split = end->event->split;
	struct sock *sink = split->sock[ktcp_side_other(end->side)]->sk;
	enum ktcp_transfer_end why = KTCP_SOURCE_HAS_MORE;

	if (!in_serving_softirq() || sock_owned_by_user_nocheck(source) ||
	    tcp_inq(source) > INLINE_MAX)
		return false;
	if (!spin_trylock(&sink->sk_lock.slock))
		return false;
	if (is_full(sink))
		why = KTCP_SINK_FULL;
	else if (!sock_owned_by_user_nocheck(sink))
		why = ktcp_forward_move_atomic(split, end->side);
	if (why == KTCP_SINK_FULL && !is_full(sink))
		why = KTCP_SOURCE_HAS_MORE;
	spin_unlock(&sink->sk_lock.slock);
	return why == KTCP_SOURCE_EMPTY || why == KTCP_SINK_FULL;
}

static void event_data_ready(struct sock *sk)
{
	struct end *end = sk->sk_user_data;

	switch (READ_ONCE(end->state)) {
	case RUNNING:
		if (!move_inline(end, sk))
			kick(end->event);
		break;
	case PROVING:
		kick(end->event);
		break;
	case HELD:
	case FLUSHING:
	case DONE:
		break;
	}
}

static void event_write_space(struct sock *sk)
{
	struct end *end = sk->sk_user_data;

	if (!sk_stream_is_writeable(sk))
		return;
	clear_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	kick(end->event);
}

static void event_state_change(struct sock *sk)
{
	struct end *end = sk->sk_user_data;

	end->state_change(sk);
	kick(end->event);
}

static void event_error_report(struct sock *sk)
{
	struct end *end = sk->sk_user_data;

	end->error_report(sk);
	kick(end->event);
}

static void install(struct end *end, struct sock *sk)
{
	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	end->data_ready = sk->sk_data_ready;
	end->write_space = sk->sk_write_space;
	end->state_change = sk->sk_state_change;
	end->error_report = sk->sk_error_report;
	sk->sk_user_data = end;
	sk->sk_data_ready = event_data_ready;
	sk->sk_write_space = event_write_space;
	sk->sk_state_change = event_state_change;
	sk->sk_error_report = event_error_report;
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
}

static void uninstall(struct end *end, struct sock *sk)
{
	lock_sock(sk);
	write_lock_bh(&sk->sk_callback_lock);
	sk->sk_data_ready = end->data_ready;
	sk->sk_write_space = end->write_space;
	sk->sk_state_change = end->state_change;
	sk->sk_error_report = end->error_report;
	sk->sk_user_data = NULL;
	write_unlock_bh(&sk->sk_callback_lock);
	release_sock(sk);
}

static void end_by_fin(struct ktcp_split *split, struct end *end)
{
	WRITE_ONCE(split->state, KTCP_SPLIT_CLOSING);
	ktcp_count(split->ktcp, KTCP_HALF_CLOSES);
	trace_ktcp_half_close(split, end->side);
	ktcp_socket_end(split->sock[ktcp_side_other(end->side)]);
	WRITE_ONCE(end->state, DONE);
}

static void flush_then_abort(struct ktcp_split *split, struct end *end)
{
	WRITE_ONCE(split->state, KTCP_SPLIT_CLOSING);
	WRITE_ONCE(split->broken, true);
	end->deadline = jiffies + KTCP_FLUSH_MAX;
	WRITE_ONCE(end->state, FLUSHING);
}

static void abort_sink(struct ktcp_split *split, struct end *end)
{
	WRITE_ONCE(split->state, KTCP_SPLIT_CLOSING);
	WRITE_ONCE(split->broken, true);
	ktcp_socket_abort(split->sock[ktcp_side_other(end->side)]);
	WRITE_ONCE(end->state, DONE);
}

static bool is_flushed(const struct ktcp_split *split, enum ktcp_side side,
		       unsigned long deadline)
{
	return ktcp_socket_is_sent(split->sock[side]) ||
	       READ_ONCE(split->dead) || time_after_eq(jiffies, deadline);
}

/*
 * The stream from the far side begins behind the other relay's proof. Returns,
 * as the next two do, how soon there is more to do, in jiffies;
 * MAX_JIFFY_OFFSET: when told.
 */
static unsigned long await_proof(struct ktcp_split *split, struct end *end)
{
	unsigned long now = jiffies;

	if (!ktcp_handoff_has_confirm(split->sock[end->side]) &&
	    time_before(now, end->deadline))
		return end->deadline - now;
	if (ktcp_forward_confirm(split, 0))
		flush_then_abort(split, end);
	else
		WRITE_ONCE(end->state, RUNNING);
	return 0;
}

static unsigned long run_direction(struct ktcp_split *split, struct end *end)
{
	struct sock *sink = split->sock[ktcp_side_other(end->side)]->sk;

	if (is_full(sink))
		return MAX_JIFFY_OFFSET;
	switch (ktcp_forward_move(split, end->side)) {
	case KTCP_SOURCE_EMPTY:
		return MAX_JIFFY_OFFSET;
	case KTCP_SINK_FULL:
		return is_full(sink) ? MAX_JIFFY_OFFSET : LOOK_AGAIN;
	case KTCP_SOURCE_HAS_MORE:
		break;
	case KTCP_SOURCE_ENDED:
		end_by_fin(split, end);
		break;
	case KTCP_SOURCE_BROKEN:
		flush_then_abort(split, end);
		break;
	case KTCP_SINK_BROKEN:
		abort_sink(split, end);
		break;
	}
	return 0;
}

static unsigned long step(struct ktcp_split *split, struct end *end)
{
	/* Pairs with release(), for the deadline of the proof. */
	switch (smp_load_acquire(&end->state)) {
	case PROVING:
		return await_proof(split, end);
	case RUNNING:
		return run_direction(split, end);
	case FLUSHING:
		if (!is_flushed(split, ktcp_side_other(end->side),
				end->deadline))
			return LOOK_AGAIN;
		abort_sink(split, end);
		return 0;
	case HELD:
		return LOOK_AGAIN;
	case DONE:
		break;
	}
	return MAX_JIFFY_OFFSET;
}

/* Both directions are done. Returns false while an RST has to wait. */
static bool end_split(struct ktcp_event *event)
{
	struct ktcp_split *split = event->split;
	unsigned int side;

	if (READ_ONCE(split->broken)) {
		if (!event->deadline)
			event->deadline = jiffies + KTCP_FLUSH_MAX;
		for (side = 0; side < KTCP_SIDES; side++)
			if (!is_flushed(split, side, event->deadline))
				return false;
		ktcp_split_abort(split);
	}
	for (side = 0; side < KTCP_SIDES; side++)
		uninstall(&event->end[side], split->sock[side]->sk);
	timer_delete_sync(&event->timer);
	event->over = true;
	/* Held since the callbacks were installed. */
	ktcp_split_put(split);
	return true;
}

static unsigned long run_directions(struct ktcp_event *event)
{
	struct ktcp_split *split = event->split;
	unsigned long soon = MAX_JIFFY_OFFSET;
	unsigned int side;

	for (side = 0; side < KTCP_SIDES; side++)
		soon = min(soon, step(split, &event->end[side]));
	return soon;
}

static bool is_done(const struct ktcp_event *event)
{
	return READ_ONCE(event->end[KTCP_NEAR].state) == DONE &&
	       READ_ONCE(event->end[KTCP_FAR].state) == DONE;
}

/* Have the work run again, in @soon jiffies or once it may be idle. */
static void plan(struct ktcp_event *event, unsigned long soon)
{
	struct ktcp_split *split = event->split;
	unsigned long idle = READ_ONCE(split->active) +
			     ktcp_forward_idle_limit(split);

	if (!soon)
		kick(event);
	else if (soon != MAX_JIFFY_OFFSET)
		mod_timer(&event->timer, jiffies + soon);
	else if (!timer_pending(&event->timer))
		mod_timer(&event->timer, idle);
}

static void work(struct work_struct *work)
{
	struct ktcp_event *event = container_of(work, struct ktcp_event, work);
	struct ktcp_split *split = event->split;
	unsigned long soon;

	if (event->over)
		goto put;
	soon = run_directions(event);
	if (is_done(event)) {
		if (end_split(event))
			goto put;
		soon = LOOK_AGAIN;
	} else if (ktcp_forward_is_idle(split) && !READ_ONCE(split->dead)) {
		ktcp_count(split->ktcp, KTCP_IDLE_TIMEOUTS);
		ktcp_split_abort(split);
		soon = 0;
	}
	plan(event, soon);
put:
	ktcp_split_put(split);
}

/*
 * Let the callback of a side act; true where something came before that. With
 * the lock held, or softirq might still see the old state and this no bytes.
 */
static bool release(struct end *end, struct socket *sock,
		    enum direction_state state)
{
	bool due;

	lock_sock(sock->sk);
	/* Pairs with step(). */
	smp_store_release(&end->state, state);
	due = ktcp_socket_has_bytes(sock, 1);
	release_sock(sock->sk);
	return due;
}

static void begin(struct ktcp_event *event)
{
	struct end *near = &event->end[KTCP_NEAR], *far = &event->end[KTCP_FAR];
	struct ktcp_split *split = event->split;
	unsigned long soon = MAX_JIFFY_OFFSET;
	enum direction_state state = RUNNING;
	bool due;
	u32 ms;

	if (split->pass.owed) {
		ms = READ_ONCE(split->ktcp->settings.handshake_timeout_ms);
		soon = msecs_to_jiffies(ms);
		far->deadline = jiffies + soon;
		state = PROVING;
	}
	/* Before the sides act: the work may then be over at any time. */
	plan(event, soon);
	due = release(near, split->sock[KTCP_NEAR], RUNNING);
	due |= release(far, split->sock[KTCP_FAR], state);
	if (due)
		kick(event);
}

/**
 * ktcp_event_run() - Forward without a thread
 * @split: the split; a reference is taken over
 *
 * Context: may sleep, but waits for nobody.
 */
void ktcp_event_run(struct ktcp_split *split)
{
	struct ktcp_event *event = kzalloc(sizeof(*event), GFP_KERNEL);
	unsigned int side;

	if (!event) {
		ktcp_split_abort(split);
		ktcp_split_put(split);
		return;
	}
	split->event = event;
	event->split = split;
	INIT_WORK(&event->work, work);
	timer_setup(&event->timer, look_again, 0);
	/* One for the callbacks, in place of the caller's, and one for here. */
	ktcp_split_get(split);
	for (side = 0; side < KTCP_SIDES; side++) {
		event->end[side].event = event;
		event->end[side].side = side;
		event->end[side].state = HELD;
		install(&event->end[side], split->sock[side]->sk);
	}
	begin(event);
	ktcp_split_put(split);
}

/**
 * ktcp_event_init() - Ready for splits
 *
 * The queue is one of ordinary priority: work that overtakes whoever sends
 * finds one skb each time it runs, and pays for a wake-up and an ACK for each.
 *
 * Return: 0 or -ENOMEM.
 */
int ktcp_event_init(void)
{
	queue = alloc_workqueue("ktcp", WQ_MEM_RECLAIM, 0);
	return queue ? 0 : -ENOMEM;
}

/**
 * ktcp_event_exit() - Give back what ktcp_event_init() took
 *
 * Context: may sleep; no split is left.
 */
void ktcp_event_exit(void)
{
	destroy_workqueue(queue);
	ktcp_transfer_exit();
}
