# SPDX-License-Identifier: GPL-2.0-only
"""Records of streams, from peers of either version, and from peers that misuse them."""

import contextlib
import socket
import threading
from collections.abc import Callable
from functools import partial

import pytest

from tests.kernel import wire
from tests.kernel.acceptor import TARGET_PORT, accepting
from tests.kernel.mesh import RELAY_PORT, Mesh
from tests.kernel.pools import pool
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    CHUNK,
    Payload,
    Server,
    connect,
    echo,
    is_reset,
    receive,
    receive_end,
    send,
    serving,
)
from tests.kernel.wait import until

# What a receiver of the wrong stream, or of half a record, must never see.
FOREIGN = b"of another user"


def dial(mesh: Mesh, family: Family) -> socket.socket:
    """A connection from rc to the relay port of rs, on which records are spoken."""
    sock = connect(mesh.rc, family, family.rs, RELAY_PORT)
    wire.prove(sock, offer=wire.RECORDS)
    return sock


def opening(family: Family, at: Server, stream: int) -> bytes:
    """OPEN for a stream to a server."""
    target = wire.address(at.address, at.port)
    return wire.open_record(target, wire.address(family.client, 12345), stream=stream)


def data(stream: int, body: bytes) -> bytes:
    """A record with bytes of a stream."""
    return wire.record(wire.DATA, stream, body)


def end(stream: int) -> bytes:
    """The last record of a direction."""
    return wire.record(wire.END, stream)


def test_streams_one_after_the_other(mesh: Mesh, family: Family) -> None:
    """As a relay sends them; IDLE comes when the exit is through."""
    with serving(mesh.s, family, echo) as at, dial(mesh, family) as sock:
        for stream in (1, 2, 3):
            sock.sendall(opening(family, at, stream) + data(stream, b"hel") + data(stream, b"lo"))
            assert wire.receive_data(sock, stream, 5) == b"hello"
            sock.sendall(end(stream))
            assert wire.receive_record(sock) == (wire.END, stream, b"")
            assert wire.receive_record(sock) == (wire.IDLE, stream, b"")
        assert len(at.peers) == 3


