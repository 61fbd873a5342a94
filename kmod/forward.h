/* SPDX-License-Identifier: GPL-2.0-only */
/* Moves the bytes of a split whose two sides are connected. */
#ifndef KTCP_FORWARD_H
#define KTCP_FORWARD_H

#include "split.h"
#include "transfer.h"

/* How long bytes in flight may hold up an RST. */
#define KTCP_FLUSH_MAX (10 * HZ)

bool ktcp_forward_begin(struct ktcp_split *split);
void ktcp_threads_run(struct ktcp_split *split);

int ktcp_event_init(void);
void ktcp_event_exit(void);

/* For the engines. */
void ktcp_event_run(struct ktcp_split *split);
int ktcp_forward_confirm(struct ktcp_split *split, long wait);
enum ktcp_transfer_end ktcp_forward_move(struct ktcp_split *split,
					 enum ktcp_side from);
enum ktcp_transfer_end ktcp_forward_move_atomic(struct ktcp_split *split,
						enum ktcp_side from);
void ktcp_forward_account(struct ktcp_split *split, enum ktcp_side from,
			  size_t bytes);
long ktcp_forward_idle_limit(const struct ktcp_split *split);
bool ktcp_forward_is_idle(const struct ktcp_split *split);

#endif /* KTCP_FORWARD_H */
