/* SPDX-License-Identifier: GPL-2.0-only */
/* The PROXY protocol, by which a target learns who its client is. */
#ifndef KTCP_PROXY_H
#define KTCP_PROXY_H

#include "lib/address.h"

/**
 * struct ktcp_proxy_header - Header of the PROXY protocol, version 2
 * @signature: twelve bytes that no other protocol begins with
 * @command: version 2, command PROXY
 * @family: family of the addresses, and TCP
 * @length: how many bytes follow
 * @in: IPv4 addresses
 * @in6: IPv6 addresses
 *
 * Source: The PROXY protocol, versions 1 & 2, section 2.2 (haproxy.org).
 */
struct ktcp_proxy_header {
	u8 signature[12];
	u8 command;
	u8 family;
	__be16 length;
	union {
		struct {
			__be32 source;
			__be32 target;
			__be16 source_port;
			__be16 target_port;
		} __packed in;
		struct {
			struct in6_addr source;
			struct in6_addr target;
			__be16 source_port;
			__be16 target_port;
		} __packed in6;
	};
} __packed;

size_t ktcp_proxy_pack(struct ktcp_proxy_header *header,
		       const union ktcp_addr *source,
		       const union ktcp_addr *target);

#endif /* KTCP_PROXY_H */
