// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves bytes from the receive queue of one socket straight into the send queue
 * of another, with both locked. If pages go by reference, an skb goes on as it
 * came, or the sink takes its pages as it does for sendfile(2). If bytes are
 * copied, they are copied once.
 *
 * Nothing is held in between: bytes that the sink has no room for stay in the
 * source's queue, and close its window.
 *
 * Between relays a stream may come in records, and go on in others. Heads are
 * taken out and put in on the way. A record announces only bytes that are in
 * the source's queue already, so that each one is complete unless the stream
 * breaks.
 */

#include "datapath/transfer.h"
#include "datapath/graft.h"
#include "lib/compat/splice.h"
#include "lib/dscp.h"
#include "relay/record.h"

#include <linux/mm.h>
#include <linux/percpu.h>
#include <net/sock.h>
#include <net/tcp.h>

/* How many bytes are moved before the locks are released. */
#define BYTES_MAX (256 << 10)
/* How many pieces a call hands to the sink; they are on the stack. */
#define PIECES_MAX 24

/*
 * A reference keeps a whole page in memory, or more. So an skb is copied if it
 * has few bytes, or few for the memory that it occupies. Otherwise somebody
 * could send kilobytes and make a relay keep megabytes.
 */
#define COPY_BELOW 2048

/* A record uses up as much of BYTES_MAX, or tiny ones would cost too much. */
#define RECORD_COST 512

/**
 * struct gather - Pieces of an skb on their way to the sink
 * @transfer: the transfer
 * @atomic: in softirq
 * @grafted: skbs have gone on as they came
 * @copy: all pieces of the skb have to be copied
 * @copied: the pieces gathered now have to be copied
 * @more: bytes follow this skb in the source
 * @err: the sink's error
 * @moved: bytes of the stream that were moved
 * @sent: of them, those of the present skb
 * @bytes: bytes in all of @piece
 * @pieces: length of @piece
 * @piece: where the bytes are
 */
struct gather {
	struct ktcp_transfer *transfer;
	bool atomic;
	bool grafted;
	bool copy;
	bool copied;
	bool more;
	int err;
	size_t moved;
	size_t sent;
	size_t bytes;
	unsigned int pieces;
	struct bio_vec piece[PIECES_MAX];
};

/* Where softirqs copy to, so that sockets do not keep 32 KiB each for that. */
static DEFINE_PER_CPU(struct page_frag, copy_frag);

/* Hand the gathered pieces to the sink. */
static int send_pieces(struct gather *gather, bool more)
{
	size_t bytes = gather->bytes;
	int n;

	if (!gather->pieces)
		return 0;
	n = ktcp_compat_send_pages(gather->transfer->sink, gather->piece,
				   gather->pieces, bytes, gather->copied, more);
	gather->pieces = 0;
	gather->bytes = 0;
	if (n < 0)
		return n;
	gather->sent += ktcp_record_sent(gather->transfer->writer, n);
	/* If it is full, it would say so only when asked again. */
	return n < bytes ? -EAGAIN : 0;
}

static int add_piece(struct gather *gather, struct page *page,
		     unsigned int offset, unsigned int size, bool copy)
{
	int err = 0;

	if (gather->pieces == PIECES_MAX || gather->copied != copy)
		err = send_pieces(gather, true);
	gather->copied = copy;
	gather->piece[gather->pieces++] = (struct bio_vec){
		.bv_page = page,
		.bv_len = size,
		.bv_offset = offset,
	};
	gather->bytes += size;
	return err;
}

/* What the sink has to get before anything else: the head of a record. */
static int add_owed(struct gather *gather)
{
	struct ktcp_record_writer *writer = gather->transfer->writer;
	const void *data = ktcp_record_owed(writer);
	struct page *page;

	if (!writer->owed)
		return 0;
	page = virt_to_head_page(data);
	return add_piece(gather, page, data - page_address(page), writer->owed,
			 true);
}

static int add_head(struct gather *gather, const struct sk_buff *skb,
		    unsigned int offset, unsigned int size)
{
	const void *data = skb->data + offset;
	struct page *page = virt_to_head_page(data);

	/* Nobody may refer to the pages of slab memory. */
	return add_piece(gather, page, data - page_address(page), size,
			 gather->copy || !skb->head_frag);
}

/* Gather the bytes of an skb, and of the skbs in its list, which GRO makes. */
static int add_skb(struct gather *gather, const struct sk_buff *skb,
		   unsigned int offset, unsigned int size)
{
	const struct skb_shared_info *shared = skb_shinfo(skb);
	unsigned int begin = 0, length = skb_headlen(skb);
	const struct sk_buff *next;
	unsigned int i, part;
	int err = 0;

	if (offset < length) {
		part = min(size, length - offset);
		err = add_head(gather, skb, offset, part);
		offset += part;
		size -= part;
	}
	for (i = 0; !err && size && i < shared->nr_frags; i++) {
		const skb_frag_t *frag = &shared->frags[i];

		begin += length;
		length = skb_frag_size(frag);
		if (offset >= begin + length)
			continue;
		part = min(size, begin + length - offset);
		err = add_piece(gather, skb_frag_page(frag),
				skb_frag_off(frag) + offset - begin, part,
				gather->copy);
		offset += part;
		size -= part;
	}
	skb_walk_frags(skb, next) {
		if (err || !size)
			break;
		begin += length;
		length = next->len;
		if (offset >= begin + length)
			continue;
		part = min(size, begin + length - offset);
		err = add_skb(gather, next, offset - begin, part);
		offset += part;
		size -= part;
	}
	return err;
}

