// SPDX-License-Identifier: GPL-2.0-only
/*
 * The connection pool (paper, "pre-established connections"). Connections to
 * a peer are made ahead of time, prove the key, and wait. If one dies while it
 * waits, its state_change callback tells us. So a connection taken from the
 * pool is alive, as far as this end can know.
 */

#include "relay/peer_pool.h"
#include "control/net.h"
#include "control/stats.h"
#include "lib/callbacks.h"
#include "lib/connect.h"
#include "lib/keepalive.h"
#include "lib/socket.h"
#include "lib/socket_state.h"
#include "lib/thread_pool.h"
#include "lib/turbo.h"
#include "relay/leg.h"
#include "relay/record.h"
#include "relay/rest.h"
#include "relay/trace.h"

#include <linux/jiffies.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000

/* How long flows avoid a peer after no port was left for a leg to it. */
#define PORTLESS HZ

/* Pause between two rounds of aborting connects. */
#define ABORT_AGAIN (HZ / 10)

/*
 * After so many streams, or so long, a connection is not used again. This
 * bounds what an old path, an old key or a mistake in counting can do.
 */
#define STREAMS_MAX 1000
#define AGE_MAX (10 * 60 * HZ)

/* Who owns a connection: several may claim a READY one, and one gets it. */
enum pooled_state {
	POOLED_BUSY, /* run_connect(), or who removes it from the resting ones */
	POOLED_READY, /* nobody: it waits for the first who claims it */
	POOLED_TAKEN, /* the one who claimed it */
	POOLED_DEAD, /* nobody: whoever finds it in the depot frees it */
};

/**
 * struct pooled - A connection of a pool
 * @state: enum pooled_state
 * @node: in one of the pool's lists, later in a list of those to free
 * @pool: the pool
 * @sock: the connection
 * @ticket: how the key was proved
 * @leg: what else is known of it
 * @own: the socket's own callbacks
 * @round: the last round of aborts that it got
 * @rest: what it waits for between two streams
 */
struct pooled {
	unsigned int state;
	struct list_head node;
	struct ktcp_peer_pool *pool;
	struct socket *sock;
	struct ktcp_ticket ticket;
	struct ktcp_leg leg;
	struct ktcp_callbacks own;
	unsigned int round;
	struct ktcp_rest rest;
};

static void pool_release(struct kref *ref)
{
	struct ktcp_peer_pool *pool =
		container_of(ref, struct ktcp_peer_pool, ref);

	WARN_ON_ONCE(!pool->closing);
	ktcp_depot_exit(&pool->ready);
	kfree(pool);
}

/**
 * ktcp_peer_pool_put() - Drop a reference
 * @pool: the pool; must be closed before its last reference is dropped
 *
 * Context: any.
 */
void ktcp_peer_pool_put(struct ktcp_peer_pool *pool)
{
	kref_put(&pool->ref, pool_release);
}

static void pool_kick(struct ktcp_peer_pool *pool)
{
	lockdep_assert_held(&pool->lock);
	/* ktcp_peer_pool_close() cancels the work once: queue none after it. */
	if (!pool->closing)
		mod_delayed_work(system_highpri_wq, &pool->refill, 0);
}

/**
 * ktcp_peer_pool_kick() - Let the pool look soon if something is to be done
 * @pool: the pool
 *
 * Context: any.
 */
void ktcp_peer_pool_kick(struct ktcp_peer_pool *pool)
{
	spin_lock_bh(&pool->lock);
	pool_kick(pool);
	spin_unlock_bh(&pool->lock);
}

/* The peer went or came back: earlier failures say nothing any more. */
static void pool_renew(struct ktcp_health *health)
{
	struct ktcp_peer_pool *pool = container_of(health, struct ktcp_peer_pool,
						   health);

	spin_lock_bh(&pool->lock);
	pool->backoff_ms = 0;
	pool_kick(pool);
	spin_unlock_bh(&pool->lock);
}

/**
 * ktcp_peer_pool_failed() - A leg to the peer could not be opened
 * @pool: the pool
 *
 * Context: any.
 */
void ktcp_peer_pool_failed(struct ktcp_peer_pool *pool)
{
	atomic64_inc(&pool->failures);
	ktcp_health_doubt(&pool->health);
}

