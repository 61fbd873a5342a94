// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine "threads" is the paper's: each direction has a thread. With
 * datapath "copy" the thread has a buffer (16 KiB by default: larger ones were
 * no faster, section 3). A full sink blocks the thread, so nothing is buffered
 * except in the two sockets and in this buffer. A stream in records does not use
 * the buffer.
 *
 * Context of all: a thread of the split, may sleep.
 */

#include "datapath/threads.h"
#include "control/net.h"
#include "control/stats.h"
#include "datapath/forward.h"
#include "datapath/framed.h"
#include "datapath/trace.h"
#include "lib/dscp.h"
#include "lib/socket.h"
#include "lib/socket_state.h"
#include "lib/thread_pool.h"
#include "lib/turbo.h"
#include "lib/unsent.h"

#include <linux/delay.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/sock.h>
#include <net/tcp.h>

#define POLL_MAX_MS 250

enum ending {
	GOES_ON,
	ENDED_BY_FIN,
	ENDED_BY_READ_ERROR,
	ENDED_BY_WRITE_ERROR,
	ENDED_BY_MEMORY,
};

typedef bool (*has_come_fn)(const struct ktcp_split *split, enum ktcp_side side,
			    struct ktcp_flush *flush);

/* Wait until a side has got all the bytes that it will get. */
static void wait_for(struct ktcp_split *split, enum ktcp_side side,
		     has_come_fn has_come)
{
	struct ktcp_flush flush = {};
	unsigned int pause = 1;

	while (!has_come(split, side, &flush)) {
		msleep(pause);
		pause = min(pause * 2, POLL_MAX_MS);
	}
}

static enum ending send_all(struct ktcp_split *split, enum ktcp_side to,
			    const void *buffer, size_t size)
{
	struct socket *sink = split->sock[to];

	if (split->relay[to] && READ_ONCE(split->ktcp->settings.turbo))
		ktcp_socket_turbo_refresh(sink);
	ktcp_socket_bound_unsent(sink);
	if (ktcp_socket_send(sink, buffer, size))
		return ENDED_BY_WRITE_ERROR;
	ktcp_forward_account(split, ktcp_side_other(to), size);
	return GOES_ON;
}

/* Wait for bytes from a side, or for its end. */
static enum ending wait_bytes(struct ktcp_split *split, enum ktcp_side from)
{
	struct sock *sk = split->sock[from]->sk;
	long timeout = sock_rcvtimeo(sk, false);

	lock_sock(sk);
	if (!sk->sk_err && !(sk->sk_shutdown & RCV_SHUTDOWN) &&
	    sk->sk_state != TCP_CLOSE)
		sk_wait_data(sk, &timeout, NULL);
	release_sock(sk);
	return GOES_ON;
}

static enum ending copy_some(struct ktcp_split *split, enum ktcp_side from,
			     void *buffer, size_t size)
{
	struct socket *source = split->sock[from];
	enum ktcp_side to = ktcp_side_other(from);
	int n;

	if (!ktcp_socket_has_data(source))
		wait_bytes(split, from);
	if (ktcp_socket_has_data(source))
		ktcp_dscp_set(split->sock[to], ktcp_dscp_of(source));
	if (ktcp_forward_opens(split, from))
		ktcp_socket_turbo_follow(source, ktcp_forward_read(split, to),
					 ktcp_socket_min_rtt_us(split->sock[to]));
	n = ktcp_socket_recv(source, buffer, size);
	if (n > 0)
		return send_all(split, to, buffer, n);
	if (!n)
		return ENDED_BY_FIN;
	return n == -EAGAIN ? GOES_ON : ENDED_BY_READ_ERROR;
}

static enum ending copy_all(struct ktcp_split *split, enum ktcp_side from)
{
	size_t size = READ_ONCE(split->ktcp->settings.buffer_bytes);
	void *buffer = kvmalloc(size, GFP_KERNEL);
	enum ending ending;

	if (!buffer)
		return ENDED_BY_MEMORY;
	do
		ending = copy_some(split, from, buffer, size);
	while (ending == GOES_ON);
	kvfree(buffer);
	return ending;
}

/* Wait until a side has room; if memory is short, wait for a moment. */
static enum ending wait_room(struct ktcp_split *split, enum ktcp_side to)
{
	struct sock *sk = split->sock[to]->sk;
	long timeout = sock_sndtimeo(sk, false);
	int err = 0;

	lock_sock(sk);
	/* If there is room already, this would be a wait for memory. */
	if (!sk_stream_memory_free(sk) || !sk->sk_wmem_queued)
		err = sk_stream_wait_memory(sk, &timeout);
	release_sock(sk);
	cond_resched();
	return err ? ENDED_BY_WRITE_ERROR : GOES_ON;
}

