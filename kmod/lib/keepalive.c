// SPDX-License-Identifier: GPL-2.0-only
/*
 * How TCP itself finds out that the other end of a connection is gone.
 *
 * Context of all: process context, may sleep, no lock held.
 */

#include "lib/keepalive.h"

#include <linux/net.h>
#include <linux/tcp.h>
#include <net/tcp.h>

#define RELAY_IDLE_S 15
#define RELAY_INTERVAL_S 5
#define PROBES 3
/* How long a client or a target may be silent while nothing is sent. */
#define PATIENCE_S 7200

static void set_keepalive(struct sock *sk, int idle_s, int interval_s,
			  int probes)
{
	sock_set_keepalive(sk);
	tcp_sock_set_keepidle(sk, idle_s);
	tcp_sock_set_keepintvl(sk, interval_s);
	tcp_sock_set_keepcnt(sk, probes);
}

/**
 * ktcp_socket_relay_options() - Set up a connection between relays
 * @sock: the socket
 *
 * A dead relay is noticed within RELAY_IDLE_S + RELAY_INTERVAL_S *
 * PROBES seconds, also if nothing is sent.
 */
void ktcp_socket_relay_options(struct socket *sock)
{
	set_keepalive(sock->sk, RELAY_IDLE_S, RELAY_INTERVAL_S,
		      PROBES);
}

/**
 * ktcp_socket_keepalive() - Keep a client's or a target's connection alive
 * @sock: the socket
 * @every_s: silence after which the other end is probed; 0: TCP's default
 *
 * The probes keep the flow in the tables of firewalls and NATs on the way. They
 * must not end connections that would live without a relay: a laptop may sleep
 * for as long as with the kernel's own keepalive.
 */
void ktcp_socket_keepalive(struct socket *sock, u32 every_s)
{
	if (every_s)
		set_keepalive(sock->sk, every_s, every_s,
			      clamp_t(u32, PATIENCE_S / every_s,
				      PROBES, MAX_TCP_KEEPCNT));
}

/**
 * ktcp_socket_watch() - Let TCP end a connection soon after the other end goes
 * @sock: the socket, connected or not
 * @timeout_ms: silence after which it ends, milliseconds
 *
 * Within this time the other end is probed PROBES times, or as often
 * as TCP can, since it counts keepalive in seconds.
 */
void ktcp_socket_watch(struct socket *sock, u32 timeout_ms)
{
	u32 every = max_t(u32, timeout_ms / (PROBES * MSEC_PER_SEC), 1);

	set_keepalive(sock->sk, every, every, PROBES);
	tcp_sock_set_user_timeout(sock->sk, timeout_ms);
}
