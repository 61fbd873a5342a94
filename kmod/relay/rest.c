// SPDX-License-Identifier: GPL-2.0-only
/*
 * A stream may be over for this relay while the next one still delivers its
 * last bytes. So a leg is used again only when the other relay has said that it
 * is: by IDLE, with the number of the stream, and with nothing behind it.
 *
 * The callbacks change while the socket is locked, see callbacks.c. So they
 * read sk_user_data as it is.
 */

#include "relay/rest.h"
#include "relay/record.h"

#include <linux/net.h>
#include <linux/skbuff.h>
#include <net/sock.h>
#include <net/tcp.h>

static const struct ktcp_callbacks callbacks;

/* For tcp_read_sock(): takes as much of the record as is missing. */
static int take_head(read_descriptor_t *desc, struct sk_buff *skb,
		     unsigned int offset, size_t size)
{
	struct ktcp_rest *rest = desc->arg.data;
	size_t count = min_t(size_t, size, sizeof(rest->head) - rest->have);

	if (skb_copy_bits(skb, offset, (u8 *)&rest->head + rest->have, count))
		return 0;
	rest->have += count;
	return count;
}

static bool is_idle(const struct ktcp_rest *rest, const struct sock *sk)
{
	return rest->have == sizeof(rest->head) &&
	       ktcp_record_is_idle(&rest->head, rest->stream) &&
	       sk->sk_state == TCP_ESTABLISHED &&
	       skb_queue_empty(&sk->sk_receive_queue);
}

/* The sock is locked, and the callbacks are in place. */
static void look_at(struct ktcp_rest *rest, struct sock *sk)
{
	read_descriptor_t desc = { .arg.data = rest, .count = 1 };

	/* An urgent byte would stop tcp_read_sock() for ever. */
	tcp_sk(sk)->urg_data = 0;
	tcp_read_sock(sk, &desc, take_head);
	if (rest->have < sizeof(rest->head) && sk->sk_state == TCP_ESTABLISHED)
		return;
	ktcp_callbacks_give_back(sk, &callbacks, rest, &rest->own);
	rest->over(rest, is_idle(rest, sk));
}

static void rest_data_ready(struct sock *sk)
{
	struct ktcp_rest *rest = sk->sk_user_data;

	look_at(rest, sk);
}

static void rest_state_change(struct sock *sk)
{
	rest_data_ready(sk);
}

static const struct ktcp_callbacks callbacks = {
	.data_ready = rest_data_ready,
	.state_change = rest_state_change,
};

/**
 * ktcp_rest_begin() - Wait for the other relay to give the leg back
 * @rest: the leg; nobody else uses its callbacks
 *
 * It may be over when this returns.
 *
 * Context: may sleep, the sock locked: so whoever finds the leg cannot cancel
 * what has yet to begin.
 */
void ktcp_rest_begin(struct ktcp_rest *rest)
{
	struct sock *sk = rest->sock->sk;

	sock_owned_by_me(sk);
	ktcp_callbacks_take(sk, &callbacks, rest, &rest->own);
	look_at(rest, sk);
}

/**
 * ktcp_rest_cancel() - Wait no longer
 * @rest: the leg; @over does not run when this returns, and is not called any
 * more
 *
 * Context: may sleep.
 */
void ktcp_rest_cancel(struct ktcp_rest *rest)
{
	struct sock *sk = rest->sock->sk;

	lock_sock(sk);
	ktcp_callbacks_give_back(sk, &callbacks, rest, &rest->own);
	release_sock(sk);
}
