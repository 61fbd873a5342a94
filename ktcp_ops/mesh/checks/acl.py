# SPDX-License-Identifier: GPL-2.0-only
"""What a relay's exit list allows, computed over whole prefixes and port ranges.

Targets are rectangles, addresses by ports, so that a list that allows a destination in
several pieces counts as allowing it. The list works as in the module: the first rule that
matches decides, and what no rule matches is denied.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from ktcp_ops.mesh.model.mesh import ExitRule
from ktcp_ops.mesh.model.prefix import place
from ktcp_ops.mesh.model.values import ALL_PORTS, Network, PortRange


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


class ExitList:
    """An exit list that finds the rules about a destination without reading all of them.

    ``spared`` are addresses to which no flow is ever sent: denying them does not matter.
    """

    def __init__(self, rules: Sequence[ExitRule], spared: Iterable[Network] = ()) -> None:
        self.rules = rules
        self.around: dict[tuple[int, int, int], list[int]] = {}
        self.places: dict[int, list[tuple[int, int]]] = {4: [], 6: []}
        for number, rule in enumerate(rules):
            net = rule.prefix
            low = int(net.network_address)
            self.around.setdefault((net.version, net.prefixlen, low), []).append(number)
            self.places[net.version].append((low, number))
        for places in self.places.values():
            places.sort()
        self.lengths = sorted({(rule.prefix.version, rule.prefix.prefixlen) for rule in rules})
        self.spared = sorted(set(spared), key=place)
        self.spared_places = [place(net) for net in self.spared]

    def about(self, network: Network) -> list[int]:
        """Number the rules that match some of a network's addresses, in their order.

        Prefixes nest or are disjoint: they lie around the network or inside of it.
        """
        found = set(self.inside(network))
        low, bits = int(network.network_address), network.max_prefixlen
        for version, length in self.lengths:
            if version == network.version and length <= network.prefixlen:
                start = low >> (bits - length) << (bits - length)
                found.update(self.around.get((version, length, start), ()))
        return sorted(found)

    def inside(self, network: Network) -> Iterator[int]:
        """Number the rules whose prefix begins in a network."""
        places = self.places[network.version]
        first = bisect_left(places, (int(network.network_address), -1))
        last = bisect_right(places, (int(network.broadcast_address), len(self.rules)))
        yield from (
            number
            for _, number in places[first:last]
            if self.rules[number].prefix.prefixlen >= network.prefixlen
        )

    def spared_in(self, network: Network) -> Sequence[Network]:
        """Give the spared addresses in a network."""
        version, low, length = place(network)
        first = bisect_left(self.spared_places, (version, low, length))
        end = (version, int(network.broadcast_address), network.max_prefixlen)
        return self.spared[first : bisect_right(self.spared_places, end)]

    def refusal(
        self,
        network: Network,
        ports: Iterable[PortRange] | None,
        elsewhere: Iterable[Network] = (),
    ) -> Refusal | None:
        """Find what the list refuses of a destination; None when it allows all of it.

        What goes another way (``elsewhere``) does not matter either.
        """
        spared = Spans.of((*self.spared_in(network), *elsewhere))
        open_targets = [Rectangle.of(network, some) for some in ports or (ALL_PORTS,)]
        for number in self.about(network):
            rule = self.rules[number]
            for some in rule.ports or (ALL_PORTS,):
                area = Rectangle.of(rule.prefix, some)
                undecided: list[Rectangle] = []
                for target in open_targets:
                    common, rest = target.cut(area)
                    if common and rule.action == "deny" and not spared.hold(common):
                        return Refusal(number)
                    undecided += rest
                open_targets = undecided
            if not open_targets:
                return None
        return Refusal(None) if any(not spared.hold(target) for target in open_targets) else None


@dataclass(frozen=True)
class Spans:
    """Addresses as numbers: where each run of them begins and ends, in order."""

    first: tuple[int, ...]
    last: tuple[int, ...]

    @classmethod
    def of(cls, networks: Iterable[Network]) -> Self:
        """Join networks of one family to runs."""
        first: list[int] = []
        last: list[int] = []
        for net in sorted(networks, key=lambda net: (int(net.network_address), net.prefixlen)):
            low, high = int(net.network_address), int(net.broadcast_address)
            if last and low <= last[-1] + 1:
                last[-1] = max(last[-1], high)
            else:
                first.append(low)
                last.append(high)
        return cls(tuple(first), tuple(last))

    def hold(self, area: Rectangle) -> bool:
        """Tell whether all addresses of an area are in one run."""
        run = bisect_right(self.first, area.low) - 1
        return run >= 0 and area.high <= self.last[run]
