// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making, using and closing the kernel's TCP sockets.
 *
 * Context of all: process context, may sleep, no lock held.
 */

#include "lib/socket.h"
#include "lib/compat/sock.h"
#include "lib/port.h"

#include <linux/net.h>
#include <linux/tcp.h>
#include <net/tcp.h>

#define BACKLOG 4096
/* How many connections may be accepted before their handshake ends. */
#define FAST_OPEN_MAX 1024
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTERVAL_S 5
#define KEEPALIVE_PROBES 3
/* How long a client or a target may be silent while nothing is sent. */
#define KEEPALIVE_PATIENCE_S 7200

static int bind_to(struct socket *sock, union ktcp_addr *addr)
{
	return kernel_bind(sock, ktcp_compat_sockaddr(&addr->sa),
			   ktcp_addr_length(addr));
}

static int send_first(struct socket *sock, union ktcp_addr *addr,
		      struct kvec first)
{
	struct msghdr msg = {
		.msg_name = &addr->sa,
		.msg_namelen = ktcp_addr_length(addr),
		.msg_flags = MSG_NOSIGNAL | MSG_FASTOPEN,
	};

	return kernel_sendmsg(sock, &msg, &first, 1, first.iov_len);
}

/* Returns how many bytes of @first went with it, or an error. */
static int dial(struct socket *sock, union ktcp_addr *addr,
		const struct kvec *first, int flags)
{
	int n = first ? send_first(sock, addr, *first) : -EOPNOTSUPP;

	if (n != -EOPNOTSUPP)
		return n;
	return kernel_connect(sock, ktcp_compat_sockaddr(&addr->sa),
			      ktcp_addr_length(addr), flags);
}

/* The address that a socket is bound to, or any. */
static void address_of(const struct socket *sock, union ktcp_addr *addr)
{
	const struct sock *sk = sock->sk;

	if (sk->sk_family == AF_INET6)
		ktcp_addr_set(addr, AF_INET6, &sk->sk_v6_rcv_saddr, 0);
	else
		ktcp_addr_set(addr, AF_INET, &sk->sk_rcv_saddr, 0);
}

static bool is_any(const union ktcp_addr *addr)
{
	return addr->sa.sa_family == AF_INET6 ?
		       ipv6_addr_any(&addr->in6.sin6_addr) :
		       !addr->in.sin_addr.s_addr;
}

/*
 * A connect that fails because the port is in use towards its target gives the
 * port back, as it does with a port that it chose itself.
 */
static int bind_port(struct socket *sock, const union ktcp_addr *from, u16 port)
{
	union ktcp_addr addr = *from;
	int err;

	addr.in.sin_port = htons(port);
	err = bind_to(sock, &addr);
	if (err) {
		/* A failed bind forgets the address: set it again. */
		addr.in.sin_port = 0;
		return is_any(from) ? err : bind_to(sock, &addr) ?: err;
	}
	lock_sock(sock->sk);
	sock->sk->sk_userlocks &= ~SOCK_BINDPORT_LOCK;
	release_sock(sock->sk);
	return 0;
}

/* Connect from a port that may be in TIME_WAIT, see port.c. */
static int dial_again(struct socket *sock, union ktcp_addr *addr,
		      const struct kvec *first, int flags)
{
	int err = -EADDRNOTAVAIL;
	union ktcp_addr from;
	unsigned int tries;
	u16 port;

	address_of(sock, &from);
	for (tries = 0; err == -EADDRNOTAVAIL && tries < KTCP_PORT_TRIES; tries++) {
		port = ktcp_port_pick(sock_net(sock->sk));
		if (port && !bind_port(sock, &from, port))
			err = dial(sock, addr, first, flags);
	}
	return err;
}

