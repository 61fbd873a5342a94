/* SPDX-License-Identifier: GPL-2.0-only */
/* Bytes that go from one socket to another by reference. */
#ifndef KTCP_ZEROCOPY_H
#define KTCP_ZEROCOPY_H

#include <linux/bvec.h>
#include <linux/skbuff.h>
#include <linux/types.h>

struct socket;

/* Pieces that are sent by one call. */
#define KTCP_PIECES_MAX 64

/**
 * struct ktcp_batch - Bytes between two sockets
 * @skbs: clones that keep the bytes where they are
 * @more: the source has more to give
 * @copy: the pieces gathered last are copied instead of referred to
 * @pieces: length of @piece
 * @bytes: of all of @piece
 * @piece: where the bytes are that are sent next
 */
struct ktcp_batch {
	struct sk_buff_head skbs;
	bool more;
	bool copy;
	unsigned int pieces;
	size_t bytes;
	struct bio_vec piece[KTCP_PIECES_MAX];
};

struct ktcp_batch *ktcp_batch_create(void);
void ktcp_batch_free(struct ktcp_batch *batch);
int ktcp_batch_recv(struct ktcp_batch *batch, struct socket *source);
int ktcp_batch_send(struct ktcp_batch *batch, struct socket *sink);

#endif /* KTCP_ZEROCOPY_H */
