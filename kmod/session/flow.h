/* SPDX-License-Identifier: GPL-2.0-only */
/* A client's flow as it was before it was sent to this relay's listener. */
#ifndef KTCP_FLOW_H
#define KTCP_FLOW_H

#include "lib/address.h"

struct nf_conn;
struct socket;

void ktcp_flow_take(struct nf_conn *ct, u32 mark, u32 mask);
bool ktcp_flow_is_taken(const struct nf_conn *ct, u32 mark, u32 mask);
void ktcp_flow_original(const struct nf_conn *ct, u32 mask,
			struct ktcp_flow *flow);
int ktcp_flow_of(struct socket *sock, struct ktcp_flow *flow);

#endif /* KTCP_FLOW_H */
