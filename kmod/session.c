// SPDX-License-Identifier: GPL-2.0-only
/*
 * What happens between accept and the first forwarded byte: whose connection
 * it is, where it goes, who is asked to carry it there. A session that fails
 * ends the near side by RST, so that its end knows at once.
 *
 * Context, if not said otherwise: a thread of the split, may sleep.
 */

#include "session.h"
#include "command.h"
#include "exit.h"
#include "forward.h"
#include "handoff.h"
#include "net.h"
#include "peer.h"
#include "procfs.h"
#include "route.h"
#include "socket.h"
#include "stats.h"
#include "thread_pool.h"
#include "trace.h"

#include <linux/seq_file.h>
#include <linux/slab.h>

/* Connections of strangers that may be in a handshake at one time. */
#define HANDSHAKES_MAX 256

/* Connect the far side; the split owns the socket before it blocks. */
static int connect_far(struct ktcp_split *split, const union ktcp_addr *to)
{
	struct ktcp_net *ktcp = split->ktcp;
	struct socket *sock;
	int err;

	err = ktcp_socket_create(ktcp->net, to->sa.sa_family, &sock) ?:
	      ktcp_split_attach(split, KTCP_FAR, sock);
	if (err)
		return err;
	err = ktcp_socket_connect(sock, to,
				  READ_ONCE(ktcp->settings.connect_timeout_ms));
	if (err)
		ktcp_count(ktcp, KTCP_CONNECT_FAILURES);
	return err;
}

static void limit_handshake(struct ktcp_net *ktcp, struct socket *sock)
{
	u32 ms = READ_ONCE(ktcp->settings.handshake_timeout_ms);

	ktcp_socket_set_timeout(sock, msecs_to_jiffies(ms));
}

/* A fresh leg to a peer, key proved. */
static int connect_peer(struct ktcp_split *split, const struct ktcp_peer *peer)
{
	struct ktcp_net *ktcp = split->ktcp;
	struct socket *sock;
	int err;

	atomic64_inc(&peer->state->misses);
	ktcp_count(ktcp, KTCP_POOL_MISSES);
	err = connect_far(split, &peer->addr);
	if (err)
		return err;
	sock = split->sock[KTCP_FAR];
	ktcp_socket_relay_options(sock);
	limit_handshake(ktcp, sock);
	return ktcp_handoff_prove(ktcp, sock, peer->key);
}

/* The far side is a relay: hop[0] of the path, which gets the rest of it. */
static int open_relay(struct ktcp_split *split, const union ktcp_addr *path,
		      u8 hops)
{
	struct ktcp_open open = {
		.target = split->flow.target,
		.source = split->flow.client,
		.hops = hops - 1,
	};
	struct ktcp_peer *peer = ktcp_peer_get(split->ktcp, path);
	int err;

	if (!peer)
		return -EHOSTUNREACH;
	memcpy(open.hop, path + 1, open.hops * sizeof(*path));
	err = connect_peer(split, peer);
	if (err)
		atomic64_inc(&peer->state->failures);
	ktcp_peer_put(peer);
	return err ?: ktcp_handoff_send_open(split->sock[KTCP_FAR], &open);
}

/* The far side is the target. */
static int open_target(struct ktcp_split *split)
{
	if (!ktcp_exit_allows(split->ktcp, &split->flow.target)) {
		ktcp_count(split->ktcp, KTCP_EXIT_DENIED);
		return -EACCES;
	}
	return connect_far(split, &split->flow.target);
}

static int open_far(struct ktcp_split *split, const union ktcp_addr *path,
		    u8 hops)
{
	return hops ? open_relay(split, path, hops) : open_target(split);
}

static int begin_client(struct ktcp_split *split)
{
	struct ktcp_net *ktcp = split->ktcp;
	struct ktcp_route *route;
	int err;

	err = ktcp_flow_of(split->sock[KTCP_NEAR], &split->flow);
	if (err) {
		ktcp_count(ktcp, KTCP_NOT_REDIRECTED);
		return err;
	}
	route = ktcp_route_get(ktcp, split->flow.mark);
	if (!route)
		return -ENOENT;
	if (route->service)
		split->flow.target = route->target;
	err = open_far(split, route->hop, route->hops);
	ktcp_route_put(route);
	return err;
}

static int begin_relay(struct ktcp_split *split)
{
	struct socket *near = split->sock[KTCP_NEAR];
	struct ktcp_net *ktcp = split->ktcp;
	struct ktcp_open open;
	int err;

	ktcp_socket_relay_options(near);
	limit_handshake(ktcp, near);
	err = ktcp_handoff_challenge(ktcp, near);
	atomic_dec(&ktcp->handshakes);
	err = err ?: ktcp_handoff_recv_open(ktcp, near, &open);
	if (err)
		return err;
	split->flow.client = open.source;
	split->flow.target = open.target;
	return open_far(split, open.hop, open.hops);
}

static void run_session(void *arg)
{
	struct ktcp_split *split = arg;
	int err = split->role == KTCP_ROLE_CLIENT ? begin_client(split) :
						    begin_relay(split);

	trace_ktcp_session(split, err);
	if (!err) {
		ktcp_forward_run(split);
		return;
	}
	ktcp_count(split->ktcp, KTCP_SPLITS_FAILED);
	ktcp_split_abort(split);
	ktcp_split_put(split);
}

/* A stranger may not occupy a thread when too many strangers do. */
static bool admit(struct ktcp_net *ktcp, enum ktcp_role role)
{
	if (role == KTCP_ROLE_CLIENT)
		return true;
	if (atomic_inc_return(&ktcp->handshakes) <= HANDSHAKES_MAX)
		return true;
	atomic_dec(&ktcp->handshakes);
	ktcp_count(ktcp, KTCP_HANDSHAKE_FAILURES);
	return false;
}

static void withdraw(struct ktcp_net *ktcp, enum ktcp_role role)
{
	if (role == KTCP_ROLE_RELAY)
		atomic_dec(&ktcp->handshakes);
}

/**
 * ktcp_session_start() - Begin with an accepted connection
 * @ktcp: the namespace
 * @role: whose listener accepted it
 * @near: the connection, taken over
 *
 * Context: may sleep.
 */
void ktcp_session_start(struct ktcp_net *ktcp, enum ktcp_role role,
			struct socket *near)
{
	bool pooled = READ_ONCE(ktcp->settings.thread_pool);
	struct ktcp_split *split;

	if (!admit(ktcp, role))
		goto abort_near;
	split = ktcp_split_create(ktcp, role);
	if (!split)
		goto withdraw;
	if (ktcp_split_attach(split, KTCP_NEAR, near)) {
		withdraw(ktcp, role);
		ktcp_split_put(split);
		return;
	}
	if (!ktcp_thread_pool_run(pooled, run_session, split))
		return;
	ktcp_count(ktcp, KTCP_THREADS_MISSING);
	withdraw(ktcp, role);
	ktcp_split_abort(split);
	ktcp_split_put(split);
	return;

withdraw:
	withdraw(ktcp, role);
abort_near:
	ktcp_socket_abort(near);
	ktcp_socket_release(near);
}

static int drain_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;

	seq_printf(seq, "%s\n# splits %d\n",
		   READ_ONCE(ktcp->draining) ? "on" : "off",
		   atomic_read(&ktcp->split_count));
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