/* Let an skb go on as it came, if it can. Returns how many bytes did. */
static size_t graft_skb(struct gather *gather, const struct sk_buff *skb,
			unsigned int offset, size_t size)
{
	struct sock *sink = gather->transfer->sink;
	size_t bytes;

	if (gather->copy || offset || size != skb->len ||
	    !sk_stream_memory_free(sink))
		return 0;
	bytes = ktcp_graft(sink, skb, gather->more, gather->atomic);
	gather->grafted = gather->grafted || bytes;
	return bytes;
}

/*
 * Do bytes wait in the source behind these? Count only bytes: a FIN alone would
 * leave the last segment corked.
 */
static bool has_more(const struct sock *source, const struct sk_buff *skb,
		     unsigned int end)
{
	const struct tcp_skb_cb *tcb = TCP_SKB_CB(skb);
	u32 seq = tcb->seq + !!(tcb->tcp_flags & TCPHDR_SYN) + end;

	return tcp_sk(source)->rcv_nxt - seq > sock_flag(source, SOCK_DONE);
}

/* Move bytes of an skb; if the sink gets records, as many as one may have. */
static size_t move_bytes(struct gather *gather, const struct sk_buff *skb,
			 unsigned int offset, size_t size, bool more)
{
	struct ktcp_transfer *transfer = gather->transfer;
	struct ktcp_record_writer *writer = transfer->writer;
	size_t room = ktcp_record_announce(writer, size);

	ktcp_dscp_follow(transfer->sink, skb);
	gather->more = more || room < size;
	gather->copy = !transfer->refer || room < COPY_BELOW ||
		       size < skb->truesize / 2;
	gather->copied = gather->copy;
	gather->sent = 0;
	if (writer->framing == KTCP_FRAMING_NONE && !writer->owed)
		gather->sent = graft_skb(gather, skb, offset, room);
	if (gather->sent < room) {
		gather->err = add_owed(gather) ?:
			      add_skb(gather, skb, offset + gather->sent,
				      room - gather->sent) ?:
			      send_pieces(gather, gather->more);
		gather->pieces = 0;
		gather->bytes = 0;
	}
	gather->moved += gather->sent;
	return gather->sent;
}

static void use_up(read_descriptor_t *desc, size_t count)
{
	desc->count -= min(count, desc->count);
}

/* Take bytes of a record's head out of the skb. */
static size_t take_head(read_descriptor_t *desc,
			struct ktcp_record_reader *reader,
			const struct sk_buff *skb, unsigned int offset,
			size_t size)
{
	u8 bytes[sizeof(reader->head)];

	size = min(size, ktcp_record_wants(reader));
	if (skb_copy_bits(skb, offset, bytes, size))
		return 0;
	ktcp_record_read(reader, bytes, size);
	use_up(desc, RECORD_COST);
	/* Whatever follows END is no part of this stream. */
	if (reader->framing == KTCP_FRAMING_ENDED ||
	    reader->framing == KTCP_FRAMING_BROKEN)
		desc->count = 0;
	return size;
}

/*
 * For tcp_read_sock(): moves the skb that it is offered, unless desc->count is
 * used up. No skb is cut at that limit: its rest would leave in a small packet.
 */
static int move_skb(read_descriptor_t *desc, struct sk_buff *skb,
		    unsigned int offset, size_t size)
{
	struct gather *gather = desc->arg.data;
	struct ktcp_transfer *transfer = gather->transfer;
	struct ktcp_record_reader *reader = transfer->reader;
	bool more = has_more(transfer->source, skb, offset + size);

	if (!desc->count)
		return 0;
	if (ktcp_record_wants(reader))
		return take_head(desc, reader, skb, offset, size);
	if (reader->framing == KTCP_FRAMING_RECORDS) {
		/* Perhaps what follows this record is not there yet. */
		more = more && reader->left > size;
		size = min_t(size_t, size, reader->left);
	}
	size = move_bytes(gather, skb, offset, size, more);
	if (reader->framing == KTCP_FRAMING_RECORDS)
		reader->left -= size;
	use_up(desc, size);
	return size;
}

static bool has_ended(const struct sock *sk)
{
	return sk->sk_err || sk->sk_shutdown & RCV_SHUTDOWN ||
	       sk->sk_state == TCP_CLOSE || sock_flag(sk, SOCK_DONE);
}

