// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/net/ktcp: who may use its files, and each write as a transaction. The
 * lines of a file are parsed beside the state that they configure; main.c lists
 * the files.
 */

#include "control/procfs.h"
#include "control/command.h"
#include "control/net.h"
#include "control/table.h"
#include "control/version.h"

#include <linux/capability.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#define WRITE_MAX (64 << 10)

static bool user_namespaces;
module_param(user_namespaces, bool, 0644);
MODULE_PARM_DESC(user_namespaces,
		 "Let CAP_NET_ADMIN of a user namespace configure its network namespaces");

static int version_show(struct seq_file *seq, void *unused)
{
	seq_printf(seq, "module %s\nwire %u\nsrcversion %s\n",
		   KTCP_MODULE_VERSION, KTCP_WIRE_VERSION,
		   THIS_MODULE->srcversion ?: "unknown");
	return 0;
}

static int last_error_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;

	mutex_lock(&ktcp->config_lock);
	if (*ktcp->last_error)
		seq_printf(seq, "%s\n", ktcp->last_error);
	mutex_unlock(&ktcp->config_lock);
	return 0;
}

const struct ktcp_proc_file ktcp_version_file = {
	.name = "version",
	.mode = 0400,
	.show = version_show,
};

const struct ktcp_proc_file ktcp_last_error_file = {
	.name = "last_error",
	.mode = 0400,
	.show = last_error_show,
};

static const struct ktcp_proc_file *const *files;

/* Which of our files an open file is. */
static const struct ktcp_proc_file *file_of(struct file *file)
{
	const unsigned char *name = file->f_path.dentry->d_name.name;
	unsigned int i;

	for (i = 0; files[i]; i++)
		if (!strcmp(files[i]->name, name))
			return files[i];
	return NULL;
}

static int proc_open(struct inode *inode, struct file *file)
{
	const struct ktcp_proc_file *what = file_of(file);

	if (!what)
		return -ENOENT;
	if (what->open)
		return what->open(pde_data(inode), file);
	/* The mode does not stop root from reading a write-only file. */
	if (!what->show && (file->f_mode & FMODE_READ))
		return -EACCES;
	/* Writers get a seq_file as well: it is what release() expects. */
	return single_open(file, what->show, pde_data(inode));
}

static int proc_release(struct inode *inode, struct file *file)
{
	const struct ktcp_proc_file *what = file_of(file);

	if (!what->close)
		return single_release(inode, file);
	what->close(file);
	return 0;
}

static int run_lines(struct ktcp_command *cmd,
		     const struct ktcp_proc_file *what, void **draft,
		     char *text)
{
	unsigned int line_number = 0;
	char *line;
	int err;

	while ((line = strsep(&text, "\n"))) {
		line_number++;
		line = skip_spaces(line);
		if (!*line || *line == '#')
			continue;
		/* Stays at the last command: the commit may still refuse it. */
		cmd->line = line_number;
		err = ktcp_command_split(cmd, line) ?: what->line(cmd, draft);
		if (err)
			return err;
	}
	return 0;
}

static struct ktcp_table __rcu **slot_of(struct ktcp_net *ktcp,
					 const struct ktcp_proc_file *what)
{
	return (struct ktcp_table __rcu **)((u8 *)ktcp + what->table_slot);
}

static void *draft_begin(struct ktcp_net *ktcp,
			 const struct ktcp_proc_file *what)
{
	if (what->begin)
		return what->begin(ktcp);
	return ktcp_table_draft(rcu_dereference_protected(*slot_of(ktcp, what),
							  lockdep_is_held(&ktcp->config_lock)),
				what->table_type);
}

static void draft_abandon(struct ktcp_net *ktcp,
			  const struct ktcp_proc_file *what, void *draft)
{
	if (what->abandon)
		what->abandon(ktcp, draft);
	else
		ktcp_table_free(draft);
}

static int draft_commit(struct ktcp_command *cmd,
			const struct ktcp_proc_file *what, void *draft)
{
	if (what->commit)
		return what->commit(cmd, draft);
	ktcp_table_publish(slot_of(cmd->ktcp, what), draft);
	return 0;
}

