// SPDX-License-Identifier: GPL-2.0-only
/*
 * Connecting: from which address and port, and what goes with the SYN.
 *
 * Context of all: process context, may sleep, no lock held.
 */

#include "lib/connect.h"
#include "lib/compat/sock.h"
#include "lib/port.h"
#include "lib/socket.h"

#include <linux/net.h>
#include <net/tcp.h>

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
static int dial_socket(struct socket *sock, union ktcp_addr *addr,
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
	err = ktcp_socket_bind(sock, &addr);
	if (err) {
		/* A failed bind forgets the address: set it again. */
		addr.in.sin_port = 0;
		return is_any(from) ? err : ktcp_socket_bind(sock, &addr) ?: err;
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
			err = dial_socket(sock, addr, first, flags);
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
		err = dial_socket(sock, addr, first, flags);
		if (err != -EADDRNOTAVAIL || bound)
			return err;
		ktcp_port_note_short(net, addr);
	}
	return dial_again(sock, addr, first, flags);
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
	      ktcp_socket_bind(sock, &from);
	if (err != -EADDRINUSE)
		return err;
	if (from.sa.sa_family == AF_INET6)
		from.in6.sin6_port = 0;
	else
		from.in.sin_port = 0;
	return ktcp_socket_bind(sock, &from);
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
	       ktcp_socket_bind(sock, &from);
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
