// SPDX-License-Identifier: GPL-2.0-only
/*
 * sockmap PORT ADDRESS PORT
 *
 * A relay whose bytes never come to user space: it accepts, connects, and puts both sockets
 * into a sockmap, where an eBPF program sends on what either receives. What sockmap does not
 * do is done here: the bytes that came before both were in the map, and the end of a stream,
 * which may be passed on only when all its bytes have been.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/bpf.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BACKLOG = 4096, SOCKETS = 65536, EVENTS = 64, DRAIN_MS = 1, PIECE = 65536 };

struct pair;

struct side {
	struct pair *pair;
	int fd;
	uint64_t written_before;
	int ended;	/* its peer has sent FIN */
	int passed_on;	/* and the other side was told */
};

struct pair {
	struct side near, far;
	int joined, broken;
	int ending;	/* it is in the list */
	struct pair *next;
};

static int map, poller;
static struct pair *ending;
static struct sockaddr_storage target;
static socklen_t target_size;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int check(int result, const char *what)
{
	if (result < 0)
		fail(what);
	return result;
}

static int bpf(int command, union bpf_attr *attributes)
{
	return (int)syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

/* The map has a socket's partner under the socket's cookie. */
static void load(void)
{
	union bpf_attr hash = { .map_type = BPF_MAP_TYPE_SOCKHASH, .key_size = sizeof(uint64_t),
				.value_size = sizeof(int), .max_entries = SOCKETS };

	map = check(bpf(BPF_MAP_CREATE, &hash), "BPF_MAP_CREATE");

	const struct bpf_insn code[] = {
		/* r6 = the packet; *(r10 - 8) = bpf_get_socket_cookie(r6) */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 6, .src_reg = 1 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_get_socket_cookie },
		{ .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = 10, .src_reg = 0, .off = -8 },
		/* return bpf_sk_redirect_hash(r6, map, r10 - 8, 0) */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 6 },
		{ .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = 2, .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = map },
		{ 0 }, /* the upper half of the map */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 3, .src_reg = 10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 3, .imm = -8 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 4, .imm = 0 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_sk_redirect_hash },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr program = { .prog_type = BPF_PROG_TYPE_SK_SKB,
				   .insns = (uint64_t)(uintptr_t)code,
				   .insn_cnt = sizeof(code) / sizeof(code[0]),
				   .license = (uint64_t)(uintptr_t)"GPL" };
	union bpf_attr attach = { .attach_type = BPF_SK_SKB_STREAM_VERDICT };

	attach.target_fd = (uint32_t)map;
	attach.attach_bpf_fd = (uint32_t)check(bpf(BPF_PROG_LOAD, &program), "BPF_PROG_LOAD");
	check(bpf(BPF_PROG_ATTACH, &attach), "BPF_PROG_ATTACH");
}

static struct side *other(struct side *side)
{
	return side == &side->pair->near ? &side->pair->far : &side->pair->near;
}

static void watch(struct side *side, int operation, uint32_t events)
{
	struct epoll_event event = { .events = events | EPOLLET, .data.ptr = side };

	check(epoll_ctl(poller, operation, side->fd, &event), "epoll_ctl");
}

static struct tcp_info state(struct side *side)
{
	struct tcp_info info = { 0 };

	getsockopt(side->fd, IPPROTO_TCP, TCP_INFO, &info, &(socklen_t){ sizeof(info) });
	return info;
}

/* Bytes that were given to the socket, and its SYN. */
static uint64_t written(struct side *side)
{
	int waiting = 0;

	ioctl(side->fd, SIOCOUTQ, &waiting);
	return state(side).tcpi_bytes_acked + (uint64_t)waiting;
}

/* Also of those that break: they are freed only when no event of theirs is left. */
static void begin_to_end(struct pair *pair)
{
	if (pair->ending)
		return;
	pair->ending = 1;
	pair->next = ending;
	ending = pair;
}

/* FIN counts as a byte that was received. */
static int is_drained(struct side *side)
{
	struct side *sink = other(side);

	return written(sink) - sink->written_before + 1 >= state(side).tcpi_bytes_received;
}

/* Whether there is nothing to wait for. */
static int pass_end_on(struct side *side)
{
	if (!side->ended || side->passed_on)
		return 1;
	if (!is_drained(side))
		return 0;
	shutdown(other(side)->fd, SHUT_WR);
	side->passed_on = 1;
	return 1;
}

