# SPDX-License-Identifier: GPL-2.0-only
"""Each end gets packets with the DSCP that the other end sent, as without a relay."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kernel.mesh import BYTE_MODES, RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import V4, Family
from tests.kernel.traffic import Handler, Payload, connect, echo, receive, send, serving

pytestmark = pytest.mark.parametrize("mode", BYTE_MODES, indirect=True)

# Class selectors, in the upper six bits of TOS and traffic class.
BULK, VOICE = 8, 46
TABLE = "dscp"


def mark(sock: socket.socket, family: Family, dscp: int) -> None:
    """Send from now on with this DSCP."""
    if family is V4:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)


@contextmanager
def counting(host: Namespace, family: Family, ports: str) -> Iterator[None]:
    """Count the packets with data that reach a host, by their DSCP.

    Uses nft, since the debug kernel lacks iptables' matches for this.
    """
    header = "ip" if family is V4 else "ip6"
    rules = "".join(
        f"tcp {ports} meta length > 400 {header} dscp {dscp} counter\n" for dscp in (BULK, VOICE, 0)
    )
    chain = f"chain in {{ type filter hook input priority 0\n{rules}}}"
    host.run(["nft", "-f", "-"], stdin=f"table inet {TABLE} {{\n{chain}\n}}\n")
    try:
        yield
    finally:
        host.run(["nft", "delete", "table", "inet", TABLE])


def counts(host: Namespace) -> list[int]:
    """Packets so far with the DSCP of bulk, of voice, and with none."""
    listing = host.run(["nft", "list", "table", "inet", TABLE]).stdout
    return [int(count) for count in re.findall(r"counter packets (\d+)", listing)]


def test_up_and_down(mesh: Mesh, family: Family) -> None:
    with (
        serving(mesh.s, family, echo_as(family, VOICE)) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        mark(sock, family, BULK)
        with (
            counting(mesh.s, family, f"dport {at.port}"),
            counting(mesh.c, family, f"sport {at.port}"),
            counting(mesh.rs, family, f"dport {RELAY_PORT}"),
        ):
            message = Payload(100_000)
            send(sock, message)
            receive(sock, message)
            for host in (mesh.s, mesh.rs):
                bulk, voice, none = counts(host)
                assert bulk > 0
                assert (voice, none) == (0, 0)
            bulk, voice, none = counts(mesh.c)
            assert voice > 0
            assert (bulk, none) == (0, 0)


def echo_as(family: Family, dscp: int) -> Handler:
    """An echo server that sends with a DSCP."""

    def handler(sock: socket.socket) -> None:
        mark(sock, family, dscp)
        echo(sock)

    return handler


def test_mark_that_changes(mesh: Mesh, family: Family) -> None:
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
        counting(mesh.s, family, f"dport {at.port}"),
    ):
        message = Payload(20_000)
        before = counts(mesh.s)
        for dscp, place in ((BULK, 0), (VOICE, 1), (0, 2), (BULK, 0)):
            mark(sock, family, dscp)
            send(sock, message)
            receive(sock, message)
            now = counts(mesh.s)
            seen = [count - old for count, old in zip(now, before, strict=True)]
            assert seen[place] > 0
            assert sum(seen) == seen[place]
            before = now
