# SPDX-License-Identifier: GPL-2.0-only
"""How the server learns the client's address: by the PROXY protocol, or as its peer."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.kernel.between import attach
from tests.kernel.mesh import MODES, RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import V4, V6, Family, delete
from tests.kernel.traffic import Payload, connect, echo, is_refused, receive, send, serving

pytestmark = pytest.mark.parametrize("mode", MODES, indirect=True)

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PORT = 8080
Address = tuple[str, int]


def take(sock: socket.socket, size: int) -> bytes:
    """Receive exactly `count` bytes."""
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        assert piece, f"ended after {len(data)} of {size} bytes"
        data += piece
    return data


@dataclass
class Headers:
    """A handler that reads the header of the PROXY protocol, then echoes."""

    seen: list[tuple[Address, Address]] = field(default_factory=list)

    def __call__(self, sock: socket.socket) -> None:
        signature, command, kind, length = struct.unpack("!12sBBH", take(sock, 16))
        assert (signature, command) == (SIGNATURE, 0x21)
        assert (kind, length) in {(0x11, 12), (0x21, 36)}
        body = take(sock, length)
        size = (length - 4) // 2
        family = IPv4Address if size == 4 else IPv6Address
        source, target = family(body[:size]), family(body[size : 2 * size])
        ports = struct.unpack("!HH", body[2 * size :])
        self.seen.append(((str(source), ports[0]), (str(target), ports[1])))
        echo(sock)


def fetch(mesh: Mesh, family: Family, address: str, port: int) -> Address:
    """Make a short connection. Returns the address that the client had."""
    with connect(mesh.c, family, address, port) as sock:
        send(sock, Payload(1000))
        receive(sock, Payload(1000))
        name = sock.getsockname()
        return name[0], name[1]


def way(family: Family) -> str:
    """`via` of the route over rs."""
    return f"via {family.at(family.rs, RELAY_PORT)}"


def test_target_is_told_the_client(mesh: Mesh, family: Family) -> None:
    headers = Headers()
    mesh.route(family, f"{way(family)} proxy")
    with serving(mesh.s, family, headers) as at:
        clients = [fetch(mesh, family, at.address, at.port) for _ in range(3)]
        at.join()
        assert headers.seen == [(client, (at.address, at.port)) for client in clients]


def test_relay_that_connects_itself_tells(mesh: Mesh, family: Family) -> None:
    headers = Headers()
    mesh.rc.write("exits", f"allow {family.prefix(3)}")
    mesh.route(family, "direct proxy")
    with serving(mesh.s, family, headers) as at:
        client = fetch(mesh, family, at.address, at.port)
        assert headers.seen == [(client, (at.address, at.port))]


def test_target_of_the_other_family_is_told_a_mapped_address(mesh: Mesh) -> None:
    """The header has room for one family only."""
    headers = Headers()
    with serving(mesh.s, V6, headers) as at:
        mesh.route(V4, f"{way(V4)} target {V6.at(at.address, at.port)} proxy")
        address, port = fetch(mesh, V4, V4.server, PORT)
        mapped = str(IPv6Address(f"::ffff:{address}"))
        target = str(IPv6Address(at.address))
        assert headers.seen == [((mapped, port), (target, at.port))]


@contextmanager
def delivered(mesh: Mesh, family: Family) -> Iterator[None]:
    """Let rs keep the server's packets to the client, since its splits speak for the client."""
    ip = ["ip", f"-{family.name[1]}"]
    wanted = ["PREROUTING", "-t", "mangle", "-i", "to-s", "-p", "tcp", "-d", family.client]
    steps = [
        ([family.iptables, "-A"], [*wanted, "-j", "MARK", "--set-mark", "1"]),
        ([*ip, "rule", "add"], ["fwmark", "1", "lookup", "100"]),
        ([*ip, "route", "add"], ["local", "default", "dev", "lo", "table", "100"]),
    ]
    for program, words in steps:
        mesh.rs.run([*program, *words])
    try:
        yield
    finally:
        for program, words in steps:
            undo = "-D" if program[-1] == "-A" else "del"
            mesh.rs.run([*program[:-1], undo, *words])


