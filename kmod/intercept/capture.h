/* SPDX-License-Identifier: GPL-2.0-only */
/* Takes flows ahead of conntrack, and gives their packets to their sockets. */
#ifndef KTCP_CAPTURE_H
#define KTCP_CAPTURE_H

struct ktcp_net;
struct sock;

/*
 * The listening socket that gets new flows, of family 0 (IPv4) or 1 (IPv6); NULL
 * where there is none. With rcu_read_lock() held, which keeps it open.
 */
typedef struct sock *ktcp_capture_listener_t(struct ktcp_net *ktcp,
					     unsigned int family);

int ktcp_capture_open(struct ktcp_net *ktcp,
		      ktcp_capture_listener_t *listener);
void ktcp_capture_exit(struct ktcp_net *ktcp);

#endif /* KTCP_CAPTURE_H */
