/* SPDX-License-Identifier: GPL-2.0-only */
/* The engine "threads": a thread for each direction. */
#ifndef KTCP_THREADS_H
#define KTCP_THREADS_H

#include <linux/types.h>

struct ktcp_split;

void ktcp_threads_run(struct ktcp_split *split);
bool ktcp_threads_end(struct ktcp_split *split);

#endif /* KTCP_THREADS_H */
