/* SPDX-License-Identifier: GPL-2.0-only */
/* Who may be in a handshake between relays. */
#ifndef KTCP_STRANGER_H
#define KTCP_STRANGER_H

#include <linux/types.h>

struct ktcp_net;
struct socket;

bool ktcp_stranger_admit(struct ktcp_net *ktcp, struct socket *sock,
			 unsigned int *prefix);
void ktcp_stranger_leave(struct ktcp_net *ktcp, unsigned int prefix);
void ktcp_stranger_proved(struct ktcp_net *ktcp, struct socket *sock);

#endif /* KTCP_STRANGER_H */
