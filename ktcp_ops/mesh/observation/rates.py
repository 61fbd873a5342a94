# SPDX-License-Identifier: GPL-2.0-only
"""What the relays do in a second: by how much their counters grew between two looks.

The time between two looks is taken from each relay's own clock, because their answers do not
come at the same time. If a relay's counters went back, its module was reloaded, and it has no
rates until the next look.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ktcp_ops.mesh.observation.status import RelayStatus, share
from ktcp_ops.mesh.relay.procfs import State

COLUMNS = (
    "RELAY",
    "SPLITS",
    "OPENED/s",
    "UP/s",
    "DOWN/s",
    "FAILED/s",
    "READY",
    "HIT%",
    "EARLY%",
    "NOTE",
)
"""The columns, the most wanted first: a narrow terminal shows only the first ones."""


@dataclass(frozen=True)
class Growth:
    """By how much a relay's counters grew, and in how many seconds."""

    counters: dict[str, int]
    seconds: float

    def rate(self, name: str) -> float:
        """Give by how much a counter grew in a second."""
        return self.counters.get(name, 0) / self.seconds


def growth(before: RelayStatus | None, now: RelayStatus) -> Growth | None:
    """Compare two looks at a relay; None if they cannot be compared."""
    if before is None or before.state is None or now.state is None:
        return None
    if before.taken is None or now.taken is None or now.taken <= before.taken:
        return None
    counters = {
        name: value - before.state.stats.get(name, 0)
        for name, value in now.state.stats.items()
        if name.endswith("_total")
    }
    if any(value < 0 for value in counters.values()):
        return None
    return Growth(counters, (now.taken - before.taken).total_seconds())


def rows(before: Sequence[RelayStatus], now: Sequence[RelayStatus]) -> list[list[str]]:
    """Write a line for each relay, and one for all of them if there are several."""
    old = {status.relay: status for status in before}
    grown = [growth(old.get(status.relay), status) for status in now]
    lines = [row(status, some) for status, some in zip(now, grown, strict=True)]
    return [*lines, total(now, grown)] if len(now) > 1 else lines


def row(status: RelayStatus, grown: Growth | None) -> list[str]:
    """Write a relay's line."""
    if status.state is None:
        return [status.relay, *["-"] * (len(COLUMNS) - 2), status.reason]
    return [
        status.relay,
        str(status.state.stats.get("splits_active", 0)),
        *rates([grown] if grown else []),
        str(status.ready),
        *shares([grown] if grown else []),
        note(status.state),
    ]


def total(now: Sequence[RelayStatus], grown: Sequence[Growth | None]) -> list[str]:
    """Write the line of the whole mesh; relays that did not answer add nothing."""
    known = [some for some in grown if some]
    states = [status.state for status in now if status.state]
    return [
        "(all)",
        str(sum(state.stats.get("splits_active", 0) for state in states)),
        *rates(known),
        str(sum(status.ready for status in now)),
        *shares(known),
        "" if len(states) == len(now) else f"{len(now) - len(states)} without a state",
    ]


def rates(grown: Sequence[Growth]) -> list[str]:
    """Write splits opened, bytes up and down, and splits failed, each in a second."""

    def summed(name: str) -> float:
        return sum(some.rate(name) for some in grown)

    if not grown:
        return ["-"] * 4
    return [
        f"{summed('splits_opened_total'):.1f}",
        amount(summed("bytes_up_total")),
        amount(summed("bytes_down_total")),
        f"{summed('splits_failed_total'):.1f}",
    ]


def shares(grown: Sequence[Growth]) -> list[str]:
    """Write legs that the pool had ready, and splits whose far leg began at the SYN."""

    def summed(name: str) -> int:
        return sum(some.counters.get(name, 0) for some in grown)

    hits = summed("pool_hits_total")
    return [
        share(hits, hits + summed("pool_misses_total")),
        share(summed("early_syn_met_total"), summed("splits_opened_total")),
    ]


def note(state: State) -> str:
    """Say what is unusual about a relay."""
    notes = ["draining"] if state.draining else []
    return "; ".join([*notes, *([state.last_error] if state.last_error else [])])


def amount(number: float) -> str:
    """Write a number of bytes in three or four digits and a unit."""
    for unit in ("", "k", "M", "G"):
        if number < 1000:
            return f"{number:.0f}" if not unit else f"{number:.1f}{unit}"
        number /= 1000
    return f"{number:.1f}T"
