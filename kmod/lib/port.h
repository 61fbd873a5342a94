/* SPDX-License-Identifier: GPL-2.0-only */
/* Ports to connect from, if those that the kernel gives are used up. */
#ifndef KTCP_PORT_H
#define KTCP_PORT_H

#include "lib/address.h"

struct net;

/* How many ports are tried: finds one even if nine of ten are in use. */
#define KTCP_PORT_TRIES 64

bool ktcp_port_is_short(const struct net *net, const union ktcp_addr *to);
void ktcp_port_note_short(const struct net *net, const union ktcp_addr *to);
u16 ktcp_port_pick(struct net *net);

#endif /* KTCP_PORT_H */
