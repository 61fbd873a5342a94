// SPDX-License-Identifier: GPL-2.0-only
/*
 * Health of peers. To each peer one connection is watched. It proves the key
 * and then carries nothing. If the peer falls silent, TCP's own keepalive ends
 * the connection within peer_timeout_ms, whatever the pool holds. Only this
 * connection decides whether the peer is up. Any other failure on the way to
 * the peer only asks for it to be made anew.
 *
 * Everything except that asking is done by one work item, which never runs
 * twice at a time.
 */

#include "relay/health.h"
#include "control/net.h"
#include "control/stats.h"
#include "lib/callbacks.h"
#include "lib/connect.h"
#include "lib/keepalive.h"
#include "lib/socket.h"
#include "relay/handoff.h"
#include "relay/leg.h"
#include "relay/peer_pool.h"
#include "relay/trace.h"

#include <linux/jiffies.h>
#include <linux/net.h>
#include <linux/random.h>
#include <net/sock.h>
#include <net/tcp_states.h>

/* Failures in a row that take a peer down: an end, and a failed new attempt. */
#define STRIKES 2
#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 2000

static void (*lost)(struct ktcp_net *ktcp, const struct ktcp_peer_pool *pool);

/**
 * ktcp_health_on_loss() - Set the function to call when a peer is gone
 * @fn: the function; may sleep
 *
 * Context: before the first namespace.
 */
void ktcp_health_on_loss(void (*fn)(struct ktcp_net *ktcp,
				    const struct ktcp_peer_pool *pool))
{
	lost = fn;
}

static struct ktcp_peer_pool *pool_of(struct ktcp_health *health)
{
	return container_of(health, struct ktcp_peer_pool, health);
}

static const struct ktcp_settings *settings_of(struct ktcp_health *health)
{
	return &pool_of(health)->ktcp->settings;
}

/* On the unbound queue, because the work waits for the peer's proof. */
static void queue_watch(struct ktcp_health *health, unsigned long delay)
{
	spin_lock_bh(&health->lock);
	/* ktcp_health_close() cancels the work once: queue none after it. */
	if (!health->closing)
		mod_delayed_work(system_unbound_wq, &health->work, delay);
	spin_unlock_bh(&health->lock);
}

static unsigned long left_until(unsigned long when)
{
	unsigned long now = jiffies;

	return time_before(now, when) ? when - now : 0;
}

/* How much longer a peer that is back has to wait. */
static unsigned long hold_left(struct ktcp_health *health)
{
	u32 ms = READ_ONCE(settings_of(health)->peer_hold_ms);

	return left_until(health->since + msecs_to_jiffies(ms));
}

static enum ktcp_health_state next_state(struct ktcp_health *health)
{
	switch (health->state) {
	case KTCP_HEALTH_UP:
		return health->strikes < STRIKES ? KTCP_HEALTH_UP :
						   KTCP_HEALTH_DOWN;
	case KTCP_HEALTH_DOWN:
		if (health->strikes)
			return KTCP_HEALTH_DOWN;
		/* A peer that answers for the first time cannot be flapping. */
		return health->known ? KTCP_HEALTH_RECOVERING : KTCP_HEALTH_UP;
	case KTCP_HEALTH_RECOVERING:
		if (health->strikes)
			return KTCP_HEALTH_DOWN;
		return hold_left(health) ? KTCP_HEALTH_RECOVERING :
					   KTCP_HEALTH_UP;
	}
	return health->state;
}

/* Go to the next state, if what happened or the time calls for it. */
static void watch_step(struct ktcp_health *health)
{
	struct ktcp_peer_pool *pool = pool_of(health);
	enum ktcp_health_state state = next_state(health);

	if (state == health->state)
		return;
	trace_ktcp_peer_state(pool, state);
	if (state == KTCP_HEALTH_DOWN)
		ktcp_count(pool->ktcp, KTCP_PEER_DOWNS);
	health->since = jiffies;
	WRITE_ONCE(health->state, state);
	health->changed(health);
	if (state == KTCP_HEALTH_DOWN)
		lost(pool->ktcp, pool);
}

