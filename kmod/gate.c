// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate is what makes a relay fail open. The packet filter marks the flows
 * that are wanted, and redirects those whose mark has KTCP_MARK_TAKEN. Only
 * the gate sets that bit, between the two, on the SYN of a flow that can be
 * split now. Without a listener, a route or a peer that is up, over a limit,
 * while draining, or with no module at all, the bit is missing and the flow goes
 * its plain way.
 */

#include "gate.h"
#include "compat/edemux.h"
#include "early_syn.h"
#include "flow.h"
#include "net.h"
#include "route.h"
#include "stats.h"

#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/ipv6.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/tcp.h>

/* Above 99 % of max_splits nothing is taken, until 95 % is reached. */
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

static bool gate_admits(struct ktcp_net *ktcp, u32 mark)
{
	if (!route_is_usable(ktcp, mark))
		return false;
	if (READ_ONCE(ktcp->draining)) {
		ktcp_count(ktcp, KTCP_DRAIN_PASSED);
		return false;
	}
	if (is_crowded(ktcp)) {
		ktcp_count(ktcp, KTCP_LIMIT_PASSED);
		return false;
	}
	return true;
}

/* Offset of the TCP header, negative for what is no whole TCP packet. */
static int tcp_offset(const struct sk_buff *skb, u8 family)
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

/* The TCP header, in @room where it is not linear; NULL where there is none. */
static const struct tcphdr *tcp_header(const struct sk_buff *skb, u8 family,
				       struct tcphdr *room)
{
	int offset = tcp_offset(skb, family);

	if (offset < 0)
		return NULL;
	return skb_header_pointer(skb, offset, sizeof(*room), room);
}

static bool is_first_syn(const struct sk_buff *skb, u8 family)
{
	struct tcphdr room;
	const struct tcphdr *tcp = tcp_header(skb, family, &room);

	return tcp && tcp->syn && !tcp->ack && !tcp->rst && !tcp->fin;
}

static void take(struct ktcp_net *ktcp, struct sk_buff *skb, struct nf_conn *ct)
{
	struct ktcp_flow flow;

	/* accept() finds the route by this, see ktcp_flow_of(). */
	WRITE_ONCE(ct->mark, skb->mark);
	ktcp_flow_original(ct, &flow);
	skb->mark |= KTCP_MARK_TAKEN;
	ktcp_early_syn_start(ktcp, &flow);
}

static unsigned int gate_hook(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	enum ip_conntrack_info info;
	struct ktcp_net *ktcp;
	struct nf_conn *ct;
	u32 mark = skb->mark;

	if (likely(!mark) || mark > KTCP_MARK_MAX ||
	    !is_first_syn(skb, state->pf))
		return NF_ACCEPT;
	ct = nf_ct_get(skb, &info);
	if (!ct || info != IP_CT_NEW)
		return NF_ACCEPT;
	ktcp = ktcp_net_of(state->net);
	if (gate_admits(ktcp, mark))
		take(ktcp, skb, ct);
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
	tcp = ct ? tcp_header(skb, state->pf, &room) : NULL;
	if (tcp)
		ktcp_compat_edemux_undo(skb, tcp, ct);
	return NF_ACCEPT;
}
#endif

/* After mangle has set the mark, before nat turns the destination. */
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

/* Conntrack too: without a NAT rule nobody else asks for it. */
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
}

/**
 * ktcp_gate_open() - Begin to take flows
 * @ktcp: the namespace
 *
 * Each call wants its ktcp_gate_close(). A namespace without a client
 * listener has no hook, and its packets cost nothing.
 *
 * Context: may sleep, config_lock held.
 * Return: 0 or the error of the hook.
 */
int ktcp_gate_open(struct ktcp_net *ktcp)
{
	int err = 0;

	lockdep_assert_held(&ktcp->config_lock);
	if (!ktcp->gate_users)
		err = register_hooks(ktcp->net);
	if (!err)
		ktcp->gate_users++;
	return err;
}

/**
 * ktcp_gate_close() - Take no more flows once the last one calls this
 * @ktcp: the namespace
 *
 * Context: may sleep, config_lock held.
 */
void ktcp_gate_close(struct ktcp_net *ktcp)
{
	lockdep_assert_held(&ktcp->config_lock);
	if (!--ktcp->gate_users)
		unregister_hooks(ktcp->net);
}
