# SPDX-License-Identifier: GPL-2.0-only
"""How long a download takes in theory: without loss, CPU time, or queues that fill.

Only round trips count: those of the handshakes, and those that slow start needs. All times are
seconds; round-trip times are those of one leg of client -- rc -- ... -- rs -- server.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

# nginx's response header, which shares the first segment with the body.
HEADER_BYTES = 240


@dataclass(frozen=True, kw_only=True)
class Legs:
    """The round-trip times of the legs, in seconds."""

    client: float
    relays: tuple[float, ...] = ()
    """From relay to relay; empty if there is one relay or none."""
    server: float = 0.0

    @property
    def end_to_end(self) -> float:
        """The round-trip time from the client to the server."""
        return self.client + sum(self.relays) + self.server


@dataclass(frozen=True, kw_only=True)
class Tcp:
    """Properties of the ends and the links; the same on all legs.

    The defaults are Linux's first congestion window, and the payload of a segment on an
    Ethernet link with TCP timestamps.
    """

    initial_window: int = 10
    """Segments."""
    segment_bytes: int = 1448
    bandwidth: float | None = None
    """Bytes of payload a second; None means without a limit."""

    def segments(self, size: int) -> int:
        """How many segments a response of ``size`` bytes takes."""
        return ceil((size + HEADER_BYTES) / self.segment_bytes)

    @property
    def gap(self) -> float:
        """Seconds that a segment occupies a link."""
        return 0.0 if self.bandwidth is None else self.segment_bytes / self.bandwidth


LINUX = Tcp()


@dataclass(frozen=True, kw_only=True)
class Improvements:
    """Which of the improvements that save round trips a mesh has switched on.

    The thread pool is not among them: it saves microseconds. Nor is the handshake between
    relays: from a relay's second connection on, its proof travels with the first bytes
    (docs/wire.md). Early SYN includes the data that it sends in the SYN of the next leg (TCP
    Fast Open).
    """

    early_syn: bool = False
    conn_pool: bool = False
    turbo: bool = False


@dataclass(frozen=True)
class Estimate:
    """Seconds from the client's SYN to the first and to the last byte of the response."""

    first_byte: float
    total: float


def ideal(legs: Legs, size: int, tcp: Tcp = LINUX) -> Estimate:
    """Time over a pipe without a protocol: the request goes, and all of the response comes."""
    return Estimate(legs.end_to_end, legs.end_to_end + (tcp.segments(size) - 1) * tcp.gap)


def routed(legs: Legs, size: int, tcp: Tcp = LINUX) -> Estimate:
    """Time over one TCP connection for the whole path: a handshake, a request, slow start."""
    first_byte = 2 * legs.end_to_end
    return Estimate(first_byte, first_byte + transfer([legs.end_to_end], size, tcp))


def split(legs: Legs, size: int, improvements: Improvements, tcp: Tcp = LINUX) -> Estimate:
    """Time over a TCP connection for each leg, each with its own slow start but turbo legs."""
    first_byte = split_first_byte(legs, improvements)
    relays = () if improvements.turbo else legs.relays
    paced = [legs.server, *reversed(relays), legs.client]
    return Estimate(first_byte, first_byte + transfer(paced, size, tcp))


def split_first_byte(legs: Legs, improvements: Improvements) -> float:
    """Follow target and request through the relays; times count from the client's SYN."""
    request = 1.5 * legs.client
    target = 0.5 * legs.client if improvements.early_syn else request
    for leg in legs.relays:
        ready = target + (0.0 if improvements.conn_pool else leg)
        target = (target if improvements.early_syn else ready) + 0.5 * leg
        request = max(request, ready) + 0.5 * leg
    request_at_server = max(request, target + legs.server) + 0.5 * legs.server
    return request_at_server + 0.5 * legs.end_to_end


def transfer(round_trips: Sequence[float], size: int, tcp: Tcp = LINUX) -> float:
    """Seconds between a response's first and last byte after legs in slow start.

    The legs are given in the order in which the bytes cross them; a leg without slow start
    delays first and last byte alike and is left out.
    """
    moments = [0.0] * tcp.segments(size)
    for round_trip in round_trips:
        moments = slow_start(moments, round_trip, tcp)
    return moments[-1] - moments[0]


def slow_start(arrivals: Sequence[float], round_trip: float, tcp: Tcp = LINUX) -> list[float]:
    """When segments that reach a sender at ``arrivals`` reach the other end of its leg.

    Each acknowledgement lets two more segments go. Waiting for the first segment costs nothing:
    the window is still the initial one when it comes.
    """
    sent: list[float] = []
    gap = tcp.gap
    for number, arrival in enumerate(arrivals):
        acknowledged = (number - tcp.initial_window + 2) // 2
        allowed = sent[acknowledged - 1] + round_trip if acknowledged > 0 else 0.0
        free = sent[-1] + gap if sent else 0.0
        sent.append(max(arrival, allowed, free))
    return [moment + round_trip / 2 for moment in sent]
