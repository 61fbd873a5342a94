/* SPDX-License-Identifier: GPL-2.0-only */
/* Decides at a flow's first SYN whether it is taken or passes by. */
#ifndef KTCP_GATE_H
#define KTCP_GATE_H

#include <linux/types.h>

struct ktcp_net;

int ktcp_gate_open(struct ktcp_net *ktcp, bool redirect);
void ktcp_gate_close(struct ktcp_net *ktcp, bool redirect);

#endif /* KTCP_GATE_H */