/* Connect from a port that the kernel chooses; if there is none, see port.c. */
static int connect_to(struct socket *sock, union ktcp_addr *addr,
		      const struct kvec *first, int flags)
{
	const struct net *net = sock_net(sock->sk);
	bool bound = inet_sk(sock->sk)->inet_num;
	int err;

	if (bound || !ktcp_port_is_short(net, addr)) {
		err = dial(sock, addr, first, flags);
		if (err != -EADDRNOTAVAIL || bound)
			return err;
		ktcp_port_note_short(net, addr);
	}
	return dial_again(sock, addr, first, flags);
}

/* Without Nagle's algorithm: a relay adds no delay of its own, on any leg. */
static struct socket *adopt(struct socket *sock)
{
	tcp_sock_set_nodelay(sock->sk);
	return sock;
}

/**
 * ktcp_socket_hold() - Keep the namespace for as long as the socket lives
 * @sock: a socket that is about to carry a stream
 *
 * Without this, bytes in flight at close are lost, see
 * ktcp_compat_sk_hold_net(). Listeners and connections that wait between relays
 * never call it: they would keep their namespace for ever.
 *
 * Return: 0, or -ENETDOWN when the namespace is going.
 */
int ktcp_socket_hold(struct socket *sock)
{
	struct net *net = sock_net(sock->sk);

	if (!maybe_get_net(net))
		return -ENETDOWN;
	ktcp_compat_sk_hold_net(sock->sk);
	put_net(net);
	return 0;
}

/**
 * ktcp_socket_create() - Make a socket to connect with
 * @net: its namespace
 * @family: AF_INET or AF_INET6
 * @out: set on success; ktcp_socket_release() it
 *
 * Return: 0 or the error of the creation.
 */
int ktcp_socket_create(struct net *net, sa_family_t family,
		       struct socket **out)
{
	struct socket *sock;
	int err;

	err = sock_create_kern(net, family, SOCK_STREAM, IPPROTO_TCP, &sock);
	if (err)
		return err;
	/* While it is in TIME_WAIT, another socket may take over its port. */
	sock_set_reuseaddr(sock->sk);
	*out = adopt(sock);
	return 0;
}

/**
 * ktcp_socket_transparent() - Let a socket use addresses that are not the
 * host's
 * @sock: a socket; a listener then accepts connections from TPROXY
 *
 * Return: 0 or the error of the option.
 */
int ktcp_socket_transparent(struct socket *sock)
{
	bool v6 = sock->sk->sk_family == AF_INET6;
	int yes = 1;

	return sock->ops->setsockopt(sock, v6 ? SOL_IPV6 : SOL_IP,
				     v6 ? IPV6_TRANSPARENT : IP_TRANSPARENT,
				     KERNEL_SOCKPTR(&yes), sizeof(yes));
}

/**
 * ktcp_socket_mark() - Set the mark of a socket and of the packets it sends
 * @sock: a socket; a listener's connections have its mark from their SYN on
 * @mark: the mark
 */
void ktcp_socket_mark(struct socket *sock, u32 mark)
{
	sock_set_mark(sock->sk, mark);
}

/**
 * ktcp_socket_bind_transparent() - Connect from another host's address
 * @sock: a socket that is not connected yet
 * @addr: the address; another port is taken if this one is in use here
 *
 * For this to work, packets to @addr have to pass this host, and have to be
 * delivered here.
 *
 * Return: 0, -EAFNOSUPPORT for an address of the other family, -EADDRNOTAVAIL
 * for an address that no host can have, or the error of the bind.
 */
int ktcp_socket_bind_transparent(struct socket *sock,
				 const union ktcp_addr *addr)
{
	union ktcp_addr from = *addr;
	int err;

	if (addr->sa.sa_family != sock->sk->sk_family)
		return -EAFNOSUPPORT;
	if (!ktcp_addr_is_unicast(addr))
		return -EADDRNOTAVAIL;
	err = ktcp_socket_transparent(sock) ?:
	      bind_to(sock, &from);
	if (err != -EADDRINUSE)
		return err;
	if (from.sa.sa_family == AF_INET6)
		from.in6.sin6_port = 0;
	else
		from.in.sin_port = 0;
	return bind_to(sock, &from);
}