static enum ending refer_some(struct ktcp_split *split, enum ktcp_side from)
{
	switch (ktcp_forward_move(split, from)) {
	case KTCP_SOURCE_EMPTY:
		return wait_bytes(split, from);
	case KTCP_SINK_FULL:
		return wait_room(split, ktcp_side_other(from));
	case KTCP_SOURCE_ENDED:
		return ENDED_BY_FIN;
	case KTCP_SOURCE_BROKEN:
		return ENDED_BY_READ_ERROR;
	case KTCP_SINK_BROKEN:
		return ENDED_BY_WRITE_ERROR;
	case KTCP_SOURCE_HAS_MORE:
		cond_resched();
		break;
	}
	return GOES_ON;
}

static enum ending pump_direction(struct ktcp_split *split, enum ktcp_side from)
{
	const struct ktcp_settings *settings = &split->ktcp->settings;
	u32 ms = READ_ONCE(settings->handshake_timeout_ms);
	enum ending ending;

	if (from == KTCP_FAR &&
	    ktcp_forward_confirm(split, msecs_to_jiffies(ms)))
		return ENDED_BY_READ_ERROR;
	if (READ_ONCE(settings->datapath) == KTCP_DATAPATH_COPY &&
	    ktcp_framed_is_plain(split, from))
		return copy_all(split, from);
	do
		ending = refer_some(split, from);
	while (ending == GOES_ON);
	return ending;
}

static void end_direction(struct ktcp_split *split, enum ktcp_side from,
			  enum ending ending)
{
	enum ktcp_side to = ktcp_side_other(from);

	switch (ending) {
	case GOES_ON:
		break;
	case ENDED_BY_FIN:
		ktcp_forward_end(split, from);
		break;
	case ENDED_BY_READ_ERROR:
		ktcp_life_go(&split->life, KTCP_LIFE_BREAKING);
		wait_for(split, to, ktcp_forward_is_flushed);
		ktcp_socket_abort(split->sock[to]);
		break;
	case ENDED_BY_WRITE_ERROR:
		ktcp_life_go(&split->life, KTCP_LIFE_BREAKING);
		ktcp_socket_abort(split->sock[to]);
		break;
	case ENDED_BY_MEMORY:
		ktcp_split_abort(split);
		break;
	}
	WRITE_ONCE(split->ended[from], true);
}

/* Both directions have ended. */
static void end_split(struct ktcp_split *split)
{
	bool broken = ktcp_life_is_broken(READ_ONCE(split->life));
	enum ktcp_side side;

	for (side = 0; side < KTCP_SIDES; side++)
		wait_for(split, side, broken ? ktcp_forward_is_flushed :
					       ktcp_forward_is_out);
	if (broken)
		ktcp_split_abort(split);
}

/* Run a direction from its start to its end; takes over a reference. */
static void run_direction(struct ktcp_split *split, enum ktcp_side from)
{
	end_direction(split, from, pump_direction(split, from));
	if (atomic_dec_and_test(&split->directions))
		end_split(split);
	ktcp_split_put(split);
}

/* Has the other end got what @side sent before it was reset? */
static bool is_passed_on(struct ktcp_split *split, enum ktcp_side side)
{
	enum ktcp_side to = ktcp_side_other(side);

	/* While the direction runs, its thread may hold more for the other. */
	return (READ_ONCE(split->ended[side]) ||
		!ktcp_socket_is_sent(split->sock[to])) &&
	       ktcp_forward_is_flushed(split, to, &split->watch.end[to].flush);
}

/**
 * ktcp_threads_end() - End a split with a broken side
 * @split: the split
 *
 * The threads do so themselves if they see it. But a thread does not see it
 * while its sink is full, or while it waits for an end that the broken side
 * never passes on.
 *
 * Context: may sleep; never twice at a time for one @split.
 * Return: true if it has to be called again soon.
 */
bool ktcp_threads_end(struct ktcp_split *split)
{
	enum ktcp_side side;

	if (ktcp_split_is_aborted(split))
		return false;
	for (side = 0; side < KTCP_SIDES; side++)
		if (ktcp_split_is_broken(split, side) &&
		    is_passed_on(split, side)) {
			ktcp_split_abort(split);
			return false;
		}
	return true;
}

static void run_down(void *arg)
{
	run_direction(arg, KTCP_FAR);
}

/**
 * ktcp_threads_run() - Forward with two threads, of which this is one
 * @split: the split; a reference is taken over
 */
void ktcp_threads_run(struct ktcp_split *split)
{
	bool pooled = READ_ONCE(split->ktcp->settings.thread_pool);

	atomic_set(&split->directions, KTCP_SIDES);
	ktcp_split_get(split);
	if (ktcp_thread_pool_run(pooled, run_down, split)) {
		ktcp_count(split->ktcp, KTCP_THREADS_MISSING);
		ktcp_split_abort(split);
		ktcp_split_put(split);
	}
	run_direction(split, KTCP_NEAR);
}
