// SPDX-License-Identifier: GPL-2.0-only
/*
 * The datapath "zerocopy": pages move from one socket's receive queue to the
 * other's send queue by reference. The skbs of the source are cloned into a
 * batch, which keeps their data while the source forgets them; then the sink
 * takes references of the pages, as it does for sendfile(2).
 *
 * Never are both sockets locked at once: two directions would deadlock.
 *
 * Context of all: a thread of the split, may sleep, no lock held.
 */

#include "zerocopy.h"
#include "compat/splice.h"

#include <linux/mm.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <net/sock.h>
#include <net/tcp.h>

/* Of one batch: what has left the receive queue but is not sent yet. */
#define BATCH_BYTES (256 << 10)

/*
 * A reference keeps a whole page, or more. What is small, or little of what it
 * occupies, is copied, so that nobody has a relay keep megabytes by sending
 * kilobytes.
 */
#define COPY_BELOW 2048

/**
 * struct part - What of a clone belongs to the batch; in its cb
 * @offset: of the first byte
 * @size: bytes
 */
struct part {
	unsigned int offset;
	unsigned int size;
};

static struct part *part_of(struct sk_buff *skb)
{
	BUILD_BUG_ON(sizeof(struct part) > sizeof(skb->cb));
	return (struct part *)skb->cb;
}

/**
 * ktcp_batch_create() - Make an empty batch
 *
 * Return: the batch, NULL without memory.
 */
struct ktcp_batch *ktcp_batch_create(void)
{
	struct ktcp_batch *batch = kzalloc(sizeof(*batch), GFP_KERNEL);

	if (batch)
		__skb_queue_head_init(&batch->skbs);
	return batch;
}

/**
 * ktcp_batch_free() - Forget a batch and what it holds
 * @batch: the batch or NULL
 */
void ktcp_batch_free(struct ktcp_batch *batch)
{
	if (batch)
		__skb_queue_purge(&batch->skbs);
	kfree(batch);
}

/* For tcp_read_sock(): takes what it is offered, up to desc->count. */
static int take(read_descriptor_t *desc, struct sk_buff *skb,
		unsigned int offset, size_t size)
{
	struct ktcp_batch *batch = desc->arg.data;
	struct sk_buff *clone;

	size = min(size, desc->count);
	if (!size)
		return 0;
	clone = skb_clone(skb, GFP_KERNEL);
	if (!clone)
		return -ENOMEM;
	part_of(clone)->offset = offset;
	part_of(clone)->size = size;
	__skb_queue_tail(&batch->skbs, clone);
	desc->count -= size;
	return size;
}

/* What the end of a receive queue stands for. */
static int end_of(struct sock *sk)
{
	int err = sock_error(sk);

	if (err)
		return err;
	/* tcp_fin() alone sets it; an error may have been told to others. */
	return sock_flag(sk, SOCK_DONE) ? 0 : -ECONNRESET;
}

static bool has_ended(const struct sock *sk)
{
	return sk->sk_err || sk->sk_shutdown & RCV_SHUTDOWN ||
	       sk->sk_state == TCP_CLOSE || sock_flag(sk, SOCK_DONE);
}

static int read_locked(struct ktcp_batch *batch, struct sock *sk)
{
	read_descriptor_t desc = {
		.arg.data = batch,
		.count = BATCH_BYTES,
	};
	long timeout = sock_rcvtimeo(sk, false);
	int n;

	for (;;) {
		/* An urgent byte would stop tcp_read_sock() for ever. */
		tcp_sk(sk)->urg_data = 0;
		n = tcp_read_sock(sk, &desc, take);
		if (n)
			return n;
		if (has_ended(sk))
			return end_of(sk);
		if (!timeout)
			return -EAGAIN;
		sk_wait_data(sk, &timeout, NULL);
	}
}

/**
 * ktcp_batch_recv() - Take what a socket has received, wait where that is nothing
 * @batch: empty
 * @source: the socket
 *
 * Return: bytes; 0 after FIN; -EAGAIN after the socket's timeout; or an error.
 */
int ktcp_batch_recv(struct ktcp_batch *batch, struct socket *source)
{
	struct sock *sk = source->sk;
	int n;

	lock_sock(sk);
	n = read_locked(batch, sk);
	/* Only bytes: a FIN alone would leave the last segment corked. */
	batch->more = n > 0 && tcp_inq(sk);
	release_sock(sk);
	return n;
}

