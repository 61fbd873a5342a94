/* SPDX-License-Identifier: GPL-2.0-only */
/* Sending pages by reference: two ways, of which a kernel has one. */
#ifndef KTCP_COMPAT_SPLICE_H
#define KTCP_COMPAT_SPLICE_H

#include <linux/bvec.h>
#include <linux/socket.h>
#include <linux/uio.h>
#include <net/tcp.h>

/* All of @msg, however many times the queue is full. */
static inline int ktcp_compat_send_all(struct sock *sk, struct msghdr *msg)
{
	while (msg_data_left(msg)) {
		int n = tcp_sendmsg_locked(sk, msg, msg_data_left(msg));

		if (n < 0)
			return n;
	}
	return 0;
}

/*
 * Before MSG_SPLICE_PAGES a page went by a call of its own. Some stable
 * kernels define the flag and ignore it, so what tells is the older way.
 */
#ifdef KTCP_HAVE_SENDPAGE
static inline int ktcp_compat_refer(struct sock *sk, struct bio_vec *piece,
				    unsigned int pieces, size_t bytes,
				    int flags)
{
	for (; pieces; pieces--, piece++) {
		unsigned int offset = piece->bv_offset;
		unsigned int left = piece->bv_len;
		int last = pieces > 1 ? MSG_SENDPAGE_NOTLAST | MSG_MORE : 0;

		while (left) {
			int n = tcp_sendpage_locked(sk, piece->bv_page, offset,
						    left, flags | last);

			if (n < 0)
				return n;
			offset += n;
			left -= n;
		}
	}
	return 0;
}
#else
static inline int ktcp_compat_refer(struct sock *sk, struct bio_vec *piece,
				    unsigned int pieces, size_t bytes,
				    int flags)
{
	struct msghdr msg = { .msg_flags = flags | MSG_SPLICE_PAGES };

	iov_iter_bvec(&msg.msg_iter, WRITE, piece, pieces, bytes);
	return ktcp_compat_send_all(sk, &msg);
}
#endif

/**
 * ktcp_compat_send_pages() - Queue bytes of pages on a TCP socket
 * @sk: the socket
 * @piece: where the bytes are
 * @pieces: length of @piece
 * @bytes: of all of @piece
 * @copy: copy them; else the socket takes references, and they must not change
 * @more: more will follow at once
 *
 * Context: process context, @sk locked; waits where its queue is full.
 * Return: 0 or the error of the socket, after some of the bytes.
 */
static inline int ktcp_compat_send_pages(struct sock *sk, struct bio_vec *piece,
					 unsigned int pieces, size_t bytes,
					 bool copy, bool more)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };

	if (more)
		msg.msg_flags |= MSG_MORE;
	if (!copy)
		return ktcp_compat_refer(sk, piece, pieces, bytes,
					 msg.msg_flags);
	iov_iter_bvec(&msg.msg_iter, WRITE, piece, pieces, bytes);
	return ktcp_compat_send_all(sk, &msg);
}

#endif /* KTCP_COMPAT_SPLICE_H */
