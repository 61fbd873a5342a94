// SPDX-License-Identifier: GPL-2.0-only
/*
 * The session: all that happens between accept and the first forwarded byte. It
 * finds out whose connection this is and where it goes, and opens the far side.
 * A session that fails ends the near side by RST, so that its end knows at
 * once.
 *
 * Context, unless stated otherwise: a thread of the split, may sleep.
 */

#include "session/session.h"
#include "control/command.h"
#include "control/net.h"
#include "control/procfs.h"
#include "control/stats.h"
#include "datapath/engine.h"
#include "datapath/framed.h"
#include "datapath/refusal.h"
#include "datapath/split.h"
#include "datapath/threads.h"
#include "datapath/trace.h"
#include "datapath/watch.h"
#include "lib/connect.h"
#include "lib/dscp.h"
#include "lib/keepalive.h"
#include "lib/socket.h"
#include "lib/socket_state.h"
#include "lib/thread_pool.h"
#include "lib/turbo.h"
#include "relay/leg.h"
#include "relay/open.h"
#include "relay/peer.h"
#include "relay/peer_pool.h"
#include "relay/route.h"
#include "session/exit.h"
#include "session/flow.h"
#include "session/park.h"
#include "session/proxy.h"
#include "session/rendezvous.h"
#include "session/stranger.h"

#include <linux/seq_file.h>
#include <linux/slab.h>

static void limit_handshake(struct ktcp_net *ktcp, struct socket *sock)
{
	u32 ms = READ_ONCE(ktcp->settings.handshake_timeout_ms);

	ktcp_socket_set_timeout(sock, msecs_to_jiffies(ms));
}

/* Wait until the far side is connected; @data are the first bytes sent. */
static int wait_connected(struct ktcp_split *split, const union ktcp_addr *to,
			  const void *data, size_t size)
{
	struct socket *sock = split->sock[KTCP_FAR];
	struct ktcp_net *ktcp = split->ktcp;
	u32 ms = READ_ONCE(ktcp->settings.connect_timeout_ms);
	int err;

	if (size)
		err = ktcp_socket_connect_with(sock, to, ms, data, size);
	else
		err = ktcp_socket_connect(sock, to, ms);
	if (err)
		ktcp_count(ktcp, KTCP_CONNECT_FAILURES);
	if (err == -EADDRNOTAVAIL)
		ktcp_count(ktcp, KTCP_PORTS_MISSING);
	/* An abort just before the connect did not stop the connect. */
	return err ?: ktcp_split_is_aborted(split) ? -ECANCELED : 0;
}

/* Connect the far side; the split owns the socket before it blocks. */
static int connect_far(struct ktcp_split *split, const union ktcp_addr *to,
		       const void *data, size_t size)
{
	struct ktcp_net *ktcp = split->ktcp;
	struct socket *sock;
	int err;

	err = split->relay[KTCP_FAR] ?
		      ktcp_leg_create(ktcp, to, &sock) :
		      ktcp_socket_create(ktcp->net, to->sa.sa_family, &sock);
	if (err)
		return err;
	err = ktcp_socket_hold(sock);
	if (err) {
		ktcp_socket_release(sock);
		return err;
	}
	if (split->relay[KTCP_FAR])
		ktcp_socket_turbo_prepare(sock,
					  ktcp_settings_turbo_bytes(&ktcp->settings));
	else if (split->flags & KTCP_OPEN_TRANSPARENT)
		err = ktcp_socket_bind_transparent(sock, &split->flow.client);
	if (err) {
		ktcp_socket_release(sock);
		return err;
	}
	ktcp_dscp_set(sock, split->dsfield);
	return ktcp_split_attach(split, KTCP_FAR, sock) ?:
	       wait_connected(split, to, data, size);
}

/**
 * struct opening - The first bytes of a leg to a peer
 * @resume: proves the key by a ticket
 * @open: struct ktcp_wire_open, hands the stream on
 * @open_size: bytes of @open
 *
 * Both records are in one piece, so that one SYN can carry them.
 */
struct opening {
	struct ktcp_wire_resume resume;
	u8 open[KTCP_OPEN_MAX];
	size_t open_size;
};

/*
 * The first or the next stream begins on the far leg: say so in OPEN. Its
 * socket is NULL if it is yet to be connected.
 */
static void begin_stream(struct ktcp_split *split, struct socket *sock,
			 struct opening *opening)
{
	struct ktcp_leg *leg = &split->leg[KTCP_FAR];

