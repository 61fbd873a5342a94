// SPDX-License-Identifier: GPL-2.0-only
/*
 * The rendezvous (paper, "multi-core systems"). Each core has a red-black tree,
 * so that cores do not contend for one tree. The xor of a flow's addresses and
 * ports says which tree it belongs to. The paper binds both threads to that
 * core for the look-up. Here a lock in each tree does the same without moving
 * them.
 *
 * A tree holds a reference to the split of each half in it. Whoever takes a
 * half out gets that reference.
 */

#include "session/rendezvous.h"
#include "control/net.h"
#include "control/stats.h"
#include "datapath/split.h"
#include "lib/share.h"

#include <linux/cpumask.h>
#include <linux/percpu.h>
#include <linux/random.h>

/* Each prefix may have early_syn_max divided by this. */
#define PREFIX_SHARE 8

static struct ktcp_rendezvous *tree_of(struct ktcp_net *ktcp,
				       const struct ktcp_flow *flow)
{
	const u32 *word = (const u32 *)&flow->client;
	const u32 *end = (const u32 *)(&flow->target + 1);
	unsigned int cpu;
	u32 key = 0;

	BUILD_BUG_ON(offsetof(struct ktcp_flow, target) !=
		     sizeof(flow->client));
	while (word < end)
		key ^= *word++;
	/* Fold, so that ports count wherever they are in their word. */
	key ^= key >> 16;
	key ^= key >> 8;
	cpu = (key & 0xff) % nr_cpu_ids;
	if (unlikely(!cpu_possible(cpu)))
		cpu = cpumask_first(cpu_possible_mask);
	return per_cpu_ptr(ktcp->rendezvous, cpu);
}

/*
 * A flood of SYNs must neither fill memory nor become a flood of connections to
 * others. So the number of halves in a namespace has a limit, and each source
 * prefix may have only a part of it.
 */
static bool admit_half(struct ktcp_split *split)
{
	struct ktcp_net *ktcp = split->ktcp;
	int most = READ_ONCE(ktcp->settings.early_syn_max);

	if (atomic_inc_return(&ktcp->halves) > most)
		goto leave;
	if (ktcp_share_take(&ktcp->half_share, split->prefix,
			    max(most / PREFIX_SHARE, 1)))
		return true;
leave:
	atomic_dec(&ktcp->halves);
	ktcp_count(ktcp, KTCP_EARLY_SYN_LIMITED);
	return false;
}

static void leave_half(struct ktcp_split *split)
{
	ktcp_share_give(&split->ktcp->half_share, split->prefix);
	atomic_dec(&split->ktcp->halves);
}

static int flow_cmp(const struct ktcp_flow *a, const struct ktcp_flow *b)
{
	return ktcp_addr_cmp(&a->client, &b->client) ?:
	       ktcp_addr_cmp(&a->target, &b->target);
}

static struct ktcp_split *split_of(const struct rb_node *node)
{
	return rb_entry(node, struct ktcp_split, half);
}

static int node_cmp(struct rb_node *new, const struct rb_node *old)
{
	return flow_cmp(&split_of(new)->flow, &split_of(old)->flow);
}

static int key_cmp(const void *key, const struct rb_node *node)
{
	return flow_cmp(key, &split_of(node)->flow);
}

/**
 * ktcp_rendezvous_init() - Make the trees of a namespace
 * @ktcp: the namespace
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_rendezvous_init(struct ktcp_net *ktcp)
{
	int cpu;

	get_random_bytes(&ktcp->prefix_key, sizeof(ktcp->prefix_key));
	ktcp->rendezvous = alloc_percpu(struct ktcp_rendezvous);
	if (!ktcp->rendezvous)
		return -ENOMEM;
	for_each_possible_cpu(cpu) {
		struct ktcp_rendezvous *tree = per_cpu_ptr(ktcp->rendezvous,
							   cpu);

		spin_lock_init(&tree->lock);
		tree->halves = RB_ROOT;
	}
	return 0;
}

/**
 * ktcp_rendezvous_exit() - Free the trees, which must be empty
 * @ktcp: the namespace
 *
 * Context: may sleep.
 */
