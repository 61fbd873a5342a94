/* SPDX-License-Identifier: GPL-2.0-only */
/* Moves the bytes of a split whose two sides are connected. */
#ifndef KTCP_FORWARD_H
#define KTCP_FORWARD_H

struct ktcp_split;

void ktcp_forward_run(struct ktcp_split *split);

#endif /* KTCP_FORWARD_H */
