// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another relay's pool may keep hundreds of connections open to this relay.
 * Here they cost nothing but memory: a parked connection gets a thread only
 * when its first byte, or its end, comes.
 */

#include "session/park.h"
#include "control/net.h"
#include "datapath/split.h"
#include "lib/callbacks.h"

#include <linux/bitops.h>
#include <linux/net.h>
#include <net/sock.h>
#include <net/tcp_states.h>

/* Start the thread, but only once, however many callbacks come. */
static void wake_parked(struct ktcp_split *split)
{
	if (test_and_set_bit(0, &split->woken))
		return;
	/* Now, since the connection may have waited for hours. */
	split->job.pooled = READ_ONCE(split->ktcp->settings.thread_pool);
	ktcp_thread_pool_post(&split->job);
}

static void park_data_ready(struct sock *sk)
{
	struct ktcp_split *split = ktcp_callbacks_enter(sk);

	if (split)
		wake_parked(split);
	ktcp_callbacks_leave(sk);
}

static void park_state_change(struct sock *sk)
{
	/* FIN and RST end the wait as a byte does. */
	park_data_ready(sk);
}

static const struct ktcp_callbacks callbacks = {
	.data_ready = park_data_ready,
	.state_change = park_state_change,
};

/**
 * ktcp_park() - Wait for a byte, or the end, of the near connection
 * @split: the split; the caller's reference goes over to @resume
 * @resume: called with @split in a thread; must call ktcp_park_leave() first
 *
 * Context: may sleep.
 */
void ktcp_park(struct ktcp_split *split, ktcp_thread_fn resume)
{
	struct sock *sk = split->sock[KTCP_NEAR]->sk;

	split->job.fn = resume;
	split->job.arg = split;
	/* With the callbacks in place, a thread may run and free the split. */
	ktcp_split_get(split);
	ktcp_callbacks_take(sk, &callbacks, split, &split->parked);
	/* Something may have come before the callbacks were in place. */
	if (!skb_queue_empty_lockless(&sk->sk_receive_queue) ||
	    READ_ONCE(sk->sk_state) != TCP_ESTABLISHED)
		wake_parked(split);
	ktcp_split_put(split);
}

/**
 * ktcp_park_leave() - Give the connection its own callbacks back
 * @split: the split that was parked
 *
 * Context: the thread of @resume, may sleep.
 */
void ktcp_park_leave(struct ktcp_split *split)
{
	struct sock *sk = split->sock[KTCP_NEAR]->sk;

	ktcp_callbacks_give_back(sk, &callbacks, split, &split->parked);
}