/*
 * The peer, or a firewall on the way, was restarted. Waiting connections do not
 * notice that, and each would fail the split that takes it. So none of them is
 * used any more.
 */
static void pool_distrust(struct ktcp_peer_pool *pool)
{
	ktcp_ticket_cache_forget(&pool->tickets);
	spin_lock_bh(&pool->lock);
	WRITE_ONCE(pool->epoch, pool->epoch + 1);
	pool->outdated = true;
	pool_kick(pool);
	spin_unlock_bh(&pool->lock);
}

/* What ended the watched connection has ended the waiting ones, or will. */
static void watched_ended(struct ktcp_health *health)
{
	pool_distrust(container_of(health, struct ktcp_peer_pool, health));
}

/**
 * ktcp_peer_pool_refused() - A leg was reset before it brought any byte
 * @pool: the pool
 * @sock: the leg
 * @ticket: how the key was proved on it
 *
 * There are three cases. The peer did not know the connection any more: then it
 * does not know the waiting ones either. The peer refused the ticket: then its
 * proof is missing, which it sends before anything else. Otherwise the target
 * refused.
 *
 * Context: any.
 * Return: true if it was the peer that refused the leg.
 */
bool ktcp_peer_pool_refused(struct ktcp_peer_pool *pool,
			    const struct socket *sock,
			    const struct ktcp_ticket *ticket)
{
	if (ktcp_socket_is_unknown(sock)) {
		pool_distrust(pool);
		return true;
	}
	if (!READ_ONCE(ticket->owed) ||
	    ktcp_socket_unread(sock) >= sizeof(struct ktcp_wire_confirm))
		return false;
	ktcp_ticket_cache_refused(&pool->tickets, ticket);
	return true;
}

/**
 * ktcp_peer_pool_confirmed() - Note whether the peer accepted a ticket
 * @pool: the pool
 * @ticket: the ticket, with the use that was made
 * @err: what ktcp_handoff_confirm() returned
 *
 * Context: any.
 */
void ktcp_peer_pool_confirmed(struct ktcp_peer_pool *pool,
			      const struct ktcp_ticket *ticket, int err)
{
	if (!err)
		ktcp_ticket_cache_trust(&pool->tickets);
	/*
	 * A reset says nothing here: it may come from the client. If it is the
	 * peer's, ktcp_peer_pool_refused() looks into it.
	 */
	else if (err != -ECONNRESET && err != -ECONNABORTED)
		ktcp_ticket_cache_refused(&pool->tickets, ticket);
}

/**
 * ktcp_peer_pool_portless() - All ports of this relay towards the peer are in
 * use
 * @pool: the pool
 *
 * Most of them belong to connections that have ended, and wait for packets that
 * may still be on the way (TIME_WAIT). That says nothing about the peer.
 *
 * Context: any.
 */
void ktcp_peer_pool_portless(struct ktcp_peer_pool *pool)
{
	WRITE_ONCE(pool->portless, jiffies + PORTLESS);
	net_warn_ratelimited("ktcp: no port is left for a connection to %pISpc\n",
			     &pool->addr);
}

/**
 * ktcp_peer_pool_has_port() - Is there a port for a leg, as far as we know?
 * @pool: the pool
 *
 * Context: any.
 */
bool ktcp_peer_pool_has_port(const struct ktcp_peer_pool *pool)
{
	return time_after_eq(jiffies, READ_ONCE(pool->portless));
}

/* Claim a connection that waits. False if somebody else was quicker. */
static bool pooled_claim(struct pooled *pooled, enum pooled_state state)
{
	if (cmpxchg(&pooled->state, POOLED_READY, state) != POOLED_READY)
		return false;
	atomic_dec(&pooled->pool->nr_ready);
	return true;
}

static void pooled_state_change(struct sock *sk)
{
	struct pooled *pooled = ktcp_callbacks_enter(sk);
	struct ktcp_peer_pool *pool;

	if (!pooled || sk->sk_state == TCP_ESTABLISHED)
		goto leave;
	/* Nobody can free it now: that takes the lock which we hold here. */
	pool = pooled->pool;
	if (pooled_claim(pooled, POOLED_DEAD)) {
		atomic_inc(&pool->nr_dead);
		/* The peer may have forgotten its ticket, too. */
		ktcp_ticket_cache_forget(&pool->tickets);
		ktcp_peer_pool_kick(pool);
	}
leave:
	ktcp_callbacks_leave(sk);
}

