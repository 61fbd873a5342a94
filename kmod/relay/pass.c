// SPDX-License-Identifier: GPL-2.0-only
/*
 * The initiator's side of tickets: which one is good, and that no use of it is
 * made twice. A peer that was reloaded knows its old tickets no more, and
 * closes whatever quotes one. So a ticket is trusted only while there are
 * signs of life of the peer that gave it.
 */

#include "relay/pass.h"
#include "lib/socket.h"

#include <linux/jiffies.h>

/* How long a sign of life is good for. */
#define TRUST (60 * HZ)

/**
 * ktcp_pass_init() - No ticket is known yet
 * @book: filled
 */
void ktcp_pass_init(struct ktcp_passbook *book)
{
	spin_lock_init(&book->lock);
	book->known = false;
}

/* A use that nobody else makes. False: there is no ticket to trust. */
static bool next_use(struct ktcp_passbook *book, u16 key,
		     struct ktcp_pass *pass)
{
	bool good;

	spin_lock_bh(&book->lock);
	good = book->known && book->last.key == key &&
	       time_before(jiffies, book->fresh + TRUST);
	if (good) {
		book->last.use++;
		*pass = book->last;
	}
	spin_unlock_bh(&book->lock);
	return good;
}

static void keep(struct ktcp_passbook *book, const struct ktcp_pass *pass)
{
	spin_lock_bh(&book->lock);
	/* The first of several that were earned at once serves all. */
	if (!book->known || book->last.key != pass->key) {
		book->last = *pass;
		book->known = true;
	}
	book->fresh = jiffies;
	spin_unlock_bh(&book->lock);
}

/**
 * ktcp_pass_resume() - What proves the key on a connection yet to be made
 * @ktcp: the namespace
 * @book: of the peer
 * @key: number of the key
 * @pass: set; the other side's proof is owed
 * @resume: filled
 *
 * Context: may sleep.
 * Return: 0, -ENOENT where there is no ticket, or another error.
 */
int ktcp_pass_resume(struct ktcp_net *ktcp, struct ktcp_passbook *book, u16 key,
		     struct ktcp_pass *pass, struct ktcp_wire_resume *resume)
{
	if (!next_use(book, key, pass))
		return -ENOENT;
	return ktcp_handoff_resume(ktcp, pass, resume);
}

/**
 * ktcp_pass_prove() - Prove the key on a new connection to the peer
 * @ktcp: the namespace
 * @book: of the peer
 * @sock: the connection; its timeout bounds the handshake
 * @key: number of the key
 * @pass: set; the other side's proof may be owed still
 *
 * Waits for a round trip only where there is no ticket.
 *
 * Context: may sleep.
 * Return: 0, or an error of the handshake.
 */
int ktcp_pass_prove(struct ktcp_net *ktcp, struct ktcp_passbook *book,
		    struct socket *sock, u16 key, struct ktcp_pass *pass)
{
	struct ktcp_wire_resume resume;
	int err;

	err = ktcp_pass_resume(ktcp, book, key, pass, &resume);
	if (err != -ENOENT)
		return err ?: ktcp_socket_send(sock, &resume, sizeof(resume));
	err = ktcp_handoff_prove(ktcp, sock, key, pass);
	if (!err)
		keep(book, pass);
	return err;
}

/**
 * ktcp_pass_trust() - A sign of life of the peer that gave the ticket
 * @book: of the peer
 *
 * Context: any.
 */
void ktcp_pass_trust(struct ktcp_passbook *book)
{
	spin_lock_bh(&book->lock);
	book->fresh = jiffies;
	spin_unlock_bh(&book->lock);
}

/**
 * ktcp_pass_forget() - The peer may know its ticket no more
 * @book: of the peer
 *
 * Context: any.
 */
void ktcp_pass_forget(struct ktcp_passbook *book)
{
	spin_lock_bh(&book->lock);
	book->known = false;
	spin_unlock_bh(&book->lock);
}
