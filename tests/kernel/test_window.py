# SPDX-License-Identifier: GPL-2.0-only
"""What a relay keeps of a stream is bounded by what the stream's reader takes."""

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.kernel.mesh import CLIENT_PORT, RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family
from tests.kernel.traffic import Payload, Server, connect, in_background, receive, send, serving
from tests.kernel.wait import until

LARGE = 32 << 20
# What the legs of a stream that nobody reads may hold, as the kernel counts memory. Without the
# bound, nearly all of it waits in buffers of `relay_buffer_bytes`.
KEPT = 12 << 20
STALLED = 8
# What a relay's send queue may hold, as the kernel counts memory, for an end that reads no more.
# Without a bound it holds as much as was in flight at once when the end still read, and more.
UNSENT = 512 << 10
# Bytes that such an end reads first.
FIRST = 8 << 20


def legs(relay: Namespace, field: str) -> list[int]:
    """A figure of ss(8) for each leg of `relay`: bytes in memory, or a window."""
    return of_port(relay, RELAY_PORT, field)


def of_port(relay: Namespace, port: int, field: str) -> list[int]:
    """The same for each connection from or to a port."""
    condition = ["(", "dport", "=", f":{port}", "or", "sport", "=", f":{port}", ")"]
    rows = relay.run(["ss", "-Htnim", "state", "established", *condition]).stdout
    return [int(value) for value in re.findall(rf"\b{field}:?(\d+)", rows)]


def kept(mesh: Mesh) -> int:
    """Bytes of memory in the queues of all legs."""
    return sum(sum(legs(relay, field)) for relay in mesh.relays for field in ("skmem:[(]r", "w"))


def moved(mesh: Mesh) -> list[str]:
    """How many bytes each split has passed on, in each direction."""
    splits = "".join(relay.read("splits") for relay in mesh.relays)
    return re.findall(r"\b(?:up|down) (\d+)", splits)


def rests(mesh: Mesh) -> bool:
    """True if bytes were passed on, and for two seconds no more are."""
    before = moved(mesh)
    if not sum(int(count) for count in before):
        return False
    try:
        until(lambda: moved(mesh) != before, "moves", bound=2)
    except TimeoutError:
        return True
    return False


def give(sock: socket.socket) -> None:
    """Send as many bytes as the client asks for."""
    wanted = int(sock.recv(10))
    with contextlib.suppress(OSError):
        send(sock, Payload(wanted))


def ask(mesh: Mesh, family: Family, at: Server, count: int) -> socket.socket:
    """A client that has asked for `count` bytes."""
    sock = connect(mesh.c, family, at.address, at.port)
    sock.sendall(b"%d" % count)
    return sock


@contextmanager
def stalled(mesh: Mesh, family: Family, at: Server) -> Iterator[None]:
    """Clients that have asked for much and read nothing."""
    with ExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(ask(mesh, family, at, LARGE))
        until(lambda: rests(mesh), "the streams do not stop", bound=120)
        yield


def test_download_that_nobody_reads(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, give) as at, ask(mesh, family, at, LARGE) as client:
        until(lambda: rests(mesh), "the stream does not stop", bound=60)
        assert kept(mesh) < KEPT
        receive(client, Payload(LARGE))


def test_upload_that_nobody_reads(mesh: Mesh, family: Family) -> None:
    go = threading.Event()

    def server(sock: socket.socket) -> None:
        assert go.wait(120)
        receive(sock, Payload(LARGE))

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port, bound=120) as client,
        in_background(lambda: send(client, Payload(LARGE))),
    ):
        until(lambda: rests(mesh), "the stream does not stop", bound=60)
        assert kept(mesh) < KEPT
        go.set()
        at.join()


def read_some(sock: socket.socket, count: int) -> None:
    """Receive so many bytes, whatever they are."""
    while count:
        got = len(sock.recv(min(count, 64 << 10)))
        assert got, "ended early"
        count -= got


def test_download_that_is_not_read_on(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, give) as at, ask(mesh, family, at, LARGE) as client:
        read_some(client, FIRST)
        until(lambda: rests(mesh), "the stream does not stop", bound=60)
        assert sum(of_port(mesh.rc, CLIENT_PORT, "w")) < UNSENT
        read_some(client, LARGE - FIRST)


def test_upload_that_is_not_read_on(mesh: Mesh, family: Family) -> None:
    go = threading.Event()

    def server(sock: socket.socket) -> None:
        read_some(sock, FIRST)
        assert go.wait(120)
        read_some(sock, LARGE - FIRST)

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port, bound=120) as client,
        in_background(lambda: send(client, Payload(LARGE))),
    ):
        until(lambda: rests(mesh), "the stream does not stop", bound=60)
        assert sum(of_port(mesh.rs, at.port, "w")) < UNSENT
        go.set()
        at.join()


def test_slow_readers_leave_memory(mesh: Mesh, family: Family) -> None:
    """Nobody waits because others read nothing."""
    with (
        serving(mesh.s, family, give) as at,
        stalled(mesh, family, at),
        ask(mesh, family, at, 1 << 20) as client,
    ):
        client.settimeout(10)
        receive(client, Payload(1 << 20))
