// SPDX-License-Identifier: GPL-2.0-only
/* The peers file: addresses, watermarks and keys of other relays. */

#include "relay/peer.h"
#include "control/command.h"
#include "control/net.h"
#include "control/procfs.h"
#include "control/table.h"
#include "relay/peer_pool.h"

#include <linux/seq_file.h>
#include <linux/slab.h>

#define LOW_DEFAULT 16
#define HIGH_DEFAULT 64
#define MARK_MAX 4096

static void peer_release(struct kref *ref)
{
	struct ktcp_peer *peer = container_of(ref, struct ktcp_peer, ref);

	if (peer->pool)
		ktcp_peer_pool_put(peer->pool);
	kfree(peer);
}

/**
 * ktcp_peer_put() - Drop a reference
 * @peer: the peer
 *
 * Context: any.
 */
void ktcp_peer_put(struct ktcp_peer *peer)
{
	kref_put(&peer->ref, peer_release);
}

static void peer_table_get(void *object)
{
	kref_get(&((struct ktcp_peer *)object)->ref);
}

static void peer_table_put(void *object)
{
	ktcp_peer_put(object);
}

static const struct ktcp_table_type peer_table = {
	.get = peer_table_get,
	.put = peer_table_put,
};

static int peer_find(const struct ktcp_table *table,
		     const union ktcp_addr *addr)
{
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++) {
		const struct ktcp_peer *peer = table->object[i];

		if (ktcp_addr_equal(&peer->addr, addr))
			return i;
	}
	return -ENOENT;
}

/**
 * ktcp_peer_get() - Find a peer
 * @ktcp: the namespace
 * @addr: address and port of its relay listener
 *
 * Context: any.
 * Return: the peer with a reference, NULL if there is none.
 */
struct ktcp_peer *ktcp_peer_get(struct ktcp_net *ktcp,
				const union ktcp_addr *addr)
{
	struct ktcp_peer *peer = NULL;
	struct ktcp_table *table;
	int i;

	rcu_read_lock();
	table = rcu_dereference(ktcp->peers);
	i = peer_find(table, addr);
	if (i >= 0) {
		peer = table->object[i];
		kref_get(&peer->ref);
	}
	rcu_read_unlock();
	return peer;
}

/**
 * ktcp_peer_exists() - Is the address that of a peer?
 * @ktcp: the namespace
 * @addr: address and port
 *
 * Context: any.
 */
bool ktcp_peer_exists(struct ktcp_net *ktcp, const union ktcp_addr *addr)
{
	bool found;

	rcu_read_lock();
	found = peer_find(rcu_dereference(ktcp->peers), addr) >= 0;
	rcu_read_unlock();
	return found;
}

/**
 * ktcp_peer_is_at() - Does a peer have the address, whatever its port?
 * @ktcp: the namespace
 * @addr: the address
 *
 * Context: any.
 */
bool ktcp_peer_is_at(struct ktcp_net *ktcp, const union ktcp_addr *addr)
{
	union ktcp_addr with_port = *addr;
	const struct ktcp_table *table;
	bool found = false;
	u32 i;

	rcu_read_lock();
	table = rcu_dereference(ktcp->peers);
	for (i = 0; !found && i < ktcp_table_count(table); i++) {
		const struct ktcp_peer *peer = table->object[i];

		with_port.in.sin_port = ktcp_addr_port(&peer->addr);
		found = ktcp_addr_equal(&peer->addr, &with_port);
	}
	rcu_read_unlock();
	return found;
}

/**
 * ktcp_peer_is_up() - May flows be sent over the peer with this address?
 * @ktcp: the namespace
 * @addr: address and port
 *
 * Context: any.
 */
bool ktcp_peer_is_up(struct ktcp_net *ktcp, const union ktcp_addr *addr)
{
	struct ktcp_table *table;
	bool up = false;
	int i;

	rcu_read_lock();
	table = rcu_dereference(ktcp->peers);
	i = peer_find(table, addr);
	if (i >= 0) {
		const struct ktcp_peer *peer = table->object[i];

		up = READ_ONCE(peer->pool->health.state) == KTCP_HEALTH_UP &&
		     ktcp_peer_pool_has_port(peer->pool);
	}
	rcu_read_unlock();
	return up;
}

