/* SPDX-License-Identifier: GPL-2.0-only */
/* What TCP knows of a connection. */
#ifndef KTCP_SOCKET_STATE_H
#define KTCP_SOCKET_STATE_H

#include <linux/types.h>

struct socket;

/**
 * struct ktcp_flush - How far the other end has acknowledged the last bytes
 * @una: the first byte that it had not acknowledged
 * @since: jiffies when this was first seen; 0 before the first look
 */
struct ktcp_flush {
	u32 una;
	unsigned long since;
};

u32 ktcp_socket_rtt_us(const struct socket *sock);
u32 ktcp_socket_min_rtt_us(const struct socket *sock);
bool ktcp_socket_has_data(const struct socket *sock);
u32 ktcp_socket_unread(const struct socket *sock);
bool ktcp_socket_has_bytes(const struct socket *sock, u32 count);
u64 ktcp_socket_offered(const struct socket *sock);
bool ktcp_socket_is_filling(const struct socket *sock);
u64 ktcp_socket_written(struct socket *sock);
bool ktcp_socket_is_unheard(const struct socket *sock, u64 written);
bool ktcp_socket_is_sent(const struct socket *sock);
bool ktcp_socket_is_out(const struct socket *sock);
bool ktcp_socket_is_shut(const struct socket *sock);
unsigned long ktcp_socket_silence(const struct socket *sock);
bool ktcp_socket_is_broken(const struct socket *sock, bool fin);
bool ktcp_socket_is_unknown(const struct socket *sock);
unsigned long ktcp_socket_stalled(const struct socket *sock,
				  struct ktcp_flush *flush);

#endif /* KTCP_SOCKET_STATE_H */
