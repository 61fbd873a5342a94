/* SPDX-License-Identifier: GPL-2.0-only */
/* What relays say to each other before the stream: docs/wire.md. */
#ifndef KTCP_HANDOFF_H
#define KTCP_HANDOFF_H

#include "address.h"
#include "route.h"
#include "wire.h"

struct ktcp_net;
struct socket;

/**
 * struct ktcp_open - Asks the next relay to carry a stream on
 * @target: where it ends
 * @source: the client that began it
 * @hops: relays that are still between
 * @hop: their addresses, the next one first
 */
struct ktcp_open {
	union ktcp_addr target;
	union ktcp_addr source;
	u8 hops;
	union ktcp_addr hop[KTCP_HOPS_MAX];
};

/**
 * struct ktcp_pass - A ticket of another relay, and one use of it
 * @key: number of the key that it was earned with
 * @ticket: the ticket
 * @use: number of the use
 * @owed: the other relay has not confirmed the use yet
 */
struct ktcp_pass {
	u16 key;
	u8 ticket[KTCP_TICKET_BYTES];
	u64 use;
	bool owed;
};

int ktcp_handoff_prove(struct ktcp_net *ktcp, struct socket *sock, u16 key_id,
		       struct ktcp_pass *pass);
int ktcp_handoff_resume(struct ktcp_net *ktcp, struct socket *sock,
			struct ktcp_pass *pass);
int ktcp_handoff_confirm(struct ktcp_net *ktcp, struct socket *sock,
			 struct ktcp_pass *pass);
int ktcp_handoff_challenge(struct ktcp_net *ktcp, struct socket *sock);
int ktcp_handoff_send_open(struct socket *sock, const struct ktcp_open *open);
int ktcp_handoff_recv_open(struct ktcp_net *ktcp, struct socket *sock,
			   struct ktcp_open *open);

#endif /* KTCP_HANDOFF_H */
