/* SPDX-License-Identifier: GPL-2.0-only */
/* The settings of a namespace, which can change at run time. */
#ifndef KTCP_SETTINGS_H
#define KTCP_SETTINGS_H

#include "lib/address.h"

#include <linux/compiler.h>
#include <linux/types.h>

struct ktcp_net;
struct ktcp_proc_file;

enum ktcp_engine {
	KTCP_ENGINE_THREADS,
	KTCP_ENGINE_EVENT,
};

enum ktcp_datapath {
	KTCP_DATAPATH_COPY,
	KTCP_DATAPATH_ZEROCOPY,
};

/**
 * struct ktcp_settings - Values in force; read them with READ_ONCE()
 * @early_syn: start the far leg at the client's SYN
 * @thread_pool: take threads from the pool; if off, make one for each leg
 * @conn_pool: take relay legs from pre-established connections
 * @turbo: large windows on relay legs from the first byte
 * @engine: enum ktcp_engine
 * @datapath: enum ktcp_datapath
 * @reuse: relay legs carry one stream after the other
 * @buffer_bytes: forwarding buffer of one direction, bytes
 * @turbo_cwnd: initial congestion window of relay legs, segments
 * @relay_buffer_bytes: socket buffers of relay legs, bytes
 * @early_syn_max: how many halves may wait for their client
 * @handshake_timeout_ms: how long a handshake between relays may take
 * @connect_timeout_ms: how long a connect may take
 * @peer_timeout_ms: silence after which a peer counts as gone
 * @peer_hold_ms: how long a peer must be back before it is used again
 * @keepalive_s: silence after which clients and targets are probed, 0: never
 * @idle_timeout_s: a split is reset when no end acknowledges a byte for this
 * long, 0: never
 * @max_splits: how many splits the namespace may have
 * @prefix_percent: the share of them that one client prefix may have
 * @refused_hold_s: how long flows to a target that refused pass, 0: never
 * @mark_mask: bits of marks that name routes; the others are not ours
 * @source4: address that connections to IPv4 peers come from, in network order;
 * 0: any
 * @source6: the same for IPv6
 */
struct ktcp_settings {
	u32 early_syn;
	u32 thread_pool;
	u32 conn_pool;
	u32 turbo;
	u32 engine;
	u32 datapath;
	u32 reuse;
	u32 buffer_bytes;
	u32 turbo_cwnd;
	u32 relay_buffer_bytes;
	u32 early_syn_max;
	u32 handshake_timeout_ms;
	u32 connect_timeout_ms;
	u32 peer_timeout_ms;
	u32 peer_hold_ms;
	u32 keepalive_s;
	u32 idle_timeout_s;
	u32 max_splits;
	u32 prefix_percent;
	u32 refused_hold_s;
	u32 mark_mask;
	u32 source4[1];
	u32 source6[4];
};

/* For ktcp_socket_turbo(). */
static inline u32 ktcp_settings_turbo_cwnd(const struct ktcp_settings *settings)
{
	return READ_ONCE(settings->turbo) ? READ_ONCE(settings->turbo_cwnd) : 0;
}

/* For ktcp_socket_turbo_prepare(). */
static inline u32 ktcp_settings_turbo_bytes(const struct ktcp_settings *settings)
{
	return READ_ONCE(settings->turbo) ?
	       READ_ONCE(settings->relay_buffer_bytes) : 0;
}

void ktcp_settings_init(struct ktcp_settings *settings);
bool ktcp_settings_source(const struct ktcp_settings *settings,
			  sa_family_t family, union ktcp_addr *source);
void ktcp_settings_on_change(void (*fn)(struct ktcp_net *ktcp));

extern const struct ktcp_proc_file ktcp_settings_file;

#endif /* KTCP_SETTINGS_H */
