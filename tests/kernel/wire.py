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
# Versions: a connection carries one stream, or one after the other, in records.
PLAIN, RECORDS = 1, 2
HELLO, CHALLENGE, PROOF, OPEN, RESUME, CONFIRM, DATA, END, RAW, IDLE = range(1, 11)
# In the nonce of an initiator that speaks more than PLAIN; the highest version follows.
MARK = b"KTCP v\0"
DATA_MAX = 16 << 10
# After so many bytes of a direction the relays go on without records.
RECORDS_MAX = 64 << 10
HEAD = struct.Struct("!HBBHH")
NONCE_BYTES = MAC_BYTES = 32
TICKET_BYTES = USE_BYTES = 8
HELLO_BYTES = HEAD.size + NONCE_BYTES
CHALLENGE_BYTES = HEAD.size + NONCE_BYTES + TICKET_BYTES + MAC_BYTES
PROOF_BYTES = HEAD.size + MAC_BYTES
RESUME_BYTES = HEAD.size + TICKET_BYTES + USE_BYTES + MAC_BYTES
CONFIRM_BYTES = HEAD.size + MAC_BYTES


def head(
    kind: int, length: int, *, key: int = 0, version: int = PLAIN, magic: int = MAGIC
) -> bytes:
    """What stands before each record; `length` counts it."""
    return HEAD.pack(magic, version, kind, length, key)


def version_of(record: bytes) -> int:
    """The version in the head of a record."""
    return int(HEAD.unpack(record[: HEAD.size])[1])


def hello(
    *, key: int = 1, version: int = PLAIN, magic: int = MAGIC, offer: int | None = None
) -> bytes:
    """A first record with a fresh nonce, which may offer a version."""
    mark = b"" if offer is None else MARK + bytes([offer])
    nonce = os.urandom(NONCE_BYTES - len(mark)) + mark
    return head(HELLO, HELLO_BYTES, key=key, version=version, magic=magic) + nonce


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


def challenge(hello_record: bytes, ticket: bytes, *, version: int = PLAIN) -> bytes:
    """What a relay answers to a hello."""
    key = HEAD.unpack(hello_record[: HEAD.size])[4]
    record = head(CHALLENGE, CHALLENGE_BYTES, key=key, version=version)
    record += os.urandom(NONCE_BYTES) + ticket
    return record + mac("acceptor", hello_record + record)


def proof(hello_record: bytes, challenge: bytes, *, secret: str = KEY, key: int = 1) -> bytes:
    """The third record."""
    record = head(PROOF, PROOF_BYTES, key=key, version=version_of(challenge))
    return record + mac("initiator", hello_record + challenge, secret)


def prove(sock: socket.socket, *, offer: int | None = None) -> bytes:
    """The whole handshake of the side that connects; the ticket that it earns."""
    record = hello(offer=offer)
    challenge = challenged(sock, record)
    sock.sendall(proof(record, challenge))
    return challenge[-TICKET_BYTES:]


def resume(
    ticket: bytes, use: int, *, key: int = 1, secret: str = KEY, version: int = PLAIN
) -> bytes:
    """The one record of a connection that uses a ticket."""
    quoted = head(RESUME, RESUME_BYTES, key=key, version=version) + ticket + struct.pack("!Q", use)
    return quoted + mac("resume", quoted, secret)


def confirmation(resume_record: bytes) -> bytes:
    """What the relay answers to it."""
    quoted = resume_record[:-MAC_BYTES]
    key = HEAD.unpack(quoted[: HEAD.size])[4]
    record = head(CONFIRM, CONFIRM_BYTES, key=key, version=version_of(resume_record))
    return record + mac("confirm", quoted)


def address(text: str, port: int) -> bytes:
    """An address of either family."""
    ip = ipaddress.ip_address(text)
    return struct.pack("!BBH16s", ip.version, 0, port, ip.packed)


def open_record(
    target: bytes, source: bytes, hops: tuple[bytes, ...] = (), *, flags: int = 0, stream: int = 0
) -> bytes:
    """OPEN with addresses as made by address(); with a stream's number, of version RECORDS."""
    body = struct.pack("!BBH", flags, len(hops), 0) + target + source + b"".join(hops)
    version = RECORDS if stream else PLAIN
    return head(OPEN, HEAD.size + len(body), key=stream, version=version) + body


def record(kind: int, stream: int, body: bytes = b"", *, version: int = RECORDS) -> bytes:
    """A record of a stream: DATA with a body, or one that is only a head."""
    return head(kind, HEAD.size + len(body), key=stream, version=version) + body


def receive_record(sock: socket.socket) -> tuple[int, int, bytes]:
    """The next record of a stream: its type, the stream's number, its body.

    Raises:
        EOFError: The other side closed before that.
    """
    magic, version, kind, length, stream = HEAD.unpack(receive_exactly(sock, HEAD.size))
    assert (magic, version) == (MAGIC, RECORDS)
    return kind, stream, receive_exactly(sock, length - HEAD.size)


def receive_data(sock: socket.socket, stream: int, count: int) -> bytes:
    """So many bytes of a stream, out of its records."""
    data = b""
    while len(data) < count:
        kind, number, body = receive_record(sock)
        assert (kind, number) == (DATA, stream)
        data += body
    return data
