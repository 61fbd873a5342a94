// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the engines "threads" and "event" share. They differ in who moves the
 * bytes of a split, not in what becomes of it.
 *
 * How a direction ends:
 *  - FIN is passed on, and the other direction goes on.
 *  - An error of the side that it reads from is passed on as RST, also after
 *    FIN, but not before the bytes that were read from there have arrived. That
 *    may take as long as the other end goes on to acknowledge; if the other end
 *    has no room, it may take SHUT_MAX.
 *  - An error of the side that it writes to is noticed by the other direction,
 *    which reads from there.
 *  - The direction that ends last ends the split, once all has been sent. That
 *    may take minutes if the other end has no room for the last bytes. TCP
 * would
 *    drop them if the connection were closed before.
 */

#include "datapath/forward.h"
#include "control/net.h"
#include "control/stats.h"
#include "datapath/framed.h"
#include "datapath/trace.h"
#include "lib/socket.h"
#include "lib/socket_state.h"
#include "lib/turbo.h"
#include "lib/unsent.h"
#include "relay/peer.h"
#include "relay/peer_pool.h"

#include <linux/net.h>
#include <net/sock.h>

/* How long an RST waits for an end from which nothing comes meanwhile, */
#define FLUSH_MAX (20 * HZ)
/* and for one without room, at each relay: it may read slowly, or never. */
#define SHUT_MAX (12 * HZ)
/* How long bytes before FIN are kept for an end that takes none of them. */
#define LINGER_MAX (15 * 60 * HZ)

static const enum ktcp_counter byte_counter[KTCP_SIDES] = {
	[KTCP_NEAR] = KTCP_BYTES_UP,
	[KTCP_FAR] = KTCP_BYTES_DOWN,
};

/**
 * ktcp_forward_is_broken() - Has one of the sides ended other than by FINs?
 * @split: the split, with both sides connected
 *
 * Context: any.
 */
bool ktcp_forward_is_broken(const struct ktcp_split *split)
{
	return ktcp_split_is_broken(split, KTCP_NEAR) ||
	       ktcp_split_is_broken(split, KTCP_FAR);
}

/**
 * ktcp_forward_is_flushed() - Has a side got all that it will get before RST?
 * @split: the split
 * @side: the side
 * @flush: what the last call saw, zeroed at first; updated
 *
 * Context: any.
 */
bool ktcp_forward_is_flushed(const struct ktcp_split *split,
			     enum ktcp_side side, struct ktcp_flush *flush)
{
	const struct socket *sock = split->sock[side];
	unsigned long stalled = ktcp_socket_stalled(sock, flush);

	if (ktcp_socket_is_sent(sock) || ktcp_split_is_aborted(split))
		return true;
	if (ktcp_socket_is_shut(sock))
		return stalled >= SHUT_MAX;
	/* A lost segment stalls it, but selective ACKs are no silence. */
	return stalled >= FLUSH_MAX && ktcp_socket_silence(sock) >= FLUSH_MAX;
}

/**
 * ktcp_forward_is_out() - Can a side be closed after FIN?
 * @split: the split
 * @side: the side
 * @flush: what the last call saw, zeroed at first; updated
 *
 * Context: any.
 */
bool ktcp_forward_is_out(const struct ktcp_split *split, enum ktcp_side side,
			 struct ktcp_flush *flush)
{
	const struct socket *sock = split->sock[side];

	return ktcp_socket_is_out(sock) || ktcp_split_is_aborted(split) ||
	       ktcp_socket_stalled(sock, flush) >= LINGER_MAX;
}

/**
 * ktcp_forward_end() - Pass FIN on, unless END has gone in its place
 * @split: the split
 * @from: the direction that has ended
 *
 * Context: may sleep.
 */
void ktcp_forward_end(struct ktcp_split *split, enum ktcp_side from)
{
	enum ktcp_side to = ktcp_side_other(from);

	ktcp_life_go(&split->life, KTCP_LIFE_CLOSING);
	ktcp_count(split->ktcp, KTCP_HALF_CLOSES);
	trace_ktcp_half_close(split, from);
	WRITE_ONCE(split->fin[to], true);
	/* Otherwise END was moved as the last of the direction. */
	if (READ_ONCE(split->records[to].writer.framing) == KTCP_FRAMING_NONE)
		ktcp_socket_end(split->sock[to]);
}

/**
 * ktcp_forward_idle_limit() - How long both ends may acknowledge nothing
 * @split: the split
 *
 * Return: jiffies, 0 for no limit.
 */
long ktcp_forward_idle_limit(const struct ktcp_split *split)
{
	return READ_ONCE(split->ktcp->settings.idle_timeout_s) * HZ;
}

/**
 * ktcp_forward_is_idle() - Have both ends acknowledged nothing for too long?
 * @split: the split
 *
 * Context: any.
 */
bool ktcp_forward_is_idle(const struct ktcp_split *split)
{
	long limit = ktcp_forward_idle_limit(split);

	return limit &&
	       time_after_eq(jiffies, READ_ONCE(split->active) + limit);
}

/**
 * ktcp_forward_account() - Count bytes that were moved
 * @split: the split
 * @from: the direction; nobody else moves bytes in it meanwhile
 * @bytes: how many
 *
 * Context: any.
 */
