// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate makes a relay fail open. The packet filter marks wanted flows, and
 * redirects those whose mark has KTCP_MARK_TAKEN. The gate is between the two,
 * and only it sets that bit, on the SYN of a flow that can be split now.
 * Without a listener, a route or a peer that is up, over a limit, while
 * draining, or without the module, the bit is missing and the flow goes by
 * plain routing.
 */

#include "intercept/gate.h"
#include "control/net.h"
#include "control/stats.h"
#include "datapath/refusal.h"
#include "intercept/early_syn.h"
#include "lib/compat/edemux.h"
#include "lib/share.h"
#include "lib/thread_pool.h"
#include "relay/route.h"
#include "session/flow.h"

#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/addrconf.h>
#include <net/ipv6.h>
#include <net/mptcp.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_zones.h>
#include <net/tcp.h>

/* The option of TCP-AO, which older kernels' headers do not name. */
#define OPTION_AO 29

/* From 99 % of max_splits on no flow is taken, until it is down to 95 %. */
static bool is_crowded(struct ktcp_net *ktcp)
{
	u64 count = atomic_read(&ktcp->active);
	u64 most = READ_ONCE(ktcp->settings.max_splits);
	bool crowded = READ_ONCE(ktcp->crowded);

	if (!crowded && count * 100 >= most * 99)
		crowded = true;
	else if (crowded && count * 100 <= most * 95)
		crowded = false;
	if (crowded != READ_ONCE(ktcp->crowded))
		WRITE_ONCE(ktcp->crowded, crowded);
	return crowded;
}

/*
 * REDIRECT sends a packet to an address of the interface that it came by. If
 * that has none, REDIRECT drops the packet.
 */
static bool can_redirect_v4(const struct net_device *dev)
{
	const struct in_device *in_dev = __in_dev_get_rcu(dev);
	const struct in_ifaddr *ifa;

	ifa = in_dev ? rcu_dereference(in_dev->ifa_list) : NULL;
	return ifa && ifa->ifa_local;
}

static bool can_redirect_v6(const struct net_device *dev)
{
	struct inet6_dev *idev = __in6_dev_get(dev);
	const struct inet6_ifaddr *ifa;
	bool found = false;

	if (!idev)
		return false;
	read_lock_bh(&idev->lock);
	list_for_each_entry(ifa, &idev->addr_list, if_list) {
		found = !(ifa->flags & IFA_F_TENTATIVE) &&
			ipv6_addr_src_scope(&ifa->addr) ==
				IPV6_ADDR_SCOPE_GLOBAL;
		if (found)
			break;
	}
	read_unlock_bh(&idev->lock);
	return found;
}

/* Would packets from this interface reach the listener? */
static bool interface_is_fit(struct ktcp_net *ktcp,
			     const struct nf_hook_state *state, bool nat)
{
	const struct net_device *dev = state->in;

	/* The host's own flows, with nothing between their ends. */
	if (dev->flags & IFF_LOOPBACK)
		return false;
	/* The listener is in no VRF, and could not connect from one. */
	if (netif_is_l3_master(dev) || netif_is_l3_slave(dev))
		return false;
	if (!nat || !READ_ONCE(ktcp->redirect_users))
		return true;
	return state->pf == NFPROTO_IPV4 ? can_redirect_v4(dev) :
					   can_redirect_v6(dev);
}

/*
 * With these options the ends sign their segments (BGP: RFC 2385, RFC 5925) or
 * add further paths to a connection (RFC 8684). An end would refuse a relay in
 * between, which knows neither their keys nor their tokens.
 */
static bool option_is_fit(u8 kind)
{
	return kind != TCPOPT_MD5SIG && kind != OPTION_AO &&
	       kind != TCPOPT_MPTCP;
}

