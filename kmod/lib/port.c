// SPDX-License-Identifier: GPL-2.0-only
/*
 * Ports to connect from. The end that closes first keeps its port for a minute
 * (TIME_WAIT), and connect() does not choose such a port. So 28,000 ports allow
 * only 470 connections a second to one address. But a socket that is bound to
 * such a port before it connects takes the port over at once, if the connection
 * before had timestamps: by these TCP tells old segments from new ones (RFC
 * 6191). net.ipv4.tcp_tw_reuse does the same for all sockets of the host.
 *
 * While a socket is bound to a port, connect() gives that port to nobody else
 * on the host, wherever they connect to. So we do this only if there is no
 * other port, and only with every second port. The kernel makes the same
 * distinction: connect() gives the other half first.
 *
 * Context of all: any.
 */

#include "lib/port.h"

#include <linux/jhash.h>
#include <linux/jiffies.h>
#include <linux/random.h>
#include <net/ip.h>
#include <net/netns/hash.h>

/* Searching all ports in vain takes milliseconds: not again for so long. */
#define SHORT_FOR HZ
#define PLACES 256

/*
 * Until when, in jiffies, ports are short towards the addresses of each place.
 * Two addresses may share a place. Then connections to the other address begin
 * with every second port, too, and find one unless nearly all of these are
 * open.
 */
static unsigned long short_until[PLACES];

static unsigned long *place_of(const struct net *net,
			       const union ktcp_addr *to)
{
	const u32 *word = (const u32 *)&to->in6.sin6_addr;
	u32 seed = net_hash_mix(net) ^ (__force u16)ktcp_addr_port(to);
	u32 hash;

	if (to->sa.sa_family == AF_INET)
		hash = jhash_1word((__force u32)to->in.sin_addr.s_addr, seed);
	else
		hash = jhash2(word, 4, seed);
	return &short_until[hash % PLACES];
}

/**
 * ktcp_port_is_short() - Was there no port for an address a moment ago?
 * @net: the namespace
 * @to: the address
 */
bool ktcp_port_is_short(const struct net *net, const union ktcp_addr *to)
{
	unsigned long left = READ_ONCE(*place_of(net, to)) - jiffies;

	return left - 1 < SHORT_FOR;
}

/**
 * ktcp_port_note_short() - Note that there is no port for an address
 * @net: the namespace
 * @to: the address
 */
void ktcp_port_note_short(const struct net *net, const union ktcp_addr *to)
{
	WRITE_ONCE(*place_of(net, to), jiffies + SHORT_FOR);
}

/**
 * ktcp_port_pick() - A port to bind to, which may be in TIME_WAIT
 * @net: the namespace
 *
 * Return: any one of every second port in the host's range; 0 if that port is
 * reserved or the range is too small.
 */
u16 ktcp_port_pick(struct net *net)
{
	int low, high;
	u32 count;
	u16 port;

	inet_get_local_port_range(net, &low, &high);
	count = (high - low + 1) / 2;
	if (!count)
		return 0;
	port = low + 1 + 2 * (get_random_u32() % count);
	return inet_is_local_reserved_port(net, port) ? 0 : port;
}
