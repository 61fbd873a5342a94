/* SPDX-License-Identifier: GPL-2.0-only */
/* Bytes that a socket keeps before the other end has room for them. */
#ifndef KTCP_UNSENT_H
#define KTCP_UNSENT_H

struct sock;
struct socket;

void ktcp_sock_bound_unsent(struct sock *sk);
void ktcp_socket_bound_unsent(struct socket *sock);

#endif /* KTCP_UNSENT_H */
