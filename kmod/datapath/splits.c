// SPDX-License-Identifier: GPL-2.0-only
/*
 * The splits file. There may be very many splits, and softirq takes the lock of
 * their list. So a reader marks its place by an entry of its own in the list,
 * and walks a short way at a time. It holds a split only while it prints it: a
 * reader that stops in the middle keeps no connection open.
 */

#include "control/net.h"
#include "control/procfs.h"
#include "datapath/split.h"

#include <linux/sched.h>
#include <linux/seq_file.h>

/* How many entries are passed with the lock held. */
#define WALK_MAX 64

/**
 * struct reader - An open file
 * @ktcp: the namespace
 * @place: an entry in the list, before the split to read next. It has no
 * reference and never gets one, so nobody takes it for a split.
 */
struct reader {
	struct ktcp_net *ktcp;
	struct ktcp_split place;
};

static void split_print(struct seq_file *seq, const struct ktcp_split *split)
{
	/* Written once, by the thread that opens the far side; empty before. */
	union ktcp_addr target = data_race(split->target);

	seq_printf(seq, "%pISpc -> %pISpc mark 0x%x role %s state %s",
		   &split->flow.client, &target, split->flow.mark,
		   split->role == KTCP_ROLE_CLIENT ? "client" : "relay",
		   ktcp_life_word(READ_ONCE(split->life)));
	seq_printf(seq, " up %llu down %llu age_s %lu\n",
		   READ_ONCE(split->bytes[KTCP_NEAR]),
		   READ_ONCE(split->bytes[KTCP_FAR]),
		   (jiffies - READ_ONCE(split->begun)) / HZ);
}

static bool is_listed(const struct ktcp_split *split)
{
	/* Pairs with ktcp_split_count(). */
	return ktcp_life_is_split(smp_load_acquire(&split->life));
}

/* Go on by a few entries. True if at a split, which is held now, or the end. */
static bool walk_splits(struct reader *reader, struct ktcp_split **found)
{
	struct ktcp_net *ktcp = reader->ktcp;
	unsigned int left = WALK_MAX;
	struct list_head *node;
	bool over;

	*found = NULL;
	spin_lock_bh(&ktcp->splits_lock);
	node = reader->place.node.next;
	for (; node != &ktcp->splits && left; node = node->next, left--) {
		struct ktcp_split *split = list_entry(node, struct ktcp_split,
						      node);

		if (is_listed(split) && kref_get_unless_zero(&split->ref)) {
			*found = split;
			break;
		}
	}
	list_move_tail(&reader->place.node, node);
	over = *found || node == &ktcp->splits;
	spin_unlock_bh(&ktcp->splits_lock);
	return over;
}

static struct ktcp_split *next_listed(struct reader *reader)
{
	struct ktcp_split *found;

	while (!walk_splits(reader, &found))
		cond_resched();
	return found;
}

static void move_behind(struct reader *reader, struct list_head *node)
{
	spin_lock_bh(&reader->ktcp->splits_lock);
	list_move(&reader->place.node, node);
	spin_unlock_bh(&reader->ktcp->splits_lock);
}

static void *splits_start(struct seq_file *seq, loff_t *pos)
{
	struct reader *reader = seq->private;

	if (!*pos)
		move_behind(reader, &reader->ktcp->splits);
	return next_listed(reader);
}

static void *splits_next(struct seq_file *seq, void *v, loff_t *pos)
{
	struct reader *reader = seq->private;
	struct ktcp_split *split = v;

	move_behind(reader, &split->node);
	ktcp_split_put(split);
	++*pos;
	return next_listed(reader);
}

static void splits_stop(struct seq_file *seq, void *v)
{
	if (v)
		ktcp_split_put(v);
}

static int splits_show(struct seq_file *seq, void *v)
{
	split_print(seq, v);
	return 0;
}

static const struct seq_operations splits_ops = {
	.start = splits_start,
	.next = splits_next,
	.stop = splits_stop,
	.show = splits_show,
};

static int splits_open(struct ktcp_net *ktcp, struct file *file)
{
	struct reader *reader = __seq_open_private(file, &splits_ops,
						   sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	reader->ktcp = ktcp;
	INIT_LIST_HEAD(&reader->place.node);
	move_behind(reader, &ktcp->splits);
	return 0;
}

static void splits_close(struct file *file)
{
	struct seq_file *seq = file->private_data;
	struct reader *reader = seq->private;

	spin_lock_bh(&reader->ktcp->splits_lock);
	list_del(&reader->place.node);
	spin_unlock_bh(&reader->ktcp->splits_lock);
	seq_release_private(file_inode(file), file);
}

const struct ktcp_proc_file ktcp_splits_file = {
	.name = "splits",
	.mode = 0400,
	.open = splits_open,
	.close = splits_close,
};
