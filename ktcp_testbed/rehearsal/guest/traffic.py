# SPDX-License-Identifier: GPL-2.0-only
"""Clients and targets: short fetches, and downloads that run as long as the rehearsal does.

A client asks for ``GET BYTES`` or ``STREAM NAME``. Every byte of an answer is known.
"""

import contextlib
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from ktcp_testbed.rehearsal.guest.namespace import Namespace

# No power of two and no multiple of a segment, so that lost, doubled or reordered bytes never match
# by chance.
PERIOD = 65_521
PATTERN = random.Random(20180409).randbytes(PERIOD) * 2
PROXY = b"\r\n\r\n\0\r\nQUIT\n"
PROXY_HEAD = 16

FETCH_BYTES = 4096
PIECE = 2048
PAUSE_S = 0.2
# A SYN that is lost is sent again after 1, 3, 7 and 15 seconds.
PATIENCE_S = 20.0


def piece(offset: int, length: int) -> bytes:
    """Some bytes of the pattern from ``offset`` on."""
    start = offset % PERIOD
    return PATTERN[start : start + min(length, PERIOD)]


def family_of(address: str) -> socket.AddressFamily:
    """The family of an address."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def exactly(sock: socket.socket, count: int) -> bytes:
    """Read so many bytes.

    Raises:
        ConnectionError: The stream ended before.
    """
    got = b""
    while len(got) < count:
        more = sock.recv(count - len(got))
        if not more:
            raise ConnectionError(f"ended after {len(got)} of {count} bytes")
        got += more
    return got


def request(sock: socket.socket) -> tuple[str, str]:
    """Read a client's request, behind the header of the PROXY protocol if there is one.

    Returns:
        GET or STREAM, and the rest of the line.
    """
    first = exactly(sock, 4)
    if first == PROXY[:4]:
        head = first + exactly(sock, PROXY_HEAD - 4)
        exactly(sock, int.from_bytes(head[14:16], "big"))
        first = b""
    while not first.endswith(b"\n"):
        first += exactly(sock, 1)
    kind, _, what = first.decode().removesuffix("\n").partition(" ")
    return kind, what


class Server:
    """A target: a listening socket with a thread for each connection."""

    def __init__(self, host: Namespace, address: str, port: int) -> None:
        self.sent: dict[str, int] = {}
        """Stream -> how many bytes of it were sent, once it has ended."""
        self._socket = host.socket(family_of(address))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, port))
        self._socket.listen(64)
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Stop listening."""
        # shutdown() wakes accept(), which close() alone does not.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        # A client that is gone has noticed that itself.
        with contextlib.suppress(OSError, ValueError), connection:
            connection.settimeout(PATIENCE_S)
            kind, what = request(connection)
            if kind == "GET":
                connection.sendall(piece(0, int(what)))
                connection.recv(1)
            else:
                self._stream(connection, what)

    def _stream(self, connection: socket.socket, name: str) -> None:
        sent = 0
        connection.settimeout(PAUSE_S)
        while True:
            try:
                if not connection.recv(1):
                    break
            except TimeoutError:
                pass
            connection.settimeout(PATIENCE_S)
            connection.sendall(piece(sent, PIECE))
            connection.settimeout(PAUSE_S)
            sent += PIECE
        self.sent[name] = sent


@dataclass(frozen=True)
class Flow:
    """Who connects to what, and the relay that may split it."""

    name: str
    client: Namespace
    source: str
    address: str
    port: int
    ingress: Namespace

    @classmethod
    def of(cls, check: dict[str, Any]) -> "Flow":
        """The flow of a check."""
        return cls(
            check["name"],
            Namespace(check["client"]),
            check["source"],
            check["address"],
            check["port"],
            Namespace(check["ingress"]),
        )

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """A connection."""
        with self.client.socket(family_of(self.address)) as sock:
            sock.settimeout(PATIENCE_S)
            sock.bind((self.source, 0))
            sock.connect((self.address, self.port))
            yield sock

    def is_split(self, sock: socket.socket) -> bool:
        """Whether the ingress has split this connection of ours."""
        host, port = sock.getsockname()[:2]
        own = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return any(
            line.startswith(f"{own} ->") for line in self.ingress.read("splits").splitlines()
        )

    def fetch(self) -> dict[str, Any]:
        """Make a short download: whether it was served and split, and when its first byte came."""
        begun = time.monotonic()
        try:
            with self.connected() as sock:
                sock.sendall(f"GET {FETCH_BYTES}\n".encode())
                got = exactly(sock, 1)
                first = time.monotonic() - begun
                got += exactly(sock, FETCH_BYTES - 1)
                split = self.is_split(sock)
        except OSError as error:
            return {"served": False, "split": False, "error": reason(error)}
        if got != piece(0, FETCH_BYTES):
            return {"served": False, "split": split, "error": "wrong bytes"}
        return {"served": True, "split": split, "first_byte_ms": round(first * 1000, 1)}


def reason(error: OSError) -> str:
    """Say why a connection has failed."""
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE_S:g} s"
    return error.strerror or str(error)


@dataclass
class Download:
    """A download that goes on until it is told to end."""

    flow: Flow
    bytes: int = 0
    error: str = ""
    split: bool = False
    _socket: socket.socket | None = None
    _ended: threading.Event = field(default_factory=threading.Event)
    _begun: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin, and wait until bytes come."""
        threading.Thread(target=self._run, daemon=True).start()
        self._begun.wait(PATIENCE_S)

    def _run(self) -> None:
        try:
            with self.flow.connected() as sock:
                self._socket = sock
                sock.sendall(f"STREAM {self.flow.name}\n".encode())
                while got := sock.recv(PERIOD):
                    if got != piece(self.bytes, len(got)):
                        raise ConnectionError(f"wrong bytes after {self.bytes}")
                    self.bytes += len(got)
                    if not self._begun.is_set():
                        self.split = self.flow.is_split(sock)
                        self._begun.set()
        except OSError as error:
            self.error = reason(error)
        self._begun.set()
        self._ended.set()

    def watch(self) -> None:
        """Wait until more bytes have come, or none ever will."""
        seen, deadline = self.bytes, time.monotonic() + PATIENCE_S
        while self.bytes == seen and not self._ended.is_set():
            if time.monotonic() > deadline:
                self.error = f"no byte for {PATIENCE_S:g} s"
                return
            time.sleep(PAUSE_S)
        if self._ended.is_set():
            self.error = self.error or f"ended after {self.bytes} bytes"

    def finish(self, server: Server) -> None:
        """End it, and compare what has come with what was sent."""
        if self.error or self._socket is None:
            return
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        if not self._ended.wait(2 * PATIENCE_S):
            self.error = "it does not end"
        sent = server.sent.get(self.flow.name)
        if not self.error and self.bytes != sent:
            self.error = f"{self.bytes} of {sent} bytes arrived"