@contextmanager
def narrow(mesh: Mesh, family: Family) -> Iterator[tuple[Namespace, str]]:
    """A host behind the server, which has less room for packets on its link to it."""
    host, link = Namespace("t"), 4
    way_there = [family.prefix(link), "via", family.server]
    forwarding = "net.ipv4.ip_forward" if family is V4 else "net.ipv6.conf.all.forwarding"
    delete(host)
    try:
        attach(mesh.s, family, host, link)
        # Only its last hop is narrow. Its own interface is not, so its SYN-ACK does not tell.
        mesh.s.run(["ip", "link", "set", "to-t", "mtu", "1300"])
        mesh.rs.run(["ip", "route", "add", *way_there])
        with mesh.s.sysctl(forwarding, 1):
            yield host, family.address(link, 2)
    finally:
        mesh.rs.run(["ip", "route", "del", *way_there], check=False)
        delete(host)


@contextmanager
def errors_delivered(mesh: Mesh, family: Family) -> Iterator[None]:
    """Let rs keep ICMP errors about what its splits sent in the client's name."""
    protocol = "icmp" if family is V4 else "ipv6-icmp"
    match = ["-i", "to-s", "-p", protocol, "-m", "socket", "--transparent"]
    rule = ["PREROUTING", "-t", "mangle", *match, "-j", "MARK", "--set-mark", "1"]
    mesh.rs.run([family.iptables, "-A", *rule])
    try:
        yield
    finally:
        mesh.rs.run([family.iptables, "-D", *rule])


def test_far_leg_learns_its_mtu(mesh: Mesh, family: Family) -> None:
    """Each leg has an MTU of its own, also one that speaks for the client."""
    sent = Payload(1 << 20)

    def server(sock: socket.socket) -> None:
        receive(sock, sent)
        send(sock, Payload(1))

    with (
        narrow(mesh, family) as (host, address),
        serving(host, family, server, address=address) as at,
        delivered(mesh, family),
        errors_delivered(mesh, family),
    ):
        mesh.rs.write("exits", f"allow {family.prefix(4)}")
        mesh.route(family, f"{way(family)} target {family.at(at.address, at.port)} transparent")
        with connect(mesh.c, family, family.server, at.port) as client:
            send(client, sent)
            receive(client, Payload(1))
        assert at.peers == [family.client]


def test_server_sees_the_client(mesh: Mesh, family: Family) -> None:
    mesh.route(family, f"{way(family)} transparent")
    with delivered(mesh, family), serving(mesh.s, family, echo) as at:
        for _ in range(3):
            fetch(mesh, family, at.address, at.port)
        assert at.peers == [family.client] * 3


def test_port_of_the_client_that_is_taken(mesh: Mesh, family: Family) -> None:
    """The far leg keeps the client's address, and gets another port."""
    mesh.route(family, f"{way(family)} transparent")
    with delivered(mesh, family), serving(mesh.s, family, echo) as at:
        sock = mesh.c.socket(family.number)
        with sock:
            sock.settimeout(20)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # The relay listens on this port.
            sock.bind((family.client, RELAY_PORT))
            sock.connect((at.address, at.port))
            send(sock, Payload(1000))
            receive(sock, Payload(1000))
        assert at.peers == [family.client]


def test_client_of_the_other_family_cannot_be_seen(mesh: Mesh) -> None:
    with serving(mesh.s, V6, echo) as at:
        mesh.route(V4, f"{way(V4)} target {V6.at(at.address, at.port)} transparent")
        assert is_refused(mesh.c, V4, V4.server, PORT)
        assert not at.peers


def test_both(mesh: Mesh, family: Family) -> None:
    headers = Headers()
    mesh.route(family, f"{way(family)} proxy transparent")
    with delivered(mesh, family), serving(mesh.s, family, headers) as at:
        client = fetch(mesh, family, at.address, at.port)
        assert at.peers == [family.client]
        assert headers.seen == [(client, (at.address, at.port))]
