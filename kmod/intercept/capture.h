/* SPDX-License-Identifier: GPL-2.0-only */
/* Takes flows ahead of conntrack, and delivers packets to their sockets. */
#ifndef KTCP_CAPTURE_H
#define KTCP_CAPTURE_H

struct ktcp_net;
struct sock;

int ktcp_capture_open(struct ktcp_net *ktcp,
		      struct sock *(*listener)(struct ktcp_net *ktcp,
					       unsigned int family));
void ktcp_capture_exit(struct ktcp_net *ktcp);

#endif /* KTCP_CAPTURE_H */
