// SPDX-License-Identifier: GPL-2.0-only
/*
 * Splits, from the first reference to the last, and the list of them, which
 * splits.c prints. Whoever works on a split holds a reference; when the last
 * one is dropped, the connections are closed. The work on a split is in
 * session.c until both sides are connected, and in forward.c from then on.
 * life.c says how far a split is.
 */

#include "datapath/split.h"
#include "control/net.h"
#include "control/procfs.h"
#include "control/stats.h"
#include "datapath/framed.h"
#include "datapath/trace.h"
#include "lib/share.h"
#include "lib/socket.h"
#include "lib/socket_state.h"
#include "relay/peer.h"

#include <linux/slab.h>
#include <linux/wait_bit.h>
#include <net/sock.h>

/* Pause between two rounds of aborting splits. */
#define ABORT_AGAIN (HZ / 10)
/* How many are aborted between two looks at the list. */
#define ABORT_BATCH 16

/* A split is a little larger than a power of two. */
static struct kmem_cache *cache;

/**
 * ktcp_split_module_init() - Make the cache of splits
 *
 * Return: 0 or -ENOMEM.
 */
int ktcp_split_module_init(void)
{
	cache = KMEM_CACHE(ktcp_split, 0);
	return cache ? 0 : -ENOMEM;
}

/**
 * ktcp_split_module_exit() - Free the cache
 *
 * Context: may sleep; no split is left.
 */
void ktcp_split_module_exit(void)
{
	kmem_cache_destroy(cache);
}

/**
 * ktcp_split_create() - Make a split
 * @ktcp: its namespace
 * @role: how it begins
 * @gfp: GFP_ATOMIC in softirq
 *
 * Context: any.
 * Return: the split with one reference, NULL without memory or if the namespace
 * is closing.
 */
struct ktcp_split *ktcp_split_create(struct ktcp_net *ktcp,
				     enum ktcp_role role, gfp_t gfp)
{
	struct ktcp_split *split = kmem_cache_zalloc(cache, gfp);
	bool closing;

	if (!split)
		return NULL;
	kref_init(&split->ref);
	mutex_init(&split->lock);
	split->ktcp = ktcp;
	split->role = role;
	split->life = role == KTCP_ROLE_CLIENT ? KTCP_LIFE_NEW :
						 KTCP_LIFE_WAITING;
	split->begun = jiffies;
	split->active = jiffies;
	RB_CLEAR_NODE(&split->half);

	spin_lock_bh(&ktcp->splits_lock);
	closing = ktcp->closing;
	if (!closing) {
		list_add_tail(&split->node, &ktcp->splits);
		atomic_inc(&ktcp->split_count);
	}
	spin_unlock_bh(&ktcp->splits_lock);
	if (closing) {
		kmem_cache_free(cache, split);
		return NULL;
	}
	return split;
}

/**
 * ktcp_split_set_flow() - Set whose stream the split carries
 * @split: the split
 * @flow: the client's flow
 *
 * Context: any; before ktcp_split_count().
 */
void ktcp_split_set_flow(struct ktcp_split *split,
			 const struct ktcp_flow *flow)
{
	split->flow = *flow;
	split->prefix = ktcp_share_slot(&split->ktcp->prefix_key,
					&flow->client);
}

/**
 * ktcp_split_is_over() - Does a namespace have as many splits as it may have?
 * @ktcp: the namespace
 *
 * Context: any.
 */
bool ktcp_split_is_over(const struct ktcp_net *ktcp)
{
	return (u32)atomic_read(&ktcp->active) >=
	       READ_ONCE(ktcp->settings.max_splits);
}

/**
 * ktcp_split_count() - From now on this is a split, and counts as one
 * @split: the split
 *
 * Context: any.
 * Return: false if it was dropped first; then no connection can be attached.
 */
bool ktcp_split_count(struct ktcp_split *split)
{
	WRITE_ONCE(split->begun, jiffies);
	/* Pairs with splits.c, which then sees the flow. */
	if (!ktcp_life_go(&split->life, KTCP_LIFE_OPENING))
		return false;
	atomic_inc(&split->ktcp->active);
	atomic_inc(&split->ktcp->split_share.count[split->prefix]);
	ktcp_count(split->ktcp, KTCP_SPLITS_OPENED);
	return true;
}

