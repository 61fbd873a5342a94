/* SPDX-License-Identifier: GPL-2.0-only */
/* Another relay's connection that waits for its OPEN without a thread. */
#ifndef KTCP_PARK_H
#define KTCP_PARK_H

#include "lib/thread_pool.h"

struct ktcp_split;

void ktcp_park(struct ktcp_split *split, ktcp_thread_fn resume);
void ktcp_park_leave(struct ktcp_split *split);

#endif /* KTCP_PARK_H */