static void watch_state_change(struct sock *sk)
{
	void (*state_change)(struct sock *sk) = NULL;
	struct ktcp_health *health = ktcp_callbacks_enter(sk);

	if (health) {
		state_change = health->own.state_change;
		queue_watch(health, 0);
	}
	ktcp_callbacks_leave(sk);
	/* The socket's own callback wakes the work that waits for the proof. */
	if (state_change)
		state_change(sk);
}

static const struct ktcp_callbacks callbacks = {
	.state_change = watch_state_change,
};

static void install_watched(struct ktcp_health *health, struct sock *sk)
{
	ktcp_callbacks_take(sk, &callbacks, health, &health->own);
}

static void uninstall_watched(struct ktcp_health *health, struct sock *sk)
{
	ktcp_callbacks_give_back(sk, &callbacks, health, &health->own);
}

static void drop_watched(struct ktcp_health *health)
{
	struct socket *sock = health->sock;

	health->watch = KTCP_WATCH_NONE;
	if (!sock)
		return;
	spin_lock_bh(&health->lock);
	health->sock = NULL;
	spin_unlock_bh(&health->lock);
	uninstall_watched(health, sock->sk);
	ktcp_socket_release(sock);
}

/* A lack of memory or ports on this relay says nothing about the peer. */
static bool is_own_fault(int err)
{
	return err == -ENOMEM || err == -ENOBUFS || err == -EADDRNOTAVAIL;
}

/**
 * ktcp_health_jitter() - A random pause, so that relays do not act in step
 * @ms: milliseconds
 *
 * Context: any.
 * Return: jiffies, from @ms to one and a half times @ms.
 */
unsigned long ktcp_health_jitter(u32 ms)
{
	return msecs_to_jiffies(ms + get_random_u32() % (ms / 2 + 1));
}

static void strike_peer(struct ktcp_health *health, int err)
{
	drop_watched(health);
	if (!READ_ONCE(health->closing) && !is_own_fault(err)) {
		atomic64_inc(&pool_of(health)->failures);
		health->strikes++;
	}
	health->retry_at = jiffies + ktcp_health_jitter(health->pause_ms);
	health->pause_ms = min_t(u32, health->pause_ms * 2, PAUSE_MAX_MS);
	watch_step(health);
}

static void prove_watched(struct ktcp_health *health)
{
	u32 ms = READ_ONCE(settings_of(health)->peer_timeout_ms);
	struct ktcp_peer_pool *pool = pool_of(health);
	struct ktcp_ticket ticket;
	int err;

	/* ktcp_health_close() may have come before there was a connection. */
	if (READ_ONCE(health->closing))
		return;
	ktcp_socket_set_timeout(health->sock, msecs_to_jiffies(ms));
	/* Without a ticket, so that the peer has to answer. */
	err = ktcp_handoff_prove(pool->ktcp, health->sock,
				 READ_ONCE(pool->key), &ticket);
	if (err) {
		strike_peer(health, err);
		return;
	}
	health->watch = KTCP_WATCH_KEPT;
	health->strikes = 0;
	health->pause_ms = PAUSE_MIN_MS;
	watch_step(health);
	health->known = true;
}

static void finish_connect(struct ktcp_health *health)
{
	switch (READ_ONCE(health->sock->sk->sk_state)) {
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		break;
	case TCP_ESTABLISHED:
		prove_watched(health);
		break;
	default:
		strike_peer(health, -ECONNREFUSED);
	}
}

static int start_connect(struct ktcp_health *health, struct socket *sock)
{
	u32 ms = READ_ONCE(settings_of(health)->peer_timeout_ms);

	install_watched(health, sock->sk);
	/* Publish it before it connects: ktcp_health_close() may end it. */
	spin_lock_bh(&health->lock);
	health->sock = sock;
	spin_unlock_bh(&health->lock);
	health->watch = KTCP_WATCH_CONNECTING;
	ktcp_socket_watch(sock, ms);
	return ktcp_socket_connect_start(sock, &pool_of(health)->addr);
}

