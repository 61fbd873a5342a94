# SPDX-License-Identifier: GPL-2.0-only
"""The ticket that spares a handshake: what the relay that uses it does when it is refused."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.kernel import wire
from tests.kernel.mesh import BYTE_MODES, RELAY_PORT, Mesh
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    connect,
    echo,
    is_refused,
    receive,
    reset,
    send,
    serving,
)
from tests.kernel.wait import until

pytestmark = pytest.mark.parametrize("mode", BYTE_MODES, indirect=True)

# Nobody listens there: the relay below answers itself what comes in the stream.
TARGET_PORT = 7


@dataclass
class Issuer:
    """A relay that gives tickets and knows them until it is told to forget them.

    Attributes:
        knows: The tickets.
        mute: It takes tickets without a word.
        began: How each leg that was to carry a stream began.
        left: Set when one that it was mute on has ended.
    """

    knows: set[bytes] = field(default_factory=set)
    mute: bool = False
    began: list[int] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)

    def __call__(self, sock: socket.socket) -> None:
        # The connection by which rc watches its peers carries no stream.
        with contextlib.suppress(EOFError, ConnectionError):
            self.serve(sock)

    def serve(self, sock: socket.socket) -> None:
        """Speak with an initiator."""
        head = wire.receive_exactly(sock, wire.HEAD.size)
        _, _, kind, length, _ = wire.HEAD.unpack(head)
        record = head + wire.receive_exactly(sock, length - len(head))
        if kind == wire.RESUME and not self.resume(sock, record):
            return
        if kind == wire.HELLO:
            self.challenge(sock, record)
        head = wire.receive_exactly(sock, wire.HEAD.size)
        wire.receive_exactly(sock, wire.HEAD.unpack(head)[3] - len(head))
        if kind == wire.HELLO:
            self.began.append(kind)
        echo(sock)

    def challenge(self, sock: socket.socket, hello: bytes) -> None:
        """Have the key proved, and give a ticket for it."""
        ticket = os.urandom(wire.TICKET_BYTES)
        self.knows.add(ticket)
        sock.sendall(wire.challenge(hello, ticket))
        wire.receive_exactly(sock, wire.PROOF_BYTES)

    def resume(self, sock: socket.socket, record: bytes) -> bool:
        """True where the ticket is known."""
        self.began.append(wire.RESUME)
        ticket = record[wire.HEAD.size : wire.HEAD.size + wire.TICKET_BYTES]
        if self.mute:
            with contextlib.suppress(ConnectionError):
                while sock.recv(65536):
                    pass
            self.left.set()
            return False
        if ticket not in self.knows:
            reset(sock)
            return False
        sock.sendall(wire.confirmation(record))
        return True


@pytest.fixture
def issuer(mesh: Mesh, family: Family) -> Iterator[Issuer]:
    """In place of rs; rc has no pool, and has earned a ticket and used it."""
    mesh.rc.write("peers", f"set {family.at(family.rs, RELAY_PORT)} low 0 high 0")
    mesh.rs.write("listeners", f"del relay {RELAY_PORT}")
    relay = Issuer()
    with serving(mesh.rs, family, relay, address=family.rs, port=RELAY_PORT):
        carry(mesh, family)
        carry(mesh, family)
        assert relay.began == [wire.HELLO, wire.RESUME]
        yield relay
        mesh.wait_idle()


def carry(mesh: Mesh, family: Family) -> None:
    """A stream over rc and the relay."""
    with connect(mesh.c, family, family.server, TARGET_PORT) as sock:
        send(sock, Payload(1000))
        receive(sock, Payload(1000))


def test_refused_ticket_is_forgotten(mesh: Mesh, family: Family, issuer: Issuer) -> None:
    """One flow pays for a relay that was restarted; the next leg does the handshake."""
    mesh.rc.write("settings", "refused_hold_s 600")
    issuer.knows.clear()
    assert is_refused(mesh.c, family, family.server, TARGET_PORT)
    carry(mesh, family)
    assert issuer.began[2:] == [wire.RESUME, wire.HELLO]
    carry(mesh, family)
    assert issuer.began[4:] == [wire.RESUME]


def test_ticket_that_nobody_confirms_is_forgotten(
    mesh: Mesh, family: Family, issuer: Issuer
) -> None:
    mesh.rc.write("settings", "handshake_timeout_ms 1000")
    issuer.mute = True
    assert is_refused(mesh.c, family, family.server, TARGET_PORT)
    issuer.mute = False
    carry(mesh, family)
    assert issuer.began[2:] == [wire.RESUME, wire.HELLO]


def test_client_that_leaves_does_not_cost_the_ticket(
    mesh: Mesh, family: Family, issuer: Issuer
) -> None:
    """Else clients could have each leg do a handshake."""
    issuer.mute = True
    sock = connect(mesh.c, family, family.server, TARGET_PORT)
    until(lambda: len(issuer.began) > 2, "no leg")
    reset(sock)
    assert issuer.left.wait(20)
    mesh.wait_idle()
    issuer.mute = False
    carry(mesh, family)
    assert issuer.began[2:] == [wire.RESUME, wire.RESUME]