static void sweep(void)
{
	struct pair *pair, **link = &ending;

	while ((pair = *link)) {
		int through = pass_end_on(&pair->near) & pass_end_on(&pair->far);

		if (pair->broken || (pair->near.passed_on && pair->far.passed_on)) {
			*link = pair->next;
			close(pair->near.fd); /* which takes it out of the map as well */
			close(pair->far.fd);
			free(pair);
		} else if (through) {
			*link = pair->next;
			pair->ending = 0;
		} else {
			link = &pair->next;
		}
	}
}

static int put(struct side *side)
{
	uint64_t cookie;
	union bpf_attr element = { .key = (uint64_t)(uintptr_t)&cookie,
				   .value = (uint64_t)(uintptr_t)&other(side)->fd };

	element.map_fd = (uint32_t)map;
	if (getsockopt(side->fd, SOL_SOCKET, SO_COOKIE, &cookie, &(socklen_t){ sizeof(cookie) }))
		return -1;
	return bpf(BPF_MAP_UPDATE_ELEM, &element);
}

/* What came before the program was there. */
static int push(struct side *side)
{
	static char piece[PIECE];
	ssize_t count;

	while ((count = recv(side->fd, piece, sizeof(piece), 0)) > 0)
		if (send(other(side)->fd, piece, (size_t)count, MSG_NOSIGNAL) != count)
			return -1;
	return 0;
}

static void join(struct pair *pair)
{
	pair->joined = 1;
	pair->near.written_before = written(&pair->near);
	pair->far.written_before = written(&pair->far);
	if (put(&pair->near) || put(&pair->far) || push(&pair->near) || push(&pair->far)) {
		pair->broken = 1;
		begin_to_end(pair);
		return;
	}
	watch(&pair->near, EPOLL_CTL_ADD, EPOLLRDHUP);
	watch(&pair->far, EPOLL_CTL_MOD, EPOLLRDHUP);
}

static void take(int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct pair *pair = calloc(1, sizeof(*pair));

		if (!pair)
			fail("calloc");
		pair->near = (struct side){ .pair = pair, .fd = fd };
		pair->far = (struct side){ .pair = pair };
		pair->far.fd = check(socket(target.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
		setsockopt(pair->near.fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		setsockopt(pair->far.fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
		connect(pair->far.fd, (struct sockaddr *)&target, target_size);
		watch(&pair->far, EPOLL_CTL_ADD, EPOLLOUT);
	}
}

static void handle(struct side *side, uint32_t events)
{
	struct pair *pair = side->pair;

	if (events & EPOLLERR)
		pair->broken = 1;
	else if (!pair->joined && (events & EPOLLOUT))
		join(pair);
	if (events & EPOLLRDHUP)
		side->ended = 1;
	if (pair->broken || side->ended)
		begin_to_end(pair);
}

static int listen_at(const char *port)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
	int fd = check(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");

	any.sin6_port = htons((uint16_t)atoi(port));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	check(bind(fd, (struct sockaddr *)&any, sizeof(any)), "bind");
	check(listen(fd, BACKLOG), "listen");
	return fd;
}

static void aim(const char *address, const char *port)
{
	struct addrinfo *found, hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
					  .ai_socktype = SOCK_STREAM };

	if (getaddrinfo(address, port, &hints, &found))
		fail(address);
	target_size = found->ai_addrlen;
	memcpy(&target, found->ai_addr, target_size);
	freeaddrinfo(found);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS], arrival = { .events = EPOLLIN };
	int listener;

	if (argc != 4) {
		fprintf(stderr, "usage: sockmap PORT ADDRESS PORT\n");
		return 2;
	}
	load();
	aim(argv[2], argv[3]);
	listener = listen_at(argv[1]);
	poller = check(epoll_create1(0), "epoll_create1");
	check(epoll_ctl(poller, EPOLL_CTL_ADD, listener, &arrival), "epoll_ctl");
	for (;;) {
		int count = epoll_wait(poller, events, EVENTS, ending ? DRAIN_MS : -1);

		for (int number = 0; number < count; number++) {
			if (events[number].data.ptr)
				handle(events[number].data.ptr, events[number].events);
			else
				take(listener);
		}
		sweep();
	}
}
