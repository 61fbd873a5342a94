/* SPDX-License-Identifier: GPL-2.0-only */
/* OPEN: asks the next relay to carry a stream on. */
#ifndef KTCP_OPEN_H
#define KTCP_OPEN_H

#include "address.h"
#include "route.h"

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

int ktcp_open_send(struct socket *sock, const struct ktcp_open *open);
int ktcp_open_recv(struct ktcp_net *ktcp, struct socket *sock,
		   struct ktcp_open *open);

#endif /* KTCP_OPEN_H */
