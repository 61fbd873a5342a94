// SPDX-License-Identifier: GPL-2.0-only
/*
 * The capture splits flows without conntrack. Its hook runs ahead of conntrack.
 * At a flow's first SYN it asks the gate, and gives the packet to the
 * listener's socket; each later packet goes to the socket that it belongs to.
 * No packet is tracked and no address is changed, so no time-out and no full
 * table of the packet filter can end a stream. Packets of other flows go on
 * untouched.
 *
 * The capture's sockets are known by their mark. The listener has
 * KTCP_MARK_TAKEN, and TCP copies it to half-open connections, to accepted ones
 * and to those in TIME_WAIT. The packet that ends the handshake adds the
 * route's mark, which stays until accept has read it.
 */

#include "intercept/capture.h"
#include "control/net.h"
#include "control/stats.h"
#include "intercept/early_syn.h"
#include "intercept/gate.h"
#include "lib/compat/lookup.h"
#include "relay/route.h"
#include "session/flow.h"

#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/slab.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_core.h>
#include <net/netfilter/nf_conntrack_zones.h>
#include <net/netfilter/nf_tproxy.h>
#include <net/route.h>
#include <net/tcp.h>

/* Behind the rules of table raw, which set the marks, and before conntrack. */
#define CAPTURE_PRIORITY (NF_IP_PRI_RAW + 1)

/* tcp_syncookies of a host that never keeps a half-open connection. */
#define COOKIES_ALWAYS 2

/**
 * struct ktcp_capture - A namespace's capture, from its first listener on
 * @rcu: readers may still use it when it is freed
 * @listener: finds the socket that gets new flows, see ktcp_capture_open()
 * @dst: a route to local delivery, for any destination; one for each family,
 * NULL if the host does not have the family
 */
struct ktcp_capture {
	struct rcu_head rcu;
	struct sock *(*listener)(struct ktcp_net *ktcp, unsigned int family);
	struct dst_entry *dst[2];
};

/**
 * struct ends - Addresses and ports of a packet
 * @family: NFPROTO_IPV4 or NFPROTO_IPV6
 * @source: its sender's address
 * @target: its receiver's
 * @source_port: the sender's
 * @target_port: the receiver's
 */
struct ends {
	u8 family;
	const void *source, *target;
	__be16 source_port, target_port;
};

static int index_of(u8 family)
{
	return family == NFPROTO_IPV6;
}

static struct ends ends_of(const struct sk_buff *skb, u8 family,
			   const struct tcphdr *tcp)
{
	struct ends ends = {
		.family = family,
		.source_port = tcp->source,
		.target_port = tcp->dest,
	};

	if (family == NFPROTO_IPV4) {
		ends.source = &ip_hdr(skb)->saddr;
		ends.target = &ip_hdr(skb)->daddr;
	} else {
		ends.source = &ipv6_hdr(skb)->saddr;
		ends.target = &ipv6_hdr(skb)->daddr;
	}
	return ends;
}

static void flow_of_ends(const struct ends *ends, u32 mark,
			 struct ktcp_flow *flow)
{
	sa_family_t family = ends->family == NFPROTO_IPV4 ? AF_INET : AF_INET6;

	memset(flow, 0, sizeof(*flow));
	ktcp_addr_set(&flow->client, family, ends->source, ends->source_port);
	ktcp_addr_set(&flow->target, family, ends->target, ends->target_port);
	flow->mark = mark;
}

/* The connection with these ends, also half-open or closing; referenced. */
static struct sock *find_connection(const struct nf_hook_state *state,
				    const struct ends *ends)
{
	const __be32 *source = ends->source;
	const __be32 *target = ends->target;
	int in = state->in->ifindex;

	if (ends->family == NFPROTO_IPV4)
		return ktcp_compat_find4(state->net, *source, ends->source_port,
					 *target, ntohs(ends->target_port), in);
	return ktcp_compat_find6(state->net, ends->source, ends->source_port,
				 ends->target, ntohs(ends->target_port), in);
}

static u32 mark_of(const struct sock *sk)
{
	if (sk->sk_state == TCP_TIME_WAIT)
		return inet_twsk(sk)->tw_mark;
	if (sk->sk_state == TCP_NEW_SYN_RECV)
		return READ_ONCE(inet_rsk(inet_reqsk(sk))->ir_mark);
	return READ_ONCE(sk->sk_mark);
}

static bool is_captured(struct sock *sk)
{
	return mark_of(sk) & KTCP_MARK_TAKEN && inet_sk_transparent(sk);
}

