/* SPDX-License-Identifier: GPL-2.0-only */
/* Sockets for legs to peers. */
#ifndef KTCP_LEG_H
#define KTCP_LEG_H

#include "lib/address.h"

struct ktcp_net;
struct socket;

int ktcp_leg_create(struct ktcp_net *ktcp, const union ktcp_addr *peer,
		    struct socket **out);

#endif /* KTCP_LEG_H */