/* Send what was gathered; the pieces are free again. */
static int send_pieces(struct ktcp_batch *batch, struct sock *sk, bool more)
{
	int err;

	if (!batch->pieces)
		return 0;
	err = ktcp_compat_send_pages(sk, batch->piece, batch->pieces,
				     batch->bytes, batch->copy, more);
	batch->pieces = 0;
	batch->bytes = 0;
	return err;
}

static int add_piece(struct ktcp_batch *batch, struct sock *sk,
		     struct page *page, unsigned int offset, unsigned int size,
		     bool copy)
{
	int err = 0;

	if (batch->pieces == KTCP_PIECES_MAX || batch->copy != copy)
		err = send_pieces(batch, sk, true);
	batch->copy = copy;
	batch->piece[batch->pieces++] = (struct bio_vec){
		.bv_page = page,
		.bv_len = size,
		.bv_offset = offset,
	};
	batch->bytes += size;
	return err;
}

static int add_head(struct ktcp_batch *batch, struct sock *sk,
		    const struct sk_buff *skb, const struct part *part,
		    bool copy)
{
	unsigned int size = min(part->size, skb_headlen(skb) - part->offset);
	const void *data = skb->data + part->offset;
	struct page *page = virt_to_head_page(data);

	/* A slab's pages are nobody's to refer to. */
	return add_piece(batch, sk, page, data - page_address(page), size,
			 copy || !skb->head_frag);
}

/* A part of a fragment; @part: its place among those behind the head. */
static int add_frag(struct ktcp_batch *batch, struct sock *sk,
		    const skb_frag_t *frag, struct part *part, bool copy)
{
	unsigned int size;
	int err;

	if (part->offset >= skb_frag_size(frag)) {
		part->offset -= skb_frag_size(frag);
		return 0;
	}
	size = min(part->size, skb_frag_size(frag) - part->offset);
	err = add_piece(batch, sk, skb_frag_page(frag),
			skb_frag_off(frag) + part->offset, size, copy);
	part->offset = 0;
	part->size -= size;
	return err;
}

/* All of a part; goes down once for each list of fragments, of which GRO makes one. */
static int add_skb(struct ktcp_batch *batch, struct sock *sk,
		   const struct sk_buff *skb, struct part part, bool copy)
{
	const struct skb_shared_info *shared = skb_shinfo(skb);
	unsigned int head = skb_headlen(skb);
	const struct sk_buff *next;
	unsigned int i;
	int err = 0;

	if (part.offset < head) {
		err = add_head(batch, sk, skb, &part, copy);
		part.size -= min(part.size, head - part.offset);
		part.offset = head;
	}
	part.offset -= head;
	for (i = 0; !err && part.size && i < shared->nr_frags; i++)
		err = add_frag(batch, sk, &shared->frags[i], &part, copy);
	skb_walk_frags(skb, next) {
		struct part inner = part;

		if (err || !part.size)
			break;
		if (part.offset >= next->len) {
			part.offset -= next->len;
			continue;
		}
		inner.size = min(part.size, next->len - part.offset);
		err = add_skb(batch, sk, next, inner, copy);
		part.size -= inner.size;
		part.offset = 0;
	}
	return err;
}

static int send_locked(struct ktcp_batch *batch, struct sock *sk)
{
	struct sk_buff *skb;
	struct part part;
	bool copy;
	int err;

	skb_queue_walk(&batch->skbs, skb) {
		part = *part_of(skb);
		copy = part.size < COPY_BELOW || part.size < skb->truesize / 2;
		err = add_skb(batch, sk, skb, part, copy);
		if (err)
			return err;
	}
	return send_pieces(batch, sk, batch->more);
}

/**
 * ktcp_batch_send() - Queue all of a batch, wait where the queue is full
 * @batch: empty afterwards
 * @sink: the socket
 *
 * Return: 0, -ETIMEDOUT when nothing moved for the socket's timeout, or
 * another error.
 */
int ktcp_batch_send(struct ktcp_batch *batch, struct socket *sink)
{
	struct sock *sk = sink->sk;
	int err;

	lock_sock(sk);
	err = send_locked(batch, sk);
	release_sock(sk);
	batch->pieces = 0;
	batch->bytes = 0;
	__skb_queue_purge(&batch->skbs);
	return err == -EAGAIN ? -ETIMEDOUT : err;
}
