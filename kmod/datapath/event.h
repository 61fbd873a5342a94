/* SPDX-License-Identifier: GPL-2.0-only */
/* The engine "event": bytes move in softirq and in works, without a thread. */
#ifndef KTCP_EVENT_H
#define KTCP_EVENT_H

#include <linux/types.h>

struct ktcp_split;

void ktcp_event_run(struct ktcp_split *split);

#endif /* KTCP_EVENT_H */
