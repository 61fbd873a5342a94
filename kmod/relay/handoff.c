// SPDX-License-Identifier: GPL-2.0-only
/*
 * The handshake by which relays prove a key to each other. Everything received
 * here may come from a stranger: its length is bounded, all of it is checked,
 * and the answer to a mistake is that the connection is closed.
 *
 * Context of all: process context, may sleep, no lock held. The socket's
 * timeout bounds each receive.
 */

#include "relay/handoff.h"
#include "control/net.h"
#include "control/stats.h"
#include "lib/socket.h"
#include "lib/socket_state.h"
#include "relay/key.h"
#include "relay/ticket_issuer.h"
#include "relay/wire.h"

#include <crypto/algapi.h>
#include <linux/random.h>
#include <linux/slab.h>

#define ROLE_BYTES 16

/*
 * What a MAC is computed over. The role makes sure that nobody can send one
 * end's MAC back to it as the other end's.
 */
struct transcript {
	char role[ROLE_BYTES];
	struct ktcp_wire_hello hello;
	struct ktcp_wire_head challenge;
	u8 nonce[KTCP_NONCE_BYTES];
	u8 ticket[KTCP_TICKET_BYTES];
} __packed;

/* The same for a use of a ticket. */
struct resume_transcript {
	char role[ROLE_BYTES];
	struct ktcp_wire_head head;
	u8 ticket[KTCP_TICKET_BYTES];
	__be64 use;
} __packed;

/* Receive what follows the head, in a record whose length is fixed. */
static int recv_body(struct socket *sock, u8 version, enum ktcp_record type,
		     void *record, size_t size)
{
	struct ktcp_wire_head *head = record;

	if (!ktcp_wire_head_is(head, version, type) ||
	    head->length != htons(size))
		return -EPROTO;
	return ktcp_socket_recv_all(sock, head + 1, size - sizeof(*head));
}

static int recv_record(struct socket *sock, u8 version, enum ktcp_record type,
		       void *record, size_t size)
{
	return ktcp_socket_recv_all(sock, record,
				    sizeof(struct ktcp_wire_head)) ?:
	       recv_body(sock, version, type, record, size);
}

/* The acceptor chooses the version of the connection, from what was offered. */
static int recv_challenge(struct socket *sock, u8 offered,
			  struct ktcp_wire_challenge *challenge)
{
	struct ktcp_wire_head *head = &challenge->head;
	int err = ktcp_socket_recv_all(sock, head, sizeof(*head));

	if (err)
		return err;
	if (head->version < KTCP_WIRE_PLAIN || head->version > offered)
		return -EPROTO;
	return recv_body(sock, head->version, KTCP_RECORD_CHALLENGE, challenge,
			 sizeof(*challenge));
}

/* Offer a version in the nonce, where those that do not know it see nothing. */
static void offer_version(struct ktcp_wire_hello *hello, u8 version)
{
	if (version == KTCP_WIRE_PLAIN)
		return;
	memcpy(hello->offer.mark, KTCP_WIRE_MARK, sizeof(hello->offer.mark));
	hello->offer.version = version;
}

/* The version to speak with the sender of a HELLO. */
static u8 choose_version(const struct ktcp_wire_hello *hello)
{
	static_assert(sizeof(KTCP_WIRE_MARK) == sizeof(hello->offer.mark));
	if (memcmp(hello->offer.mark, KTCP_WIRE_MARK,
		   sizeof(hello->offer.mark)) ||
	    hello->offer.version < KTCP_WIRE_PLAIN)
		return KTCP_WIRE_PLAIN;
	return min_t(u8, hello->offer.version, KTCP_WIRE_VERSION);
}

