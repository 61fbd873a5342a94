/* SPDX-License-Identifier: GPL-2.0-only */
/* Connecting a socket. */
#ifndef KTCP_CONNECT_H
#define KTCP_CONNECT_H

#include "lib/address.h"

struct socket;

int ktcp_socket_bind_transparent(struct socket *sock,
				 const union ktcp_addr *addr);
int ktcp_socket_bind_source(struct socket *sock,
			    const union ktcp_addr *source);
int ktcp_socket_connect(struct socket *sock, const union ktcp_addr *to,
			u32 timeout_ms);
int ktcp_socket_connect_start(struct socket *sock, const union ktcp_addr *to);
int ktcp_socket_connect_with(struct socket *sock, const union ktcp_addr *to,
			     u32 timeout_ms, const void *data, size_t size);

#endif /* KTCP_CONNECT_H */