	WRITE_ONCE(leg->written, sock ? ktcp_socket_written(sock) : 0);
	leg->stream++;
	ktcp_open_number((void *)opening->open, leg);
	ktcp_framed_begin(split, KTCP_FAR);
	ktcp_peer_pool_lend(split->peer->pool, leg);
}

static void tune_peer(struct ktcp_split *split)
{
	struct socket *sock = split->sock[KTCP_FAR];
	struct ktcp_net *ktcp = split->ktcp;

	ktcp_socket_relay_options(sock);
	ktcp_socket_turbo(sock, ktcp_settings_turbo_cwnd(&ktcp->settings));
	limit_handshake(ktcp, sock);
}

/*
 * Early SYN towards the next relay. With a ticket, the SYN carries all that the
 * peer has to know, and the peer starts the next leg at once (TCP Fast Open,
 * RFC 7413). Each use of a ticket is good once, so a SYN that comes twice does
 * no harm.
 */
static int connect_early(struct ktcp_split *split, struct opening *opening)
{
	struct ktcp_peer_pool *pool = split->peer->pool;
	int err;

	if (!READ_ONCE(split->ktcp->settings.early_syn))
		return -ENOENT;
	err = ktcp_ticket_cache_resume(split->ktcp, &pool->tickets,
				       split->peer->key, &split->ticket,
				       &opening->resume);
	if (err)
		return err;
	ktcp_peer_pool_begin(pool, &split->ticket, &split->leg[KTCP_FAR]);
	begin_stream(split, NULL, opening);
	err = connect_far(split, &pool->addr, &opening->resume,
			  sizeof(opening->resume) + opening->open_size);
	if (!err)
		tune_peer(split);
	return err;
}

/* Open a new leg to a peer, without its pool. */
static int connect_peer(struct ktcp_split *split, struct opening *opening)
{
	struct ktcp_peer_pool *pool = split->peer->pool;
	int err;

	err = connect_early(split, opening);
	if (err != -ENOENT)
		return err;
	err = connect_far(split, &pool->addr, NULL, 0);
	if (err)
		return err;
	tune_peer(split);
	err = ktcp_ticket_cache_prove(split->ktcp, &pool->tickets,
				      split->sock[KTCP_FAR], split->peer->key,
				      &split->ticket);
	if (err)
		return err;
	ktcp_peer_pool_begin(pool, &split->ticket, &split->leg[KTCP_FAR]);
	begin_stream(split, split->sock[KTCP_FAR], opening);
	return ktcp_socket_send(split->sock[KTCP_FAR], opening->open,
				opening->open_size);
}

/* Use a leg that waited in the pool. */
static int use_pooled(struct ktcp_split *split, struct socket *sock,
		      struct opening *opening)
{
	begin_stream(split, sock, opening);
	/* The window may have shrunk since the leg was connected. */
	ktcp_socket_turbo(sock, ktcp_settings_turbo_cwnd(&split->ktcp->settings));
	ktcp_dscp_set(sock, split->dsfield);
	limit_handshake(split->ktcp, sock);
	return ktcp_split_attach(split, KTCP_FAR, sock) ?:
	       ktcp_socket_send(sock, opening->open, opening->open_size);
}

static int take_peer(struct ktcp_split *split, struct opening *opening)
{
	struct ktcp_peer_pool *pool = split->peer->pool;
	struct socket *sock = NULL;
	int err;

	if (READ_ONCE(split->ktcp->settings.conn_pool))
		sock = ktcp_peer_pool_take(pool, &split->ticket,
					   &split->leg[KTCP_FAR]);
	if (sock)
		return use_pooled(split, sock, opening);
	err = connect_peer(split, opening);
	if (err == -EADDRNOTAVAIL)
		ktcp_peer_pool_portless(pool);
	else if (err)
		ktcp_peer_pool_failed(pool);
	if (err == -ECONNRESET && split->ticket.owed)
		ktcp_ticket_cache_refused(&pool->tickets, &split->ticket);
	return err;
}

