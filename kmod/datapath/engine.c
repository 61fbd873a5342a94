// SPDX-License-Identifier: GPL-2.0-only
/* Bytes begin to flow: which engine moves them. */

#include "datapath/engine.h"
#include "control/net.h"
#include "datapath/event.h"
#include "datapath/split.h"
#include "datapath/trace.h"
#include "datapath/watch.h"
#include "lib/socket.h"

#include <linux/sched.h>

/**
 * ktcp_engine_begin() - Forward, where that takes no thread
 * @split: with both sides connected; a reference is taken over on success
 *
 * Context: may sleep, but waits for nobody.
 * Return: false where the engine is "threads": call ktcp_threads_run().
 */
bool ktcp_engine_begin(struct ktcp_split *split)
{
	u32 keepalive_s = READ_ONCE(split->ktcp->settings.keepalive_s);
	unsigned int side;

	/* Whoever waits is woken when a connection ends, by itself or by us. */
	for (side = 0; side < KTCP_SIDES; side++) {
		ktcp_socket_set_timeout(split->sock[side],
					MAX_SCHEDULE_TIMEOUT);
		if (!split->relay[side])
			ktcp_socket_keepalive(split->sock[side], keepalive_s);
	}
	ktcp_watch_start(split);
	trace_ktcp_open(split);
	if (READ_ONCE(split->ktcp->settings.engine) != KTCP_ENGINE_EVENT)
		return false;
	ktcp_event_run(split);
	return true;
}
