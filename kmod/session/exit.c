// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exit rules. The first rule that matches decides; a target that no rule
 * matches is denied. Addresses that only this host should reach are denied
 * before any rule is looked at, so that no rule can open them by mistake.
 */

#include "session/exit.h"
#include "control/command.h"
#include "control/net.h"
#include "control/procfs.h"
#include "control/table.h"

#include <linux/kref.h>
#include <linux/seq_file.h>
#include <linux/slab.h>

/**
 * struct exit_rule - One rule; only @hits ever changes
 * @ref: held by the table and by drafts of it
 * @allow: allow these targets; if false, deny them
 * @prefix: addresses of the targets
 * @first: first port
 * @last: last port
 * @any_port: the rule was written without ports, and is about all of them
 * @hits: how many targets it decided on
 */
struct exit_rule {
	struct kref ref;
	bool allow;
	struct ktcp_prefix prefix;
	u16 first, last;
	bool any_port;
	atomic64_t hits;
};

static void rule_release(struct kref *ref)
{
	kfree(container_of(ref, struct exit_rule, ref));
}

static void rule_table_get(void *object)
{
	kref_get(&((struct exit_rule *)object)->ref);
}

static void rule_table_put(void *object)
{
	kref_put(&((struct exit_rule *)object)->ref, rule_release);
}

static const struct ktcp_table_type rule_table = {
	.get = rule_table_get,
	.put = rule_table_put,
};

static bool rule_matches(const struct exit_rule *rule,
			 const union ktcp_addr *target)
{
	u16 port = ntohs(ktcp_addr_port(target));

	return port >= rule->first && port <= rule->last &&
	       ktcp_prefix_contains(&rule->prefix, target);
}

static bool rules_allow(const struct ktcp_table *table,
			const union ktcp_addr *target)
{
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++) {
		struct exit_rule *rule = table->object[i];

		if (rule_matches(rule, target)) {
			atomic64_inc(&rule->hits);
			return rule->allow;
		}
	}
	return false;
}

static bool address_is_allowed(struct ktcp_net *ktcp,
			       const union ktcp_addr *target)
{
	bool allowed;

	if (!ktcp_addr_port(target) || !ktcp_addr_is_unicast(target) ||
	    ktcp_addr_is_local(ktcp->net, target))
		return false;
	rcu_read_lock();
	allowed = rules_allow(rcu_dereference(ktcp->exits), target);
	rcu_read_unlock();
	return allowed;
}

/**
 * ktcp_exit_allows() - May this relay connect to the target?
 * @ktcp: the namespace
 * @target: address and port from a client's SYN or a relay's OPEN
 *
 * If a translator or a tunnel takes packets on to an IPv4 address, that address
 * has to be allowed, too.
 *
 * Context: any.
 */
bool ktcp_exit_allows(struct ktcp_net *ktcp, const union ktcp_addr *target)
{
	union ktcp_addr inner;

	if (ktcp_addr_embedded(target, &inner) &&
	    !address_is_allowed(ktcp, &inner))
		return false;
	return address_is_allowed(ktcp, target);
}

static int take_ports(struct ktcp_command *cmd, struct exit_rule *rule)
{
	const char *word;
	char *dash;
	int err;

	if (!ktcp_command_accept(cmd, "port")) {
		rule->any_port = true;
		rule->first = 1;
		rule->last = U16_MAX;
		return 0;
	}
	err = ktcp_command_text(cmd, "PORT or PORT-PORT", &word);
	if (err)
		return err;
	dash = strchr(word, '-');
	if (dash)
		*dash = '\0';
	err = kstrtou16(word, 10, &rule->first) ?:
	      kstrtou16(dash ? dash + 1 : word, 10, &rule->last);
	if (dash)
		*dash = '-';
	if (err)
		return ktcp_command_fail(cmd, word, err,
					 "not PORT or PORT-PORT");
	if (!rule->first || rule->first > rule->last)
		return ktcp_command_fail(cmd, word, -ERANGE,
					 "ports are 1 to 65535, the smaller one first");
	return 0;
}

static int take_rule(struct ktcp_command *cmd, struct exit_rule *rule)
{
	static const char *const verdicts[] = { "deny", "allow" };
	int verdict = ktcp_command_choice(cmd, verdicts, ARRAY_SIZE(verdicts));

	if (verdict < 0)
		return verdict;
	rule->allow = verdict;
	return ktcp_command_prefix(cmd, &rule->prefix) ?:
	       take_ports(cmd, rule) ?: ktcp_command_end(cmd);
}

static bool rule_same(const struct exit_rule *a, const struct exit_rule *b)
{
	return a->allow == b->allow && a->any_port == b->any_port &&
	       a->first == b->first && a->last == b->last &&
	       ktcp_prefix_equal(&a->prefix, &b->prefix);
}

static int rule_find(const struct ktcp_table *table,
		     const struct exit_rule *wanted)
{
	u32 i;

	for (i = 0; i < ktcp_table_count(table); i++)
		if (rule_same(table->object[i], wanted))
			return i;
	return -ENOENT;
}

static int rule_add(struct ktcp_command *cmd, struct ktcp_table **draft,
		    const struct exit_rule *wanted)
{
	struct exit_rule *rule;

	if (rule_find(*draft, wanted) >= 0)
		return ktcp_command_fail(cmd, cmd->word[1], -EEXIST,
					 "this rule is there already");
	rule = kmemdup(wanted, sizeof(*wanted), GFP_KERNEL);
	if (!rule)
		return ktcp_command_fail(cmd, NULL, -ENOMEM, "no memory");
	kref_init(&rule->ref);
	return ktcp_table_insert(draft, (*draft)->count, rule);
}

static int exits_line(struct ktcp_command *cmd, void **draft)
{
	struct exit_rule rule = {};
	bool del = ktcp_command_accept(cmd, "del");
	int place, err = take_rule(cmd, &rule);

	if (err)
		return err;
	if (!del)
		return rule_add(cmd, (struct ktcp_table **)draft, &rule);
	place = rule_find(*draft, &rule);
	if (place < 0)
		return ktcp_command_fail(cmd, cmd->word[2], -ENOENT,
					 "no such rule");
	ktcp_table_remove(*draft, place);
	return 0;
}

static void rule_print(struct seq_file *seq, const struct exit_rule *rule)
{
	seq_printf(seq, "%s %pISc/%u", rule->allow ? "allow" : "deny",
		   &rule->prefix.addr, rule->prefix.bits);
	if (!rule->any_port)
		seq_printf(seq, " port %u-%u", rule->first, rule->last);
}

static int exits_show(struct seq_file *seq, void *unused)
{
	struct ktcp_net *ktcp = seq->private;
	const struct ktcp_table *table;
	u32 i;

	rcu_read_lock();
	table = rcu_dereference(ktcp->exits);
	for (i = 0; i < ktcp_table_count(table); i++) {
		struct exit_rule *rule = table->object[i];

		rule_print(seq, rule);
		seq_puts(seq, "\n# ");
		rule_print(seq, rule);
		seq_printf(seq, " hits %lld\n", atomic64_read(&rule->hits));
	}
	rcu_read_unlock();
	return 0;
}

const struct ktcp_proc_file ktcp_exits_file = {
	.name = "exits",
	.mode = 0600,
	.show = exits_show,
	.line = exits_line,
	.table_type = &rule_table,
	.table_slot = offsetof(struct ktcp_net, exits),
};
