/* SPDX-License-Identifier: GPL-2.0-only */
/* Streams in records on a split's relay legs, which outlive them. */
#ifndef KTCP_FRAMED_H
#define KTCP_FRAMED_H

#include "datapath/split.h"

void ktcp_framed_on_idle(void (*fn)(struct ktcp_net *ktcp, struct socket *near,
				    const struct ktcp_leg *leg));
void ktcp_framed_begin(struct ktcp_split *split, enum ktcp_side side);
bool ktcp_framed_is_plain(const struct ktcp_split *split, enum ktcp_side from);
void ktcp_framed_moved(struct ktcp_split *split, enum ktcp_side from,
		       enum ktcp_framing before);
void ktcp_framed_lasts(struct ktcp_split *split);
void ktcp_framed_release(struct ktcp_split *split, enum ktcp_side side,
			 bool ended);

#endif /* KTCP_FRAMED_H */
