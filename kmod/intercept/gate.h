/* SPDX-License-Identifier: GPL-2.0-only */
/* Decides at a flow's first SYN whether the flow is taken or passes. */
#ifndef KTCP_GATE_H
#define KTCP_GATE_H

#include <linux/types.h>

struct ktcp_flow;
struct ktcp_net;
struct nf_conn;
struct nf_hook_state;
struct sk_buff;
struct tcphdr;

int ktcp_gate_tcp_offset(const struct sk_buff *skb, u8 family);
const struct tcphdr *ktcp_gate_tcp(const struct sk_buff *skb, u8 family,
				   struct tcphdr *room);
bool ktcp_gate_is_syn(const struct tcphdr *tcp);
bool ktcp_gate_admits(struct ktcp_net *ktcp, const struct ktcp_flow *flow,
		      const struct sk_buff *skb, const struct nf_conn *ct,
		      const struct nf_hook_state *state, bool nat);
int ktcp_gate_open(struct ktcp_net *ktcp, bool redirect);
void ktcp_gate_close(struct ktcp_net *ktcp, bool redirect);

#endif /* KTCP_GATE_H */
