// SPDX-License-Identifier: GPL-2.0-only
/* Addresses: parsing, comparing, and the kinds that no relay may reach. */

#include "lib/address.h"

#include <linux/inet.h>
#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <linux/string.h>
#include <net/addrconf.h>
#include <net/ip6_route.h>
#include <net/ip_fib.h>
#include <net/ipv6.h>
#include <net/route.h>

/* The longest is "[" + 45 characters of IPv6 + "]:65535". */
#define ADDR_TEXT_MAX 56

static int parse_ip(const char *text, size_t len, union ktcp_addr *addr)
{
	const char *end;

	memset(addr, 0, sizeof(*addr));
	if (in4_pton(text, len, (u8 *)&addr->in.sin_addr, -1, &end) &&
	    end == text + len) {
		addr->sa.sa_family = AF_INET;
		return 0;
	}
	if (in6_pton(text, len, (u8 *)&addr->in6.sin6_addr, -1, &end) &&
	    end == text + len) {
		addr->sa.sa_family = AF_INET6;
		return 0;
	}
	return -EINVAL;
}

static int parse_port(const char *text, union ktcp_addr *addr)
{
	u16 port;
	int err = kstrtou16(text, 10, &port);

	if (err)
		return err;
	if (!port)
		return -ERANGE;
	/* sin_port and sin6_port share their place. */
	addr->in.sin_port = htons(port);
	return 0;
}

/**
 * ktcp_addr_parse() - Read "A.B.C.D:PORT" or "[IPV6]:PORT"
 * @text: the address, with nothing before or after it
 * @addr: filled on success
 *
 * Return: 0, -EINVAL if this is no address, -ERANGE for a port that is not 1 to
 * 65535.
 */
int ktcp_addr_parse(const char *text, union ktcp_addr *addr)
{
	bool bracket = text[0] == '[';
	const char *host = text + bracket;
	const char *colon = strrchr(text, ':');
	size_t len;
	int err;

	if (!colon || colon < host || strlen(text) > ADDR_TEXT_MAX)
		return -EINVAL;
	len = colon - host;
	if (bracket && (!len || host[--len] != ']'))
		return -EINVAL;
	err = parse_ip(host, len, addr);
	if (err)
		return err;
	/* IPv6 addresses need brackets, others must not have them. */
	if (addr->sa.sa_family == (bracket ? AF_INET : AF_INET6))
		return -EINVAL;
	return parse_port(colon + 1, addr);
}

/**
 * ktcp_addr_length() - Size of the sockaddr, in bytes
 * @addr: address of either family
 */
int ktcp_addr_length(const union ktcp_addr *addr)
{
	return addr->sa.sa_family == AF_INET6 ? sizeof(addr->in6) :
						sizeof(addr->in);
}

/**
 * ktcp_addr_port() - Port in network byte order
 * @addr: address of either family
 */
__be16 ktcp_addr_port(const union ktcp_addr *addr)
{
	return addr->in.sin_port;
}

/**
 * ktcp_addr_set() - Fill from raw parts
 * @addr: filled, padding included
 * @family: AF_INET or AF_INET6
 * @ip: 4 or 16 bytes in network order
 * @port: in network order
 */
void ktcp_addr_set(union ktcp_addr *addr, sa_family_t family, const void *ip,
		   __be16 port)
{
	memset(addr, 0, sizeof(*addr));
	addr->sa.sa_family = family;
	addr->in.sin_port = port;
	if (family == AF_INET6)
		memcpy(&addr->in6.sin6_addr, ip, sizeof(struct in6_addr));
	else
		memcpy(&addr->in.sin_addr, ip, sizeof(struct in_addr));
}

/**
 * ktcp_addr_cmp() - Total order over addresses and ports
 * @a: one
 * @b: the other
 */
int ktcp_addr_cmp(const union ktcp_addr *a, const union ktcp_addr *b)
{
	/* Padding is always zeroed, see parse_ip() and ktcp_addr_set(). */
	return memcmp(a, b, sizeof(*a));
}

/**
 * ktcp_addr_equal() - Same family, address and port
 * @a: one
 * @b: the other
 */
