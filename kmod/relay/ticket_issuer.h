/* SPDX-License-Identifier: GPL-2.0-only */
/* The tickets that this relay gave to others, and which uses were made. */
#ifndef KTCP_TICKET_ISSUER_H
#define KTCP_TICKET_ISSUER_H

#include "relay/wire.h"

#include <linux/list.h>
#include <linux/types.h>

struct ktcp_net;

/**
 * struct ktcp_unproved_ticket - A ticket whose key is not proved yet
 * @node: in the unproved tickets of its namespace
 * @key: number of the key that has to be proved for it
 * @id: random bytes, which the other relay may know already
 */
struct ktcp_unproved_ticket {
	struct list_head node;
	u16 key;
	u8 id[KTCP_TICKET_BYTES];
};

int ktcp_ticket_issuer_init(struct ktcp_net *ktcp);
void ktcp_ticket_issuer_exit(struct ktcp_net *ktcp);
void ktcp_ticket_issuer_add(struct ktcp_net *ktcp,
			    struct ktcp_unproved_ticket *unproved);
int ktcp_ticket_issuer_settle(struct ktcp_net *ktcp,
			      struct ktcp_unproved_ticket *unproved,
			      bool proved);
int ktcp_ticket_issuer_redeem(struct ktcp_net *ktcp, u16 key,
			      const u8 id[KTCP_TICKET_BYTES], u64 use);

#endif /* KTCP_TICKET_ISSUER_H */
