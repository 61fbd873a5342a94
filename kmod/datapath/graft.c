// SPDX-License-Identifier: GPL-2.0-only
/*
 * Sends a received skb on as it came: a new skb refers to all its pages and is
 * put into the other socket's send queue. That does in one step what
 * sendfile(2) does page by page, and packets leave as large as they came.
 *
 * The code does what tcp_skb_entail(), tcp_push() and tcp_tsq_handler() do,
 * which modules cannot call. These do more for a connection that was idle, or
 * that is about to end. There the skb is not grafted, and its bytes go the
 * usual way.
 *
 * Context of all: the caller owns the sock (lock_sock()); or, in softirq, its
 * spinlock is held and nobody owns it.
 */

#include "datapath/graft.h"

#include <linux/mm.h>
#include <linux/skbuff.h>
#include <net/sock.h>
#include <net/tcp.h>

/* Nobody may refer to slab memory, and lists that GRO made are not sent. */
static bool is_plain(const struct sk_buff *skb)
{
	unsigned int frags = skb_shinfo(skb)->nr_frags;

	if (skb_has_frag_list(skb))
		return false;
	if (!skb_headlen(skb))
		return frags;
	return skb->head_frag && frags < MAX_SKB_FRAGS;
}

/* Would tcp_sendmsg_locked() queue and send at once, without other steps? */
static bool is_ready(const struct sock *sk)
{
	const struct tcp_sock *tp = tcp_sk(sk);

	if (sk->sk_err || sk->sk_shutdown & SEND_SHUTDOWN ||
	    !((1 << sk->sk_state) & (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT)))
		return false;
	/* After idle, tcp_slow_start_after_idle_check() may have to act. */
	return tp->packets_out ||
	       tcp_jiffies32 - tp->lsndtime < inet_csk(sk)->icsk_rto;
}

static void add_frag(struct sk_buff *skb, struct page *page,
		     unsigned int offset, unsigned int size)
{
	get_page(page);
	skb_fill_page_desc_noacc(skb, skb_shinfo(skb)->nr_frags, page, offset, size);
	skb->len += size;
	skb->data_len += size;
	skb->truesize += size;
}

static struct sk_buff *refer_pages(const struct sk_buff *skb,
				   unsigned int frags, gfp_t gfp)
{
	struct sk_buff *copy = alloc_skb_fclone(MAX_TCP_HEADER, gfp);
	unsigned int i;

	if (!copy)
		return NULL;
	skb_reserve(copy, MAX_TCP_HEADER);
	copy->ip_summed = CHECKSUM_PARTIAL;
	if (skb_headlen(skb)) {
		struct page *page = virt_to_head_page(skb->data);

		add_frag(copy, page,
			 skb->data - (unsigned char *)page_address(page),
			 skb_headlen(skb));
	}
	for (i = 0; i < frags; i++) {
		const skb_frag_t *frag = &skb_shinfo(skb)->frags[i];

		add_frag(copy, skb_frag_page(frag), skb_frag_off(frag),
			 skb_frag_size(frag));
	}
	return copy;
}

/* Do what tcp_chrono_start() does, for the figures of tcp_info. */
static void busy_from_now(struct tcp_sock *tp)
{
	if (tp->chrono_type != TCP_CHRONO_UNSPEC)
		return;
	tp->chrono_start = tcp_jiffies32;
	tp->chrono_type = TCP_CHRONO_BUSY;
}

static void entail_skb(struct sock *sk, struct sk_buff *skb, bool more)
{
	struct tcp_skb_cb *tcb = TCP_SKB_CB(skb);
	struct tcp_sock *tp = tcp_sk(sk);

	tcb->seq = tp->write_seq;
	tcb->end_seq = tp->write_seq + skb->len;
	tcb->tcp_flags = TCPHDR_ACK;
	/* Overwrites the destructor, so not before the skb is sure to stay. */
	INIT_LIST_HEAD(&skb->tcp_tsorted_anchor);
	__skb_header_release(skb);
	__skb_queue_tail(&sk->sk_write_queue, skb);
	busy_from_now(tp);
	sk_wmem_queued_add(sk, skb->truesize);
	sk_mem_charge(sk, skb->truesize);
	tp->nonagle &= ~TCP_NAGLE_PUSH;
	WRITE_ONCE(tp->write_seq, tcb->end_seq);
	if (more)
		return;
	tcb->tcp_flags |= TCPHDR_PSH;
	tp->pushed_seq = tp->write_seq;
}

/**
 * ktcp_graft() - Queue a received skb's bytes, by reference to its pages
 * @sink: the socket that sends them; must have room
 * @skb: in another socket's receive queue; goes on from its first byte
 * @more: more will follow at once
 * @atomic: in softirq, where nobody calls release_sock(). The last page is left
 * out then: when it is sent the usual way, what was queued here is sent, too
 *
 * If not @atomic, call ktcp_graft_push() before you release @sink.
 *
 * Return: bytes that were queued; 0 if the skb or the socket's state calls for
 * the usual way.
 */
size_t ktcp_graft(struct sock *sink, const struct sk_buff *skb, bool more,
		  bool atomic)
{
	unsigned int frags = skb_shinfo(skb)->nr_frags;
	struct sk_buff *copy;

	if (!is_plain(skb) || !is_ready(sink))
		return 0;
	if (atomic) {
		/* If the last page finds no room, an ACK sends the others. */
		if (frags < 2 || !tcp_sk(sink)->packets_out)
			return 0;
		frags--;
	}
	copy = refer_pages(skb, frags, sink->sk_allocation);
	if (!copy)
		return 0;
	if (!sk_wmem_schedule(sink, copy->truesize)) {
		kfree_skb(copy);
		return 0;
	}
	entail_skb(sink, copy, more || atomic);
	return copy->len;
}

/**
 * ktcp_graft_push() - Let release_sock() send what was queued
 * @sink: the socket
 *
 * The flag is meant for senders that TCP's small queues held up: release_sock()
 * sends what they have queued, and drops a reference for the flag.
 */
void ktcp_graft_push(struct sock *sink)
{
	if (!test_and_set_bit(TCP_TSQ_DEFERRED, &sink->sk_tsq_flags))
		sock_hold(sink);
	/* If the window is closed, perhaps no ACK will come to open it. */
	tcp_check_probe_timer(sink);
}