static const struct ktcp_callbacks callbacks = {
	.state_change = pooled_state_change,
};

static void pooled_watch(struct pooled *pooled)
{
	ktcp_callbacks_take(pooled->sock->sk, &callbacks, pooled,
			    &pooled->own);
}

/* After this no callback uses it any more. */
static void pooled_unwatch(struct pooled *pooled)
{
	ktcp_callbacks_give_back(pooled->sock->sk, &callbacks, pooled,
				 &pooled->own);
}

static void pooled_free(struct pooled *pooled)
{
	if (pooled->sock) {
		pooled_unwatch(pooled);
		ktcp_socket_release(pooled->sock);
	}
	kfree(pooled);
}

static void pooled_bury(struct pooled *pooled)
{
	atomic_dec(&pooled->pool->nr_dead);
	pooled_free(pooled);
}

static bool reject_dead(void *object, void *list)
{
	struct pooled *pooled = object;

	if (READ_ONCE(pooled->state) != POOLED_DEAD)
		return false;
	list_add(&pooled->node, list);
	return true;
}

static void pool_retry(struct ktcp_peer_pool *pool, u32 ms)
{
	spin_lock_bh(&pool->lock);
	if (!pool->closing)
		schedule_delayed_work(&pool->refill,
				      ktcp_health_jitter(ms));
	spin_unlock_bh(&pool->lock);
}

static void release_dead(struct ktcp_peer_pool *pool)
{
	struct pooled *pooled, *next;
	LIST_HEAD(dead);

	if (!atomic_read(&pool->nr_dead))
		return;
	ktcp_depot_sift(&pool->ready, reject_dead, &dead);
	list_for_each_entry_safe(pooled, next, &dead, node)
		pooled_bury(pooled);
	/* The search misses one that was on its way between two magazines. */
	if (atomic_read(&pool->nr_dead))
		pool_retry(pool, BACKOFF_MIN_MS);
}

/* False if it proved an old key, or is of an epoch that is not trusted. */
static bool is_current(const struct pooled *pooled)
{
	const struct ktcp_peer_pool *pool = pooled->pool;

	return pooled->ticket.key == READ_ONCE(pool->key) &&
	       pooled->leg.epoch == READ_ONCE(pool->epoch);
}

static bool reject_outdated(void *object, void *list)
{
	struct pooled *pooled = object;

	if (is_current(pooled) || !pooled_claim(pooled, POOLED_TAKEN))
		return false;
	list_add(&pooled->node, list);
	return true;
}

static void release_outdated(struct ktcp_peer_pool *pool)
{
	struct pooled *pooled, *next;
	bool outdated;
	LIST_HEAD(old);

	spin_lock_bh(&pool->lock);
	outdated = pool->outdated;
	pool->outdated = false;
	spin_unlock_bh(&pool->lock);
	if (!outdated)
		return;
	ktcp_depot_sift(&pool->ready, reject_outdated, &old);
	list_for_each_entry_safe(pooled, next, &old, node)
		pooled_free(pooled);
}

static int pooled_connect(struct pooled *pooled)
{
	struct ktcp_peer_pool *pool = pooled->pool;
	const struct ktcp_settings *settings = &pool->ktcp->settings;
	struct socket *sock = pooled->sock;
	int err;

	err = ktcp_socket_connect(sock, &pool->addr,
				  READ_ONCE(settings->connect_timeout_ms));
	if (err)
		return err;
	ktcp_socket_relay_options(sock);
	ktcp_socket_turbo(sock, ktcp_settings_turbo_cwnd(settings));
	ktcp_socket_set_timeout(sock, msecs_to_jiffies(READ_ONCE(settings->handshake_timeout_ms)));
	return ktcp_ticket_cache_prove(pool->ktcp, &pool->tickets, sock,
				       READ_ONCE(pool->key), &pooled->ticket);
}

static struct socket *pooled_socket(struct ktcp_peer_pool *pool)
{
	struct socket *sock;

