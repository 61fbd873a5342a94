// SPDX-License-Identifier: GPL-2.0-only
/*
 * The DSCP of one end's packets reaches the other end, as if there were no
 * relay: bytes leave a relay with the DSCP that they came with. ECN belongs to
 * each leg alone.
 */

#include "lib/dscp.h"

#include <linux/ipv6.h>
#include <linux/net.h>
#include <net/inet_ecn.h>
#include <net/inet_sock.h>
#include <net/route.h>
#include <net/tcp.h>

static void set_dscp(struct sock *sk, u8 dsfield)
{
	bool v6 = sk->sk_family == AF_INET6;
	u8 *field = v6 ? &inet6_sk(sk)->tclass : &inet_sk(sk)->tos;

	if (likely(!((*field ^ dsfield) & ~INET_ECN_MASK)))
		return;
	WRITE_ONCE(*field, (dsfield & ~INET_ECN_MASK) |
			   (*field & INET_ECN_MASK));
	if (!v6)
		WRITE_ONCE(sk->sk_priority, rt_tos2priority(*field));
	/* Routes may depend on the TOS. */
	sk_dst_reset(sk);
}

/**
 * ktcp_dscp_follow() - Send from now on with the DSCP of a received skb
 * @sk: the sock
 * @skb: in another sock's receive queue
 *
 * Context: any, @sk locked.
 */
void ktcp_dscp_follow(struct sock *sk, const struct sk_buff *skb)
{
	set_dscp(sk, TCP_SKB_CB(skb)->ip_dsfield);
}

/**
 * ktcp_dscp_set() - Send from now on with this DSCP
 * @sock: the socket
 * @dsfield: a return value of ktcp_dscp_of()
 *
 * Context: may sleep.
 */
void ktcp_dscp_set(struct socket *sock, u8 dsfield)
{
	lock_sock(sock->sk);
	set_dscp(sock->sk, dsfield);
	release_sock(sock->sk);
}

/**
 * ktcp_dscp_of() - The DSCP of the next bytes to receive
 * @sock: the socket
 *
 * Context: may sleep.
 * Return: TOS or traffic class; that of the handshake if nothing has come yet.
 */
u8 ktcp_dscp_of(struct socket *sock)
{
	struct sock *sk = sock->sk;
	const struct sk_buff *skb;
	u8 dsfield;

	lock_sock(sk);
	skb = skb_peek(&sk->sk_receive_queue);
	if (skb)
		dsfield = TCP_SKB_CB(skb)->ip_dsfield;
	else if (sk->sk_family == AF_INET6)
		dsfield = ip6_tclass(inet6_sk(sk)->rcv_flowinfo);
	else
		dsfield = inet_sk(sk)->rcv_tos;
	release_sock(sk);
	return dsfield;
}
