/* SPDX-License-Identifier: GPL-2.0-only */
/* Starts the far leg at the client's SYN. */
#ifndef KTCP_EARLY_SYN_H
#define KTCP_EARLY_SYN_H

struct ktcp_flow;
struct ktcp_net;

void ktcp_early_syn_init(struct ktcp_net *ktcp);
void ktcp_early_syn_start(struct ktcp_net *ktcp, const struct ktcp_flow *flow);
void ktcp_early_syn_stop(struct ktcp_net *ktcp);

#endif /* KTCP_EARLY_SYN_H */
