// SPDX-License-Identifier: GPL-2.0-only
/*
 * Early SYN (paper, improvement 1): the far leg is opened while the client's
 * handshake still takes its round trip. A failure here must not cost the client
 * anything: if a half cannot be started, the far leg is opened when the
 * client's connection is accepted.
 */

#include "intercept/early_syn.h"
#include "control/net.h"
#include "control/stats.h"
#include "datapath/split.h"
#include "datapath/trace.h"
#include "lib/thread_pool.h"
#include "session/rendezvous.h"
#include "session/session.h"

#include <linux/jiffies.h>
#include <linux/workqueue.h>

/* How often halves whose client never came are looked for. */
#define SWEEP HZ

static void drop_halves(struct ktcp_net *ktcp, unsigned long before)
{
	struct ktcp_split *split;

	while ((split = ktcp_rendezvous_expired(ktcp, before))) {
		ktcp_count(ktcp, KTCP_EARLY_SYN_EXPIRED);
		ktcp_split_abort(split);
		ktcp_split_put(split);
	}
}

static void sweep_halves(struct work_struct *work)
{
	struct ktcp_net *ktcp = container_of(to_delayed_work(work),
					     struct ktcp_net, sweep);
	u32 ms = READ_ONCE(ktcp->settings.handshake_timeout_ms);

	drop_halves(ktcp, jiffies - msecs_to_jiffies(ms));
	if (atomic_read(&ktcp->halves))
		schedule_delayed_work(&ktcp->sweep, SWEEP);
}

/**
 * ktcp_early_syn_init() - Prepare a namespace
 * @ktcp: the namespace
 */
void ktcp_early_syn_init(struct ktcp_net *ktcp)
{
	INIT_DELAYED_WORK(&ktcp->sweep, sweep_halves);
}

/* Undo a half that got no thread; its flow is set up at accept. */
static void withdraw_half(struct ktcp_split *split)
{
	ktcp_count(split->ktcp, KTCP_THREADS_MISSING);
	if (ktcp_rendezvous_remove(split))
		ktcp_split_put(split);
	ktcp_split_put(split);
}

/**
 * ktcp_early_syn_start() - A flow's SYN was taken: begin its far leg
 * @ktcp: the namespace
 * @flow: the flow; if an earlier SYN has started a half, nothing is done
 *
 * Context: softirq; never sleeps.
 */
void ktcp_early_syn_start(struct ktcp_net *ktcp, const struct ktcp_flow *flow)
{
	struct ktcp_split *split;

	if (!READ_ONCE(ktcp->settings.early_syn) ||
	    !READ_ONCE(ktcp->settings.thread_pool))
		return;
	split = ktcp_split_create(ktcp, KTCP_ROLE_CLIENT, GFP_ATOMIC);
	if (!split)
		return;
	ktcp_split_set_flow(split, flow);
	/* One reference for the thread, one for the rendezvous. */
	ktcp_split_get(split);
	if (!ktcp_rendezvous_add(split)) {
		ktcp_split_put(split);
		ktcp_split_put(split);
		return;
	}
	ktcp_split_count(split);
	trace_ktcp_early_syn(split);
	if (ktcp_thread_pool_take(ktcp_session_run_early, split)) {
		withdraw_half(split);
		return;
	}
	ktcp_count(ktcp, KTCP_EARLY_SYN);
	if (!delayed_work_pending(&ktcp->sweep))
		schedule_delayed_work(&ktcp->sweep, SWEEP);
}

/**
 * ktcp_early_syn_stop() - End all halves, after the last one was started
 * @ktcp: the namespace, its gate closed
 *
 * Context: may sleep.
 */
void ktcp_early_syn_stop(struct ktcp_net *ktcp)
{
	cancel_delayed_work_sync(&ktcp->sweep);
	/* All halves began before the next tick. */
	drop_halves(ktcp, jiffies + 1);
}