/**
 * ktcp_socket_bind_source() - Connect from one of this host's addresses
 * @sock: a socket that is not connected yet
 * @source: the address, port 0
 *
 * The port is chosen when it connects, so that a port serves as many
 * connections as there are other ends.
 *
 * Return: 0, -EADDRNOTAVAIL if this host does not have the address, or the
 * error of the bind.
 */
int ktcp_socket_bind_source(struct socket *sock, const union ktcp_addr *source)
{
	union ktcp_addr from = *source;
	int yes = 1;

	return sock->ops->setsockopt(sock, SOL_IP, IP_BIND_ADDRESS_NO_PORT,
				     KERNEL_SOCKPTR(&yes), sizeof(yes)) ?:
	       bind_to(sock, &from);
}

/**
 * ktcp_socket_listen() - Make a listener on all addresses of a family
 * @net: its namespace
 * @family: AF_INET or AF_INET6, which then takes IPv6 only
 * @port: port
 * @out: set on success
 *
 * Return: 0, -EADDRINUSE, -EAFNOSUPPORT, or another error.
 */
int ktcp_socket_listen(struct net *net, sa_family_t family, u16 port,
		       struct socket **out)
{
	static const struct in6_addr any = IN6ADDR_ANY_INIT;
	union ktcp_addr addr;
	struct socket *sock;
	int err;

	err = sock_create_kern(net, family, SOCK_STREAM, IPPROTO_TCP, &sock);
	if (err)
		return err;
	sock_set_reuseaddr(sock->sk);
	if (family == AF_INET6)
		sock->sk->sk_ipv6only = 1;
	ktcp_addr_set(&addr, family, &any, htons(port));
	err = bind_to(sock, &addr) ?: kernel_listen(sock, BACKLOG);
	if (err)
		sock_release(sock);
	else
		*out = sock;
	return err;
}

/**
 * ktcp_socket_accept() - Accept the next connection of a listener
 * @listener: the listener
 * @out: set on success
 *
 * Return: 0, -EAGAIN when there is none, or another error.
 */
int ktcp_socket_accept(struct socket *listener, struct socket **out)
{
	struct socket *sock;
	int err = kernel_accept(listener, &sock, O_NONBLOCK);

	if (!err)
		*out = adopt(sock);
	return err;
}

/**
 * ktcp_socket_set_timeout() - Bound how long a call may block
 * @sock: the socket
 * @jiffies_max: for receiving, sending and connecting, jiffies
 */
void ktcp_socket_set_timeout(struct socket *sock, long jiffies_max)
{
	ktcp_socket_set_recv_timeout(sock, jiffies_max);
	WRITE_ONCE(sock->sk->sk_sndtimeo, jiffies_max);
}

/**
 * ktcp_socket_set_recv_timeout() - Bound how long receiving may block
 * @sock: the socket
 * @jiffies_max: jiffies
 */
void ktcp_socket_set_recv_timeout(struct socket *sock, long jiffies_max)
{
	WRITE_ONCE(sock->sk->sk_rcvtimeo, jiffies_max);
}

/**
 * ktcp_socket_connect() - Connect and wait
 * @sock: the socket
 * @to: where to
 * @timeout_ms: bound, milliseconds
 *
 * Return: 0, -ETIMEDOUT, or what connect(2) says.
 */
int ktcp_socket_connect(struct socket *sock, const union ktcp_addr *to,
			u32 timeout_ms)
{
	union ktcp_addr addr = *to;
	int err;

	ktcp_socket_set_timeout(sock, msecs_to_jiffies(timeout_ms));
	err = connect_to(sock, &addr, NULL, 0);
	/* A timed-out connect(2) returns "still under way". */
	return err == -EINPROGRESS ? -ETIMEDOUT : err;
}