static int transcript_mac(const struct ktcp_key *key, const char *role,
			  const struct ktcp_wire_hello *hello,
			  const struct ktcp_wire_challenge *challenge, u8 *mac)
{
	struct transcript *all = kzalloc(sizeof(*all), GFP_KERNEL);
	int err;

	if (!all)
		return -ENOMEM;
	strscpy(all->role, role, sizeof(all->role));
	all->hello = *hello;
	all->challenge = challenge->head;
	memcpy(all->nonce, challenge->nonce, sizeof(all->nonce));
	memcpy(all->ticket, challenge->ticket, sizeof(all->ticket));
	err = ktcp_key_mac(key, all, sizeof(*all), mac);
	kfree(all);
	return err;
}

static int check_mac(const struct ktcp_key *key, const char *role,
		     const struct ktcp_wire_hello *hello,
		     const struct ktcp_wire_challenge *challenge,
		     const u8 *received)
{
	u8 mac[KTCP_MAC_BYTES];
	int err = transcript_mac(key, role, hello, challenge, mac);

	if (err)
		return err;
	return crypto_memneq(mac, received, sizeof(mac)) ? -EKEYREJECTED : 0;
}

static int prove_with(struct socket *sock, const struct ktcp_key *key,
		      u8 offered, struct ktcp_ticket *ticket)
{
	struct ktcp_wire_challenge challenge;
	struct ktcp_wire_hello hello;
	struct ktcp_wire_proof proof;
	int err;

	ktcp_wire_head_set(&hello.head, KTCP_WIRE_PLAIN, KTCP_RECORD_HELLO,
			   sizeof(hello), key->id);
	get_random_bytes(hello.nonce, sizeof(hello.nonce));
	offer_version(&hello, offered);
	err = ktcp_socket_send(sock, &hello, sizeof(hello)) ?:
	      recv_challenge(sock, offered, &challenge) ?:
	      check_mac(key, "acceptor", &hello, &challenge, challenge.mac);
	if (err)
		return err;
	ktcp_wire_head_set(&proof.head, challenge.head.version,
			   KTCP_RECORD_PROOF, sizeof(proof), key->id);
	err = transcript_mac(key, "initiator", &hello, &challenge, proof.mac) ?:
	      ktcp_socket_send(sock, &proof, sizeof(proof));
	if (err)
		return err;
	memset(ticket, 0, sizeof(*ticket));
	ticket->key = key->id;
	ticket->offered = offered;
	ticket->version = challenge.head.version;
	memcpy(ticket->id, challenge.ticket, sizeof(ticket->id));
	return 0;
}

/**
 * ktcp_handoff_offer() - The version that this relay speaks to its peers
 * @ktcp: the namespace
 *
 * Context: any.
 */
u8 ktcp_handoff_offer(const struct ktcp_net *ktcp)
{
	return READ_ONCE(ktcp->settings.reuse) ? KTCP_WIRE_VERSION :
						 KTCP_WIRE_PLAIN;
}

/**
 * ktcp_handoff_prove() - As the initiator: prove the key in a handshake
 * @ktcp: the namespace
 * @sock: connection to a relay listener
 * @key_id: number of the key
 * @ticket: set to the ticket that the acceptor gave for this, not used yet
 *
 * Takes a round trip.
 *
 * Return: 0, -ENOKEY, -EKEYREJECTED, -EPROTO, or a socket's error.
 */
int ktcp_handoff_prove(struct ktcp_net *ktcp, struct socket *sock, u16 key_id,
		       struct ktcp_ticket *ticket)
{
	struct ktcp_key *key = ktcp_key_get(ktcp, key_id);
	int err = -ENOKEY;

	if (key) {
		err = prove_with(sock, key, ktcp_handoff_offer(ktcp), ticket);
		ktcp_key_put(key);
	}
	if (err)
		ktcp_count(ktcp, KTCP_HANDSHAKE_FAILURES);
	return err;
}

static int resume_mac(const struct ktcp_key *key, const char *role,
		      const struct ktcp_wire_resume *resume, u8 *mac)
{
	struct resume_transcript all = {
		.head = resume->head,
		.use = resume->use,
	};

	strscpy(all.role, role, sizeof(all.role));
	memcpy(all.ticket, resume->ticket, sizeof(all.ticket));
	return ktcp_key_mac(key, &all, sizeof(all), mac);
}