static void split_release(struct kref *ref)
{
	struct ktcp_split *split = container_of(ref, struct ktcp_split, ref);
	bool ended = split->life == KTCP_LIFE_CLOSING;
	struct ktcp_net *ktcp = split->ktcp;
	unsigned int side;

	if (ktcp_life_is_split(split->life)) {
		trace_ktcp_close(split);
		ktcp_count(ktcp, KTCP_SPLITS_CLOSED);
		ktcp_share_give(&ktcp->split_share, split->prefix);
		atomic_dec(&ktcp->active);
	}
	ktcp_life_go(&split->life, KTCP_LIFE_CLOSED);
	spin_lock_bh(&ktcp->splits_lock);
	list_del(&split->node);
	spin_unlock_bh(&ktcp->splits_lock);
	if (split->watch.release)
		split->watch.release(split);
	for (side = 0; side < KTCP_SIDES; side++)
		if (split->sock[side])
			ktcp_framed_release(split, side, ended);
	if (split->peer) {
		ktcp_framed_lasts(split);
		ktcp_peer_put(split->peer);
	}
	mutex_destroy(&split->lock);
	kfree(split->event);
	kmem_cache_free(cache, split);
	/* The namespace may be gone once its count is 0. */
	if (atomic_dec_and_test(&ktcp->split_count))
		wake_up_var(&ktcp->split_count);
}

/**
 * ktcp_split_get() - Take a reference
 * @split: the split
 *
 * Context: any.
 */
void ktcp_split_get(struct ktcp_split *split)
{
	kref_get(&split->ref);
}

/**
 * ktcp_split_put() - Drop a reference
 * @split: the split, may be gone after this
 *
 * Context: may sleep.
 */
void ktcp_split_put(struct ktcp_split *split)
{
	kref_put(&split->ref, split_release);
}

/**
 * ktcp_split_attach() - Give a split a connection, before anybody waits on it
 * @split: the split
 * @side: which side
 * @sock: the connection; goes over to the split, and is released on failure
 *
 * From here on ktcp_split_abort() wakes whoever waits on the connection.
 *
 * Context: may sleep.
 * Return: 0, or -ECANCELED if the split was aborted.
 */
int ktcp_split_attach(struct ktcp_split *split, enum ktcp_side side,
		      struct socket *sock)
{
	bool aborted;

	mutex_lock(&split->lock);
	aborted = ktcp_split_is_aborted(split);
	if (!aborted)
		split->sock[side] = sock;
	mutex_unlock(&split->lock);
	if (!aborted)
		return 0;
	ktcp_socket_release(sock);
	return -ECANCELED;
}

/**
 * ktcp_split_is_broken() - Has a connection ended other than by FINs?
 * @split: the split
 * @side: a side that is connected, or was
 *
 * Also after its FIN: by RST, or because the other end does not acknowledge.
 *
 * Context: any.
 */
bool ktcp_split_is_broken(const struct ktcp_split *split, enum ktcp_side side)
{
	return ktcp_socket_is_broken(split->sock[side],
				     READ_ONCE(split->fin[side]));
}

/**
 * ktcp_split_is_aborted() - Has ktcp_split_abort() been called?
 * @split: the split
 *
 * Context: any.
 */
bool ktcp_split_is_aborted(const struct ktcp_split *split)
{
	return ktcp_life_is_aborted(READ_ONCE(split->life));
}

/**
 * ktcp_split_abort() - End both sides by RST
 * @split: the split; whoever works on it gets an error
 *
 * Context: may sleep.
 */
void ktcp_split_abort(struct ktcp_split *split)
{
	unsigned int side;

	mutex_lock(&split->lock);
	/* If it becomes a split at this moment, it is aborted as one. */
	if (!ktcp_life_go(&split->life, KTCP_LIFE_DROPPED) &&
	    ktcp_life_go(&split->life, KTCP_LIFE_ABORTED)) {
		ktcp_count(split->ktcp, KTCP_RESETS);
		trace_ktcp_abort(split);
	}
	for (side = 0; side < KTCP_SIDES; side++)
		if (split->sock[side])
			ktcp_socket_abort(split->sock[side]);
	mutex_unlock(&split->lock);
}

/* Find a split that this round has not aborted yet. */
static struct ktcp_split *next_split(struct ktcp_net *ktcp, unsigned int round)
{
	struct ktcp_split *split, *found = NULL;

	spin_lock_bh(&ktcp->splits_lock);
	list_for_each_entry(split, &ktcp->splits, node) {
		if (split->round == round ||
		    !kref_get_unless_zero(&split->ref))
			continue;
		split->round = round;
		found = split;
		/* Those done gather at the end: no need to pass them again. */
		list_move_tail(&split->node, &ktcp->splits);
		break;
	}
	spin_unlock_bh(&ktcp->splits_lock);
	return found;
}

