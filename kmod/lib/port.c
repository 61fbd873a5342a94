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
 * Context of all, unless stated otherwise: any.
 */

#include "lib/port.h"
#include "lib/compat/sock.h"

#include <linux/jhash.h>
#include <linux/jiffies.h>
#include <linux/net.h>
#include <linux/random.h>
#include <net/ip.h>
#include <net/netns/hash.h>
#include <net/sock.h>

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

/* Any one of every second port in the host's range; 0 if it is too small. */
static u16 pick(struct net *net)
{
	int low, high;
	u32 count;

	inet_get_local_port_range(net, &low, &high);
	count = (high - low + 1) / 2;
	return count ? low + 1 + 2 * (get_random_u32() % count) : 0;
}

static int bind_to(struct socket *sock, union ktcp_addr *addr)
{
	return kernel_bind(sock, ktcp_compat_sockaddr(&addr->sa),
			   ktcp_addr_length(addr));
}

static bool is_any(const union ktcp_addr *addr)
{
	return addr->sa.sa_family == AF_INET6 ?
		       ipv6_addr_any(&addr->in6.sin6_addr) :
		       !addr->in.sin_addr.s_addr;
}

/**
 * ktcp_port_bind() - Bind to a port that may be in TIME_WAIT
 * @sock: the socket, with SO_REUSEADDR; has to connect at once
 * @from: the address that it connects from, or any; port 0
 *
 * A connect that fails because the port is in use towards its target gives the
 * port back, as it does with a port that it chose itself.
 *
 * Context: may sleep.
 * Return: 0, -EADDRINUSE, -EADDRNOTAVAIL, or another error of bind(2).
 */
int ktcp_port_bind(struct socket *sock, const union ktcp_addr *from)
{
	struct net *net = sock_net(sock->sk);
	union ktcp_addr addr = *from;
	u16 port = pick(net);
	int err;

	if (!port)
		return -EADDRNOTAVAIL;
	if (inet_is_local_reserved_port(net, port))
		return -EADDRINUSE;
	addr.in.sin_port = htons(port);
	err = bind_to(sock, &addr);
	if (err) {
		/* A failed bind forgets the address: set it again. */
		addr.in.sin_port = 0;
		return is_any(from) ? err : bind_to(sock, &addr) ?: err;
	}
	lock_sock(sock->sk);
	sock->sk->sk_userlocks &= ~SOCK_BINDPORT_LOCK;
	release_sock(sock->sk);
	return 0;
}
