/* SPDX-License-Identifier: GPL-2.0-only */
/* The files of /proc/net/ktcp: a reader, and a writer that is a transaction. */
#ifndef KTCP_PROCFS_H
#define KTCP_PROCFS_H

#include <linux/types.h>

struct ktcp_command;
struct ktcp_net;
struct ktcp_table_type;
struct file;
struct seq_file;

/**
 * struct ktcp_proc_file - One file
 * @name: its name
 * @mode: its mode, for root only
 * @module_wide: acts on all namespaces, so only the first may write
 * @show: print it; seq->private is the namespace. NULL: write only, or @open
 * @open: make a seq_file that prints it piece by piece, instead of @show
 * @close: free what @open made
 * @line: carry out one line on the draft, which may move. NULL: read only
 * @table_type: the draft is a table of this type; then the functions below are
 * not needed
 * @table_slot: offset of that table in struct ktcp_net
 * @begin: make a draft of the state in force; NULL without memory
 * @commit: put the draft in force, all of it or nothing, and free it
 * @abandon: free the draft
 *
 * Context of @show, @open and @close: process context, no lock. Of all others:
 * process context, may sleep, the namespace's config_lock held.
 */
struct ktcp_proc_file {
	const char *name;
	umode_t mode;
	bool module_wide;
	int (*show)(struct seq_file *seq, void *unused);
	int (*open)(struct ktcp_net *ktcp, struct file *file);
	void (*close)(struct file *file);
	int (*line)(struct ktcp_command *cmd, void **draft);
	const struct ktcp_table_type *table_type;
	size_t table_slot;
	void *(*begin)(struct ktcp_net *ktcp);
	int (*commit)(struct ktcp_command *cmd, void *draft);
	void (*abandon)(struct ktcp_net *ktcp, void *draft);
};

void ktcp_procfs_offer(const struct ktcp_proc_file *const *all);
int ktcp_procfs_init(struct ktcp_net *ktcp);
void ktcp_procfs_exit(struct ktcp_net *ktcp);

extern const struct ktcp_proc_file ktcp_version_file;
extern const struct ktcp_proc_file ktcp_last_error_file;

#endif /* KTCP_PROCFS_H */
