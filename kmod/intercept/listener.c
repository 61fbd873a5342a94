// SPDX-License-Identifier: GPL-2.0-only
/*
 * Listeners. A new connection calls back in softirq, which only queues a work
 * item; the work item accepts all waiting connections and hands each to a
 * session. Modelled on drivers/nvme/target/tcp.c.
 */

#include "intercept/listener.h"
#include "control/command.h"
#include "control/net.h"
#include "control/procfs.h"
#include "control/table.h"
#include "datapath/split.h"
#include "intercept/capture.h"
#include "intercept/gate.h"
#include "lib/callbacks.h"
#include "lib/socket.h"
#include "lib/turbo.h"
#include "relay/route.h"
#include "session/session.h"

#include <linux/kref.h>
#include <linux/net.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <net/sock.h>
#include <net/tcp_states.h>

/* Connections that one run of the work accepts, before others get a turn. */
#define ACCEPT_BUDGET 64
/* Pause after a connection could not be accepted, for lack of memory. */
#define ACCEPT_AGAIN (HZ / 10)

static const sa_family_t families[] = { AF_INET, AF_INET6 };

/**
 * enum way - How flows come to a client listener
 * @REDIRECT: by a NAT rule
 * @TPROXY: by a TPROXY rule, which changes no address
 * @UNTRACKED: by the capture, without a rule and without conntrack
 */
enum way {
	REDIRECT,
	TPROXY,
	UNTRACKED,
};

/**
 * struct port - The listening socket of one family
 * @listener: that it belongs to
 * @sock: the socket, NULL if the host does not have the family
 * @own: the socket's own callbacks
 * @accept: the work item that accepts connections
 */
struct port {
	struct ktcp_listener *listener;
	struct socket *sock;
	struct ktcp_callbacks own;
	struct delayed_work accept;
};

/**
 * struct ktcp_listener - A listening port, for both families
 * @ref: held by the table and by drafts of it
 * @ktcp: its namespace
 * @role: who connects to it, clients or relays
 * @number: the port's number
 * @way: how flows come to it
 * @gated: holds the gate open
 * @port: one for each of families[]
 */
struct ktcp_listener {
	struct kref ref;
	struct ktcp_net *ktcp;
	enum ktcp_role role;
	u16 number;
	enum way way;
	bool gated;
	struct port port[ARRAY_SIZE(families)];
};

static struct workqueue_struct *accept_queue;

static const char *const role_names[] = {
	[KTCP_ROLE_CLIENT] = "client",
	[KTCP_ROLE_RELAY] = "relay",
};

static const char *const way_words[] = {
	[REDIRECT] = "",
	[TPROXY] = "tproxy",
	[UNTRACKED] = "untracked",
};

static void port_data_ready(struct sock *sk)
{
	struct port *port = ktcp_callbacks_enter(sk);

	/* Children inherit this callback until they are accepted. */
	if (port && sk->sk_state == TCP_LISTEN)
		queue_delayed_work(accept_queue, &port->accept, 0);
	ktcp_callbacks_leave(sk);
}

static const struct ktcp_callbacks callbacks = {
	.data_ready = port_data_ready,
};

/* Make the listener, or a connection of it, an ordinary socket again. */
static void give_back(struct port *port, struct socket *sock)
{
	ktcp_callbacks_give_back(sock->sk, &callbacks, port, &port->own);
}

static void port_accept(struct work_struct *work)
{
	struct port *port = container_of(to_delayed_work(work), struct port,
					 accept);
	struct ktcp_listener *listener = port->listener;
	unsigned long pause = 0;
	struct socket *sock;
	unsigned int i;
	int err;

	for (i = 0; i < ACCEPT_BUDGET; i++) {
		err = ktcp_socket_accept(port->sock, &sock);
		if (err == -EAGAIN)
			return;
		if (err) {
			/* Connections that wait already call back no more. */
			pause = ACCEPT_AGAIN;
			break;
		}
		give_back(port, sock);
		ktcp_session_start(listener->ktcp, listener->role, sock);
	}
	queue_delayed_work(accept_queue, &port->accept, pause);
}

static int port_prepare(struct port *port)
{
	if (port->listener->role == KTCP_ROLE_RELAY)
		ktcp_socket_fast_open(port->sock);
	/*
	 * Sockets for REDIRECT stay non-transparent: only for those does NAT
	 * repair early demux, which it must do when a client uses one source
	 * port for several servers.
	 */
	if (port->listener->way == REDIRECT)
		return 0;
	if (port->listener->way == UNTRACKED)
		ktcp_socket_mark(port->sock, KTCP_MARK_TAKEN);
	return ktcp_socket_transparent(port->sock);
}

/* Connections between relays inherit their buffers from the listener. */
static void port_tune(struct port *port)
{
	const struct ktcp_listener *listener = port->listener;

	if (port->sock && listener->role == KTCP_ROLE_RELAY)
		ktcp_socket_turbo_prepare(port->sock,
					  ktcp_settings_turbo_bytes(&listener->ktcp->settings));
}

