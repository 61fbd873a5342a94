// SPDX-License-Identifier: GPL-2.0-only
/*
 * The connection pool (paper, "pre-established connections"). Connections to
 * a peer are made ahead of time, prove the key, and wait. One that dies while
 * it waits is told by its state_change callback, so what is taken is alive as
 * far as this end can know.
 */

#include "relay/peer_pool.h"
#include "control/net.h"
#include "control/stats.h"
#include "lib/callbacks.h"
#include "lib/socket.h"
#include "lib/thread_pool.h"
#include "relay/leg.h"
#include "relay/trace.h"

#include <linux/jiffies.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 10000

/* For so long after a port was missing none is tried for. */
#define PORTLESS HZ

/* Pause between two rounds of aborting connects. */
#define ABORT_AGAIN (HZ / 10)

/* Who has a connection changes by one atomic step from READY, or not at all. */
enum pooled_state {
	POOLED_BUSY, /* on its way into the pool: run_connect() */
	POOLED_READY, /* waits: whoever claims it first */
	POOLED_TAKEN, /* the one who claimed it */
	POOLED_DEAD, /* whoever finds it in the depot frees it */
};

/**
 * struct pooled - A connection of a pool
 * @state: enum pooled_state
 * @node: in busy of the pool, later in a list of those to free
 * @pool: the pool
 * @sock: the connection
 * @ticket: how the key was proved
 * @epoch: of the pool when it came there
 * @own: the socket's own callbacks
 * @round: of the abort that it was told last
 */
struct pooled {
	unsigned int state;
	struct list_head node;
	struct ktcp_peer_pool *pool;
	struct socket *sock;
	struct ktcp_ticket ticket;
	unsigned int epoch;
	struct ktcp_callbacks own;
	unsigned int round;
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
 * @pool: the pool; closed before the last one goes
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
	/* Once it closes, nothing may be queued behind the one who cancels. */
	if (!pool->closing)
		mod_delayed_work(system_highpri_wq, &pool->refill, 0);
}

/**
 * ktcp_peer_pool_kick() - Look soon whether there is something to do
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

/* The peer went or came back: what failed before says nothing any more. */
static void renew(struct ktcp_health *health)
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
 * The peer was restarted, or a firewall on the way was. Connections that wait
 * notice nothing, and each would fail its user. None of them is taken any more.
 */
static void distrust(struct ktcp_peer_pool *pool)
{
	ktcp_ticket_cache_forget(&pool->tickets);
	spin_lock_bh(&pool->lock);
	WRITE_ONCE(pool->epoch, pool->epoch + 1);
	pool->outdated = true;
	pool_kick(pool);
	spin_unlock_bh(&pool->lock);
}

/* What ended the watched connection ended those that wait, or will. */
static void watched_ended(struct ktcp_health *health)
{
	distrust(container_of(health, struct ktcp_peer_pool, health));
}

/**
 * ktcp_peer_pool_refused() - A leg to the peer was reset before it carried anything
 * @pool: the pool
 * @sock: the leg
 * @ticket: how the key was proved on it
 *
 * Either it was not known there any more, and neither are those that wait. Or
 * the peer did not take the ticket: its proof is owed before all else. Where it
 * is not missing, the target refused.
 *
 * Context: any.
 * Return: whether it was the peer that refused the leg.
 */
bool ktcp_peer_pool_refused(struct ktcp_peer_pool *pool,
			    const struct socket *sock,
			    const struct ktcp_ticket *ticket)
{
	if (ktcp_socket_is_unknown(sock)) {
		distrust(pool);
		return true;
	}
	if (!READ_ONCE(ticket->owed) ||
	    ktcp_socket_unread(sock) >= sizeof(struct ktcp_wire_confirm))
		return false;
	ktcp_ticket_cache_refused(&pool->tickets, ticket);
	return true;
}

/**
 * ktcp_peer_pool_confirmed() - How the peer took a ticket
 * @pool: the pool
 * @ticket: as it was used
 * @err: of ktcp_handoff_confirm()
 *
 * Context: any.
 */