/* How the source has ended. */
static enum ktcp_transfer_end end_of(struct sock *sk)
{
	/* Only tcp_fin() sets SOCK_DONE; others may have read the error. */
	if (sock_error(sk) || !sock_flag(sk, SOCK_DONE))
		return KTCP_SOURCE_BROKEN;
	return KTCP_SOURCE_ENDED;
}

/* The source has ended: if the sink gets records, END is the last one. */
static enum ktcp_transfer_end end_sink(struct gather *gather)
{
	struct ktcp_record_writer *writer = gather->transfer->writer;
	int err;

	if (WARN_ON_ONCE(writer->left))
		return KTCP_SOURCE_BROKEN;
	ktcp_record_end(writer);
	gather->copy = true;
	gather->copied = true;
	err = add_owed(gather) ?: send_pieces(gather, false);
	if (err == -EAGAIN)
		return KTCP_SINK_FULL;
	return err ? KTCP_SINK_BROKEN : KTCP_SOURCE_ENDED;
}

static enum ktcp_transfer_end judge_source(struct gather *gather, bool full)
{
	struct ktcp_transfer *transfer = gather->transfer;
	enum ktcp_transfer_end end = KTCP_SOURCE_BROKEN;

	switch (transfer->reader->framing) {
	case KTCP_FRAMING_ENDED:
		return end_sink(gather);
	case KTCP_FRAMING_BROKEN:
		return KTCP_SOURCE_BROKEN;
	case KTCP_FRAMING_RECORDS:
	case KTCP_FRAMING_NONE:
		break;
	}
	if (full)
		return KTCP_SOURCE_HAS_MORE;
	if (!has_ended(transfer->source))
		return KTCP_SOURCE_EMPTY;
	/* FIN among records is no proper end of the stream. */
	if (transfer->reader->framing == KTCP_FRAMING_NONE)
		end = end_of(transfer->source);
	return end == KTCP_SOURCE_ENDED ? end_sink(gather) : end;
}

static bool may_read(const struct ktcp_record_reader *reader)
{
	return reader->framing == KTCP_FRAMING_NONE ||
	       reader->framing == KTCP_FRAMING_RECORDS;
}

static enum ktcp_transfer_end run_transfer(struct ktcp_transfer *transfer,
					   bool atomic)
{
	struct sock *source = transfer->source;
	struct gather gather;
	read_descriptor_t desc = {
		.arg.data = &gather,
		.count = BYTES_MAX,
	};

	gather.transfer = transfer;
	gather.atomic = atomic;
	gather.grafted = false;
	gather.pieces = 0;
	gather.bytes = 0;
	gather.moved = 0;
	gather.sent = 0;
	gather.err = 0;
	/* An urgent byte would stop tcp_read_sock() for ever. */
	tcp_sk(source)->urg_data = 0;
	if (may_read(transfer->reader))
		tcp_read_sock(source, &desc, move_skb);
	transfer->bytes = gather.moved;
	if (gather.grafted && !atomic)
		ktcp_graft_push(transfer->sink);

	if (gather.err == -EAGAIN)
		return KTCP_SINK_FULL;
	if (gather.err)
		return KTCP_SINK_BROKEN;
	return judge_source(&gather, !desc.count);
}

/**
 * ktcp_transfer() - Move what there is, up to about 256 KiB, without waiting
 * @transfer: what to move; sets bytes
 *
 * Context: the caller owns both socks (lock_sock()).
 * Return: why it ended.
 */
enum ktcp_transfer_end ktcp_transfer(struct ktcp_transfer *transfer)
{
	return run_transfer(transfer, false);
}

/**
 * ktcp_transfer_atomic() - The same in softirq
 * @transfer: what to move; sets bytes
 *
 * Context: softirq; the spinlocks of both socks are held, and nobody owns them.
 * Return: why it ended.
 */
enum ktcp_transfer_end ktcp_transfer_atomic(struct ktcp_transfer *transfer)
{
	struct page_frag *frag = this_cpu_ptr(&copy_frag);
	struct sock *sink = transfer->sink;
	gfp_t allocation = sink->sk_allocation;
	bool task_frag = sink->sk_use_task_frag;
	enum ktcp_transfer_end end;

	sink->sk_allocation = GFP_ATOMIC;
	/* The interrupted task may just be using its own page fragment. */
	sink->sk_use_task_frag = false;
	swap(sink->sk_frag, *frag);
	end = run_transfer(transfer, true);
	swap(sink->sk_frag, *frag);
	sink->sk_use_task_frag = task_frag;
	sink->sk_allocation = allocation;
	return end;
}

/**
 * ktcp_transfer_exit() - Free the pages that softirqs copied to
 *
 * Context: may sleep; no transfer runs any more.
 */
void ktcp_transfer_exit(void)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu) {
		struct page_frag *frag = per_cpu_ptr(&copy_frag, cpu);

		if (frag->page)
			put_page(frag->page);
		frag->page = NULL;
	}
}
