// SPDX-License-Identifier: GPL-2.0-only
/*
 * The engine "threads", as the paper has it: a thread for each direction. With
 * datapath "copy" it has a buffer (16 KiB: from there on it was level, section
 * 3), with "zerocopy" a batch of references. A sender that is full blocks its
 * direction's thread, so nothing is buffered beyond the two sockets and that.
 *
 * How a direction ends:
 *  - FIN is passed on and the other direction goes on;
 *  - an error of the side it reads from is passed on as RST, after what was
 *    read from it has arrived;
 *  - an error of the side it writes to is noticed by the other direction,
 *    which reads from there;
 *  - whoever ends last ends the split.
 */

#include "forward.h"
#include "net.h"
#include "peer.h"
#include "peer_pool.h"
#include "socket.h"
#include "split.h"
#include "stats.h"
#include "thread_pool.h"
#include "trace.h"
#include "zerocopy.h"

#include <linux/delay.h>
#include <linux/slab.h>

/* How long bytes in flight may hold up an RST. */
#define FLUSH_MAX (10 * HZ)
#define FLUSH_POLL_MAX_MS 20

static const enum ktcp_counter byte_counter[KTCP_SIDES] = {
	[KTCP_NEAR] = KTCP_BYTES_UP,
	[KTCP_FAR] = KTCP_BYTES_DOWN,
};

static enum ktcp_side other(enum ktcp_side side)
{
	return side == KTCP_NEAR ? KTCP_FAR : KTCP_NEAR;
}

/* Wait until the other end has all that was sent, or cannot get it. */
static void flush(struct ktcp_split *split, struct socket *sock)
{
	unsigned long deadline = jiffies + FLUSH_MAX;
	unsigned int pause = 1;

	while (!ktcp_socket_is_sent(sock) && !READ_ONCE(split->dead) &&
	       time_before(jiffies, deadline)) {
		msleep(pause);
		pause = min(pause * 2, FLUSH_POLL_MAX_MS);
	}
}

static long idle_limit(struct ktcp_net *ktcp)
{
	return READ_ONCE(ktcp->settings.idle_timeout_s) * HZ;
}

static bool is_idle(struct ktcp_split *split)
{
	return time_after_eq(jiffies, READ_ONCE(split->active) +
				      idle_limit(split->ktcp));
}

static void account(struct ktcp_split *split, enum ktcp_side from, int bytes)
{
	WRITE_ONCE(split->bytes[from], split->bytes[from] + bytes);
	WRITE_ONCE(split->active, jiffies);
	ktcp_stats_add(split->ktcp, byte_counter[from], bytes);
	if (split->peer)
		atomic64_add(bytes, &split->peer->pool->bytes[from]);
}

enum ending {
	ENDED_BY_FIN,
	ENDED_BY_READ_ERROR,
	ENDED_BY_WRITE_ERROR,
	ENDED_BY_IDLE,
};

/* The other relay's proof comes before the first byte of the stream. */
static int confirm(struct ktcp_split *split)
{
	struct socket *far = split->sock[KTCP_FAR];
	struct ktcp_net *ktcp = split->ktcp;
	u32 ms = READ_ONCE(ktcp->settings.handshake_timeout_ms);
	int err;

	if (!split->pass.owed)
		return 0;
	ktcp_socket_set_recv_timeout(far, msecs_to_jiffies(ms));
	err = ktcp_handoff_confirm(ktcp, far, &split->pass);
	if (!err)
		ktcp_pass_trust(&split->peer->pool->passes);
	ktcp_socket_set_recv_timeout(far, idle_limit(ktcp));
	return err;
}

/**
 * struct pipe - What a direction moves bytes with
 * @batch: with datapath zerocopy, else NULL
 * @buffer: with datapath copy, else NULL
 * @size: of @buffer, bytes
 */
struct pipe {
	struct ktcp_batch *batch;
	void *buffer;
	size_t size;
};