/**
 * ktcp_split_abort_all() - End all splits and wait until they are gone
 * @ktcp: the namespace; it starts no new split from now on
 *
 * Context: may sleep. This comes to an end, because each thread of a split
 * wakes up when its connections are aborted, and no split gets a new
 * connection.
 */
void ktcp_split_abort_all(struct ktcp_net *ktcp)
{
	struct ktcp_split *split;
	unsigned int round = 0;

	spin_lock_bh(&ktcp->splits_lock);
	ktcp->closing = true;
	spin_unlock_bh(&ktcp->splits_lock);
	/* Several rounds: a connect that had yet to begin was not aborted. */
	do {
		round++;
		while ((split = next_split(ktcp, round))) {
			ktcp_split_abort(split);
			ktcp_split_put(split);
		}
	} while (!wait_var_event_timeout(&ktcp->split_count,
					 !atomic_read(&ktcp->split_count),
					 ABORT_AGAIN));
}

/**
 * struct doomed - Which splits are to be ended
 * @test: true for a split that is
 * @pool: for is_unheard()
 * @port: for is_waiting()
 */
struct doomed {
	bool (*test)(const struct ktcp_split *split,
		     const struct doomed *doomed);
	const struct ktcp_peer_pool *pool;
	u16 port;
};

static bool is_unheard(const struct ktcp_split *split,
		       const struct doomed *doomed)
{
	const struct ktcp_peer *peer = READ_ONCE(split->peer);
	const struct socket *far = READ_ONCE(split->sock[KTCP_FAR]);

	return peer && peer->pool == doomed->pool && far &&
	       ktcp_socket_is_unheard(far, READ_ONCE(split->leg[KTCP_FAR].written));
}

static bool is_waiting(const struct ktcp_split *split,
		       const struct doomed *doomed)
{
	const struct socket *near = READ_ONCE(split->sock[KTCP_NEAR]);

	return READ_ONCE(split->life) == KTCP_LIFE_WAITING && near &&
	       near->sk->sk_num == doomed->port;
}

static unsigned int gather_doomed(struct ktcp_net *ktcp,
				  const struct doomed *doomed,
				  struct ktcp_split *found[ABORT_BATCH])
{
	struct ktcp_split *split;
	unsigned int count = 0;

	spin_lock_bh(&ktcp->splits_lock);
	list_for_each_entry(split, &ktcp->splits, node) {
		if (ktcp_split_is_aborted(split) ||
		    !doomed->test(split, doomed) ||
		    !kref_get_unless_zero(&split->ref))
			continue;
		found[count++] = split;
		if (count == ABORT_BATCH)
			break;
	}
	spin_unlock_bh(&ktcp->splits_lock);
	return count;
}

/* This comes to an end, because gather_doomed() finds no aborted splits. */
static void abort_doomed(struct ktcp_net *ktcp, const struct doomed *doomed)
{
	struct ktcp_split *found[ABORT_BATCH];
	unsigned int count;

	while ((count = gather_doomed(ktcp, doomed, found))) {
		while (count--) {
			ktcp_split_abort(found[count]);
			ktcp_split_put(found[count]);
		}
	}
}

/**
 * ktcp_split_abort_unheard() - End splits that were sent to a peer in vain
 * @ktcp: the namespace
 * @pool: of the peer, which is known to be gone
 *
 * Only splits whose leg has had no answer since they began. Others can go on
 * where they were when the path comes back; no new split could do that.
 *
 * Context: may sleep.
 */
void ktcp_split_abort_unheard(struct ktcp_net *ktcp,
			      const struct ktcp_peer_pool *pool)
{
	const struct doomed doomed = { .test = is_unheard, .pool = pool };

	abort_doomed(ktcp, &doomed);
}

/**
 * ktcp_split_abort_waiting() - End other relays' connections before their OPEN
 * @ktcp: the namespace
 * @port: the local port that they came to
 *
 * Legs that carry a stream now are not used again after it.
 *
 * Context: may sleep.
 */
void ktcp_split_abort_waiting(struct ktcp_net *ktcp, u16 port)
{
	const struct doomed doomed = { .test = is_waiting, .port = port };

	spin_lock_bh(&ktcp->splits_lock);
	ktcp->withdrawals++;
	spin_unlock_bh(&ktcp->splits_lock);
	abort_doomed(ktcp, &doomed);
}
