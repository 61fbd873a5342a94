/* SPDX-License-Identifier: GPL-2.0-only */
/* Kernel sockets as a relay needs them. No other file sets their options. */
#ifndef KTCP_SOCKET_H
#define KTCP_SOCKET_H

#include "lib/address.h"

struct net;
struct sock;
struct socket;

/**
 * struct ktcp_flush - How far the other end has acknowledged the last bytes
 * @una: the first byte that it had not acknowledged
 * @since: jiffies when this was first seen; 0 before the first look
 */
struct ktcp_flush {
	u32 una;
	unsigned long since;
};

int ktcp_socket_create(struct net *net, sa_family_t family,
		       struct socket **out);
int ktcp_socket_hold(struct socket *sock);
int ktcp_socket_transparent(struct socket *sock);
void ktcp_socket_mark(struct socket *sock, u32 mark);
int ktcp_socket_bind_transparent(struct socket *sock,
				 const union ktcp_addr *addr);
int ktcp_socket_bind_source(struct socket *sock,
			    const union ktcp_addr *source);
int ktcp_socket_listen(struct net *net, sa_family_t family, u16 port,
		       struct socket **out);
int ktcp_socket_accept(struct socket *listener, struct socket **out);
int ktcp_socket_connect(struct socket *sock, const union ktcp_addr *to,
			u32 timeout_ms);
int ktcp_socket_connect_start(struct socket *sock, const union ktcp_addr *to);
int ktcp_socket_connect_with(struct socket *sock, const union ktcp_addr *to,
			     u32 timeout_ms, const void *data, size_t size);
void ktcp_socket_fast_open(struct socket *sock);
void ktcp_socket_relay_options(struct socket *sock);
void ktcp_socket_keepalive(struct socket *sock, u32 every_s);
void ktcp_socket_watch(struct socket *sock, u32 timeout_ms);
void ktcp_socket_turbo_prepare(struct socket *sock, u32 bytes);
void ktcp_socket_turbo(struct socket *sock, u32 cwnd);
void ktcp_socket_turbo_refresh(struct socket *sock);
void ktcp_sock_turbo_refresh(struct sock *sk);
void ktcp_socket_set_timeout(struct socket *sock, long jiffies_max);
void ktcp_socket_set_recv_timeout(struct socket *sock, long jiffies_max);

int ktcp_socket_local(struct socket *sock, union ktcp_addr *addr);
int ktcp_socket_remote(struct socket *sock, union ktcp_addr *addr);

u32 ktcp_socket_rtt_us(const struct socket *sock);
bool ktcp_socket_has_data(const struct socket *sock);
u32 ktcp_socket_unread(const struct socket *sock);
bool ktcp_socket_has_bytes(const struct socket *sock, u32 count);
int ktcp_socket_recv(struct socket *sock, void *buffer, size_t size);
int ktcp_socket_recv_all(struct socket *sock, void *buffer, size_t size);
int ktcp_socket_send(struct socket *sock, const void *buffer, size_t size);

void ktcp_socket_end(struct socket *sock);
bool ktcp_socket_is_unheard(const struct socket *sock, unsigned long since);
bool ktcp_socket_is_sent(const struct socket *sock);
bool ktcp_socket_is_out(const struct socket *sock);
unsigned long ktcp_socket_silence(const struct socket *sock);
bool ktcp_socket_is_shut(const struct socket *sock);
bool ktcp_socket_is_broken(const struct socket *sock, bool fin);
bool ktcp_socket_is_unknown(const struct socket *sock);
unsigned long ktcp_socket_stalled(const struct socket *sock,
				  struct ktcp_flush *flush);
void ktcp_socket_abort(struct socket *sock);
void ktcp_sock_abort(struct sock *sk);
void ktcp_socket_release(struct socket *sock);

#endif /* KTCP_SOCKET_H */
