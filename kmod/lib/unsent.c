// SPDX-License-Identifier: GPL-2.0-only
/*
 * How many bytes a socket's queue may hold that were not sent yet. What is in
 * flight does not count: a fast connection over a long path needs all of it.
 * Bytes that wait to be sent are only there so that TCP has some until we bring
 * more. If the other end has no room, it is enough to keep a few.
 */

#include "lib/unsent.h"

#include <linux/net.h>
#include <linux/tcp.h>
#include <net/tcp.h>

/* At 1 Gbit/s these last for a millisecond, */
#define UNSENT_MIN (128 << 10)
/* and these for four. */
#define UNSENT_MAX (512 << 10)

/**
 * ktcp_sock_bound_unsent() - Keep no more than can be sent soon
 * @sk: connected sock
 *
 * Without this the queue grows to the size of the send buffer, which may be
 * megabytes, also if the other end reads nothing.
 *
 * Context: any, @sk locked.
 */
void ktcp_sock_bound_unsent(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sk(sk);
	s32 room = tcp_wnd_end(tp) - tp->snd_nxt;
	u64 burst = (u64)tcp_snd_cwnd(tp) * tp->mss_cache;

	WRITE_ONCE(tp->notsent_lowat,
		   clamp_t(s64, min_t(s64, room, burst), UNSENT_MIN, UNSENT_MAX));
}

/**
 * ktcp_socket_bound_unsent() - The same, for callers without the lock
 * @sock: connected socket
 *
 * Context: may sleep.
 */
void ktcp_socket_bound_unsent(struct socket *sock)
{
	lock_sock(sock->sk);
	ktcp_sock_bound_unsent(sock->sk);
	release_sock(sock->sk);
}