static int port_open(struct port *port, sa_family_t family)
{
	struct ktcp_listener *listener = port->listener;
	int err;

	INIT_DELAYED_WORK(&port->accept, port_accept);
	err = ktcp_socket_listen(listener->ktcp->net, family, listener->number,
				 &port->sock);
	if (err)
		return err;
	err = port_prepare(port);
	if (err) {
		ktcp_socket_release(port->sock);
		port->sock = NULL;
		return err;
	}
	port_tune(port);
	ktcp_callbacks_take(port->sock->sk, &callbacks, port, &port->own);
	/* For connections that came before the callback was in place. */
	queue_delayed_work(accept_queue, &port->accept, 0);
	return 0;
}

static void port_close(struct port *port)
{
	if (!port->sock)
		return;
	give_back(port, port->sock);
	/* Only the work still queues itself, and this stops that, too. */
	cancel_delayed_work_sync(&port->accept);
	ktcp_socket_release(port->sock);
	port->sock = NULL;
}

/* The untracked listener's socket; of several listeners the first. */
static struct sock *untracked_listener(struct ktcp_net *ktcp,
				       unsigned int family)
{
	const struct ktcp_table *table = rcu_dereference(ktcp->listeners);
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++) {
		const struct ktcp_listener *listener = table->object[i];

		if (listener->way == UNTRACKED && listener->port[family].sock)
			return listener->port[family].sock->sk;
	}
	return NULL;
}

static int flows_open(struct ktcp_listener *listener)
{
	if (listener->way == UNTRACKED)
		return ktcp_capture_open(listener->ktcp, untracked_listener);
	return ktcp_gate_open(listener->ktcp, listener->way == REDIRECT);
}

static void flows_close(struct ktcp_listener *listener)
{
	if (listener->way != UNTRACKED)
		ktcp_gate_close(listener->ktcp, listener->way == REDIRECT);
}

static void listener_close(struct ktcp_listener *listener)
{
	unsigned int i;

	/* First stop the flows, then close the ports. */
	if (listener->gated)
		flows_close(listener);
	listener->gated = false;
	for (i = 0; i < ARRAY_SIZE(families); i++)
		port_close(&listener->port[i]);
	/* Other relays' pools would still use these connections. */
	if (listener->role == KTCP_ROLE_RELAY)
		ktcp_split_abort_waiting(listener->ktcp, listener->number);
}

static void listener_release(struct kref *ref)
{
	struct ktcp_listener *listener =
		container_of(ref, struct ktcp_listener, ref);

	listener_close(listener);
	kfree(listener);
}

static void listener_table_get(void *object)
{
	kref_get(&((struct ktcp_listener *)object)->ref);
}

static void listener_table_put(void *object)
{
	kref_put(&((struct ktcp_listener *)object)->ref, listener_release);
}

static const struct ktcp_table_type listener_table = {
	.get = listener_table_get,
	.put = listener_table_put,
};

/* Listen in both families, if the host has both. */
static int listener_open(struct ktcp_listener *listener)
{
	unsigned int i;
	int err = 0;

	for (i = 0; !err && i < ARRAY_SIZE(families); i++) {
		listener->port[i].listener = listener;
		err = port_open(&listener->port[i], families[i]);
		if (err == -EAFNOSUPPORT)
			err = 0;
	}
	if (!err && listener->role == KTCP_ROLE_CLIENT) {
		err = flows_open(listener);
		listener->gated = !err;
	}
	return err;
}

static int listener_find(const struct ktcp_table *table, u16 number)
{
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++) {
		const struct ktcp_listener *listener = table->object[i];

		if (listener->number == number)
			return i;
	}
	return -ENOENT;
}

static int add_failed(struct ktcp_command *cmd, int err)
{
	if (err == -EADDRINUSE)
		return ktcp_command_fail(cmd, cmd->word[2], -EEXIST,
					 "another program listens on this port");
	return ktcp_command_fail(cmd, cmd->word[2], err,
				 "cannot listen, error %d", -err);
}

/* The table in force, for callers that hold config_lock. */
static struct ktcp_table *table_of(struct ktcp_net *ktcp)
{
	return rcu_dereference_protected(ktcp->listeners,
					 lockdep_is_held(&ktcp->config_lock));
}

/* A listener that one write deletes and adds again keeps its sockets. */
static struct ktcp_listener *listener_in_force(struct ktcp_net *ktcp,
					       enum ktcp_role role, u16 number,
					       enum way way)
{
	const struct ktcp_table *table = table_of(ktcp);
	int place = listener_find(table, number);
	struct ktcp_listener *listener;

	if (place < 0)
		return NULL;
	listener = table->object[place];
	return listener->role == role && listener->way == way ? listener : NULL;
}