def test_records_byte_by_byte(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, dial(mesh, family) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for stream in (1, 2):
            records = opening(family, at, stream) + data(stream, b"hello") + end(stream)
            for place in range(len(records)):
                sock.sendall(records[place : place + 1])
            assert wire.receive_data(sock, stream, 5) == b"hello"
            assert wire.receive_record(sock) == (wire.END, stream, b"")
            assert wire.receive_record(sock) == (wire.IDLE, stream, b"")


def test_stream_that_goes_on_without_records(mesh: Mesh, family: Family) -> None:
    """The other direction follows, and the leg ends by FIN."""
    with serving(mesh.s, family, echo) as at, dial(mesh, family) as sock:
        sock.sendall(opening(family, at, 1) + data(1, b"hello"))
        assert wire.receive_data(sock, 1, 5) == b"hello"
        sock.sendall(wire.record(wire.RAW, 1) + b"without")
        assert wire.receive_record(sock) == (wire.RAW, 1, b"")
        assert wire.receive_exactly(sock, 7) == b"without"
        sock.shutdown(socket.SHUT_WR)
        receive_end(sock)


def test_long_answer_goes_on_without_records(mesh: Mesh, family: Family) -> None:
    """Behind so many bytes, and each one arrives."""
    answer = Payload(300_000)
    with serving(mesh.s, family, partial(send, payload=answer)) as at, dial(mesh, family) as sock:
        sock.sendall(opening(family, at, 1))
        records = b""
        while True:
            kind, stream, body = wire.receive_record(sock)
            assert stream == 1
            if kind == wire.RAW:
                break
            assert kind == wire.DATA
            records += body
        assert wire.RECORDS_MAX <= len(records) < 2 * wire.RECORDS_MAX
        rest = wire.receive_exactly(sock, answer.size - len(records))
        whole = b"".join(answer.piece(at, CHUNK) for at in range(0, answer.size, CHUNK))
        assert records + rest == whole
        receive_end(sock)


@pytest.mark.parametrize("offer", [None, 0, wire.PLAIN, wire.RECORDS, 3, 255])
def test_the_acceptor_chooses_the_version(mesh: Mesh, family: Family, offer: int | None) -> None:
    """The highest that both speak, in the handshake and in each use of its ticket."""
    hello = wire.hello(offer=offer)
    with serving(mesh.s, family, echo) as at:
        with connect(mesh.rc, family, family.rs, RELAY_PORT) as sock:
            challenge = wire.challenged(sock, hello)
            version = wire.version_of(challenge)
            assert version == (wire.RECORDS if (offer or 0) >= wire.RECORDS else wire.PLAIN)
            sock.sendall(wire.proof(hello, challenge))
            assert_carries(sock, family, at, version)
        ticket = challenge[-wire.TICKET_BYTES :]
        for use, chosen in enumerate((wire.PLAIN, wire.RECORDS), start=1):
            with connect(mesh.rc, family, family.rs, RELAY_PORT) as sock:
                record = wire.resume(ticket, use, version=chosen)
                sock.sendall(record)
                confirmed = wire.receive_exactly(sock, wire.CONFIRM_BYTES)
                assert confirmed == wire.confirmation(record)
                assert_carries(sock, family, at, chosen)


def assert_carries(sock: socket.socket, family: Family, at: Server, version: int) -> None:
    """The connection carries a stream of this version."""
    stream = 1 if version == wire.RECORDS else 0
    hello = data(stream, b"hello") if stream else b"hello"
    sock.sendall(opening(family, at, stream) + hello)
    if stream:
        assert wire.receive_data(sock, stream, 5) == b"hello"
    else:
        assert wire.receive_exactly(sock, 5) == b"hello"


def test_version_of_a_resume_is_part_of_its_proof(mesh: Mesh, family: Family) -> None:
    """Nobody on the way can change it."""
    with connect(mesh.rc, family, family.rs, RELAY_PORT) as sock:
        ticket = wire.prove(sock, offer=wire.RECORDS)
    record = bytearray(wire.resume(ticket, 1, version=wire.RECORDS))
    record[2] = wire.PLAIN
    with connect(mesh.rc, family, family.rs, RELAY_PORT) as sock:
        sock.sendall(record)
        assert is_reset(sock)


# What a peer may send in its first stream, behind OPEN and one record with bytes.
WRONG: dict[str, bytes] = {
    "bytes without a record": FOREIGN * 4,
    "another stream": data(2, FOREIGN),
    "stream 0": data(0, FOREIGN),
    "stream 257": data(257, FOREIGN),
    "end of another stream": end(2),
    "raw of another stream": wire.record(wire.RAW, 2) + FOREIGN,
    "version 1": wire.record(wire.DATA, 1, FOREIGN, version=1),
    "version 3": wire.record(wire.DATA, 1, FOREIGN, version=3),
    "an empty record": data(1, b"") + data(1, FOREIGN),
    "length 0": wire.head(wire.DATA, 0, key=1, version=2) + FOREIGN,
    "length 7": wire.head(wire.DATA, 7, key=1, version=2) + FOREIGN,
    "one byte too many": data(1, bytes(wire.DATA_MAX + 1)),
    "length 65535": wire.head(wire.DATA, 65535, key=1, version=2) + FOREIGN,
    "an end with bytes": wire.record(wire.END, 1, FOREIGN),
    "raw with bytes": wire.record(wire.RAW, 1, FOREIGN),
    "idle in the stream": wire.record(wire.IDLE, 1),
    "hello in the stream": wire.hello(),
    "record 0": wire.record(0, 1, FOREIGN),
    "record 11": wire.record(11, 1, FOREIGN),
    "record 255": wire.record(255, 1, FOREIGN),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_wrong_record_from_an_initiator(mesh: Mesh, family: Family, wrong: bytes) -> None:
    """The leg ends, and the target gets what came before, and no byte more."""
    rejected = mesh.rs.stat("records_rejected_total")
    got: list[bytes] = []
    seen = threading.Event()

    def server(sock: socket.socket) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := sock.recv(100):
                got.append(data)
        seen.set()

    with serving(mesh.s, family, server) as at, dial(mesh, family) as sock:
        sock.sendall(opening(family, at, 1) + data(1, b"hello") + wrong)
        assert is_reset(sock)
        assert seen.wait(20), "the target is not told"
    assert b"".join(got) == b"hello"
    assert mesh.rs.stat("records_rejected_total") == rejected + 1
    mesh.wait_idle()


@pytest.mark.parametrize("stream", [0, 2, 3, 65535])
def test_open_with_a_wrong_number(mesh: Mesh, family: Family, stream: int) -> None:
    """The first stream is 1, and no number comes twice or is left out."""
    rejected = mesh.rs.stat("open_rejected_total")
    with serving(mesh.s, family, echo) as at:
        with dial(mesh, family) as sock:
            sock.sendall(opening(family, at, stream))
            assert is_reset(sock)
        with dial(mesh, family) as sock:
            sock.sendall(opening(family, at, 1) + end(1))
            assert wire.receive_record(sock) == (wire.END, 1, b"")
            assert wire.receive_record(sock) == (wire.IDLE, 1, b"")
            wrong = 1 if stream == 2 else stream
            sock.sendall(opening(family, at, wrong))
            assert is_reset(sock)
    assert mesh.rs.stat("open_rejected_total") == rejected + 2


EARLY: dict[str, Callable[[Family, Server], bytes]] = {
    "the next stream": lambda family, at: opening(family, at, 2) + data(2, FOREIGN),
    "more bytes": lambda _family, _at: data(1, FOREIGN),
    "a second end": lambda _family, _at: end(1),
    "idle": lambda _family, _at: wire.record(wire.IDLE, 1),
}


@pytest.mark.parametrize("early", EARLY.values(), ids=EARLY.keys())
def test_bytes_before_the_leg_is_given_back(
    mesh: Mesh, family: Family, early: Callable[[Family, Server], bytes]
) -> None:
    """They are nobody's: no target gets any of them, and the leg is not used again."""
    rejected = mesh.rs.stat("records_rejected_total")
    got: list[bytes] = []

    def server(sock: socket.socket) -> None:
        while data := sock.recv(100):
            got.append(data)

    with serving(mesh.s, family, server) as at, dial(mesh, family) as sock:
        sock.sendall(opening(family, at, 1) + data(1, b"hello") + end(1) + early(family, at))
        assert wire.receive_record(sock) == (wire.END, 1, b"")
        with pytest.raises((EOFError, ConnectionResetError)):
            wire.receive_record(sock)
        at.join()
        assert b"".join(got) == b"hello"
        assert len(at.peers) == 1
    mesh.wait_idle()
    assert mesh.rs.stat("records_rejected_total") == rejected + 1


@pytest.mark.parametrize("cut", [0, 1, 7, 8, 12], ids=lambda cut: f"{cut} bytes of a record")
def test_fin_within_a_stream(mesh: Mesh, family: Family, cut: int) -> None:
    """Only END ends a stream in records; a connection that ends before has broken."""
    got: list[bytes] = []
    broken = threading.Event()

    def server(sock: socket.socket) -> None:
        try:
            while data := sock.recv(100):
                got.append(data)
        except ConnectionResetError:
            broken.set()

    with serving(mesh.s, family, server) as at, dial(mesh, family) as sock:
        sock.sendall(opening(family, at, 1) + data(1, b"hello") + data(1, b"world")[:cut])
        sock.shutdown(socket.SHUT_WR)
        assert broken.wait(20), "the target takes it for the end"
    assert b"".join(got) == b"hello" + b"world"[: max(cut - wire.HEAD.size, 0)]


def play_back(sock: socket.socket, stream: int) -> None:
    """Send back what comes, to the end, and give the leg back."""
    if not stream:
        echo(sock)
        return
    while True:
        kind, number, body = wire.receive_record(sock)
        assert number == stream
        if kind == wire.END:
            break
        sock.sendall(data(stream, body))
    sock.sendall(end(stream) + wire.record(wire.IDLE, stream))


def use(mesh: Mesh, family: Family) -> None:
    """A short stream."""
    with connect(mesh.c, family, family.server, TARGET_PORT) as sock:
        send(sock, Payload(1000))
        receive(sock, Payload(1000))
        sock.shutdown(socket.SHUT_WR)
        receive_end(sock)


def ready(mesh: Mesh, family: Family) -> bool:
    """True when the pool's leg waits."""
    return pool(mesh, family)["ready"] == 1


@pytest.mark.parametrize("version", [wire.PLAIN, wire.RECORDS])
def test_acceptor_of_either_version(mesh: Mesh, family: Family, version: int) -> None:
    """One of version 1 gets a connection for each stream, and nothing that it does not know."""
    failures = mesh.rc.stat("handshake_failures_total")
    with accepting(mesh, family, version, play_back) as acceptor:
        for _ in range(4):
            use(mesh, family)
            until(partial(ready, mesh, family), "no leg is ready")
    assert acceptor.streams == ([4] if version == wire.RECORDS else [1, 1, 1, 1])
    assert mesh.rc.stat("handshake_failures_total") == failures


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_wrong_record_from_an_acceptor(mesh: Mesh, family: Family, wrong: bytes) -> None:
    """The client gets what came before, then a reset."""

    def answer(sock: socket.socket, stream: int) -> None:
        assert wire.receive_data(sock, stream, 1) == b"?"
        sock.sendall(data(1, b"hello") + wrong)
        sock.settimeout(20)
        while sock.recv(CHUNK):
            pass

    rejected = mesh.rc.stat("records_rejected_total")
    with (
        accepting(mesh, family, wire.RECORDS, answer),
        connect(mesh.c, family, family.server, TARGET_PORT) as sock,
    ):
        sock.sendall(b"?")
        assert wire.receive_exactly(sock, 5) == b"hello"
        assert is_reset(sock)
    assert mesh.rc.stat("records_rejected_total") == rejected + 1


LEAVINGS: dict[str, bytes] = {
    "bytes": FOREIGN,
    "bytes of the stream": data(1, FOREIGN),
    "bytes of the next stream": data(2, FOREIGN),
    "idle of the next stream": wire.record(wire.IDLE, 2),
    "idle with bytes": wire.record(wire.IDLE, 1, FOREIGN),
    "bytes behind idle": wire.record(wire.IDLE, 1) + data(2, FOREIGN),
    "half a record, then FIN": wire.record(wire.IDLE, 1)[:4],
}


@pytest.mark.parametrize("left", LEAVINGS)
def test_leg_that_is_not_given_back(mesh: Mesh, family: Family, left: str) -> None:
    """It is not used again, and the next client gets no byte of it."""

    def answer(sock: socket.socket, stream: int) -> None:
        sock.sendall(data(stream, wire.receive_data(sock, stream, 1000)))
        assert wire.receive_record(sock) == (wire.END, stream, b"")
        sock.sendall(end(stream) + LEAVINGS[left])
        if left.endswith("FIN"):
            sock.shutdown(socket.SHUT_WR)

    with accepting(mesh, family, wire.RECORDS, answer) as acceptor:
        for _ in range(2):
            use(mesh, family)
            until(partial(ready, mesh, family), "no leg is ready")
        # Before the relay is gone, and with it the legs.
        assert acceptor.streams == [1, 1]
