/* SPDX-License-Identifier: GPL-2.0-only */
/* A split: two connections that carry one stream. */
#ifndef KTCP_SPLIT_H
#define KTCP_SPLIT_H

#include "datapath/life.h"
#include "datapath/watch.h"
#include "lib/address.h"
#include "lib/callbacks.h"
#include "lib/thread_pool.h"
#include "relay/handoff.h"

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/rbtree.h>

struct ktcp_event;
struct ktcp_net;
struct ktcp_peer;
struct ktcp_peer_pool;
struct ktcp_proc_file;
struct sock;
struct socket;

/* The two connections, and the two directions that start at them. */
enum ktcp_side {
	KTCP_NEAR, /* to the client: its bytes go up */
	KTCP_FAR, /* to the target: its bytes come down */
	KTCP_SIDES,
};

static inline enum ktcp_side ktcp_side_other(enum ktcp_side side)
{
	return side == KTCP_NEAR ? KTCP_FAR : KTCP_NEAR;
}

enum ktcp_role {
	KTCP_ROLE_CLIENT, /* began with a client's connection */
	KTCP_ROLE_RELAY, /* began with another relay's */
};

/**
 * struct ktcp_split - A split
 * @ref: held by each thread that works on it, and while something waits
 * @ktcp: its namespace
 * @node: in ktcp->splits
 * @role: how it began
 * @flow: client, target and mark, as the client's SYN had them
 * @target: where it ends, which is another place in service mode
 * @flags: how the target is connected, KTCP_OPEN_ flags
 * @dsfield: how the client's first packets were marked, where that is known
 * @life: how far it is; changed by ktcp_life_go() only
 * @sock: the connections
 * @round: of ktcp_split_abort_all(), which tells each once a round, also those
 * whose life is over already
 * @peer: the relay on the far side, NULL where that is the target
 * @ticket: how the key was proved on the far side, if that is a relay
 * @relay: the side is a connection between relays
 * @fin: FIN was sent to the side, which is so or not whatever comes of the
 * split: it tells an RST after FIN from the end of the connection
 * @directions: directions that still run, with the engine "threads"
 * @ended: of them, which from a side has ended; the other may go on, and what
 * that does decides about the split
 * @event: with the engine "event", else NULL
 * @bytes: forwarded from each side; written by that direction only
 * @begun: jiffies
 * @active: jiffies when an end was last seen to acknowledge bytes
 * @watch: hears of the ends of the connections
 * @half: in the rendezvous while the client is awaited
 * @prefix: where the client's prefix is counted, and a stranger's before
 * @job: to get a thread
 * @woken: the parked connection was given its thread, which it gets once, and
 * also where the split was dropped: somebody has to release it
 * @parked: the parked connection's own callbacks
 */
struct ktcp_split {
	struct kref ref;
	struct ktcp_net *ktcp;
	struct list_head node;
	enum ktcp_role role;
	struct ktcp_flow flow;
	union ktcp_addr target;
	u8 flags;
	u8 dsfield;
	struct mutex lock; /* protects sock, and life where both change */
	enum ktcp_life life;
	struct socket *sock[KTCP_SIDES];
	unsigned int round;
	struct ktcp_peer *peer;
	struct ktcp_ticket ticket;
	bool relay[KTCP_SIDES];
	bool fin[KTCP_SIDES];
	atomic_t directions;
	bool ended[KTCP_SIDES];
	struct ktcp_event *event;
	u64 bytes[KTCP_SIDES];
	unsigned long begun;
	unsigned long active;
	struct ktcp_watch watch;
	struct rb_node half;
	unsigned int prefix;
	struct ktcp_job job;
	unsigned long woken;
	struct ktcp_callbacks parked;
};

struct ktcp_split *ktcp_split_create(struct ktcp_net *ktcp,
				     enum ktcp_role role, gfp_t gfp);
void ktcp_split_set_flow(struct ktcp_split *split,
			 const struct ktcp_flow *flow);
bool ktcp_split_is_over(const struct ktcp_net *ktcp);
bool ktcp_split_count(struct ktcp_split *split);
void ktcp_split_get(struct ktcp_split *split);
void ktcp_split_put(struct ktcp_split *split);
int ktcp_split_attach(struct ktcp_split *split, enum ktcp_side side,
		      struct socket *sock);
bool ktcp_split_is_broken(const struct ktcp_split *split,
			  enum ktcp_side side);
bool ktcp_split_is_aborted(const struct ktcp_split *split);
void ktcp_split_abort(struct ktcp_split *split);
void ktcp_split_abort_all(struct ktcp_net *ktcp);
void ktcp_split_abort_unheard(struct ktcp_net *ktcp,
			      const struct ktcp_peer_pool *pool);
void ktcp_split_abort_waiting(struct ktcp_net *ktcp, u16 port);

extern const struct ktcp_proc_file ktcp_splits_file;

#endif /* KTCP_SPLIT_H */
