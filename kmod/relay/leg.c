// SPDX-License-Identifier: GPL-2.0-only
/* Makes sockets for legs to peers, which use the address that peers expect. */

#include "relay/leg.h"
#include "control/net.h"
#include "control/settings.h"
#include "lib/connect.h"
#include "lib/socket.h"

/**
 * ktcp_leg_create() - Make a socket for a connection to a peer
 * @ktcp: the namespace
 * @peer: the peer's relay listener
 * @out: set on success; ktcp_socket_release() it
 *
 * A relay with several addresses would connect from the one that the kernel's
 * routes prefer. But its peers admit only the address that they know it by,
 * which the settings source4 and source6 name. While this host does not have
 * that address, the kernel's routes decide: behind the NAT of a cloud, for
 * example, or while another host has the virtual address.
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
