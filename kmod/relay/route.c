// SPDX-License-Identifier: GPL-2.0-only
/* Routes, sorted by their marks, so that a SYN finds its route by bisection. */

#include "relay/route.h"
#include "control/command.h"
#include "control/net.h"
#include "control/procfs.h"
#include "control/table.h"
#include "relay/peer.h"
#include "relay/wire.h"

#include <linux/seq_file.h>
#include <linux/slab.h>

static void route_release(struct kref *ref)
{
	kfree(container_of(ref, struct ktcp_route, ref));
}

/**
 * ktcp_route_put() - Drop a reference
 * @route: the route
 *
 * Context: any.
 */
void ktcp_route_put(struct ktcp_route *route)
{
	kref_put(&route->ref, route_release);
}

static void route_table_get(void *object)
{
	kref_get(&((struct ktcp_route *)object)->ref);
}

static void route_table_put(void *object)
{
	ktcp_route_put(object);
}

static const struct ktcp_table_type route_table = {
	.get = route_table_get,
	.put = route_table_put,
};

/* First place whose mark is not below @mark. */
static u32 route_place(const struct ktcp_table *table, u32 mark)
{
	u32 low = 0, high = ktcp_table_count(table);

	while (low < high) {
		u32 middle = low + (high - low) / 2;
		const struct ktcp_route *route = table->object[middle];

		if (route->mark < mark)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct ktcp_route *route_find(const struct ktcp_table *table, u32 mark)
{
	u32 place = route_place(table, mark);
	struct ktcp_route *route;

	if (place == ktcp_table_count(table))
		return NULL;
	route = table->object[place];
	return route->mark == mark ? route : NULL;
}

/**
 * ktcp_route_get() - Find the route of a mark
 * @ktcp: the namespace
 * @mark: without KTCP_MARK_TAKEN
 *
 * Context: any.
 * Return: the route with a reference, NULL if there is none.
 */
struct ktcp_route *ktcp_route_get(struct ktcp_net *ktcp, u32 mark)
{
	struct ktcp_route *route;

	rcu_read_lock();
	route = route_find(rcu_dereference(ktcp->routes), mark);
	if (route)
		kref_get(&route->ref);
	rcu_read_unlock();
	return route;
}

/**
 * ktcp_route_exists() - Is there a route for the mark?
 * @ktcp: the namespace
 * @mark: without KTCP_MARK_TAKEN
 *
 * Context: any.
 */
bool ktcp_route_exists(struct ktcp_net *ktcp, u32 mark)
{
	bool found;

	rcu_read_lock();
	found = route_find(rcu_dereference(ktcp->routes), mark);
	rcu_read_unlock();
	return found;
}

/**
 * ktcp_route_choose() - The best path of a route that can be used now
 * @ktcp: the namespace
 * @route: the route
 *
 * Context: any.
 * Return: the path, NULL if the first relay of each path is down or no peer.
 */
const struct ktcp_path *ktcp_route_choose(struct ktcp_net *ktcp,
					  const struct ktcp_route *route)
{
	unsigned int i;

	for (i = 0; i < route->paths; i++) {
		const struct ktcp_path *path = &route->path[i];

		if (!path->hops || ktcp_peer_is_up(ktcp, &path->hop[0]))
			return path;
	}
	return NULL;
}

static int add_hop(struct ktcp_command *cmd, struct ktcp_path *path,
		   const char *word)
{
	union ktcp_addr *hop = &path->hop[path->hops];
	unsigned int i;
	int err;

	if (path->hops == KTCP_HOPS_MAX)
		return ktcp_command_fail(cmd, word, -ERANGE,
					 "a path has at most %u relays",
					 KTCP_HOPS_MAX);
	err = ktcp_addr_parse(word, hop);
	if (err)
		return ktcp_command_fail(cmd, word, err,
					 "not ADDRESS:PORT[,ADDRESS:PORT...]");
	if (!ktcp_addr_is_unicast(hop))
		return ktcp_command_fail(cmd, word, -EINVAL,
					 "no relay can have this address");
	for (i = 0; i < path->hops; i++)
		if (ktcp_addr_equal(&path->hop[i], hop))
			return ktcp_command_fail(cmd, word, -EINVAL,
						 "the path loops");
	path->hops++;
	return 0;
}

/* Only its first relay decides whether a path is used: no two may share it. */
static int check_first(struct ktcp_command *cmd, const struct ktcp_route *route,
		       const struct ktcp_path *path, const char *text)
{
	unsigned int i;

	if (!ktcp_peer_exists(cmd->ktcp, &path->hop[0]))
		return ktcp_command_fail(cmd, text, -ENOENT,
					 "the first relay is not a peer; add it to peers first");
	for (i = 0; i < route->paths; i++)
		if (ktcp_addr_equal(&route->path[i].hop[0], &path->hop[0]))
			return ktcp_command_fail(cmd, text, -EINVAL,
						 "the backup's first relay begins another path of this route");
	return 0;
}

static int take_path(struct ktcp_command *cmd, struct ktcp_route *route)
{
	struct ktcp_path *path = &route->path[route->paths];
	const char *text;
	char *rest, *word;
	int err;

	err = ktcp_command_text(cmd, "ADDRESS:PORT[,ADDRESS:PORT...]", &text);
	if (err)
		return err;
	if (route->paths == KTCP_PATHS_MAX)
		return ktcp_command_fail(cmd, text, -ERANGE,
					 "a route has at most %u backups",
					 KTCP_PATHS_MAX - 1);
	rest = (char *)text;
	while (!err && (word = strsep(&rest, ",")))
		err = add_hop(cmd, path, word);
	err = err ?: check_first(cmd, route, path, text);
	if (!err)
		route->paths++;
	return err;
}

static int take_paths(struct ktcp_command *cmd, struct ktcp_route *route)
{
	int err = take_path(cmd, route);

	while (!err && ktcp_command_accept(cmd, "backup"))
		err = take_path(cmd, route);
	return err;
}

static int take_route(struct ktcp_command *cmd, struct ktcp_route *route)
{
	static const char *const kinds[] = { "via", "direct" };
	int kind = ktcp_command_choice(cmd, kinds, ARRAY_SIZE(kinds));
	int err = kind < 0 ? kind : 0;

	if (!err && kind == 0)
		err = take_paths(cmd, route);
	else if (!err)
		route->paths = 1;
	if (!err && ktcp_command_accept(cmd, "target")) {
		route->service = true;
		err = ktcp_command_addr(cmd, &route->target);
	}
	if (!err && ktcp_command_accept(cmd, "proxy"))
		route->flags |= KTCP_OPEN_PROXY;
	if (!err && ktcp_command_accept(cmd, "transparent"))
		route->flags |= KTCP_OPEN_TRANSPARENT;
	return err ?: ktcp_command_end(cmd);
}

static int route_add(struct ktcp_command *cmd, struct ktcp_table **draft,
		     u32 mark)
{
	u32 place = route_place(*draft, mark);
	struct ktcp_route *route;
	int err;

	if (route_find(*draft, mark))
		return ktcp_command_fail(cmd, cmd->word[2], -EEXIST,
					 "this mark has a route already");
	route = kzalloc(sizeof(*route), GFP_KERNEL);
	if (!route)
		return ktcp_command_fail(cmd, NULL, -ENOMEM, "no memory");
	kref_init(&route->ref);
	route->mark = mark;
	err = take_route(cmd, route);
	if (err) {
		ktcp_route_put(route);
		return err;
	}
	return ktcp_table_insert(draft, place, route);
}

static int route_del(struct ktcp_command *cmd, struct ktcp_table *draft,
		     u32 mark)
{
	int err = ktcp_command_end(cmd);

	if (err)
		return err;
	if (!route_find(draft, mark))
		return ktcp_command_fail(cmd, cmd->word[2], -ENOENT,
					 "no route has this mark");
	ktcp_table_remove(draft, route_place(draft, mark));
	return 0;
}

static int routes_line(struct ktcp_command *cmd, void **draft)
{
	static const char *const verbs[] = { "add", "del" };
	static const char *const nouns[] = { "mark" };
	int verb = ktcp_command_choice(cmd, verbs, ARRAY_SIZE(verbs));
	u32 mark;
	int err;

	if (verb < 0)
		return verb;
	err = ktcp_command_choice(cmd, nouns, ARRAY_SIZE(nouns));
	if (!err)
		err = ktcp_command_u32(cmd, "the mark", 1, KTCP_MARK_MAX,
				       &mark);
	if (err)
		return err;
	if (verb == 0)
		return route_add(cmd, (struct ktcp_table **)draft, mark);
	return route_del(cmd, *draft, mark);
}

static void path_print(struct seq_file *seq, const char *word,
		       const struct ktcp_path *path)
{
	unsigned int i;

	for (i = 0; i < path->hops; i++)
		seq_printf(seq, "%s%pISpc", i ? "," : word, &path->hop[i]);
}

static void route_print(struct seq_file *seq, const struct ktcp_route *route)
{
	unsigned int i;

	seq_printf(seq, "add mark 0x%x ", route->mark);
	if (!route->path[0].hops)
		seq_puts(seq, "direct");
	for (i = 0; i < route->paths; i++)
		path_print(seq, i ? " backup " : "via ", &route->path[i]);
	if (route->service)
		seq_printf(seq, " target %pISpc", &route->target);
	if (route->flags & KTCP_OPEN_PROXY)
		seq_puts(seq, " proxy");
	if (route->flags & KTCP_OPEN_TRANSPARENT)
		seq_puts(seq, " transparent");
	seq_putc(seq, '\n');
}

static int routes_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;
	const struct ktcp_table *table;
	u32 i;

	rcu_read_lock();
	table = rcu_dereference(ktcp->routes);
	for (i = 0; i < ktcp_table_count(table); i++)
		route_print(seq, table->object[i]);
	rcu_read_unlock();
	return 0;
}

const struct ktcp_proc_file ktcp_routes_file = {
	.name = "routes",
	.mode = 0600,
	.show = routes_show,
	.line = routes_line,
	.table_type = &route_table,
	.table_slot = offsetof(struct ktcp_net, routes),
};
