/* SPDX-License-Identifier: GPL-2.0-only */
/* The engine "event": softirq and a work item move bytes, without a thread. */
#ifndef KTCP_EVENT_H
#define KTCP_EVENT_H

#include <linux/types.h>

struct ktcp_split;

void ktcp_event_run(struct ktcp_split *split);

#endif /* KTCP_EVENT_H */
