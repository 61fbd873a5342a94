/* SPDX-License-Identifier: GPL-2.0-only */
/* Connections to a peer that are open before they are needed. */
#ifndef KTCP_PEER_POOL_H
#define KTCP_PEER_POOL_H

#include "lib/address.h"
#include "lib/magazine.h"
#include "relay/health.h"
#include "relay/leg.h"
#include "relay/ticket_cache.h"

#include <linux/atomic.h>
#include <linux/average.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

struct ktcp_net;
struct socket;

/* Smooths round-trip times as TCP does. */
DECLARE_EWMA(rtt, 4, 8)

/**
 * struct ktcp_peer_pool - The pool of one peer; outlives changes of its marks
 * @ref: held by each struct ktcp_peer of the address and each connect
 * @ktcp: its namespace
 * @addr: where the peer's relay listener is
 * @low: connections below which the pool is filled
 * @high: connections that it is filled up to
 * @key: number of the key to prove
 * @ready: connections to take, and those that died while they waited
 * @nr_ready: how many of them are alive
 * @nr_dead: how many of them are dead
 * @nr_lent: how many are in use or rest, and will come back soon
 * @busy: connections on their way to @ready
 * @nr_connecting: length of @busy
 * @resting: connections whose stream has ended, and that wait to be given back
 * @spent: connections that are not used again; the work releases them
 * @epoch: grows each time that waiting connections lose our trust
 * @outdated: connections of another key or epoch may wait
 * @filling: there were fewer than @low, and there are not @high again yet
 * @closing: no connection may be made any more
 * @backoff_ms: pause after the next failure, 0 after a success
 * @retry_at: jiffies before which nothing is tried after a failure
 * @rtt: round-trip time of its connections when they were made, in us
 * @tickets: what is known of the ticket that the peer gave
 * @portless: jiffies until which we assume that no port is left for a leg
 * @refill: makes and releases connections
 * @health: whether the peer can be used
 * @hits: legs taken from the pool
 * @misses: legs that had to be made anew
 * @failures: connects and handshakes that failed
 * @bytes_up: forwarded over legs to the peer, towards targets
 * @bytes_down: the same, towards clients
 */
struct ktcp_peer_pool {
	struct kref ref;
	struct ktcp_net *ktcp;
	union ktcp_addr addr;
	struct ktcp_depot ready;
	atomic_t nr_ready;
	atomic_t nr_dead;
	atomic_t nr_lent;
	spinlock_t lock; /* protects what follows, up to rtt */
	u32 low;
	u32 high;
	u16 key;
	struct list_head busy;
	u32 nr_connecting;
	struct list_head resting;
	struct list_head spent;
	unsigned int epoch;
	bool outdated;
	bool filling;
	bool closing;
	u32 backoff_ms;
	unsigned long retry_at;
	struct ewma_rtt rtt;
	struct ktcp_ticket_cache tickets;
	unsigned long portless;
	struct delayed_work refill;
	struct ktcp_health health;
	atomic64_t hits;
	atomic64_t misses;
	atomic64_t failures;
	atomic64_t bytes_up;
	atomic64_t bytes_down;
};

struct ktcp_peer_pool *ktcp_peer_pool_create(struct ktcp_net *ktcp,
					     const union ktcp_addr *addr);
void ktcp_peer_pool_put(struct ktcp_peer_pool *pool);
void ktcp_peer_pool_close(struct ktcp_peer_pool *pool);
void ktcp_peer_pool_set(struct ktcp_peer_pool *pool, u32 low, u32 high,
			u16 key);
void ktcp_peer_pool_kick(struct ktcp_peer_pool *pool);
unsigned long ktcp_peer_pool_rtt_us(struct ktcp_peer_pool *pool);
void ktcp_peer_pool_failed(struct ktcp_peer_pool *pool);
bool ktcp_peer_pool_refused(struct ktcp_peer_pool *pool,
			    const struct socket *sock,
			    const struct ktcp_ticket *ticket);
void ktcp_peer_pool_confirmed(struct ktcp_peer_pool *pool,
			      const struct ktcp_ticket *ticket, int err);
void ktcp_peer_pool_portless(struct ktcp_peer_pool *pool);
bool ktcp_peer_pool_has_port(const struct ktcp_peer_pool *pool);
void ktcp_peer_pool_begin(const struct ktcp_peer_pool *pool,
			  const struct ktcp_ticket *ticket,
			  struct ktcp_leg *leg);
struct socket *ktcp_peer_pool_take(struct ktcp_peer_pool *pool,
				   struct ktcp_ticket *ticket,
				   struct ktcp_leg *leg);
void ktcp_peer_pool_lend(struct ktcp_peer_pool *pool, struct ktcp_leg *leg);
void ktcp_peer_pool_keep(struct ktcp_peer_pool *pool, struct ktcp_leg *leg);
bool ktcp_peer_pool_give_back(struct ktcp_peer_pool *pool, struct socket *sock,
			      const struct ktcp_ticket *ticket,
			      struct ktcp_leg *leg);

#endif /* KTCP_PEER_POOL_H */