void ktcp_forward_account(struct ktcp_split *split, enum ktcp_side from,
			  size_t bytes)
{
	WRITE_ONCE(split->bytes[from], split->bytes[from] + bytes);
	ktcp_stats_add(split->ktcp, byte_counter[from], bytes);
	if (split->peer)
		atomic64_add(bytes, from == KTCP_NEAR ?
			     &split->peer->pool->bytes_up :
			     &split->peer->pool->bytes_down);
}

/**
 * ktcp_forward_confirm() - Check the other relay's proof, if it owes one
 * @split: the split; the proof comes before the first byte of the stream
 * @wait: how long to wait for it, jiffies
 *
 * Context: may sleep.
 * Return: 0, or the error of ktcp_handoff_confirm().
 */
int ktcp_forward_confirm(struct ktcp_split *split, long wait)
{
	struct socket *far = split->sock[KTCP_FAR];
	int err;

	if (!split->ticket.owed)
		return 0;
	ktcp_socket_set_recv_timeout(far, wait);
	err = ktcp_handoff_confirm(split->ktcp, far, &split->ticket);
	ktcp_peer_pool_confirmed(split->peer->pool, &split->ticket, err);
	ktcp_socket_set_recv_timeout(far, MAX_SCHEDULE_TIMEOUT);
	return err;
}

/**
 * ktcp_forward_opens() - May the window of a side's leg open further?
 * @split: the split
 * @from: the side
 *
 * While a stream comes in records it is short, and its leg is used again: the
 * next stream begins with the same window.
 *
 * Context: any.
 */
bool ktcp_forward_opens(const struct ktcp_split *split, enum ktcp_side from)
{
	return split->relay[from] && READ_ONCE(split->ktcp->settings.turbo) &&
	       READ_ONCE(split->records[from].reader.framing) ==
		       KTCP_FRAMING_NONE &&
	       !ktcp_sock_turbo_is_open(split->sock[from]->sk);
}

/**
 * ktcp_forward_read() - How much has the program at an end read, if it reads?
 * @split: the split
 * @side: the end
 *
 * Context: any.
 * Return: bytes since the split began to forward; 0 if it does not seem to read
 * now.
 */
u64 ktcp_forward_read(const struct ktcp_split *split, enum ktcp_side side)
{
	const struct socket *sock = split->sock[side];
	u64 offered = ktcp_socket_offered(sock);

	if (offered <= split->offered[side] || ktcp_socket_is_filling(sock))
		return 0;
	return offered - split->offered[side];
}

/* Both socks are locked, in the way that @atomic calls for. */
static enum ktcp_transfer_end move_bytes(struct ktcp_split *split,
					 enum ktcp_side from, bool atomic)
{
	enum ktcp_framing framing = split->records[from].reader.framing;
	enum ktcp_side to = ktcp_side_other(from);
	const struct ktcp_settings *settings = &split->ktcp->settings;
	struct ktcp_transfer transfer = {
		.source = split->sock[from]->sk,
		.sink = split->sock[to]->sk,
		.reader = &split->records[from].reader,
		.writer = &split->records[to].writer,
		.refer = READ_ONCE(settings->datapath) ==
			 KTCP_DATAPATH_ZEROCOPY,
	};
	enum ktcp_transfer_end end;

	if (split->relay[to] && READ_ONCE(settings->turbo))
		ktcp_sock_turbo_refresh(transfer.sink);
	ktcp_sock_bound_unsent(transfer.sink);
	/* Before bytes are taken, which tells the peer of the window. */
	if (ktcp_forward_opens(split, from))
		ktcp_sock_turbo_follow(transfer.source,
				       ktcp_forward_read(split, to),
				       ktcp_socket_min_rtt_us(split->sock[to]));
	end = atomic ? ktcp_transfer_atomic(&transfer) :
		       ktcp_transfer(&transfer);
	if (transfer.bytes)
		ktcp_forward_account(split, from, transfer.bytes);
	ktcp_framed_moved(split, from, framing);
	return end;
}

/**
 * ktcp_forward_move() - Move what there is in a direction, without waiting
 * @split: the split
 * @from: the direction
 *
 * The sides are locked in the same order in both directions: otherwise two
 * callers could wait for each other for ever.
 *
 * Context: may sleep, but does not wait for bytes or room.
 * Return: why it ended.
 */
enum ktcp_transfer_end ktcp_forward_move(struct ktcp_split *split,
					 enum ktcp_side from)
{
	struct sock *near = split->sock[KTCP_NEAR]->sk;
	struct sock *far = split->sock[KTCP_FAR]->sk;
	enum ktcp_transfer_end end;

	lock_sock(near);
	lock_sock_nested(far, SINGLE_DEPTH_NESTING);
	end = move_bytes(split, from, false);
	release_sock(far);
	release_sock(near);
	return end;
}

/**
 * ktcp_forward_move_atomic() - The same in softirq
 * @split: the split
 * @from: the direction
 *
 * Context: softirq; the spinlocks of both socks are held, and nobody owns them.
 * Return: why it ended.
 */
enum ktcp_transfer_end ktcp_forward_move_atomic(struct ktcp_split *split,
						enum ktcp_side from)
{
	return move_bytes(split, from, true);
}
