// SPDX-License-Identifier: GPL-2.0-only
/*
 * The acceptor's side of tickets. A handshake with nonces costs a round trip;
 * on a leg of 215 ms that is as long as everything else together. A relay that
 * has done a handshake gets a ticket, and each of its later connections uses
 * the ticket with a number that was never used before. This needs no clock, and
 * a relay that restarts knows none of its old tickets.
 */

#include "relay/ticket_issuer.h"
#include "control/net.h"
#include "relay/use_window.h"

#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/wait.h>

/* One for each relay that connects to this one. */
#define TICKETS_MAX 4096
/* Bits that all windows together may have above their minimum: 4 MiB. */
#define GROWN_MAX (256 * KTCP_USE_WINDOW_MAX)

/**
 * struct ticket - A ticket whose key was proved
 * @node: in the list of its namespace
 * @id: the bytes by which the other relay names it
 * @key: number of the key that was proved for it
 * @window: which of its uses were made
 */
struct ticket {
	struct list_head node;
	u8 id[KTCP_TICKET_BYTES];
	u16 key;
	struct ktcp_use_window window;
};

/**
 * struct ktcp_ticket_issuer - The tickets that this relay gave to others
 * @lock: protects all lists
 * @tickets: the most recently used one comes first
 * @count: length of @tickets
 * @grown: bits that their windows have above the minimum
 * @unproved: tickets whose proof is on its way
 * @settled: woken when one of these is proved or withdrawn
 */
struct ktcp_ticket_issuer {
	spinlock_t lock; /* protects all lists */
	struct list_head tickets;
	u32 count;
	u32 grown;
	struct list_head unproved;
	wait_queue_head_t settled;
};

/**
 * ktcp_ticket_issuer_init() - Prepare a namespace that has given no ticket yet
 * @ktcp: the namespace
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_ticket_issuer_init(struct ktcp_net *ktcp)
{
	struct ktcp_ticket_issuer *all = kzalloc(sizeof(*all), GFP_KERNEL);

	if (!all)
		return -ENOMEM;
	spin_lock_init(&all->lock);
	INIT_LIST_HEAD(&all->tickets);
	INIT_LIST_HEAD(&all->unproved);
	init_waitqueue_head(&all->settled);
	ktcp->tickets = all;
	return 0;
}

static void ticket_free(struct ticket *ticket)
{
	ktcp_use_window_exit(&ticket->window);
	kfree(ticket);
}

/**
 * ktcp_ticket_issuer_exit() - Forget all tickets
 * @ktcp: the namespace, which has no connection any more
 *
 * Context: may sleep.
 */
void ktcp_ticket_issuer_exit(struct ktcp_net *ktcp)
{
	struct ticket *ticket, *next;

	list_for_each_entry_safe(ticket, next, &ktcp->tickets->tickets, node)
		ticket_free(ticket);
	kfree(ktcp->tickets);
}

static bool same_id(const u8 *a, const u8 *b)
{
	return !memcmp(a, b, KTCP_TICKET_BYTES);
}

/**
 * ktcp_ticket_issuer_add() - Note a ticket that is about to be sent to a relay
 * @ktcp: the namespace
 * @unproved: the ticket, with key and id; has to stay until
 * ktcp_ticket_issuer_settle()
 *
 * The other relay may use the ticket on a second connection before we have
 * checked its proof on the first one. ktcp_ticket_issuer_redeem() then waits.
 *
 * Context: any.
 */
void ktcp_ticket_issuer_add(struct ktcp_net *ktcp,
			    struct ktcp_unproved_ticket *unproved)
{
	struct ktcp_ticket_issuer *all = ktcp->tickets;

	spin_lock_bh(&all->lock);
	list_add(&unproved->node, &all->unproved);
	spin_unlock_bh(&all->lock);
}

/* If there are too many, takes out the least recently used and returns it. */
static struct ticket *ticket_add(struct ktcp_ticket_issuer *all,
				 struct ticket *ticket)
{
	struct ticket *oldest = NULL;

	lockdep_assert_held(&all->lock);
	if (all->count == TICKETS_MAX) {
		oldest = list_last_entry(&all->tickets, struct ticket, node);
		list_del(&oldest->node);
		all->count--;
		all->grown -= oldest->window.size - KTCP_USE_WINDOW_MIN;
	}
	list_add(&ticket->node, &all->tickets);
	all->count++;
	return oldest;
}

