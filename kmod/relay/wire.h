/* SPDX-License-Identifier: GPL-2.0-only */
/* Records between relays, byte for byte as on the wire: docs/wire.md. */
#ifndef KTCP_WIRE_H
#define KTCP_WIRE_H

#include "control/version.h"
#include "relay/key.h"

#include <linux/types.h>

#define KTCP_WIRE_MAGIC 0x4b54 /* "KT" */
#define KTCP_NONCE_BYTES 32
#define KTCP_TICKET_BYTES 8

/* Versions: of a connection that carries one stream, and of one with records. */
#define KTCP_WIRE_PLAIN 1
#define KTCP_WIRE_RECORDS 2

enum ktcp_record {
	KTCP_RECORD_HELLO = 1,
	KTCP_RECORD_CHALLENGE = 2,
	KTCP_RECORD_PROOF = 3,
	KTCP_RECORD_OPEN = 4,
	KTCP_RECORD_RESUME = 5,
	KTCP_RECORD_CONFIRM = 6,
	KTCP_RECORD_DATA = 7,
	KTCP_RECORD_END = 8,
	KTCP_RECORD_RAW = 9,
	KTCP_RECORD_IDLE = 10,
};

/**
 * struct ktcp_wire_head - The first bytes of each record
 * @magic: KTCP_WIRE_MAGIC
 * @version: KTCP_WIRE_PLAIN or KTCP_WIRE_RECORDS
 * @type: enum ktcp_record
 * @length: bytes of the record, with this head
 * @key: number of the key. Records of a stream have the stream's number here,
 * which is 0 with KTCP_WIRE_PLAIN
 */
struct ktcp_wire_head {
	__be16 magic;
	u8 version;
	u8 type;
	__be16 length;
	__be16 key;
} __packed;

/**
 * struct ktcp_wire_nonce - Nonce of an initiator that speaks several versions
 * @random: random bytes
 * @mark: KTCP_WIRE_MARK
 * @version: the highest version that it speaks
 *
 * To an acceptor that knows KTCP_WIRE_PLAIN only, all of it is random.
 */
struct ktcp_wire_nonce {
	u8 random[KTCP_NONCE_BYTES - 8];
	u8 mark[7];
	u8 version;
} __packed;

#define KTCP_WIRE_MARK "KTCP v" /* with the zero behind it */

/* The head is always that of KTCP_WIRE_PLAIN, which every relay understands. */
struct ktcp_wire_hello {
	struct ktcp_wire_head head;
	union {
		u8 nonce[KTCP_NONCE_BYTES];
		struct ktcp_wire_nonce offer;
	} __packed;
} __packed;

struct ktcp_wire_challenge {
	struct ktcp_wire_head head;
	u8 nonce[KTCP_NONCE_BYTES];
	u8 ticket[KTCP_TICKET_BYTES];
	u8 mac[KTCP_MAC_BYTES];
} __packed;

struct ktcp_wire_proof {
	struct ktcp_wire_head head;
	u8 mac[KTCP_MAC_BYTES];
} __packed;

/**
 * struct ktcp_wire_resume - RESUME, in place of HELLO and PROOF
 * @head: its key is the one that was proved to get the ticket
 * @ticket: from an earlier CHALLENGE
 * @use: number of this use of the ticket, from 1; each is good once
 * @mac: proves the key
 */
struct ktcp_wire_resume {
	struct ktcp_wire_head head;
	u8 ticket[KTCP_TICKET_BYTES];
	__be64 use;
	u8 mac[KTCP_MAC_BYTES];
} __packed;

struct ktcp_wire_confirm {
	struct ktcp_wire_head head;
	u8 mac[KTCP_MAC_BYTES];
} __packed;

/**
 * struct ktcp_wire_addr - An address
 * @family: 4 or 6
 * @reserved: 0
 * @port: port
 * @ip: 16 bytes; an IPv4 address has the first 4, the others are 0
 */
struct ktcp_wire_addr {
	u8 family;
	u8 reserved;
	__be16 port;
	u8 ip[16];
} __packed;

/* Flags of OPEN; the other bits are 0. */
#define KTCP_OPEN_PROXY BIT(0) /* tell the target who the client is */
#define KTCP_OPEN_TRANSPARENT BIT(1) /* connect from the client's address */
#define KTCP_OPEN_FLAGS (KTCP_OPEN_PROXY | KTCP_OPEN_TRANSPARENT)

/**
 * struct ktcp_wire_open - OPEN
 * @head: its length includes the hops
 * @flags: KTCP_OPEN_ flags
 * @hops: relays that follow, at most KTCP_HOPS_MAX
 * @reserved: 0
 * @target: where the stream ends
 * @source: the client that began it
 * @hop: the relays, the next one first
 */
struct ktcp_wire_open {
	struct ktcp_wire_head head;
	u8 flags;
	u8 hops;
	__be16 reserved;
	struct ktcp_wire_addr target;
	struct ktcp_wire_addr source;
	struct ktcp_wire_addr hop[];
} __packed;

static inline void ktcp_wire_head_set(struct ktcp_wire_head *head, u8 version,
				      enum ktcp_record type, size_t length,
				      u16 key)
{
	head->magic = htons(KTCP_WIRE_MAGIC);
	head->version = version;
	head->type = type;
	head->length = htons(length);
	head->key = htons(key);
}

static inline bool ktcp_wire_head_is(const struct ktcp_wire_head *head,
				     u8 version, enum ktcp_record type)
{
	return head->magic == htons(KTCP_WIRE_MAGIC) &&
	       head->version == version && head->type == type;
}

#endif /* KTCP_WIRE_H */