/* The same, but only if the connection is the capture's; referenced. */
static struct sock *find_captured(const struct nf_hook_state *state,
				  const struct ends *ends)
{
	struct sock *sk = find_connection(state, ends);

	if (!sk || is_captured(sk))
		return sk;
	sock_gen_put(sk);
	return NULL;
}

/*
 * Deliver a packet to this host. Its route was not looked up, but the next
 * packet of a batch may reuse the route of the one before if the destinations
 * are the same, and it may belong to a flow that passes. The MULTIPATH flag
 * forbids that reuse.
 */
static void keep_here(const struct ktcp_capture *capture, struct sk_buff *skb,
		      u8 family)
{
	nf_reset_ct(skb);
	nf_ct_set(skb, NULL, IP_CT_UNTRACKED);
	skb->mark |= KTCP_MARK_TAKEN;
	skb_dst_drop(skb);
	skb_dst_set_noref(skb, capture->dst[index_of(family)]);
	if (family == NFPROTO_IPV4)
		IPCB(skb)->flags |= IPSKB_MULTIPATH;
	else
		IP6CB(skb)->flags |= IP6SKB_MULTIPATH;
}

/*
 * Was it decided at an earlier SYN that the flow passes? Then conntrack has an
 * entry, since it tracks flows that are not captured.
 */
static bool has_passed(struct net *net, const struct ends *ends)
{
	struct nf_conntrack_tuple_hash *hash;
	struct nf_conntrack_tuple tuple = {};
	struct nf_conn *ct;
	bool goes_on;

	tuple.src.l3num = ends->family;
	tuple.dst.protonum = IPPROTO_TCP;
	if (ends->family == NFPROTO_IPV4) {
		tuple.src.u3.ip = *(const __be32 *)ends->source;
		tuple.dst.u3.ip = *(const __be32 *)ends->target;
	} else {
		tuple.src.u3.in6 = *(const struct in6_addr *)ends->source;
		tuple.dst.u3.in6 = *(const struct in6_addr *)ends->target;
	}
	tuple.src.u.tcp.port = ends->source_port;
	tuple.dst.u.tcp.port = ends->target_port;
	hash = nf_conntrack_find_get(net, &nf_ct_zone_dflt, &tuple);
	if (!hash)
		return false;
	ct = nf_ct_tuplehash_to_ctrack(hash);
	/* In later states a SYN begins a new connection, for conntrack too. */
	goes_on = READ_ONCE(ct->proto.tcp.state) < TCP_CONNTRACK_TIME_WAIT;
	nf_ct_put(ct);
	return goes_on;
}

/* A packet that conntrack would call invalid begins no flow. */
static bool is_valid(struct sk_buff *skb, const struct nf_hook_state *state,
		     const struct tcphdr *tcp)
{
	int offset = ktcp_gate_tcp_offset(skb, state->pf);
	unsigned int length = tcp->doff * 4;

	return length >= sizeof(*tcp) && offset + length <= skb->len &&
	       !nf_checksum(skb, state->hook, offset, IPPROTO_TCP, state->pf);
}

/* A connection to the listener itself is a stranger's. */
static bool is_to_listener(const struct sock *listener, const struct ends *ends)
{
	struct ktcp_flow flow;

	if (likely(ntohs(ends->target_port) != listener->sk_num))
		return false;
	flow_of_ends(ends, 0, &flow);
	return ktcp_addr_is_local(sock_net(listener), &flow.target);
}

/*
 * Without room, TCP would answer with a cookie and forget the SYN; nobody could
 * tell the flow's later packets from those of a flow that passed. And on a host
 * without cookies TCP would drop the SYN.
 */
static bool listener_has_room(struct net *net, const struct sock *listener)
{
	int most = READ_ONCE(net->ipv4.sysctl_max_syn_backlog);
	u8 cookies = READ_ONCE(net->ipv4.sysctl_tcp_syncookies);

	if (!cookies && inet_csk_reqsk_queue_len(listener) > most - most / 4)
		return false;
	return cookies != COOKIES_ALWAYS &&
	       !inet_csk_reqsk_queue_is_full(listener) &&
	       !sk_acceptq_is_full(listener);
}

