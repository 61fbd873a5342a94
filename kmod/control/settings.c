// SPDX-License-Identifier: GPL-2.0-only
/* The settings file: names, ranges, defaults. */

#include "control/settings.h"
#include "control/command.h"
#include "control/net.h"
#include "control/procfs.h"

#include <linux/seq_file.h>
#include <linux/slab.h>

/**
 * struct setting - One line of the file
 * @name: its first word
 * @offset: of the value in struct ktcp_settings
 * @initial: default
 * @min: smallest number
 * @max: largest number
 * @words: the values are these words; NULL for a number
 */
struct setting {
	const char *name;
	size_t offset;
	u32 initial, min, max;
	const char *const *words;
};

static void (*changed)(struct ktcp_net *ktcp);

static const char *const off_on[] = { "off", "on", NULL };
static const char *const engines[] = { "threads", "event", NULL };
static const char *const datapaths[] = { "copy", "zerocopy", NULL };

#define WORDS(field, list, value)					\
	{ .name = #field, .offset = offsetof(struct ktcp_settings, field), \
	  .initial = value, .words = list }
#define NUMBER(field, value, low, high)					\
	{ .name = #field, .offset = offsetof(struct ktcp_settings, field), \
	  .initial = value, .min = low, .max = high }

static const struct setting settings[] = {
	WORDS(early_syn, off_on, 1),
	WORDS(thread_pool, off_on, 1),
	WORDS(conn_pool, off_on, 1),
	WORDS(turbo, off_on, 1),
	WORDS(engine, engines, KTCP_ENGINE_EVENT),
	WORDS(datapath, datapaths, KTCP_DATAPATH_ZEROCOPY),
	NUMBER(buffer_bytes, 16384, 4096, 1 << 20),
	NUMBER(turbo_cwnd, 10000, 10, 65535),
	NUMBER(relay_buffer_bytes, 32 << 20, 65536, 256 << 20),
	NUMBER(early_syn_max, 4096, 1, 1 << 20),
	NUMBER(handshake_timeout_ms, 5000, 100, 60000),
	NUMBER(connect_timeout_ms, 10000, 100, 120000),
	NUMBER(peer_timeout_ms, 3000, 1000, 60000),
	NUMBER(peer_hold_ms, 10000, 0, 3600000),
	NUMBER(keepalive_s, 50, 0, 32767),
	NUMBER(idle_timeout_s, 0, 0, 30 * 86400),
	NUMBER(max_splits, 10000, 1, 1 << 20),
	NUMBER(prefix_percent, 50, 1, 100),
	NUMBER(refused_hold_s, 5, 0, 3600),
	NUMBER(mark_mask, 0x7fffffff, 1, 0x7fffffff),
};

static u32 *setting_value(const struct setting *setting,
			  struct ktcp_settings *values)
{
	return (u32 *)((u8 *)values + setting->offset);
}

/**
 * ktcp_settings_init() - Fill with the defaults
 * @values: filled
 */
void ktcp_settings_init(struct ktcp_settings *values)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++)
		*setting_value(&settings[i], values) = settings[i].initial;
}

/**
 * ktcp_settings_on_change() - Set the function to call when values change
 * @fn: called with config_lock held, may sleep
 *
 * Context: before the first namespace.
 */
void ktcp_settings_on_change(void (*fn)(struct ktcp_net *ktcp))
{
	changed = fn;
}

static int settings_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;
	unsigned int i;

	/* Keep commits out, so that all values are from the same one. */
	mutex_lock(&ktcp->config_lock);
	for (i = 0; i < ARRAY_SIZE(settings); i++) {
		const struct setting *setting = &settings[i];
		u32 value = READ_ONCE(*setting_value(setting, &ktcp->settings));

		if (setting->words)
			seq_printf(seq, "%s %s\n", setting->name,
				   setting->words[value]);
		else
			seq_printf(seq, "%s %u\n", setting->name, value);
	}
	mutex_unlock(&ktcp->config_lock);
	return 0;
}

static const struct setting *setting_find(const char *name)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++)
		if (!strcmp(settings[i].name, name))
			return &settings[i];
	return NULL;
}

static int take_word(struct ktcp_command *cmd, const struct setting *setting,
		     u32 *value)
{
	int choice = ktcp_command_choice(cmd, setting->words, 2);

	if (choice < 0)
		return choice;
	*value = choice;
	return 0;
}

static int settings_line(struct ktcp_command *cmd, void **draft)
{
	const struct setting *setting;
	const char *name;
	u32 *value;
	int err;

	err = ktcp_command_text(cmd, "the setting's name", &name);
	if (err)
		return err;
	setting = setting_find(name);
	if (!setting)
		return ktcp_command_fail(cmd, name, -EINVAL,
					 "no such setting; read the file for their names");
	value = setting_value(setting, *draft);
	if (setting->words)
		err = take_word(cmd, setting, value);
	else
		err = ktcp_command_u32(cmd, setting->name, setting->min,
				       setting->max, value);
	return err ?: ktcp_command_end(cmd);
}

static void *settings_begin(struct ktcp_net *ktcp)
{
	return kmemdup(&ktcp->settings, sizeof(ktcp->settings), GFP_KERNEL);
}

static int settings_commit(struct ktcp_command *cmd, void *draft)
{
	struct ktcp_net *ktcp = cmd->ktcp;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++)
		WRITE_ONCE(*setting_value(&settings[i], &ktcp->settings),
			   *setting_value(&settings[i], draft));
	kfree(draft);
	changed(ktcp);
	return 0;
}

static void settings_abandon(struct ktcp_net *ktcp, void *draft)
{
	kfree(draft);
}

const struct ktcp_proc_file ktcp_settings_file = {
	.name = "settings",
	.mode = 0600,
	.show = settings_show,
	.begin = settings_begin,
	.line = settings_line,
	.commit = settings_commit,
	.abandon = settings_abandon,
};
