// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine "event": a split owns no thread. Bytes that arrive in softirq are
 * moved on at once, if nobody else uses either socket. The split's work item
 * does everything else, in bounded pieces.
 *
 * The work item never runs twice at a time, and it alone decides what becomes
 * of a direction. It holds a reference whenever it is queued. Another reference
 * is held from the first callback that is installed here until the last one is
 * removed. Callbacks change while the socket is locked, so TCP calls none
 * meanwhile. Therefore they may use what sk_user_data points to. watch.c
 * reports FIN, RST and errors.
 */

#include "datapath/event.h"
#include "control/net.h"
#include "control/stats.h"
#include "datapath/forward.h"
#include "datapath/trace.h"
#include "lib/callbacks.h"
#include "lib/compat/timer.h"
#include "lib/socket.h"
#include "lib/socket_state.h"

#include <linux/net.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <net/sock.h>
#include <net/tcp.h>

/* Time between two looks at last bytes, if no RST waits for them. */
#define LOOK_SELDOM (HZ / 5)

/*
 * The most bytes that go on in softirq. More do not: many skbs cost less if
 * they go on together, and softirq should not be held for long.
 */
#define INLINE_MAX (16 << 10)

enum direction_state {
	HELD, /* the callbacks are not in place on both sides yet */
	PROVING, /* waits for the other relay's proof, which comes first */
	RUNNING,
	FLUSHING, /* an RST waits until what is in flight has arrived */
	ENDED, /* by FIN, which has been passed on */
	DONE,
	LEFT, /* both sockets have their own callbacks again */
};

/**
 * struct end - One of the two sockets
 * @event: the struct that it is a part of
 * @side: which of the two
 * @state: state of the direction that starts here
 * @deadline: until when to wait for its proof, jiffies
 * @flush: how far the last bytes to the socket have come
 * @own: the socket's own callbacks
 */
struct end {
	struct ktcp_event *event;
	enum ktcp_side side;
	enum direction_state state;
	unsigned long deadline;
	struct ktcp_flush flush;
	struct ktcp_callbacks own;
};

/**
 * struct ktcp_event - What moves the bytes of a split
 * @split: the split
 * @work: does what softirq does not
 * @timer: lets the work look again
 * @end: both sockets
 */
struct ktcp_event {
	struct ktcp_split *split;
	struct work_struct work;
	struct timer_list timer;
	struct end end[KTCP_SIDES];
};

/* Let the work look what is to be done. The split must not be freed now. */
static void event_kick(struct ktcp_event *event)
{
	ktcp_watch_kick(event->split, &event->work);
}

static void look_again(struct timer_list *timer)
{
	struct ktcp_event *event = timer_container_of(event, timer, timer);

	event_kick(event);
}

/* For a socket whose callbacks are in place. */
static struct end *end_of(const struct sock *sk)
{
	const struct ktcp_watched *watched = sk->sk_user_data;

	return &watched->split->event->end[watched->side];
}

/*
 * Do we wait until a third of the sink's queue is free, which its callback
 * reports? Filling each bit of room at once would make many small packets. If
 * the queue is empty, no room will be reported: then memory was short.
 */
static bool is_full(const struct sock *sink)
{
	return READ_ONCE(sink->sk_wmem_queued) &&
	       test_bit(SOCK_NOSPACE, &sink->sk_socket->flags);
}

/*
 * Softirq holds the source's spinlock. It must not wait for the sink's: another
 * CPU's softirq may hold that one and want ours.
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
	struct end *end = end_of(sk);

	switch (READ_ONCE(end->state)) {
	case RUNNING:
		if (!move_inline(end, sk))
			event_kick(end->event);
		break;
	case PROVING:
		event_kick(end->event);
		break;
	case HELD:
	case FLUSHING:
	case ENDED:
	case DONE:
	case LEFT:
		break;
	}
}

static void event_write_space(struct sock *sk)
{
	if (!sk_stream_is_writeable(sk))
		return;
	clear_bit(SOCK_NOSPACE, &sk->sk_socket->flags);
	event_kick(end_of(sk)->event);
}

static const struct ktcp_callbacks callbacks = {
	.data_ready = event_data_ready,
	.write_space = event_write_space,
};

/* watch.c has its own callbacks there already, and uses sk_user_data. */
static void install_callbacks(struct end *end, struct sock *sk)
{
	lock_sock(sk);
	ktcp_callbacks_take(sk, &callbacks, NULL, &end->own);
	release_sock(sk);
}

