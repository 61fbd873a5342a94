// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine "threads", as the paper has it: a thread for each direction. With
 * datapath "copy" it has a buffer (16 KiB: from there on it was level, section
 * 3). A sender that is full blocks its direction's thread, so nothing is
 * buffered beyond the two sockets and that.
 *
 * Context of all: a thread of the split, may sleep.
 */

#include "forward.h"
#include "net.h"
#include "socket.h"
#include "stats.h"
#include "thread_pool.h"
#include "trace.h"

#include <linux/delay.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/sock.h>
#include <net/tcp.h>

#define FLUSH_POLL_MAX_MS 20

enum ending {
	GOES_ON,
	ENDED_BY_FIN,
	ENDED_BY_READ_ERROR,
	ENDED_BY_WRITE_ERROR,
	ENDED_BY_IDLE,
	ENDED_BY_MEMORY,
};

/* Wait until the other end has all that was sent, or cannot get it. */
static void flush(struct ktcp_split *split, struct socket *sock)
{
	unsigned long deadline = jiffies + KTCP_FLUSH_MAX;
	unsigned int pause = 1;

	while (!ktcp_socket_is_sent(sock) && !READ_ONCE(split->dead) &&
	       time_before(jiffies, deadline)) {
		msleep(pause);
		pause = min(pause * 2, FLUSH_POLL_MAX_MS);
	}
}

static enum ending send(struct ktcp_split *split, enum ktcp_side to,
			const void *buffer, size_t size)
{
	struct socket *sink = split->sock[to];

	if (split->relay[to] && READ_ONCE(split->ktcp->settings.turbo))
		ktcp_socket_turbo_refresh(sink);
	if (ktcp_socket_send(sink, buffer, size))
		return ENDED_BY_WRITE_ERROR;
	ktcp_forward_account(split, ktcp_side_other(to), size);
	return GOES_ON;
}

static enum ending copy_some(struct ktcp_split *split, enum ktcp_side from,
			     void *buffer, size_t size)
{
	int n = ktcp_socket_recv(split->sock[from], buffer, size);

	if (n > 0)
		return send(split, ktcp_side_other(from), buffer, n);
	if (!n)
		return ENDED_BY_FIN;
	if (n != -EAGAIN)
		return ENDED_BY_READ_ERROR;
	/* The other direction may be busy meanwhile. */
	return ktcp_forward_is_idle(split) ? ENDED_BY_IDLE : GOES_ON;
}

static enum ending copy(struct ktcp_split *split, enum ktcp_side from)
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

/* Wait for bytes, or the end, of a side. */
static enum ending wait_bytes(struct ktcp_split *split, enum ktcp_side from)
{
	struct sock *sk = split->sock[from]->sk;
	long timeout = sock_rcvtimeo(sk, false);

	lock_sock(sk);
	if (!sk->sk_err && !(sk->sk_shutdown & RCV_SHUTDOWN) &&
	    sk->sk_state != TCP_CLOSE)
		sk_wait_data(sk, &timeout, NULL);
	release_sock(sk);
	return !timeout && ktcp_forward_is_idle(split) ? ENDED_BY_IDLE :
							 GOES_ON;
}

/* Wait until a side has room, for bytes or, without memory, for a moment. */
static enum ending wait_room(struct ktcp_split *split, enum ktcp_side to)
{
	struct sock *sk = split->sock[to]->sk;
	long timeout = sock_sndtimeo(sk, false);
	int err = 0;

	lock_sock(sk);
	/* With room there already, the kernel's wait would be one for memory. */
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

static enum ending pump(struct ktcp_split *split, enum ktcp_side from)
{
	const struct ktcp_settings *settings = &split->ktcp->settings;
	u32 ms = READ_ONCE(settings->handshake_timeout_ms);
	enum ending ending;

	if (from == KTCP_FAR &&
	    ktcp_forward_confirm(split, msecs_to_jiffies(ms)))
		return ENDED_BY_READ_ERROR;
	if (READ_ONCE(settings->datapath) == KTCP_DATAPATH_COPY)
		return copy(split, from);
	do
		ending = refer_some(split, from);
	while (ending == GOES_ON);
	return ending;
}

static void end_direction(struct ktcp_split *split, enum ktcp_side from,
			  enum ending ending)
{
	struct socket *sink = split->sock[ktcp_side_other(from)];

	WRITE_ONCE(split->state, KTCP_SPLIT_CLOSING);
	switch (ending) {
	case GOES_ON:
		break;
	case ENDED_BY_FIN:
		ktcp_count(split->ktcp, KTCP_HALF_CLOSES);
		trace_ktcp_half_close(split, from);
		ktcp_socket_end(sink);
		break;
	case ENDED_BY_READ_ERROR:
		WRITE_ONCE(split->broken, true);
		flush(split, sink);
		ktcp_socket_abort(sink);
		break;
	case ENDED_BY_WRITE_ERROR:
		WRITE_ONCE(split->broken, true);
		/* Dead already, unless it only took nothing for too long. */
		ktcp_socket_abort(sink);
		break;
	case ENDED_BY_IDLE:
		ktcp_count(split->ktcp, KTCP_IDLE_TIMEOUTS);
		fallthrough;
	case ENDED_BY_MEMORY:
		ktcp_split_abort(split);
		break;
	}

	if (!atomic_dec_and_test(&split->directions) ||
	    !READ_ONCE(split->broken))
		return;
	flush(split, split->sock[KTCP_NEAR]);
	flush(split, split->sock[KTCP_FAR]);
	ktcp_split_abort(split);
}

/* One direction from its start to its end; takes over a reference. */
static void run_direction(struct ktcp_split *split, enum ktcp_side from)
{
	end_direction(split, from, pump(split, from));
	ktcp_split_put(split);
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
