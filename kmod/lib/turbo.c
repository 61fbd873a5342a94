// SPDX-License-Identifier: GPL-2.0-only
/*
 * Turbo-Start: large windows from the first byte, on relay legs only.
 *
 * Context of all, unless stated otherwise: process context, may sleep, no lock
 * held.
 */

#include "lib/turbo.h"

#include <linux/net.h>
#include <linux/tcp.h>
#include <net/tcp.h>

/**
 * ktcp_socket_turbo_prepare() - Buffers for a long leg, before it connects
 * @sock: socket to connect or to listen with
 * @bytes: of each buffer, 0 without turbo
 *
 * The SYN fixes the window scale, which follows from the buffer. The locks keep
 * TCP from resizing the buffers, as in rds_tcp_tune(); connections that a
 * listener accepts inherit all of it. Without turbo, a socket gets the default
 * buffers.
 */
void ktcp_socket_turbo_prepare(struct socket *sock, u32 bytes)
{
	struct net *net = sock_net(sock->sk);
	struct sock *sk = sock->sk;

	lock_sock(sk);
	if (bytes) {
		WRITE_ONCE(sk->sk_rcvbuf, bytes);
		WRITE_ONCE(sk->sk_sndbuf, bytes);
		sk->sk_userlocks |= SOCK_RCVBUF_LOCK | SOCK_SNDBUF_LOCK;
	} else if (sk->sk_userlocks & SOCK_RCVBUF_LOCK) {
		WRITE_ONCE(sk->sk_rcvbuf,
			   READ_ONCE(net->ipv4.sysctl_tcp_rmem[1]));
		WRITE_ONCE(sk->sk_sndbuf,
			   READ_ONCE(net->ipv4.sysctl_tcp_wmem[1]));
		sk->sk_userlocks &= ~(SOCK_RCVBUF_LOCK | SOCK_SNDBUF_LOCK);
	}
	release_sock(sk);
}

/* Slow start after idle depends on these two. */
static void forget_idle(struct tcp_sock *tp)
{
	tp->lsndtime = tcp_jiffies32;
	tp->snd_cwnd_stamp = tcp_jiffies32;
}

/* Pacing by the first few round trips would spread the burst over seconds. */
static void raise_pacing(struct sock *sk, u32 cwnd)
{
	const struct tcp_sock *tp = tcp_sk(sk);
	u64 rate = (u64)cwnd * tp->mss_cache * USEC_PER_SEC;

	do_div(rate, max_t(u32, tp->srtt_us >> 3, 1));
	WRITE_ONCE(sk->sk_pacing_rate,
		   min_t(u64, rate, READ_ONCE(sk->sk_max_pacing_rate)));
}

/* The receive buffer of a leg whose reader has taken nothing yet. */
#define BEGIN_BYTES (8 << 20)
/* The same while the host's TCP has little memory left; TCP's own default. */
#define BEGIN_BYTES_SHORT (128 << 10)
/*
 * Each round trip of the reader's, its congestion window can double. A larger
 * receiving window goes to the peer, and its bytes come back, in a round trip
 * of the leg's. So for each byte that was read the buffer grows by so many,
 * doubled as often as the longer round trip has room for the shorter one. It is
 * four since the last bytes are not acknowledged yet, and since half of a buffer
 * is for the kernel's own structures.
 */
#define GROWTH 4
#define DOUBLINGS_MAX 8

/* Below this mark (net.ipv4.tcp_mem) TCP gives memory away freely. */
static bool memory_is_short(const struct sock *sk)
{
	const struct proto *tcp = sk->sk_prot;

	return atomic_long_read(tcp->memory_allocated) >
	       READ_ONCE(tcp->sysctl_mem[0]);
}

/* The receiving window follows the buffer; the other end learns it by an ACK. */
static void open_window(struct sock *sk, u32 bytes)
{
	struct tcp_sock *tp = tcp_sk(sk);

	WRITE_ONCE(sk->sk_rcvbuf, bytes);
	tp->window_clamp = tcp_full_space(sk);
	tp->rcv_ssthresh = tp->window_clamp;
}

/**
 * ktcp_socket_turbo() - Large windows from the first byte (paper, section 2)
 * @sock: connected socket between relays, prepared before
 * @cwnd: congestion window, segments, 0 without turbo
 *
 * Inside a cloud there is no congestion to probe for. This sets the sending
 * window, and opens the receiving window for the first bytes. It opens further
 * as the reader takes them, see ktcp_sock_turbo_follow().
 */
