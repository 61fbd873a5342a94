# SPDX-License-Identifier: GPL-2.0-only
"""Mutated records and procfs lines are refused, or do what they say, and no other harm.

KTCP_TEST_FUZZ is the number of inputs of each test; the seed is fixed, so that a fault
that was found is found again.
"""

import contextlib
import random
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest

from tests.kernel import wire
from tests.kernel.acceptor import TARGET_PORT, accepting
from tests.kernel.mesh import KEY, RELAY_PORT, Mesh
from tests.kernel.namespace import RefusedError
from tests.kernel.topology import V4, Topology
from tests.kernel.traffic import Payload, connect, discard, echo, receive, reset, send, serving
from tests.kernel.wait import INPUTS

SEED = 20180409
# Connections that are open at the same time.
BATCH = 40

TARGET, SOURCE = wire.address("10.99.3.2", 80), wire.address("10.99.1.2", 1)
HOPS = tuple(wire.address(f"10.99.4.{n + 1}", RELAY_PORT) for n in range(8))
OPENS = (
    wire.open_record(TARGET, SOURCE),
    wire.open_record(wire.address("fd99:0:0:3::2", 80), wire.address("fd99:0:0:1::2", 1)),
    wire.open_record(TARGET, SOURCE, HOPS[:1]),
    wire.open_record(TARGET, SOURCE, HOPS),
    wire.open_record(TARGET, SOURCE) + b"GET / HTTP/1.0\r\n\r\n",
)
LINES = {
    "settings": ("early_syn off", "turbo on", "buffer_bytes 16384", "max_splits 10000"),
    "peers": ("add 10.99.2.9:5565 low 0 high 0 key 1", "set 10.99.2.2:5565 key 1", "del [::1]:5"),
    "routes": (
        "add mark 0x7 via 10.99.2.2:5565,[fd99::1]:5565 target 10.99.3.2:80 proxy transparent",
        "del mark 7",
    ),
    "exits": ("allow 10.99.3.0/24 port 1-79", "deny fd99:0:0:3::/64", "del allow 10.99.3.0/24"),
    "keys": (f"add 2 {KEY}", "del 2"),
    "drain": ("on", "off"),
}
INTERESTING = (0, 1, 0x20, 0x0A, 0x30, 0x39, 0x7F, 0x80, 0xFE, 0xFF)


def mutated(chance: random.Random, data: bytes) -> bytes:
    """`data` with one to four random faults."""
    room = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(room) + 1)
        end = min(len(room), place + chance.randint(1, 8))
        match chance.randrange(6):
            case 0 if place < len(room):
                room[place] ^= 1 << chance.randrange(8)
            case 1 if place < len(room):
                room[place] = chance.choice(INTERESTING)
            case 2:
                room[place:place] = chance.randbytes(chance.randint(1, 8))
            case 3:
                del room[place:end]
            case 4:
                room[place:place] = room[place:end] * chance.randint(1, 40)
            case _:
                del room[place:]
    return bytes(room)


def inputs(chance: random.Random, corpus: Sequence[bytes]) -> Iterator[list[bytes]]:
    """All inputs of a test, a batch at a time."""
    for start in range(0, INPUTS, BATCH):
        count = min(BATCH, INPUTS - start)
        yield [mutated(chance, chance.choice(corpus)) for _ in range(count)]


def throw(mesh: Mesh, batch: Sequence[bytes], *, answer: int = 0) -> None:
    """Send each input on a connection of its own to rs's relay port, and end it somehow.

    Args:
        mesh: rs is one of its relays.
        batch: The inputs.
        answer: Bytes to receive first; after an early reset rs might not read the rest.
    """
    with ExitStack() as stack:
        socks = []
        for number, data in enumerate(batch):
            sock = stack.enter_context(connect(mesh.rc, V4, V4.rs, RELAY_PORT, bound=60))
            socks.append(sock)
            # All at once: rs waits for nobody for long.
            with contextlib.suppress(OSError):
                sock.sendall(data)
                if number % 2:
                    sock.shutdown(socket.SHUT_WR)
        for number, sock in enumerate(socks):
            with contextlib.suppress(OSError, EOFError):
                wire.receive_exactly(sock, answer)
            if number % 3:
                reset(sock)


def assert_works(mesh: Mesh) -> None:
    """The relays serve as before, and nothing is left of the inputs."""
    mesh.wait_idle(bound=60)
    with serving(mesh.s, V4, echo) as at, connect(mesh.c, V4, at.address, at.port) as sock:
        send(sock, Payload(1000))
        receive(sock, Payload(1000))
        assert at.peers == [V4.rs_inside]


@pytest.fixture
def impatient(mesh: Mesh) -> Mesh:
    """A mesh with short time-outs, since most records announce more than follows."""
    for relay in mesh.relays:
        relay.write("settings", "handshake_timeout_ms 1000", "connect_timeout_ms 200")
    return mesh


def test_mutated_handshakes(impatient: Mesh) -> None:
    corpus = [
        wire.hello(),
        wire.hello(key=7),
        wire.resume(bytes(wire.TICKET_BYTES), 1),
        wire.hello() + wire.head(wire.PROOF, wire.PROOF_BYTES, key=1) + bytes(wire.MAC_BYTES),
    ]
    for batch in inputs(random.Random(SEED), corpus):
        throw(impatient, batch)
    assert_works(impatient)


