// SPDX-License-Identifier: GPL-2.0-only
/*
 * A client's handshake with a relay succeeds whether or not its target is
 * there. If it is not, the client learns that by an RST, which comes too late
 * for a client that tries several addresses, or checks whether a server is up.
 * So a target that refused is remembered for a while. Flows to it then pass
 * unsplit, and see the truth. This holds only for the client prefix that saw
 * the refusal, so that nobody can make the flows of others pass unsplit.
 *
 * What an exit found comes to us as the RST of a leg that has brought no byte.
 * A leg that was dead already looks the same; then flows pass unsplit, too.
 */

#include "datapath/refusal.h"
#include "control/net.h"
#include "control/stats.h"
#include "datapath/split.h"
#include "lib/recall.h"
#include "lib/socket_state.h"
#include "relay/peer.h"
#include "relay/peer_pool.h"
#include "relay/wire.h"

#include <linux/net.h>
#include <net/sock.h>

/* The client's prefix and the target's port, in one number. */
static u32 beside(const struct ktcp_net *ktcp, const struct ktcp_flow *flow)
{
	return ktcp_share_slot(&ktcp->prefix_key, &flow->client) << 16 |
	       ntohs(ktcp_addr_port(&flow->target));
}

static bool is_refusal(int err)
{
	return err == -ECONNREFUSED || err == -ETIMEDOUT ||
	       err == -EHOSTUNREACH || err == -ENETUNREACH ||
	       err == -EADDRNOTAVAIL; /* no port was left */
}

/* In service mode the target is not the one that the client's SYN named. */
static bool is_clients_own(const struct ktcp_split *split)
{
	return split->role == KTCP_ROLE_CLIENT &&
	       ktcp_addr_equal(&split->target, &split->flow.target);
}

static void note_refusal(struct ktcp_split *split)
{
	u32 hold_s = READ_ONCE(split->ktcp->settings.refused_hold_s);

	if (!hold_s || !is_clients_own(split))
		return;
	ktcp_recall_note(&split->ktcp->refused, &split->flow.target,
			 beside(split->ktcp, &split->flow),
			 (unsigned long)hold_s * HZ);
	ktcp_count(split->ktcp, KTCP_TARGETS_REFUSED);
}

/**
 * ktcp_refusal_note() - This relay could not connect to a target
 * @split: the split
 * @err: the error of connect(2); nothing is noted if that is no refusal
 *
 * Context: any.
 */
void ktcp_refusal_note(struct ktcp_split *split, int err)
{
	if (is_refusal(err))
		note_refusal(split);
}

/* Has no byte of the stream come? The other relay's proof does not count. */
static bool brought_nothing(const struct ktcp_split *split)
{
	u32 unread = ktcp_socket_unread(split->sock[KTCP_FAR]);
	u32 proof = READ_ONCE(split->ticket.owed) ?
			    sizeof(struct ktcp_wire_confirm) : 0;

	return !READ_ONCE(split->bytes[KTCP_FAR]) && unread <= proof &&
	       !READ_ONCE(split->records[KTCP_FAR].reader.heard);
}

/* If it began longer ago, a connection has ended: no connect has failed. */
static bool has_just_begun(const struct ktcp_split *split)
{
	u32 ms = READ_ONCE(split->ktcp->settings.connect_timeout_ms);

	return time_before(jiffies, READ_ONCE(split->begun) +
				    2 * msecs_to_jiffies(ms));
}

/**
 * ktcp_refusal_look() - The far connection has ended: did its target refuse?
 * @split: the split
 *
 * Context: any; its far sock is locked.
 */
void ktcp_refusal_look(struct ktcp_split *split)
{
	const struct socket *far = split->sock[KTCP_FAR];
	const struct sock *sk = far->sk;

	if (sk->sk_state != TCP_CLOSE || sk->sk_err != ECONNRESET ||
	    !split->relay[KTCP_FAR] || !brought_nothing(split) ||
	    !has_just_begun(split))
		return;
	/* If the peer refused the leg, that says nothing about the target. */
	if (ktcp_peer_pool_refused(split->peer->pool, far, &split->ticket))
		return;
	if (!READ_ONCE(split->fin[KTCP_FAR]))
		note_refusal(split);
}

/**
 * ktcp_refusal_awaits() - Did a flow's target refuse a moment ago?
 * @ktcp: the namespace
 * @flow: the flow
 *
 * Context: any.
 */
bool ktcp_refusal_awaits(struct ktcp_net *ktcp, const struct ktcp_flow *flow)
{
	return READ_ONCE(ktcp->settings.refused_hold_s) &&
	       ktcp_recall_has(&ktcp->refused, &flow->target,
			       beside(ktcp, flow));
}
