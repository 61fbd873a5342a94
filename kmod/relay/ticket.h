/* SPDX-License-Identifier: GPL-2.0-only */
/* Tickets: by one, a relay that proved a key once goes on without waiting. */
#ifndef KTCP_TICKET_H
#define KTCP_TICKET_H

#include "relay/wire.h"

#include <linux/list.h>
#include <linux/types.h>

struct ktcp_net;

/**
 * struct ktcp_offer - A ticket that was told and is not earned yet
 * @node: in the offers of its namespace
 * @key: that has to be proved for it
 * @id: random bytes, told to the other relay
 */
struct ktcp_offer {
	struct list_head node;
	u16 key;
	u8 id[KTCP_TICKET_BYTES];
};

int ktcp_ticket_init(struct ktcp_net *ktcp);
void ktcp_ticket_exit(struct ktcp_net *ktcp);
void ktcp_ticket_offer(struct ktcp_net *ktcp, struct ktcp_offer *offer);
int ktcp_ticket_settle(struct ktcp_net *ktcp, struct ktcp_offer *offer,
		       bool earned);
int ktcp_ticket_spend(struct ktcp_net *ktcp, u16 key,
		      const u8 id[KTCP_TICKET_BYTES], u64 use);

#endif /* KTCP_TICKET_H */
