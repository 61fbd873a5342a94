# SPDX-License-Identifier: GPL-2.0-only
"""Engine `event` keeps no thread for a split, and one flow does not delay another."""

import contextlib
import socket
import threading

from tests.kernel.mesh import Mesh
from tests.kernel.topology import Family
from tests.kernel.traffic import Payload, connect, echo, receive, send, serving
from tests.kernel.wait import SCALE, until

OPEN = 40
ROUNDS = max(int(200 * SCALE), 20)


def busy(mesh: Mesh) -> int:
    """The module's busy threads; all namespaces share one pool."""
    return int(mesh.rc.comments("thread_pool")["busy"])


def ask(sock: socket.socket, number: int) -> None:
    """Send some bytes and receive them back."""
    send(sock, Payload(300, seed=number))
    receive(sock, Payload(300, seed=number))


def test_open_splits_own_no_thread(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, contextlib.ExitStack() as stack:
        socks = [
            stack.enter_context(connect(mesh.c, family, at.address, at.port)) for _ in range(OPEN)
        ]
        for number, sock in enumerate(socks):
            ask(sock, number)
        until(lambda: busy(mesh) == 0, "threads are kept")
        for number, sock in enumerate(socks):
            ask(sock, number)


def test_small_flow_beside_bulk(mesh: Mesh, family: Family) -> None:
    """Endless streams in both directions do not starve a question and its answer."""
    stop = threading.Event()

    def endless(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                sock.sendall(bytes(65536))

    def drain(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set() and sock.recv(65536):
                pass

    with (
        serving(mesh.s, family, endless) as bulk,
        serving(mesh.s, family, echo) as small,
        contextlib.ExitStack() as stack,
    ):
        readers = []
        for _ in range(4):
            sock = stack.enter_context(connect(mesh.c, family, bulk.address, bulk.port))
            readers.append(threading.Thread(target=drain, args=(sock,), daemon=True))
            readers[-1].start()
        with connect(mesh.c, family, small.address, small.port) as sock:
            for number in range(ROUNDS):
                ask(sock, number)
        moved = mesh.rc.stat("bytes_down_total")
        until(lambda: mesh.rc.stat("bytes_down_total") > moved, "the bulk stands still")
        stop.set()
        for reader in readers:
            reader.join(30)