/* False: no memory. */
static bool pipe_open(struct pipe *pipe, const struct ktcp_settings *settings)
{
	if (READ_ONCE(settings->datapath) == KTCP_DATAPATH_ZEROCOPY) {
		pipe->batch = ktcp_batch_create();
		return pipe->batch;
	}
	pipe->size = READ_ONCE(settings->buffer_bytes);
	pipe->buffer = kvmalloc(pipe->size, GFP_KERNEL);
	return pipe->buffer;
}

static void pipe_close(struct pipe *pipe)
{
	ktcp_batch_free(pipe->batch);
	kvfree(pipe->buffer);
}

static int pipe_recv(struct pipe *pipe, struct socket *source)
{
	if (pipe->batch)
		return ktcp_batch_recv(pipe->batch, source);
	return ktcp_socket_recv(source, pipe->buffer, pipe->size);
}

static int pipe_send(struct pipe *pipe, struct socket *sink, size_t size)
{
	if (pipe->batch)
		return ktcp_batch_send(pipe->batch, sink);
	return ktcp_socket_send(sink, pipe->buffer, size);
}

static int send(struct ktcp_split *split, enum ktcp_side to, struct pipe *pipe,
		size_t size)
{
	struct socket *sink = split->sock[to];

	if (split->relay[to] && READ_ONCE(split->ktcp->settings.turbo))
		ktcp_socket_turbo_refresh(sink);
	return pipe_send(pipe, sink, size);
}

static enum ending pump(struct ktcp_split *split, enum ktcp_side from,
			struct pipe *pipe)
{
	struct socket *source = split->sock[from];
	int n;

	if (from == KTCP_FAR && confirm(split))
		return ENDED_BY_READ_ERROR;
	for (;;) {
		n = pipe_recv(pipe, source);
		if (!n)
			return ENDED_BY_FIN;
		if (n == -EAGAIN) {
			/* The other direction may be busy meanwhile. */
			if (is_idle(split))
				return ENDED_BY_IDLE;
			continue;
		}
		if (n < 0)
			return ENDED_BY_READ_ERROR;
		if (send(split, other(from), pipe, n))
			return ENDED_BY_WRITE_ERROR;
		account(split, from, n);
	}
}

static void end_direction(struct ktcp_split *split, enum ktcp_side from,
			  enum ending ending)
{
	struct socket *sink = split->sock[other(from)];

	WRITE_ONCE(split->state, KTCP_SPLIT_CLOSING);
	switch (ending) {
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
	struct pipe pipe = {};

	if (pipe_open(&pipe, &split->ktcp->settings))
		end_direction(split, from, pump(split, from, &pipe));
	else
		ktcp_split_abort(split);
	pipe_close(&pipe);
	ktcp_split_put(split);
}

static void run_down(void *arg)
{
	run_direction(arg, KTCP_FAR);
}

/**
 * ktcp_forward_run() - Forward until both directions have ended
 * @split: with both sides connected; a reference is taken over
 *
 * Context: a thread of its own, may sleep for the life of the split.
 */
void ktcp_forward_run(struct ktcp_split *split)
{
	struct ktcp_net *ktcp = split->ktcp;
	long idle = idle_limit(ktcp);
	bool pooled = READ_ONCE(ktcp->settings.thread_pool);
	unsigned int side;

	for (side = 0; side < KTCP_SIDES; side++)
		ktcp_socket_set_timeout(split->sock[side], idle);
	atomic_set(&split->directions, KTCP_SIDES);
	WRITE_ONCE(split->state, KTCP_SPLIT_OPEN);
	trace_ktcp_open(split);

	ktcp_split_get(split);
	if (ktcp_thread_pool_run(pooled, run_down, split)) {
		ktcp_count(ktcp, KTCP_THREADS_MISSING);
		ktcp_split_abort(split);
		ktcp_split_put(split);
	}
	run_direction(split, KTCP_NEAR);
}
