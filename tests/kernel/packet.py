# SPDX-License-Identifier: GPL-2.0-only
"""Builds TCP packets that no socket would send."""

import ipaddress
import socket
import struct
from dataclasses import dataclass

from tests.kernel.namespace import Namespace

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A TCP segment between two addresses of one family, without payload.

    The last three fields are faults that the segment may have.
    """

    source: str
    source_port: int
    target: str
    target_port: int
    flags: int = SYN
    sequence: int = 1000
    header_words: int = 5
    missing_bytes: int = 0
    checksum_error: int = 0

    def packet(self) -> bytes:
        """The IP packet (RFC 791, RFC 8200) with the segment (RFC 9293)."""
        return self._packed(self._tcp())

    def fragments(self, first: int) -> list[bytes]:
        """The same in two fragments; the first has `first` bytes, a multiple of 8."""
        tcp = self._tcp()
        begin, rest = Piece(offset=0, more=True), Piece(offset=first, more=False)
        return [self._packed(tcp[:first], begin), self._packed(tcp[first:], rest)]

    def _packed(self, data: bytes, piece: "Piece | None" = None) -> bytes:
        """An IP packet with `data`, which is a whole segment or a piece of one."""
        source = ipaddress.ip_address(self.source)
        target = ipaddress.ip_address(self.target)
        kind = socket.IPPROTO_TCP
        # All pieces of a segment have the same identification, and no other segment has it.
        name = self.source_port if piece else 0
        if source.version == 4:
            # The kernel fills in the checksum, and the identification where it is 0.
            length, place = 20 + len(data), piece.offset >> 3 | piece.more << 13 if piece else 0
            head = struct.pack("!BBHHHBBH", 0x45, 0, length, name, place, 64, kind, 0)
            return head + source.packed + target.packed + data
        if piece:
            data = struct.pack("!BBHI", kind, 0, piece.offset | piece.more, name) + data
            kind = socket.IPPROTO_FRAGMENT
        head = struct.pack("!IHBB", 6 << 28, len(data), kind, 64)
        return head + source.packed + target.packed + data

    def _tcp(self) -> bytes:
        ends = (self.source, self.target)
        pseudo = b"".join(ipaddress.ip_address(end).packed for end in ends)
        pseudo += struct.pack("!II", 20, socket.IPPROTO_TCP)
        ports = struct.pack("!HH", self.source_port, self.target_port)
        rest = struct.pack("!IIBBH", self.sequence, 0, self.header_words << 4, self.flags, 65535)
        total = checksum(pseudo + ports + rest + bytes(4)) ^ self.checksum_error
        whole = ports + rest + struct.pack("!HH", total, 0)
        return whole[: len(whole) - self.missing_bytes]


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A fragment's offset, and whether another fragment follows."""

    offset: int
    more: bool


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(host: Namespace, *segments: Segment) -> None:
    """Send segments from `host`; their source addresses need not be its own."""
    send_packets(host, segments[0].target, *(segment.packet() for segment in segments))


def send_packets(host: Namespace, target: str, *packets: bytes) -> None:
    """Send packets to `target` from `host`."""
    version = ipaddress.ip_address(target).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with host.raw_socket(family) as sock:
        for data in packets:
            # A raw socket has no ports, so an IPv6 address tuple must not name one.
            sock.sendto(data, (target, 0))