static bool options_are_fit(const struct sk_buff *skb, int offset,
			    const struct tcphdr *tcp)
{
	int left = tcp->doff * 4 - (int)sizeof(*tcp);
	u8 room[MAX_TCP_OPTION_SPACE];
	const u8 *option;

	if (left <= 0)
		return !left;
	option = skb_header_pointer(skb, offset + sizeof(*tcp), left, room);
	while (option && left > 0 && *option != TCPOPT_EOL) {
		int length = 1;

		if (*option != TCPOPT_NOP)
			length = left > 1 ? option[1] : 0;
		/* Malformed: let the target decide what to do with it. */
		if (length > left || (*option != TCPOPT_NOP && length < 2))
			return false;
		if (!option_is_fit(*option))
			return false;
		option += length;
		left -= length;
	}
	return option;
}

/* IP options and extension headers: a split does not carry them on. */
static bool network_header_is_fit(const struct sk_buff *skb, u8 family)
{
	if (family == NFPROTO_IPV4)
		return ip_hdr(skb)->ihl == sizeof(struct iphdr) / 4;
	return ipv6_hdr(skb)->nexthdr == NEXTHDR_TCP;
}

static bool route_is_usable(struct ktcp_net *ktcp, u32 mark)
{
	struct ktcp_route *route = ktcp_route_get(ktcp, mark);
	bool usable;

	if (!route)
		return false;
	usable = ktcp_route_choose(ktcp, route);
	ktcp_route_put(route);
	if (!usable)
		ktcp_count(ktcp, KTCP_DOWN_PASSED);
	return usable;
}

/**
 * ktcp_gate_tcp_offset() - Where a packet's TCP header begins
 * @skb: with its network header
 * @family: NFPROTO_IPV4 or NFPROTO_IPV6
 *
 * Context: any.
 * Return: the offset; negative if this is no complete TCP packet.
 */
int ktcp_gate_tcp_offset(const struct sk_buff *skb, u8 family)
{
	unsigned int offset = 0;
	unsigned short fragment = 0;

	if (family == NFPROTO_IPV4) {
		const struct iphdr *ip = ip_hdr(skb);

		if (ip->protocol != IPPROTO_TCP || ip_is_fragment(ip))
			return -EINVAL;
		return skb_network_offset(skb) + ip_hdrlen(skb);
	}
	if (ipv6_find_hdr(skb, &offset, IPPROTO_TCP, &fragment, NULL) < 0 ||
	    fragment)
		return -EINVAL;
	return offset;
}

/**
 * ktcp_gate_tcp() - The TCP header of a packet
 * @skb: with its network header
 * @family: NFPROTO_IPV4 or NFPROTO_IPV6
 * @room: for a header that is not linear
 *
 * Context: any.
 * Return: the header; NULL if there is none, or only a part of it.
 */
const struct tcphdr *ktcp_gate_tcp(const struct sk_buff *skb, u8 family,
				   struct tcphdr *room)
{
	int offset = ktcp_gate_tcp_offset(skb, family);

	if (offset < 0)
		return NULL;
	return skb_header_pointer(skb, offset, sizeof(*room), room);
}

/**
 * ktcp_gate_is_syn() - Does a connection begin with this packet?
 * @tcp: its TCP header
 */
bool ktcp_gate_is_syn(const struct tcphdr *tcp)
{
	return tcp->syn && !tcp->ack && !tcp->rst && !tcp->fin;
}

static bool is_first_syn(const struct sk_buff *skb, u8 family)
{
	struct tcphdr room;
	const struct tcphdr *tcp = ktcp_gate_tcp(skb, family, &room);

	return tcp && ktcp_gate_is_syn(tcp);
}

/* A flow that a split could not honour, or would break, passes unsplit. */
static bool flow_is_fit(struct ktcp_net *ktcp, const struct sk_buff *skb,
			const struct nf_conn *ct,
			const struct nf_hook_state *state, bool nat)
{
	int offset = ktcp_gate_tcp_offset(skb, state->pf);
	const struct tcphdr *tcp;
	struct tcphdr room;

	/* In another zone the same addresses may mean another network. */
	if ((ct && nf_ct_zone(ct)->id != NF_CT_DEFAULT_ZONE_ID) ||
	    !network_header_is_fit(skb, state->pf) ||
	    !interface_is_fit(ktcp, state, nat))
		return false;
	tcp = skb_header_pointer(skb, offset, sizeof(room), &room);
	return tcp && options_are_fit(skb, offset, tcp);
}