static void begin_watched(struct ktcp_health *health)
{
	struct ktcp_peer_pool *pool = pool_of(health);
	struct socket *sock;
	int err;

	health->retry_at = jiffies + ktcp_health_jitter(PAUSE_MIN_MS);
	WRITE_ONCE(health->doubted, false);
	err = ktcp_leg_create(pool->ktcp, &pool->addr, &sock);
	if (!err)
		err = start_connect(health, sock);
	if (err)
		strike_peer(health, err);
}

/* Look at the kept connection: is it alive, and do we still trust it? */
static void look_at_peer(struct ktcp_health *health)
{
	if (READ_ONCE(health->sock->sk->sk_state) != TCP_ESTABLISHED) {
		health->ended(health);
		strike_peer(health, -ETIMEDOUT);
	} else if (READ_ONCE(health->doubted)) {
		drop_watched(health);
	} else {
		ktcp_socket_watch(health->sock, READ_ONCE(settings_of(health)->peer_timeout_ms));
	}
}

static void health_work(struct work_struct *work)
{
	struct ktcp_health *health = container_of(to_delayed_work(work),
						  struct ktcp_health, work);

	if (health->watch == KTCP_WATCH_KEPT)
		look_at_peer(health);
	if (health->watch == KTCP_WATCH_NONE && !left_until(health->retry_at))
		begin_watched(health);
	if (health->watch == KTCP_WATCH_CONNECTING)
		finish_connect(health);
	watch_step(health);
	if (health->watch == KTCP_WATCH_NONE)
		queue_watch(health, left_until(health->retry_at));
	else if (health->state == KTCP_HEALTH_RECOVERING)
		queue_watch(health, hold_left(health));
}

/**
 * ktcp_health_init() - Prepare a peer's health: it counts as up until tried
 * @health: filled; nothing is tried before ktcp_health_kick()
 * @changed: called after each change of state; may not sleep
 * @ended: called when the watched connection has ended; may not sleep
 */
void ktcp_health_init(struct ktcp_health *health,
		      void (*changed)(struct ktcp_health *health),
		      void (*ended)(struct ktcp_health *health))
{
	health->changed = changed;
	health->ended = ended;
	spin_lock_init(&health->lock);
	health->pause_ms = PAUSE_MIN_MS;
	health->retry_at = jiffies;
	INIT_DELAYED_WORK(&health->work, health_work);
}

/**
 * ktcp_health_kick() - Start to watch the peer, or follow changed settings
 * @health: of the peer
 *
 * Context: any.
 */
void ktcp_health_kick(struct ktcp_health *health)
{
	queue_watch(health, 0);
}

/**
 * ktcp_health_doubt() - Check the peer, since something failed on the way to it
 * @health: of the peer
 *
 * Context: any.
 */
void ktcp_health_doubt(struct ktcp_health *health)
{
	WRITE_ONCE(health->doubted, true);
	queue_watch(health, 0);
}

/**
 * ktcp_health_close() - Stop watching the peer
 * @health: of the peer
 *
 * Context: may sleep.
 */
void ktcp_health_close(struct ktcp_health *health)
{
	struct sock *sk = NULL;

	spin_lock_bh(&health->lock);
	WRITE_ONCE(health->closing, true);
	if (health->sock) {
		sk = health->sock->sk;
		sock_hold(sk);
	}
	spin_unlock_bh(&health->lock);
	if (sk) {
		/* If the work waits for the proof, this wakes it. */
		ktcp_sock_abort(sk);
		sock_put(sk);
	}
	cancel_delayed_work_sync(&health->work);
	drop_watched(health);
}

/**
 * ktcp_health_name() - The word for a state, in procfs and in the tracepoint
 * @state: the state
 */
const char *ktcp_health_name(enum ktcp_health_state state)
{
	switch (state) {
	case KTCP_HEALTH_UP:
		return "up";
	case KTCP_HEALTH_DOWN:
		return "down";
	case KTCP_HEALTH_RECOVERING:
		return "recovering";
	}
	return "?";
}