void ktcp_peer_pool_confirmed(struct ktcp_peer_pool *pool,
			      const struct ktcp_ticket *ticket, int err)
{
	if (!err)
		ktcp_ticket_cache_trust(&pool->tickets);
	/* A reset may be the client's; if not, ktcp_peer_pool_refused() is told. */
	else if (err != -ECONNRESET && err != -ECONNABORTED)
		ktcp_ticket_cache_refused(&pool->tickets, ticket);
}

/**
 * ktcp_peer_pool_portless() - All ports of this relay towards the peer are used
 * @pool: the pool
 *
 * Most of them wait for what may still be on the way of a connection that has
 * ended (TIME_WAIT). That says nothing of the peer.
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
 * ktcp_peer_pool_has_port() - Is there a port for a leg, as far as is known?
 * @pool: the pool
 *
 * Context: any.
 */
bool ktcp_peer_pool_has_port(const struct ktcp_peer_pool *pool)
{
	return time_after_eq(jiffies, READ_ONCE(pool->portless));
}

/* False: somebody else was quicker. */
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
	/* To free it, the lock held here is needed first. */
	pool = pooled->pool;
	if (pooled_claim(pooled, POOLED_DEAD)) {
		atomic_inc(&pool->nr_dead);
		/* The peer may have forgotten all about us. */
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

/* After this no callback knows of it. */
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
	/* One that was between two magazines. */
	if (atomic_read(&pool->nr_dead))
		pool_retry(pool, BACKOFF_MIN_MS);
}