	if (ktcp_leg_create(pool->ktcp, &pool->addr, &sock))
		return NULL;
	ktcp_socket_turbo_prepare(sock, ktcp_settings_turbo_bytes(&pool->ktcp->settings));
	return sock;
}

/* A connect is over, however it ended. */
static void connect_ended(struct ktcp_peer_pool *pool)
{
	lockdep_assert_held(&pool->lock);
	pool->nr_connecting--;
	/* Under the lock: a closing pool waits until the last one is over. */
	pool_kick(pool);
	if (pool->closing && !pool->nr_connecting)
		wake_up_var(&pool->nr_connecting);
}

/* Anybody may claim it from here on. False if it has died already. */
static bool pooled_ready(struct pooled *pooled)
{
	atomic_inc(&pooled->pool->nr_ready);
	/* Before sk_state is read: a death after that finds it READY. */
	smp_store_mb(pooled->state, POOLED_READY);
	return READ_ONCE(pooled->sock->sk->sk_state) == TCP_ESTABLISHED;
}

/**
 * ktcp_peer_pool_begin() - Note what is known of a new leg to the peer
 * @pool: the pool
 * @ticket: how the key was proved on it
 * @leg: filled
 *
 * Context: any.
 */
void ktcp_peer_pool_begin(const struct ktcp_peer_pool *pool,
			  const struct ktcp_ticket *ticket,
			  struct ktcp_leg *leg)
{
	*leg = (struct ktcp_leg){
		.version = ticket->version,
		.key = ticket->key,
		.epoch = READ_ONCE(pool->epoch),
		.begun = jiffies,
	};
}

/* Put it into the pool, unless it died or the pool closed meanwhile. */
static bool pool_add(struct pooled *pooled)
{
	struct ktcp_peer_pool *pool = pooled->pool;
	/* Read it now: whoever takes the connection may free it at once. */
	u32 rtt_us = ktcp_socket_rtt_us(pooled->sock);
	bool added = false;

	pooled_watch(pooled);
	spin_lock_bh(&pool->lock);
	list_del_init(&pooled->node);
	ktcp_peer_pool_begin(pool, &pooled->ticket, &pooled->leg);
	if (!pool->closing) {
		added = pooled_ready(pooled) &&
			!ktcp_depot_put(&pool->ready, pooled);
		if (!added && !pooled_claim(pooled, POOLED_TAKEN))
			atomic_dec(&pool->nr_dead);
	}
	if (added) {
		pool->backoff_ms = 0;
		ewma_rtt_add(&pool->rtt, rtt_us);
		/*
		 * Here, with the lock held since it became ready: counted as
		 * ready and as connecting, it would be one too many.
		 */
		connect_ended(pool);
	}
	spin_unlock_bh(&pool->lock);
	return added;
}

static void connect_failed(struct pooled *pooled)
{
	struct ktcp_peer_pool *pool = pooled->pool;

	ktcp_peer_pool_failed(pool);
	ktcp_ticket_cache_forget(&pool->tickets);
	spin_lock_bh(&pool->lock);
	list_del_init(&pooled->node);
	pool->backoff_ms = clamp_t(u32, pool->backoff_ms * 2, BACKOFF_MIN_MS,
				   BACKOFF_MAX_MS);
	pool->retry_at = jiffies + ktcp_health_jitter(pool->backoff_ms);
	spin_unlock_bh(&pool->lock);
	pooled_free(pooled);
	spin_lock_bh(&pool->lock);
	connect_ended(pool);
	spin_unlock_bh(&pool->lock);
}

/* Make one connection, up to the point where it is ready. */
static void run_connect(void *arg)
{
	struct pooled *pooled = arg;
	struct ktcp_peer_pool *pool = pooled->pool;

	if (pooled_connect(pooled) || !pool_add(pooled))
		connect_failed(pooled);
	ktcp_peer_pool_put(pool);
}

static void give_up(struct pooled *pooled)
{
	struct ktcp_peer_pool *pool = pooled->pool;

	spin_lock_bh(&pool->lock);
	list_del_init(&pooled->node);
	pool->nr_connecting--;
	spin_unlock_bh(&pool->lock);
	pooled_free(pooled);
	ktcp_peer_pool_put(pool);
}

