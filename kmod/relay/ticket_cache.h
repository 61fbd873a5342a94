/* SPDX-License-Identifier: GPL-2.0-only */
/* The ticket that a peer gave to this relay, and the uses of it. */
#ifndef KTCP_TICKET_CACHE_H
#define KTCP_TICKET_CACHE_H

#include "relay/handoff.h"

#include <linux/spinlock.h>

struct ktcp_net;
struct socket;

/**
 * struct ktcp_ticket_cache - What is known of a peer's ticket
 * @last: the ticket and its last use
 * @known: there is one
 * @fresh: jiffies of the peer's last sign of life
 */
struct ktcp_ticket_cache {
	spinlock_t lock; /* protects all */
	struct ktcp_ticket last;
	bool known;
	unsigned long fresh;
};

void ktcp_ticket_cache_init(struct ktcp_ticket_cache *cache);
int ktcp_ticket_cache_resume(struct ktcp_net *ktcp,
			     struct ktcp_ticket_cache *cache, u16 key,
			     struct ktcp_ticket *ticket,
			     struct ktcp_wire_resume *resume);
int ktcp_ticket_cache_prove(struct ktcp_net *ktcp,
			    struct ktcp_ticket_cache *cache,
			    struct socket *sock, u16 key,
			    struct ktcp_ticket *ticket);
void ktcp_ticket_cache_trust(struct ktcp_ticket_cache *cache);
void ktcp_ticket_cache_refused(struct ktcp_ticket_cache *cache,
			       const struct ktcp_ticket *ticket);
void ktcp_ticket_cache_forget(struct ktcp_ticket_cache *cache);

#endif /* KTCP_TICKET_CACHE_H */