static void uninstall_callbacks(struct end *end, struct sock *sk)
{
	lock_sock(sk);
	ktcp_callbacks_give_back(sk, &callbacks, NULL, &end->own);
	release_sock(sk);
}

static void end_by_fin(struct ktcp_split *split, struct end *end)
{
	ktcp_forward_end(split, end->side);
	WRITE_ONCE(end->state, ENDED);
}

static void flush_then_abort(struct ktcp_split *split, struct end *end)
{
	ktcp_life_go(&split->life, KTCP_LIFE_BREAKING);
	WRITE_ONCE(end->state, FLUSHING);
}

static void abort_sink(struct ktcp_split *split, struct end *end)
{
	ktcp_life_go(&split->life, KTCP_LIFE_BREAKING);
	ktcp_socket_abort(split->sock[ktcp_side_other(end->side)]);
	WRITE_ONCE(end->state, DONE);
}

/* Has the other end got all that it will get from here? */
static bool is_flushed(const struct ktcp_split *split, struct end *end)
{
	enum ktcp_side to = ktcp_side_other(end->side);

	return ktcp_forward_is_flushed(split, to, &end->event->end[to].flush);
}

/*
 * The stream from the far side begins behind the other relay's proof. This
 * returns, as the next functions do, in how many jiffies there is more to do;
 * MAX_JIFFY_OFFSET if a callback will tell.
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

static unsigned long flush_direction(struct ktcp_split *split, struct end *end)
{
	if (!is_flushed(split, end))
		return KTCP_LOOK_AGAIN;
	abort_sink(split, end);
	return 0;
}

/*
 * The sink's callback reports room. But once the source is broken, its last
 * bytes do not have for ever to go out.
 */
static unsigned long wait_room(struct ktcp_split *split, struct end *end)
{
	return ktcp_split_is_broken(split, end->side) ?
		       flush_direction(split, end) :
		       MAX_JIFFY_OFFSET;
}

