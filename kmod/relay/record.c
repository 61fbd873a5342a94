// SPDX-License-Identifier: GPL-2.0-only
/*
 * Takes the records of a stream apart, and puts them together. Each direction
 * of a stream begins with records, so that its end is not the connection's end.
 * Each record has the number of the stream. A reader that finds anything else
 * than the next record of its stream is broken from then on: no byte of another
 * stream can come out of it.
 *
 * Nothing here touches a socket. Callers make sure that one direction is used
 * by one of them at a time.
 *
 * Context of all: any.
 */

#include "relay/record.h"

#include <linux/minmax.h>
#include <linux/string.h>

/**
 * ktcp_record_start() - Begin a stream with records
 * @reader: of the direction from the other end
 * @writer: of the direction to it
 * @stream: number of the stream
 */
void ktcp_record_start(struct ktcp_record_reader *reader,
		       struct ktcp_record_writer *writer, u16 stream)
{
	memset(reader, 0, sizeof(*reader));
	memset(writer, 0, sizeof(*writer));
	reader->stream = stream;
	reader->framing = KTCP_FRAMING_RECORDS;
	writer->stream = stream;
	writer->framing = KTCP_FRAMING_RECORDS;
}

static bool is_of_stream(const struct ktcp_wire_head *head,
			 enum ktcp_record type, u16 stream)
{
	return ktcp_wire_head_is(head, KTCP_WIRE_RECORDS, type) &&
	       ntohs(head->key) == stream;
}

/* For a record that is only a head. */
static bool is_mark(const struct ktcp_wire_head *head, enum ktcp_record type,
		    u16 stream)
{
	return is_of_stream(head, type, stream) &&
	       head->length == htons(sizeof(*head));
}

static enum ktcp_framing take_head(struct ktcp_record_reader *reader)
{
	const struct ktcp_wire_head *head = &reader->head;
	size_t length = ntohs(head->length);

	if (is_mark(head, KTCP_RECORD_END, reader->stream))
		return KTCP_FRAMING_ENDED;
	if (is_mark(head, KTCP_RECORD_RAW, reader->stream))
		return KTCP_FRAMING_NONE;
	if (!is_of_stream(head, KTCP_RECORD_DATA, reader->stream) ||
	    length <= sizeof(*head) || length > sizeof(*head) + KTCP_DATA_MAX)
		return KTCP_FRAMING_BROKEN;
	reader->left = length - sizeof(*head);
	return KTCP_FRAMING_RECORDS;
}

/**
 * ktcp_record_wants() - How many bytes are missing in the head of a record?
 * @reader: the reader
 *
 * Return: bytes; 0 while @reader->left bytes of the stream come, and when no
 * record comes any more.
 */
size_t ktcp_record_wants(const struct ktcp_record_reader *reader)
{
	if (reader->framing != KTCP_FRAMING_RECORDS || reader->left)
		return 0;
	return sizeof(reader->head) - reader->have;
}

/**
 * ktcp_record_read() - Take bytes of a head
 * @reader: the reader
 * @bytes: what has come
 * @count: how many, at most ktcp_record_wants()
 */
void ktcp_record_read(struct ktcp_record_reader *reader, const void *bytes,
		      size_t count)
{
	memcpy((u8 *)&reader->head + reader->have, bytes, count);
	reader->have += count;
	if (reader->have < sizeof(reader->head))
		return;
	reader->have = 0;
	WRITE_ONCE(reader->heard, true);
	WRITE_ONCE(reader->framing, take_head(reader));
}

static void set_head(struct ktcp_record_writer *writer, enum ktcp_record type,
		     size_t bytes)
{
	ktcp_wire_head_set(&writer->head, KTCP_WIRE_RECORDS, type,
			   sizeof(writer->head) + bytes, writer->stream);
	writer->owed = sizeof(writer->head);
}

/**
 * ktcp_record_announce() - Bytes of the stream are there: announce them
 * @writer: the writer
 * @bytes: how many there are
 *
 * Return: how many of them may follow now, behind @writer->owed bytes of a
 * head; these must be sent, whatever else happens to the stream.
 */
size_t ktcp_record_announce(struct ktcp_record_writer *writer, size_t bytes)
{
	if (writer->framing == KTCP_FRAMING_RECORDS && !writer->left) {
		if (writer->raw || writer->bytes >= KTCP_RECORDS_MAX) {
			set_head(writer, KTCP_RECORD_RAW, 0);
			WRITE_ONCE(writer->framing, KTCP_FRAMING_NONE);
		} else {
			writer->left = min_t(size_t, bytes, KTCP_DATA_MAX);
			writer->bytes += writer->left;
			set_head(writer, KTCP_RECORD_DATA, writer->left);
		}
	}
	return writer->framing == KTCP_FRAMING_NONE ?
		       bytes : min_t(size_t, bytes, writer->left);
}

/**
 * ktcp_record_end() - The direction has ended
 * @writer: the writer
 *
 * If there are records, END is the last one; else FIN has to be sent.
 */
void ktcp_record_end(struct ktcp_record_writer *writer)
{
	if (writer->framing != KTCP_FRAMING_RECORDS)
		return;
	set_head(writer, KTCP_RECORD_END, 0);
	WRITE_ONCE(writer->framing, KTCP_FRAMING_ENDED);
}

/**
 * ktcp_record_sent() - Bytes were sent: first of the head, then of the stream
 * @writer: the writer
 * @bytes: how many
 *
 * Return: how many were the stream's.
 */
size_t ktcp_record_sent(struct ktcp_record_writer *writer, size_t bytes)
{
	size_t owed = min_t(size_t, bytes, writer->owed);

	writer->owed -= owed;
	bytes -= owed;
	if (writer->framing == KTCP_FRAMING_RECORDS)
		writer->left -= bytes;
	return bytes;
}

/**
 * ktcp_record_idle() - Write the record that gives a leg back
 * @head: filled; all of the record
 * @stream: number of the stream that has ended
 */
void ktcp_record_idle(struct ktcp_wire_head *head, u16 stream)
{
	ktcp_wire_head_set(head, KTCP_WIRE_RECORDS, KTCP_RECORD_IDLE,
			   sizeof(*head), stream);
}

/**
 * ktcp_record_is_idle() - Does a record give a leg back?
 * @head: the record
 * @stream: number of the stream that has ended
 */
bool ktcp_record_is_idle(const struct ktcp_wire_head *head, u16 stream)
{
	return is_mark(head, KTCP_RECORD_IDLE, stream);
}