/* Would routing accept its source? IPv6 has no such check later on. */
static bool source_is_sane(struct sk_buff *skb,
			   const struct nf_hook_state *state)
{
	/* A tunnel's note; a flow that passes must keep it. */
	unsigned long before = skb->_skb_refdst;
	const struct iphdr *ip = ip_hdr(skb);
	int err;

	if (state->pf != NFPROTO_IPV4)
		return true;
	skb->_skb_refdst = 0;
	err = ip_route_input_noref(skb, ip->daddr, ip->saddr, ip->tos,
				   skb->dev);
	skb_dst_drop(skb);
	skb->_skb_refdst = before;
	return !err;
}

static bool capture_admits(struct ktcp_net *ktcp, const struct ktcp_flow *flow,
			   struct sk_buff *skb,
			   const struct nf_hook_state *state,
			   struct sock *listener)
{
	enum ip_conntrack_info info;
	/* Not tracked yet: at most there is a template, from a CT rule. */
	const struct nf_conn *template = nf_ct_get(skb, &info);

	if (!ktcp_gate_admits(ktcp, flow, skb, template, state, false))
		return false;
	if (!listener_has_room(state->net, listener)) {
		ktcp_count(ktcp, KTCP_LIMIT_PASSED);
		return false;
	}
	return source_is_sane(skb, state);
}

/* The listener that takes the flow which begins with this SYN, referenced. */
static struct sock *
begin_flow(struct ktcp_net *ktcp, const struct ktcp_capture *capture,
	   struct sk_buff *skb, const struct nf_hook_state *state,
	   const struct tcphdr *tcp, const struct ends *ends)
{
	u32 mark = skb->mark & READ_ONCE(ktcp->settings.mark_mask);
	enum ip_conntrack_info info;
	struct ktcp_flow flow;
	struct sock *listener;

	if (!mark || !ktcp_route_exists(ktcp, mark))
		return NULL;
	/* Another rule has untracked it: then we could not know it passed. */
	nf_ct_get(skb, &info);
	if (info == IP_CT_UNTRACKED)
		return NULL;
	flow_of_ends(ends, mark, &flow);
	listener = capture->listener(ktcp, index_of(state->pf));
	if (!listener || !is_valid(skb, state, tcp) ||
	    is_to_listener(listener, ends) || has_passed(state->net, ends) ||
	    !capture_admits(ktcp, &flow, skb, state, listener) ||
	    !refcount_inc_not_zero(&listener->sk_refcnt))
		return NULL;
	ktcp_early_syn_start(ktcp, &flow);
	return listener;
}

/* Note the route where accept finds it, see ktcp_flow_of(). */
static void note_route(const struct ktcp_net *ktcp, const struct sk_buff *skb,
		       const struct ends *ends, struct sock *sk)
{
	struct inet_request_sock *request = inet_rsk(inet_reqsk(sk));
	u32 mask = READ_ONCE(ktcp->settings.mark_mask);

	if (request->ir_mark & mask ||
	    is_to_listener(request->req.rsk_listener, ends))
		return;
	WRITE_ONCE(request->ir_mark, request->ir_mark | (skb->mark & mask));
}

static void take_packet(struct ktcp_net *ktcp,
			const struct ktcp_capture *capture, struct sk_buff *skb,
			const struct nf_hook_state *state,
			const struct tcphdr *tcp)
{
	struct ends ends = ends_of(skb, state->pf, tcp);
	struct sock *sk = find_captured(state, &ends);

	/* The client reuses its port; the new flow may have to pass. */
	if (sk && sk->sk_state == TCP_TIME_WAIT && ktcp_gate_is_syn(tcp)) {
		inet_twsk_deschedule_put(inet_twsk(sk));
		sk = NULL;
	}
	if (sk && sk->sk_state == TCP_NEW_SYN_RECV)
		note_route(ktcp, skb, &ends, sk);
	if (!sk && ktcp_gate_is_syn(tcp))
		sk = begin_flow(ktcp, capture, skb, state, tcp, &ends);
	if (!sk)
		return;
	keep_here(capture, skb, state->pf);
	nf_tproxy_assign_sock(skb, sk);
}

/* The start of the packet that an ICMP error is about, NULL for others. */
static const struct iphdr *blamed_v4(const struct sk_buff *skb, int *offset,
				     struct iphdr *room)
{
	const struct iphdr *ip = ip_hdr(skb);
	const struct icmphdr *icmp;
	struct icmphdr icmp_room;

	if (ip->protocol != IPPROTO_ICMP || ip_is_fragment(ip))
		return NULL;
	*offset = skb_network_offset(skb) + ip_hdrlen(skb);
	icmp = skb_header_pointer(skb, *offset, sizeof(icmp_room), &icmp_room);
	if (!icmp || !icmp_is_err(icmp->type))
		return NULL;
	*offset += sizeof(icmp_room);
	ip = skb_header_pointer(skb, *offset, sizeof(*room), room);
	if (!ip || ip->protocol != IPPROTO_TCP || ip->frag_off & htons(IP_OFFSET))
		return NULL;
	*offset += ip->ihl * 4;
	return ip;
}

