// SPDX-License-Identifier: GPL-2.0-only
/*
 * What TCP knows of a connection: what has come, what was acknowledged, how it
 * ended. Nothing here takes the socket's lock, so an answer may be old already.
 *
 * Context of all: any.
 */

#include "lib/socket_state.h"

#include <linux/net.h>
#include <linux/tcp.h>
#include <net/tcp.h>

/**
 * ktcp_socket_rtt_us() - The smoothed round-trip time
 * @sock: connected socket
 */
u32 ktcp_socket_rtt_us(const struct socket *sock)
{
	return READ_ONCE(tcp_sk(sock->sk)->srtt_us) >> 3;
}

/**
 * ktcp_socket_min_rtt_us() - The shortest round-trip time of late
 * @sock: connected socket
 *
 * Unlike the smoothed one it has no delayed acknowledgements in it.
 */
u32 ktcp_socket_min_rtt_us(const struct socket *sock)
{
	return tcp_min_rtt(tcp_sk(sock->sk));
}

/**
 * ktcp_socket_has_data() - Is there something to receive now?
 * @sock: the socket
 */
bool ktcp_socket_has_data(const struct socket *sock)
{
	return !skb_queue_empty_lockless(&sock->sk->sk_receive_queue);
}

/**
 * ktcp_socket_unread() - How many bytes have come that were not received yet?
 * @sock: the socket
 */
u32 ktcp_socket_unread(const struct socket *sock)
{
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	return READ_ONCE(tp->rcv_nxt) - READ_ONCE(tp->copied_seq);
}

/**
 * ktcp_socket_has_bytes() - Can this many bytes, or the end, be received now?
 * @sock: the socket
 * @count: how many
 */
bool ktcp_socket_has_bytes(const struct socket *sock, u32 count)
{
	const struct sock *sk = sock->sk;

	return ktcp_socket_unread(sock) >= count || READ_ONCE(sk->sk_err) ||
	       READ_ONCE(sk->sk_shutdown) ||
	       READ_ONCE(sk->sk_state) == TCP_CLOSE;
}

/**
 * ktcp_socket_offered() - How much has the other end ever had room for?
 * @sock: connected socket
 *
 * This grows when the program there reads. If it does not, this hardly does,
 * even though its TCP goes on to acknowledge what still fits.
 *
 * Return: bytes since the connection began.
 */
u64 ktcp_socket_offered(const struct socket *sock)
{
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	return READ_ONCE(tp->bytes_acked) + READ_ONCE(tp->snd_wnd);
}

/**
 * ktcp_socket_is_filling() - Does the other end have less and less room?
 * @sock: connected socket
 */
bool ktcp_socket_is_filling(const struct socket *sock)
{
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	return READ_ONCE(tp->snd_wnd) < READ_ONCE(tp->max_window) / 2;
}

/**
 * ktcp_socket_written() - How much was ever written to a connection?
 * @sock: the socket
 *
 * Context: may sleep.
 * Return: bytes, as ktcp_socket_is_unheard() counts them.
 */
u64 ktcp_socket_written(struct socket *sock)
{
	struct sock *sk = sock->sk;
	const struct tcp_sock *tp = tcp_sk(sk);
	u64 written;

	lock_sock(sk);
	written = tp->bytes_acked + (tp->write_seq - tp->snd_una);
	release_sock(sk);
	return written;
}

/**
 * ktcp_socket_is_unheard() - Is an answer due to what followed the first
 * bytes, and was none of it acknowledged?
 * @sock: the socket
 * @written: how many bytes do not count; a late answer to them may still come
 */
bool ktcp_socket_is_unheard(const struct socket *sock, u64 written)
{
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	return READ_ONCE(tp->packets_out) &&
	       READ_ONCE(tp->bytes_acked) <= written;
}

/**
 * ktcp_socket_is_sent() - Has the other end acknowledged all, or will it never?
 * @sock: the socket
 */
bool ktcp_socket_is_sent(const struct socket *sock)
{
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	return READ_ONCE(sock->sk->sk_state) == TCP_CLOSE ||
	       READ_ONCE(tp->snd_una) == READ_ONCE(tp->write_seq);
}

/**
 * ktcp_socket_is_out() - Has all been sent at least once, or never will be?
 * @sock: the socket
 */
bool ktcp_socket_is_out(const struct socket *sock)
{
	const struct sock *sk = sock->sk;

	return READ_ONCE(sk->sk_state) == TCP_CLOSE ||
	       skb_queue_empty_lockless(&sk->sk_write_queue);
}

/**
 * ktcp_socket_is_shut() - Is nothing in flight because the other end has no
 * room?
 * @sock: the socket, of which ktcp_socket_is_sent() is not true
 */
bool ktcp_socket_is_shut(const struct socket *sock)
{
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	return !READ_ONCE(tp->packets_out) || !READ_ONCE(tp->snd_wnd);
}

/**
 * ktcp_socket_silence() - How long ago did anything come from the other end?
 * @sock: connected socket
 *
 * Return: jiffies.
 */
unsigned long ktcp_socket_silence(const struct socket *sock)
{
	/* A slightly old time is good enough. */
	return data_race(keepalive_time_elapsed(tcp_sk(sock->sk)));
}

/**
 * ktcp_socket_is_broken() - Has the connection ended other than by FINs?
 * @sock: the socket
 * @fin: FIN was sent
 *
 * Also after both FINs, if the other end did not acknowledge everything.
 */
bool ktcp_socket_is_broken(const struct socket *sock, bool fin)
{
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	if (READ_ONCE(sock->sk->sk_state) != TCP_CLOSE)
		return false;
	/* Only tcp_fin() sets SOCK_DONE. */
	return !fin || !sock_flag(sock->sk, SOCK_DONE) ||
	       READ_ONCE(tp->snd_una) != READ_ONCE(tp->write_seq);
}

/**
 * ktcp_socket_is_unknown() - Did the RST come from a host that does not know
 * the connection?
 * @sock: the socket; the last packet that came was an RST
 *
 * If both ends have agreed on timestamps, all packets of a connection carry
 * one, also its RST (RFC 7323, section 3.2). A host that does not have the
 * connection, or a firewall, sends an RST without a timestamp.
 */
bool ktcp_socket_is_unknown(const struct socket *sock)
{
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	return tp->rx_opt.tstamp_ok && !tp->rx_opt.saw_tstamp;
}

/**
 * ktcp_socket_stalled() - For how long has the other end acknowledged nothing?
 * @sock: the socket
 * @flush: what the last call saw, zeroed at first; updated
 *
 * Return: jiffies since the first call that saw the present state.
 */
unsigned long ktcp_socket_stalled(const struct socket *sock,
				  struct ktcp_flush *flush)
{
	u32 una = READ_ONCE(tcp_sk(sock->sk)->snd_una);

	if (!flush->since || una != flush->una) {
		flush->una = una;
		flush->since = jiffies ?: 1;
	}
	return jiffies - flush->since;
}
