# SPDX-License-Identifier: GPL-2.0-only
"""Which flows of an ingress take which way, as iptables chains and the sets they look up.

The longest prefix wins. Each rule looks a set up, so that a packet costs the same however many
prefixes there are. A set holds its own prefixes, and as exceptions those inside them that go
another way. So no address is in two sets, and the order of rules does not matter.
"""

import hashlib
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TypedDict

from ktcp_ops.mesh.model.mesh import Path, Way
from ktcp_ops.mesh.model.prefix import encloses, nest, place
from ktcp_ops.mesh.model.values import ALL_PORTS, Network, PortRange
from ktcp_ops.mesh.relay.address_set import DIGEST_LENGTH, Sets, entries_of

CHAIN_LENGTH = 28
"""The longest name of a chain that iptables takes."""
MULTIPORT_SLOTS = 15
"""How many ports one multiport match takes; a range counts as two."""


class Rule(TypedDict):
    """Flows to steer: names of sets, and ports as iptables writes them.

    No ``sources`` are all sources, no ``ports`` all ports.
    """

    destinations: str
    sources: str
    ports: list[int | str]


class Service(TypedDict):
    """A port of the relay, and the set of the sources that may use it; empty: everyone may."""

    port: int
    sources: str


class Chain(TypedDict):
    """One iptables chain: the flows that take a way, and the service ports that lead there."""

    chain: str
    mark: str
    client_port: int
    rules4: list[Rule]
    rules6: list[Rule]
    services4: list[Service]
    services6: list[Service]


@dataclass(frozen=True)
class Owner:
    """Who takes flows: a way, for some sources (none are all)."""

    way: Way
    sources: tuple[Network, ...] = ()


@dataclass(frozen=True)
class Claim:
    """A prefix that a path takes, on some ports (None are all)."""

    network: Network
    ports: tuple[PortRange, ...] | None
    owner: Owner


@dataclass(frozen=True)
class Share:
    """The destinations that one owner takes on the same ports."""

    owner: Owner
    ports: tuple[PortRange, ...]
    entries: tuple[str, ...]


def chains(
    ingress: str, client_port: int, marks: dict[Way, int], paths: Sequence[Path], sets: Sets
) -> list[Chain]:
    """Compute the chains of an ingress, where ``paths`` begin, in the order of its ways."""
    names = chain_names(ingress, list(marks))
    shares = {version: divide(claims(paths, version)) for version in (4, 6)}

    def rules(way: Way, version: int) -> list[Rule]:
        own = (share for share in shares[version] if share.owner.way == way)
        return [rule for share in own for rule in rules_of(share, names[way], version, sets)]

    def services(way: Way, version: int) -> list[Service]:
        own = [path for path in paths if path.way == way]
        return list(services_of(own, names[way], version, sets))

    return [
        {
            "chain": names[way],
            "mark": f"{mark:#x}",
            "client_port": client_port,
            "rules4": rules(way, 4),
            "rules6": rules(way, 6),
            "services4": services(way, 4),
            "services6": services(way, 6),
        }
        for way, mark in marks.items()
    ]


def claims(paths: Iterable[Path], version: int) -> list[Claim]:
    """List what paths take, sorted by prefix."""
    found = [
        Claim(network, path.ports, Owner(path.way, path.sources))
        for path in paths
        for network in path.destinations
        if network.version == version
    ]
    return sorted(found, key=lambda claim: place(claim.network))


def divide(claimed: Sequence[Claim]) -> list[Share]:
    """Give each owner its prefixes, without what longer prefixes take from them."""
    found: dict[tuple[Owner, tuple[PortRange, ...]], list[str]] = {}
    for tree in trees(claimed):
        for owner, ports, entries in divide_tree(tree):
            found.setdefault((owner, ports), []).extend(entries)
    return [Share(owner, ports, tuple(entries)) for (owner, ports), entries in found.items()]


