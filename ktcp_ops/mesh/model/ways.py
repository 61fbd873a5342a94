# SPDX-License-Identifier: GPL-2.0-only
"""Which relays a path with ``via: auto`` goes through: the way with the shortest round trip.

Pure, and quick for a thousand relays in full mesh: the shortest distances to one exit are
computed for all relays at once, with one more leg in each round (Bellman and Ford); the inner
loop runs in C. A leg that is not measured costs more than any that is. So without measurements
the way with the fewest relays wins, and a leg without an answer is avoided.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import add

from ktcp_ops.mesh.model.distance import to_target
from ktcp_ops.mesh.model.latency import Latency
from ktcp_ops.mesh.model.mesh import Mesh, Path

RELAY_COST_US = 1000
"""Added for each leg: the relay's own time, and the error of a measurement."""
WORST_LOSS = 100_000
"""Of a million packets. With it, or more, a leg counts twice its round trip; with less, less."""
UNMEASURED_US = 1 << 40
NEVER_US = 1 << 50
"""For two relays that are not a pair."""


@dataclass(frozen=True, order=True)
class Candidate:
    """A way that a path can take; the smallest is the best.

    Attributes:
        unmeasured: how many of its legs are not measured.
        place: the exit's place in the path's list; 0 if all exits' time to the target is known.
        cost_us: its round trip, longer where packets are lost, plus ``RELAY_COST_US`` a leg.
        relays: from the ingress to the exit.
    """

    unmeasured: int
    place: int
    cost_us: int
    relays: tuple[str, ...]


def resolve(mesh: Mesh) -> Mesh:
    """Give the paths with ``via: auto`` their ways; one that has none keeps None."""
    if all(path.via is not None for path in mesh.paths):
        return mesh
    chosen = choose(mesh, mesh.latency)
    paths = tuple(
        path.model_copy(update={"via": chosen[path.name][1:]}) if path.name in chosen else path
        for path in mesh.paths
    )
    return mesh.model_copy(update={"paths": paths})


def choose(mesh: Mesh, latency: Latency) -> dict[str, tuple[str, ...]]:
    """Choose the way of each path that leaves that to us, if it has one, by the path's name."""
    table = DistanceTable(mesh, latency)
    return {
        path.name: way
        for path in mesh.paths
        if path.exits and (way := table.way(path, latency.ways.get(path.name)))
    }


def cost(rtt_us: int, loss: int) -> int:
    """Give what a measured leg costs; each percent of loss makes it a tenth longer."""
    return rtt_us + rtt_us * min(loss, WORST_LOSS) // WORST_LOSS + RELAY_COST_US


class DistanceTable:
    """The distances between a mesh's relays, and what follows from them."""

    def __init__(self, mesh: Mesh, latency: Latency) -> None:
        self.mesh = mesh
        self.latency = latency
        self.names = sorted(mesh.relays)
        self.place = {name: place for place, name in enumerate(self.names)}
        self.known: dict[int, list[list[int]]] = {}

    @cached_property
    def legs(self) -> list[list[int]]:
        """What a leg costs, by the places of its ends."""
        count = len(self.names)
        unmeasured = UNMEASURED_US + RELAY_COST_US
        legs = [[unmeasured if self.mesh.pairs is None else NEVER_US] * count for _ in range(count)]
        for pair in self.mesh.pair_set:
            one, other = (self.place.get(name) for name in (min(pair), max(pair)))
            if one is not None and other is not None:
                legs[one][other] = legs[other][one] = unmeasured
        for one, other, cost in self.measured():
            if legs[one][other] < NEVER_US:
                legs[one][other] = legs[other][one] = cost
        for place in range(count):
            legs[place][place] = 0
        return legs

    def measured(self) -> Iterator[tuple[int, int, int]]:
        """Give what measured legs between relays cost, by the places of the ends."""
        for name, others in self.latency.rtts.items():
            one = self.place.get(name)
            if one is None:
                continue
            losses = self.latency.losses.get(name, {})
            for other, rtt in others.items():
                if other in self.place:
                    yield one, self.place[other], cost(rtt, losses.get(other, 0))

    def way(self, path: Path, before: Sequence[str] | None) -> tuple[str, ...] | None:
        """Choose a path's way: the best, or the one it has now if that is hardly worse."""
        to_targets = self.to_targets(path)
        places = range(len(path.exits))
        found = [self.candidate(path, self.shortest(path, place), to_targets) for place in places]
        best = min(filter(None, found), default=None)
        kept = self.candidate(path, tuple(before), to_targets) if before else None
        if best and kept and (kept.unmeasured, kept.place) == (best.unmeasured, best.place):
            gain = 100 * (kept.cost_us - best.cost_us)
            if gain < self.mesh.auto.min_gain_percent * kept.cost_us:
                best = kept
        return best.relays if best else None

    def to_targets(self, path: Path) -> dict[str, int] | None:
        """Give the time from each exit of a path to the target; None if one is unknown."""
        found = {name: to_target(self.latency, path, name) for name in path.exits}
        known = {name: rtt for name, rtt in found.items() if rtt is not None}
        return known if len(known) == len(found) else None

    def candidate(
        self, path: Path, relays: tuple[str, ...], to_targets: Mapping[str, int] | None
    ) -> Candidate | None:
        """Make a candidate from relays, or None if the path cannot go over them."""
        known = all(name in self.place for name in relays) and len(set(relays)) == len(relays)
        if not known or len(relays) - 1 > self.mesh.auto.max_hops:
            return None
        if not relays or relays[0] != path.ingress or relays[-1] not in path.exits:
            return None
        places = [self.place[name] for name in relays]
        legs = [self.legs[one][other] for one, other in pairwise(places)]
        if any(leg >= NEVER_US for leg in legs):
            return None
        unmeasured, total = divmod(sum(legs), UNMEASURED_US)
        if to_targets is not None:
            return Candidate(unmeasured, 0, total + to_targets[relays[-1]], relays)
        return Candidate(unmeasured, path.exits.index(relays[-1]), total, relays)

    def shortest(self, path: Path, place: int) -> tuple[str, ...]:
        """Give a path's shortest way to an exit; without one, what ``candidate`` refuses."""
        here, there = self.place.get(path.ingress), self.place.get(path.exits[place])
        if here is None or there is None:
            return ()
        relays = [path.ingress]
        for left in reversed(self.distances(there)):
            costs = list(map(add, self.legs[here], left))
            least = min(costs)
            if costs[here] > least:
                here = costs.index(least)
                relays.append(self.names[here])
        return tuple(relays)

    def distances(self, there: int) -> list[list[int]]:
        """Give the distance of every relay from one, over at most 0, 1, ... max_hops - 1 legs."""
        if there not in self.known:
            nowhere = [NEVER_US] * len(self.names)
            nowhere[there] = 0
            rounds = [nowhere, self.legs[there]][: self.mesh.auto.max_hops]
            while len(rounds) < self.mesh.auto.max_hops:
                further = [min(map(add, row, rounds[-1])) for row in self.legs]
                # If one more leg makes nothing shorter, further ones won't either.
                rounds.append(rounds[-1] if further == rounds[-1] else further)
            self.known[there] = rounds
        return self.known[there]
