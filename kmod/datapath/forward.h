/* SPDX-License-Identifier: GPL-2.0-only */
/* What the engines share: how bytes move, and how a direction ends. */
#ifndef KTCP_FORWARD_H
#define KTCP_FORWARD_H

#include "datapath/split.h"
#include "datapath/transfer.h"
#include "lib/socket_state.h"

/* Time between two looks at what no callback reports. */
#define KTCP_LOOK_AGAIN (HZ / 50 + 1)

int ktcp_forward_confirm(struct ktcp_split *split, long wait);
bool ktcp_forward_opens(const struct ktcp_split *split, enum ktcp_side from);
u64 ktcp_forward_read(const struct ktcp_split *split, enum ktcp_side side);
enum ktcp_transfer_end ktcp_forward_move(struct ktcp_split *split,
					 enum ktcp_side from);
enum ktcp_transfer_end ktcp_forward_move_atomic(struct ktcp_split *split,
						enum ktcp_side from);
void ktcp_forward_account(struct ktcp_split *split, enum ktcp_side from,
			  size_t bytes);
void ktcp_forward_end(struct ktcp_split *split, enum ktcp_side from);
bool ktcp_forward_is_broken(const struct ktcp_split *split);
bool ktcp_forward_is_flushed(const struct ktcp_split *split,
			     enum ktcp_side side, struct ktcp_flush *flush);
bool ktcp_forward_is_out(const struct ktcp_split *split, enum ktcp_side side,
			 struct ktcp_flush *flush);
long ktcp_forward_idle_limit(const struct ktcp_split *split);
bool ktcp_forward_is_idle(const struct ktcp_split *split);

#endif /* KTCP_FORWARD_H */