static int take_mark(struct ktcp_command *cmd, struct ktcp_peer *peer)
{
	static const char *const names[] = { "low", "high", "key" };
	int which = ktcp_command_choice(cmd, names, ARRAY_SIZE(names));
	u32 key;
	int err;

	switch (which) {
	case 0:
		return ktcp_command_u32(cmd, "low", 0, MARK_MAX, &peer->low);
	case 1:
		return ktcp_command_u32(cmd, "high", 0, MARK_MAX, &peer->high);
	case 2:
		err = ktcp_command_u32(cmd, "the key's number", 1, U16_MAX,
				       &key);
		if (!err)
			peer->key = key;
		return err;
	default:
		return which;
	}
}

static int take_marks(struct ktcp_command *cmd, struct ktcp_peer *peer)
{
	int err = 0;

	while (!err && ktcp_command_peek(cmd))
		err = take_mark(cmd, peer);
	if (err)
		return err;
	if (!peer->key)
		return ktcp_command_fail(cmd, NULL, -EINVAL,
					 "the word key with the key's number is missing");
	if (peer->low > peer->high)
		return ktcp_command_fail(cmd, cmd->word[1], -ERANGE,
					 "low %u is above high %u", peer->low,
					 peer->high);
	return 0;
}

static struct ktcp_peer *peer_create(const union ktcp_addr *addr)
{
	struct ktcp_peer *peer = kzalloc(sizeof(*peer), GFP_KERNEL);

	if (!peer)
		return NULL;
	kref_init(&peer->ref);
	peer->addr = *addr;
	peer->low = LOW_DEFAULT;
	peer->high = HIGH_DEFAULT;
	return peer;
}

static int peer_add(struct ktcp_command *cmd, struct ktcp_table **draft,
		    const union ktcp_addr *addr)
{
	struct ktcp_peer *peer = peer_create(addr);
	int err;

	if (!peer)
		return ktcp_command_fail(cmd, NULL, -ENOMEM, "no memory");
	err = take_marks(cmd, peer);
	if (err) {
		ktcp_peer_put(peer);
		return err;
	}
	return ktcp_table_insert(draft, (*draft)->count, peer);
}

/* To change a peer, put a new one in its place that keeps its pool. */
static int peer_set(struct ktcp_command *cmd, struct ktcp_table *draft,
		    u32 place)
{
	struct ktcp_peer *old = draft->object[place];
	struct ktcp_peer *peer = kmemdup(old, sizeof(*old), GFP_KERNEL);
	int err;

	if (!peer)
		return ktcp_command_fail(cmd, NULL, -ENOMEM, "no memory");
	kref_init(&peer->ref);
	if (peer->pool)
		kref_get(&peer->pool->ref);
	err = take_marks(cmd, peer);
	if (err) {
		ktcp_peer_put(peer);
		return err;
	}
	draft->object[place] = peer;
	ktcp_peer_put(old);
	return 0;
}

static int peers_line(struct ktcp_command *cmd, void **draft)
{
	static const char *const verbs[] = { "add", "set", "del" };
	int verb = ktcp_command_choice(cmd, verbs, ARRAY_SIZE(verbs));
	union ktcp_addr addr;
	int place, err;

	if (verb < 0)
		return verb;
	err = ktcp_command_addr(cmd, &addr);
	if (err)
		return err;
	place = peer_find(*draft, &addr);
	if (verb == 0 && place >= 0)
		return ktcp_command_fail(cmd, cmd->word[1], -EEXIST,
					 "this peer is there already; write set to change it");
	if (verb != 0 && place < 0)
		return ktcp_command_fail(cmd, cmd->word[1], -ENOENT,
					 "no such peer");
	if (verb == 0)
		return peer_add(cmd, (struct ktcp_table **)draft, &addr);
	if (verb == 1)
		return peer_set(cmd, *draft, place);
	err = ktcp_command_end(cmd);
	if (!err)
		ktcp_table_remove(*draft, place);
	return err;
}

