// SPDX-License-Identifier: GPL-2.0-only
/* The peers file: addresses, watermarks and keys of other relays. */

#include "peer.h"
#include "command.h"
#include "net.h"
#include "procfs.h"
#include "table.h"

#include <linux/seq_file.h>
#include <linux/slab.h>

#define LOW_DEFAULT 16
#define HIGH_DEFAULT 64
#define MARK_MAX 4096

static void state_release(struct kref *ref)
{
	kfree(container_of(ref, struct ktcp_peer_state, ref));
}

static void peer_release(struct kref *ref)
{
	struct ktcp_peer *peer = container_of(ref, struct ktcp_peer, ref);

	if (peer->state)
		kref_put(&peer->state->ref, state_release);
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
 * Return: the peer with a reference, NULL where there is none.
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
	peer->state = kzalloc(sizeof(*peer->state), GFP_KERNEL);
	if (!peer->state) {
		err = ktcp_command_fail(cmd, NULL, -ENOMEM, "no memory");
		goto put_peer;
	}
	kref_init(&peer->state->ref);
	err = take_marks(cmd, peer);
	if (err)
		goto put_peer;
	return ktcp_table_insert(draft, (*draft)->count, peer);

put_peer:
	ktcp_peer_put(peer);
	return err;
}

/* A changed peer is a new one that keeps the state of the old one. */
static int peer_set(struct ktcp_command *cmd, struct ktcp_table *draft,
		    u32 place)
{
	struct ktcp_peer *old = draft->object[place];
	struct ktcp_peer *peer = kmemdup(old, sizeof(*old), GFP_KERNEL);
	int err;

	if (!peer)
		return ktcp_command_fail(cmd, NULL, -ENOMEM, "no memory");
	kref_init(&peer->ref);
	kref_get(&peer->state->ref);
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
	struct ktcp_peer_state *state = peer->state;

	seq_printf(seq, "add %pISpc low %u high %u key %u\n", &peer->addr,
		   peer->low, peer->high, peer->key);
	seq_printf(seq,
		   "# %pISpc ready 0 connecting 0 hits %lld misses %lld failures %lld\n",
		   &peer->addr, atomic64_read(&state->hits),
		   atomic64_read(&state->misses),
		   atomic64_read(&state->failures));
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

const struct ktcp_proc_file ktcp_peers_file = {
	.name = "peers",
	.mode = 0600,
	.show = peers_show,
	.line = peers_line,
	.table_type = &peer_table,
	.table_slot = offsetof(struct ktcp_net, peers),
};
