# SPDX-License-Identifier: GPL-2.0-only
"""An RST is noticed in every state of a split, and bytes that came before it arrive."""

import contextlib
import socket
import threading

import pytest

from tests.kernel.mesh import BYTE_MODES, Mesh, bad_line
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Handler,
    Payload,
    connect,
    is_told,
    receive,
    receive_end,
    reset,
    send,
    serving,
    unacknowledged,
)
from tests.kernel.wait import until

pytestmark = pytest.mark.parametrize("mode", BYTE_MODES, indirect=True)

# Buffers smaller than a stream, so that it fills all of them on its way.
SMALL_BUFFERS = ("relay_buffer_bytes 262144", "conn_pool off")
# Far more than a round trip, far less than any time-out.
SOON_S = 5
# For a reader that takes nothing: each relay gives it time to take the bytes before the RST.
FULL_S = 2 * 12 + SOON_S


def fill(sock: socket.socket) -> None:
    """Send until no more bytes are taken."""
    sock.settimeout(1)
    with contextlib.suppress(TimeoutError):
        while True:
            sock.send(bytes(65536))


def telling(event: threading.Event) -> Handler:
    """A server that reads nothing and reports when its connection has ended."""

    def server(sock: socket.socket) -> None:
        if is_told(sock, bound=60):
            event.set()

    return server


def is_asked_and_told(sock: socket.socket) -> bool:
    """True once a connection has ended by RST; sends something, since the RST may be lost."""
    with contextlib.suppress(ConnectionError):
        sock.send(b"?")
    return is_told(sock, bound=1)


def test_server_ends_then_resets(mesh: Mesh, family: Family) -> None:
    go = threading.Event()

    def server(sock: socket.socket) -> None:
        sock.recv(1)
        sock.shutdown(socket.SHUT_WR)
        assert go.wait(20)
        reset(sock)

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.send(b"?")
        receive_end(sock)
        go.set()
        assert is_told(sock, bound=SOON_S), "no RST at the client"
        mesh.wait_idle(SOON_S)


def test_client_ends_then_resets(mesh: Mesh, family: Family) -> None:
    ended, told = threading.Event(), threading.Event()

    def server(sock: socket.socket) -> None:
        receive_end(sock)
        ended.set()
        if is_told(sock):
            told.set()

    with serving(mesh.s, family, server) as at:
        sock = connect(mesh.c, family, at.address, at.port)
        sock.shutdown(socket.SHUT_WR)
        assert ended.wait(20)
        reset(sock)
        assert told.wait(SOON_S), "no RST at the server"
        mesh.wait_idle(SOON_S)


def test_client_resets_while_the_server_reads_nothing(mesh: Mesh, family: Family) -> None:
    told = threading.Event()
    for relay in mesh.relays:
        relay.write("settings", *SMALL_BUFFERS)
    with serving(mesh.s, family, telling(told)) as at:
        sock = connect(mesh.c, family, at.address, at.port)
        fill(sock)
        reset(sock)
        assert told.wait(FULL_S), "no RST at the server"
        mesh.wait_idle(FULL_S)


def test_server_resets_while_the_client_reads_nothing(mesh: Mesh, family: Family) -> None:
    def server(sock: socket.socket) -> None:
        fill(sock)
        reset(sock)

    for relay in mesh.relays:
        relay.write("settings", *SMALL_BUFFERS)
    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        at_most = 60
        assert is_told(sock, bound=at_most), "no RST at the client"
        at.join()
        mesh.wait_idle(FULL_S)


def test_reset_while_both_are_full(mesh: Mesh, family: Family) -> None:
    """Nobody reads, so no thread and no callback would look at the reset connection."""
    told = threading.Event()

    def server(sock: socket.socket) -> None:
        fill(sock)
        if is_told(sock, bound=60):
            told.set()

    for relay in mesh.relays:
        relay.write("settings", *SMALL_BUFFERS)
    with serving(mesh.s, family, server) as at:
        sock = connect(mesh.c, family, at.address, at.port)
        fill(sock)
        reset(sock)
        assert told.wait(FULL_S), "no RST at the server"
        mesh.wait_idle(FULL_S)


def test_client_resets_before_the_target_answers(mesh: Mesh, family: Family) -> None:
    """The relays give up their connect at once, and do not wait for its time-out."""
    drop = [family.iptables, "-I", "INPUT", "-p", "tcp", "--syn", "-j", "DROP"]
    for relay in mesh.relays:
        relay.write("settings", "connect_timeout_ms 120000")
    mesh.s.run(drop)
    try:
        sock = connect(mesh.c, family, family.server, 9)
        sock.send(b"?")
        until(mesh.rs.splits, "the exit does not connect")
        reset(sock)
        mesh.wait_idle(SOON_S)
    finally:
        mesh.s.run(["-D" if word == "-I" else word for word in drop])


def test_both_reset_while_bytes_are_in_flight(mesh: Mesh, family: Family) -> None:
    """The second RST comes while the first one still waits for bytes that precede it."""

    def server(sock: socket.socket) -> None:
        send(sock, Payload(300_000))
        until(lambda: not unacknowledged(sock), "the relay does not take all")
        reset(sock)

    with bad_line(mesh), serving(mesh.s, family, server) as at:
        sock = connect(mesh.c, family, at.address, at.port)
        receive(sock, Payload(1000))
        at.join()
        reset(sock)
        mesh.wait_idle(SOON_S)


def test_bytes_before_a_reset_arrive_over_a_slow_lossy_leg(mesh: Mesh, family: Family) -> None:
    """However long it takes, here longer than an RST waits for an end that takes nothing."""
    download = Payload(4_000_000)

    def server(sock: socket.socket) -> None:
        sock.settimeout(120)
        send(sock, download)
        until(lambda: not unacknowledged(sock), "the relay does not take all", bound=120)
        reset(sock)

    with (
        bad_line(mesh),
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.settimeout(120)
        receive(sock, download)
        until(lambda: is_asked_and_told(sock), "no RST after the bytes")
        at.join()


def test_bytes_before_the_end_wait_for_a_reader_that_pauses(mesh: Mesh, family: Family) -> None:
    """TCP would drop a closed connection's bytes after some probes that find no room."""
    download = Payload(3_000_000)

    def server(sock: socket.socket) -> None:
        send(sock, download)

    client = mesh.c.socket(family.number)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    with (
        mesh.rc.sysctl("net.ipv4.tcp_orphan_retries", 1),
        client,
        serving(mesh.s, family, server) as at,
    ):
        client.connect((at.address, at.port))
        client.shutdown(socket.SHUT_WR)
        at.join()
        # One end is reset; a reader that only pauses hears nothing.
        assert not is_told(client, bound=5), "the last bytes are dropped"
        receive(client, download)
        receive_end(client)
