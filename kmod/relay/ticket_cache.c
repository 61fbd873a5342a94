// SPDX-License-Identifier: GPL-2.0-only
/*
 * The initiator's side of tickets: which one is good, and that no use of it is
 * made twice. A peer that was reloaded knows its old tickets no more, and
 * closes every connection by one. So a ticket is trusted only while there are
 * signs of life of the peer that gave it, and no longer than the peer takes it.
 */

#include "relay/ticket_cache.h"
#include "lib/socket.h"

#include <linux/jiffies.h>
#include <linux/string.h>

/* How long a sign of life is good for. */
#define TRUST (60 * HZ)

/**
 * ktcp_ticket_cache_init() - No ticket is known yet
 * @cache: filled
 */
void ktcp_ticket_cache_init(struct ktcp_ticket_cache *cache)
{
	spin_lock_init(&cache->lock);
	cache->known = false;
}

/* A use that nobody else makes. False: there is no ticket to trust. */
static bool next_use(struct ktcp_ticket_cache *cache, u16 key,
		     struct ktcp_ticket *ticket)
{
	bool good;

	spin_lock_bh(&cache->lock);
	good = cache->known && cache->last.key == key &&
	       time_before(jiffies, cache->fresh + TRUST);
	if (good) {
		cache->last.use++;
		*ticket = cache->last;
	}
	spin_unlock_bh(&cache->lock);
	return good;
}

static void keep(struct ktcp_ticket_cache *cache,
		 const struct ktcp_ticket *ticket)
{
	spin_lock_bh(&cache->lock);
	/* The first of several that were earned at once serves all. */
	if (!cache->known || cache->last.key != ticket->key) {
		cache->last = *ticket;
		cache->known = true;
	}
	cache->fresh = jiffies;
	spin_unlock_bh(&cache->lock);
}

/**
 * ktcp_ticket_cache_resume() - What a connection by a ticket begins with
 * @ktcp: the namespace
 * @cache: of the peer
 * @key: number of the key
 * @ticket: set; the other side's proof is owed
 * @resume: filled
 *
 * Context: may sleep.
 * Return: 0, -ENOENT where there is no ticket, or another error.
 */
int ktcp_ticket_cache_resume(struct ktcp_net *ktcp,
			     struct ktcp_ticket_cache *cache, u16 key,
			     struct ktcp_ticket *ticket,
			     struct ktcp_wire_resume *resume)
{
	if (!next_use(cache, key, ticket))
		return -ENOENT;
	return ktcp_handoff_resume(ktcp, ticket, resume);
}

/**
 * ktcp_ticket_cache_prove() - Prove the key on a new connection to the peer
 * @ktcp: the namespace
 * @cache: of the peer
 * @sock: the connection; its timeout bounds the handshake
 * @key: number of the key
 * @ticket: set; the other side's proof may be owed still
 *
 * Waits for a round trip only where there is no ticket.
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
		keep(cache, ticket);
	return err;
}

/**
 * ktcp_ticket_cache_trust() - A sign of life of the peer that gave the ticket
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
 * ktcp_ticket_cache_refused() - The peer did not take a use of its ticket
 * @cache: of the peer
 * @ticket: as it was used
 *
 * Context: any.
 */
void ktcp_ticket_cache_refused(struct ktcp_ticket_cache *cache,
			       const struct ktcp_ticket *ticket)
{
	spin_lock_bh(&cache->lock);
	/* A handshake may have earned another one meanwhile. */
	if (!memcmp(cache->last.id, ticket->id, sizeof(ticket->id)))
		cache->known = false;
	spin_unlock_bh(&cache->lock);
}

/**
 * ktcp_ticket_cache_forget() - The peer may know its ticket no more
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