void ktcp_rendezvous_exit(struct ktcp_net *ktcp)
{
	free_percpu(ktcp->rendezvous);
}

/**
 * ktcp_rendezvous_add() - Let a half wait for its client
 * @split: the half, with flow and prefix set; on success the tree takes over a
 * reference
 *
 * Context: any.
 * Return: false if a half of this flow waits already, or if too many halves do.
 */
bool ktcp_rendezvous_add(struct ktcp_split *split)
{
	struct ktcp_rendezvous *tree = tree_of(split->ktcp, &split->flow);
	bool added;

	if (!admit_half(split))
		return false;
	spin_lock_bh(&tree->lock);
	added = !rb_find_add(&split->half, &tree->halves, node_cmp);
	spin_unlock_bh(&tree->lock);
	if (!added)
		leave_half(split);
	return added;
}

static void erase_half(struct ktcp_rendezvous *tree, struct ktcp_split *split)
{
	lockdep_assert_held(&tree->lock);
	rb_erase(&split->half, &tree->halves);
	RB_CLEAR_NODE(&split->half);
	leave_half(split);
}

/**
 * ktcp_rendezvous_remove() - Stop waiting for the client
 * @split: the half
 *
 * Context: any.
 * Return: true if it still waited; then its reference is the caller's.
 */
bool ktcp_rendezvous_remove(struct ktcp_split *split)
{
	struct ktcp_rendezvous *tree = tree_of(split->ktcp, &split->flow);
	bool waited;

	spin_lock_bh(&tree->lock);
	waited = !RB_EMPTY_NODE(&split->half);
	if (waited)
		erase_half(tree, split);
	spin_unlock_bh(&tree->lock);
	return waited;
}

/**
 * ktcp_rendezvous_take() - Take out the half that waits for a client
 * @ktcp: the namespace
 * @flow: the client's flow
 *
 * Context: any.
 * Return: the half with its reference, NULL if none waits.
 */
struct ktcp_split *ktcp_rendezvous_take(struct ktcp_net *ktcp,
					const struct ktcp_flow *flow)
{
	struct ktcp_rendezvous *tree = tree_of(ktcp, flow);
	struct ktcp_split *split = NULL;
	struct rb_node *node;

	spin_lock_bh(&tree->lock);
	node = rb_find(flow, &tree->halves, key_cmp);
	if (node) {
		split = split_of(node);
		erase_half(tree, split);
	}
	spin_unlock_bh(&tree->lock);
	return split;
}

static struct ktcp_split *expired_of(struct ktcp_rendezvous *tree,
				     unsigned long before)
{
	struct ktcp_split *split;
	struct rb_node *node;

	lockdep_assert_held(&tree->lock);
	for (node = rb_first(&tree->halves); node; node = rb_next(node)) {
		split = split_of(node);
		if (time_before(READ_ONCE(split->begun), before)) {
			erase_half(tree, split);
			return split;
		}
	}
	return NULL;
}

/**
 * ktcp_rendezvous_expired() - Take out a half that has waited for too long
 * @ktcp: the namespace
 * @before: jiffies; a half that began earlier has waited for too long
 *
 * Context: any.
 * Return: the half with its reference, NULL if there is none.
 */
struct ktcp_split *ktcp_rendezvous_expired(struct ktcp_net *ktcp,
					   unsigned long before)
{
	struct ktcp_split *split = NULL;
	int cpu;

	for_each_possible_cpu(cpu) {
		struct ktcp_rendezvous *tree = per_cpu_ptr(ktcp->rendezvous,
							   cpu);

		spin_lock_bh(&tree->lock);
		split = expired_of(tree, before);
		spin_unlock_bh(&tree->lock);
		if (split)
			break;
	}
	return split;
}
