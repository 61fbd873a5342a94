# SPDX-License-Identifier: GPL-2.0-only
"""The relays' wire protocol, spoken by a test: docs/wire.md in a few lines."""

import hashlib
import hmac
import ipaddress
import os
import socket
import struct

from tests.kernel.mesh import KEY

MAGIC = 0x4B54
VERSION = 1
HELLO, CHALLENGE, PROOF, OPEN, RESUME, CONFIRM = range(1, 7)
HEAD = struct.Struct("!HBBHH")
NONCE_BYTES = MAC_BYTES = 32
TICKET_BYTES = USE_BYTES = 8
HELLO_BYTES = HEAD.size + NONCE_BYTES
CHALLENGE_BYTES = HEAD.size + NONCE_BYTES + TICKET_BYTES + MAC_BYTES
PROOF_BYTES = HEAD.size + MAC_BYTES
RESUME_BYTES = HEAD.size + TICKET_BYTES + USE_BYTES + MAC_BYTES
CONFIRM_BYTES = HEAD.size + MAC_BYTES


def head(
    kind: int, length: int, *, key: int = 0, version: int = VERSION, magic: int = MAGIC
) -> bytes:
    """What stands before each record; `length` counts it."""
    return HEAD.pack(magic, version, kind, length, key)


def hello(*, key: int = 1, version: int = VERSION, magic: int = MAGIC) -> bytes:
    """A first record with a fresh nonce."""
    return head(HELLO, HELLO_BYTES, key=key, version=version, magic=magic) + os.urandom(NONCE_BYTES)


def mac(role: str, transcript: bytes, secret: str = KEY) -> bytes:
    """What proves that one of the two ends knows the key."""
    whole = role.encode().ljust(16, b"\0") + transcript
    return hmac.new(bytes.fromhex(secret), whole, hashlib.sha256).digest()


def receive_exactly(sock: socket.socket, count: int) -> bytes:
    """As many bytes.

    Raises:
        EOFError: The other side closed before that.
    """
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            raise EOFError(f"closed after {len(data)} of {count} bytes")
        data += more
    return data


def challenged(sock: socket.socket, hello_record: bytes, *, unsent: int | None = None) -> bytes:
    """Send a hello; the challenge that comes back, without its MAC, which is checked.

    Args:
        sock: A connection to a relay port.
        hello_record: The record.
        unsent: Bytes of its end that are still to be sent, all by default.
    """
    sock.sendall(hello_record[-(unsent or len(hello_record)) :])
    record = receive_exactly(sock, CHALLENGE_BYTES)
    challenge, theirs = record[:-MAC_BYTES], record[-MAC_BYTES:]
    assert theirs == mac("acceptor", hello_record + challenge)
    return challenge


def challenge(hello_record: bytes, ticket: bytes) -> bytes:
    """What a relay answers to a hello."""
    key = HEAD.unpack(hello_record[: HEAD.size])[4]
    record = head(CHALLENGE, CHALLENGE_BYTES, key=key) + os.urandom(NONCE_BYTES) + ticket
    return record + mac("acceptor", hello_record + record)


def proof(hello_record: bytes, challenge: bytes, *, secret: str = KEY, key: int = 1) -> bytes:
    """The third record."""
    return head(PROOF, PROOF_BYTES, key=key) + mac("initiator", hello_record + challenge, secret)


def prove(sock: socket.socket) -> bytes:
    """The whole handshake of the side that connects; the ticket that it earns."""
    record = hello()
    challenge = challenged(sock, record)
    sock.sendall(proof(record, challenge))
    return challenge[-TICKET_BYTES:]


def resume(ticket: bytes, use: int, *, key: int = 1, secret: str = KEY) -> bytes:
    """The one record of a connection that uses a ticket."""
    quoted = head(RESUME, RESUME_BYTES, key=key) + ticket + struct.pack("!Q", use)
    return quoted + mac("resume", quoted, secret)


def confirmation(resume_record: bytes) -> bytes:
    """What the relay answers to it."""
    quoted = resume_record[:-MAC_BYTES]
    key = HEAD.unpack(quoted[: HEAD.size])[4]
    return head(CONFIRM, CONFIRM_BYTES, key=key) + mac("confirm", quoted)


def address(text: str, port: int) -> bytes:
    """An address of either family."""
    ip = ipaddress.ip_address(text)
    return struct.pack("!BBH16s", ip.version, 0, port, ip.packed)


def open_record(
    target: bytes, source: bytes, hops: tuple[bytes, ...] = (), *, flags: int = 0
) -> bytes:
    """OPEN with addresses as made by address()."""
    body = struct.pack("!BBH", flags, len(hops), 0) + target + source + b"".join(hops)
    return head(OPEN, HEAD.size + len(body)) + body