static const struct ipv6hdr *blamed_v6(const struct sk_buff *skb, int *offset,
				       struct ipv6hdr *room)
{
	const struct icmp6hdr *icmp;
	struct icmp6hdr icmp_room;
	const struct ipv6hdr *ip;
	unsigned int start = 0;

	if (ipv6_hdr(skb)->nexthdr != NEXTHDR_ICMP ||
	    ipv6_find_hdr(skb, &start, NEXTHDR_ICMP, NULL, NULL) < 0)
		return NULL;
	icmp = skb_header_pointer(skb, start, sizeof(icmp_room), &icmp_room);
	if (!icmp || !icmpv6_is_err(icmp->icmp6_type))
		return NULL;
	*offset = start + sizeof(icmp_room);
	ip = skb_header_pointer(skb, *offset, sizeof(*room), room);
	if (!ip || ip->nexthdr != NEXTHDR_TCP)
		return NULL;
	*offset += sizeof(*ip);
	return ip;
}

/* The ends, as in an answer, of the packet that an ICMP error is about. */
static bool blamed_ends(const struct sk_buff *skb, struct ends *ends,
			void *room)
{
	const struct { __be16 source, dest; } *ports;
	const struct ipv6hdr *ip6;
	const struct iphdr *ip;
	__be32 port_room;
	int offset;

	if (ends->family == NFPROTO_IPV4) {
		ip = blamed_v4(skb, &offset, room);
		if (!ip)
			return false;
		ends->source = &ip->daddr;
		ends->target = &ip->saddr;
	} else {
		ip6 = blamed_v6(skb, &offset, room);
		if (!ip6)
			return false;
		ends->source = &ip6->daddr;
		ends->target = &ip6->saddr;
	}
	ports = skb_header_pointer(skb, offset, sizeof(port_room), &port_room);
	if (!ports)
		return false;
	ends->source_port = ports->dest;
	ends->target_port = ports->source;
	return true;
}

/*
 * ICMP errors about packets that this relay sent in a target's name are
 * addressed to the target. Without "fragmentation needed" a client behind a
 * tunnel would get nothing.
 */
static void take_error(const struct ktcp_capture *capture, struct sk_buff *skb,
		       const struct nf_hook_state *state)
{
	struct ends ends = { .family = state->pf };
	struct ipv6hdr room; /* the longer of both */
	struct sock *sk;

	if (!blamed_ends(skb, &ends, &room))
		return;
	sk = find_captured(state, &ends);
	if (!sk)
		return;
	keep_here(capture, skb, state->pf);
	sock_gen_put(sk);
}

static unsigned int capture_in(void *priv, struct sk_buff *skb,
			       const struct nf_hook_state *state)
{
	struct ktcp_net *ktcp = ktcp_net_of(state->net);
	const struct ktcp_capture *capture = rcu_dereference(ktcp->capture);
	const struct tcphdr *tcp;
	struct tcphdr room;

	/* A bridge forwards by itself from here, and asks no route. */
	if (!capture || !capture->dst[index_of(state->pf)] ||
	    nf_bridge_in_prerouting(skb))
		return NF_ACCEPT;
	tcp = ktcp_gate_tcp(skb, state->pf, &room);
	if (tcp)
		take_packet(ktcp, capture, skb, state, tcp);
	else
		take_error(capture, skb, state);
	return NF_ACCEPT;
}

/* Answers: tracked without their requests, they would be new connections. */
static unsigned int capture_out(void *priv, struct sk_buff *skb,
				const struct nf_hook_state *state)
{
	struct ktcp_net *ktcp;

	if (likely(!(skb->mark & KTCP_MARK_TAKEN)))
		return NF_ACCEPT;
	ktcp = ktcp_net_of(state->net);
	nf_reset_ct(skb);
	nf_ct_set(skb, NULL, IP_CT_UNTRACKED);
	skb->mark &= ~(KTCP_MARK_TAKEN | READ_ONCE(ktcp->settings.mark_mask));
	return NF_ACCEPT;
}

#define HOOK(function, family, place)					\
	{								\
		.hook = function, .pf = family, .hooknum = place,	\
		.priority = CAPTURE_PRIORITY,				\
	}

