/* SPDX-License-Identifier: GPL-2.0-only */
/* Turbo-Start (paper, section 2). */
#ifndef KTCP_TURBO_H
#define KTCP_TURBO_H

#include <linux/types.h>

struct sock;
struct socket;

void ktcp_socket_turbo_prepare(struct socket *sock, u32 bytes);
void ktcp_socket_turbo(struct socket *sock, u32 cwnd);
void ktcp_sock_turbo_follow(struct sock *sk, u64 read, u32 rtt_us);
void ktcp_socket_turbo_follow(struct socket *sock, u64 read, u32 rtt_us);
void ktcp_sock_turbo_refresh(struct sock *sk);
void ktcp_socket_turbo_refresh(struct socket *sock);

#endif /* KTCP_TURBO_H */
