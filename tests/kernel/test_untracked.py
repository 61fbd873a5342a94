# SPDX-License-Identifier: GPL-2.0-only
"""Flows taken ahead of conntrack are split, fail open, and need no conntrack entry."""

import random
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kernel import module, packet
from tests.kernel.mesh import CLIENT_PORT, MODES, NO_STEERING, RELAY_PORT, Mesh, mark, steer
from tests.kernel.packet import Segment, checksum
from tests.kernel.topology import V4, Family
from tests.kernel.traffic import (
    Payload,
    Server,
    connect,
    echo,
    fetch,
    is_refused,
    is_told,
    receive,
    receive_end,
    send,
    serving,
)
from tests.kernel.untracked import untracked
from tests.kernel.wait import until

TABLE_SIZE = Path("/proc/sys/net/netfilter/nf_conntrack_max")


@pytest.fixture(autouse=True)
def _untracked(mesh: Mesh, family: Family) -> Iterator[None]:
    with untracked(mesh, family):
        yield


def exchange(sock: socket.socket) -> None:
    """An echo of some packets."""
    send(sock, Payload(100_000))
    receive(sock, Payload(100_000))


@contextmanager
def only_known_flows(mesh: Mesh, family: Family) -> Iterator[None]:
    """Let rc drop invalid packets to the client, and let conntrack adopt no running flow."""
    invalid = ["-m", "conntrack", "--ctstate", "INVALID", "-j", "DROP"]
    chains = (("INPUT", "-i"), ("FORWARD", "-i"), ("OUTPUT", "-o"))
    rules = [[chain, where, "to-c", *invalid] for chain, where in chains]
    with mesh.rc.sysctl("net.netfilter.nf_conntrack_tcp_loose", 0), ExitStack() as stack:
        for rule in rules:
            mesh.rc.run([family.iptables, "-A", *rule])
            stack.callback(mesh.rc.run, [family.iptables, "-D", *rule])
        yield


@contextmanager
def full_table() -> Iterator[None]:
    """Leave no room for another conntrack entry in any namespace."""
    old = TABLE_SIZE.read_text(encoding="ascii")
    TABLE_SIZE.write_text("1", encoding="ascii")
    try:
        yield
    finally:
        TABLE_SIZE.write_text(old, encoding="ascii")


def is_tracked(mesh: Mesh, family: Family, port: int) -> bool:
    """Whether rc's conntrack knows a connection with the target's port, in either direction."""
    version = "ipv4" if family is V4 else "ipv6"
    listing = mesh.rc.run(["conntrack", "-L", "-f", version, "-p", "tcp"]).stdout
    return f"port={port} " in listing


