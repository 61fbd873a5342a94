# SPDX-License-Identifier: GPL-2.0-only
"""How the server learns the client's address: by the PROXY protocol, or as its peer."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

import pytest

from tests.kernel.mesh import MODES, RELAY_PORT, Mesh
from tests.kernel.topology import V4, V6, Family
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
