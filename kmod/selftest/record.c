// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sends streams from a writer to a reader, in pieces of any size, and compares
 * what comes out with what went in. With a fault on the way, what comes out has
 * to be the beginning of what went in, up to the fault, and nothing of another
 * stream. A fault in the bytes of the stream itself is not the reader's to find.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "relay/record.c"
#include "selftest/selftest.h"

#include <linux/prandom.h>
#include <linux/printk.h>
#include <linux/sched.h>
#include <linux/slab.h>

#define RUNS 1000
#define STREAM_MAX (KTCP_RECORDS_MAX + 40000)
/* A head for each byte would be the most; streams here have fewer. */
#define WIRE_MAX (2 * STREAM_MAX)

/**
 * struct line - A stream on its way
 * @random: the source of all chance
 * @wire: what the writer has sent
 * @sent: length of @wire
 * @head: place of the last head in @wire
 * @stream: bytes that went in
 * @in: length of @stream
 * @out: bytes that came out
 */
struct line {
	struct rnd_state random;
	u8 *wire;
	size_t sent, head;
	u8 *stream;
	size_t in, out;
};

static u32 below(struct line *line, u32 bound)
{
	return prandom_u32_state(&line->random) % bound;
}

/* Mostly small, sometimes as much as a record holds, or more. */
static size_t any_size(struct line *line)
{
	static const u32 bound[] = { 2, 16, 1500, KTCP_DATA_MAX + 2, 20000 };

	return 1 + below(line, bound[below(line, ARRAY_SIZE(bound))]);
}

/* As the transfer does: first what is owed of a head, in any pieces. */
static void send_owed(struct line *line, struct ktcp_record_writer *writer)
{
	while (writer->owed) {
		size_t count = 1 + below(line, writer->owed);

		memcpy(line->wire + line->sent, ktcp_record_owed(writer),
		       count);
		line->sent += count;
		ktcp_record_sent(writer, count);
	}
}

static void write_bytes(struct line *line, struct ktcp_record_writer *writer,
			size_t bytes)
{
	while (bytes) {
		size_t room = ktcp_record_announce(writer, bytes);
		size_t count = 1 + below(line, room);

		if (writer->owed)
			line->head = line->sent;
		send_owed(line, writer);
		memcpy(line->wire + line->sent, line->stream + line->in, count);
		line->sent += count;
		line->in += ktcp_record_sent(writer, count);
		bytes -= count;
	}
}

static void write_stream(struct line *line, struct ktcp_record_writer *writer)
{
	size_t bytes = below(line, 2) ? below(line, 3000) :
					below(line, STREAM_MAX);

	line->sent = 0;
	line->in = 0;
	while (line->in < bytes && line->sent < WIRE_MAX - 40000)
		write_bytes(line, writer,
			    min(any_size(line), bytes - line->in));
	ktcp_record_end(writer);
	if (writer->owed)
		line->head = line->sent;
	send_owed(line, writer);
}

/* False if a byte is wrong. */
static bool read_stream(struct line *line, struct ktcp_record_reader *reader)
{
	size_t at = 0, count;

	line->out = 0;
	while (at < line->sent && reader->framing != KTCP_FRAMING_ENDED &&
	       reader->framing != KTCP_FRAMING_BROKEN) {
		count = min(any_size(line), line->sent - at);
		if (ktcp_record_wants(reader)) {
			count = min(count, ktcp_record_wants(reader));
			ktcp_record_read(reader, line->wire + at, count);
			at += count;
			continue;
		}
		if (reader->framing == KTCP_FRAMING_RECORDS) {
			count = min_t(size_t, count, reader->left);
			reader->left -= count;
		}
		if (line->out + count > line->in ||
		    memcmp(line->wire + at, line->stream + line->out, count))
			return false;
		line->out += count;
		at += count;
	}
	return true;
}

static bool has_records(const struct ktcp_record_writer *writer)
{
	return writer->framing != KTCP_FRAMING_NONE;
}

static int run_whole(struct line *line, u16 number)
{
	struct ktcp_record_reader reader, unused_reader;
	struct ktcp_record_writer writer, unused_writer;
	bool good, ended;

	ktcp_record_start(&unused_reader, &writer, number);
	ktcp_record_start(&reader, &unused_writer, number);
	write_stream(line, &writer);
	good = read_stream(line, &reader) && line->out == line->in;
	ended = reader.framing == KTCP_FRAMING_ENDED;
	if (good && ended == has_records(&writer))
		return 0;
	pr_err("%zu of %zu bytes of a stream came out\n", line->out, line->in);
	return -EIO;
}

/* A fault in the last head, END or RAW, breaks the reader. */
static int run_faulty(struct line *line, u16 number)
{
	struct ktcp_record_reader reader, unused_reader;
	struct ktcp_record_writer writer, unused_writer;
	size_t place;

	ktcp_record_start(&unused_reader, &writer, number);
	ktcp_record_start(&reader, &unused_writer, number);
	write_stream(line, &writer);
	/* Not in the type: another one may be as good there. */
	place = below(line, sizeof(writer.head) - 1);
	place += place >= offsetof(struct ktcp_wire_head, type);
	line->wire[line->head + place] ^= BIT(below(line, 8));
	line->sent = line->head + sizeof(writer.head);
	if (read_stream(line, &reader) &&
	    reader.framing == KTCP_FRAMING_BROKEN)
		return 0;
	pr_err("a fault in byte %zu of the last head was not found\n", place);
	return -EIO;
}

/* Whatever comes, nothing of another stream comes out. */
static int run_foreign(struct line *line, u16 number)
{
	struct ktcp_record_reader reader, unused_reader;
	struct ktcp_record_writer writer, unused_writer;

	ktcp_record_start(&unused_reader, &writer, number);
	ktcp_record_start(&reader, &unused_writer, number + 1 + below(line, 99));
	write_stream(line, &writer);
	if (read_stream(line, &reader) && !line->out &&
	    reader.framing == KTCP_FRAMING_BROKEN)
		return 0;
	pr_err("%zu bytes of another stream came out\n", line->out);
	return -EIO;
}

static int run(struct line *line, u64 seed)
{
	u16 number;

	prandom_seed_state(&line->random, seed);
	prandom_bytes_state(&line->random, line->stream, 4096);
	number = 1 + below(line, 1000);
	return run_whole(line, number) ?: run_faulty(line, number) ?:
	       run_foreign(line, number);
}

/**
 * ktcp_selftest_record() - Test records with random streams, the same each time
 *
 * Context: may sleep.
 * Return: 0, -EIO for a wrong answer, or -ENOMEM.
 */
int ktcp_selftest_record(void)
{
	struct line line = {
		.wire = kvzalloc(WIRE_MAX, GFP_KERNEL),
		.stream = kvzalloc(STREAM_MAX, GFP_KERNEL),
	};
	u64 seed;
	int err = line.wire && line.stream ? 0 : -ENOMEM;

	prandom_seed_state(&line.random, RUNS);
	if (!err)
		prandom_bytes_state(&line.random, line.stream, STREAM_MAX);
	for (seed = 0; !err && seed < RUNS; seed++) {
		err = run(&line, seed);
		cond_resched();
	}
	kvfree(line.wire);
	kvfree(line.stream);
	return err;
}
