/* SPDX-License-Identifier: GPL-2.0-only */
/* Limits how many handshakes with other relays run at one time. */
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
