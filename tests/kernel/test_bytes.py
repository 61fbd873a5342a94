# SPDX-License-Identifier: GPL-2.0-only
"""All bytes arrive, in order, in both directions."""

import socket
from functools import partial

import pytest

from tests.kernel.mesh import BYTE_MODES, NO_STEERING, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    connect,
    echo,
    exchange,
    receive,
    receive_end,
    send,
    serving,
)
from tests.kernel.wait import SCALE, until

pytestmark = pytest.mark.parametrize("mode", BYTE_MODES, indirect=True)

SMALL = [1, 1 << 10, 64 << 10, 1 << 20]
# Always too much to fit into the buffers on the way.
BULK = max(int((100 << 20) * SCALE), 10 << 20)


@pytest.mark.parametrize("size", [*SMALL, BULK])
def test_upload_arrives(mesh: Mesh, family: Family, size: int) -> None:
    upload = Payload(size)

    def server(sock: socket.socket) -> None:
        receive(sock, upload)
        receive_end(sock)
        sock.sendall(b"!")

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, upload)
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b"!"
        at.join()
    assert at.peers == [family.rs_inside]


@pytest.mark.parametrize("size", [*SMALL, BULK])
def test_download_arrives(mesh: Mesh, family: Family, size: int) -> None:
    download = Payload(size)
    with (
        serving(mesh.s, family, lambda sock: send(sock, download)) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        receive(sock, download)
        receive_end(sock)
        at.join()
    assert at.peers == [family.rs_inside]


@pytest.mark.parametrize("size", [1, 64 << 10, 4 << 20])
def test_both_directions_at_once(mesh: Mesh, family: Family, size: int) -> None:
    upload, download = Payload(size, seed=1), Payload(size, seed=2)
    with (
        serving(mesh.s, family, lambda sock: exchange(sock, out=download, into=upload)) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        exchange(sock, out=upload, into=download)
        at.join()


def test_question_and_answer_take_turns(mesh: Mesh, family: Family) -> None:
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        for turn in range(50):
            message = Payload(1 + turn * 97, seed=turn)
            send(sock, message)
            receive(sock, message)


def test_server_speaks_first(mesh: Mesh, family: Family) -> None:
    greeting = Payload(100)
    with (
        serving(mesh.s, family, lambda sock: send(sock, greeting)) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        receive(sock, greeting)


def test_bytes_are_counted_on_each_relay(mesh: Mesh, family: Family) -> None:
    upload, download = Payload(70_000, seed=1), Payload(30_000, seed=2)
    before = {r: (r.stat("bytes_up_total"), r.stat("bytes_down_total")) for r in mesh.relays}

    with (
        serving(mesh.s, family, lambda sock: exchange(sock, out=download, into=upload)) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        exchange(sock, out=upload, into=download)
        at.join()
    mesh.wait_idle()
    for relay, (up, down) in before.items():
        assert relay.stat("bytes_up_total") - up == upload.size
        assert relay.stat("bytes_down_total") - down == download.size


def test_an_open_split_is_listed(mesh: Mesh, family: Family) -> None:
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(1000))
        receive(sock, Payload(1000))
        [line] = mesh.rc.splits()
        here = sock.getsockname()
        assert line.startswith(
            f"{family.at(here[0], here[1])} -> {family.at(at.address, at.port)} "
        )
        for relay, role in ((mesh.rc, "client"), (mesh.rs, "relay")):
            text = f" role {role} state open up 1000 down 1000 "
            # The last bytes may reach the client before the relay has counted them.
            until(partial(is_listed, relay, text), f"no split is listed with{text}")
    until(lambda: not mesh.rc.splits(), "the split is still listed")


def is_listed(relay: Namespace, text: str) -> bool:
    """True when the line of the relay's only split contains this."""
    [line] = relay.splits()
    return text in line


def test_routed_without_steering(mesh: Mesh, family: Family) -> None:
    opened = mesh.rc.stat("splits_opened_total")
    with (
        mesh.steered(family, NO_STEERING),
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(1000))
        receive(sock, Payload(1000))
        assert at.peers == [family.client]
    assert mesh.rc.stat("splits_opened_total") == opened
