# SPDX-License-Identifier: GPL-2.0-only
"""A relay that vanishes silently is noticed; one whose reader takes nothing is left alone."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.kernel.mesh import RELAY_PORT, Mesh
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    connect,
    discard,
    echo,
    is_told,
    receive,
    receive_end,
    send,
    serving,
)
from tests.kernel.wait import SCALE, until

pytestmark = pytest.mark.parametrize("mode", ["full", "threads"], indirect=True)

NOTICED_S = 35


@contextmanager
def dark(mesh: Mesh, family: Family) -> Iterator[None]:
    """Let no packet pass between the relays, in either direction."""
    rules = [
        ["INPUT", "-p", "tcp", "--dport", str(RELAY_PORT), "-j", "DROP"],
        ["OUTPUT", "-p", "tcp", "--sport", str(RELAY_PORT), "-j", "DROP"],
    ]
    for rule in rules:
        mesh.rs.run([family.iptables, "-I", *rule])
    try:
        yield
    finally:
        for rule in rules:
            mesh.rs.run([family.iptables, "-D", *rule])


def send_on(sock: socket.socket, stop: threading.Event) -> None:
    """Send until the connection ends."""
    sock.settimeout(1)
    with contextlib.suppress(ConnectionError, TimeoutError):
        while not stop.is_set():
            sock.send(bytes(65536))


def test_upload(mesh: Mesh, family: Family) -> None:
    before = mesh.rc.stat("silent_resets_total")
    with (
        serving(mesh.s, family, discard) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(1 << 20))
        with dark(mesh, family):
            send_on(sock, threading.Event())
            assert is_told(sock, bound=NOTICED_S), "the client waits on"
            until(lambda: not mesh.rs.splits(), "the exit keeps the split", bound=NOTICED_S)
    assert mesh.rc.stat("silent_resets_total") > before


def test_download(mesh: Mesh, family: Family) -> None:
    """The exit has bytes in flight, the ingress none."""
    stop, ended = threading.Event(), threading.Event()

    def server(sock: socket.socket) -> None:
        send_on(sock, stop)
        if is_told(sock, bound=NOTICED_S):
            ended.set()

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.recv(1 << 16)
        with dark(mesh, family):
            reader = threading.Thread(target=drain, args=(sock,), daemon=True)
            reader.start()
            reader.join(NOTICED_S)
            assert not reader.is_alive(), "the client waits on"
            assert ended.wait(NOTICED_S), "the server waits on"
            until(lambda: not mesh.splits(), "splits are left")


def drain(sock: socket.socket) -> None:
    """Read until the connection ends, by FIN or RST."""
    sock.settimeout(None)
    with contextlib.suppress(ConnectionError):
        discard(sock)


def test_idle_split(mesh: Mesh, family: Family) -> None:
    """Nothing is in flight, so keepalive notices."""
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(10))
        receive(sock, Payload(10))
        with dark(mesh, family):
            assert is_told(sock, bound=NOTICED_S), "the client waits on"


def test_half_closed_split(mesh: Mesh, family: Family) -> None:
    """Only the client's FIN is in flight."""
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(10))
        receive(sock, Payload(10))
        with dark(mesh, family):
            sock.shutdown(socket.SHUT_WR)
            assert is_told(sock, bound=NOTICED_S), "the client waits on"


def test_reader_that_takes_nothing_is_left_alone(mesh: Mesh, family: Family) -> None:
    """For longer than a relay may be silent, since it answers the probes of its closed window."""
    size = int((32 << 20) * SCALE)
    go = threading.Event()
    for relay in mesh.relays:
        relay.write("settings", "relay_buffer_bytes 262144", "conn_pool off")

    def server(sock: socket.socket) -> None:
        assert go.wait(120)
        sock.settimeout(60)
        receive(sock, Payload(size))
        receive_end(sock)

    def upload() -> None:
        with contextlib.suppress(OSError):
            send(sock, Payload(size))
            sock.shutdown(socket.SHUT_WR)

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.settimeout(180)
        writer = threading.Thread(target=upload, daemon=True)
        writer.start()
        assert not is_told(sock, bound=90), "a live stream was ended"
        go.set()
        at.join()
        writer.join(20)


def test_relay_that_vanishes_while_a_reader_takes_nothing(mesh: Mesh, family: Family) -> None:
    """TCP probes a closed window less and less often, and would notice only after many minutes."""
    for relay in mesh.relays:
        relay.write("settings", "relay_buffer_bytes 262144", "conn_pool off")
    held = threading.Event()

    def server(sock: socket.socket) -> None:
        del sock
        held.wait(200)

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.settimeout(2)
        with contextlib.suppress(TimeoutError):
            while True:
                sock.send(bytes(65536))
        # Until TCP's probes would be far apart.
        assert not is_told(sock, bound=60)
        with dark(mesh, family):
            assert is_told(sock, bound=NOTICED_S), "the client waits on"
        held.set()