/* False: of a key that is going to go, or as good as dead. */
static bool is_current(const struct pooled *pooled)
{
	const struct ktcp_peer_pool *pool = pooled->pool;

	return pooled->ticket.key == READ_ONCE(pool->key) &&
	       pooled->epoch == READ_ONCE(pool->epoch);
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

/* One connect less is under way, however it ended. */
static void connect_ended(struct ktcp_peer_pool *pool)
{
	lockdep_assert_held(&pool->lock);
	pool->nr_connecting--;
	/* Under the lock: a pool that closes waits for the last of these. */
	pool_kick(pool);
	if (pool->closing && !pool->nr_connecting)
		wake_up_var(&pool->nr_connecting);
}

/* Claimable from here on; false where it has died already. */
static bool pooled_ready(struct pooled *pooled)
{
	atomic_inc(&pooled->pool->nr_ready);
	/* Before its state is read: a death from now on finds it ready. */
	smp_store_mb(pooled->state, POOLED_READY);
	return READ_ONCE(pooled->sock->sk->sk_state) == TCP_ESTABLISHED;
}

/* Among those to take, unless it died or the pool closed meanwhile. */
static bool pool_add(struct pooled *pooled)
{
	struct ktcp_peer_pool *pool = pooled->pool;
	/* Now, because whoever takes it may free it at once. */
	u32 rtt_us = ktcp_socket_rtt_us(pooled->sock);
	bool added = false;

	pooled_watch(pooled);
	spin_lock_bh(&pool->lock);
	list_del_init(&pooled->node);
	pooled->epoch = pool->epoch;
	if (!pool->closing) {
		added = pooled_ready(pooled) &&
			!ktcp_depot_put(&pool->ready, pooled);
		if (!added && !pooled_claim(pooled, POOLED_TAKEN))
			atomic_dec(&pool->nr_dead);
	}
	if (added) {
		pool->backoff_ms = 0;
		ewma_rtt_add(&pool->rtt, rtt_us);
		/* Counted twice, it would be one too many for the high mark. */
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

/* One connection, from its start into the ready list. */
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

/* How many are to be made now; negative: so many are too many. */
static int pool_wants(struct ktcp_peer_pool *pool)
{
	bool enabled = READ_ONCE(pool->ktcp->settings.conn_pool) &&
		       READ_ONCE(pool->health.state) != KTCP_HEALTH_DOWN;
	int ready, have, wants;

	spin_lock_bh(&pool->lock);
	ready = atomic_read(&pool->nr_ready);
	have = ready + pool->nr_connecting;
	if (have < (int)pool->low)
		pool->filling = true;
	/* One on its way may fail yet, so only those that wait end the filling. */
	if (ready >= (int)pool->high)
		pool->filling = false;
	/* Little by little, so that no user waits for many to be made at once. */
	wants = pool->filling ? (int)pool->high - have : have < (int)pool->high;
	if (have > (int)pool->high)
		wants = (int)pool->high - have;
	if (!enabled)
		wants = -ready;
	if (pool->closing)
		wants = 0;
	spin_unlock_bh(&pool->lock);
	return wants;
}

/* One that was alive just now. May sleep. */
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

/* After a failure one connection at a time tells whether the peer is back. */
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
	wants = pool_wants(pool);
	pool_shrink(pool, -wants);
	if (wants > 0)
		wants = wants_now(pool, wants);
	if (wants > 0)
		trace_ktcp_pool_refill(pool, wants);
	while (wants-- > 0) {
		if (start_connect(pool))
			continue;
		/* No thread or no memory: nobody else may come to kick us. */
		pool_retry(pool, BACKOFF_MIN_MS);
		break;
	}
}

/**
 * ktcp_peer_pool_take() - Take a connection that is ready for OPEN
 * @pool: the pool
 * @ticket: set: how the key was proved on it
 *
 * Context: may sleep.
 * Return: the connection, the caller's from now on; NULL where there is none.
 */
struct socket *ktcp_peer_pool_take(struct ktcp_peer_pool *pool,
				   struct ktcp_ticket *ticket)
{
	struct pooled *pooled;
	struct socket *sock;
	bool alive;

	while ((pooled = take_ready(pool))) {
		ktcp_peer_pool_kick(pool);
		pooled_unwatch(pooled);
		sock = pooled->sock;
		*ticket = pooled->ticket;
		alive = is_current(pooled) &&
			READ_ONCE(sock->sk->sk_state) == TCP_ESTABLISHED &&
			!ktcp_socket_hold(sock);
		kfree(pooled);
		if (alive) {
			/* It lived until now, so the peer knows us. */
			ktcp_ticket_cache_trust(&pool->tickets);
			atomic64_inc(&pool->hits);
			ktcp_count(pool->ktcp, KTCP_POOL_HITS);
			trace_ktcp_pool_take(pool, true);
			return sock;
		}
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
 * @key: number of the key to prove; what has proved another is taken no more
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
	pool->high = high;
	WRITE_ONCE(pool->key, key);
	pool->outdated = pool->outdated || other_key;
	spin_unlock_bh(&pool->lock);
	ktcp_peer_pool_kick(pool);
	if (other_key)
		ktcp_health_doubt(&pool->health);
}

/**
 * ktcp_peer_pool_rtt_us() - How far away the peer is
 * @pool: the pool
 *
 * Connections that wait send nothing that could be timed, so the newest ones
 * tell.
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
 * ktcp_peer_pool_create() - An empty pool, which stays so until it is set
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
	INIT_DELAYED_WORK(&pool->refill, pool_refill);
	ktcp_health_init(&pool->health, renew, watched_ended);
	return pool;
}

/* A connect under way that was not told in this round; its sock is held. */
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

	/* The lock, because the last one to leave holds it when it wakes us. */
	spin_lock_bh(&pool->lock);
	quiet = !pool->nr_connecting;
	spin_unlock_bh(&pool->lock);
	return quiet;
}

/**
 * ktcp_peer_pool_close() - End all connections that wait or are being made
 * @pool: the pool; nobody takes from it any more
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
	/* Again and again: one may have been on its way into its connect. */
	do {
		round++;
		while ((sk = next_busy(pool, round))) {
			ktcp_sock_abort(sk);
			sock_put(sk);
		}
	} while (!wait_var_event_timeout(&pool->nr_connecting,
					 pool_is_quiet(pool), ABORT_AGAIN));
	pool_shrink(pool, INT_MAX);
}
