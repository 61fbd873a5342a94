/* SPDX-License-Identifier: GPL-2.0-only */
/* Says where the flows with a mark go. */
#ifndef KTCP_ROUTE_H
#define KTCP_ROUTE_H

#include "lib/address.h"

#include <linux/kref.h>

struct ktcp_net;
struct ktcp_proc_file;

#define KTCP_HOPS_MAX 8
#define KTCP_PATHS_MAX 4

/* Set by the gate in the mark of a flow that it takes, see gate.c. */
#define KTCP_MARK_TAKEN 0x80000000u
#define KTCP_MARK_MAX 0x7fffffffu

/**
 * struct ktcp_path - The relays that a stream goes over
 * @hops: number of relays, 0 for a direct route
 * @hop: their addresses, the next one first
 */
struct ktcp_path {
	u8 hops;
	union ktcp_addr hop[KTCP_HOPS_MAX];
};

/**
 * struct ktcp_route - A route; never changed once it is in force
 * @ref: held by the table and by each split on it
 * @mark: mark of the flows that take it
 * @paths: number of paths to the target
 * @path: the path to take, then its backups, the best one first
 * @flags: how to connect the target, KTCP_OPEN_ flags
 * @service: all flows go to @target, whatever their own target is
 * @target: where the flows of a service end
 */
struct ktcp_route {
	struct kref ref;
	u32 mark;
	u8 paths;
	struct ktcp_path path[KTCP_PATHS_MAX];
	u8 flags;
	bool service;
	union ktcp_addr target;
};

struct ktcp_route *ktcp_route_get(struct ktcp_net *ktcp, u32 mark);
bool ktcp_route_exists(struct ktcp_net *ktcp, u32 mark);
void ktcp_route_put(struct ktcp_route *route);
const struct ktcp_path *ktcp_route_choose(struct ktcp_net *ktcp,
					  const struct ktcp_route *route);

extern const struct ktcp_proc_file ktcp_routes_file;

#endif /* KTCP_ROUTE_H */