static int listener_add(struct ktcp_command *cmd, struct ktcp_table **draft,
			enum ktcp_role role, u16 number, enum way way)
{
	struct ktcp_listener *listener;
	int err;

	if (listener_find(*draft, number) >= 0)
		return ktcp_command_fail(cmd, cmd->word[2], -EEXIST,
					 "this port has a listener already");
	listener = listener_in_force(cmd->ktcp, role, number, way);
	if (listener) {
		listener_table_get(listener);
		return ktcp_table_insert(draft, (*draft)->count, listener);
	}
	listener = kzalloc(sizeof(*listener), GFP_KERNEL);
	if (!listener)
		return ktcp_command_fail(cmd, NULL, -ENOMEM, "no memory");
	kref_init(&listener->ref);
	listener->ktcp = cmd->ktcp;
	listener->role = role;
	listener->number = number;
	listener->way = way;
	err = listener_open(listener);
	if (err) {
		listener_table_put(listener);
		return add_failed(cmd, err);
	}
	return ktcp_table_insert(draft, (*draft)->count, listener);
}

static int listener_del(struct ktcp_command *cmd, struct ktcp_table *draft,
			enum ktcp_role role, u16 number)
{
	int place = listener_find(draft, number);
	struct ktcp_listener *listener;

	if (place >= 0) {
		listener = draft->object[place];
		if (listener->role == role) {
			ktcp_table_remove(draft, place);
			return 0;
		}
	}
	return ktcp_command_fail(cmd, cmd->word[2], -ENOENT,
				 "no such listener");
}

static enum way accept_way(struct ktcp_command *cmd)
{
	if (ktcp_command_accept(cmd, way_words[TPROXY]))
		return TPROXY;
	if (ktcp_command_accept(cmd, way_words[UNTRACKED]))
		return UNTRACKED;
	return REDIRECT;
}

static int listeners_line(struct ktcp_command *cmd, void **draft)
{
	static const char *const verbs[] = { "add", "del" };
	int verb = ktcp_command_choice(cmd, verbs, ARRAY_SIZE(verbs));
	enum way way = REDIRECT;
	int role, err;
	u32 number;

	if (verb < 0)
		return verb;
	role = ktcp_command_choice(cmd, role_names, ARRAY_SIZE(role_names));
	if (role < 0)
		return role;
	err = ktcp_command_u32(cmd, "the port", 1, U16_MAX, &number);
	if (!err && verb == 0 && role == KTCP_ROLE_CLIENT)
		way = accept_way(cmd);
	err = err ?: ktcp_command_end(cmd);
	if (err)
		return err;
	if (verb == 0)
		return listener_add(cmd, (struct ktcp_table **)draft, role,
				    number, way);
	return listener_del(cmd, *draft, role, number);
}

static int listeners_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;
	const struct ktcp_table *table;
	u32 i;

	rcu_read_lock();
	table = rcu_dereference(ktcp->listeners);
	for (i = 0; i < ktcp_table_count(table); i++) {
		const struct ktcp_listener *listener = table->object[i];

		seq_printf(seq, "add %s %u%s%s\n", role_names[listener->role],
			   listener->number,
			   listener->way == REDIRECT ? "" : " ",
			   way_words[listener->way]);
	}
	rcu_read_unlock();
	return 0;
}

/**
 * ktcp_listener_tune_all() - Settings that listeners depend on have changed
 * @ktcp: the namespace
 *
 * Context: may sleep, config_lock held.
 */
void ktcp_listener_tune_all(struct ktcp_net *ktcp)
{
	const struct ktcp_table *table = table_of(ktcp);
	unsigned int family;
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++) {
		struct ktcp_listener *listener = table->object[i];

		for (family = 0; family < ARRAY_SIZE(families); family++)
			port_tune(&listener->port[family]);
	}
}

/**
 * ktcp_listener_close_all() - Accept no more connections
 * @ktcp: the namespace
 *
 * Context: may sleep, config_lock held.
 */
void ktcp_listener_close_all(struct ktcp_net *ktcp)
{
	ktcp_table_publish(&ktcp->listeners, NULL);
}

/**
 * ktcp_listener_init() - Make the queue for the accepting work items
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_listener_init(void)
{
	accept_queue = alloc_workqueue("ktcp_accept", WQ_HIGHPRI | WQ_UNBOUND,
				       0);
	return accept_queue ? 0 : -ENOMEM;
}

/**
 * ktcp_listener_exit() - Free the queue; all listeners are closed
 *
 * Context: may sleep.
 */
void ktcp_listener_exit(void)
{
	destroy_workqueue(accept_queue);
}

const struct ktcp_proc_file ktcp_listeners_file = {
	.name = "listeners",
	.mode = 0600,
	.show = listeners_show,
	.line = listeners_line,
	.table_type = &listener_table,
	.table_slot = offsetof(struct ktcp_net, listeners),
};