/* Open the far side to a relay, path[0], which gets the rest of the path. */
static int open_relay(struct ktcp_split *split, const union ktcp_addr *path,
		      u8 hops)
{
	struct ktcp_open open = {
		.target = split->target,
		.source = split->flow.client,
		.flags = split->flags,
		.hops = hops - 1,
	};
	struct opening *opening;
	int err;

	/* Pairs with ktcp_split_abort_unheard(). */
	WRITE_ONCE(split->peer, ktcp_peer_get(split->ktcp, path));
	if (!split->peer)
		return -EHOSTUNREACH;
	opening = kmalloc(sizeof(*opening), GFP_KERNEL);
	if (!opening)
		return -ENOMEM;
	split->relay[KTCP_FAR] = true;
	memcpy(open.hop, path + 1, open.hops * sizeof(*path));
	opening->open_size = ktcp_open_pack(&open, (void *)opening->open);
	err = take_peer(split, opening);
	kfree(opening);
	return err;
}

/* Tell the target, with the first bytes that it gets, who its client is. */
static int tell_client(struct ktcp_split *split)
{
	struct ktcp_proxy_header header;
	size_t size = ktcp_proxy_pack(&header, &split->flow.client,
				      &split->target);

	return ktcp_socket_send(split->sock[KTCP_FAR], &header, size);
}

/* Open the far side to the target. */
static int open_target(struct ktcp_split *split)
{
	int err;

	if (!ktcp_exit_allows(split->ktcp, &split->target)) {
		ktcp_count(split->ktcp, KTCP_EXIT_DENIED);
		return -EACCES;
	}
	err = connect_far(split, &split->target, NULL, 0);
	if (err)
		ktcp_refusal_note(split, err);
	else if (split->flags & KTCP_OPEN_PROXY)
		err = tell_client(split);
	return err;
}

/*
 * Choose a path. If all are down by now, use the route's first one: the gate
 * has taken the flow, so plain routing is no choice any more.
 */
static const struct ktcp_path *choose_path(struct ktcp_split *split,
					   const struct ktcp_route *route)
{
	const struct ktcp_path *path = ktcp_route_choose(split->ktcp, route);

	if (path && path != &route->path[0])
		ktcp_count(split->ktcp, KTCP_FAILOVERS);
	return path ?: &route->path[0];
}

static int open_far(struct ktcp_split *split, const union ktcp_addr *path,
		    u8 hops)
{
	return hops ? open_relay(split, path, hops) : open_target(split);
}

/* Open the far side of a client's flow, as its route says. */
static int open_route(struct ktcp_split *split)
{
	struct ktcp_route *route = ktcp_route_get(split->ktcp,
						  split->flow.mark);
	const struct ktcp_path *path;
	int err;

	if (!route)
		return -ENOENT;
	split->target = route->service ? route->target : split->flow.target;
	split->flags = route->flags;
	path = choose_path(split, route);
	err = open_far(split, path->hop, path->hops);
	ktcp_route_put(route);
	return err;
}

/* The set-up is over: start to forward or, after an error, end the split. */
static void finish_session(struct ktcp_split *split, int err)
{
	trace_ktcp_session(split, err);
	if (!err) {
		if (!ktcp_engine_begin(split))
			ktcp_threads_run(split);
		return;
	}
	if (ktcp_life_is_split(READ_ONCE(split->life)))
		ktcp_count(split->ktcp, KTCP_SPLITS_FAILED);
	ktcp_split_abort(split);
	ktcp_split_put(split);
}

static void run_threads(void *arg)
{
	ktcp_threads_run(arg);
}

static void run_client(void *arg)
{
	struct ktcp_split *split = arg;

	finish_session(split, open_route(split));
}

/**
 * ktcp_session_run_early() - Open the far side while the client still connects
 * @arg: struct ktcp_split; a reference is taken over
 *
 * Context: a thread, may sleep.
 */
void ktcp_session_run_early(void *arg)
{
	struct ktcp_split *split = arg;
	int err = open_route(split);
	bool met;

	mutex_lock(&split->lock);
	met = split->sock[KTCP_NEAR];
	ktcp_life_go(&split->life, err ? KTCP_LIFE_FAILED : KTCP_LIFE_HALF);
	mutex_unlock(&split->lock);
	/* Of the two sides, the one that comes second goes on, see join_half(). */
	if (met)
		finish_session(split, err);
	else
		ktcp_split_put(split);
}

static void run_in_thread(struct ktcp_split *split, ktcp_thread_fn fn)
{
	bool pooled = READ_ONCE(split->ktcp->settings.thread_pool);

	if (!ktcp_thread_pool_run(pooled, fn, split))
		return;
	ktcp_count(split->ktcp, KTCP_THREADS_MISSING);
	finish_session(split, -ENOMEM);
}

