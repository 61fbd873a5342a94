# SPDX-License-Identifier: GPL-2.0-only
"""What a relay's exit list lets through, computed over whole prefixes and port ranges.

Targets are rectangles, addresses by ports, so that a list which allows a destination
in several pieces counts as allowing it. The list works as in the module: the first
rule that matches decides, and what no rule matches is denied.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

from ktcp_ops.mesh.model import ExitRule
from ktcp_ops.mesh.values import ALL_PORTS, Network, PortRange


@dataclass(frozen=True)
class Rectangle:
    """Targets: addresses ``low`` to ``high`` as numbers, and ports, all ends included."""

    low: int
    high: int
    ports: PortRange

    @classmethod
    def of(cls, network: Network, ports: PortRange) -> Self:
        """Make the rectangle of a prefix and a port range."""
        return cls(int(network.network_address), int(network.broadcast_address), ports)

    def cut(self, other: Self) -> "tuple[Rectangle | None, list[Rectangle]]":
        """Give what both have in common, and the rest of this one in pieces."""
        low, high = max(self.low, other.low), min(self.high, other.high)
        first = max(self.ports.first, other.ports.first)
        last = min(self.ports.last, other.ports.last)
        if low > high or first > last:
            return None, [self]
        rest = []
        if self.low < low:
            rest.append(Rectangle(self.low, low - 1, self.ports))
        if high < self.high:
            rest.append(Rectangle(high + 1, self.high, self.ports))
        if self.ports.first < first:
            rest.append(Rectangle(low, high, PortRange(self.ports.first, first - 1)))
        if last < self.ports.last:
            rest.append(Rectangle(low, high, PortRange(last + 1, self.ports.last)))
        return Rectangle(low, high, PortRange(first, last)), rest


@dataclass(frozen=True)
class Refusal:
    """Why a destination cannot be reached: the number of the rule that denies, or None."""

    rule: int | None


def refusal(
    rules: Sequence[ExitRule], network: Network, ports: Iterable[PortRange] | None
) -> Refusal | None:
    """Find what the list refuses of a destination; None when it allows all of it."""
    open_targets = [Rectangle.of(network, some) for some in ports or (ALL_PORTS,)]
    for number, rule in enumerate(rules):
        if rule.prefix.version != network.version:
            continue
        for some in rule.ports or (ALL_PORTS,):
            area = Rectangle.of(rule.prefix, some)
            undecided: list[Rectangle] = []
            for target in open_targets:
                common, rest = target.cut(area)
                if common and rule.action == "deny":
                    return Refusal(number)
                undecided += rest
            open_targets = undecided
    return Refusal(None) if open_targets else None
