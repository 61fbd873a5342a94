/* SPDX-License-Identifier: GPL-2.0-only */
/* Relays that this relay opens legs to. */
#ifndef KTCP_PEER_H
#define KTCP_PEER_H

#include "address.h"

#include <linux/atomic.h>
#include <linux/kref.h>

struct ktcp_net;
struct ktcp_proc_file;

/**
 * struct ktcp_peer_state - What outlives a change of a peer's settings
 * @ref: held by each struct ktcp_peer of the address
 * @hits: legs taken from the pool
 * @misses: legs that had to be opened afresh
 * @failures: connects and handshakes that failed
 */
struct ktcp_peer_state {
	struct kref ref;
	atomic64_t hits;
	atomic64_t misses;
	atomic64_t failures;
};

/**
 * struct ktcp_peer - A peer; never changed once it is in force
 * @ref: held by the table and by each leg being opened
 * @addr: where its relay listener is
 * @low: pooled connections below which the pool is filled
 * @high: pooled connections that it is filled up to
 * @key: number of the key to prove
 * @state: counters
 */
struct ktcp_peer {
	struct kref ref;
	union ktcp_addr addr;
	u32 low;
	u32 high;
	u16 key;
	struct ktcp_peer_state *state;
};

struct ktcp_peer *ktcp_peer_get(struct ktcp_net *ktcp,
				const union ktcp_addr *addr);
bool ktcp_peer_exists(struct ktcp_net *ktcp, const union ktcp_addr *addr);
void ktcp_peer_put(struct ktcp_peer *peer);

extern const struct ktcp_proc_file ktcp_peers_file;

#endif /* KTCP_PEER_H */