def test_mutated_opens(impatient: Mesh) -> None:
    """Sent with the key, as by a peer that was taken over or is faulty."""
    before = heard(impatient)
    with connect(impatient.rc, V4, V4.rs, RELAY_PORT) as sock:
        ticket = wire.prove(sock)
        use = 0
        for batch in inputs(random.Random(SEED + 1), OPENS):
            proved = [wire.resume(ticket, use + n) + record for n, record in enumerate(batch, 1)]
            use += len(batch)
            throw(impatient, proved, answer=wire.CONFIRM_BYTES)
    # The other inputs are too short to be an OPEN.
    assert heard(impatient) - before > INPUTS / 2
    assert_works(impatient)


# Two streams of a leg: what is behind IDLE comes too early, and has to be refused.
RECORDS = (
    wire.record(wire.DATA, 1, b"GET / HTTP/1.0\r\n\r\n") + wire.record(wire.END, 1),
    wire.record(wire.DATA, 1, b"?") * 8 + wire.record(wire.RAW, 1) + b"without records",
    wire.record(wire.END, 1)
    + wire.open_record(TARGET, SOURCE, stream=2)
    + wire.record(wire.DATA, 2, b"of another stream"),
    wire.record(wire.DATA, 1, bytes(wire.DATA_MAX)) * 5 + wire.record(wire.END, 1),
)


def test_mutated_records(impatient: Mesh) -> None:
    """Streams of others go on beside them, each with its own bytes."""
    with (
        serving(impatient.s, V4, echo) as at,
        serving(impatient.s, V4, discard) as sink,
        connect(impatient.c, V4, at.address, at.port) as long,
        connect(impatient.rc, V4, V4.rs, RELAY_PORT) as sock,
    ):
        ticket = wire.prove(sock, offer=wire.RECORDS)
        target = wire.address(sink.address, sink.port)
        begin = wire.open_record(target, SOURCE, stream=1)
        use = 0
        for batch in inputs(random.Random(SEED + 2), RECORDS):
            proved = [
                wire.resume(ticket, use + n, version=wire.RECORDS) + begin + records
                for n, records in enumerate(batch, 1)
            ]
            use += len(batch)
            throw(impatient, proved, answer=wire.CONFIRM_BYTES)
            stream = Payload(1000, seed=use)
            send(long, stream)
            receive(long, stream)
            with connect(impatient.c, V4, at.address, at.port) as short:
                send(short, stream)
                receive(short, stream)
    assert impatient.rs.stat("records_rejected_total") > INPUTS / 10
    assert_works(impatient)


def test_mutated_answers(impatient: Mesh) -> None:
    """From a relay that was taken over or is faulty: clients lose their streams, no more."""
    chance = random.Random(SEED + 3)
    answers = (*RECORDS, wire.record(wire.END, 1) + wire.record(wire.IDLE, 1), wire.hello())
    batches = inputs(chance, [wire.record(wire.DATA, 1, b"!") + one for one in answers])
    waiting = [data for batch in batches for data in batch]

    def answer(sock: socket.socket, stream: int) -> None:
        del stream
        sock.sendall(waiting.pop())
        sock.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while sock.recv(65536):
                pass
        # What the client still sends is not the OPEN of a next stream.
        sock.shutdown(socket.SHUT_RDWR)
        raise EOFError

    with accepting(impatient, V4, wire.RECORDS, answer):
        while len(waiting) > BATCH:
            with ExitStack() as stack:
                socks = []
                for _ in range(BATCH // 2):
                    # Some are reset at once: the answer comes before the client is connected.
                    with contextlib.suppress(ConnectionError):
                        sock = connect(impatient.c, V4, V4.server, TARGET_PORT)
                        socks.append(stack.enter_context(sock))
                for number, sock in enumerate(socks):
                    sock.settimeout(1)
                    with contextlib.suppress(OSError):
                        sock.sendall(b"?")
                        if number % 2:
                            sock.shutdown(socket.SHUT_WR)
                        while sock.recv(65536):
                            pass
        impatient.wait_idle(bound=60)
    assert_works(impatient)


def heard(mesh: Mesh) -> int:
    """How many complete OPENs rs has read, whether it took or refused them."""
    return mesh.rs.stat("open_rejected_total") + mesh.rs.stat("splits_opened_total")


@pytest.mark.parametrize("file", LINES)
def test_mutated_lines(relay: Topology, file: str) -> None:
    """A refused line changes nothing; an accepted one can be read, and written back."""
    chance = random.Random(f"{SEED} {file}")
    corpus = [line.encode() for line in LINES[file]]
    for batch in inputs(chance, corpus):
        for data in batch:
            # last_error is one line of ASCII, whatever was written.
            with contextlib.suppress(RefusedError):
                relay.rc.write_bytes(file, data + b"\n")
        if file != "keys":
            state = relay.rc.read(file)
            assert state.replace("\n", "").isprintable()
