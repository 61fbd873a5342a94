// SPDX-License-Identifier: GPL-2.0-only
/* Counters on each CPU, summed when they are read. */

#include "control/stats.h"
#include "control/net.h"
#include "control/procfs.h"

#include <linux/seq_file.h>

static const char *const names[] = {
	[KTCP_SPLITS_OPENED] = "splits_opened_total",
	[KTCP_SPLITS_CLOSED] = "splits_closed_total",
	[KTCP_SPLITS_FAILED] = "splits_failed_total",
	[KTCP_EARLY_SYN] = "early_syn_total",
	[KTCP_EARLY_SYN_LIMITED] = "early_syn_limited_total",
	[KTCP_EARLY_SYN_MET] = "early_syn_met_total",
	[KTCP_EARLY_SYN_EXPIRED] = "early_syn_expired_total",
	[KTCP_POOL_HITS] = "pool_hits_total",
	[KTCP_POOL_MISSES] = "pool_misses_total",
	[KTCP_LEGS_REUSED] = "legs_reused_total",
	[KTCP_HANDSHAKE_FAILURES] = "handshake_failures_total",
	[KTCP_OPEN_REJECTED] = "open_rejected_total",
	[KTCP_RECORDS_REJECTED] = "records_rejected_total",
	[KTCP_EXIT_DENIED] = "exit_denied_total",
	[KTCP_CONNECT_FAILURES] = "connect_failures_total",
	[KTCP_RESETS] = "resets_total",
	[KTCP_HALF_CLOSES] = "half_closes_total",
	[KTCP_IDLE_TIMEOUTS] = "idle_timeouts_total",
	[KTCP_SILENT_RESETS] = "silent_resets_total",
	[KTCP_LIMIT_PASSED] = "limit_passed_total",
	[KTCP_PREFIX_PASSED] = "prefix_passed_total",
	[KTCP_LIMIT_REFUSED] = "limit_refused_total",
	[KTCP_DRAIN_PASSED] = "drain_passed_total",
	[KTCP_DOWN_PASSED] = "down_passed_total",
	[KTCP_UNFIT_PASSED] = "unfit_passed_total",
	[KTCP_REFUSED_PASSED] = "refused_passed_total",
	[KTCP_TARGETS_REFUSED] = "targets_refused_total",
	[KTCP_FAILOVERS] = "failovers_total",
	[KTCP_PEER_DOWNS] = "peer_downs_total",
	[KTCP_NOT_REDIRECTED] = "not_redirected_total",
	[KTCP_THREADS_MISSING] = "threads_missing_total",
	[KTCP_PORTS_MISSING] = "ports_missing_total",
	[KTCP_BYTES_UP] = "bytes_up_total",
	[KTCP_BYTES_DOWN] = "bytes_down_total",
};

/**
 * ktcp_stats_init() - Make the counters of a namespace
 * @ktcp: the namespace
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_stats_init(struct ktcp_net *ktcp)
{
	ktcp->stats = alloc_percpu(struct ktcp_stats);
	return ktcp->stats ? 0 : -ENOMEM;
}

/**
 * ktcp_stats_exit() - Free the counters
 * @ktcp: the namespace
 *
 * Context: may sleep.
 */
void ktcp_stats_exit(struct ktcp_net *ktcp)
{
	free_percpu(ktcp->stats);
}

/**
 * ktcp_stats_add() - Add to a counter
 * @ktcp: the namespace
 * @counter: which counter
 * @n: how many
 *
 * Context: any.
 */
void ktcp_stats_add(struct ktcp_net *ktcp, enum ktcp_counter counter, u64 n)
{
	this_cpu_add(ktcp->stats->counter[counter], n);
}

/**
 * ktcp_count() - Count one
 * @ktcp: the namespace
 * @counter: which counter
 *
 * Context: any.
 */
void ktcp_count(struct ktcp_net *ktcp, enum ktcp_counter counter)
{
	ktcp_stats_add(ktcp, counter, 1);
}

static u64 stats_sum(struct ktcp_net *ktcp, enum ktcp_counter counter)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		/* Other CPUs may count meanwhile: it is never too high. */
		sum += data_race(per_cpu_ptr(ktcp->stats, cpu)->counter[counter]);
	return sum;
}

static int stats_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;
	unsigned int i;

	for (i = 0; i < KTCP_COUNTERS; i++)
		seq_printf(seq, "%s %llu\n", names[i], stats_sum(ktcp, i));
	seq_printf(seq, "splits_active %d\n", atomic_read(&ktcp->active));
	return 0;
}

const struct ktcp_proc_file ktcp_stats_file = {
	.name = "stats",
	.mode = 0400,
	.show = stats_show,
};
