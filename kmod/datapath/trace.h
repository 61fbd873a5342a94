/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Tracepoints: perf record -e 'ktcp:*' shows the life of each split, see
 * docs/procfs-abi.md.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM ktcp

#if !defined(KTCP_DATAPATH_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define KTCP_DATAPATH_TRACE_H

#include "datapath/split.h"

#include <linux/tracepoint.h>

TRACE_EVENT(ktcp_session,
	    TP_PROTO(const struct ktcp_split *split, int err),
	    TP_ARGS(split, err),
	    TP_STRUCT__entry(__field(const void *, split)
			     __array(u8, client, sizeof(union ktcp_addr))
			     __array(u8, target, sizeof(union ktcp_addr))
			     __field(int, err)),
	    TP_fast_assign(__entry->split = split;
			   memcpy(__entry->client, &split->flow.client,
				  sizeof(union ktcp_addr));
			   memcpy(__entry->target, &split->flow.target,
				  sizeof(union ktcp_addr));
			   __entry->err = err;),
	    TP_printk("split=%p %pISpc -> %pISpc err=%d", __entry->split,
		      __entry->client, __entry->target, __entry->err)
);

TRACE_EVENT(ktcp_open,
	    TP_PROTO(const struct ktcp_split *split),
	    TP_ARGS(split),
	    TP_STRUCT__entry(__field(const void *, split)
			     __array(u8, client, sizeof(union ktcp_addr))
			     __array(u8, target, sizeof(union ktcp_addr))
			     __field(unsigned int, setup_us)),
	    TP_fast_assign(__entry->split = split;
			   memcpy(__entry->client, &split->flow.client,
				  sizeof(union ktcp_addr));
			   memcpy(__entry->target, &split->flow.target,
				  sizeof(union ktcp_addr));
			   __entry->setup_us =
				jiffies_to_usecs(jiffies - split->begun);),
	    TP_printk("split=%p %pISpc -> %pISpc setup_us=%u", __entry->split,
		      __entry->client, __entry->target, __entry->setup_us)
);

DECLARE_EVENT_CLASS(ktcp_split,
		    TP_PROTO(const struct ktcp_split *split),
		    TP_ARGS(split),
		    TP_STRUCT__entry(__field(const void *, split)
				     __array(u8, client, sizeof(union ktcp_addr))
				     __array(u8, target, sizeof(union ktcp_addr))),
		    TP_fast_assign(__entry->split = split;
				   memcpy(__entry->client, &split->flow.client,
					  sizeof(union ktcp_addr));
				   memcpy(__entry->target, &split->flow.target,
					  sizeof(union ktcp_addr));),
		    TP_printk("split=%p %pISpc -> %pISpc", __entry->split,
			      __entry->client, __entry->target)
);

DEFINE_EVENT(ktcp_split, ktcp_early_syn,
	     TP_PROTO(const struct ktcp_split *split),
	     TP_ARGS(split)
);

DEFINE_EVENT(ktcp_split, ktcp_abort,
	     TP_PROTO(const struct ktcp_split *split),
	     TP_ARGS(split)
);

TRACE_EVENT(ktcp_half_close,
	    TP_PROTO(const struct ktcp_split *split, enum ktcp_side from),
	    TP_ARGS(split, from),
	    TP_STRUCT__entry(__field(const void *, split)
			     __array(u8, client, sizeof(union ktcp_addr))
			     __array(u8, target, sizeof(union ktcp_addr))
			     __field(bool, up)),
	    TP_fast_assign(__entry->split = split;
			   memcpy(__entry->client, &split->flow.client,
				  sizeof(union ktcp_addr));
			   memcpy(__entry->target, &split->flow.target,
				  sizeof(union ktcp_addr));
			   __entry->up = from == KTCP_NEAR;),
	    TP_printk("split=%p %pISpc -> %pISpc by=%s", __entry->split,
		      __entry->client, __entry->target,
		      __entry->up ? "near" : "far")
);

TRACE_EVENT(ktcp_close,
	    TP_PROTO(const struct ktcp_split *split),
	    TP_ARGS(split),
	    TP_STRUCT__entry(__field(const void *, split)
			     __array(u8, client, sizeof(union ktcp_addr))
			     __array(u8, target, sizeof(union ktcp_addr))
			     __field(u64, up)
			     __field(u64, down)
			     __field(unsigned int, age_ms)
			     __field(bool, broken)),
	    TP_fast_assign(__entry->split = split;
			   memcpy(__entry->client, &split->flow.client,
				  sizeof(union ktcp_addr));
			   memcpy(__entry->target, &split->flow.target,
				  sizeof(union ktcp_addr));
			   __entry->up = split->bytes[KTCP_NEAR];
			   __entry->down = split->bytes[KTCP_FAR];
			   __entry->age_ms =
				jiffies_to_msecs(jiffies - split->begun);
			   __entry->broken = ktcp_life_is_broken(split->life);),
	    TP_printk("split=%p %pISpc -> %pISpc up=%llu down=%llu age_ms=%u end=%s",
		      __entry->split, __entry->client, __entry->target,
		      __entry->up, __entry->down, __entry->age_ms,
		      __entry->broken ? "reset" : "fin")
);

#endif /* KTCP_DATAPATH_TRACE_H */

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH datapath
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