static bool start_connect(struct ktcp_peer_pool *pool)
{
	bool threads = READ_ONCE(pool->ktcp->settings.thread_pool);
	struct pooled *pooled = kzalloc(sizeof(*pooled), GFP_KERNEL);

	if (!pooled)
		return false;
	pooled->pool = pool;
	pooled->sock = pooled_socket(pool);
	if (!pooled->sock) {
		kfree(pooled);
		return false;
	}
	kref_get(&pool->ref);
	spin_lock_bh(&pool->lock);
	list_add(&pooled->node, &pool->busy);
	pool->nr_connecting++;
	spin_unlock_bh(&pool->lock);
	if (!ktcp_thread_pool_run(threads, run_connect, pooled))
		return true;
	give_up(pooled);
	return false;
}

static struct pooled *next_of(struct ktcp_peer_pool *pool,
			      struct list_head *list)
{
	struct pooled *pooled;

	spin_lock_bh(&pool->lock);
	pooled = list_first_entry_or_null(list, struct pooled, node);
	if (pooled)
		list_del_init(&pooled->node);
	spin_unlock_bh(&pool->lock);
	return pooled;
}

static bool pool_is_on(const struct ktcp_peer_pool *pool)
{
	return READ_ONCE(pool->ktcp->settings.conn_pool) &&
	       READ_ONCE(pool->health.state) != KTCP_HEALTH_DOWN;
}

/* Release connections that cannot be used again after their stream. */
static void release_spent(struct ktcp_peer_pool *pool)
{
	struct pooled *pooled;

	while ((pooled = next_of(pool, &pool->spent)))
		pooled_free(pooled);
}

static bool is_rejected(const struct ktcp_rest *rest)
{
	return rest->have == sizeof(rest->head) &&
	       !ktcp_record_is_idle(&rest->head, rest->stream);
}

/*
 * Put a connection back. Its sock is locked, so it does not die meanwhile. If
 * somebody has removed it from the list, they own it, and free it.
 */
static void rest_over(struct ktcp_rest *rest, bool idle)
{
	struct pooled *pooled = container_of(rest, struct pooled, rest);
	struct ktcp_peer_pool *pool = pooled->pool;
	bool back = false;

	if (is_rejected(rest))
		ktcp_count(pool->ktcp, KTCP_RECORDS_REJECTED);
	pooled_watch(pooled);
	spin_lock_bh(&pool->lock);
	if (list_empty(&pooled->node))
		goto unlock;
	list_del_init(&pooled->node);
	atomic_dec(&pool->nr_lent);
	if (idle && is_current(pooled)) {
		ktcp_sock_let_go(pooled->sock->sk);
		back = pooled_ready(pooled) &&
		       !ktcp_depot_put(&pool->ready, pooled);
		if (!back)
			pooled_claim(pooled, POOLED_TAKEN);
	}
	if (!back)
		list_add(&pooled->node, &pool->spent);
	if (!back || !pool_is_on(pool) ||
	    atomic_read(&pool->nr_ready) > (int)pool->high)
		pool_kick(pool);
unlock:
	spin_unlock_bh(&pool->lock);
}

/**
 * ktcp_peer_pool_lend() - A stream begins on a leg that may be used again
 * @pool: the pool
 * @leg: the leg
 *
 * Context: any.
 */
void ktcp_peer_pool_lend(struct ktcp_peer_pool *pool, struct ktcp_leg *leg)
{
	if (leg->stream > 1)
		ktcp_count(pool->ktcp, KTCP_LEGS_REUSED);
	if (leg->version == KTCP_WIRE_PLAIN)
		return;
	atomic_inc(&pool->nr_lent);
	WRITE_ONCE(leg->lent, 1);
}

/**
 * ktcp_peer_pool_keep() - A leg will not come back soon, or never
 * @pool: the pool, which replaces it
 * @leg: the leg
 *
 * Context: any.
 */
void ktcp_peer_pool_keep(struct ktcp_peer_pool *pool, struct ktcp_leg *leg)
{
	if (!READ_ONCE(leg->lent) || !xchg(&leg->lent, 0))
		return;
	atomic_dec(&pool->nr_lent);
	ktcp_peer_pool_kick(pool);
}

