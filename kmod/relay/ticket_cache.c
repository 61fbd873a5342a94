// SPDX-License-Identifier: GPL-2.0-only
/*
 * The initiator's side of tickets: which one is good, and that no use of it is
 * made twice. A peer whose module was reloaded does not know its old tickets
 * any more, and closes each connection that uses one. So a ticket is trusted
 * only while the peer that gave it shows signs of life, and until a use is
 * refused.
 */

#include "relay/ticket_cache.h"
#include "lib/socket.h"

#include <linux/jiffies.h>
#include <linux/string.h>

/* How long a ticket is trusted after a sign of life. */
#define TRUST (60 * HZ)

/**
 * ktcp_ticket_cache_init() - Prepare a cache without a ticket
 * @cache: filled
 */
void ktcp_ticket_cache_init(struct ktcp_ticket_cache *cache)
{
	spin_lock_init(&cache->lock);
	cache->known = false;
}

/*
 * Make a use that nobody else makes. False if there is no ticket to trust, or if
 * a handshake would tell whether the peer speaks a later version, too.
 */
static bool next_use(struct ktcp_ticket_cache *cache, u16 key, u8 version,
		     struct ktcp_ticket *ticket)
{
	bool good;

	spin_lock_bh(&cache->lock);
	good = cache->known && cache->last.key == key &&
	       cache->last.offered >= version &&
	       time_before(jiffies, cache->fresh + TRUST);
	if (good) {
		cache->last.use++;
		*ticket = cache->last;
	}
	spin_unlock_bh(&cache->lock);
	return good;
}

static void keep_ticket(struct ktcp_ticket_cache *cache,
			const struct ktcp_ticket *ticket)
{
	spin_lock_bh(&cache->lock);
	/* If several handshakes each earned a ticket, keep the first. */
	if (!cache->known || cache->last.key != ticket->key ||
	    cache->last.offered < ticket->offered) {
		cache->last = *ticket;
		cache->known = true;
	}
	cache->fresh = jiffies;
	spin_unlock_bh(&cache->lock);
}

/**
 * ktcp_ticket_cache_resume() - Use the ticket for a new connection to the peer
 * @ktcp: the namespace
 * @cache: of the peer
 * @key: number of the key
 * @ticket: set; the other side owes its proof
 * @resume: filled; the first record of the connection
 *
 * Context: may sleep.
 * Return: 0, -ENOENT if there is no ticket, or another error.
 */
int ktcp_ticket_cache_resume(struct ktcp_net *ktcp,
			     struct ktcp_ticket_cache *cache, u16 key,
			     struct ktcp_ticket *ticket,
			     struct ktcp_wire_resume *resume)
{
	if (!next_use(cache, key, ktcp_handoff_offer(ktcp), ticket))
		return -ENOENT;
	return ktcp_handoff_resume(ktcp, ticket, resume);
}

/**
 * ktcp_ticket_cache_prove() - Prove the key on a new connection to the peer
 * @ktcp: the namespace
 * @cache: of the peer
 * @sock: the connection; its timeout bounds the handshake
 * @key: number of the key
 * @ticket: set; the other side may still owe its proof
 *
 * Waits for a round trip only if there is no ticket.
 *
 * Context: may sleep.
 * Return: 0, or an error of the handshake.
 */
int ktcp_ticket_cache_prove(struct ktcp_net *ktcp,
			    struct ktcp_ticket_cache *cache,
			    struct socket *sock, u16 key,
			    struct ktcp_ticket *ticket)
{
	struct ktcp_wire_resume resume;
	int err;

	err = ktcp_ticket_cache_resume(ktcp, cache, key, ticket, &resume);
	if (err != -ENOENT)
		return err ?: ktcp_socket_send(sock, &resume, sizeof(resume));
	err = ktcp_handoff_prove(ktcp, sock, key, ticket);
	if (!err)
		keep_ticket(cache, ticket);
	return err;
}

/**
 * ktcp_ticket_cache_trust() - Note a sign of life of the peer
 * @cache: of the peer
 *
 * Context: any.
 */
void ktcp_ticket_cache_trust(struct ktcp_ticket_cache *cache)
{
	spin_lock_bh(&cache->lock);
	cache->fresh = jiffies;
	spin_unlock_bh(&cache->lock);
}

/**
 * ktcp_ticket_cache_refused() - The peer has refused a use of its ticket
 * @cache: of the peer
 * @ticket: the ticket, with the use that was made
 *
 * Context: any.
 */
void ktcp_ticket_cache_refused(struct ktcp_ticket_cache *cache,
			       const struct ktcp_ticket *ticket)
{
	spin_lock_bh(&cache->lock);
	/* A handshake may have earned another ticket meanwhile. */
	if (!memcmp(cache->last.id, ticket->id, sizeof(ticket->id)))
		cache->known = false;
	spin_unlock_bh(&cache->lock);
}

/**
 * ktcp_ticket_cache_forget() - The peer may not know its ticket any more
 * @cache: of the peer
 *
 * Context: any.
 */
void ktcp_ticket_cache_forget(struct ktcp_ticket_cache *cache)
{
	spin_lock_bh(&cache->lock);
	cache->known = false;
	spin_unlock_bh(&cache->lock);
}
