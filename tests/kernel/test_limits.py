# SPDX-License-Identifier: GPL-2.0-only
"""Flows that KTCP does not take are routed: at limits, while draining, unconfigured."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.kernel.mesh import CLIENT_PORT, RELAY_PORT, Mesh, mark
from tests.kernel.topology import V4, Family
from tests.kernel.traffic import (
    Payload,
    Server,
    connect,
    echo,
    fetch,
    is_reset,
    receive,
    receive_end,
    send,
    serving,
)
from tests.kernel.wait import until


def test_draining_routes_new_flows_and_keeps_old_ones(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at:
        with connect(mesh.c, family, at.address, at.port) as old:
            send(old, Payload(1000))
            receive(old, Payload(1000))
            passed = mesh.rc.stat("drain_passed_total")
            mesh.rc.write("drain", "on")
            assert mesh.rc.read("drain") == "on\n# splits 1\n"

            assert fetch(mesh.c, family, at) == family.client
            assert mesh.rc.stat("drain_passed_total") == passed + 1
            send(old, Payload(1 << 20))
            old.shutdown(socket.SHUT_WR)
            receive(old, Payload(1 << 20))
            receive_end(old)
        mesh.wait_idle()
        assert mesh.rc.read("drain") == "on\n# splits 0\n"

        mesh.rc.write("drain", "off")
        assert fetch(mesh.c, family, at) == family.rs_inside


def opened(mesh: Mesh, family: Family, at: Server, stack: ExitStack) -> socket.socket:
    """A flow that stays open, and has carried a byte in each direction."""
    sock = stack.enter_context(connect(mesh.c, family, at.address, at.port))
    send(sock, Payload(1))
    receive(sock, Payload(1))
    return sock


def test_more_flows_than_max_splits(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("settings", "max_splits 3", "prefix_percent 100")
    passed = mesh.rc.stat("limit_passed_total")
    with serving(mesh.s, family, echo) as at, ExitStack() as stack:
        for number in range(5):
            opened(mesh, family, at, stack)
            assert at.peers[-1] == (family.rs_inside if number < 3 else family.client)
        assert mesh.rc.stat("limit_passed_total") == passed + 2
        assert len(mesh.rc.splits()) == 3
        stack.close()
        mesh.wait_idle()
        assert fetch(mesh.c, family, at) == family.rs_inside


def test_full_relay_takes_flows_again_below_95_percent(mesh: Mesh, family: Family) -> None:
    """And not sooner: just below the limit it would be chance whether a flow is split."""
    most = 40
    mesh.rc.write("settings", f"max_splits {most}", "prefix_percent 100")
    with serving(mesh.s, family, echo) as at, ExitStack() as stack:

        def begin() -> str:
            splits.append(opened(mesh, family, at, stack))
            return at.peers[-1]

        def end(left: int) -> None:
            splits.pop(0).close()
            until(lambda: len(mesh.rc.splits()) == left, "the split does not end")

        splits: list[socket.socket] = []
        assert {begin() for _ in range(most)} == {family.rs_inside}
        assert begin() == family.client
        end(most - 1)
        assert begin() == family.client
        end(most * 95 // 100)
        assert begin() == family.rs_inside


def test_prefix_has_its_share(mesh: Mesh, family: Family) -> None:
    """Clients beyond their prefix's share are routed; those of another prefix are split."""
    mesh.rc.write("settings", "max_splits 10", "prefix_percent 30")
    passed = mesh.rc.stat("prefix_passed_total")
    with serving(mesh.s, family, echo) as at, ExitStack() as stack:
        for number in range(5):
            opened(mesh, family, at, stack)
            assert at.peers[-1] == (family.rs_inside if number < 3 else family.client)
        assert mesh.rc.stat("prefix_passed_total") == passed + 2
        with elsewhere(mesh, family) as address, mesh.c.socket(family.number) as sock:
            sock.bind((address, 0))
            sock.connect((at.address, at.port))
            send(sock, Payload(1))
            receive(sock, Payload(1))
            assert at.peers[-1] == family.rs_inside
        stack.close()
        mesh.wait_idle()
        assert fetch(mesh.c, family, at) == family.rs_inside