static void peer_print(struct seq_file *seq, const struct ktcp_peer *peer)
{
	struct ktcp_peer_pool *pool = peer->pool;

	seq_printf(seq, "add %pISpc low %u high %u key %u\n", &peer->addr,
		   peer->low, peer->high, peer->key);
	seq_printf(seq, "# %pISpc ready %d connecting %u", &peer->addr,
		   max(atomic_read(&pool->nr_ready), 0), READ_ONCE(pool->nr_connecting));
	seq_printf(seq, " hits %lld misses %lld failures %lld",
		   atomic64_read(&pool->hits), atomic64_read(&pool->misses),
		   atomic64_read(&pool->failures));
	seq_printf(seq, " bytes_up %lld bytes_down %lld rtt_us %lu state %s\n",
		   atomic64_read(&pool->bytes_up),
		   atomic64_read(&pool->bytes_down),
		   ktcp_peer_pool_rtt_us(pool),
		   ktcp_health_name(READ_ONCE(pool->health.state)));
}

static int peers_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;
	const struct ktcp_table *table;
	u32 i;

	rcu_read_lock();
	table = rcu_dereference(ktcp->peers);
	for (i = 0; i < ktcp_table_count(table); i++)
		peer_print(seq, table->object[i]);
	rcu_read_unlock();
	return 0;
}

/* The table in force; the caller holds config_lock. */
static struct ktcp_table *table_of(struct ktcp_net *ktcp)
{
	return rcu_dereference_protected(ktcp->peers,
					 lockdep_is_held(&ktcp->config_lock));
}

static bool pool_is_used(const struct ktcp_table *table,
			 const struct ktcp_peer_pool *pool)
{
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++)
		if (((struct ktcp_peer *)table->object[i])->pool == pool)
			return true;
	return false;
}

/* Close the pools of @from that are not in @to; drafts may lack pools. */
static void close_pools(const struct ktcp_table *from,
			const struct ktcp_table *to)
{
	u32 i;

	for (i = 0; i < ktcp_table_count(from); i++) {
		struct ktcp_peer *peer = from->object[i];

		if (peer->pool && !pool_is_used(to, peer->pool))
			ktcp_peer_pool_close(peer->pool);
	}
}

static int create_pools(struct ktcp_net *ktcp, struct ktcp_table *draft)
{
	u32 i;

	for (i = 0; i < draft->count; i++) {
		struct ktcp_peer *peer = draft->object[i];

		if (!peer->pool)
			peer->pool = ktcp_peer_pool_create(ktcp, &peer->addr);
		if (!peer->pool)
			return -ENOMEM;
	}
	return 0;
}

static void *peers_begin(struct ktcp_net *ktcp)
{
	return ktcp_table_draft(table_of(ktcp), &peer_table);
}

/* Makes and closes pools only now: before, the draft might be refused. */
static int peers_commit(struct ktcp_command *cmd, void *draft)
{
	const struct ktcp_table *old = table_of(cmd->ktcp);
	struct ktcp_table *table = draft;
	u32 i;

	if (create_pools(cmd->ktcp, table)) {
		close_pools(table, old);
		ktcp_table_free(table);
		return ktcp_command_fail(cmd, NULL, -ENOMEM, "no memory");
	}
	/* Splits that find their pool closed open a new leg. */
	close_pools(old, table);
	ktcp_table_publish(&cmd->ktcp->peers, table);
	for (i = 0; i < table->count; i++) {
		const struct ktcp_peer *peer = table->object[i];

		ktcp_peer_pool_set(peer->pool, peer->low, peer->high,
				   peer->key);
	}
	return 0;
}

static void peers_abandon(struct ktcp_net *ktcp, void *draft)
{
	ktcp_table_free(draft);
}

/**
 * ktcp_peer_kick_all() - Let all pools follow changed settings
 * @ktcp: the namespace
 *
 * Context: process context, config_lock held.
 */
void ktcp_peer_kick_all(struct ktcp_net *ktcp)
{
	const struct ktcp_table *table = table_of(ktcp);
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++) {
		const struct ktcp_peer *peer = table->object[i];

		ktcp_peer_pool_kick(peer->pool);
		ktcp_health_kick(&peer->pool->health);
	}
}

/**
 * ktcp_peer_close_all() - Forget all peers
 * @ktcp: the namespace, which has no split any more
 *
 * Context: may sleep, config_lock held.
 */
void ktcp_peer_close_all(struct ktcp_net *ktcp)
{
	close_pools(table_of(ktcp), NULL);
	ktcp_table_publish(&ktcp->peers, NULL);
}

const struct ktcp_proc_file ktcp_peers_file = {
	.name = "peers",
	.mode = 0600,
	.show = peers_show,
	.line = peers_line,
	.begin = peers_begin,
	.commit = peers_commit,
	.abandon = peers_abandon,
};
