// SPDX-License-Identifier: GPL-2.0-only
/*
 * OPEN, which hands a stream to the next relay. Its sender has proved a key,
 * but that is no reason to trust the record: all of it is checked.
 *
 * Context of all: process context, may sleep, no lock held. The socket's
 * timeout bounds each receive.
 */

#include "relay/open.h"
#include "control/net.h"
#include "control/stats.h"
#include "lib/socket.h"
#include "relay/wire.h"

#include <linux/slab.h>
#include <linux/string.h>

static void addr_pack(struct ktcp_wire_addr *wire, const union ktcp_addr *addr)
{
	bool v6 = addr->sa.sa_family == AF_INET6;

	memset(wire, 0, sizeof(*wire));
	wire->family = v6 ? 6 : 4;
	wire->port = ktcp_addr_port(addr);
	if (v6)
		memcpy(wire->ip, &addr->in6.sin6_addr, 16);
	else
		memcpy(wire->ip, &addr->in.sin_addr, 4);
}

static int addr_unpack(union ktcp_addr *addr, const struct ktcp_wire_addr *wire)
{
	if (wire->reserved || !wire->port)
		return -EPROTO;
	switch (wire->family) {
	case 4:
		if (memchr_inv(wire->ip + 4, 0, 12))
			return -EPROTO;
		ktcp_addr_set(addr, AF_INET, wire->ip, wire->port);
		return 0;
	case 6:
		ktcp_addr_set(addr, AF_INET6, wire->ip, wire->port);
		return 0;
	default:
		return -EPROTO;
	}
}

/**
 * ktcp_open_pack() - Write the record that hands a stream to the next relay
 * @open: what the record has to say
 * @wire: filled; needs room for KTCP_HOPS_MAX hops
 *
 * Return: size of the record, bytes.
 */
size_t ktcp_open_pack(const struct ktcp_open *open, struct ktcp_wire_open *wire)
{
	size_t size = struct_size(wire, hop, open->hops);
	unsigned int i;

	memset(wire, 0, size);
	ktcp_wire_head_set(&wire->head, KTCP_WIRE_PLAIN, KTCP_RECORD_OPEN, size,
			   0);
	wire->flags = open->flags;
	wire->hops = open->hops;
	addr_pack(&wire->target, &open->target);
	addr_pack(&wire->source, &open->source);
	for (i = 0; i < open->hops; i++)
		addr_pack(&wire->hop[i], &open->hop[i]);
	return size;
}

/**
 * ktcp_open_number() - Say on which leg a stream is handed on
 * @wire: the record, as ktcp_open_pack() wrote it
 * @leg: the leg; the stream is its present one
 */
void ktcp_open_number(struct ktcp_wire_open *wire, const struct ktcp_leg *leg)
{
	wire->head.version = leg->version;
	wire->head.key = htons(ktcp_leg_number(leg));
}

static int unpack_open(struct ktcp_open *open,
		       const struct ktcp_wire_open *wire)
{
	size_t size = struct_size_t(struct ktcp_wire_open, hop, wire->hops);
	unsigned int i, j;
	int err;

	if (wire->flags & ~KTCP_OPEN_FLAGS || wire->reserved ||
	    wire->hops > KTCP_HOPS_MAX || ntohs(wire->head.length) != size)
		return -EPROTO;
	err = addr_unpack(&open->target, &wire->target) ?:
	      addr_unpack(&open->source, &wire->source);
	for (i = 0; !err && i < wire->hops; i++) {
		err = addr_unpack(&open->hop[i], &wire->hop[i]);
		for (j = 0; !err && j < i; j++)
			if (ktcp_addr_equal(&open->hop[i], &open->hop[j]))
				err = -ELOOP;
	}
	open->flags = wire->flags;
	open->hops = wire->hops;
	return err;
}

/* A path that comes back to this relay would go round in a circle for ever. */
static int check_path(struct ktcp_net *ktcp, const struct ktcp_open *open)
{
	unsigned int i;

	for (i = 0; i < open->hops; i++)
		if (ktcp_addr_is_local(ktcp->net, &open->hop[i]))
			return -ELOOP;
	return 0;
}

static int recv_open(struct socket *sock, const struct ktcp_leg *leg,
		     struct ktcp_wire_open *wire)
{
	size_t least = sizeof(*wire), length;
	int err;

	err = ktcp_socket_recv_all(sock, &wire->head, sizeof(wire->head));
	if (err)
		return err;
	length = ntohs(wire->head.length);
	if (!ktcp_wire_head_is(&wire->head, leg->version, KTCP_RECORD_OPEN) ||
	    ntohs(wire->head.key) != ktcp_leg_number(leg) || length < least ||
	    length > KTCP_OPEN_MAX)
		return -EPROTO;
	return ktcp_socket_recv_all(sock, &wire->flags,
				    length - sizeof(wire->head));
}

/**
 * ktcp_open_recv() - Receive OPEN and check all of it
 * @ktcp: the namespace
 * @sock: connection on which the key was proved
 * @leg: what is known of it; the stream is its present one
 * @open: set on success
 *
 * Bytes that follow OPEN stay in the socket.
 *
 * Return: 0, -EPROTO, -ELOOP for a path that comes back, or a socket's error.
 */
int ktcp_open_recv(struct ktcp_net *ktcp, struct socket *sock,
		   const struct ktcp_leg *leg, struct ktcp_open *open)
{
	struct ktcp_wire_open *wire = kzalloc(KTCP_OPEN_MAX, GFP_KERNEL);
	int err;

	if (!wire)
		return -ENOMEM;
	err = recv_open(sock, leg, wire) ?: unpack_open(open, wire) ?:
	      check_path(ktcp, open);
	if (err == -EPROTO || err == -ELOOP)
		ktcp_count(ktcp, KTCP_OPEN_REJECTED);
	kfree(wire);
	return err;
}