static bool may_rest(const struct ktcp_peer_pool *pool,
		     const struct ktcp_leg *leg)
{
	return READ_ONCE(pool->ktcp->settings.reuse) && pool_is_on(pool) &&
	       atomic_read(&pool->nr_ready) < (int)READ_ONCE(pool->high) &&
	       leg->stream < STREAMS_MAX &&
	       time_before(jiffies, leg->begun + AGE_MAX);
}

static struct pooled *pooled_of(struct ktcp_peer_pool *pool,
				struct socket *sock,
				const struct ktcp_ticket *ticket,
				const struct ktcp_leg *leg)
{
	struct pooled *pooled = kzalloc(sizeof(*pooled), GFP_KERNEL);

	if (!pooled)
		return NULL;
	pooled->pool = pool;
	pooled->sock = sock;
	pooled->ticket = *ticket;
	pooled->leg = *leg;
	pooled->leg.lent = 0;
	pooled->rest.sock = sock;
	pooled->rest.stream = leg->stream;
	pooled->rest.over = rest_over;
	return pooled;
}

/* False if the pool is closing. From here on others may find the connection. */
static bool add_resting(struct pooled *pooled, struct ktcp_leg *leg)
{
	struct ktcp_peer_pool *pool = pooled->pool;
	bool added;

	spin_lock_bh(&pool->lock);
	added = !pool->closing;
	if (added) {
		list_add(&pooled->node, &pool->resting);
		if (!xchg(&leg->lent, 0))
			atomic_inc(&pool->nr_lent);
	}
	spin_unlock_bh(&pool->lock);
	return added;
}

/**
 * ktcp_peer_pool_give_back() - A stream has ended, and its leg has not
 * @pool: the pool that the leg goes to
 * @sock: the leg; its callbacks are its own
 * @ticket: how the key was proved on it
 * @leg: what else is known of it
 *
 * Context: may sleep.
 * Return: true if the pool has taken the socket over, false if it is still the
 * caller's.
 */
bool ktcp_peer_pool_give_back(struct ktcp_peer_pool *pool, struct socket *sock,
			      const struct ktcp_ticket *ticket,
			      struct ktcp_leg *leg)
{
	struct sock *sk = sock->sk;
	struct pooled *pooled;
	bool taken;

	if (!may_rest(pool, leg))
		return false;
	pooled = pooled_of(pool, sock, ticket, leg);
	if (!pooled)
		return false;
	sock_hold(sk);
	lock_sock(sk);
	taken = add_resting(pooled, leg);
	if (taken)
		ktcp_rest_begin(&pooled->rest);
	release_sock(sk);
	sock_put(sk);
	if (!taken)
		kfree(pooled);
	return taken;
}

/* Close connections that rest; what they still have to send is sent. */
static void release_resting(struct ktcp_peer_pool *pool)
{
	struct pooled *pooled;

	while ((pooled = next_of(pool, &pool->resting))) {
		ktcp_rest_cancel(&pooled->rest);
		atomic_dec(&pool->nr_lent);
		pooled_free(pooled);
	}
	release_spent(pool);
}

/* How many connections to make now; if negative, how many to close. */
static int pool_wants(struct ktcp_peer_pool *pool)
{
	int ready, have, wants;

	spin_lock_bh(&pool->lock);
	ready = atomic_read(&pool->nr_ready);
	have = ready + pool->nr_connecting;
	if (have < (int)pool->low)
		pool->filling = true;
	/* Only ready ones end the filling: those under way may still fail. */
	if (ready >= (int)pool->high)
		pool->filling = false;
	/*
	 * Else one by one: nobody should wait while many are made at once. Those
	 * that are lent come back by themselves.
	 */
	wants = pool->filling ? (int)pool->high - have :
		have + atomic_read(&pool->nr_lent) < (int)pool->high;
	if (have > (int)pool->high)
		wants = (int)pool->high - have;
	if (!pool_is_on(pool))
		wants = -ready;
	if (pool->closing)
		wants = 0;
	spin_unlock_bh(&pool->lock);
	return wants;
}

/* Take one that was alive a moment ago. May sleep. */
static struct pooled *take_ready(struct ktcp_peer_pool *pool)
{
	struct pooled *pooled;

