# SPDX-License-Identifier: GPL-2.0-only
"""Bytes go by reference from all kinds of packets: all sizes, merged, cut, late, urgent."""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.mesh import Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    CHUNK,
    Payload,
    connect,
    discard,
    echo,
    exchange,
    in_background,
    receive,
    receive_end,
    send,
    serving,
)
from tests.kernel.wait import SCALE, until

pytestmark = pytest.mark.parametrize("mode", ["full", "threads"], indirect=True)

SIZE = max(int((20 << 20) * SCALE), 2 << 20)
# The smallest and the largest MTU of the topology's links; IPv6 needs 1280.
MTUS = {"v4": (576, 1500, 9000), "v6": (1280, 1500, 9000)}
OFFLOADS = ("tso", "gso", "gro", "sg", "tx")


def links(mesh: Mesh) -> Iterator[tuple[Namespace, list[str]]]:
    """Each host and the names of its links."""
    for host in mesh.hosts.hosts:
        names = host.run(["ls", "/sys/class/net"]).stdout.split()
        yield host, [name for name in names if name.startswith("to-")]


@contextmanager
def tcp_memory(pages: int) -> Iterator[None]:
    """Leave TCP so little memory that even received bytes cannot be queued again."""
    knob = Path("/proc/sys/net/ipv4/tcp_mem")
    before = knob.read_text()
    knob.write_text(f"{pages} {pages} {pages}\n")
    try:
        yield
    finally:
        knob.write_text(before)


@contextmanager
def linked(mesh: Mesh, mtu: int, *, offloads: bool) -> Iterator[None]:
    """Change the links within the block."""

    def change(mtu: int, word: str) -> None:
        for host, names in links(mesh):
            for name in names:
                host.run(["ip", "link", "set", name, "mtu", str(mtu)])
                host.run(["ethtool", "-K", name, *(w for o in OFFLOADS for w in (o, word))])

    change(mtu, "on" if offloads else "off")
    try:
        yield
    finally:
        change(1500, "on")


@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "no offloads"])
@pytest.mark.parametrize("place", range(3), ids=["least", "usual", "most"])
def test_both_directions(mesh: Mesh, family: Family, place: int, offloads: bool) -> None:
    upload, download = Payload(SIZE, seed=1), Payload(SIZE, seed=2)

    def server(sock: socket.socket) -> None:
        exchange(sock, out=download, into=upload)
        receive_end(sock)

    with (
        linked(mesh, MTUS[family.name][place], offloads=offloads),
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        exchange(sock, out=upload, into=download)
        sock.shutdown(socket.SHUT_WR)
        at.join()


def test_pieces_and_pauses(mesh: Mesh, family: Family) -> None:
    """Bytes arrive whatever the sizes of pieces, and however long the pauses."""
    payload = Payload(1 << 20, seed=3)
    chance = random.Random(7)
    with serving(mesh.s, family, echo) as at, connect(mesh.c, family, at.address, at.port) as sock:
        offset = 0
        while offset < payload.size:
            piece = payload.piece(
                offset, chance.choice([1, 7, 500, 1448, 2047, 2048, 9000, 60_000])
            )
            sock.sendall(piece)
            received = b""
            while len(received) < len(piece):
                received += sock.recv(len(piece) - len(received))
            assert received == piece
            offset += len(piece)
            if chance.random() < 0.05:
                time.sleep(0.05)


def test_urgent_bytes(mesh: Mesh, family: Family) -> None:
    """Any stranger can send them; they must not stop the bytes behind them."""
    with serving(mesh.s, family, echo) as at, connect(mesh.c, family, at.address, at.port) as sock:
        for number in range(10):
            sock.send(b"!", socket.MSG_OOB)
            word = b"%d" % number
            sock.sendall(word)
            received = b""
            while not received.endswith(word):
                received += sock.recv(16)


def test_slow_reader_gets_all(mesh: Mesh, family: Family) -> None:
    """A window stays closed for long, with a batch of bytes waiting."""
    payload = Payload(SIZE, seed=4)
    with (
        serving(mesh.s, family, lambda sock: send(sock, payload)) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)
        time.sleep(1)
        receive(sock, payload)
        receive_end(sock)


def test_memory_runs_short(mesh: Mesh, family: Family) -> None:
    """Bytes that find no memory wait, and are neither lost nor freed too early."""
    payload = Payload(SIZE, seed=6)
    with (
        serving(mesh.s, family, lambda sock: send(sock, payload)) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.recv_into(bytearray(1), 1, socket.MSG_PEEK)

        def read() -> None:
            receive(sock, payload)
            receive_end(sock)

        with in_background(read), tcp_memory(32):
            time.sleep(2)


def test_reader_that_goes_away(mesh: Mesh, family: Family) -> None:
    """Pages on the way are then freed; kmemleak and the end of the tests check that."""
    payload = Payload(SIZE)

    def server(sock: socket.socket) -> None:
        try:
            send(sock, payload)
        except ConnectionError:
            return

    with serving(mesh.s, family, server) as at:
        for _ in range(5):
            with connect(mesh.c, family, at.address, at.port) as sock:
                sock.recv(CHUNK)
        until(lambda: len(at.peers) == 5, "not all connected")
        mesh.wait_idle()


def test_datapath_changes_under_load(mesh: Mesh, family: Family) -> None:
    """A split keeps the datapath that it began with."""
    payload = Payload(SIZE, seed=5)
    with serving(mesh.s, family, discard) as at:
        for datapath in ("copy", "zerocopy", "copy"):
            with connect(mesh.c, family, at.address, at.port) as sock:
                sock.sendall(b"begin")
                for relay in mesh.relays:
                    relay.write("settings", f"datapath {datapath}")
                send(sock, payload)
                sock.shutdown(socket.SHUT_WR)
                receive_end(sock)
