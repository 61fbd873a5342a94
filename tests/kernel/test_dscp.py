# SPDX-License-Identifier: GPL-2.0-only
"""How an end marks its packets (DSCP) is how the other end gets them, as without a relay."""

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


def mark(sock: socket.socket, family: Family, dscp: int) -> None:
    """Have what is sent from now on marked."""
    if family is V4:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)


@contextmanager
def counting(host: Namespace, family: Family, ports: str) -> Iterator[None]:
    """Count the packets with bytes that reach a host, by their mark."""
    rules = [
        ["INPUT", *f"-p tcp {ports} -m length --length 400:65535 -m dscp --dscp {dscp}".split()]
        for dscp in (BULK, VOICE, 0)
    ]
    for rule in rules:
        host.run([family.iptables, "-A", *rule])
    try:
        yield
    finally:
        for rule in rules:
            host.run([family.iptables, "-D", *rule])


def counts(host: Namespace, family: Family) -> list[int]:
    """Packets marked as bulk, as voice, and not at all since this was asked last."""
    listing = host.run([family.iptables, "-nvxL", "INPUT"]).stdout.splitlines()
    host.run([family.iptables, "-Z", "INPUT"])
    return [int(line.split()[0]) for line in listing if " DSCP match " in line]


def test_up_and_down(mesh: Mesh, family: Family) -> None:
    with (
        serving(mesh.s, family, echo_as(family, VOICE)) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        mark(sock, family, BULK)
        with (
            counting(mesh.s, family, f"--dport {at.port}"),
            counting(mesh.c, family, f"--sport {at.port}"),
            counting(mesh.rs, family, f"--dport {RELAY_PORT}"),
        ):
            message = Payload(100_000)
            send(sock, message)
            receive(sock, message)
            for host in (mesh.s, mesh.rs):
                bulk, voice, none = counts(host, family)
                assert bulk > 0
                assert (voice, none) == (0, 0)
            bulk, voice, none = counts(mesh.c, family)
            assert voice > 0
            assert (bulk, none) == (0, 0)


def echo_as(family: Family, dscp: int) -> Handler:
    """An echo server that marks what it sends."""

    def handler(sock: socket.socket) -> None:
        mark(sock, family, dscp)
        echo(sock)

    return handler


def test_mark_that_changes(mesh: Mesh, family: Family) -> None:
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
        counting(mesh.s, family, f"--dport {at.port}"),
    ):
        message = Payload(20_000)
        for dscp, place in ((BULK, 0), (VOICE, 1), (0, 2), (BULK, 0)):
            mark(sock, family, dscp)
            send(sock, message)
            receive(sock, message)
            seen = counts(mesh.s, family)
            assert seen[place] > 0
            assert sum(seen) == seen[place]
