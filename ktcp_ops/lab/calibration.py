# SPDX-License-Identifier: GPL-2.0-only
"""Making a link exactly as long as its topology says.

Emulated guests take part of a millisecond for each packet, and how much
depends on the host. So the round trip is measured, and the delays corrected.
"""

import re
from collections.abc import Sequence

from ktcp_ops.errors import KtcpError

TOLERANCE = 0.01
"""The round-trip time may be wrong by this share."""

# Leaves room for the noise of the next measurement within the tolerance.
GOOD_ENOUGH = 0.004

ROUNDS = 5
PINGS = 30

# A first guess at what an emulated link takes by itself.
OVERHEAD_US = 900.0


def ping_command(address: str) -> list[str]:
    """The command that measures the way to ``address``; the first answer also resolves it."""
    return ["ping", "-n", "-c", str(PINGS), "-i", "0.1", "-W", "5", address]


def round_trip_ms(output: str) -> float:
    """The round-trip time in the output of ping, on an idle host.

    The mean of the faster half, without the fastest tenth. Whatever else keeps
    the host busy only makes answers late, and must not be mistaken for the
    link; a mean, since ping rounds what it prints.

    Raises:
        KtcpError: too few answers came.
    """
    times = [float(value) for value in re.findall(r"time=([\d.]+) ms", output)][1:]
    if len(times) < PINGS // 2:
        raise KtcpError(f"too few answers to ping: {output.strip() or 'none'}")
    return faster_mean(times)


def faster_mean(values: Sequence[float]) -> float:
    """The mean of the faster half of ``values``, without the fastest tenth."""
    ordered = sorted(values)
    faster = ordered[len(ordered) // 10 : max(1, len(ordered) // 2)]
    return sum(faster) / len(faster)


def error(measured_ms: float, wanted_ms: float) -> float:
    """By which share ``measured_ms`` is too long (or, negative, too short)."""
    return (measured_ms - wanted_ms) / wanted_ms


def corrected_delay_us(delay_us: int, measured_ms: float, wanted_ms: float) -> int:
    """The delay of one direction that makes the round trip right."""
    return max(0, round(delay_us - (measured_ms - wanted_ms) * 1000 / 2))
