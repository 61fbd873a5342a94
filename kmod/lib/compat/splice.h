/* SPDX-License-Identifier: GPL-2.0-only */
/* Sending pages by reference: each kernel has one of two interfaces. */
#ifndef KTCP_COMPAT_SPLICE_H
#define KTCP_COMPAT_SPLICE_H

#include <linux/bvec.h>
#include <linux/socket.h>
#include <linux/uio.h>
#include <net/tcp.h>

/*
 * Before MSG_SPLICE_PAGES, each page was sent by a call of its own. Some stable
 * kernels define the flag but ignore it, so the probe looks for the older
 * interface.
 */
#ifdef KTCP_HAVE_SENDPAGE
static inline int ktcp_compat_refer(struct sock *sk, struct bio_vec *piece,
				    unsigned int pieces, size_t bytes,
				    int flags)
{
	int sent = 0;

	for (; pieces; pieces--, piece++) {
		int last = pieces > 1 ? MSG_SENDPAGE_NOTLAST | MSG_MORE : 0;
		int n = tcp_sendpage_locked(sk, piece->bv_page,
					    piece->bv_offset, piece->bv_len,
					    flags | last);

		if (n < 0)
			return sent ?: n;
		sent += n;
		if (n < piece->bv_len)
			break;
	}
	return sent;
}
#else
static inline int ktcp_compat_refer(struct sock *sk, struct bio_vec *piece,
				    unsigned int pieces, size_t bytes,
				    int flags)
{
	struct msghdr msg = { .msg_flags = flags | MSG_SPLICE_PAGES };

	iov_iter_bvec(&msg.msg_iter, WRITE, piece, pieces, bytes);
	return tcp_sendmsg_locked(sk, &msg, bytes);
}
#endif

/**
 * ktcp_compat_send_pages() - Queue bytes of pages on a TCP socket
 * @sk: the socket
 * @piece: where the bytes are
 * @pieces: length of @piece
 * @bytes: of all of @piece
 * @copy: copy the bytes; else the socket takes references to the pages, which
 * must not change
 * @more: more will follow at once
 *
 * Context: @sk locked; does not wait.
 * Return: bytes taken, -EAGAIN if there is no room, or the socket's error.
 */
static inline int ktcp_compat_send_pages(struct sock *sk, struct bio_vec *piece,
					 unsigned int pieces, size_t bytes,
					 bool copy, bool more)
{
	struct msghdr msg = { .msg_flags = MSG_NOSIGNAL | MSG_DONTWAIT };

	if (more)
		msg.msg_flags |= MSG_MORE;
	if (!copy)
		return ktcp_compat_refer(sk, piece, pieces, bytes,
					 msg.msg_flags);
	iov_iter_bvec(&msg.msg_iter, WRITE, piece, pieces, bytes);
	return tcp_sendmsg_locked(sk, &msg, bytes);
}

#endif /* KTCP_COMPAT_SPLICE_H */
