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
#include "relay/leg.h"
#include "relay/record.h"

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
 * struct ktcp_records - The records of a stream on one of its legs
 * @reader: of the direction that starts at the leg
 * @writer: of the direction that ends there
 *
 * Both socks are locked when a direction reads or writes them. Without records
 * both are zero.
 */
struct ktcp_records {
	struct ktcp_record_reader reader;
	struct ktcp_record_writer writer;
};

/**
 * struct ktcp_split - A split
 * @ref: held by whoever works on it, and while it waits for something
 * @ktcp: its namespace
 * @node: in ktcp->splits
 * @role: how it began
 * @flow: client, target and mark, as the client's SYN had them
 * @target: where the stream ends; in service mode not the flow's target
 * @flags: how to connect the target, KTCP_OPEN_ flags
 * @dsfield: TOS or traffic class of the client's first packets, if known
 * @life: how far it is; changed by ktcp_life_go() only
 * @sock: the connections
 * @round: last round of ktcp_split_abort_all() that aborted it; each round
 * aborts every split once, also those aborted before
 * @peer: the relay on the far side, NULL if that is the target
 * @ticket: how the key was proved on the far side, if that is a relay
 * @relay: the side is a relay leg
 * @leg: what is known of it
 * @records: of the stream on it
 * @fin: FIN or END was sent to the side, whatever state the split is in. This tells an
 * RST after FIN from the proper end of the connection
 * @directions: with the engine "threads", how many directions still run
 * @ended: with the engine "threads", the direction from this side has ended;
 * the other one may go on, and how that ends decides about the split
 * @event: with the engine "event", its state; else NULL
 * @bytes: forwarded from each side; written by that direction only
 * @offered: what each side had room for when the split began to forward
 * @begun: jiffies when it was made; later, when it was counted as a split
 * @active: jiffies when an end was last seen to acknowledge bytes
 * @watch: notices when the connections end
 * @half: node in the rendezvous, while the client is awaited
 * @prefix: slot where the client's prefix is counted; before OPEN, the
 * stranger's
 * @job: gets a thread for the parked connection
 * @woken: the parked connection was given its thread. It gets one only once,
 * but also if the split was dropped, since somebody has to release it
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
	struct mutex lock; /* protects sock, and life if both change */
	enum ktcp_life life;
	struct socket *sock[KTCP_SIDES];
	unsigned int round;
	struct ktcp_peer *peer;
	struct ktcp_ticket ticket;
	bool relay[KTCP_SIDES];
	struct ktcp_leg leg[KTCP_SIDES];
	struct ktcp_records records[KTCP_SIDES];
	bool fin[KTCP_SIDES];
	atomic_t directions;
	bool ended[KTCP_SIDES];
	struct ktcp_event *event;
	u64 bytes[KTCP_SIDES];
	u64 offered[KTCP_SIDES];
	unsigned long begun;
	unsigned long active;
	struct ktcp_watch watch;
	struct rb_node half;
	unsigned int prefix;
	struct ktcp_job job;
	unsigned long woken;
	struct ktcp_callbacks parked;
};

int ktcp_split_module_init(void);
void ktcp_split_module_exit(void);
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
