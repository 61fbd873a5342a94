/* SPDX-License-Identifier: GPL-2.0-only */
/* Notices when a split's connections end, also if the other end is silent. */
#ifndef KTCP_WATCH_H
#define KTCP_WATCH_H

#include "lib/callbacks.h"
#include "lib/socket_state.h"

#include <linux/timer.h>
#include <linux/types.h>
#include <linux/workqueue.h>

struct ktcp_split;

/**
 * struct ktcp_watched - One of the two connections; its sk_user_data
 * @split: the split that it belongs to
 * @side: which of the two, enum ktcp_side
 * @on: the callbacks are in place
 * @heard: jiffies when the other end was last known to be there
 * @flush: with the engine "threads", how far the last bytes to it have come
 * @own: the socket's own callbacks
 */
struct ktcp_watched {
	struct ktcp_split *split;
	unsigned int side;
	bool on;
	unsigned long heard;
	struct ktcp_flush flush;
	struct ktcp_callbacks own;
};

/**
 * struct ktcp_watch - What watches a split
 * @work: does what the end of a connection calls for
 * @timer: looks for what no callback reports
 * @una: sum of both sides' snd_una, which changes when an end acknowledges
 * bytes
 * @end: the connections
 * @engine: work of the engine "event", NULL with "threads"
 * @release: gives the callbacks back; NULL while none was taken
 */
struct ktcp_watch {
	struct work_struct work;
	struct timer_list timer;
	u32 una;
	struct ktcp_watched end[2];
	struct work_struct *engine;
	void (*release)(struct ktcp_split *split);
};

void ktcp_watch_add(struct ktcp_split *split, unsigned int side);
void ktcp_watch_start(struct ktcp_split *split);
void ktcp_watch_kick(struct ktcp_split *split, struct work_struct *work);

int ktcp_watch_module_init(void);
void ktcp_watch_module_exit(void);

#endif /* KTCP_WATCH_H */
