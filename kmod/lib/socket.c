// SPDX-License-Identifier: GPL-2.0-only
/*
 * Making, using and closing the kernel's TCP sockets.
 *
 * Context of all: process context, may sleep, no lock held.
 */

#include "lib/socket.h"
#include "lib/compat/sock.h"

#include <linux/net.h>
#include <linux/tcp.h>
#include <net/tcp.h>

#define BACKLOG 4096
/* How many connections may be accepted before their handshake ends. */
#define FAST_OPEN_MAX 1024

/* Without Nagle's algorithm: a relay adds no delay of its own, on any leg. */
static struct socket *adopt_socket(struct socket *sock)
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
 * ktcp_sock_let_go() - Keep the namespace no longer: the stream has ended
 * @sk: sock of a socket that ktcp_socket_hold() was called on
 *
 * Context: any, @sk locked.
 */
void ktcp_sock_let_go(struct sock *sk)
{
	ktcp_compat_sk_let_net_go(sk);
}

/**
 * ktcp_socket_let_go() - The same, for callers without the lock
 * @sock: the socket
 */
void ktcp_socket_let_go(struct socket *sock)
{
	lock_sock(sock->sk);
	ktcp_sock_let_go(sock->sk);
	release_sock(sock->sk);
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
	*out = adopt_socket(sock);
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
 * ktcp_socket_bind() - Bind to an address and port of this host
 * @sock: the socket
 * @addr: the address; port 0 lets the kernel choose
 *
 * Return: 0 or the error of bind(2).
 */
int ktcp_socket_bind(struct socket *sock, const union ktcp_addr *addr)
{
	union ktcp_addr own = *addr;

	return kernel_bind(sock, ktcp_compat_sockaddr(&own.sa),
			   ktcp_addr_length(&own));
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
	err = ktcp_socket_bind(sock, &addr) ?: kernel_listen(sock, BACKLOG);
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
		*out = adopt_socket(sock);
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