static void resume_set(struct ktcp_wire_resume *resume,
		       const struct ktcp_ticket *ticket)
{
	ktcp_wire_head_set(&resume->head, ticket->version, KTCP_RECORD_RESUME,
			   sizeof(*resume), ticket->key);
	memcpy(resume->ticket, ticket->id, sizeof(resume->ticket));
	resume->use = cpu_to_be64(ticket->use);
}

/**
 * ktcp_handoff_resume() - As the initiator: use a ticket
 * @ktcp: the namespace
 * @ticket: the ticket, with a number of use that was never sent; its version
 * becomes that of the connection
 * @resume: filled; the first record of a connection to a relay listener
 *
 * This waits for no answer. Call ktcp_handoff_confirm() before you receive the
 * first byte of the stream.
 *
 * Return: 0, -ENOKEY, or the error of the MAC.
 */
int ktcp_handoff_resume(struct ktcp_net *ktcp, struct ktcp_ticket *ticket,
			struct ktcp_wire_resume *resume)
{
	struct ktcp_key *key = ktcp_key_get(ktcp, ticket->key);
	int err;

	if (!key)
		return -ENOKEY;
	ticket->version = min(ticket->version, ktcp_handoff_offer(ktcp));
	resume_set(resume, ticket);
	err = resume_mac(key, "resume", resume, resume->mac);
	ktcp_key_put(key);
	ticket->owed = !err;
	return err;
}

static int confirm_with(struct socket *sock, const struct ktcp_key *key,
			const struct ktcp_ticket *ticket)
{
	struct ktcp_wire_confirm confirm;
	struct ktcp_wire_resume resume;
	u8 mac[KTCP_MAC_BYTES];
	int err;

	resume_set(&resume, ticket);
	err = resume_mac(key, "confirm", &resume, mac) ?:
	      recv_record(sock, ticket->version, KTCP_RECORD_CONFIRM, &confirm,
			  sizeof(confirm));
	if (err)
		return err;
	return crypto_memneq(mac, confirm.mac, sizeof(mac)) ? -EKEYREJECTED :
							      0;
}

/**
 * ktcp_handoff_has_confirm() - Has the acceptor's proof, or the end, arrived?
 * @sock: connection on which a ticket was used
 *
 * Context: any.
 */
bool ktcp_handoff_has_confirm(const struct socket *sock)
{
	return ktcp_socket_has_bytes(sock, sizeof(struct ktcp_wire_confirm));
}

/**
 * ktcp_handoff_confirm() - As the initiator: check the acceptor's proof
 * @ktcp: the namespace
 * @sock: connection on which a ticket was used
 * @ticket: the ticket, with the number of that use
 *
 * Return: 0, -ENOKEY, -EKEYREJECTED, -EPROTO, or a socket's error.
 */
int ktcp_handoff_confirm(struct ktcp_net *ktcp, struct socket *sock,
			 struct ktcp_ticket *ticket)
{
	struct ktcp_key *key;
	int err = -ENOKEY;

	if (!ticket->owed)
		return 0;
	key = ktcp_key_get(ktcp, ticket->key);
	if (key) {
		err = confirm_with(sock, key, ticket);
		ktcp_key_put(key);
	}
	if (err)
		ktcp_count(ktcp, KTCP_HANDSHAKE_FAILURES);
	else
		ticket->owed = false;
	return err;
}

static int challenge_with(struct socket *sock, const struct ktcp_key *key,
			  const struct ktcp_wire_hello *hello,
			  const u8 *ticket)
{
	u8 version = choose_version(hello);
	struct ktcp_wire_challenge challenge;
	struct ktcp_wire_proof proof;
	int err;

	ktcp_wire_head_set(&challenge.head, version, KTCP_RECORD_CHALLENGE,
			   sizeof(challenge), key->id);
	get_random_bytes(challenge.nonce, sizeof(challenge.nonce));
	memcpy(challenge.ticket, ticket, sizeof(challenge.ticket));
	err = transcript_mac(key, "acceptor", hello, &challenge,
			     challenge.mac) ?:
	      ktcp_socket_send(sock, &challenge, sizeof(challenge)) ?:
	      recv_record(sock, version, KTCP_RECORD_PROOF, &proof,
			  sizeof(proof));
	return err ?: check_mac(key, "initiator", hello, &challenge,
				proof.mac);
}

