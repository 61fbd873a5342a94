// SPDX-License-Identifier: GPL-2.0-only
/*
 * A relay leg of wire version 2 carries one stream after the other. A stream
 * begins with records; transfer.c takes them apart and puts them together. If
 * it is short, it ends by END in both directions, and its leg is used again:
 * this relay's pool gets it back, or it waits for the other relay's next OPEN.
 * If it is long, it goes on without records, and its leg ends with it.
 *
 * Whatever is not the proper end of a stream ends its leg, too.
 */

#include "datapath/framed.h"
#include "control/net.h"
#include "control/stats.h"
#include "lib/socket.h"
#include "relay/key.h"
#include "relay/peer.h"
#include "relay/peer_pool.h"

#include <linux/net.h>
#include <linux/skbuff.h>
#include <net/sock.h>
#include <net/tcp_states.h>

/*
 * How long another relay may use a leg again and again. Its pool gives one up
 * sooner; this is for a relay that should not be here any more.
 */
#define AGE_MAX (60 * 60 * HZ)

static void (*idle)(struct ktcp_net *ktcp, struct socket *near,
		    const struct ktcp_leg *leg);

/**
 * ktcp_framed_on_idle() - Set the function that takes over another relay's leg
 * @fn: the function; called when a stream has ended on a leg that waits for
 * OPEN now; may sleep
 *
 * Context: before the first namespace.
 */
void ktcp_framed_on_idle(void (*fn)(struct ktcp_net *ktcp, struct socket *near,
				    const struct ktcp_leg *leg))
{
	idle = fn;
}

/**
 * ktcp_framed_begin() - OPEN was sent or has come: the stream begins
 * @split: the split, which has not begun to forward
 * @side: the leg, whose version and stream are set
 *
 * Context: may sleep.
 */
void ktcp_framed_begin(struct ktcp_split *split, enum ktcp_side side)
{
	struct ktcp_records *records = &split->records[side];
	const struct ktcp_leg *leg = &split->leg[side];

	if (leg->version == KTCP_WIRE_PLAIN)
		return;
	ktcp_record_start(&records->reader, &records->writer, leg->stream);
	/* If the leg is not used again, records are of no use. */
	records->writer.raw = !READ_ONCE(split->ktcp->settings.reuse);
}

static bool has_records(enum ktcp_framing framing)
{
	return framing != KTCP_FRAMING_NONE;
}

/**
 * ktcp_framed_is_plain() - Does a direction go on without any record?
 * @split: the split
 * @from: the direction
 *
 * Context: any.
 */
bool ktcp_framed_is_plain(const struct ktcp_split *split, enum ktcp_side from)
{
	const struct ktcp_records *to = &split->records[ktcp_side_other(from)];

	return !has_records(READ_ONCE(split->records[from].reader.framing)) &&
	       !has_records(READ_ONCE(to->writer.framing)) &&
	       !READ_ONCE(to->writer.owed);
}

/* Does a direction on the leg go on until FIN? */
static bool is_raw(const struct ktcp_records *records)
{
	return !has_records(READ_ONCE(records->reader.framing)) ||
	       !has_records(READ_ONCE(records->writer.framing));
}

/**
 * ktcp_framed_moved() - Bytes were moved: see what that means for the legs
 * @split: the split
 * @from: the direction
 * @before: how its bytes came before
 *
 * If one direction on a leg goes on without records, the other one should, too:
 * records only cost something then.
 *
 * Context: any, both socks locked.
 */
void ktcp_framed_moved(struct ktcp_split *split, enum ktcp_side from,
		       enum ktcp_framing before)
{
	struct ktcp_records *records = &split->records[from];

	if (records->reader.framing == KTCP_FRAMING_NONE)
		records->writer.raw = true;
	if (records->reader.framing == KTCP_FRAMING_BROKEN &&
	    before != KTCP_FRAMING_BROKEN)
		ktcp_count(split->ktcp, KTCP_RECORDS_REJECTED);
	if (split->peer && is_raw(&split->records[KTCP_FAR]))
		ktcp_peer_pool_keep(split->peer->pool, &split->leg[KTCP_FAR]);
}

/**
 * ktcp_framed_lasts() - The stream is no short one: its leg has to be replaced
 * @split: the split
 *
 * Context: any.
 */
void ktcp_framed_lasts(struct ktcp_split *split)
{
	if (split->peer)
		ktcp_peer_pool_keep(split->peer->pool, &split->leg[KTCP_FAR]);
}

static bool key_is_known(struct ktcp_net *ktcp, u16 id)
{
	struct ktcp_key *key = ktcp_key_get(ktcp, id);

	if (key)
		ktcp_key_put(key);
	return key;
}

/* May another relay use its leg again? */
static bool may_wait(struct ktcp_net *ktcp, const struct sock *sk,
		     const struct ktcp_leg *leg)
{
	/* Nothing may come before the leg is given back. */
	if (!skb_queue_empty_lockless(&sk->sk_receive_queue)) {
		ktcp_count(ktcp, KTCP_RECORDS_REJECTED);
		return false;
	}
	return READ_ONCE(ktcp->settings.reuse) && leg->stream < U16_MAX &&
	       time_before(jiffies, leg->begun + AGE_MAX) &&
	       key_is_known(ktcp, leg->key);
}

/* True if somebody has taken the leg over. */
static bool pass_on(struct ktcp_split *split, enum ktcp_side side,
		    struct socket *sock)
{
	struct ktcp_leg *leg = &split->leg[side];

	if (side == KTCP_FAR)
		return ktcp_peer_pool_give_back(split->peer->pool, sock,
						&split->ticket, leg);
	if (!may_wait(split->ktcp, sock->sk, leg))
		return false;
	idle(split->ktcp, sock, leg);
	return true;
}

/* Have both directions ended by END, and is the leg as it was before them? */
static bool is_idle(const struct ktcp_records *records, const struct sock *sk)
{
	return records->reader.framing == KTCP_FRAMING_ENDED &&
	       records->writer.framing == KTCP_FRAMING_ENDED &&
	       !records->writer.owed && !sk->sk_err &&
	       READ_ONCE(sk->sk_state) == TCP_ESTABLISHED;
}

/**
 * ktcp_framed_release() - A split lets a side go: close it, or pass it on
 * @split: the split, on which nobody works any more
 * @side: the side; its callbacks are its own
 * @ended: the split has come to its proper end
 *
 * Context: may sleep.
 */
void ktcp_framed_release(struct ktcp_split *split, enum ktcp_side side,
			 bool ended)
{
	struct socket *sock = split->sock[side];

	if (ended && is_idle(&split->records[side], sock->sk) &&
	    pass_on(split, side, sock))
		return;
	ktcp_socket_release(sock);
}