@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_split(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at:
        for _ in range(3):
            with connect(mesh.c, family, at.address, at.port) as sock:
                exchange(sock)
        assert at.peers == [family.rs_inside] * 3


def test_nothing_is_tracked(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, connect(mesh.c, family, at.address, at.port) as sock:
        exchange(sock)
        assert not is_tracked(mesh, family, at.port)
        mesh.rc.write("drain", "on")
        assert fetch(mesh.c, family, at) == family.client
        assert is_tracked(mesh, family, at.port)


def test_flushed(mesh: Mesh, family: Family) -> None:
    with (
        only_known_flows(mesh, family),
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        exchange(sock)
        mesh.rc.run(["conntrack", "-F"])
        exchange(sock)
        sock.shutdown(socket.SHUT_WR)
        receive_end(sock)
        assert at.peers == [family.rs_inside]


def test_answer_after_a_half_close(mesh: Mesh, family: Family) -> None:
    """A half-closed client can wait for its answer for any time, whatever conntrack forgets."""

    def answer(sock: socket.socket) -> None:
        assert sock.recv(10) == b"question"
        receive_end(sock)
        mesh.rc.run(["conntrack", "-F"])
        sock.sendall(b"answer")

    with (
        only_known_flows(mesh, family),
        serving(mesh.s, family, answer) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(10) == b"answer"


def test_full_table(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, connect(mesh.c, family, at.address, at.port) as sock:
        exchange(sock)
        until(lambda: " ready 0 " not in mesh.rc.read("peers"), "no leg waits")
        with full_table():
            exchange(sock)
            assert fetch(mesh.c, family, at) == family.rs_inside
            exchange(sock)


def test_rules_taken_away(mesh: Mesh, family: Family) -> None:
    """Splits go on, and new flows pass."""
    with serving(mesh.s, family, echo) as at, connect(mesh.c, family, at.address, at.port) as sock:
        exchange(sock)
        steer(mesh.rc, family, "*raw\nCOMMIT\n")
        assert fetch(mesh.c, family, at) == family.client
        exchange(sock)


@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_rules_taken_away_during_the_handshake(mesh: Mesh, family: Family, mode: str) -> None:
    """The SYN was taken: early SYN knows its route; else the flow is reset, and comes again."""
    delay = ["tc", "qdisc", "replace", "dev", "to-c", "root", "netem", "delay", "300ms"]
    before = mesh.rc.stat("early_syn_total")
    mesh.rc.run(delay)
    try:
        with serving(mesh.s, family, echo) as at, mesh.c.socket(family.number) as sock:
            sock.setblocking(False)
            sock.connect_ex((at.address, at.port))
            until(lambda: half_open(mesh, family), "the SYN does not come")
            steer(mesh.rc, family, "*raw\nCOMMIT\n")
            sock.settimeout(30)
            if mode == "full":
                send(sock, Payload(10))
                receive(sock, Payload(10))
                assert mesh.rc.stat("early_syn_total") == before + 1
            else:
                assert is_told(sock)
    finally:
        mesh.rc.run(["tc", "qdisc", "del", "dev", "to-c", "root"])


def half_open(mesh: Mesh, family: Family) -> str:
    """The connections of rc that wait for the client's ACK."""
    version = "-4" if family is V4 else "-6"
    return mesh.rc.run(["ss", version, "-tnH", "state", "syn-recv"]).stdout


def test_drain(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, connect(mesh.c, family, at.address, at.port) as sock:
        exchange(sock)
        mesh.rc.write("drain", "on")
        assert fetch(mesh.c, family, at) == family.client
        exchange(sock)
        mesh.rc.write("drain", "off")
        assert fetch(mesh.c, family, at) == family.rs_inside


def test_listener_taken_away(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, connect(mesh.c, family, at.address, at.port) as sock:
        exchange(sock)
        mesh.rc.write("listeners", f"del client {CLIENT_PORT}")
        assert fetch(mesh.c, family, at) == family.client
        exchange(sock)
        mesh.rc.write("listeners", f"add client {CLIENT_PORT} untracked")
        assert fetch(mesh.c, family, at) == family.rs_inside


def test_another_port_in_one_write(mesh: Mesh, family: Family) -> None:
    new = CLIENT_PORT + 1
    with serving(mesh.s, family, echo) as at:
        mesh.rc.write("listeners", f"del client {CLIENT_PORT}", f"add client {new} untracked")
        assert fetch(mesh.c, family, at) == family.rs_inside
        mesh.rc.write("listeners", f"del client {new}", f"add client {CLIENT_PORT} untracked")
        assert fetch(mesh.c, family, at) == family.rs_inside


def test_no_route(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("routes", f"del mark {mark(family):#x}")
    with serving(mesh.s, family, echo) as at:
        assert fetch(mesh.c, family, at) == family.client


def test_unloaded(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, connect(mesh.c, family, at.address, at.port) as sock:
        exchange(sock)
        module.unload()
        assert is_told(sock)
        assert fetch(mesh.c, family, at) == family.client
        module.load()


def closed_by_server(mesh: Mesh, family: Family, at: Server, port: int) -> str:
    """A connection from one of the client's ports that the server ends first."""
    with mesh.c.socket(family.number) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((family.client, port))
        sock.connect((at.address, at.port))
        sock.sendall(b"?")
        receive_end(sock)
    mesh.wait_idle()
    return at.peers[-1]


def test_source_port_used_again(mesh: Mesh, family: Family) -> None:
    """The relay's TIME_WAIT of the earlier connection must not answer the new one."""
    port = random.randrange(20000, 30000)
    with serving(mesh.s, family, discard_one) as at:
        assert closed_by_server(mesh, family, at, port) == family.rs_inside
        assert closed_by_server(mesh, family, at, port) == family.rs_inside
        mesh.rc.write("drain", "on")
        assert closed_by_server(mesh, family, at, port) == family.client


def discard_one(sock: socket.socket) -> None:
    """Read one byte and close."""
    assert sock.recv(1)


def test_stranger_at_the_listener(mesh: Mesh, family: Family) -> None:
    """The listener's own address is never a target, not even with the mark of a route."""
    rule = ["KTCP", "-p", "tcp", "-d", family.rc, "-j", "MARK", "--set-mark", f"{mark(family):#x}"]
    mesh.rc.run([family.iptables, "-t", "raw", "-A", *rule])
    counted = mesh.rc.stat("not_redirected_total")
    assert is_refused(mesh.c, family, family.rc, CLIENT_PORT)
    assert mesh.rc.stat("not_redirected_total") == counted + 1


def test_service_of_the_relay(mesh: Mesh, family: Family) -> None:
    """A service port of the relay leads to its route's target, and is not tracked either."""
    port = CLIENT_PORT + 100
    marked = ["-p", "tcp", "-d", family.rc, "--dport", str(port), "-j", "MARK"]
    rule = ["-A", "KTCP", *marked, "--set-mark", f"{mark(family):#x}"]
    mesh.rc.run([family.iptables, "-t", "raw", *rule])
    with serving(mesh.s, family, echo) as at:
        relay, target = family.at(family.rs, RELAY_PORT), family.at(at.address, at.port)
        mesh.route(family, f"via {relay} target {target}")
        with connect(mesh.c, family, family.rc, port) as sock:
            exchange(sock)
            assert not is_tracked(mesh, family, port)
        assert at.peers == [family.rs_inside]


def forged(family: Family, at: Server, host: int) -> Segment:
    """A SYN from an address that nobody has, so nobody gets the answer."""
    return Segment(
        source=family.address(1, host),
        source_port=random.randrange(1024, 32768),
        target=at.address,
        target_port=at.port,
    )


def test_flood(mesh: Mesh, family: Family) -> None:
    """While the queue of half-open connections is full, flows pass, and none is lost."""
    mesh.rc.write("settings", "early_syn off")
    passed = mesh.rc.stat("limit_passed_total")
    with (
        mesh.rc.sysctl("net.ipv4.tcp_syncookies", 0),
        mesh.rc.sysctl("net.ipv4.tcp_max_syn_backlog", 4),
        serving(mesh.s, family, echo) as at,
    ):
        packet.send(mesh.c, *(forged(family, at, host) for host in range(70, 76)))
        until(lambda: mesh.rc.stat("limit_passed_total") > passed, "none of the SYNs passes")
        assert fetch(mesh.c, family, at) == family.client


def test_cookies_only(mesh: Mesh, family: Family) -> None:
    """A host that keeps no half-open connections could not know which flow an ACK belongs to."""
    with mesh.rc.sysctl("net.ipv4.tcp_syncookies", 2), serving(mesh.s, family, echo) as at:
        assert fetch(mesh.c, family, at) == family.client


def test_error_about_the_relays_packet(mesh: Mesh, family: Family) -> None:
    """The error is addressed to the server, in whose name the relay speaks; the relay gets it."""
    with serving(mesh.s, family, echo) as at, connect(mesh.c, family, at.address, at.port) as sock:
        exchange(sock)
        port = sock.getsockname()[1]
        blamed = Segment(
            source=at.address, source_port=at.port, target=family.client, target_port=port
        )
        before = strange_errors(mesh)
        packet.send_packets(mesh.c, at.address, error(family, blamed))
        # TCP ignores it, since it names no byte in flight. But the error has reached TCP.
        until(lambda: strange_errors(mesh) == before + 1, "the error does not come")
        exchange(sock)


def strange_errors(mesh: Mesh) -> int:
    """How many ICMP errors rc's TCP has ignored as implausible."""
    lines = mesh.rc.run(["cat", "/proc/net/netstat"]).stdout.splitlines()
    names, values = (line.split() for line in lines if line.startswith("TcpExt:"))
    return int(dict(zip(names, values, strict=True))["OutOfWindowIcmps"])


def error(family: Family, blamed: Segment) -> bytes:
    """The client's ICMP error: the packet that begins with `blamed` was too big (RFC 792, 4443)."""
    cause = replace(blamed, sequence=12345, flags=packet.ACK).packet()
    outer = replace(blamed, source=blamed.target, target=blamed.source).packet()
    if family is V4:
        body = struct.pack("!BBHHH", 3, 4, 0, 0, 1400) + cause
        body = body[:2] + struct.pack("!H", checksum(body)) + body[4:]
        head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(body), 0, 0, 64, socket.IPPROTO_ICMP)
        return head + outer[10:20] + body
    body = struct.pack("!BBHI", 2, 0, 0, 1400) + cause
    pseudo = outer[8:40] + struct.pack("!II", len(body), socket.IPPROTO_ICMPV6)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    head = struct.pack("!IHBB", 6 << 28, len(body), socket.IPPROTO_ICMPV6, 64)
    return head + outer[8:40] + body


def test_redirect_beside_it(mesh: Mesh, family: Family) -> None:
    """A REDIRECT listener can be used beside it."""
    mesh.rc.write("listeners", f"add client {CLIENT_PORT + 1}")
    steer(mesh.rc, family, "*raw\nCOMMIT\n")
    rules = NO_STEERING.replace(
        "*mangle\n",
        f"*mangle\n-A PREROUTING -i to-c -p tcp -j MARK --set-mark {mark(family):#x}\n",
    ).replace(
        "*nat\n",
        "*nat\n-A PREROUTING -p tcp -m mark --mark 0x80000000/0x80000000 "
        f"-j REDIRECT --to-ports {CLIENT_PORT + 1}\n",
    )
    with mesh.steered(family, rules), serving(mesh.s, family, echo) as at:
        assert fetch(mesh.c, family, at) == family.rs_inside
        assert is_tracked(mesh, family, at.port)
