# SPDX-License-Identifier: GPL-2.0-only
"""Servers and clients that know every byte that they should receive."""

import contextlib
import fcntl
import random
import select
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family

CHUNK = 256 << 10
# No power of two and no multiple of a segment, so that lost, doubled or reordered bytes never match
# by chance.
PERIOD = 1_048_573
_BLOCK = random.Random(20180409).randbytes(PERIOD)
_PATTERN = memoryview(_BLOCK + _BLOCK[:CHUNK])

Handler = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Payload:
    """A stream of `size` bytes, which depends on the seed."""

    size: int
    seed: int = 0

    def piece(self, offset: int, length: int) -> memoryview:
        """Up to CHUNK bytes of the stream from `offset` on."""
        start = (offset + self.seed * 65_537) % PERIOD
        return _PATTERN[start : start + min(length, CHUNK, self.size - offset)]


def send(sock: socket.socket, payload: Payload) -> None:
    """Send all of a stream."""
    offset = 0
    while offset < payload.size:
        piece = payload.piece(offset, CHUNK)
        sock.sendall(piece)
        offset += len(piece)


def receive(sock: socket.socket, payload: Payload) -> None:
    """Receive all of a stream and no byte more.

    Raises:
        AssertionError: A byte differs, or the stream ended early.
    """
    offset = 0
    room = bytearray(CHUNK)
    view = memoryview(room)
    while offset < payload.size:
        got = sock.recv_into(view, min(CHUNK, payload.size - offset))
        assert got, f"ended after {offset} of {payload.size} bytes"
        expected = payload.piece(offset, got)
        assert view[:got] == expected, f"wrong bytes between {offset} and {offset + got}"
        offset += got


def receive_end(sock: socket.socket) -> None:
    """Check that the other side has closed its direction, and sent nothing more before that."""
    assert sock.recv(1) == b"", "bytes where the end ought to be"


def exchange(sock: socket.socket, *, out: Payload, into: Payload) -> None:
    """Send one stream while receiving the other."""
    with in_background(lambda: send(sock, out)):
        receive(sock, into)


def reset(sock: socket.socket) -> None:
    """Close by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextmanager
def in_background(work: Callable[[], None]) -> Iterator[Future[None]]:
    """Run `work` beside the block; wait for both at the end, and fail if either failed."""
    result: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            result.set_exception(error)
        else:
            result.set_result(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield result
    result.result(timeout=120)


@dataclass
class Server:
    """A listening socket with a thread for each connection."""

    namespace: Namespace
    family: Family
    handler: Handler
    address: str
    port: int = 0
    peers: list[str] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._socket = self.namespace.socket(self.family.number)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((self.address, self.port))
        self._socket.listen(1024)
        self._socket.settimeout(None)
        self.port = self._socket.getsockname()[1]
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._socket.accept()
            except OSError:
                return
            connection.settimeout(60)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            # In one step: whoever sees the peer can also join its thread.
            with self._lock:
                self._connections.append(connection)
                self._threads.append(thread)
                self.peers.append(peer[0])
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                self.handler(connection)
        except BaseException as error:  # noqa: BLE001 - raised again by join()
            self.failures.append(error)

    def shrink(self, size: int) -> None:
        """Give later connections receive buffers of about so many bytes."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def join(self) -> None:
        """Wait for the handlers and raise the first of their failures."""
        with self._lock:
            threads = list(self._threads)
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive(), "a handler does not end"
        if self.failures:
            raise self.failures[0]

    def close(self) -> None:
        """Stop listening, and end open connections."""
        # shutdown() wakes accept(), which close() alone does not.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._acceptor.join(10)
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(
    namespace: Namespace,
    family: Family,
    handler: Handler,
    *,
    address: str | None = None,
    port: int = 0,
) -> Iterator[Server]:
    """A server at the topology's server address (or another one); port 0 takes a free port."""
    server = Server(namespace, family, handler, address or family.server, port)
    try:
        yield server
    finally:
        server.close()


def connect(
    namespace: Namespace, family: Family, address: str, port: int, *, bound: float = 30
) -> socket.socket:
    """A connected socket of `namespace`."""
    sock = namespace.socket(family.number)
    sock.settimeout(bound)
    try:
        sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


def echo(sock: socket.socket) -> None:
    """Send back what comes, until the other side has ended."""
    while data := sock.recv(CHUNK):
        sock.sendall(data)


def discard(sock: socket.socket) -> None:
    """Read until the other side has ended."""
    while sock.recv(CHUNK):
        pass


def is_reset(sock: socket.socket, *, bound: float = 20) -> bool:
    """True if the connection ends by RST, False if FIN or bytes come.

    Raises:
        TimeoutError: It does not end within `bound` seconds.
    """
    sock.settimeout(bound)
    try:
        sock.recv(1)
    except ConnectionResetError:
        return True
    return False


def is_told(sock: socket.socket, *, bound: float = 20) -> bool:
    """True when the connection's end has reached its socket, whatever is unread or unsent."""
    poll = select.poll()
    poll.register(sock, 0)
    return bool(poll.poll(bound * 1000))


def unacknowledged(sock: socket.socket) -> int:
    """Bytes that the other end has not acknowledged."""
    [count] = struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))
    return int(count)


def fetch(namespace: Namespace, family: Family, at: Server) -> str:
    """Make a short connection to an echo server. Returns the address that the server saw."""
    with connect(namespace, family, at.address, at.port) as sock:
        send(sock, Payload(1000))
        receive(sock, Payload(1000))
    return at.peers[-1]


def is_refused(
    namespace: Namespace, family: Family, address: str, port: int, *, bound: float = 20
) -> bool:
    """True if a connection is reset, at once or after its handshake."""
    try:
        with connect(namespace, family, address, port, bound=bound) as sock:
            return is_reset(sock, bound=bound)
    except (ConnectionRefusedError, ConnectionResetError):
        return True