bool ktcp_addr_equal(const union ktcp_addr *a, const union ktcp_addr *b)
{
	return !ktcp_addr_cmp(a, b);
}

static bool v4_is_unicast(__be32 ip)
{
	return !ipv4_is_zeronet(ip) && !ipv4_is_loopback(ip) &&
	       !ipv4_is_linklocal_169(ip) && !ipv4_is_multicast(ip) &&
	       !ipv4_is_lbcast(ip);
}

/* Each network chooses where the IPv4 address is in these (RFC 8215). */
static bool is_local_translation(const struct in6_addr *ip)
{
	return ip->s6_addr32[0] == htonl(0x0064ff9b) &&
	       ip->s6_addr16[2] == htons(0x0001);
}

static bool v6_is_unicast(const struct in6_addr *ip)
{
	int type = ipv6_addr_type(ip);

	/* ::a.b.c.d, ::ffff:a.b.c.d and ::ffff:0:a.b.c.d are IPv4 in disguise. */
	if (!ip->s6_addr32[0] && !ip->s6_addr32[1])
		return false;
	return (type & IPV6_ADDR_UNICAST) && !is_local_translation(ip) &&
	       !(type & (IPV6_ADDR_LOOPBACK | IPV6_ADDR_LINKLOCAL));
}

/**
 * ktcp_addr_is_unicast() - An address that a host on a network can have
 * @addr: address of either family
 *
 * Loopback, link-local, multicast and unspecified addresses are not. Nor is
 * IPv4 inside IPv6, which would bypass the IPv4 rules, except for the kinds
 * that ktcp_addr_embedded() finds.
 */
bool ktcp_addr_is_unicast(const union ktcp_addr *addr)
{
	if (addr->sa.sa_family == AF_INET)
		return v4_is_unicast(addr->in.sin_addr.s_addr);
	return v6_is_unicast(&addr->in6.sin6_addr);
}

/**
 * ktcp_addr_embedded() - The IPv4 address that packets to an IPv6 address reach
 * @addr: address of either family
 * @inner: set if there is one, with the port of @addr
 *
 * By NAT64 (RFC 6052), 6to4 (RFC 3056), Teredo (RFC 4380), ISATAP (RFC 5214).
 *
 * Return: true if there is one.
 */
bool ktcp_addr_embedded(const union ktcp_addr *addr, union ktcp_addr *inner)
{
	const struct in6_addr *ip = &addr->in6.sin6_addr;
	__be32 v4;

	if (addr->sa.sa_family != AF_INET6)
		return false;
	if (ip->s6_addr32[0] == htonl(0x0064ff9b) && !ip->s6_addr32[1] &&
	    !ip->s6_addr32[2])
		v4 = ip->s6_addr32[3];
	else if (ip->s6_addr16[0] == htons(0x2002))
		memcpy(&v4, &ip->s6_addr[2], sizeof(v4));
	else if (ip->s6_addr32[0] == htonl(0x20010000))
		v4 = ~ip->s6_addr32[3];
	else if ((ip->s6_addr32[2] & htonl(~0x02000000u)) == htonl(0x00005efe))
		v4 = ip->s6_addr32[3];
	else
		return false;
	ktcp_addr_set(inner, AF_INET, &v4, addr->in6.sin6_port);
	return true;
}

/* Would a packet to this address, by device @oif or any, stay on this host? */
static bool v4_stays(struct net *net, __be32 ip, int oif)
{
	struct flowi4 flow = { .daddr = ip, .flowi4_oif = oif };
	struct rtable *route = ip_route_output_key(net, &flow);
	bool stays;

	if (IS_ERR(route))
		return false;
	stays = route->rt_flags & (RTCF_LOCAL | RTCF_BROADCAST);
	ip_rt_put(route);
	return stays;
}

static bool v6_stays(struct net *net, const struct in6_addr *ip, int oif)
{
	struct flowi6 flow = { .daddr = *ip, .flowi6_oif = oif };
	struct dst_entry *dst = ip6_route_output(net, NULL, &flow);
	const struct rt6_info *route = (const struct rt6_info *)dst;
	bool stays;

	stays = !dst->error && route->rt6i_flags & (RTF_LOCAL | RTF_ANYCAST);
	dst_release(dst);
	return stays;
}

