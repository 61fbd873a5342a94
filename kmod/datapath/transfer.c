// SPDX-License-Identifier: GPL-2.0-only
/*
 * Moves bytes from the receive queue of one socket straight into the send queue
 * of another, with both locked. If pages go by reference, an skb goes on as it
 * came, or the sink takes its pages as it does for sendfile(2). If bytes are
 * copied, they are copied once.
 *
 * Nothing is held in between: bytes that the sink has no room for stay in the
 * source's queue, and close its window.
 */

#include "datapath/transfer.h"
#include "datapath/graft.h"
#include "lib/compat/splice.h"
#include "lib/dscp.h"

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

/**
 * struct gather - Pieces of an skb on their way to the sink
 * @transfer: the transfer
 * @atomic: in softirq
 * @grafted: skbs have gone on as they came
 * @copy: all pieces of the skb have to be copied
 * @copied: the pieces gathered now have to be copied
 * @more: bytes follow this skb in the source
 * @err: the sink's error
 * @sent: bytes of the skb that the sink has taken
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
	gather->sent += n;
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
 * For tcp_read_sock(): moves the skb that it is offered, unless desc->count is
 * used up. No skb is cut at that limit: its rest would leave in a small packet.
 */
static int move_skb(read_descriptor_t *desc, struct sk_buff *skb,
		    unsigned int offset, size_t size)
{
	struct gather *gather = desc->arg.data;
	struct ktcp_transfer *transfer = gather->transfer;

	if (!desc->count)
		return 0;
	ktcp_dscp_follow(transfer->sink, skb);
	gather->copy = !transfer->refer || size < COPY_BELOW ||
		       size < skb->truesize / 2;
	gather->copied = gather->copy;
	/* Count only bytes: a FIN alone would leave the last segment corked. */
	gather->more = tcp_inq(transfer->source) > size;
	gather->sent = graft_skb(gather, skb, offset, size);
	if (gather->sent < size) {
		gather->err = add_skb(gather, skb, offset + gather->sent,
				      size - gather->sent) ?:
			      send_pieces(gather, gather->more);
		gather->pieces = 0;
		gather->bytes = 0;
	}
	desc->count -= min(gather->sent, desc->count);
	return gather->sent;
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

static enum ktcp_transfer_end run_transfer(struct ktcp_transfer *transfer,
					   bool atomic)
{
	struct sock *source = transfer->source;
	struct gather gather;
	read_descriptor_t desc = {
		.arg.data = &gather,
		.count = BYTES_MAX,
	};
	int n;

	gather.transfer = transfer;
	gather.atomic = atomic;
	gather.grafted = false;
	gather.pieces = 0;
	gather.bytes = 0;
	gather.err = 0;
	/* An urgent byte would stop tcp_read_sock() for ever. */
	tcp_sk(source)->urg_data = 0;
	n = tcp_read_sock(source, &desc, move_skb);
	transfer->bytes = max(n, 0);
	if (gather.grafted && !atomic)
		ktcp_graft_push(transfer->sink);

	if (gather.err == -EAGAIN)
		return KTCP_SINK_FULL;
	if (gather.err)
		return KTCP_SINK_BROKEN;
	if (!desc.count)
		return KTCP_SOURCE_HAS_MORE;
	return has_ended(source) ? end_of(source) : KTCP_SOURCE_EMPTY;
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
