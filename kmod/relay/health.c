// SPDX-License-Identifier: GPL-2.0-only
/*
 * Health of peers. One connection to each is watched: it proves the key and
 * then carries nothing, and TCP's own keepalive ends it within peer_timeout_ms
 * of the peer's silence, whatever the pool holds. Only attempts to make this
 * connection decide. What else fails on the way to a peer asks for an attempt.
 *
 * One work, which never runs twice at a time, does all but ask.
 */

#include "relay/health.h"
#include "control/net.h"
#include "control/stats.h"
#include "lib/callbacks.h"
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

/* So often it has to fail in a row: its end, and one attempt to renew it. */
#define STRIKES 2
#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 2000

static void (*lost)(struct ktcp_net *ktcp, const struct ktcp_peer_pool *pool);

/**
 * ktcp_health_on_loss() - Say what has to be done when a peer is gone
 * @fn: may sleep
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

/* Unbound: the work waits for the other relay's proof. */
static void queue(struct ktcp_health *health, unsigned long delay)
{
	spin_lock_bh(&health->lock);
	/* Once it closes, nothing may be queued behind the one who cancels. */
	if (!health->closing)
		mod_delayed_work(system_unbound_wq, &health->work, delay);
	spin_unlock_bh(&health->lock);
}

static unsigned long left_until(unsigned long when)
{
	unsigned long now = jiffies;

	return time_before(now, when) ? when - now : 0;
}

/* How long a peer that is back has to wait still. */
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
		/* The first time there is nothing that it could flap from. */
		return health->known ? KTCP_HEALTH_RECOVERING : KTCP_HEALTH_UP;
	case KTCP_HEALTH_RECOVERING:
		if (health->strikes)
			return KTCP_HEALTH_DOWN;
		return hold_left(health) ? KTCP_HEALTH_RECOVERING :
					   KTCP_HEALTH_UP;
	}
	return health->state;
}

/* Something happened, or time went by. */
static void step(struct ktcp_health *health)
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
		queue(health, 0);
	}
	ktcp_callbacks_leave(sk);
	/* Who waits for the other relay's proof is woken by the socket's own. */
	if (state_change)
		state_change(sk);
}

static const struct ktcp_callbacks callbacks = {
	.state_change = watch_state_change,
};

static void install(struct ktcp_health *health, struct sock *sk)
{
	ktcp_callbacks_take(sk, &callbacks, health, &health->own);
}

static void uninstall(struct ktcp_health *health, struct sock *sk)
{
	ktcp_callbacks_give_back(sk, &callbacks, health, &health->own);
}

static void drop(struct ktcp_health *health)
{
	struct socket *sock = health->sock;

	health->watch = KTCP_WATCH_NONE;
	if (!sock)
		return;
	spin_lock_bh(&health->lock);
	health->sock = NULL;
	spin_unlock_bh(&health->lock);
	uninstall(health, sock->sk);
	ktcp_socket_release(sock);
}

/* This relay's own want of memory, or of a port, says nothing of the peer. */
static bool is_own_fault(int err)
{
	return err == -ENOMEM || err == -ENOBUFS || err == -EADDRNOTAVAIL;
}

/**
 * ktcp_health_jitter() - A pause that other relays do not make in step
 * @ms: milliseconds
 *
 * Context: any.
 * Return: jiffies, up to half as many again.
 */
unsigned long ktcp_health_jitter(u32 ms)
{
	return msecs_to_jiffies(ms + get_random_u32() % (ms / 2 + 1));
}

static void strike(struct ktcp_health *health, int err)
{
	drop(health);
	if (!READ_ONCE(health->closing) && !is_own_fault(err)) {
		atomic64_inc(&pool_of(health)->failures);
		health->strikes++;
	}
	health->retry_at = jiffies + ktcp_health_jitter(health->pause_ms);
	health->pause_ms = min_t(u32, health->pause_ms * 2, PAUSE_MAX_MS);
	step(health);
}