/* Has the client's prefix used up its share of the splits? */
static bool is_greedy(struct ktcp_net *ktcp, const struct ktcp_flow *flow)
{
	u64 most = READ_ONCE(ktcp->settings.max_splits);
	u32 percent = READ_ONCE(ktcp->settings.prefix_percent);
	unsigned int slot;
	u64 used;

	if (percent == 100)
		return false;
	slot = ktcp_share_slot(&ktcp->prefix_key, &flow->client);
	used = ktcp_share_used(&ktcp->split_share, slot);
	return used && used * 100 >= most * percent;
}

/**
 * ktcp_gate_admits() - Can a flow be split now? If not, count the reason
 * @ktcp: the namespace
 * @flow: the flow, with the mark of its route, which may not exist
 * @skb: its first SYN
 * @ct: its conntrack entry, or the template for one, NULL for none
 * @state: of the hook
 * @nat: a NAT rule would bring it to the listener, not the capture
 *
 * Context: softirq.
 */
bool ktcp_gate_admits(struct ktcp_net *ktcp, const struct ktcp_flow *flow,
		      const struct sk_buff *skb, const struct nf_conn *ct,
		      const struct nf_hook_state *state, bool nat)
{
	if (!ktcp_route_exists(ktcp, flow->mark))
		return false;
	if (!flow_is_fit(ktcp, skb, ct, state, nat)) {
		ktcp_count(ktcp, KTCP_UNFIT_PASSED);
		return false;
	}
	if (!route_is_usable(ktcp, flow->mark))
		return false;
	if (READ_ONCE(ktcp->draining)) {
		ktcp_count(ktcp, KTCP_DRAIN_PASSED);
		return false;
	}
	if (is_crowded(ktcp)) {
		ktcp_count(ktcp, KTCP_LIMIT_PASSED);
		return false;
	}
	if (ktcp_thread_pool_is_full()) {
		ktcp_count(ktcp, KTCP_LIMIT_PASSED);
		return false;
	}
	if (is_greedy(ktcp, flow)) {
		ktcp_count(ktcp, KTCP_PREFIX_PASSED);
		return false;
	}
	if (ktcp_refusal_awaits(ktcp, flow)) {
		ktcp_count(ktcp, KTCP_REFUSED_PASSED);
		return false;
	}
	return true;
}

static void gate_take(struct ktcp_net *ktcp, struct sk_buff *skb,
		      const struct ktcp_flow *flow)
{
	skb->mark |= KTCP_MARK_TAKEN;
	ktcp_early_syn_start(ktcp, flow);
}

static unsigned int gate_hook(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	enum ip_conntrack_info info;
	struct ktcp_flow flow;
	struct ktcp_net *ktcp;
	struct nf_conn *ct;
	u32 mark, mask;

	if (likely(!skb->mark) || skb->mark & KTCP_MARK_TAKEN ||
	    !is_first_syn(skb, state->pf))
		return NF_ACCEPT;
	ct = nf_ct_get(skb, &info);
	if (!ct || info != IP_CT_NEW)
		return NF_ACCEPT;
	ktcp = ktcp_net_of(state->net);
	mask = READ_ONCE(ktcp->settings.mark_mask);
	mark = skb->mark & mask;
	if (!mark)
		return NF_ACCEPT;
	ktcp_flow_original(ct, mask, &flow);
	flow.mark = mark;
	if (nf_ct_is_confirmed(ct)) {
		/* Sent again: the decision at its first SYN holds. */
		if (ktcp_flow_is_taken(ct, mark, mask))
			gate_take(ktcp, skb, &flow);
	} else if (ktcp_gate_admits(ktcp, &flow, skb, ct, state, true)) {
		/* accept() finds the route by this, see ktcp_flow_of(). */
		ktcp_flow_take(ct, mark, mask);
		gate_take(ktcp, skb, &flow);
	}
	return NF_ACCEPT;
}