/* Answer a stranger's HELLO, of which the head has been received. */
static int accept_hello(struct ktcp_net *ktcp, struct socket *sock,
			const struct ktcp_key *key,
			const struct ktcp_wire_head *head, u8 *version)
{
	struct ktcp_wire_hello hello = { .head = *head };
	struct ktcp_unproved_ticket ticket = { .key = key->id };
	int err;

	err = recv_body(sock, KTCP_WIRE_PLAIN, KTCP_RECORD_HELLO, &hello,
			sizeof(hello));
	if (err)
		return err;
	*version = choose_version(&hello);
	get_random_bytes(ticket.id, sizeof(ticket.id));
	ktcp_ticket_issuer_add(ktcp, &ticket);
	err = challenge_with(sock, key, &hello, ticket.id);
	return ktcp_ticket_issuer_settle(ktcp, &ticket, !err) ?: err;
}

/* Answer a stranger's RESUME, of which the head has been received. */
static int accept_resume(struct ktcp_net *ktcp, struct socket *sock,
			 const struct ktcp_key *key,
			 const struct ktcp_wire_head *head, u8 *version)
{
	struct ktcp_wire_resume resume = { .head = *head };
	struct ktcp_wire_confirm confirm;
	u8 mac[KTCP_MAC_BYTES];
	int err;

	*version = head->version;
	err = recv_body(sock, *version, KTCP_RECORD_RESUME, &resume,
			sizeof(resume)) ?:
	      resume_mac(key, "resume", &resume, mac);
	if (err)
		return err;
	if (crypto_memneq(mac, resume.mac, sizeof(mac)))
		return -EKEYREJECTED;
	err = ktcp_ticket_issuer_redeem(ktcp, key->id, resume.ticket,
					be64_to_cpu(resume.use));
	if (err)
		return err;
	ktcp_wire_head_set(&confirm.head, *version, KTCP_RECORD_CONFIRM,
			   sizeof(confirm), key->id);
	return resume_mac(key, "confirm", &resume, confirm.mac) ?:
	       ktcp_socket_send(sock, &confirm, sizeof(confirm));
}

/* A known ticket may be used with any version that both ends speak. */
static bool is_resume(const struct ktcp_wire_head *head)
{
	return head->version >= KTCP_WIRE_PLAIN &&
	       head->version <= KTCP_WIRE_VERSION &&
	       ktcp_wire_head_is(head, head->version, KTCP_RECORD_RESUME);
}

/**
 * ktcp_handoff_challenge() - As the acceptor: let the initiator prove the key
 * @ktcp: the namespace
 * @sock: the connection, whose initiator has proved nothing yet
 * @version: set to the version of the connection
 * @key_id: set to the number of the key
 *
 * Return: 0, -ENOKEY, -EKEYREJECTED, -EALREADY for a use that was made before,
 * -EPROTO, or a socket's error.
 */
int ktcp_handoff_challenge(struct ktcp_net *ktcp, struct socket *sock,
			   u8 *version, u16 *key_id)
{
	struct ktcp_wire_head head;
	struct ktcp_key *key;
	int err;

	err = ktcp_socket_recv_all(sock, &head, sizeof(head));
	if (err)
		goto out;
	err = -ENOKEY;
	*key_id = ntohs(head.key);
	key = ktcp_key_get(ktcp, *key_id);
	if (!key)
		goto out;
	err = is_resume(&head) ?
		      accept_resume(ktcp, sock, key, &head, version) :
		      accept_hello(ktcp, sock, key, &head, version);
	ktcp_key_put(key);
out:
	if (err)
		ktcp_count(ktcp, KTCP_HANDSHAKE_FAILURES);
	return err;
}
