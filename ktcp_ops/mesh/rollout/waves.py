# SPDX-License-Identifier: GPL-2.0-only
"""Which relay is changed in which wave: a pure function of the mesh.

The first wave, the canary, is small; the next ones are larger. No wave has both relays of a
pair: while a relay is changed, those that it works with are not. Nor has it relays of two ways of
a path: while one way is changed, its flows can take the other.
"""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Self

from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.model.mesh import Mesh

Wave = tuple[str, ...]

OFF = "off"
"""The word in place of steps that means all relays at once."""


@dataclass(frozen=True)
class Step:
    """How many relays a wave may have: a number, or a share of all in percent."""

    amount: int
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``3`` or ``10%``.

        Raises:
            UsageError: for anything else.
        """
        found = re.fullmatch(r"([1-9]\d{0,5})(%?)", text.strip())
        if not found or (found[2] and int(found[1]) > 100):
            raise UsageError(
                f"--waves: {text.strip()!r}: write how many relays or percent, like 1,10%,100%"
            )
        return cls(int(found[1]), bool(found[2]))

    def size(self, total: int) -> int:
        """Give the most relays that a wave of this step has, of ``total``."""
        return math.ceil(total * self.amount / 100) if self.percent else self.amount


def parse_steps(text: str) -> tuple[Step, ...]:
    """Read the steps of a rollout: ``1,10%,100%``, or ``off`` for none.

    Raises:
        UsageError: for what is neither.
    """
    return () if text == OFF else tuple(Step.parse(part) for part in text.split(","))


def build(
    mesh: Mesh, hosts: Collection[str], steps: Sequence[Step], canary: str | None = None
) -> tuple[Wave, ...]:
    """Divide relays into waves; the last step is repeated until all relays are in one.

    Without steps all relays are one wave, even those of a pair. A step that allows no more relays
    than the one before it is left out, so that a small mesh has its canary and then the rest.

    Raises:
        UsageError: for a canary that is not one of the relays.
    """
    if canary is not None and canary not in hosts:
        raise UsageError(f"--canary: {canary}: none of the relays {', '.join(sorted(hosts))}")
    if not steps or not hosts:
        return (tuple(sorted(hosts)),) if hosts else ()
    apart, load = kept_apart(mesh), loads(mesh)
    left = set(hosts)
    waves: list[Wave] = []
    for size in sizes(steps, len(left)):
        if not waves:
            # A relay with traffic, since one without would show nothing; of these, with the least.
            order = sorted(left, key=lambda n: (n != canary, not load[n], load[n], n))
        else:
            # As Welsh and Powell colour a graph: the relay with most others comes first.
            order = sorted(left, key=lambda name: (-len(apart[name] & left), name))
        waves.append(independent(order, apart, size))
        left -= set(waves[-1])
        if not left:
            break
    return tuple(waves)


def sizes(steps: Sequence[Step], total: int) -> Iterable[int]:
    """Give the sizes of the waves, more of them than can be needed."""
    wanted = [step.size(total) for step in steps]
    kept = [size for n, size in enumerate(wanted) if n == 0 or size > max(wanted[:n])]
    yield from kept
    # If steps shrink, the last one that the user wrote is still the one that is repeated.
    for _ in range(total):
        yield wanted[-1]


def independent(order: Sequence[str], apart: dict[str, set[str]], size: int) -> Wave:
    """Take relays in an order, without those to be kept apart from one that is taken."""
    taken: set[str] = set()
    for name in order:
        if len(taken) < size and not apart[name] & taken:
            taken.add(name)
    return tuple(sorted(taken))


def kept_apart(mesh: Mesh) -> dict[str, set[str]]:
    """Give the relays that are never in a wave with each relay: partners, and those of other ways.

    Two ways of a path may have relays in common, which are on both whatever happens.
    """
    apart = partners_of(mesh)
    for path in mesh.paths:
        for one, other in combinations(map(set, path.courses), 2):
            for name in one - other:
                apart[name] |= other - one
            for name in other - one:
                apart[name] |= one - other
    return apart


def partners_of(mesh: Mesh) -> dict[str, set[str]]:
    """Give each relay's partners: the other relays of its pairs.

    Pairs are those that are listed, and relays that follow each other on a path or one of its
    backups. In a full mesh any two relays may work together, but they do so only on a path.
    """
    partners: dict[str, set[str]] = {name: set() for name in mesh.relays}
    used = [pair for path in mesh.paths for way in path.courses for pair in pairwise(way)]
    for one, other in (*(mesh.pairs or ()), *used):
        partners[one].add(other)
        partners[other].add(one)
    return partners


def loads(mesh: Mesh) -> dict[str, int]:
    """Count the paths that cross each relay."""
    load = dict.fromkeys(mesh.relays, 0)
    for path in mesh.paths:
        for name in path.relays:
            load[name] += 1
    return load
