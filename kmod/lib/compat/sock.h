/* SPDX-License-Identifier: GPL-2.0-only */
/* Socket features that some supported kernels lack. */
#ifndef KTCP_COMPAT_SOCK_H
#define KTCP_COMPAT_SOCK_H

#include <linux/socket.h>
#include <net/net_namespace.h>
#include <net/sock.h>

/**
 * ktcp_compat_sk_hold_net() - Give a kernel socket a reference to its namespace
 * @sk: socket without one, made by the kernel or accepted by such a socket
 *
 * Without the reference tcp_close() stops the retransmit timer, and bytes that
 * are not acknowledged yet are lost.
 *
 * Context: process context, before the socket is locked or seen by others.
 */
static inline void ktcp_compat_sk_hold_net(struct sock *sk)
{
#ifdef KTCP_HAVE_SK_NET_REFCNT_UPGRADE
	sk_net_refcnt_upgrade(sk);
#else
	struct net *net = sock_net(sk);

	sk->sk_net_refcnt = 1;
	get_net_track(net, &sk->ns_tracker, GFP_KERNEL);
	sock_inuse_add(net, 1);
#endif
}

/**
 * ktcp_compat_sk_let_net_go() - Take the reference to its namespace back
 * @sk: socket that ktcp_compat_sk_hold_net() was called on
 *
 * Context: any, @sk locked.
 */
static inline void ktcp_compat_sk_let_net_go(struct sock *sk)
{
	struct net *net = sock_net(sk);

	sock_inuse_add(net, -1);
	sk->sk_net_refcnt = 0;
#ifdef KTCP_HAVE_SK_NET_REFCNT_UPGRADE
	net_passive_inc(net);
	put_net_track(net, &sk->ns_tracker);
	__netns_tracker_alloc(net, &sk->ns_tracker, false, GFP_ATOMIC);
#else
	put_net_track(net, &sk->ns_tracker);
#endif
}

/*
 * Kernels that check the bounds of sockaddr.sa_data have another type for
 * addresses whose size is passed separately.
 */
#ifdef KTCP_HAVE_SOCKADDR_UNSIZED
#define ktcp_compat_sockaddr(addr) ((struct sockaddr_unsized *)(addr))
#else
#define ktcp_compat_sockaddr(addr) (addr)
#endif

#endif /* KTCP_COMPAT_SOCK_H */
