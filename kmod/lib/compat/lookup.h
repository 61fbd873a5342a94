/* SPDX-License-Identifier: GPL-2.0-only */
/* Finding a connection by its ends: older kernels have to be told the table. */
#ifndef KTCP_COMPAT_LOOKUP_H
#define KTCP_COMPAT_LOOKUP_H

#include <linux/in6.h>
#include <net/inet6_hashtables.h>
#include <net/inet_hashtables.h>
#include <net/net_namespace.h>

/**
 * ktcp_compat_find4() - Find a connection of IPv4, also half-open or closing
 * @net: namespace
 * @source: address of the other end
 * @source_port: its port
 * @target: address of this end
 * @target_port: its port, in the host's byte order
 * @in: index of the interface that its packets come from
 *
 * Context: softirq, or bottom halves disabled.
 * Return: the connection, referenced, or NULL.
 */
static inline struct sock *
ktcp_compat_find4(struct net *net, __be32 source, __be16 source_port,
		  __be32 target, u16 target_port, int in)
{
#ifdef KTCP_HAVE_LOOKUP_HASHINFO
	return __inet_lookup_established(net, net->ipv4.tcp_death_row.hashinfo,
					 source, source_port,
					 target, target_port, in, 0);
#else
	return __inet_lookup_established(net, source, source_port,
					 target, target_port, in, 0);
#endif
}

/**
 * ktcp_compat_find6() - Find a connection of IPv6, also half-open or closing
 * @net: namespace
 * @source: address of the other end
 * @source_port: its port
 * @target: address of this end
 * @target_port: its port, in the host's byte order
 * @in: index of the interface that its packets come from
 *
 * Context: softirq, or bottom halves disabled.
 * Return: the connection, referenced, or NULL.
 */
static inline struct sock *
ktcp_compat_find6(struct net *net, const struct in6_addr *source,
		  __be16 source_port, const struct in6_addr *target,
		  u16 target_port, int in)
{
#ifdef KTCP_HAVE_LOOKUP_HASHINFO
	return __inet6_lookup_established(net, net->ipv4.tcp_death_row.hashinfo,
					  source, source_port,
					  target, target_port, in, 0);
#else
	return __inet6_lookup_established(net, source, source_port,
					  target, target_port, in, 0);
#endif
}

#endif /* KTCP_COMPAT_LOOKUP_H */
