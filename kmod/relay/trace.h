/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints of peers and their pools; for splits see datapath/trace.h. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ktcp

#if !defined(KTCP_RELAY_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KTCP_RELAY_TRACE_H

#include "relay/peer_pool.h"

#include <linux/tracepoint.h>

TRACE_EVENT(ktcp_pool_take,
	    TP_PROTO(const struct ktcp_peer_pool *pool, bool hit),
	    TP_ARGS(pool, hit),
	    TP_STRUCT__entry(__array(u8, peer, sizeof(union ktcp_addr))
			     __field(u32, ready)
			     __field(bool, hit)),
	    TP_fast_assign(memcpy(__entry->peer, &pool->addr,
				  sizeof(union ktcp_addr));
			   __entry->ready = atomic_read(&pool->nr_ready);
			   __entry->hit = hit;),
	    TP_printk("peer=%pISpc ready=%u %s", __entry->peer,
		      __entry->ready, __entry->hit ? "hit" : "miss")
);

TRACE_EVENT(ktcp_pool_refill,
	    TP_PROTO(const struct ktcp_peer_pool *pool, int wants),
	    TP_ARGS(pool, wants),
	    TP_STRUCT__entry(__array(u8, peer, sizeof(union ktcp_addr))
			     __field(u32, ready)
			     __field(int, wants)),
	    TP_fast_assign(memcpy(__entry->peer, &pool->addr,
				  sizeof(union ktcp_addr));
			   __entry->ready = atomic_read(&pool->nr_ready);
			   __entry->wants = wants;),
	    TP_printk("peer=%pISpc ready=%u opening=%d", __entry->peer,
		      __entry->ready, __entry->wants)
);

TRACE_EVENT(ktcp_peer_state,
	    TP_PROTO(const struct ktcp_peer_pool *pool,
		     enum ktcp_health_state state),
	    TP_ARGS(pool, state),
	    TP_STRUCT__entry(__array(u8, peer, sizeof(union ktcp_addr))
			     __field(int, from)
			     __field(int, to)),
	    TP_fast_assign(memcpy(__entry->peer, &pool->addr,
				  sizeof(union ktcp_addr));
			   __entry->from = pool->health.state;
			   __entry->to = state;),
	    TP_printk("peer=%pISpc from=%s to=%s", __entry->peer,
		      ktcp_health_name(__entry->from),
		      ktcp_health_name(__entry->to))
);

#endif /* KTCP_RELAY_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH relay
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