	while ((pooled = ktcp_depot_take(&pool->ready))) {
		if (pooled_claim(pooled, POOLED_TAKEN))
			return pooled;
		pooled_bury(pooled);
	}
	return NULL;
}

static void pool_shrink(struct ktcp_peer_pool *pool, int surplus)
{
	struct pooled *pooled;

	while (surplus-- > 0 && (pooled = take_ready(pool)))
		pooled_free(pooled);
}

/* After a failure make one at a time, which tells if the peer is back. */
static int wants_now(struct ktcp_peer_pool *pool, int wants)
{
	unsigned long now = jiffies;

	spin_lock_bh(&pool->lock);
	if (pool->backoff_ms && time_before(now, pool->retry_at)) {
		schedule_delayed_work(&pool->refill, pool->retry_at - now);
		wants = 0;
	} else if (pool->backoff_ms) {
		wants = pool->nr_connecting ? 0 : 1;
	}
	spin_unlock_bh(&pool->lock);
	return wants;
}

static void pool_refill(struct work_struct *work)
{
	struct ktcp_peer_pool *pool =
		container_of(to_delayed_work(work), struct ktcp_peer_pool,
			     refill);
	int wants;

	release_dead(pool);
	release_outdated(pool);
	release_spent(pool);
	wants = pool_wants(pool);
	pool_shrink(pool, -wants);
	if (wants > 0)
		wants = wants_now(pool, wants);
	if (wants > 0)
		trace_ktcp_pool_refill(pool, wants);
	while (wants-- > 0) {
		if (start_connect(pool))
			continue;
		/* No thread or no memory: perhaps nobody else will kick us. */
		pool_retry(pool, BACKOFF_MIN_MS);
		break;
	}
}

/* A leg that comes back is not replaced while enough others wait. */
static void kick_if_wanting(struct ktcp_peer_pool *pool,
			    const struct ktcp_leg *leg)
{
	if (leg->version == KTCP_WIRE_PLAIN ||
	    atomic_read(&pool->nr_ready) < (int)READ_ONCE(pool->low))
		ktcp_peer_pool_kick(pool);
}

/**
 * ktcp_peer_pool_take() - Take a connection that is ready for OPEN
 * @pool: the pool
 * @ticket: set to how the key was proved on it
 * @leg: set to what else is known of it
 *
 * Context: may sleep.
 * Return: the connection, which the caller owns from now on; NULL if there is
 * none.
 */
struct socket *ktcp_peer_pool_take(struct ktcp_peer_pool *pool,
				   struct ktcp_ticket *ticket,
				   struct ktcp_leg *leg)
{
	struct pooled *pooled;
	struct socket *sock;
	bool alive;

	while ((pooled = take_ready(pool))) {
		pooled_unwatch(pooled);
		sock = pooled->sock;
		*ticket = pooled->ticket;
		*leg = pooled->leg;
		alive = is_current(pooled) &&
			READ_ONCE(sock->sk->sk_state) == TCP_ESTABLISHED &&
			!ktcp_socket_hold(sock);
		kfree(pooled);
		if (alive) {
			/* It lived until now, so the peer still knows us. */
			ktcp_ticket_cache_trust(&pool->tickets);
			atomic64_inc(&pool->hits);
			ktcp_count(pool->ktcp, KTCP_POOL_HITS);
			trace_ktcp_pool_take(pool, true);
			kick_if_wanting(pool, leg);
			return sock;
		}
		ktcp_peer_pool_kick(pool);
		ktcp_socket_release(sock);
	}
	atomic64_inc(&pool->misses);
	ktcp_count(pool->ktcp, KTCP_POOL_MISSES);
	trace_ktcp_pool_take(pool, false);
	ktcp_peer_pool_kick(pool);
	return NULL;
}

/**
 * ktcp_peer_pool_set() - Change the marks and the key
 * @pool: the pool
 * @low: new low watermark
 * @high: new high watermark
 * @key: number of the key to prove; connections that have proved another key
 * are not used any more
 *
 * Context: any.
 */
