/* SPDX-License-Identifier: GPL-2.0-only */
/* Waits until the acceptor of a leg gives it back after a stream. */
#ifndef KTCP_REST_H
#define KTCP_REST_H

#include "lib/callbacks.h"
#include "relay/wire.h"

#include <linux/types.h>

struct socket;

/**
 * struct ktcp_rest - A leg whose stream has ended, and that may be used again
 * @sock: the leg
 * @stream: number of the stream
 * @have: bytes of @head that have come
 * @head: the record that gives it back
 * @over: called once, with the sock locked, in softirq or in process context;
 * @idle is true if the leg can be used again, false if it cannot
 * @own: the socket's own callbacks
 */
struct ktcp_rest {
	struct socket *sock;
	u16 stream;
	u8 have;
	struct ktcp_wire_head head;
	void (*over)(struct ktcp_rest *rest, bool idle);
	struct ktcp_callbacks own;
};

void ktcp_rest_begin(struct ktcp_rest *rest);
void ktcp_rest_cancel(struct ktcp_rest *rest);

#endif /* KTCP_REST_H */
