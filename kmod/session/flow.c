// SPDX-License-Identifier: GPL-2.0-only
/*
 * The flow behind an accepted connection. What the capture took tells by itself.
 * Else conntrack is asked, the only one who knows it after REDIRECT, and who has
 * its mark after TPROXY.
 */

#include "session/flow.h"
#include "control/net.h"
#include "lib/socket.h"
#include "relay/route.h"

#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_core.h>
#include <net/netfilter/nf_conntrack_zones.h>
#include <net/sock.h>
#include <net/tcp.h>

static void set_ip(union nf_inet_addr *to, const union ktcp_addr *from)
{
	if (from->sa.sa_family == AF_INET6)
		to->in6 = from->in6.sin6_addr;
	else
		to->ip = from->in.sin_addr.s_addr;
}

/* As the relay's own packets of the connection look. */
static void reply_tuple(const union ktcp_addr *local,
			const union ktcp_addr *remote,
			struct nf_conntrack_tuple *tuple)
{
	memset(tuple, 0, sizeof(*tuple));
	tuple->src.l3num = local->sa.sa_family;
	tuple->dst.protonum = IPPROTO_TCP;
	set_ip(&tuple->src.u3, local);
	tuple->src.u.tcp.port = ktcp_addr_port(local);
	set_ip(&tuple->dst.u3, remote);
	tuple->dst.u.tcp.port = ktcp_addr_port(remote);
}

/**
 * ktcp_flow_take() - Note in a flow's conntrack entry that it is taken
 * @ct: the entry, which its first packet made
 * @mark: of its route
 * @mask: bits of the entry's mark that are ours, beside KTCP_MARK_TAKEN
 *
 * Context: softirq.
 */
void ktcp_flow_take(struct nf_conn *ct, u32 mark, u32 mask)
{
	u32 others = READ_ONCE(ct->mark) & ~(mask | KTCP_MARK_TAKEN);

	WRITE_ONCE(ct->mark, others | mark | KTCP_MARK_TAKEN);
}

/**
 * ktcp_flow_is_taken() - Was a flow taken at its first SYN?
 * @ct: its conntrack entry
 * @mark: of its route
 * @mask: bits of the entry's mark that are ours, beside KTCP_MARK_TAKEN
 *
 * Context: any.
 */
bool ktcp_flow_is_taken(const struct nf_conn *ct, u32 mark, u32 mask)
{
	return (READ_ONCE(ct->mark) & (mask | KTCP_MARK_TAKEN)) ==
	       (mark | KTCP_MARK_TAKEN);
}

/**
 * ktcp_flow_original() - A flow as the client sent it
 * @ct: its conntrack entry, which has the mark of its route
 * @mask: bits of the entry's mark that are the route's
 * @flow: filled
 *
 * The accepted connection does not tell: REDIRECT has changed its
 * destination, and may have changed the source port, where a client uses one
 * port towards two servers.
 *
 * Context: any.
 */
void ktcp_flow_original(const struct nf_conn *ct, u32 mask,
			struct ktcp_flow *flow)
{
	const struct nf_conntrack_tuple *tuple =
		&ct->tuplehash[IP_CT_DIR_ORIGINAL].tuple;

	ktcp_addr_set(&flow->client, tuple->src.l3num, &tuple->src.u3,
		      tuple->src.u.tcp.port);
	ktcp_addr_set(&flow->target, tuple->src.l3num, &tuple->dst.u3,
		      tuple->dst.u.tcp.port);
	flow->mark = READ_ONCE(ct->mark) & mask;
}

/*
 * A connection to the listener's own address is a stranger's. REDIRECT leaves
 * its trace; TPROXY leaves none, and the target of what it takes is elsewhere.
 */
static bool was_steered(const struct nf_conn *ct, const struct ktcp_flow *flow)
{
	return ct->status & IPS_DST_NAT ||
	       !ktcp_addr_is_local(nf_ct_net(ct), &flow->target);
}

/* The flow as conntrack knows it. */
static int flow_tracked(struct ktcp_net *ktcp, const union ktcp_addr *local,
			const union ktcp_addr *remote, struct ktcp_flow *flow)
{
	u32 mask = READ_ONCE(ktcp->settings.mark_mask);
	struct nf_conntrack_tuple_hash *hash;
	struct nf_conntrack_tuple tuple;
	struct nf_conn *ct;
	int err;

	reply_tuple(local, remote, &tuple);
	hash = nf_conntrack_find_get(ktcp->net, &nf_ct_zone_dflt, &tuple);
	if (!hash)
		return -ENOENT;
	ct = nf_ct_tuplehash_to_ctrack(hash);
	ktcp_flow_original(ct, mask, flow);
	/* Others may save the mark of a later packet there: no KTCP_MARK_TAKEN. */
	err = flow->mark && was_steered(ct, flow) ? 0 : -ENOENT;
	nf_ct_put(ct);
	return err;
}

/*
 * The capture's mark says for as long as the socket lives that its packets
 * belong here. The route's beside it is needed once.
 */
static int flow_captured(const struct ktcp_net *ktcp, struct sock *sk,
			 const union ktcp_addr *local,
			 const union ktcp_addr *remote, struct ktcp_flow *flow)
{
	u32 mark = READ_ONCE(sk->sk_mark);

	if (!(mark & KTCP_MARK_TAKEN) || !inet_sk_transparent(sk))
		return -ENOENT;
	WRITE_ONCE(sk->sk_mark, KTCP_MARK_TAKEN);
	flow->client = *remote;
	flow->target = *local;
	flow->mark = mark & READ_ONCE(ktcp->settings.mark_mask);
	return 0;
}

/**
 * ktcp_flow_of() - Find the flow of an accepted connection
 * @sock: the connection
 * @flow: set on success, without a mark where the rules that set it were taken
 * away after the SYN, and for a stranger of the capture's listener
 *
 * Context: may sleep.
 * Return: 0, -ENOENT for a connection that the gate did not send here, or
 * -ENOTCONN for one that has ended already.
 */
int ktcp_flow_of(struct socket *sock, struct ktcp_flow *flow)
{
	struct ktcp_net *ktcp = ktcp_net_of(sock_net(sock->sk));
	union ktcp_addr local, remote;
	int err;

	err = ktcp_socket_local(sock, &local) ?:
	      ktcp_socket_remote(sock, &remote);
	if (err)
		return err;
	err = flow_captured(ktcp, sock->sk, &local, &remote, flow);
	return err ? flow_tracked(ktcp, &local, &remote, flow) : 0;
}
