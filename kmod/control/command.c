// SPDX-License-Identifier: GPL-2.0-only
/*
 * The grammar that all procfs files share: words, numbers, addresses. If one of
 * them is wrong, last_error gets a sentence about it.
 *
 * Context of all: process context, the namespace's config_lock held.
 */

#include "control/command.h"
#include "control/net.h"

#include <linux/ctype.h>
#include <linux/kernel.h>
#include <linux/string.h>

/* The longest word of a secret file that is no secret: a key's number. */
#define NO_SECRET_MAX 5

static const char *quotable(const struct ktcp_command *cmd, const char *word)
{
	if (!word)
		return "";
	return cmd->secret && strlen(word) > NO_SECRET_MAX ? "..." : word;
}

/* Print the line's number and the word; neither if the whole write failed. */
static int print_place(char *out, const struct ktcp_command *cmd,
		       const char *word)
{
	if (!cmd->line)
		return scnprintf(out, KTCP_ERROR_MAX, "%s: ", cmd->file);
	return scnprintf(out, KTCP_ERROR_MAX, "%s: line %u: \"%.64s\": ",
			 cmd->file, cmd->line, quotable(cmd, word));
}

/* A writer may write any bytes; what a reader gets goes to a terminal. */
static void make_printable(char *text)
{
	for (; *text; text++)
		if (!isascii(*text) || !isprint(*text))
			*text = '?';
}

/**
 * ktcp_command_fail() - Say in last_error what is wrong with a line
 * @cmd: the line
 * @word: word at fault, NULL if a word is missing
 * @err: negative errno for the writer
 * @why: what is wrong and what would be right
 *
 * Return: @err, so that a parser can end with it.
 */
int ktcp_command_fail(struct ktcp_command *cmd, const char *word, int err,
		      const char *why, ...)
{
	char *out = cmd->ktcp->last_error;
	struct va_format vaf;
	va_list args;
	int length;

	lockdep_assert_held(&cmd->ktcp->config_lock);
	va_start(args, why);
	vaf.fmt = why;
	vaf.va = &args;
	length = print_place(out, cmd, word);
	snprintf(out + length, KTCP_ERROR_MAX - length, "%pV", &vaf);
	va_end(args);
	make_printable(out);
	return err;
}

/**
 * ktcp_command_split() - Cut a line into words
 * @cmd: filled; file and line are set already
 * @text: the line without its end, changed
 *
 * Return: 0, or -EINVAL for more words than any command has.
 */
int ktcp_command_split(struct ktcp_command *cmd, char *text)
{
	char *word;

	cmd->words = 0;
	cmd->next = 0;
	while ((word = strsep(&text, " \t\r"))) {
		if (!*word)
			continue;
		if (cmd->words == KTCP_WORDS_MAX)
			return ktcp_command_fail(cmd, word, -EINVAL,
						 "too many words");
		cmd->word[cmd->words++] = word;
	}
	return 0;
}

/**
 * ktcp_command_peek() - The next word, not taken
 * @cmd: the line
 *
 * Return: the word, NULL at the end.
 */
const char *ktcp_command_peek(const struct ktcp_command *cmd)
{
	return cmd->next < cmd->words ? cmd->word[cmd->next] : NULL;
}

/**
 * ktcp_command_accept() - Take the next word if it is this one
 * @cmd: the line
 * @word: the word
 */
bool ktcp_command_accept(struct ktcp_command *cmd, const char *word)
{
	const char *next = ktcp_command_peek(cmd);

	if (!next || strcmp(next, word))
		return false;
	cmd->next++;
	return true;
}

/**
 * ktcp_command_text() - Take any word
 * @cmd: the line
 * @what: what the word is, for the message
 * @text: set to the word
 *
 * Return: 0, or -EINVAL if the line ends here.
 */
int ktcp_command_text(struct ktcp_command *cmd, const char *what,
		      const char **text)
{
	*text = ktcp_command_peek(cmd);
	if (!*text)
		return ktcp_command_fail(cmd, NULL, -EINVAL, "%s is missing",
					 what);
	cmd->next++;
	return 0;
}

