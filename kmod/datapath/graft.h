/* SPDX-License-Identifier: GPL-2.0-only */
/* Sends a received skb on as it came. */
#ifndef KTCP_GRAFT_H
#define KTCP_GRAFT_H

#include <linux/types.h>

struct sk_buff;
struct sock;

size_t ktcp_graft(struct sock *sink, const struct sk_buff *skb, bool more,
		  bool atomic);
void ktcp_graft_push(struct sock *sink);

#endif /* KTCP_GRAFT_H */
