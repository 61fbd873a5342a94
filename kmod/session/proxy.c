// SPDX-License-Identifier: GPL-2.0-only
/* The header of the PROXY protocol, version 2. */

#include "session/proxy.h"

#include <linux/build_bug.h>
#include <linux/string.h>
#include <net/ipv6.h>

#define COMMAND_PROXY 0x21 /* version 2, PROXY */
#define FAMILY_TCP4 0x11
#define FAMILY_TCP6 0x21

static const u8 signature[] = {
	0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
};

/* Both must be of one family: an IPv4 address beside an IPv6 one is mapped. */
static void to_in6(const union ktcp_addr *addr, struct in6_addr *ip)
{
	if (addr->sa.sa_family == AF_INET6)
		*ip = addr->in6.sin6_addr;
	else
		ipv6_addr_set_v4mapped(addr->in.sin_addr.s_addr, ip);
}

/**
 * ktcp_proxy_pack() - Write the header that goes before a stream
 * @header: filled
 * @source: the client
 * @target: the address that the client is connected to
 *
 * Context: any.
 * Return: size of the header, bytes.
 */
size_t ktcp_proxy_pack(struct ktcp_proxy_header *header,
		       const union ktcp_addr *source,
		       const union ktcp_addr *target)
{
	bool v4 = source->sa.sa_family == AF_INET &&
		  target->sa.sa_family == AF_INET;
	size_t size = v4 ? sizeof(header->in) : sizeof(header->in6);

	static_assert(sizeof(signature) == sizeof(header->signature));
	memcpy(header->signature, signature, sizeof(signature));
	header->command = COMMAND_PROXY;
	header->family = v4 ? FAMILY_TCP4 : FAMILY_TCP6;
	header->length = htons(size);
	if (v4) {
		header->in.source = source->in.sin_addr.s_addr;
		header->in.target = target->in.sin_addr.s_addr;
		header->in.source_port = ktcp_addr_port(source);
		header->in.target_port = ktcp_addr_port(target);
	} else {
		to_in6(source, &header->in6.source);
		to_in6(target, &header->in6.target);
		header->in6.source_port = ktcp_addr_port(source);
		header->in6.target_port = ktcp_addr_port(target);
	}
	return offsetof(struct ktcp_proxy_header, in) + size;
}
