# SPDX-License-Identifier: GPL-2.0-only
"""Pairs of relays that are faster over a third relay than directly.

Quick for a thousand relays in full mesh, which have 166 million triangles: the round trips from
one relay to all others are the lanes of one long integer, so that two of them are added in one
operation, which gives the ways over every third relay at once.
"""

import sys
from array import array
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappush, heapreplace
from operator import add
from typing import Any

from ktcp_ops.mesh.model.latency import Latency
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.model.ways import RELAY_COST_US
from ktcp_ops.mesh.observation.probe import milliseconds

LISTED = 20
"""How many shortcuts are kept."""

LANE_TYPE = "I"
LANE_TOP = 1 << (8 * array(LANE_TYPE).itemsize - 1)
"""A lane's highest bit, which no sum of two legs reaches."""
UNKNOWN_US = LANE_TOP >> 2
"""For a leg that does not exist or was not measured; longer than any way that is shorter."""


@dataclass(frozen=True, kw_only=True)
class Shortcut:
    """Two relays and the one between them, with the round trips of both ways."""

    ends: tuple[str, str]
    via: str
    direct_us: int
    via_us: int

    @property
    def gain_us(self) -> int:
        """How much shorter the round trip gets."""
        return self.direct_us - self.via_us


@dataclass(frozen=True)
class Shortcuts:
    """The shortcuts that gain most, the best first, and how many there are in all."""

    best: tuple[Shortcut, ...]
    count: int


def find(mesh: Mesh, ends: Collection[str]) -> Shortcuts:
    """Find the shortcuts that begin or end at some of the relays, by what was measured.

    The relay between has to be worth ``RELAY_COST_US``, as in the choice of ways.
    """
    names = sorted(mesh.relays) if mesh.latency.rtts else []
    table = Table(rows(mesh, mesh.latency, names))
    chosen = {place for place, name in enumerate(names) if name in ends}
    count = 0
    best: list[tuple[int, int, int]] = []
    for one, other, direct in table.legs():
        if not (one in chosen or other in chosen):
            continue
        if not table.is_shorter(one, other, direct - RELAY_COST_US):
            continue
        count += 1
        if len(best) < LISTED:
            heappush(best, (direct - table.shortest(one, other)[0], -one, -other))
        elif table.is_shorter(one, other, direct - best[0][0]):
            heapreplace(best, (direct - table.shortest(one, other)[0], -one, -other))
    found = [table.shortcut(names, -one, -other) for _, one, other in sorted(best, reverse=True)]
    return Shortcuts(tuple(found), count)


def rows(mesh: Mesh, latency: Latency, names: Sequence[str]) -> list[list[int]]:
    """Give the round trips from each relay to each other, in the order of their names."""
    place = {name: number for number, name in enumerate(names)}
    found = [[UNKNOWN_US] * len(names) for _ in names]
    for name, others in latency.rtts.items():
        one = place.get(name)
        if one is None:
            continue
        for other, rtt in others.items():
            if other in place and mesh.are_paired(name, other):
                found[one][place[other]] = found[place[other]][one] = rtt
    return found


class Table:
    """The round trips between relays, which are numbered."""

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self.rows = rows
        self.packed = [packed(row) for row in rows]
        self.ones = packed([1] * len(rows))
        self.tops = self.ones * LANE_TOP
        self.topped = [self.tops + row for row in self.packed]

    def legs(self) -> Iterator[tuple[int, int, int]]:
        """Give the measured legs: both ends and the round trip."""
        for one, row in enumerate(self.rows):
            for other in range(one + 1, len(row)):
                if row[other] < UNKNOWN_US:
                    yield one, other, row[other]

    def is_shorter(self, one: int, other: int, than_us: int) -> bool:
        """Tell whether a way over any third relay is shorter than a time."""
        if than_us <= 0:
            return False
        # In a lane whose sum is less than that time, the subtraction borrows the top bit.
        left = self.topped[one] + self.packed[other] - self.ones * than_us
        return left & self.tops != self.tops

    def shortest(self, one: int, other: int) -> tuple[int, int]:
        """Give the round trip of the shortest way over a third relay, and that relay."""
        sums = list(map(add, self.rows[one], self.rows[other]))
        least = min(sums)
        return least, sums.index(least)

    def shortcut(self, names: Sequence[str], one: int, other: int) -> Shortcut:
        """Describe the shortcut between two relays."""
        via_us, via = self.shortest(one, other)
        return Shortcut(
            ends=(names[one], names[other]),
            via=names[via],
            direct_us=self.rows[one][other],
            via_us=via_us,
        )


def packed(row: Iterable[int]) -> int:
    """Write numbers side by side into one."""
    return int.from_bytes(array(LANE_TYPE, row).tobytes(), sys.byteorder)


COLUMNS = ("FROM", "TO", "DIRECT_MS", "VIA", "VIA_MS", "GAIN_MS")


def row(found: Shortcut) -> list[str]:
    """Write a line of the table."""
    times = [milliseconds(time) for time in (found.direct_us, found.via_us, found.gain_us)]
    return [*found.ends, times[0], found.via, *times[1:]]


def to_data(found: Shortcuts) -> dict[str, Any]:
    """Give the shortcuts as JSON data; times are microseconds."""
    best = [{**vars(one), "gain_us": one.gain_us} for one in found.best]
    return {"count": found.count, "best": best}