/* The client of a half has connected. */
static void join_half(struct ktcp_split *split, struct socket *near)
{
	enum ktcp_life life;
	bool aborted;

	mutex_lock(&split->lock);
	life = READ_ONCE(split->life);
	aborted = ktcp_life_is_aborted(life);
	if (!aborted) {
		split->sock[KTCP_NEAR] = near;
		ktcp_watch_add(split, KTCP_NEAR);
	}
	mutex_unlock(&split->lock);
	ktcp_count(split->ktcp, KTCP_EARLY_SYN_MET);

	if (aborted) {
		ktcp_socket_abort(near);
		ktcp_socket_release(near);
		ktcp_split_put(split);
	} else if (life == KTCP_LIFE_NEW || life == KTCP_LIFE_OPENING) {
		/* The thread that opens the far side will go on. */
		ktcp_split_put(split);
	} else if (life == KTCP_LIFE_HALF) {
		trace_ktcp_session(split, 0);
		if (!ktcp_engine_begin(split))
			run_in_thread(split, run_threads);
	} else {
		finish_session(split, -EHOSTUNREACH);
	}
}

static void refuse_connection(struct socket *near)
{
	ktcp_socket_abort(near);
	ktcp_socket_release(near);
}

static void start_client(struct ktcp_net *ktcp, struct socket *near)
{
	struct ktcp_split *split;
	struct ktcp_flow flow;
	int err;

	if (ktcp_socket_hold(near)) {
		refuse_connection(near);
		return;
	}
	err = ktcp_flow_of(near, &flow);
	split = err ? NULL : ktcp_rendezvous_take(ktcp, &flow);
	if (split) {
		join_half(split, near);
		return;
	}
	if (err || !flow.mark) {
		ktcp_count(ktcp, KTCP_NOT_REDIRECTED);
		refuse_connection(near);
		return;
	}
	split = ktcp_split_create(ktcp, KTCP_ROLE_CLIENT, GFP_KERNEL);
	if (!split) {
		refuse_connection(near);
		return;
	}
	ktcp_split_set_flow(split, &flow);
	split->sock[KTCP_NEAR] = near;
	split->dsfield = ktcp_dscp_of(near);
	ktcp_split_count(split);
	ktcp_watch_add(split, KTCP_NEAR);
	run_in_thread(split, run_client);
}

/* OPEN has come, or the end of the connection: open the next leg. */
static int open_next(struct ktcp_split *split)
{
	struct ktcp_leg *leg = &split->leg[KTCP_NEAR];
	struct socket *near = split->sock[KTCP_NEAR];
	struct ktcp_net *ktcp = split->ktcp;
	struct ktcp_flow flow = {};
	struct ktcp_open open;
	int err;

	limit_handshake(ktcp, near);
	split->dsfield = ktcp_dscp_of(near);
	leg->stream++;
	err = ktcp_open_recv(ktcp, near, leg, &open);
	if (err)
		return err;
	ktcp_framed_begin(split, KTCP_NEAR);
	if (ktcp_split_is_over(ktcp)) {
		ktcp_count(ktcp, KTCP_LIMIT_REFUSED);
		return -EUSERS;
	}
	err = ktcp_socket_hold(near);
	if (err)
		return err;
	ktcp_socket_turbo(near, ktcp_settings_turbo_cwnd(&ktcp->settings));
	flow.client = open.source;
	flow.target = open.target;
	ktcp_split_set_flow(split, &flow);
	split->target = open.target;
	split->flags = open.flags;
	if (!ktcp_split_count(split))
		return -ECANCELED;
	ktcp_watch_add(split, KTCP_NEAR);
	return open_far(split, open.hop, open.hops);
}

static void run_opened(void *arg)
{
	struct ktcp_split *split = arg;

	ktcp_park_leave(split);
	finish_session(split, open_next(split));
}

static void run_relay(void *arg)
{
	struct ktcp_split *split = arg;
	struct ktcp_leg *leg = &split->leg[KTCP_NEAR];
	struct socket *near = split->sock[KTCP_NEAR];
	struct ktcp_net *ktcp = split->ktcp;
	int err;

	ktcp_socket_relay_options(near);
	ktcp_socket_turbo(near, ktcp_settings_turbo_cwnd(&ktcp->settings));
	limit_handshake(ktcp, near);
	err = ktcp_handoff_challenge(ktcp, near, &leg->version, &leg->key);
	ktcp_stranger_leave(ktcp, split->prefix);
	if (!err)
		ktcp_stranger_proved(ktcp, near);
	if (err)
		finish_session(split, err);
	else if (ktcp_socket_has_data(near))
		finish_session(split, open_next(split));
	else
		ktcp_park(split, run_opened);
}

