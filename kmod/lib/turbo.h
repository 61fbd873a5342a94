/* SPDX-License-Identifier: GPL-2.0-only */
/* Turbo-Start (paper, section 2). */
#ifndef KTCP_TURBO_H
#define KTCP_TURBO_H

#include <linux/types.h>
#include <net/sock.h>

struct socket;

void ktcp_socket_turbo_prepare(struct socket *sock, u32 bytes);
void ktcp_socket_turbo(struct socket *sock, u32 cwnd);
void ktcp_sock_turbo_follow(struct sock *sk, u64 read, u32 rtt_us);
void ktcp_socket_turbo_follow(struct socket *sock, u64 read, u32 rtt_us);
void ktcp_sock_turbo_refresh(struct sock *sk);
void ktcp_socket_turbo_refresh(struct socket *sock);

/**
 * ktcp_sock_turbo_is_open() - Is the receiving window as open as it can be?
 * @sk: sock of a socket that ktcp_socket_turbo() was called on
 *
 * The sending buffer keeps the size that both buffers had at first.
 *
 * Context: any.
 */
static inline bool ktcp_sock_turbo_is_open(const struct sock *sk)
{
	return READ_ONCE(sk->sk_rcvbuf) >= READ_ONCE(sk->sk_sndbuf);
}

#endif /* KTCP_TURBO_H */
