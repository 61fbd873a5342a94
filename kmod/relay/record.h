/* SPDX-License-Identifier: GPL-2.0-only */
/* The records that a stream is made of on a leg: docs/wire.md. */
#ifndef KTCP_RECORD_H
#define KTCP_RECORD_H

#include "relay/wire.h"

#include <linux/types.h>

/* Bytes of a stream in one record. */
#define KTCP_DATA_MAX (16 << 10)
/* Bytes of one direction in records; after them it goes on without. */
#define KTCP_RECORDS_MAX (64 << 10)

/* How the bytes of a direction come on a connection. */
enum ktcp_framing {
	KTCP_FRAMING_NONE, /* as they are, until FIN */
	KTCP_FRAMING_RECORDS,
	KTCP_FRAMING_ENDED, /* END was the last record */
	KTCP_FRAMING_BROKEN, /* what came was no record of the stream */
};

/**
 * struct ktcp_record_reader - Where the receiver of a direction is
 * @framing: of what comes next
 * @heard: a record has come
 * @stream: number of the stream
 * @left: bytes of the present record that are yet to come
 * @have: bytes of @head that have come
 * @head: of the next record
 */
struct ktcp_record_reader {
	enum ktcp_framing framing;
	bool heard;
	u16 stream;
	u16 left;
	u8 have;
	struct ktcp_wire_head head;
};

/**
 * struct ktcp_record_writer - Where the sender of a direction is
 * @framing: of what is sent next, behind @head
 * @raw: as soon as it can, the direction should go on without records
 * @stream: number of the stream
 * @left: bytes that were announced and have yet to be sent
 * @owed: bytes of @head that have yet to be sent, before anything else
 * @head: of the present record
 * @bytes: of the stream, announced in records
 */
struct ktcp_record_writer {
	enum ktcp_framing framing;
	bool raw;
	u16 stream;
	u16 left;
	u8 owed;
	struct ktcp_wire_head head;
	u32 bytes;
};

void ktcp_record_start(struct ktcp_record_reader *reader,
		       struct ktcp_record_writer *writer, u16 stream);
size_t ktcp_record_wants(const struct ktcp_record_reader *reader);
void ktcp_record_read(struct ktcp_record_reader *reader, const void *bytes,
		      size_t count);
size_t ktcp_record_announce(struct ktcp_record_writer *writer, size_t bytes);
void ktcp_record_end(struct ktcp_record_writer *writer);
size_t ktcp_record_sent(struct ktcp_record_writer *writer, size_t bytes);
void ktcp_record_idle(struct ktcp_wire_head *head, u16 stream);
bool ktcp_record_is_idle(const struct ktcp_wire_head *head, u16 stream);

/* The bytes of a head that come before anything else. */
static inline void *ktcp_record_owed(struct ktcp_record_writer *writer)
{
	return (u8 *)(&writer->head + 1) - writer->owed;
}

#endif /* KTCP_RECORD_H */
