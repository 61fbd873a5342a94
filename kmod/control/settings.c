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
 * @words: the values are these words; NULL for a number or an address
 * @family: the value is an address of this family, in network order, all 0 for
 * any address; 0 for a word or a number
 */
struct setting {
	const char *name;
	size_t offset;
	u32 initial, min, max;
	const char *const *words;
	sa_family_t family;
};

static void (*changed)(struct ktcp_net *ktcp);

static const char *const off_on[] = { "off", "on", NULL };
static const char *const engines[] = { "threads", "event", NULL };
static const char *const datapaths[] = { "copy", "zerocopy", NULL };

#define WORDS(field, list, value)					\
	{ .name = #field, .offset = offsetof(struct ktcp_settings, field), \
	  .initial = value, .words = list }
#define ADDRESS(field, af)						\
	{ .name = #field, .offset = offsetof(struct ktcp_settings, field), \
	  .family = af }
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
	WORDS(reuse, off_on, 1),
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
	ADDRESS(source4, AF_INET),
	ADDRESS(source6, AF_INET6),
};

static u32 *setting_value(const struct setting *setting,
			  struct ktcp_settings *values)
{
	return (u32 *)((u8 *)values + setting->offset);
}

/* Length of a value in 32-bit words: an IPv6 address has four. */
static unsigned int words_of(sa_family_t family)
{
	return family == AF_INET6 ? 4 : 1;
}

/**
 * ktcp_settings_init() - Fill with the defaults
 * @values: filled
 */
void ktcp_settings_init(struct ktcp_settings *values)
{
	unsigned int i;

	memset(values, 0, sizeof(*values));
	for (i = 0; i < ARRAY_SIZE(settings); i++)
		*setting_value(&settings[i], values) = settings[i].initial;
}

/**
 * ktcp_settings_source() - The address that connections to peers come from
 * @settings: the values in force
 * @family: AF_INET or AF_INET6
 * @source: set to the address, port 0
 *
 * While the setting changes, @source may be half the old address and half the
 * new one, which is nobody's address.
 *
 * Context: any.
 * Return: false if any address will do.
 */
bool ktcp_settings_source(const struct ktcp_settings *settings,
			  sa_family_t family, union ktcp_addr *source)
{
	const u32 *value = family == AF_INET6 ? settings->source6 :
						settings->source4;
	unsigned int i;
	u32 ip[4], set = 0;

	for (i = 0; i < words_of(family); i++) {
		ip[i] = READ_ONCE(value[i]);
		set |= ip[i];
	}
	ktcp_addr_set(source, family, ip, 0);
	return set;
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

static void setting_print(struct seq_file *seq, const struct setting *setting,
			  const u32 *value)
{
	static const u32 any[4];

	if (setting->words)
		seq_printf(seq, "%s %s\n", setting->name,
			   setting->words[*value]);
	else if (!setting->family)
		seq_printf(seq, "%s %u\n", setting->name, *value);
	else if (!memcmp(value, any, words_of(setting->family) * sizeof(*value)))
		seq_printf(seq, "%s any\n", setting->name);
	else if (setting->family == AF_INET6)
		seq_printf(seq, "%s %pI6c\n", setting->name, value);
	else
		seq_printf(seq, "%s %pI4\n", setting->name, value);
}

static int settings_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;
	unsigned int i;

	/* Keep commits out, so that all values are from the same one. */
	mutex_lock(&ktcp->config_lock);
	for (i = 0; i < ARRAY_SIZE(settings); i++)
		setting_print(seq, &settings[i],
			      setting_value(&settings[i], &ktcp->settings));
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

static int take_address(struct ktcp_command *cmd, const struct setting *setting,
			u32 *value)
{
	bool v6 = setting->family == AF_INET6;
	size_t size = words_of(setting->family) * sizeof(*value);
	struct ktcp_prefix host;
	const char *word;
	int err;

	err = ktcp_command_text(cmd, "ADDRESS or any", &word);
	if (err)
		return err;
	if (!strcmp(word, "any")) {
		memset(value, 0, size);
		return 0;
	}
	if (ktcp_prefix_parse(word, &host) ||
	    host.addr.sa.sa_family != setting->family ||
	    host.bits != size * BITS_PER_BYTE ||
	    !ktcp_addr_is_unicast(&host.addr))
		return ktcp_command_fail(cmd, word, -EINVAL,
					 "not an address of a host; write any, or one like %s",
					 v6 ? "2001:db8::1" : "192.0.2.1");
	if (v6)
		memcpy(value, &host.addr.in6.sin6_addr, size);
	else
		memcpy(value, &host.addr.in.sin_addr, size);
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
	else if (setting->family)
		err = take_address(cmd, setting, value);
	else
		err = ktcp_command_u32(cmd, setting->name, setting->min,
				       setting->max, value);
	return err ?: ktcp_command_end(cmd);
}

static void *settings_begin(struct ktcp_net *ktcp)
{
	return kmemdup(&ktcp->settings, sizeof(ktcp->settings), GFP_KERNEL);
}

static void setting_publish(const struct setting *setting,
			    struct ktcp_net *ktcp, struct ktcp_settings *draft)
{
	u32 *to = setting_value(setting, &ktcp->settings);
	const u32 *from = setting_value(setting, draft);
	unsigned int i;

	for (i = 0; i < words_of(setting->family); i++)
		WRITE_ONCE(to[i], from[i]);
}

static int settings_commit(struct ktcp_command *cmd, void *draft)
{
	struct ktcp_net *ktcp = cmd->ktcp;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(settings); i++)
		setting_publish(&settings[i], ktcp, draft);
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
