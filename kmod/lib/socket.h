/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernel sockets as a relay needs them. */
#ifndef KTCP_SOCKET_H
#define KTCP_SOCKET_H

#include "lib/address.h"

struct net;
struct sock;
struct socket;

int ktcp_socket_hold(struct socket *sock);
void ktcp_sock_let_go(struct sock *sk);
void ktcp_socket_let_go(struct socket *sock);
int ktcp_socket_create(struct net *net, sa_family_t family,
		       struct socket **out);
int ktcp_socket_transparent(struct socket *sock);
void ktcp_socket_mark(struct socket *sock, u32 mark);
int ktcp_socket_bind(struct socket *sock, const union ktcp_addr *addr);
int ktcp_socket_listen(struct net *net, sa_family_t family, u16 port,
		       struct socket **out);
int ktcp_socket_accept(struct socket *listener, struct socket **out);
void ktcp_socket_set_timeout(struct socket *sock, long jiffies_max);
void ktcp_socket_set_recv_timeout(struct socket *sock, long jiffies_max);
void ktcp_socket_fast_open(struct socket *sock);
int ktcp_socket_local(struct socket *sock, union ktcp_addr *addr);
int ktcp_socket_remote(struct socket *sock, union ktcp_addr *addr);
int ktcp_socket_recv(struct socket *sock, void *buffer, size_t size);
int ktcp_socket_recv_all(struct socket *sock, void *buffer, size_t size);
int ktcp_socket_send(struct socket *sock, const void *buffer, size_t size);
void ktcp_socket_end(struct socket *sock);
void ktcp_socket_abort(struct socket *sock);
void ktcp_sock_abort(struct sock *sk);
void ktcp_socket_release(struct socket *sock);

#endif /* KTCP_SOCKET_H */
