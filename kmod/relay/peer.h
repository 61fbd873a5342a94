/* SPDX-License-Identifier: GPL-2.0-only */
/* Relays that this relay opens legs to. */
#ifndef KTCP_PEER_H
#define KTCP_PEER_H

#include "lib/address.h"

#include <linux/kref.h>

struct ktcp_net;
struct ktcp_peer_pool;
struct ktcp_proc_file;

/**
 * struct ktcp_peer - A peer; never changed once it is in force
 * @ref: held by the table and by each leg being opened
 * @addr: where its relay listener is
 * @low: pooled connections below which the pool is filled
 * @high: pooled connections that it is filled up to
 * @key: number of the key to prove
 * @pool: connections to it; a changed peer keeps the pool
 */
struct ktcp_peer {
	struct kref ref;
	union ktcp_addr addr;
	u32 low;
	u32 high;
	u16 key;
	struct ktcp_peer_pool *pool;
};

struct ktcp_peer *ktcp_peer_get(struct ktcp_net *ktcp,
				const union ktcp_addr *addr);
bool ktcp_peer_exists(struct ktcp_net *ktcp, const union ktcp_addr *addr);
bool ktcp_peer_is_at(struct ktcp_net *ktcp, const union ktcp_addr *addr);
bool ktcp_peer_is_up(struct ktcp_net *ktcp, const union ktcp_addr *addr);
void ktcp_peer_put(struct ktcp_peer *peer);
void ktcp_peer_kick_all(struct ktcp_net *ktcp);
void ktcp_peer_close_all(struct ktcp_net *ktcp);

extern const struct ktcp_proc_file ktcp_peers_file;

#endif /* KTCP_PEER_H */
