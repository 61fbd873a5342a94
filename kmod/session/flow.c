// SPDX-License-Identifier: GPL-2.0-only
/*
 * Finds the flow of an accepted connection. If the capture took the flow, the
 * socket itself tells. Otherwise we ask conntrack: after REDIRECT nobody else
 * knows the flow's target, and after TPROXY conntrack has the flow's mark.
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

/* The tuple of packets that this relay sends on the connection. */
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
 * ktcp_flow_take() - Note in a flow's conntrack entry that the flow is taken
 * @ct: the entry, made by the flow's first packet
 * @mark: mark of the flow's route
 * @mask: bits of the entry's mark that are ours, besides KTCP_MARK_TAKEN
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
 * @mark: mark of its route
 * @mask: bits of the entry's mark that are ours, besides KTCP_MARK_TAKEN
 *
 * Context: any.
 */
bool ktcp_flow_is_taken(const struct nf_conn *ct, u32 mark, u32 mask)
{
	return (READ_ONCE(ct->mark) & (mask | KTCP_MARK_TAKEN)) ==
	       (mark | KTCP_MARK_TAKEN);
}

/**
 * ktcp_flow_original() - Find a flow as the client sent it
 * @ct: its conntrack entry, with the mark of its route
 * @mask: bits of the entry's mark that belong to the route
 * @flow: filled
 *
 * The accepted connection cannot tell: REDIRECT has changed its destination. If
 * a client uses one port for two servers, NAT may have changed the source port,
 * too.
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
 * Did a rule send the flow to our listener, or did somebody just connect to the
 * listener's own address? REDIRECT leaves a trace in the entry. TPROXY leaves
 * none, but the target of its flows is not an address of this host.
 */
static bool was_steered(const struct nf_conn *ct, const struct ktcp_flow *flow)
{
	return ct->status & IPS_DST_NAT ||
	       !ktcp_addr_is_local(nf_ct_net(ct), &flow->target);
}

/* Find the flow in conntrack. */
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
	/*
	 * Do not ask for KTCP_MARK_TAKEN: other rules may have saved the mark
	 * of a later packet in the entry.
	 */
	err = flow->mark && was_steered(ct, flow) ? 0 : -ENOENT;
	nf_ct_put(ct);
	return err;
}

/*
 * As long as the socket lives, the capture's mark says that its packets belong
 * here. The route's mark beside it is read once and cleared.
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
 * @flow: set on success. It has no mark if the rules that set marks were
 * removed after the SYN, or if somebody connected to the capture's listener
 * itself
 *
 * Context: may sleep.
 * Return: 0, -ENOENT if the gate did not send the connection here, or -ENOTCONN
 * if it has ended already.
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
