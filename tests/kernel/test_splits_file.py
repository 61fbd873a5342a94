# SPDX-License-Identifier: GPL-2.0-only
"""The file `splits` is read piece by piece: nothing waits for a reader, and no split is held."""

import os
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.kernel import module
from tests.kernel.mesh import Mesh
from tests.kernel.namespace import KTCP, Namespace
from tests.kernel.topology import V4
from tests.kernel.traffic import Payload, connect, echo, receive, send, serving
from tests.kernel.wait import ROUNDS, times

# Several pages of lines, and more splits than are visited in one hold of the lock.
CROWD = 150


@contextmanager
def crowd(mesh: Mesh) -> Iterator[list[socket.socket]]:
    """Splits that have passed a byte in both directions."""
    with serving(mesh.s, V4, echo) as at, ExitStack() as stack:
        socks = [
            stack.enter_context(connect(mesh.c, V4, at.address, at.port)) for _ in range(CROWD)
        ]
        for sock in socks:
            send(sock, Payload(1))
            receive(sock, Payload(1))
        yield socks


@contextmanager
def opened(host: Namespace) -> Iterator[int]:
    """The file, for reads of any size."""
    with host.entered():
        fd = os.open(KTCP / "splits", os.O_RDONLY)
    try:
        yield fd
    finally:
        os.close(fd)


def rest(fd: int, size: int = 64 << 10) -> list[str]:
    """All further lines of the file, read in pieces."""
    pieces = iter(lambda: os.read(fd, size), b"")
    return b"".join(pieces).decode("ascii").splitlines()


def clients(lines: list[str]) -> set[str]:
    """The clients of the listed splits."""
    return {line.split(" -> ")[0] for line in lines}


@pytest.mark.parametrize("size", [1, 100, 4096, 1 << 20])
def test_each_split_is_listed_once(mesh: Mesh, size: int) -> None:
    with crowd(mesh) as socks, opened(mesh.rc) as fd:
        expected = {V4.at(*sock.getsockname()) for sock in socks}
        lines = rest(fd, size)
        assert len(lines) == CROWD
        assert clients(lines) == expected
        # And once more from the beginning.
        os.lseek(fd, 0, os.SEEK_SET)
        assert clients(rest(fd)) == expected


def test_reader_that_pauses_holds_no_split(mesh: Mesh) -> None:
    """Splits end while the file is open, and are then no longer listed."""
    with opened(mesh.rc) as fd:
        with crowd(mesh):
            assert os.read(fd, 1)
        mesh.wait_idle()
        assert mesh.rc.stat("splits_active") == 0
        # The line that was partly read before.
        assert len(rest(fd)) == 1


def test_readers_have_places_of_their_own(mesh: Mesh) -> None:
    with crowd(mesh), opened(mesh.rc) as first, opened(mesh.rc) as second:
        assert os.read(first, 1)
        assert len(rest(second)) == CROWD
        assert len(rest(first)) == CROWD


def test_unload_beside_a_reader(mesh: Mesh) -> None:
    with crowd(mesh), opened(mesh.rc) as fd:
        assert os.read(fd, 1)
        module.unload()
        with pytest.raises(OSError, match="Input/output error"):
            os.read(fd, 1)


def test_splits_come_and_go_beside_readers(mesh: Mesh) -> None:
    """Each reader gets a split that stays exactly once."""
    stop = threading.Event()
    with serving(mesh.s, V4, echo) as at, connect(mesh.c, V4, at.address, at.port) as witness:
        send(witness, Payload(1))
        receive(witness, Payload(1))
        name = V4.at(*witness.getsockname())

        def come_and_go() -> None:
            while not stop.is_set():
                with connect(mesh.c, V4, at.address, at.port) as sock:
                    send(sock, Payload(1))
                    receive(sock, Payload(1))

        def read() -> None:
            for _ in range(times(40)):
                with opened(mesh.rc) as fd:
                    lines = rest(fd, 200)
                assert [line.split(" -> ")[0] for line in lines].count(name) == 1

        with ThreadPoolExecutor(4) as workers:
            dialling = [workers.submit(come_and_go) for _ in range(2)]
            readers = [workers.submit(read) for _ in range(2)]
            try:
                for reader in readers:
                    reader.result(timeout=60 * ROUNDS)
            finally:
                stop.set()
            for one in dialling:
                one.result(timeout=60)


def test_settings_are_read_as_one_commit(mesh: Mesh) -> None:
    """No reader sees a mix of two commits."""
    states = ("early_syn_max 100\nmax_splits 100\n", "early_syn_max 200\nmax_splits 200\n")
    stop = threading.Event()
    seen: set[tuple[str, str]] = set()

    def read() -> None:
        while not stop.is_set():
            values = dict(line.split() for line in mesh.rs.read("settings").splitlines())
            seen.add((values["early_syn_max"], values["max_splits"]))

    mesh.rs.write("settings", *states[0].splitlines())
    with ThreadPoolExecutor(1) as workers:
        reader = workers.submit(read)
        try:
            for number in range(times(200)):
                mesh.rs.write("settings", *states[number % 2].splitlines())
        finally:
            stop.set()
        reader.result(timeout=60)
    assert seen <= {("100", "100"), ("200", "200")}