def trees(claimed: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Group sorted claims by their widest prefix: two groups have no address in common."""
    tree: list[Claim] = []
    for claim in claimed:
        if tree and not encloses(tree[0].network, claim.network):
            yield tree
            tree = []
        tree.append(claim)
    if tree:
        yield tree


def divide_tree(
    claimed: Sequence[Claim],
) -> Iterator[tuple[Owner, tuple[PortRange, ...], tuple[str, ...]]]:
    """Give each owner its part of one tree; ports of the same claims are divided together."""
    parts: dict[tuple[Owner, tuple[str, ...]], list[PortRange]] = {}
    for ports, spans in port_classes(frozenset(claim.ports for claim in claimed)):
        for owner, entries in nested(claim for claim in claimed if claim.ports in ports):
            parts.setdefault((owner, entries), []).extend(spans)
    yield from ((owner, merged(spans), entries) for (owner, entries), spans in parts.items())


Ports = tuple[PortRange, ...] | None


@cache
def port_classes(used: frozenset[Ports]) -> list[tuple[frozenset[Ports], list[PortRange]]]:
    """Group all ports by the lists that they are in; give each group's lists and its ports."""
    edges = {ALL_PORTS.first, ALL_PORTS.last + 1}
    for ports in used:
        for some in ports or ():
            edges |= {some.first, some.last + 1}
    found: dict[frozenset[Ports], list[PortRange]] = {}
    for first, after in pairwise(sorted(edges)):
        lists = frozenset(ports for ports in used if ports is None or holds(ports, first))
        if lists:
            found.setdefault(lists, []).append(PortRange(first, after - 1))
    return list(found.items())


def holds(ports: tuple[PortRange, ...], port: int) -> bool:
    """Tell whether a port is in a sorted list of ranges."""
    before = bisect_right(ports, port, key=lambda some: some.first)
    return before > 0 and port <= ports[before - 1].last


def merged(spans: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """Sort ranges and join those that touch; all ports are written as none."""
    found: list[PortRange] = []
    for some in sorted(spans):
        if found and found[-1].last + 1 == some.first:
            found[-1] = PortRange(found[-1].first, some.last)
        else:
            found.append(some)
    return () if found == [ALL_PORTS] else tuple(found)


def nested(claimed: Iterable[Claim]) -> Iterator[tuple[Owner, tuple[str, ...]]]:
    """Give each owner's prefixes, with other owners' prefixes directly inside them as exceptions.

    Prefixes inside an exception need no exception of their own.
    """
    held: dict[Owner, list[str]] = {}
    for claim, enclosing in nest(claimed, lambda claim: claim.network):
        outer = enclosing[-1].owner if enclosing else None
        if outer == claim.owner:
            continue
        written = entries_of(claim.network)
        held.setdefault(claim.owner, []).extend(written)
        if outer is not None:
            held[outer] += [f"{entry} nomatch" for entry in written]
    yield from ((owner, tuple(entries)) for owner, entries in held.items())


def rules_of(share: Share, label: str, version: int, sets: Sets) -> Iterator[Rule]:
    """Write the rules of a share for one family; none if no source is of that family."""
    sources = sets.sources(label, version, share.owner.sources)
    if sources is None:
        return
    destinations = sets.add(label, version, share.entries)
    for ports in multiports(share.ports):
        yield {"destinations": destinations, "sources": sources, "ports": ports}


def services_of(paths: Iterable[Path], label: str, version: int, sets: Sets) -> Iterator[Service]:
    """Give the service ports of these paths for one family.

    A transparent exit connects to the target from the client's address, so only clients of the
    target's family are let in.
    """
    found = [(path.service, path) for path in paths if path.service]
    for service, path in sorted(found, key=lambda item: item[0].port):
        sources = sets.sources(label, version, path.sources)
        spoken = not path.transparent or service.target.address.version == version
        if spoken and sources is not None:
            yield {"port": service.port, "sources": sources}


def multiports(ports: tuple[PortRange, ...] | None) -> Iterator[list[int | str]]:
    """Split ports into lists that each fit one multiport match; one empty list for all ports."""
    places: list[int | str] = []
    used = 0
    for some in ports or ():
        if used + some.slots > MULTIPORT_SLOTS:
            yield places
            places, used = [], 0
        places.append(some.first if some.slots == 1 else some.spell(":"))
        used += some.slots
    yield places


def chain_names(ingress: str, ways: Sequence[Way]) -> dict[Way, str]:
    """Name the chains of an ingress, no two alike, even if relays have dashes in their names.

    Through ``eu-west`` is another way than through ``eu`` and ``west``.
    """
    names = {way: chain_name(ingress, way) for way in ways}
    given = Counter(names.values())
    return {
        way: name if given[name] == 1 else with_digest(name, repr(way))
        for way, name in names.items()
    }


def with_digest(name: str, full: str) -> str:
    """Shorten a chain's name and end it in a digest of the full text."""
    digest = hashlib.sha256(full.encode()).hexdigest()[:DIGEST_LENGTH]
    return f"{name[: CHAIN_LENGTH - DIGEST_LENGTH - 1]}-{digest}"


def chain_name(ingress: str, way: Way) -> str:
    """Name a chain after its relays; a name that iptables would not take ends in a digest."""
    # No relay's name has a +, so words that are not relays change the digest.
    ending = (f"+{way.target}" if way.target else "") + "+proxy" * way.proxy
    ending += "+transparent" * way.transparent
    ending += "".join(f"+backup-{'-'.join(via)}" for via in way.backup)
    full = "-".join(("KTCP", ingress, *(way.via or ("direct",)))) + ending
    clean = re.sub(r"[^A-Za-z0-9._-]", "_", full)
    if clean == full and len(full) <= CHAIN_LENGTH:
        return full
    return with_digest(clean, full)
