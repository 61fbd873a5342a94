// SPDX-License-Identifier: GPL-2.0-only
/* Finds the state of a network namespace. */

#include "control/net.h"

#include <net/netns/generic.h>

unsigned int ktcp_net_id;

/**
 * ktcp_net_of() - KTCP's part of a namespace
 * @net: the namespace
 *
 * Context: any, while the namespace is there.
 */
struct ktcp_net *ktcp_net_of(struct net *net)
{
	return net_generic(net, ktcp_net_id);
}