static const struct nf_hook_ops hooks[] = {
	HOOK(capture_in, NFPROTO_IPV4, NF_INET_PRE_ROUTING),
	HOOK(capture_in, NFPROTO_IPV6, NF_INET_PRE_ROUTING),
	HOOK(capture_out, NFPROTO_IPV4, NF_INET_LOCAL_OUT),
	HOOK(capture_out, NFPROTO_IPV6, NF_INET_LOCAL_OUT),
};

/* A route as routing makes it for an address of the host. */
static struct dst_entry *local_v4(struct net *net)
{
	struct rtable *rt = rt_dst_alloc(net->loopback_dev, RTCF_LOCAL,
					 RTN_LOCAL, false);

	if (!rt)
		return NULL;
	rt->rt_is_input = 1;
	rt->dst.output = dst_discard_out;
	return &rt->dst;
}

static struct dst_entry *local_v6(struct net *net)
{
	struct rt6_info *rt = ip6_dst_alloc(net, net->loopback_dev, 0);

	if (!rt)
		return NULL;
	rt->rt6i_flags = RTF_UP | RTF_NONEXTHOP | RTF_LOCAL;
	rt->dst.input = ip6_input;
	rt->dst.output = dst_discard_out;
	return &rt->dst;
}

static void free_dst(struct dst_entry *dst)
{
	if (!dst)
		return;
	/* Sockets that still hold the route must not hold the device, too. */
	dst_dev_put(dst);
	dst_release(dst);
}

static void capture_free(struct ktcp_capture *capture)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(capture->dst); i++)
		free_dst(capture->dst[i]);
	kfree_rcu(capture, rcu);
}

/* Also gets conntrack, which knows the flows that have passed. */
static int capture_make(struct ktcp_net *ktcp,
			struct sock *(*listener)(struct ktcp_net *ktcp,
						 unsigned int family))
{
	struct ktcp_capture *capture = kzalloc(sizeof(*capture), GFP_KERNEL);
	bool v6 = ipv6_mod_enabled();
	int err = -ENOMEM;

	if (!capture)
		return err;
	capture->listener = listener;
	capture->dst[0] = local_v4(ktcp->net);
	capture->dst[1] = v6 ? local_v6(ktcp->net) : NULL;
	if (!capture->dst[0] || (v6 && !capture->dst[1]))
		goto free;
	err = nf_ct_netns_get(ktcp->net, NFPROTO_INET);
	if (err)
		goto free;
	err = nf_register_net_hooks(ktcp->net, hooks, ARRAY_SIZE(hooks));
	if (err)
		goto put;
	rcu_assign_pointer(ktcp->capture, capture);
	return 0;

put:
	nf_ct_netns_put(ktcp->net, NFPROTO_INET);
free:
	capture_free(capture);
	return err;
}

/**
 * ktcp_capture_open() - Begin to take flows for the untracked listeners
 * @ktcp: the namespace
 * @listener: finds the listening socket that gets new flows, of family 0 (IPv4)
 * or 1 (IPv6), NULL if there is none; called with rcu_read_lock() held, which
 * keeps the socket open
 *
 * The capture stays open until the namespace or the module goes: without it,
 * packets of taken flows would go to the target, which does not know them.
 *
 * Context: may sleep, config_lock held.
 * Return: 0, -ENOMEM or the error of the hook.
 */
int ktcp_capture_open(struct ktcp_net *ktcp,
		      struct sock *(*listener)(struct ktcp_net *ktcp,
					       unsigned int family))
{
	lockdep_assert_held(&ktcp->config_lock);
	if (rcu_access_pointer(ktcp->capture))
		return 0;
	return capture_make(ktcp, listener);
}

/**
 * ktcp_capture_exit() - The namespace or the module goes
 * @ktcp: the namespace
 *
 * Runs while the devices still exist: the kernel would wait for the references
 * that our routes hold to them.
 *
 * Context: may sleep.
 */
void ktcp_capture_exit(struct ktcp_net *ktcp)
{
	struct ktcp_capture *capture;

	mutex_lock(&ktcp->config_lock);
	capture = rcu_replace_pointer(ktcp->capture, NULL,
				      lockdep_is_held(&ktcp->config_lock));
	if (capture) {
		nf_unregister_net_hooks(ktcp->net, hooks, ARRAY_SIZE(hooks));
		nf_ct_netns_put(ktcp->net, NFPROTO_INET);
		capture_free(capture);
	}
	mutex_unlock(&ktcp->config_lock);
}