@contextmanager
def elsewhere(mesh: Mesh, family: Family) -> Iterator[str]:
    """An address of the client in another prefix, to which rc has a route."""
    address = "192.0.2.77" if family is V4 else "2001:db8:77::77"
    longest = 32 if family is V4 else 128
    nodad = [] if family is V4 else ["nodad"]
    mesh.c.run(["ip", "addr", "add", f"{address}/{longest}", "dev", "to-rc", *nodad])
    mesh.rc.run(["ip", "route", "add", f"{address}/{longest}", "via", family.client])
    try:
        yield address
    finally:
        mesh.rc.run(["ip", "route", "del", f"{address}/{longest}"])
        mesh.c.run(["ip", "addr", "del", f"{address}/{longest}", "dev", "to-rc"])


def test_no_listener(mesh: Mesh, family: Family) -> None:
    """The packet filter's rules may stay: alone they redirect nothing."""
    mesh.rc.write("listeners", f"del client {CLIENT_PORT}")
    with serving(mesh.s, family, echo) as at:
        assert fetch(mesh.c, family, at) == family.client
        mesh.rc.write("listeners", f"add client {CLIENT_PORT}")
        assert fetch(mesh.c, family, at) == family.rs_inside


def test_no_route(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("routes", f"del mark {mark(family):#x}")
    with serving(mesh.s, family, echo) as at:
        assert fetch(mesh.c, family, at) == family.client


def test_peer_of_the_route_removed(mesh: Mesh, family: Family) -> None:
    """Whether the removal is refused or the flow is routed, the flow is served."""
    mesh.rc.write("peers", f"del {family.at(family.rs, RELAY_PORT)}")
    with serving(mesh.s, family, echo) as at:
        assert fetch(mesh.c, family, at) == family.client


def test_idle_split_ends(mesh: Mesh, family: Family) -> None:
    for relay in mesh.relays:
        relay.write("settings", "idle_timeout_s 1")
    ended = mesh.rc.stat("idle_timeouts_total") + mesh.rs.stat("idle_timeouts_total")
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(10))
        receive(sock, Payload(10))
        assert is_reset(sock, bound=20)
    mesh.wait_idle()
    assert mesh.rc.stat("idle_timeouts_total") + mesh.rs.stat("idle_timeouts_total") > ended


def test_split_with_traffic_one_way_is_not_idle(mesh: Mesh, family: Family) -> None:
    idle = 3
    ticks = idle * 3
    for relay in mesh.relays:
        relay.write("settings", f"idle_timeout_s {idle}")

    def trickle(sock: socket.socket) -> None:
        sock.settimeout(0.4)
        for _ in range(ticks):
            sock.sendall(b".")
            try:
                assert sock.recv(1), "ended"
            except TimeoutError:
                continue

    with (
        serving(mesh.s, family, trickle) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        for _ in range(ticks):
            assert sock.recv(1) == b"."
        at.join()


def test_slow_reader_stops_the_writer(mesh: Mesh, family: Family) -> None:
    """The sockets' buffers bound the bytes on the way, and none is lost."""
    sent = [0]
    endless = Payload(1 << 40)

    def server(sock: socket.socket) -> None:
        sock.settimeout(120)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        while sent[0] < limit:
            piece = endless.piece(sent[0], 64 << 10)
            sock.sendall(piece)
            sent[0] += len(piece)

    # Small buffers, which fewer bytes fill; a leg from the pool would not have them.
    for relay in mesh.relays:
        relay.write("settings", "relay_buffer_bytes 4194304", "conn_pool off")
    limit = 64 << 20
    client = mesh.c.socket(family.number)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    with serving(mesh.s, family, server) as at, client:
        client.connect((at.address, at.port))
        until(lambda: stands_still(sent), "the writer does not stop", bound=60)
        assert sent[0] < limit, "all of it is buffered on the way"
        receive(client, Payload(limit))
        at.join()


def stands_still(counter: list[int]) -> bool:
    """True when the counter has not moved for two seconds, and has moved before."""
    before = counter[0]
    if not before:
        return False
    try:
        until(lambda: counter[0] != before, "moves", bound=2)
    except TimeoutError:
        return True
    return False