static unsigned long run_direction(struct ktcp_split *split, struct end *end)
{
	enum ktcp_side to = ktcp_side_other(end->side);
	struct sock *sink = split->sock[to]->sk;

	/* Nobody is left who takes bytes, or reports room. */
	if (ktcp_split_is_broken(split, to)) {
		abort_sink(split, end);
		return 0;
	}
	if (is_full(sink))
		return wait_room(split, end);
	switch (ktcp_forward_move(split, end->side)) {
	case KTCP_SOURCE_EMPTY:
		return MAX_JIFFY_OFFSET;
	case KTCP_SINK_FULL:
		return is_full(sink) ? wait_room(split, end) : KTCP_LOOK_AGAIN;
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

static unsigned long step_direction(struct ktcp_split *split, struct end *end)
{
	/* Pairs with release_side(), for the deadline of the proof. */
	switch (smp_load_acquire(&end->state)) {
	case PROVING:
		return await_proof(split, end);
	case RUNNING:
		return run_direction(split, end);
	case FLUSHING:
		return flush_direction(split, end);
	case ENDED:
		if (!ktcp_split_is_broken(split, end->side))
			break;
		flush_then_abort(split, end);
		return 0;
	case HELD:
		return KTCP_LOOK_AGAIN;
	case DONE:
	case LEFT:
		break;
	}
	return MAX_JIFFY_OFFSET;
}

/* Returns in how many jiffies to look again; 0 if the split can end now. */
static unsigned long end_sides(struct ktcp_event *event)
{
	struct ktcp_split *split = event->split;
	bool broken = ktcp_life_is_broken(READ_ONCE(split->life));
	unsigned int side;

	for (side = 0; side < KTCP_SIDES; side++) {
		struct ktcp_flush *flush = &event->end[side].flush;

		if (broken && !ktcp_forward_is_flushed(split, side, flush))
			return KTCP_LOOK_AGAIN;
		if (!broken && !ktcp_forward_is_out(split, side, flush))
			return LOOK_SELDOM;
	}
	if (broken)
		ktcp_split_abort(split);
	return 0;
}

static void end_split(struct ktcp_event *event)
{
	struct ktcp_split *split = event->split;
	unsigned int side;

	for (side = 0; side < KTCP_SIDES; side++) {
		uninstall_callbacks(&event->end[side], split->sock[side]->sk);
		WRITE_ONCE(event->end[side].state, LEFT);
	}
	timer_delete_sync(&event->timer);
	/* Held since the callbacks were installed. */
	ktcp_split_put(split);
}

static unsigned long run_directions(struct ktcp_event *event)
{
	struct ktcp_split *split = event->split;
	unsigned long soon = MAX_JIFFY_OFFSET;
	unsigned int side;

	for (side = 0; side < KTCP_SIDES; side++)
		soon = min(soon, step_direction(split, &event->end[side]));
	return soon;
}

static bool is_done(const struct ktcp_event *event)
{
	unsigned int side;

	for (side = 0; side < KTCP_SIDES; side++) {
		enum direction_state state = READ_ONCE(event->end[side].state);

		if (state != ENDED && state != DONE)
			return false;
	}
	return true;
}

static bool has_left(const struct ktcp_event *event)
{
	return READ_ONCE(event->end[KTCP_NEAR].state) == LEFT;
}

/* Let the work run again, in @soon jiffies. */
static void plan_work(struct ktcp_event *event, unsigned long soon)
{
	if (!soon)
		event_kick(event);
	else if (soon != MAX_JIFFY_OFFSET)
		mod_timer(&event->timer, jiffies + soon);
}

static void event_work(struct work_struct *work)
{
	struct ktcp_event *event = container_of(work, struct ktcp_event, work);
	struct ktcp_split *split = event->split;
	unsigned long soon;

	if (has_left(event))
		goto put;
	soon = run_directions(event);
	if (is_done(event))
		soon = end_sides(event);
	if (!soon && is_done(event))
		end_split(event);
	else
		plan_work(event, soon);
put:
	ktcp_split_put(split);
}

/*
 * Let the callbacks of a side act. True if bytes came before that. This needs
 * the lock: without it, softirq might still see the old state when its bytes
 * come, and we might see no bytes.
 */
static bool release_side(struct end *end, struct socket *sock,
			 enum direction_state state)
{
	bool due;

	lock_sock(sock->sk);
	/* Pairs with step_direction(). */
	smp_store_release(&end->state, state);
	due = ktcp_socket_has_bytes(sock, 1);
	release_sock(sock->sk);
	return due;
}

static void event_begin(struct ktcp_event *event)
{
	struct end *near = &event->end[KTCP_NEAR], *far = &event->end[KTCP_FAR];
	struct ktcp_split *split = event->split;
	unsigned long soon = MAX_JIFFY_OFFSET;
	enum direction_state state = RUNNING;
	bool due;
	u32 ms;

	if (split->ticket.owed) {
		ms = READ_ONCE(split->ktcp->settings.handshake_timeout_ms);
		soon = msecs_to_jiffies(ms);
		far->deadline = jiffies + soon;
		state = PROVING;
	}
	/* Before the sides act: after that, the split may end at any time. */
	plan_work(event, soon);
	due = release_side(near, split->sock[KTCP_NEAR], RUNNING);
	due |= release_side(far, split->sock[KTCP_FAR], state);
	if (due)
		event_kick(event);
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
	event->split = split;
	INIT_WORK(&event->work, event_work);
	timer_setup(&event->timer, look_again, 0);
	for (side = 0; side < KTCP_SIDES; side++) {
		event->end[side].event = event;
		event->end[side].side = side;
		event->end[side].state = HELD;
	}
	/* The caller's reference is the callbacks' now; this one is for us. */
	ktcp_split_get(split);
	split->event = event;
	/* Pairs with watch_kick(). */
	smp_store_release(&split->watch.engine, &event->work);
	for (side = 0; side < KTCP_SIDES; side++)
		install_callbacks(&event->end[side], split->sock[side]->sk);
	event_begin(event);
	ktcp_split_put(split);
}
