// SPDX-License-Identifier: GPL-2.0-only
/* Starts to forward a split, with the engine that the settings name. */

#include "datapath/engine.h"
#include "control/net.h"
#include "datapath/event.h"
#include "datapath/split.h"
#include "datapath/trace.h"
#include "datapath/watch.h"
#include "lib/keepalive.h"
#include "lib/socket.h"
#include "lib/socket_state.h"

#include <linux/sched.h>

/**
 * ktcp_engine_begin() - Start to forward, if the engine needs no thread
 * @split: the split, with both sides connected; a reference is taken over on
 * success
 *
 * Context: may sleep, but waits for nobody.
 * Return: false if the engine is "threads": then call ktcp_threads_run().
 */
bool ktcp_engine_begin(struct ktcp_split *split)
{
	u32 keepalive_s = READ_ONCE(split->ktcp->settings.keepalive_s);
	unsigned int side;

	/* No time-out any more: the end of a connection wakes its waiters. */
	for (side = 0; side < KTCP_SIDES; side++) {
		ktcp_socket_set_timeout(split->sock[side],
					MAX_SCHEDULE_TIMEOUT);
		split->offered[side] = ktcp_socket_offered(split->sock[side]);
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