static struct ticket *
ticket_create(const struct ktcp_unproved_ticket *unproved)
{
	struct ticket *ticket = kzalloc(sizeof(*ticket), GFP_KERNEL);

	if (!ticket)
		return NULL;
	if (ktcp_use_window_init(&ticket->window)) {
		kfree(ticket);
		return NULL;
	}
	memcpy(ticket->id, unproved->id, sizeof(ticket->id));
	ticket->key = unproved->key;
	return ticket;
}

/**
 * ktcp_ticket_issuer_settle() - Let a ticket be used from now on, or never
 * @ktcp: the namespace
 * @unproved: the ticket that was added; it belongs to the caller again
 * @proved: its key was proved
 *
 * Context: may sleep.
 * Return: 0 or -ENOMEM.
 */
int ktcp_ticket_issuer_settle(struct ktcp_net *ktcp,
			      struct ktcp_unproved_ticket *unproved,
			      bool proved)
{
	struct ktcp_ticket_issuer *all = ktcp->tickets;
	struct ticket *ticket = NULL, *oldest = NULL;

	if (proved)
		ticket = ticket_create(unproved);
	spin_lock_bh(&all->lock);
	list_del(&unproved->node);
	if (ticket)
		oldest = ticket_add(all, ticket);
	spin_unlock_bh(&all->lock);
	wake_up_all(&all->settled);
	if (oldest)
		ticket_free(oldest);
	return proved && !ticket ? -ENOMEM : 0;
}

static struct ticket *ticket_find(struct ktcp_ticket_issuer *all,
				  const u8 id[KTCP_TICKET_BYTES])
{
	struct ticket *ticket;

	lockdep_assert_held(&all->lock);
	list_for_each_entry(ticket, &all->tickets, node)
		if (same_id(ticket->id, id))
			return ticket;
	return NULL;
}

static void grow_window(struct ktcp_ticket_issuer *all,
			struct ktcp_use_window *window, u64 use)
{
	u32 size = ktcp_use_window_wants(window, use);
	u32 more = size - window->size;

	lockdep_assert_held(&all->lock);
	if (more && all->grown + more <= GROWN_MAX &&
	    !ktcp_use_window_grow(window, size))
		all->grown += more;
}

static bool use_is_new(struct ktcp_ticket_issuer *all, struct ticket *ticket,
		       u64 use)
{
	if (!use)
		return false;
	grow_window(all, &ticket->window, use);
	return ktcp_use_window_take(&ticket->window, use);
}

static bool is_settled(struct ktcp_ticket_issuer *all,
		       const u8 id[KTCP_TICKET_BYTES])
{
	const struct ktcp_unproved_ticket *unproved;
	bool settled = true;

	spin_lock_bh(&all->lock);
	list_for_each_entry(unproved, &all->unproved, node)
		if (same_id(unproved->id, id))
			settled = false;
	spin_unlock_bh(&all->lock);
	return settled;
}

/**
 * ktcp_ticket_issuer_redeem() - Another relay uses a ticket
 * @ktcp: the namespace
 * @key: number of the key that the other relay proved with this use
 * @id: the ticket, as the other relay says
 * @use: number of the use, as the other relay says
 *
 * Waits while the ticket is unproved, which the time-out of its handshake
 * bounds.
 *
 * Context: may sleep.
 * Return: 0, -ENOENT for an unknown ticket, -EALREADY for a use that was made
 * before.
 */
int ktcp_ticket_issuer_redeem(struct ktcp_net *ktcp, u16 key,
			      const u8 id[KTCP_TICKET_BYTES], u64 use)
{
	struct ktcp_ticket_issuer *all = ktcp->tickets;
	struct ticket *ticket;
	int err = -ENOENT;

	wait_event(all->settled, is_settled(all, id));
	spin_lock_bh(&all->lock);
	ticket = ticket_find(all, id);
	if (ticket && ticket->key == key) {
		list_move(&ticket->node, &all->tickets);
		err = use_is_new(all, ticket, use) ? 0 : -EALREADY;
	}
	spin_unlock_bh(&all->lock);
	return err;
}