static int run_write(struct ktcp_net *ktcp, const struct ktcp_proc_file *what,
		     char *text)
{
	struct ktcp_command cmd = {
		.ktcp = ktcp,
		.file = what->name,
		.secret = !what->show,
	};
	void *draft = draft_begin(ktcp, what);
	int err;

	if (!draft)
		return ktcp_command_fail(&cmd, NULL, -ENOMEM, "no memory");
	err = run_lines(&cmd, what, &draft, text);
	if (!err)
		return draft_commit(&cmd, what, draft);
	draft_abandon(ktcp, what, draft);
	return err;
}

/*
 * Anybody who makes a user namespace has CAP_NET_ADMIN in it. Kernel threads,
 * hooks and memory belong to the host, so that is not enough here.
 */
static bool may_write(struct file *file, struct ktcp_net *ktcp,
		      const struct ktcp_proc_file *what)
{
	struct user_namespace *ns = &init_user_ns;

	if (READ_ONCE(user_namespaces) && !what->module_wide)
		ns = ktcp->net->user_ns;
	return file_ns_capable(file, ns, CAP_NET_ADMIN);
}

static ssize_t proc_write(struct file *file, const char __user *from,
			  size_t size, loff_t *pos)
{
	const struct ktcp_proc_file *what = file_of(file);
	struct ktcp_net *ktcp = pde_data(file_inode(file));
	struct ktcp_command cmd = { .ktcp = ktcp, .file = what->name };
	char *text;
	int err;

	if (!what->line)
		return -EACCES;
	if (size > WRITE_MAX) {
		mutex_lock(&ktcp->config_lock);
		err = ktcp_command_fail(&cmd, NULL, -EINVAL,
					"more than %u bytes in one write",
					WRITE_MAX);
		mutex_unlock(&ktcp->config_lock);
		return err;
	}
	text = memdup_user_nul(from, size);
	if (IS_ERR(text))
		return PTR_ERR(text);

	mutex_lock(&ktcp->config_lock);
	if (!may_write(file, ktcp, what))
		err = ktcp_command_fail(&cmd, NULL, -EPERM,
					"needs CAP_NET_ADMIN%s",
					READ_ONCE(user_namespaces) ? "" :
					" in the initial user namespace");
	else if (strlen(text) != size)
		err = ktcp_command_fail(&cmd, NULL, -EINVAL,
					"a zero byte in the text");
	else
		err = run_write(ktcp, what, text);
	mutex_unlock(&ktcp->config_lock);
	kfree_sensitive(text);
	return err ?: size;
}

static const struct proc_ops ops = {
	.proc_open = proc_open,
	.proc_read = seq_read,
	.proc_write = proc_write,
	.proc_lseek = seq_lseek,
	.proc_release = proc_release,
};

/**
 * ktcp_procfs_offer() - Set which files each namespace has
 * @all: the files, ending with NULL; must stay valid
 *
 * Context: before the first namespace.
 */
void ktcp_procfs_offer(const struct ktcp_proc_file *const *all)
{
	files = all;
}

/**
 * ktcp_procfs_init() - Make the files of a namespace
 * @ktcp: the namespace
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_procfs_init(struct ktcp_net *ktcp)
{
	unsigned int i;

	ktcp->proc_dir = proc_net_mkdir(ktcp->net, "ktcp", ktcp->net->proc_net);
	if (!ktcp->proc_dir)
		return -ENOMEM;
	for (i = 0; files[i]; i++) {
		if (!proc_create_data(files[i]->name, files[i]->mode,
				      ktcp->proc_dir, &ops, ktcp)) {
			ktcp_procfs_exit(ktcp);
			return -ENOMEM;
		}
	}
	return 0;
}

/**
 * ktcp_procfs_exit() - Remove the files; on return no reader or writer is left
 * @ktcp: the namespace
 *
 * Context: may sleep.
 */
void ktcp_procfs_exit(struct ktcp_net *ktcp)
{
	proc_remove(ktcp->proc_dir);
}