/**
 * ktcp_socket_connect_start() - Connect, and do not wait
 * @sock: the socket; its state_change callback hears the outcome
 * @to: where to
 *
 * Return: 0 if the connect has begun, or the error of connect(2).
 */
int ktcp_socket_connect_start(struct socket *sock, const union ktcp_addr *to)
{
	union ktcp_addr addr = *to;
	int err = connect_to(sock, &addr, NULL, O_NONBLOCK);

	return err == -EINPROGRESS ? 0 : err;
}

/**
 * ktcp_socket_connect_with() - Connect, and send the first bytes with the SYN
 * @sock: the socket
 * @to: where to
 * @timeout_ms: bound, milliseconds
 * @data: the bytes
 * @size: how many, few enough for one segment
 *
 * The bytes go with the SYN if both hosts have Fast Open switched on and have
 * spoken before; otherwise they follow the handshake (RFC 7413, section 3). In
 * either case they are sent when this returns.
 *
 * Return: 0, -ETIMEDOUT, or what connect(2) says.
 */
int ktcp_socket_connect_with(struct socket *sock, const union ktcp_addr *to,
			     u32 timeout_ms, const void *data, size_t size)
{
	union ktcp_addr addr = *to;
	struct kvec first = { .iov_base = (void *)data, .iov_len = size };
	int n;

	ktcp_socket_set_timeout(sock, msecs_to_jiffies(timeout_ms));
	n = connect_to(sock, &addr, &first, 0);
	if (n == -EINPROGRESS || n == -EAGAIN ||
	    READ_ONCE(sock->sk->sk_state) == TCP_SYN_SENT)
		return -ETIMEDOUT;
	if (n < 0)
		return n;
	return ktcp_socket_send(sock, data + n, size - n);
}

/**
 * ktcp_socket_fast_open() - Let a listener accept bytes that come with a SYN
 * @sock: the listener
 *
 * Has no effect if the host's net.ipv4.tcp_fastopen does not allow it.
 */
void ktcp_socket_fast_open(struct socket *sock)
{
	int most = FAST_OPEN_MAX;

	sock->ops->setsockopt(sock, SOL_TCP, TCP_FASTOPEN,
			      KERNEL_SOCKPTR(&most), sizeof(most));
}

static void set_keepalive(struct sock *sk, int idle_s, int interval_s,
			  int probes)
{
	sock_set_keepalive(sk);
	tcp_sock_set_keepidle(sk, idle_s);
	tcp_sock_set_keepintvl(sk, interval_s);
	tcp_sock_set_keepcnt(sk, probes);
}

/**
 * ktcp_socket_relay_options() - Set up a connection between relays
 * @sock: the socket
 *
 * A dead relay is noticed within KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S *
 * KEEPALIVE_PROBES seconds, also if nothing is sent.
 */
void ktcp_socket_relay_options(struct socket *sock)
{
	set_keepalive(sock->sk, KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S,
		      KEEPALIVE_PROBES);
}

/**
 * ktcp_socket_keepalive() - Keep a client's or a target's connection alive
 * @sock: the socket
 * @every_s: silence after which the other end is probed; 0: TCP's default
 *
 * The probes keep the flow in the tables of firewalls and NATs on the way. They
 * must not end connections that would live without a relay: a laptop may sleep
 * for as long as with the kernel's own keepalive.
 */
void ktcp_socket_keepalive(struct socket *sock, u32 every_s)
{
	if (every_s)
		set_keepalive(sock->sk, every_s, every_s,
			      clamp_t(u32, KEEPALIVE_PATIENCE_S / every_s,
				      KEEPALIVE_PROBES, MAX_TCP_KEEPCNT));
}