static void start_relay(struct ktcp_net *ktcp, struct socket *near)
{
	struct ktcp_split *split;
	unsigned int prefix;

	if (!ktcp_stranger_admit(ktcp, near, &prefix)) {
		ktcp_count(ktcp, KTCP_HANDSHAKE_FAILURES);
		refuse_connection(near);
		return;
	}
	split = ktcp_split_create(ktcp, KTCP_ROLE_RELAY, GFP_KERNEL);
	if (!split) {
		ktcp_stranger_leave(ktcp, prefix);
		refuse_connection(near);
		return;
	}
	split->prefix = prefix;
	split->sock[KTCP_NEAR] = near;
	split->relay[KTCP_NEAR] = true;
	split->leg[KTCP_NEAR].epoch = READ_ONCE(ktcp->withdrawals);
	split->leg[KTCP_NEAR].begun = jiffies;
	if (!ktcp_thread_pool_run(READ_ONCE(ktcp->settings.thread_pool),
				  run_relay, split))
		return;
	ktcp_count(ktcp, KTCP_THREADS_MISSING);
	ktcp_stranger_leave(ktcp, prefix);
	finish_session(split, -ENOMEM);
}

static int give_back(struct socket *near, const struct ktcp_leg *leg)
{
	struct ktcp_wire_head record;

	ktcp_record_idle(&record, leg->stream);
	ktcp_socket_let_go(near);
	/* Nothing is to be waited for: the leg's queue is all but empty. */
	ktcp_socket_set_timeout(near, 0);
	return ktcp_socket_send(near, &record, sizeof(record));
}

/**
 * ktcp_session_idle() - A stream has ended: its leg waits for the next OPEN
 * @ktcp: the namespace
 * @near: the leg, taken over
 * @leg: what is known of it
 *
 * Context: may sleep.
 */
void ktcp_session_idle(struct ktcp_net *ktcp, struct socket *near,
		       const struct ktcp_leg *leg)
{
	struct ktcp_split *split = ktcp_split_create(ktcp, KTCP_ROLE_RELAY,
						     GFP_KERNEL);

	if (!split) {
		ktcp_socket_release(near);
		return;
	}
	split->leg[KTCP_NEAR] = *leg;
	split->relay[KTCP_NEAR] = true;
	WRITE_ONCE(split->sock[KTCP_NEAR], near);
	/* In the list, it is aborted if its listener goes from now on. */
	if (READ_ONCE(ktcp->withdrawals) != leg->epoch ||
	    give_back(near, leg))
		ktcp_split_put(split);
	else
		ktcp_park(split, run_opened);
}

/**
 * ktcp_session_start() - Start the session of an accepted connection
 * @ktcp: the namespace
 * @role: whose listener accepted it
 * @near: the connection, taken over
 *
 * Context: may sleep.
 */
void ktcp_session_start(struct ktcp_net *ktcp, enum ktcp_role role,
			struct socket *near)
{
	if (role == KTCP_ROLE_CLIENT)
		start_client(ktcp, near);
	else
		start_relay(ktcp, near);
}

static int drain_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;

	seq_printf(seq, "%s\n# splits %d\n",
		   READ_ONCE(ktcp->draining) ? "on" : "off",
		   atomic_read(&ktcp->active));
	return 0;
}

static void *drain_begin(struct ktcp_net *ktcp)
{
	bool *draft = kmalloc(sizeof(*draft), GFP_KERNEL);

	if (draft)
		*draft = ktcp->draining;
	return draft;
}

static int drain_line(struct ktcp_command *cmd, void **draft)
{
	static const char *const names[] = { "off", "on" };
	int choice = ktcp_command_choice(cmd, names, ARRAY_SIZE(names));

	if (choice < 0)
		return choice;
	*(bool *)*draft = choice;
	return ktcp_command_end(cmd);
}

static int drain_commit(struct ktcp_command *cmd, void *draft)
{
	WRITE_ONCE(cmd->ktcp->draining, *(bool *)draft);
	kfree(draft);
	return 0;
}

static void drain_abandon(struct ktcp_net *ktcp, void *draft)
{
	kfree(draft);
}

const struct ktcp_proc_file ktcp_drain_file = {
	.name = "drain",
	.mode = 0600,
	.show = drain_show,
	.line = drain_line,
	.begin = drain_begin,
	.commit = drain_commit,
	.abandon = drain_abandon,
};
