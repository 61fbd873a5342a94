# SPDX-License-Identifier: GPL-2.0-only
"""Making a link exactly as long as its topology says.

An emulated guest takes a part of a millisecond for each packet; how much depends
on the host. So the round trip is measured, and the delays are corrected.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ktcp_ops.errors import KtcpError

TOLERANCE = 0.01
"""The round-trip time may be wrong by this share."""

ROUNDS = 4

# A first guess at what an emulated link takes by itself.
OVERHEAD_US = 900.0


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How a link is measured, and how small an error is left uncorrected."""

    pings: int
    pause_s: float
    alone: bool
    """Whether each ping is sent only after the answer to the one before."""
    good_enough: float

    def ping_command(self, address: str, rtt_ms: float) -> list[str]:
        """The command that measures the way to ``address``; the first answer also resolves it."""
        interval_s = self.pause_s + (rtt_ms / 1000 if self.alone else 0)
        return ["ping", "-n", "-c", str(self.pings), "-i", f"{interval_s:g}", "-W", "5", address]


# Within the tolerance, with room for the noise of the next measurement.
BRIEF = Effort(pings=30, pause_s=0.05, alone=False, good_enough=0.006)
# Like the packets that open a connection: each finds guests that sleep, and an emulated guest
# takes longer to wake up than to answer.
CAREFUL = Effort(pings=20, pause_s=0.1, alone=True, good_enough=0.004)


def round_trip_ms(output: str, *, pings: int) -> float:
    """The round-trip time in the output of ping, on an idle host.

    It is the mean of the faster half, without the fastest tenth. The faster half,
    because other work of the host only makes answers late, and must not be taken
    for the link. A mean, because ping rounds what it prints.

    Raises:
        KtcpError: too few answers came.
    """
    times = [float(value) for value in re.findall(r"time=([\d.]+) ms", output)][1:]
    if len(times) < pings // 2:
        raise KtcpError(f"too few answers to ping: {output.strip() or 'none'}")
    return faster_mean(times)


def faster_mean(values: Sequence[float]) -> float:
    """The mean of the faster half of ``values``, without the fastest tenth."""
    ordered = sorted(values)
    faster = ordered[len(ordered) // 10 : max(1, len(ordered) // 2)]
    return sum(faster) / len(faster)


@dataclass(frozen=True)
class Result:
    """A delay of one direction, and the round-trip times that it gave."""

    delay_us: int
    rtt4_ms: float
    rtt6_ms: float

    def error(self, wanted_ms: float) -> float:
        """By which share the worse of both round-trip times is wrong."""
        return max(abs(rtt - wanted_ms) / wanted_ms for rtt in (self.rtt4_ms, self.rtt6_ms))


def calibrate(
    wanted_ms: float,
    delay_us: int,
    *,
    good_enough: float,
    measure: Callable[[], tuple[float, float]],
    set_delay: Callable[[int], None],
) -> Result:
    """Correct a link's delay until the round-trip time is right; return the best result.

    Args:
        wanted_ms: the round-trip time the link is to have.
        delay_us: the delay of one direction that is set now.
        good_enough: by which share the result may be wrong without another correction.
        measure: gives the round-trip times over IPv4 and over IPv6 in milliseconds.
        set_delay: sets the delay of one direction; called last with the result's.
    """
    best = now = Result(delay_us, *measure())
    for _ in range(ROUNDS):
        if now.error(wanted_ms) <= good_enough:
            break
        delay_us = corrected_delay_us(now, wanted_ms)
        set_delay(delay_us)
        now = Result(delay_us, *measure())
        best = min(best, now, key=lambda result: result.error(wanted_ms))
    if best.delay_us != now.delay_us:
        set_delay(best.delay_us)
    return best


def corrected_delay_us(result: Result, wanted_ms: float) -> int:
    """The delay of one direction that makes the mean of both round-trip times right."""
    measured_ms = (result.rtt4_ms + result.rtt6_ms) / 2
    return max(0, round(result.delay_us - (measured_ms - wanted_ms) * 1000 / 2))
