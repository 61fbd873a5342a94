/* SPDX-License-Identifier: GPL-2.0-only */
/* Works around a bug of kernels before 6.7 when NAT changes a source port. */
#ifndef KTCP_COMPAT_EDEMUX_H
#define KTCP_COMPAT_EDEMUX_H

#include <linux/version.h>

#if KERNEL_VERSION(6, 7, 0) > LINUX_VERSION_CODE
#define KTCP_COMPAT_EDEMUX

#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/sock.h>
#include <net/tcp.h>

/**
 * ktcp_compat_edemux_undo() - Forget a socket that was looked up too early
 * @skb: packet for this host, after NAT
 * @tcp: its TCP header
 * @ct: its conntrack entry
 *
 * A client may use one source port for two servers. Here both connections end
 * at one listener, so NAT changes the source port of the second. But by then
 * tcp_v4_early_demux() has found the socket of the first connection, which gets
 * all packets of the second. Later kernels handle that themselves, in
 * nf_nat_ipv4_local_in().
 *
 * Context: softirq.
 */
static inline void ktcp_compat_edemux_undo(struct sk_buff *skb,
					   const struct tcphdr *tcp,
					   const struct nf_conn *ct)
{
	const struct sock *sk = skb->sk;

	if (sk && skb->destructor == sock_edemux &&
	    ct->status & IPS_SRC_NAT && sk->sk_dport != tcp->source)
		skb_orphan(skb);
}

#endif /* LINUX_VERSION_CODE */

#endif /* KTCP_COMPAT_EDEMUX_H */