static void prove(struct ktcp_health *health)
{
	u32 ms = READ_ONCE(settings_of(health)->peer_timeout_ms);
	struct ktcp_peer_pool *pool = pool_of(health);
	struct ktcp_ticket ticket;
	int err;

	/* Who closes may have come too early to end the connection. */
	if (READ_ONCE(health->closing))
		return;
	ktcp_socket_set_timeout(health->sock, msecs_to_jiffies(ms));
	/* Not by a ticket: the peer has to answer. */
	err = ktcp_handoff_prove(pool->ktcp, health->sock,
				 READ_ONCE(pool->key), &ticket);
	if (err) {
		strike(health, err);
		return;
	}
	health->watch = KTCP_WATCH_KEPT;
	health->strikes = 0;
	health->pause_ms = PAUSE_MIN_MS;
	step(health);
	health->known = true;
}

static void finish_connect(struct ktcp_health *health)
{
	switch (READ_ONCE(health->sock->sk->sk_state)) {
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		break;
	case TCP_ESTABLISHED:
		prove(health);
		break;
	default:
		strike(health, -ECONNREFUSED);
	}
}

static int start_connect(struct ktcp_health *health, struct socket *sock)
{
	u32 ms = READ_ONCE(settings_of(health)->peer_timeout_ms);

	install(health, sock->sk);
	/* Published before it connects: who closes may want to end it. */
	spin_lock_bh(&health->lock);
	health->sock = sock;
	spin_unlock_bh(&health->lock);
	health->watch = KTCP_WATCH_CONNECTING;
	ktcp_socket_watch(sock, ms);
	return ktcp_socket_connect_start(sock, &pool_of(health)->addr);
}

static void begin(struct ktcp_health *health)
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
		strike(health, err);
}

/* The connection that is kept: is it there, and is it good enough? */
static void look(struct ktcp_health *health)
{
	if (READ_ONCE(health->sock->sk->sk_state) != TCP_ESTABLISHED) {
		health->ended(health);
		strike(health, -ETIMEDOUT);
	} else if (READ_ONCE(health->doubted)) {
		drop(health);
	} else {
		ktcp_socket_watch(health->sock, READ_ONCE(settings_of(health)->peer_timeout_ms));
	}
}

static void health_work(struct work_struct *work)
{
	struct ktcp_health *health = container_of(to_delayed_work(work),
						  struct ktcp_health, work);

	if (health->watch == KTCP_WATCH_KEPT)
		look(health);
	if (health->watch == KTCP_WATCH_NONE && !left_until(health->retry_at))
		begin(health);
	if (health->watch == KTCP_WATCH_CONNECTING)
		finish_connect(health);
	step(health);
	if (health->watch == KTCP_WATCH_NONE)
		queue(health, left_until(health->retry_at));
	else if (health->state == KTCP_HEALTH_RECOVERING)
		queue(health, hold_left(health));
}

/**
 * ktcp_health_init() - A peer that counts as up until it is tried
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
 * ktcp_health_kick() - Begin to watch, or by other settings
 * @health: of the peer
 *
 * Context: any.
 */
void ktcp_health_kick(struct ktcp_health *health)
{
	queue(health, 0);
}

/**
 * ktcp_health_doubt() - Something failed on the way to the peer: is it there?
 * @health: of the peer
 *
 * Context: any.
 */
void ktcp_health_doubt(struct ktcp_health *health)
{
	WRITE_ONCE(health->doubted, true);
	queue(health, 0);
}

/**
 * ktcp_health_close() - Watch no more
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
		/* Nobody waits for the proof longer than for this. */
		ktcp_sock_abort(sk);
		sock_put(sk);
	}
	cancel_delayed_work_sync(&health->work);
	drop(health);
}

/**
 * ktcp_health_name() - The word of procfs and of the tracepoint
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