void ktcp_peer_pool_set(struct ktcp_peer_pool *pool, u32 low, u32 high,
			u16 key)
{
	bool other_key;

	spin_lock_bh(&pool->lock);
	other_key = pool->key != key;
	WRITE_ONCE(pool->low, low);
	WRITE_ONCE(pool->high, high);
	WRITE_ONCE(pool->key, key);
	pool->outdated = pool->outdated || other_key;
	spin_unlock_bh(&pool->lock);
	ktcp_peer_pool_kick(pool);
	if (other_key)
		ktcp_health_doubt(&pool->health);
}

/**
 * ktcp_peer_pool_rtt_us() - The round-trip time to the peer
 * @pool: the pool
 *
 * Connections that wait send nothing that could be timed. So the time comes
 * from new ones, at their handshake.
 *
 * Context: any.
 * Return: the smoothed round-trip time, 0 before the first connection.
 */
unsigned long ktcp_peer_pool_rtt_us(struct ktcp_peer_pool *pool)
{
	unsigned long rtt_us;

	spin_lock_bh(&pool->lock);
	rtt_us = ewma_rtt_read(&pool->rtt);
	spin_unlock_bh(&pool->lock);
	return rtt_us;
}

/**
 * ktcp_peer_pool_create() - Make a pool, empty until ktcp_peer_pool_set()
 * @ktcp: its namespace
 * @addr: the peer's relay listener
 *
 * Context: may sleep.
 * Return: the pool with one reference, NULL without memory.
 */
struct ktcp_peer_pool *ktcp_peer_pool_create(struct ktcp_net *ktcp,
					     const union ktcp_addr *addr)
{
	struct ktcp_peer_pool *pool = kzalloc(sizeof(*pool), GFP_KERNEL);

	if (!pool)
		return NULL;
	if (ktcp_depot_init(&pool->ready)) {
		kfree(pool);
		return NULL;
	}
	kref_init(&pool->ref);
	pool->ktcp = ktcp;
	pool->addr = *addr;
	spin_lock_init(&pool->lock);
	ewma_rtt_init(&pool->rtt);
	ktcp_ticket_cache_init(&pool->tickets);
	pool->portless = jiffies;
	INIT_LIST_HEAD(&pool->busy);
	INIT_LIST_HEAD(&pool->resting);
	INIT_LIST_HEAD(&pool->spent);
	INIT_DELAYED_WORK(&pool->refill, pool_refill);
	ktcp_health_init(&pool->health, pool_renew, watched_ended);
	return pool;
}

/* A connect under way that this round has not aborted yet; holds its sock. */
static struct sock *next_busy(struct ktcp_peer_pool *pool, unsigned int round)
{
	struct sock *sk = NULL;
	struct pooled *pooled;

	spin_lock_bh(&pool->lock);
	list_for_each_entry(pooled, &pool->busy, node) {
		if (pooled->round == round)
			continue;
		pooled->round = round;
		sk = pooled->sock->sk;
		sock_hold(sk);
		break;
	}
	spin_unlock_bh(&pool->lock);
	return sk;
}

static bool pool_is_quiet(struct ktcp_peer_pool *pool)
{
	bool quiet;

	/* With the lock: the last connect holds it while it wakes us. */
	spin_lock_bh(&pool->lock);
	quiet = !pool->nr_connecting;
	spin_unlock_bh(&pool->lock);
	return quiet;
}

/**
 * ktcp_peer_pool_close() - End all connections that wait or are being made
 * @pool: the pool; nobody may take from it any more
 *
 * Context: may sleep.
 */
void ktcp_peer_pool_close(struct ktcp_peer_pool *pool)
{
	unsigned int round = 0;
	struct sock *sk;

	ktcp_health_close(&pool->health);
	spin_lock_bh(&pool->lock);
	pool->closing = true;
	spin_unlock_bh(&pool->lock);
	cancel_delayed_work_sync(&pool->refill);
	/* Several rounds: a connect that had yet to begin was not aborted. */
	do {
		round++;
		while ((sk = next_busy(pool, round))) {
			ktcp_sock_abort(sk);
			sock_put(sk);
		}
	} while (!wait_var_event_timeout(&pool->nr_connecting,
					 pool_is_quiet(pool), ABORT_AGAIN));
	release_resting(pool);
	pool_shrink(pool, INT_MAX);
}
