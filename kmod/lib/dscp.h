/* SPDX-License-Identifier: GPL-2.0-only */
/* The DSCP, by which networks treat packets differently (RFC 2474). */
#ifndef KTCP_DSCP_H
#define KTCP_DSCP_H

#include <linux/types.h>

struct sk_buff;
struct sock;
struct socket;

void ktcp_dscp_follow(struct sock *sk, const struct sk_buff *skb);
void ktcp_dscp_set(struct socket *sock, u8 dsfield);
u8 ktcp_dscp_of(struct socket *sock);

#endif /* KTCP_DSCP_H */
