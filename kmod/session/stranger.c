// SPDX-License-Identifier: GPL-2.0-only
/*
 * Anybody may connect to a relay listener, and occupies a thread until the
 * handshake ends. So the number of handshakes has a limit. Strangers must not
 * be able to use it up: all of them together may use a part of it, and each
 * prefix of strangers a part of that. An address is no stranger's if it is a
 * peer's, or if a key was proved from it lately.
 */

#include "session/stranger.h"
#include "control/net.h"
#include "lib/share.h"
#include "lib/socket.h"
#include "relay/peer.h"

/* How many connections may be in a handshake at one time, */
#define HANDSHAKES_MAX 1024
/* how many of them from strangers, */
#define STRANGERS_MAX (HANDSHAKES_MAX * 3 / 4)
/* and how many from one prefix of strangers. */
#define PREFIX_MAX (HANDSHAKES_MAX / 2)
/* How long an address is no stranger's after a key was proved from it. */
#define KNOWN (60 * 60 * HZ)
/* Stands in place of the prefix if an address is no stranger's. */
#define NO_PREFIX KTCP_PREFIXES

/* A connection that has ended has no address: count it for any prefix. */
static unsigned int prefix_of(struct ktcp_net *ktcp, struct socket *sock)
{
	union ktcp_addr from;

	if (ktcp_socket_remote(sock, &from))
		return 0;
	if (ktcp_recall_has(&ktcp->known, &from, 0) ||
	    ktcp_peer_is_at(ktcp, &from))
		return NO_PREFIX;
	return ktcp_share_slot(&ktcp->prefix_key, &from);
}

static bool admit_stranger(struct ktcp_net *ktcp, unsigned int prefix)
{
	if (atomic_inc_return(&ktcp->strangers) <= STRANGERS_MAX &&
	    ktcp_share_take(&ktcp->stranger_share, prefix, PREFIX_MAX))
		return true;
	atomic_dec(&ktcp->strangers);
	return false;
}

/**
 * ktcp_stranger_admit() - May a connection begin its handshake?
 * @ktcp: the namespace
 * @sock: the connection
 * @prefix: set; if the connection may begin, pass it to ktcp_stranger_leave()
 *
 * Context: may sleep.
 */
bool ktcp_stranger_admit(struct ktcp_net *ktcp, struct socket *sock,
			 unsigned int *prefix)
{
	*prefix = prefix_of(ktcp, sock);
	if (atomic_inc_return(&ktcp->handshakes) > HANDSHAKES_MAX) {
		atomic_dec(&ktcp->handshakes);
		return false;
	}
	if (*prefix == NO_PREFIX || admit_stranger(ktcp, *prefix))
		return true;
	atomic_dec(&ktcp->handshakes);
	return false;
}

/**
 * ktcp_stranger_leave() - A connection's handshake has ended
 * @ktcp: the namespace
 * @prefix: as ktcp_stranger_admit() set it
 *
 * Context: any.
 */
void ktcp_stranger_leave(struct ktcp_net *ktcp, unsigned int prefix)
{
	if (prefix != NO_PREFIX) {
		ktcp_share_give(&ktcp->stranger_share, prefix);
		atomic_dec(&ktcp->strangers);
	}
	atomic_dec(&ktcp->handshakes);
}

/**
 * ktcp_stranger_proved() - A connection has proved a key
 * @ktcp: the namespace
 * @sock: the connection
 *
 * Context: may sleep.
 */
void ktcp_stranger_proved(struct ktcp_net *ktcp, struct socket *sock)
{
	union ktcp_addr from;

	if (!ktcp_socket_remote(sock, &from))
		ktcp_recall_note(&ktcp->known, &from, 0, KNOWN);
}
