# SPDX-License-Identifier: GPL-2.0-only
"""Each way of ending a connection arrives unchanged at the other end."""

import socket
import threading

import pytest

from tests.kernel.mesh import BYTE_MODES, Mesh, bad_line
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    connect,
    discard,
    echo,
    is_reset,
    receive,
    receive_end,
    reset,
    send,
    serving,
)
from tests.kernel.wait import until

pytestmark = pytest.mark.parametrize("mode", BYTE_MODES, indirect=True)

MORE_THAN_BUFFERS = 8 << 20


def test_client_ends_first(mesh: Mesh, family: Family) -> None:
    question, answer = Payload(5_000, seed=1), Payload(MORE_THAN_BUFFERS, seed=2)

    def server(sock: socket.socket) -> None:
        receive(sock, question)
        receive_end(sock)
        send(sock, answer)

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, question)
        sock.shutdown(socket.SHUT_WR)
        receive(sock, answer)
        receive_end(sock)
        at.join()


def test_server_ends_first(mesh: Mesh, family: Family) -> None:
    greeting, upload = Payload(5_000, seed=1), Payload(MORE_THAN_BUFFERS, seed=2)

    def server(sock: socket.socket) -> None:
        send(sock, greeting)
        sock.shutdown(socket.SHUT_WR)
        receive(sock, upload)
        receive_end(sock)

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        receive(sock, greeting)
        receive_end(sock)
        send(sock, upload)
        sock.shutdown(socket.SHUT_WR)
        at.join()


def test_half_closes_are_counted(mesh: Mesh, family: Family) -> None:
    before = mesh.rc.stat("half_closes_total")
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(10))
        sock.shutdown(socket.SHUT_WR)
        receive(sock, Payload(10))
        receive_end(sock)
        at.join()
    mesh.wait_idle()
    assert mesh.rc.stat("half_closes_total") > before


def test_closing_without_a_byte(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, discard) as at:
        connect(mesh.c, family, at.address, at.port).close()
        until(lambda: at.peers, "the server saw no connection")
        at.join()
    mesh.wait_idle()


def test_reset_by_the_client(mesh: Mesh, family: Family) -> None:
    seen = threading.Event()

    def server(sock: socket.socket) -> None:
        sock.sendall(sock.recv(1))
        if is_reset(sock):
            seen.set()

    with serving(mesh.s, family, server) as at:
        sock = connect(mesh.c, family, at.address, at.port)
        sock.sendall(b"?")
        assert sock.recv(1) == b"?"
        reset(sock)
        assert seen.wait(20), "no RST at the server"
    mesh.wait_idle()


def test_reset_by_the_server(mesh: Mesh, family: Family) -> None:
    def server(sock: socket.socket) -> None:
        sock.recv(1)
        reset(sock)

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.sendall(b"?")
        assert is_reset(sock)
    mesh.wait_idle()


def test_reset_in_the_middle_of_an_upload(mesh: Mesh, family: Family) -> None:
    def server(sock: socket.socket) -> None:
        sock.recv(1)
        reset(sock)

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
        pytest.raises((ConnectionResetError, BrokenPipeError)),
    ):
        send(sock, Payload(256 << 20))
    mesh.wait_idle()


def test_reset_in_the_middle_of_a_download(mesh: Mesh, family: Family) -> None:
    ended = threading.Event()

    def server(sock: socket.socket) -> None:
        try:
            send(sock, Payload(256 << 20))
        except (ConnectionResetError, BrokenPipeError):
            ended.set()

    with serving(mesh.s, family, server) as at:
        sock = connect(mesh.c, family, at.address, at.port)
        receive(sock, Payload(1000))
        reset(sock)
        assert ended.wait(30), "the server sends on"
    mesh.wait_idle()


def test_bytes_before_the_end_arrive_over_a_slow_lossy_leg(mesh: Mesh, family: Family) -> None:
    """The server is gone long before its last byte has left the relay."""
    download = Payload(300_000)
    with bad_line(mesh), serving(mesh.s, family, lambda sock: send(sock, download)) as at:
        with connect(mesh.c, family, at.address, at.port) as sock:
            sock.settimeout(120)
            receive(sock, download)
            receive_end(sock)
        at.join()


def test_upload_arrives_after_the_client_left(mesh: Mesh, family: Family) -> None:
    upload = Payload(300_000)

    def server(sock: socket.socket) -> None:
        sock.settimeout(120)
        receive(sock, upload)
        receive_end(sock)

    with bad_line(mesh), serving(mesh.s, family, server) as at:
        with connect(mesh.c, family, at.address, at.port) as sock:
            send(sock, upload)
        until(lambda: at.peers, "the server saw no connection", bound=60)
        at.join()
