/* SPDX-License-Identifier: GPL-2.0-only */
/* One line written to a procfs file, cut into words. */
#ifndef KTCP_COMMAND_H
#define KTCP_COMMAND_H

#include "lib/address.h"

#include <linux/types.h>

struct ktcp_net;

#define KTCP_WORDS_MAX 16
#define KTCP_ERROR_MAX 256

/**
 * struct ktcp_command - A line that is being carried out
 * @ktcp: namespace it acts on
 * @file: name of the procfs file, for the message
 * @secret: nobody may read the file, so messages must not quote it
 * @line: number of the line within its write, from 1
 * @words: number of words
 * @word: the words, in a buffer of the writer
 * @next: index of the first word that nobody has taken yet
 */
struct ktcp_command {
	struct ktcp_net *ktcp;
	const char *file;
	bool secret;
	unsigned int line;
	unsigned int words;
	char *word[KTCP_WORDS_MAX];
	unsigned int next;
};

__printf(4, 5)
int ktcp_command_fail(struct ktcp_command *cmd, const char *word, int err,
		      const char *why, ...);

int ktcp_command_split(struct ktcp_command *cmd, char *text);
const char *ktcp_command_peek(const struct ktcp_command *cmd);
bool ktcp_command_accept(struct ktcp_command *cmd, const char *word);
int ktcp_command_choice(struct ktcp_command *cmd, const char *const *names,
			unsigned int count);
int ktcp_command_u32(struct ktcp_command *cmd, const char *what, u32 min,
		     u32 max, u32 *value);
int ktcp_command_addr(struct ktcp_command *cmd, union ktcp_addr *addr);
int ktcp_command_prefix(struct ktcp_command *cmd, struct ktcp_prefix *prefix);
int ktcp_command_text(struct ktcp_command *cmd, const char *what,
		      const char **text);
int ktcp_command_end(struct ktcp_command *cmd);

#endif /* KTCP_COMMAND_H */
