// SPDX-License-Identifier: GPL-2.0-only
/* Sockets for legs to peers, which come from the address that peers expect. */

#include "relay/leg.h"
#include "control/net.h"
#include "control/settings.h"
#include "lib/socket.h"

/**
 * ktcp_leg_create() - A socket to connect to a peer with
 * @ktcp: the namespace
 * @peer: the peer's relay listener
 * @out: set on success; ktcp_socket_release() it
 *
 * A relay with several addresses would connect from the one that the route
 * prefers. Its peers admit the one that it is known by, so it says which
 * (source4, source6). While that is not an address of this host, for example
 * behind the NAT of a cloud or where another host has the virtual address,
 * the route decides.
 *
 * Context: may sleep.
 * Return: 0 or the error of the creation.
 */
int ktcp_leg_create(struct ktcp_net *ktcp, const union ktcp_addr *peer,
		    struct socket **out)
{
	sa_family_t family = peer->sa.sa_family;
	union ktcp_addr source;
	int err;

	err = ktcp_socket_create(ktcp->net, family, out);
	if (err || !ktcp_settings_source(&ktcp->settings, family, &source))
		return err;
	err = ktcp_socket_bind_source(*out, &source);
	if (!err || err == -EADDRNOTAVAIL)
		return 0;
	ktcp_socket_release(*out);
	return err;
}