void ktcp_socket_turbo(struct socket *sock, u32 cwnd)
{
	struct sock *sk = sock->sk;
	struct tcp_sock *tp = tcp_sk(sk);
	u32 begin = BEGIN_BYTES;

	if (!cwnd)
		return;
	lock_sock(sk);
	/* In SYN_RECV the first bytes came with the SYN. */
	if (sk->sk_state == TCP_ESTABLISHED || sk->sk_state == TCP_SYN_RECV) {
		tcp_snd_cwnd_set(tp, cwnd);
		tp->snd_ssthresh = TCP_INFINITE_SSTHRESH;
		forget_idle(tp);
		if (memory_is_short(sk))
			begin = BEGIN_BYTES_SHORT;
		open_window(sk, min_t(u32, begin, sk->sk_sndbuf));
		/*
		 * The handshake promised what the whole buffer takes. What is
		 * sent next takes that back, before a byte of a stream comes.
		 */
		tp->rcv_wnd = min(tp->rcv_wnd, tp->rcv_ssthresh);
		raise_pacing(sk, cwnd);
	}
	release_sock(sk);
}

static unsigned int doublings(const struct sock *sk, u32 reader_rtt_us)
{
	return min_t(u32, DOUBLINGS_MAX, DIV_ROUND_UP(tcp_min_rtt(tcp_sk(sk)),
						      max_t(u32, reader_rtt_us, 1)));
}

/**
 * ktcp_sock_turbo_follow() - Open the receiving window as the reader reads
 * @sk: sock of a socket that ktcp_socket_turbo() was called on, and whose window
 * is not open yet
 * @read: how many bytes the reader has read at least
 * @rtt_us: the shortest round-trip time to the reader
 *
 * A relay keeps what its peer sends until the reader takes it. If the window
 * were open from the beginning, a client that asks for much and reads nothing
 * would make two relays keep all of it. So the window follows the reader, and
 * the memory that the host's TCP has left. It opens faster than the reader's
 * own congestion window can.
 *
 * Context: any, @sk locked.
 */
void ktcp_sock_turbo_follow(struct sock *sk, u64 read, u32 rtt_us)
{
	u64 growth, wanted;

	if (!(sk->sk_userlocks & SOCK_RCVBUF_LOCK))
		return;
	growth = read * GROWTH << doublings(sk, rtt_us);
	wanted = min_t(u64, BEGIN_BYTES + growth, sk->sk_sndbuf);
	/* In steps of a half, since each one is more work than a look. */
	if (wanted < sk->sk_sndbuf && wanted < sk->sk_rcvbuf * 3ULL / 2)
		return;
	if (!memory_is_short(sk))
		open_window(sk, wanted);
}

/**
 * ktcp_socket_turbo_follow() - The same, for callers without the lock
 * @sock: socket that ktcp_socket_turbo() was called on, as above
 * @read: how many bytes the reader has read at least
 * @rtt_us: the shortest round-trip time to the reader
 */
void ktcp_socket_turbo_follow(struct socket *sock, u64 read, u32 rtt_us)
{
	struct sock *sk = sock->sk;

	lock_sock(sk);
	ktcp_sock_turbo_follow(sk, read, rtt_us);
	release_sock(sk);
}

/**
 * ktcp_sock_turbo_refresh() - Keep the window over a pause, before a send
 * @sk: sock of a socket that ktcp_socket_turbo() was called on
 *
 * Context: any, @sk locked.
 */
void ktcp_sock_turbo_refresh(struct sock *sk)
{
	struct tcp_sock *tp = tcp_sk(sk);

	if (!tp->packets_out)
		forget_idle(tp);
}

/**
 * ktcp_socket_turbo_refresh() - The same, for callers without the lock
 * @sock: socket that ktcp_socket_turbo() was called on
 */
void ktcp_socket_turbo_refresh(struct socket *sock)
{
	struct sock *sk = sock->sk;

	if (READ_ONCE(tcp_sk(sk)->packets_out))
		return;
	lock_sock(sk);
	ktcp_sock_turbo_refresh(sk);
	release_sock(sk);
}