#ifdef KTCP_COMPAT_EDEMUX
static unsigned int edemux_hook(void *priv, struct sk_buff *skb,
				const struct nf_hook_state *state)
{
	enum ip_conntrack_info info;
	const struct tcphdr *tcp;
	struct tcphdr room;
	struct nf_conn *ct;

	if (!skb->sk)
		return NF_ACCEPT;
	ct = nf_ct_get(skb, &info);
	tcp = ct ? ktcp_gate_tcp(skb, state->pf, &room) : NULL;
	if (tcp)
		ktcp_compat_edemux_undo(skb, tcp, ct);
	return NF_ACCEPT;
}
#endif

/* After mangle has set the mark, before nat changes the destination. */
#define GATE_PRIORITY (NF_IP_PRI_MANGLE + 1)

static const struct nf_hook_ops hooks[] = {
	{
		.hook = gate_hook,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_PRE_ROUTING,
		.priority = GATE_PRIORITY,
	},
	{
		.hook = gate_hook,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_PRE_ROUTING,
		.priority = GATE_PRIORITY,
	},
#ifdef KTCP_COMPAT_EDEMUX
	{
		.hook = edemux_hook,
		.pf = NFPROTO_IPV4,
		.hooknum = NF_INET_LOCAL_IN,
		.priority = NF_IP_PRI_NAT_SRC + 1,
	},
	{
		.hook = edemux_hook,
		.pf = NFPROTO_IPV6,
		.hooknum = NF_INET_LOCAL_IN,
		.priority = NF_IP_PRI_NAT_SRC + 1,
	},
#endif
};

/* Also gets conntrack: without a NAT rule nobody else would load it. */
static int register_hooks(struct net *net)
{
	int err = nf_ct_netns_get(net, NFPROTO_INET);

	if (err)
		return err;
	err = nf_register_net_hooks(net, hooks, ARRAY_SIZE(hooks));
	if (err)
		nf_ct_netns_put(net, NFPROTO_INET);
	return err;
}

static void unregister_hooks(struct net *net)
{
	nf_unregister_net_hooks(net, hooks, ARRAY_SIZE(hooks));
	nf_ct_netns_put(net, NFPROTO_INET);
	/* A hook that still runs might begin a half that nobody ends. */
	synchronize_net();
}

/**
 * ktcp_gate_open() - Begin to take flows
 * @ktcp: the namespace
 * @redirect: flows come by REDIRECT, not by TPROXY
 *
 * Each call needs its own ktcp_gate_close(). A namespace without a client
 * listener has no hook, so its packets cost nothing.
 *
 * Context: may sleep, config_lock held.
 * Return: 0 or the error of the hook.
 */
int ktcp_gate_open(struct ktcp_net *ktcp, bool redirect)
{
	int err = 0;

	lockdep_assert_held(&ktcp->config_lock);
	if (!ktcp->gate_users)
		err = register_hooks(ktcp->net);
	if (err)
		return err;
	ktcp->gate_users++;
	WRITE_ONCE(ktcp->redirect_users, ktcp->redirect_users + redirect);
	return 0;
}

/**
 * ktcp_gate_close() - Take no more flows once the last one calls this
 * @ktcp: the namespace
 * @redirect: as it was opened
 *
 * Context: may sleep, config_lock held.
 */
void ktcp_gate_close(struct ktcp_net *ktcp, bool redirect)
{
	lockdep_assert_held(&ktcp->config_lock);
	WRITE_ONCE(ktcp->redirect_users, ktcp->redirect_users - redirect);
	if (!--ktcp->gate_users)
		unregister_hooks(ktcp->net);
}
