/* SPDX-License-Identifier: GPL-2.0-only */
/* An address and a port, of either family; prefixes of addresses; a flow between two. */
#ifndef KTCP_ADDRESS_H
#define KTCP_ADDRESS_H

#include <linux/in.h>
#include <linux/in6.h>
#include <linux/socket.h>
#include <linux/types.h>

struct net;

/* Printed by "%pISpc", which puts IPv6 in brackets. */
union ktcp_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

struct ktcp_prefix {
	union ktcp_addr addr;
	u8 bits;
};

/**
 * struct ktcp_flow - A client's connection
 * @client: the address and port that it comes from
 * @target: the address and port that the client connects to
 * @mark: the mark of its route
 */
struct ktcp_flow {
	union ktcp_addr client;
	union ktcp_addr target;
	u32 mark;
};

int ktcp_addr_parse(const char *text, union ktcp_addr *addr);
int ktcp_addr_length(const union ktcp_addr *addr);
__be16 ktcp_addr_port(const union ktcp_addr *addr);
void ktcp_addr_set(union ktcp_addr *addr, sa_family_t family, const void *ip,
		   __be16 port);
bool ktcp_addr_equal(const union ktcp_addr *a, const union ktcp_addr *b);
int ktcp_addr_cmp(const union ktcp_addr *a, const union ktcp_addr *b);
bool ktcp_addr_is_unicast(const union ktcp_addr *addr);
bool ktcp_addr_embedded(const union ktcp_addr *addr, union ktcp_addr *inner);
bool ktcp_addr_is_local(struct net *net, const union ktcp_addr *addr);

int ktcp_prefix_parse(const char *text, struct ktcp_prefix *prefix);
bool ktcp_prefix_equal(const struct ktcp_prefix *a, const struct ktcp_prefix *b);
bool ktcp_prefix_contains(const struct ktcp_prefix *prefix,
			  const union ktcp_addr *addr);

#endif /* KTCP_ADDRESS_H */
