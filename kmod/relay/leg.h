/* SPDX-License-Identifier: GPL-2.0-only */
/* Legs between relays. */
#ifndef KTCP_LEG_H
#define KTCP_LEG_H

#include "lib/address.h"
#include "relay/wire.h"

struct ktcp_net;
struct socket;

/**
 * struct ktcp_leg - What is known of a connection between relays while it lives
 * @version: KTCP_WIRE_PLAIN for one stream, KTCP_WIRE_RECORDS for several
 * @stream: number of its present or last stream, from 1; 0 before the first
 * @key: number of the key that was proved on it
 * @epoch: at the initiator that of the pool, at the acceptor that of the
 * listeners, from when the connection was made
 * @begun: jiffies when it was made
 * @written: bytes that were written to it before its present stream
 * @lent: its pool expects it back soon
 */
struct ktcp_leg {
	u8 version;
	u16 stream;
	u16 key;
	unsigned int epoch;
	unsigned long begun;
	u64 written;
	unsigned int lent;
};

/* The number of the leg's stream in its records. */
static inline u16 ktcp_leg_number(const struct ktcp_leg *leg)
{
	return leg->version == KTCP_WIRE_PLAIN ? 0 : leg->stream;
}

int ktcp_leg_create(struct ktcp_net *ktcp, const union ktcp_addr *peer,
		    struct socket **out);

#endif /* KTCP_LEG_H */
