# SPDX-License-Identifier: GPL-2.0-only
"""A relay in place of rs, played by a test, which is the target of its streams, too."""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.kernel import wire
from tests.kernel.mesh import RELAY_PORT, Mesh
from tests.kernel.pools import peer, pool
from tests.kernel.topology import Family
from tests.kernel.traffic import serving
from tests.kernel.wait import until

# Nobody listens there: the relay below answers itself what comes in a stream.
TARGET_PORT = 7

Answer = Callable[[socket.socket, int], None]


@dataclass
class Leg:
    """A connection that has carried streams, and how many."""

    streams: int = 0


@dataclass
class Acceptor:
    """Proves the key to whoever connects, and plays streams.

    Attributes:
        version: The highest that it speaks.
        answer: Plays a stream, of this number; 0 on a connection that carries only one.
        legs: The connections that have carried streams. Their threads only append to it, so that
            two that begin at once do not count each other's.
    """

    version: int
    answer: Answer
    legs: list[Leg] = field(default_factory=list)

    @property
    def streams(self) -> list[int]:
        """How many streams began on each leg."""
        return [leg.streams for leg in self.legs]

    def __call__(self, sock: socket.socket) -> None:
        # The connection by which rc watches its peers carries no stream.
        with contextlib.suppress(EOFError, ConnectionError):
            self.serve(sock)

    def serve(self, sock: socket.socket) -> None:
        """Speak with an initiator."""
        version = self.accept(sock)
        leg = Leg()
        while True:
            head = wire.receive_exactly(sock, wire.HEAD.size)
            _, spoken, kind, length, stream = wire.HEAD.unpack(head)
            wire.receive_exactly(sock, length - len(head))
            assert (spoken, kind) == (version, wire.OPEN)
            if not leg.streams:
                self.legs.append(leg)
            leg.streams += 1
            assert stream == (leg.streams if version == wire.RECORDS else 0)
            self.answer(sock, stream)
            if version == wire.PLAIN:
                return

    def accept(self, sock: socket.socket) -> int:
        """Let the initiator prove the key; all tickets are good. Returns the version."""
        head = wire.receive_exactly(sock, wire.HEAD.size)
        _, version, kind, length, _ = wire.HEAD.unpack(head)
        record = head + wire.receive_exactly(sock, length - len(head))
        assert version <= self.version
        if kind == wire.RESUME:
            sock.sendall(wire.confirmation(record))
            return int(version)
        offered = record[-1] if record[-8:-1] == wire.MARK else wire.PLAIN
        version = min(offered, self.version)
        sock.sendall(wire.challenge(record, os.urandom(wire.TICKET_BYTES), version=version))
        wire.receive_exactly(sock, wire.PROOF_BYTES)
        return version


@contextmanager
def accepting(mesh: Mesh, family: Family, version: int, answer: Answer) -> Iterator[Acceptor]:
    """Such a relay in place of rs, with a pool of one connection to it."""
    mesh.rc.write("peers", f"del {peer(family)}")
    mesh.rs.write("listeners", f"del relay {RELAY_PORT}")
    acceptor = Acceptor(version, answer)
    try:
        with serving(mesh.rs, family, acceptor, address=family.rs, port=RELAY_PORT) as at:
            mesh.rc.write("peers", f"add {peer(family)} low 0 high 1 key 1")
            until(lambda: pool(mesh, family)["ready"] == 1, "no leg is ready")
            yield acceptor
            mesh.wait_idle()
            assert not at.failures, at.failures[0]
    finally:
        mesh.rs.write("listeners", f"add relay {RELAY_PORT}")
