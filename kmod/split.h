/* SPDX-License-Identifier: GPL-2.0-only */
/* A split: two connections that carry one stream. */
#ifndef KTCP_SPLIT_H
#define KTCP_SPLIT_H

#include "flow.h"

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>

struct ktcp_net;
struct ktcp_proc_file;
struct socket;

/* The two connections, and the two directions that start at them. */
enum ktcp_side {
	KTCP_NEAR, /* to the client: its bytes go up */
	KTCP_FAR, /* to the target: its bytes come down */
	KTCP_SIDES,
};

enum ktcp_role {
	KTCP_ROLE_CLIENT, /* began with a client's connection */
	KTCP_ROLE_RELAY, /* began with another relay's */
};

enum ktcp_split_state {
	KTCP_SPLIT_OPENING, /* the far side is not connected yet */
	KTCP_SPLIT_OPEN, /* bytes flow */
	KTCP_SPLIT_CLOSING, /* a direction has ended */
};

/**
 * struct ktcp_split - A split
 * @ref: held by each thread that works on it
 * @ktcp: its namespace
 * @node: in ktcp->splits
 * @role: how it began
 * @state: for people; nothing decides by it
 * @flow: client, target and mark
 * @sock: the connections
 * @dead: aborted, takes no connection any more
 * @broken: a connection ended by error, so both end by RST
 * @directions: directions that still run
 * @bytes: forwarded from each side; written by that direction only
 * @begun: jiffies
 * @active: jiffies of the last byte
 */
struct ktcp_split {
	struct kref ref;
	struct ktcp_net *ktcp;
	struct list_head node;
	enum ktcp_role role;
	enum ktcp_split_state state;
	struct ktcp_flow flow;
	struct mutex lock; /* protects sock while it changes, and dead */
	struct socket *sock[KTCP_SIDES];
	bool dead;
	bool broken;
	atomic_t directions;
	u64 bytes[KTCP_SIDES];
	unsigned long begun;
	unsigned long active;
};

struct ktcp_split *ktcp_split_create(struct ktcp_net *ktcp,
				     enum ktcp_role role);
void ktcp_split_get(struct ktcp_split *split);
void ktcp_split_put(struct ktcp_split *split);
int ktcp_split_attach(struct ktcp_split *split, enum ktcp_side side,
		      struct socket *sock);
void ktcp_split_abort(struct ktcp_split *split);
void ktcp_split_abort_all(struct ktcp_net *ktcp);

extern const struct ktcp_proc_file ktcp_splits_file;

#endif /* KTCP_SPLIT_H */
