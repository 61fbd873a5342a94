/* SPDX-License-Identifier: GPL-2.0-only */
/* Where a client's connection meets the far side that its SYN started. */
#ifndef KTCP_RENDEZVOUS_H
#define KTCP_RENDEZVOUS_H

#include <linux/rbtree.h>
#include <linux/spinlock.h>
#include <linux/types.h>

struct ktcp_flow;
struct ktcp_net;
struct ktcp_split;

/**
 * struct ktcp_rendezvous - The halves of one core
 * @halves: struct ktcp_split by flow
 */
struct ktcp_rendezvous {
	spinlock_t lock; /* protects halves */
	struct rb_root halves;
};

int ktcp_rendezvous_init(struct ktcp_net *ktcp);
void ktcp_rendezvous_exit(struct ktcp_net *ktcp);
bool ktcp_rendezvous_add(struct ktcp_split *split);
bool ktcp_rendezvous_remove(struct ktcp_split *split);
struct ktcp_split *ktcp_rendezvous_take(struct ktcp_net *ktcp,
					const struct ktcp_flow *flow);
struct ktcp_split *ktcp_rendezvous_expired(struct ktcp_net *ktcp,
					   unsigned long before);

#endif /* KTCP_RENDEZVOUS_H */
