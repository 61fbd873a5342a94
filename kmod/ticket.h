/* SPDX-License-Identifier: GPL-2.0-only */
/* Tickets: by one, a relay that proved a key once goes on without waiting. */
#ifndef KTCP_TICKET_H
#define KTCP_TICKET_H

#include "wire.h"

#include <linux/list.h>
#include <linux/spinlock.h>

struct ktcp_net;

/**
 * struct ktcp_tickets - Those that this relay gave to others
 * @tickets: the one used last comes first
 * @count: length of @tickets
 */
struct ktcp_tickets {
	spinlock_t lock; /* protects all */
	struct list_head tickets;
	u32 count;
};

void ktcp_ticket_init(struct ktcp_net *ktcp);
void ktcp_ticket_exit(struct ktcp_net *ktcp);
int ktcp_ticket_issue(struct ktcp_net *ktcp, u16 key,
		      const u8 id[KTCP_TICKET_BYTES]);
int ktcp_ticket_spend(struct ktcp_net *ktcp, u16 key,
		      const u8 id[KTCP_TICKET_BYTES], u64 use);

#endif /* KTCP_TICKET_H */
