/* SPDX-License-Identifier: GPL-2.0-only */
/* OPEN: asks the next relay to carry a stream on. */
#ifndef KTCP_OPEN_H
#define KTCP_OPEN_H

#include "lib/address.h"
#include "relay/leg.h"
#include "relay/route.h"
#include "relay/wire.h"

#include <linux/overflow.h>

struct ktcp_net;
struct socket;

/**
 * struct ktcp_open - Asks the next relay to carry a stream on
 * @target: where the stream ends
 * @source: the client that began it
 * @flags: how to connect the target, KTCP_OPEN_ flags
 * @hops: number of relays that follow the next one
 * @hop: their addresses, the next one first
 */
struct ktcp_open {
	union ktcp_addr target;
	union ktcp_addr source;
	u8 flags;
	u8 hops;
	union ktcp_addr hop[KTCP_HOPS_MAX];
};

#define KTCP_OPEN_MAX \
	struct_size_t(struct ktcp_wire_open, hop, KTCP_HOPS_MAX)

size_t ktcp_open_pack(const struct ktcp_open *open,
		      struct ktcp_wire_open *wire);
void ktcp_open_number(struct ktcp_wire_open *wire, const struct ktcp_leg *leg);
int ktcp_open_recv(struct ktcp_net *ktcp, struct socket *sock,
		   const struct ktcp_leg *leg, struct ktcp_open *open);

#endif /* KTCP_OPEN_H */