/**
 * ktcp_socket_watch() - Let TCP end a connection soon after the other end goes
 * @sock: the socket, connected or not
 * @timeout_ms: silence after which it ends, milliseconds
 *
 * Within this time the other end is probed KEEPALIVE_PROBES times, or as often
 * as TCP can, since it counts keepalive in seconds.
 */
void ktcp_socket_watch(struct socket *sock, u32 timeout_ms)
{
	u32 every = max_t(u32, timeout_ms / (KEEPALIVE_PROBES * MSEC_PER_SEC), 1);

	set_keepalive(sock->sk, every, every, KEEPALIVE_PROBES);
	tcp_sock_set_user_timeout(sock->sk, timeout_ms);
}

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

/**
 * ktcp_socket_turbo() - Large windows from the first byte (paper, section 2)
 * @sock: connected socket between relays, prepared before
 * @cwnd: congestion window, segments, 0 without turbo
 *
 * Inside a cloud there is no congestion to probe for. This sets the sending
 * window, and opens the receiving window as far as the buffer allows; the other
 * end learns it with the next ACK.
 */
void ktcp_socket_turbo(struct socket *sock, u32 cwnd)
{
	struct sock *sk = sock->sk;
	struct tcp_sock *tp = tcp_sk(sk);

	if (!cwnd)
		return;
	lock_sock(sk);
	/* In SYN_RECV the first bytes came with the SYN. */
	if (sk->sk_state == TCP_ESTABLISHED || sk->sk_state == TCP_SYN_RECV) {
		tcp_snd_cwnd_set(tp, cwnd);
		tp->snd_ssthresh = TCP_INFINITE_SSTHRESH;
		forget_idle(tp);
		tp->window_clamp = tcp_full_space(sk);
		tp->rcv_ssthresh = tp->window_clamp;
		raise_pacing(sk, cwnd);
	}
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

/**
 * ktcp_socket_local() - This end's address of a connection
 * @sock: the socket
 * @addr: set on success
 *
 * Return: 0 or -ENOTCONN.
 */
int ktcp_socket_local(struct socket *sock, union ktcp_addr *addr)
{
	struct sockaddr_storage storage = {};
	int len = kernel_getsockname(sock, (struct sockaddr *)&storage);

	if (len < 0)
		return len;
	memcpy(addr, &storage, sizeof(*addr));
	return 0;
}

/**
 * ktcp_socket_remote() - The other end's address
 * @sock: the socket
 * @addr: set on success
 *
 * Return: 0, or -ENOTCONN if the connection has ended already.
 */
int ktcp_socket_remote(struct socket *sock, union ktcp_addr *addr)
{
	struct sockaddr_storage storage = {};
	int len = kernel_getpeername(sock, (struct sockaddr *)&storage);

	if (len < 0)
		return len;
	memcpy(addr, &storage, sizeof(*addr));
	return 0;
}

/**
 * ktcp_socket_rtt_us() - The smoothed round-trip time
 * @sock: connected socket
 */
u32 ktcp_socket_rtt_us(const struct socket *sock)
{
	return READ_ONCE(tcp_sk(sock->sk)->srtt_us) >> 3;
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
 *
 * Context: any.
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
 *
 * Context: any.
 */
bool ktcp_socket_has_bytes(const struct socket *sock, u32 count)
{
	const struct sock *sk = sock->sk;

	return ktcp_socket_unread(sock) >= count || READ_ONCE(sk->sk_err) ||
	       READ_ONCE(sk->sk_shutdown) ||
	       READ_ONCE(sk->sk_state) == TCP_CLOSE;
}

static int recv_flags(struct socket *sock, void *buffer, size_t size,
		      int flags)
{
	struct kvec vec = { .iov_base = buffer, .iov_len = size };
	struct msghdr msg = {};
	int n = kernel_recvmsg(sock, &msg, &vec, 1, size, flags);

	/*
	 * 0 means FIN, but also a reset whose error another call has already
	 * returned. Only tcp_fin() sets SOCK_DONE.
	 */
	if (!n && !sock_flag(sock->sk, SOCK_DONE))
		return -ECONNRESET;
	return n;
}

/**
 * ktcp_socket_recv() - Receive what there is; wait if there is nothing
 * @sock: the socket
 * @buffer: filled
 * @size: of @buffer, bytes
 *
 * Return: bytes; 0 after FIN; -EAGAIN after the socket's timeout; or an error.
 */
int ktcp_socket_recv(struct socket *sock, void *buffer, size_t size)
{
	return recv_flags(sock, buffer, size, 0);
}

/**
 * ktcp_socket_recv_all() - Receive a complete record
 * @sock: the socket
 * @buffer: filled
 * @size: of the record, bytes
 *
 * Return: 0, -EPIPE when FIN comes first, -ETIMEDOUT after the socket's
 * timeout, or another error.
 */
int ktcp_socket_recv_all(struct socket *sock, void *buffer, size_t size)
{
	int n = recv_flags(sock, buffer, size, MSG_WAITALL);

	if (n == (int)size)
		return 0;
	if (n < 0 && n != -EAGAIN)
		return n;
	return n && !sock_flag(sock->sk, SOCK_DONE) ? -ETIMEDOUT : -EPIPE;
}

/**
 * ktcp_socket_send() - Queue all of a buffer; wait while the queue is full
 * @sock: the socket
 * @buffer: bytes
 * @size: how many
 *
 * Return: 0, -ETIMEDOUT if the queue stayed full for the socket's timeout, or
 * another error.
 */
int ktcp_socket_send(struct socket *sock, const void *buffer, size_t size)
{
	while (size) {
		struct kvec vec = { .iov_base = (void *)buffer,
				    .iov_len = size };
		struct msghdr msg = { .msg_flags = MSG_NOSIGNAL };
		int n = kernel_sendmsg(sock, &msg, &vec, 1, size);

		if (n <= 0)
			return n == -EAGAIN || !n ? -ETIMEDOUT : n;
		buffer += n;
		size -= n;
	}
	return 0;
}

/**
 * ktcp_socket_end() - Send FIN behind all queued bytes; receiving goes on
 * @sock: the socket
 */
void ktcp_socket_end(struct socket *sock)
{
	kernel_sock_shutdown(sock, SHUT_WR);
}

/**
 * ktcp_socket_is_unheard() - Is an answer due, and has nothing come @since
 * then?
 * @sock: the socket
 * @since: jiffies
 *
 * Context: any.
 */
bool ktcp_socket_is_unheard(const struct socket *sock, unsigned long since)
{
	const struct tcp_sock *tp = tcp_sk(sock->sk);

	return READ_ONCE(tp->packets_out) &&
	       time_before32(READ_ONCE(tp->rcv_tstamp), (u32)since);
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
 * Context: any.
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
 *
 * Context: any.
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
 *
 * Context: any.
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

/**
 * ktcp_socket_abort() - Send RST; waiters on the socket wake with an error
 * @sock: the socket; the caller still has to release it
 */
void ktcp_socket_abort(struct socket *sock)
{
	ktcp_sock_abort(sock->sk);
}

/**
 * ktcp_sock_abort() - The same, for callers with a reference to the sock
 * @sk: the sock
 */
void ktcp_sock_abort(struct sock *sk)
{
	tcp_abort(sk, ECONNABORTED);
}

/**
 * ktcp_socket_release() - Close
 * @sock: the socket, gone after this
 *
 * After ktcp_socket_hold() queued bytes are still sent, in the background. Any
 * other connection ends by RST, since nobody would resend its FIN.
 */
void ktcp_socket_release(struct socket *sock)
{
	struct sock *sk = sock->sk;

	if (!sk->sk_net_refcnt && READ_ONCE(sk->sk_state) != TCP_LISTEN)
		ktcp_sock_abort(sk);
	sock_release(sock);
}
