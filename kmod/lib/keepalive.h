/* SPDX-License-Identifier: GPL-2.0-only */
/* TCP keepalive of legs. */
#ifndef KTCP_KEEPALIVE_H
#define KTCP_KEEPALIVE_H

#include <linux/types.h>

struct socket;

void ktcp_socket_relay_options(struct socket *sock);
void ktcp_socket_keepalive(struct socket *sock, u32 every_s);
void ktcp_socket_watch(struct socket *sock, u32 timeout_ms);

#endif /* KTCP_KEEPALIVE_H */