static bool packet_stays(struct net *net, const union ktcp_addr *addr, int oif)
{
	if (addr->sa.sa_family == AF_INET)
		return v4_stays(net, addr->in.sin_addr.s_addr, oif);
	return v6_stays(net, &addr->in6.sin6_addr, oif);
}

/* Each VRF has routing tables of its own, and has to be asked by itself. */
static bool stays_in_vrf(struct net *net, const union ktcp_addr *addr)
{
	struct net_device *dev;
	bool found = false;

	rcu_read_lock();
	for_each_netdev_rcu(net, dev) {
		found = netif_is_l3_master(dev) &&
			packet_stays(net, addr, dev->ifindex);
		if (found)
			break;
	}
	rcu_read_unlock();
	return found;
}

/**
 * ktcp_addr_is_local() - Does the address belong to this host?
 * @net: the namespace
 * @addr: address of either family
 *
 * Also if only a local route says so, or if the address is in a VRF. Broadcast
 * and anycast addresses count as local, since this host answers to them, too.
 *
 * Context: any.
 */
bool ktcp_addr_is_local(struct net *net, const union ktcp_addr *addr)
{
	if (addr->sa.sa_family == AF_INET) {
		if (inet_addr_type(net, addr->in.sin_addr.s_addr) !=
		    RTN_UNICAST)
			return true;
	} else if (!ipv6_mod_enabled()) {
		/* Without IPv6 there is no route to look up. */
		return false;
	} else if (ipv6_chk_addr(net, &addr->in6.sin6_addr, NULL, 0)) {
		return true;
	}
	return packet_stays(net, addr, 0) || stays_in_vrf(net, addr);
}

/**
 * ktcp_prefix_parse() - Read "ADDRESS/BITS" or a bare address
 * @text: the prefix, with nothing before or after it
 * @prefix: filled on success
 *
 * Return: 0, -EINVAL if this is no prefix or has bits set beyond its length,
 * -ERANGE for a length that the family does not have.
 */
int ktcp_prefix_parse(const char *text, struct ktcp_prefix *prefix)
{
	const char *slash = strchrnul(text, '/');
	struct ktcp_prefix host;
	u8 most;
	int err;

	err = parse_ip(text, slash - text, &prefix->addr);
	if (err)
		return err;
	most = prefix->addr.sa.sa_family == AF_INET6 ? 128 : 32;
	prefix->bits = most;
	if (*slash && kstrtou8(slash + 1, 10, &prefix->bits))
		return -EINVAL;
	if (prefix->bits > most)
		return -ERANGE;

	/* 10.0.0.1/24 is a typing error: nobody can tell what was meant. */
	host = *prefix;
	if (most == 32)
		host.addr.in.sin_addr.s_addr &= inet_make_mask(prefix->bits);
	else
		ipv6_addr_prefix(&host.addr.in6.sin6_addr,
				 &prefix->addr.in6.sin6_addr, prefix->bits);
	return ktcp_addr_equal(&host.addr, &prefix->addr) ? 0 : -EINVAL;
}

/**
 * ktcp_prefix_equal() - Same address and length
 * @a: one
 * @b: the other
 */
bool ktcp_prefix_equal(const struct ktcp_prefix *a, const struct ktcp_prefix *b)
{
	return a->bits == b->bits && ktcp_addr_equal(&a->addr, &b->addr);
}

/**
 * ktcp_prefix_contains() - Is the address in the prefix, whatever its port?
 * @prefix: of either family
 * @addr: of either family; outside if its family is not the prefix's
 */
bool ktcp_prefix_contains(const struct ktcp_prefix *prefix,
			  const union ktcp_addr *addr)
{
	if (prefix->addr.sa.sa_family != addr->sa.sa_family)
		return false;
	if (addr->sa.sa_family == AF_INET)
		return !((prefix->addr.in.sin_addr.s_addr ^
			  addr->in.sin_addr.s_addr) &
			 inet_make_mask(prefix->bits));
	return ipv6_prefix_equal(&prefix->addr.in6.sin6_addr,
				 &addr->in6.sin6_addr, prefix->bits);
}
