// SPDX-License-Identifier: GPL-2.0-only
/*
 * Turbo-Start: large windows from the first byte, on relay legs only.
 *
 * Context of all, unless stated otherwise: process context, may sleep, no lock
 * held.
 */

#include "lib/turbo.h"

#include <linux/net.h>
#include <linux/tcp.h>
#include <net/tcp.h>

/**
 * ktcp_socket_turbo_prepare() - Buffers for a long leg, before it connects
 * @sock: socket to connect or to listen with
 * @bytes: of each buffer, 0 without turbo
 *
 * The SYN fixes the window scale, which follows from the buffer. The locks keep
 * TCP from resizing the buffers, as in rds_tcp_tune(); connections that a
 * listener accepts inherit all of it. Without turbo, a socket gets the default
 * buffers.
 */
void ktcp_socket_turbo_prepare(struct socket *sock, u32 bytes)
{
	struct net *net = sock_net(sock->sk);
	struct sock *sk = sock->sk;

	lock_sock(sk);
	if (bytes) {
		WRITE_ONCE(sk->sk_rcvbuf, bytes);
		WRITE_ONCE(sk->sk_sndbuf, bytes);
		sk->sk_userlocks |= SOCK_RCVBUF_LOCK | SOCK_SNDBUF_LOCK;
	} else if (sk->sk_userlocks & SOCK_RCVBUF_LOCK) {
		WRITE_ONCE(sk->sk_rcvbuf,
			   READ_ONCE(net->ipv4.sysctl_tcp_rmem[1]));
		WRITE_ONCE(sk->sk_sndbuf,
			   READ_ONCE(net->ipv4.sysctl_tcp_wmem[1]));
		sk->sk_userlocks &= ~(SOCK_RCVBUF_LOCK | SOCK_SNDBUF_LOCK);
	}
	release_sock(sk);
}

/* Slow start after idle depends on these two. */
static void forget_idle(struct tcp_sock *tp)
{
	tp->lsndtime = tcp_jiffies32;
	tp->snd_cwnd_stamp = tcp_jiffies32;
}

/* Pacing by the first few round trips would spread the burst over seconds. */
static void raise_pacing(struct sock *sk, u32 cwnd)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	u64 rate = (u64)cwnd * tp->mss_cache * USEC_PER_SEC;

	do_div(rate, max_t(u32, tp->srtt_us >> 3, 1));
	WRITE_ONCE(sk->sk_pacing_rate,
		   min_t(u64, rate, READ_ONCE(sk->sk_max_pacing_rate)));
}

/**
 * ktcp_socket_turbo() - Large windows from the first byte (paper, section 2)
 * @sock: connected socket between relays, prepared before
 * @cwnd: congestion window, segments, 0 without turbo
 *
 * Inside a cloud there is no congestion to probe for. This sets the sending
 * window, and opens the receiving window as far as the buffer allows; the other
 * end learns it with the next ACK.
 */
void ktcp_socket_turbo(struct socket *sock, u32 cwnd)
{
	struct sock *sk = sock->sk;
	struct tcp_sock *tp = tcp_sk(sk);

	if (!cwnd)
		return;
	lock_sock(sk);
	/* In SYN_RECV the first bytes came with the SYN. */
	if (sk->sk_state == TCP_ESTABLISHED || sk->sk_state == TCP_SYN_RECV) {
		tcp_snd_cwnd_set(tp, cwnd);
		tp->snd_ssthresh = TCP_INFINITE_SSTHRESH;
		forget_idle(tp);
		tp->window_clamp = tcp_full_space(sk);
		tp->rcv_ssthresh = tp->window_clamp;
		raise_pacing(sk, cwnd);
	}
	release_sock(sk);
}

/**
 * ktcp_sock_turbo_refresh() - Keep the window over a pause, before a send
 * @sk: sock of a socket that ktcp_socket_turbo() was called on
 *
 * Context: any, @sk locked.
 */
void ktcp_sock_turbo_refresh(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sk(sk);

	if (!tp->packets_out)
		forget_idle(tp);
}

/**
 * ktcp_socket_turbo_refresh() - The same, for callers without the lock
 * @sock: socket that ktcp_socket_turbo() was called on
 */
void ktcp_socket_turbo_refresh(struct socket *sock)
{
	struct sock *sk = sock->sk;

	if (READ_ONCE(tcp_sk(sk)->packets_out))
		return;
	lock_sock(sk);
	ktcp_sock_turbo_refresh(sk);
	release_sock(sk);
}
