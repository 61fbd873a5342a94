/* SPDX-License-Identifier: GPL-2.0-only */
/* Counters of a namespace; they only ever grow. */
#ifndef KTCP_STATS_H
#define KTCP_STATS_H

#include <linux/percpu.h>
#include <linux/types.h>

struct ktcp_net;
struct ktcp_proc_file;

/* In procfs each has this name in lower case, with "_total". */
enum ktcp_counter {
	KTCP_SPLITS_OPENED,
	KTCP_SPLITS_CLOSED,
	KTCP_SPLITS_FAILED,
	KTCP_EARLY_SYN,
	KTCP_EARLY_SYN_LIMITED,
	KTCP_EARLY_SYN_MET,
	KTCP_EARLY_SYN_EXPIRED,
	KTCP_POOL_HITS,
	KTCP_POOL_MISSES,
	KTCP_LEGS_REUSED,
	KTCP_HANDSHAKE_FAILURES,
	KTCP_OPEN_REJECTED,
	KTCP_RECORDS_REJECTED,
	KTCP_EXIT_DENIED,
	KTCP_CONNECT_FAILURES,
	KTCP_RESETS,
	KTCP_HALF_CLOSES,
	KTCP_IDLE_TIMEOUTS,
	KTCP_SILENT_RESETS,
	KTCP_LIMIT_PASSED,
	KTCP_PREFIX_PASSED,
	KTCP_LIMIT_REFUSED,
	KTCP_DRAIN_PASSED,
	KTCP_DOWN_PASSED,
	KTCP_UNFIT_PASSED,
	KTCP_REFUSED_PASSED,
	KTCP_TARGETS_REFUSED,
	KTCP_FAILOVERS,
	KTCP_PEER_DOWNS,
	KTCP_NOT_REDIRECTED,
	KTCP_THREADS_MISSING,
	KTCP_PORTS_MISSING,
	KTCP_BYTES_UP,
	KTCP_BYTES_DOWN,
	KTCP_COUNTERS,
};

struct ktcp_stats {
	u64 counter[KTCP_COUNTERS];
};

int ktcp_stats_init(struct ktcp_net *ktcp);
void ktcp_stats_exit(struct ktcp_net *ktcp);
void ktcp_stats_add(struct ktcp_net *ktcp, enum ktcp_counter counter, u64 n);
void ktcp_count(struct ktcp_net *ktcp, enum ktcp_counter counter);

extern const struct ktcp_proc_file ktcp_stats_file;

#endif /* KTCP_STATS_H */