static void join_names(char *out, size_t size, const char *const *names,
		       unsigned int count)
{
	unsigned int i, used = 0;

	*out = '\0';
	for (i = 0; i < count; i++)
		used += scnprintf(out + used, size - used, "%s%s",
				  i ? "|" : "", names[i]);
}

/**
 * ktcp_command_choice() - Take one of several words
 * @cmd: the line
 * @names: the words
 * @count: how many
 *
 * Return: index of the word, or -EINVAL.
 */
int ktcp_command_choice(struct ktcp_command *cmd, const char *const *names,
			unsigned int count)
{
	const char *word = ktcp_command_peek(cmd);
	char all[160];
	unsigned int i;

	for (i = 0; word && i < count; i++) {
		if (!strcmp(word, names[i])) {
			cmd->next++;
			return i;
		}
	}
	join_names(all, sizeof(all), names, count);
	return ktcp_command_fail(cmd, word, -EINVAL, "%s; write %s",
				 word ? "unknown word" : "a word is missing",
				 all);
}

/**
 * ktcp_command_u32() - Take a number, decimal or 0x hexadecimal
 * @cmd: the line
 * @what: what the number is, for the message
 * @min: smallest
 * @max: largest
 * @value: set on success
 *
 * Return: 0, -EINVAL, or -ERANGE.
 */
int ktcp_command_u32(struct ktcp_command *cmd, const char *what, u32 min,
		     u32 max, u32 *value)
{
	const char *word;
	u64 wide;
	int err;

	err = ktcp_command_text(cmd, what, &word);
	if (err)
		return err;
	/* A leading 0 would silently mean octal; signs are not allowed. */
	if (!isdigit(word[0]) ||
	    (word[0] == '0' && word[1] && tolower(word[1]) != 'x'))
		return ktcp_command_fail(cmd, word, -EINVAL,
					 "%s is not a number", what);
	err = kstrtou64(word, 0, &wide);
	if (err == -EINVAL)
		return ktcp_command_fail(cmd, word, -EINVAL,
					 "%s is not a number", what);
	if (err || wide < min || wide > max)
		return ktcp_command_fail(cmd, word, -ERANGE,
					 "%s is out of range; %u to %u", what,
					 min, max);
	*value = wide;
	return 0;
}

/**
 * ktcp_command_addr() - Take an address with its port
 * @cmd: the line
 * @addr: set on success
 *
 * Return: 0, -EINVAL, or -ERANGE.
 */
int ktcp_command_addr(struct ktcp_command *cmd, union ktcp_addr *addr)
{
	const char *word;
	int err;

	err = ktcp_command_text(cmd, "ADDRESS:PORT", &word);
	if (err)
		return err;
	err = ktcp_addr_parse(word, addr);
	if (err)
		return ktcp_command_fail(cmd, word, err,
					 "not ADDRESS:PORT; write 192.0.2.1:5565 or [2001:db8::1]:5565");
	if (!ktcp_addr_is_unicast(addr))
		return ktcp_command_fail(cmd, word, -EINVAL,
					 "not the unicast address of another host");
	return 0;
}

/**
 * ktcp_command_prefix() - Take a prefix or a bare address
 * @cmd: the line
 * @prefix: set on success
 *
 * Return: 0, -EINVAL, or -ERANGE.
 */
int ktcp_command_prefix(struct ktcp_command *cmd, struct ktcp_prefix *prefix)
{
	const char *word;
	int err;

	err = ktcp_command_text(cmd, "PREFIX", &word);
	if (err)
		return err;
	err = ktcp_prefix_parse(word, prefix);
	if (err)
		return ktcp_command_fail(cmd, word, err,
					 "not a prefix; write 192.0.2.0/24 or 2001:db8::/32, no bits beyond the length");
	return 0;
}

/**
 * ktcp_command_end() - Insist that nothing follows
 * @cmd: the line
 *
 * Return: 0, or -EINVAL.
 */
int ktcp_command_end(struct ktcp_command *cmd)
{
	const char *word = ktcp_command_peek(cmd);

	if (!word)
		return 0;
	return ktcp_command_fail(cmd, word, -EINVAL,
				 "nothing may follow here");
}
