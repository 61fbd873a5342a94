/* SPDX-License-Identifier: GPL-2.0-only */
/* How relays prove a key to each other: docs/wire.md. */
#ifndef KTCP_HANDOFF_H
#define KTCP_HANDOFF_H

#include "relay/wire.h"

struct ktcp_net;
struct socket;

/**
 * struct ktcp_ticket - A ticket that another relay gave, and one use of it
 * @key: number of the key that was proved to get it
 * @id: the bytes by which the other relay knows it
 * @use: number of the use
 * @offered: the version that was offered when it was given
 * @version: the version that the other relay chose then; of a use, that of the
 * connection
 * @owed: the other relay has not confirmed the use yet
 */
struct ktcp_ticket {
	u16 key;
	u8 id[KTCP_TICKET_BYTES];
	u64 use;
	u8 offered;
	u8 version;
	bool owed;
};

u8 ktcp_handoff_offer(const struct ktcp_net *ktcp);

int ktcp_handoff_prove(struct ktcp_net *ktcp, struct socket *sock, u16 key_id,
		       struct ktcp_ticket *ticket);
int ktcp_handoff_resume(struct ktcp_net *ktcp, struct ktcp_ticket *ticket,
			struct ktcp_wire_resume *resume);
bool ktcp_handoff_has_confirm(const struct socket *sock);
int ktcp_handoff_confirm(struct ktcp_net *ktcp, struct socket *sock,
			 struct ktcp_ticket *ticket);
int ktcp_handoff_challenge(struct ktcp_net *ktcp, struct socket *sock,
			   u8 *version, u16 *key_id);

#endif /* KTCP_HANDOFF_H */
