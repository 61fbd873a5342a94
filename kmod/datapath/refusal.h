/* SPDX-License-Identifier: GPL-2.0-only */
/* Remembers targets that refused, or did not answer, a moment ago. */
#ifndef KTCP_REFUSAL_H
#define KTCP_REFUSAL_H

#include <linux/types.h>

struct ktcp_flow;
struct ktcp_net;
struct ktcp_split;

void ktcp_refusal_note(struct ktcp_split *split, int err);
void ktcp_refusal_look(struct ktcp_split *split);
bool ktcp_refusal_awaits(struct ktcp_net *ktcp, const struct ktcp_flow *flow);

#endif /* KTCP_REFUSAL_H */
