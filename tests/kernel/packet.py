# SPDX-License-Identifier: GPL-2.0-only
"""TCP packets made by hand, for what no socket would send."""

import ipaddress
import socket
import struct
from dataclasses import dataclass

from tests.kernel.namespace import Namespace

FIN, SYN, RST, PSH, ACK = 0x01, 0x02, 0x04, 0x08, 0x10


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A TCP segment between two addresses of one family, without payload."""

    source: str
    source_port: int
    target: str
    target_port: int
    flags: int = SYN
    sequence: int = 1000

    def packet(self) -> bytes:
        """The IP packet (RFC 791, RFC 8200) with the segment (RFC 9293)."""
        source = ipaddress.ip_address(self.source)
        target = ipaddress.ip_address(self.target)
        tcp = self._tcp(source.packed + target.packed)
        if source.version == 4:
            return self._ipv4(len(tcp)) + source.packed + target.packed + tcp
        head = struct.pack("!IHBB", 6 << 28, len(tcp), socket.IPPROTO_TCP, 64)
        return head + source.packed + target.packed + tcp

    @staticmethod
    def _ipv4(length: int) -> bytes:
        # The kernel fills in the checksum, and the identification where it is 0.
        return struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_TCP, 0)

    def _tcp(self, addresses: bytes) -> bytes:
        ports = struct.pack("!HH", self.source_port, self.target_port)
        rest = struct.pack("!IIBBH", self.sequence, 0, 5 << 4, self.flags, 65535)
        pseudo = addresses + struct.pack("!II", 20, socket.IPPROTO_TCP)
        total = checksum(pseudo + ports + rest + bytes(4))
        return ports + rest + struct.pack("!HH", total, 0)


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def send(host: Namespace, *segments: Segment) -> None:
    """Send them from `host`, whose own addresses they need not have."""
    version = ipaddress.ip_address(segments[0].target).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with host.raw_socket(family) as sock:
        for segment in segments:
            # An IPv6 address tuple must not name a port: it is no raw socket's affair.
            sock.sendto(segment.packet(), (segment.target, 0))
