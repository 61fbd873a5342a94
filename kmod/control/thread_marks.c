// SPDX-License-Identifier: GPL-2.0-only
/* The thread_pool file: how many threads are kept ready, and how many there are. */

#include "control/thread_marks.h"
#include "control/command.h"
#include "control/procfs.h"
#include "lib/thread_pool.h"

#include <linux/seq_file.h>
#include <linux/slab.h>

#define MARK_MAX 65536

static int thread_pool_show(struct seq_file *seq, void *unused)
{
	struct ktcp_thread_counts counts;
	struct ktcp_thread_marks marks;

	ktcp_thread_pool_marks(&marks);
	ktcp_thread_pool_counts(&counts);
	seq_printf(seq, "low %u\nhigh %u\n# ready %d\n# busy %lld\n",
		   marks.low, marks.high, counts.ready,
		   counts.created - counts.ended - counts.ready);
	seq_printf(seq, "# created %lld\n# ended %lld\n# most %u\n",
		   counts.created, counts.ended, counts.most);
	return 0;
}

static void *marks_begin(struct ktcp_net *ktcp)
{
	struct ktcp_thread_marks *draft = kmalloc(sizeof(*draft), GFP_KERNEL);

	if (draft)
		ktcp_thread_pool_marks(draft);
	return draft;
}

static int marks_line(struct ktcp_command *cmd, void **draft)
{
	static const char *const names[] = { "low", "high" };
	struct ktcp_thread_marks *marks = *draft;
	int which = ktcp_command_choice(cmd, names, ARRAY_SIZE(names));

	if (which < 0)
		return which;
	return ktcp_command_u32(cmd, names[which], 1, MARK_MAX,
				which ? &marks->high : &marks->low) ?:
	       ktcp_command_end(cmd);
}

static int marks_commit(struct ktcp_command *cmd, void *draft)
{
	struct ktcp_thread_marks marks = *(struct ktcp_thread_marks *)draft;

	kfree(draft);
	if (marks.low > marks.high)
		return ktcp_command_fail(cmd, "low", -ERANGE,
					 "low %u is above high %u", marks.low,
					 marks.high);
	ktcp_thread_pool_set_marks(&marks);
	return 0;
}

static void marks_abandon(struct ktcp_net *ktcp, void *draft)
{
	kfree(draft);
}

const struct ktcp_proc_file ktcp_thread_pool_file = {
	.name = "thread_pool",
	.mode = 0600,
	.module_wide = true,
	.show = thread_pool_show,
	.begin = marks_begin,
	.line = marks_line,
	.commit = marks_commit,
	.abandon = marks_abandon,
};
