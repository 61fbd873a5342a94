# SPDX-License-Identifier: GPL-2.0-only
"""What each relay has to hold: a pure function from the mesh to one node per relay.

A node is plain data, final and sorted, and the roles only write it down. In a full mesh
every relay's list of peers has the same lines but its own, so the lines are made once
and shared: a thousand relays take a thousand lines and not a million.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address
from itertools import pairwise
from typing import TypedDict

from ktcp_ops.mesh.model import RETURN_MARK, Mesh, Path, Relay, Settings, Way
from ktcp_ops.mesh.procfs import Route
from ktcp_ops.mesh.tunnel import over
from ktcp_ops.mesh.values import Endpoint, PortRange

FIRST_MARK = 0x101
CHAIN_LENGTH = 28
"""The longest name of a chain that iptables takes."""
MULTIPORT_SLOTS = 15
"""How many ports one multiport match takes; a range counts as two."""


class Rule(TypedDict):
    """Flows to steer: a destination and the ports, as iptables writes them; none means all."""

    destination: str
    ports: list[int | str]


class Chain(TypedDict):
    """One iptables chain: the flows of one way from here, and the relay's ports that lead there."""

    chain: str
    mark: str
    client_port: int
    rules4: list[Rule]
    rules6: list[Rule]
    services4: list[int]
    services6: list[int]


class Node(TypedDict):
    """Everything a relay's configuration is made of (variable ``ktcp_node``).

    ``inside4`` and ``inside6`` name the interface on which targets answer the clients of
    transparent paths that end here; empty where none does.
    """

    name: str
    conf: dict[str, list[str]]
    keys: dict[int, str]
    steering: list[Chain]
    relay_port: int
    peers_addresses: list[str]
    inside4: str
    inside6: str


def plan(mesh: Mesh) -> dict[str, Node]:
    """Compute the node of every relay, by name. The mesh must be a checked one."""
    mesh = over(mesh)
    neighbours = Neighbours(mesh)
    paths: dict[str, list[Path]] = {name: [] for name in mesh.relays}
    for path in mesh.paths:
        paths[path.ingress].append(path)
    return {name: node(mesh, name, paths[name], neighbours) for name in sorted(mesh.relays)}


def node(mesh: Mesh, name: str, paths: Sequence[Path], neighbours: "Neighbours") -> Node:
    """Compute the node of one relay, where ``paths`` begin."""
    marks = assign_marks(paths)
    chains = chain_names(name, list(marks))
    peers, addresses = neighbours.of(name)
    listeners = [f"add relay {mesh.ports.relay}"] if peers else []
    if paths:
        listeners.insert(0, f"add client {mesh.ports.client}")
    return {
        "name": name,
        "conf": {
            "settings": settings_lines(mesh.settings),
            "thread_pool": thread_pool_lines(mesh),
            "listeners": listeners,
            "peers": peers,
            "routes": [route_line(mesh, name, way, mark) for way, mark in marks.items()],
            "exits": exit_lines(mesh, name),
        },
        "keys": {number: mesh.keys[number] for number in sorted(mesh.keys)},
        "steering": [
            chain(mesh, chains[way], mark, [path for path in paths if path.way == way])
            for way, mark in marks.items()
        ],
        "relay_port": mesh.ports.relay,
        "peers_addresses": addresses,
        "inside4": neighbours.inside(name, 4),
        "inside6": neighbours.inside(name, 6),
    }


def assign_marks(paths: Sequence[Path]) -> dict[Way, int]:
    """Give each way of an ingress its mark, in the order of the marks.

    A way keeps its mark when paths are added behind it; who needs more writes marks down.
    """
    marks = {path.way: path.mark for path in paths if path.mark is not None}
    taken = set(marks.values())
    free = FIRST_MARK
    for path in paths:
        if path.way in marks:
            continue
        while free in taken or free == RETURN_MARK:
            free += 1
        marks[path.way] = free
        taken.add(free)
    return dict(sorted(marks.items(), key=lambda item: item[1]))


class Neighbours:
    """The peers of each relay: their lines for the module, and their addresses."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.listed: dict[str, set[str]] = {name: set() for name in mesh.relays}
        for one, other in mesh.pairs or ():
            self.listed[one].add(other)
            self.listed[other].add(one)
        self.transparent = {
            (course[-1], network.version)
            for path in mesh.paths
            if path.transparent
            for course in path.courses
            for network in path.targets
        }
        self.order = [mesh.relays[name] for name in sorted(mesh.relays)]
        self.lines4 = {r.name: self.line(r.ktcp_address) for r in self.order if r.ktcp_address}
        self.lines6 = {r.name: self.line(r.ktcp_address6) for r in self.order if r.ktcp_address6}
        self.texts4 = {r.name: str(r.ktcp_address) for r in self.order if r.ktcp_address}
        self.texts6 = {r.name: str(r.ktcp_address6) for r in self.order if r.ktcp_address6}

    def line(self, address: IPv4Address | IPv6Address) -> str:
        """Write the line that makes a relay a peer."""
        pool = self.mesh.pool
        peer = endpoint(address, self.mesh.ports.relay)
        return f"add {peer} low {pool.low} high {pool.high} key {self.mesh.key}"

    def of(self, name: str) -> tuple[list[str], list[str]]:
        """Give the peer lines of a relay and the addresses of these peers, by name of the peer."""
        own4 = name in self.lines4
        if self.mesh.pairs is None:
            others = [relay.name for relay in self.order if relay.name != name]
        else:
            others = sorted(self.listed[name])
        lines, texts = [], []
        for other in others:
            over4 = own4 and other in self.lines4
            lines.append((self.lines4 if over4 else self.lines6)[other])
            texts.append((self.texts4 if over4 else self.texts6)[other])
        return lines, texts

    def inside(self, name: str, version: int) -> str:
        """Give the interface from which a transparent exit keeps answers, empty for no such."""
        interface = self.mesh.relays[name].ktcp_inside_interface
        return interface or "" if (name, version) in self.transparent else ""


def endpoint(address: IPv4Address | IPv6Address, port: int) -> str:
    """Write an address and a port as procfs does, IPv6 in brackets."""
    return str(Endpoint(address, port))


def settings_lines(settings: Settings) -> list[str]:
    """Write the settings that the mesh sets, in the order of the module's list."""
    words = {True: "on", False: "off"}
    return [
        f"{name} {words[value] if isinstance(value, bool) else value}"
        for name, value in settings
        if value is not None
    ]


def thread_pool_lines(mesh: Mesh) -> list[str]:
    """Write the thread pool's watermarks, if the mesh sets them."""
    pool = mesh.thread_pool
    return [f"low {pool.low}", f"high {pool.high}"] if pool else []


def legs(mesh: Mesh, way: Sequence[str]) -> Iterator[str]:
    """Write the endpoint of each relay of a way, as the relay before it knows it."""
    for one, other in pairwise(mesh.relays[name] for name in way):
        address = leg(one, other)
        yield endpoint(address, mesh.ports.relay)


def leg(one: Relay, other: Relay) -> IPv4Address | IPv6Address:
    """Give the address on which one relay reaches another; a checked mesh has it."""
    address = one.leg_to(other)
    if address is None:
        raise ValueError(f"{one.name} and {other.name} have no address family in common")
    return address


def route_line(mesh: Mesh, ingress: str, way: Way, mark: int) -> str:
    """Write the route of a mark."""
    return route(mesh, ingress, way, mark).line


def route(mesh: Mesh, ingress: str, way: Way, mark: int) -> Route:
    """Compute the route of a mark."""
    hops, *backup = (tuple(legs(mesh, (ingress, *via))) for via in (way.via, *way.backup))
    target = str(way.target) if way.target else None
    return Route(mark, hops, target, way.proxy, way.transparent, tuple(backup))


def exit_lines(mesh: Mesh, name: str) -> list[str]:
    """Write a relay's exit list in its order; one line for each range, as procfs reads back."""
    lines = []
    for rule in mesh.exits.get(name, ()):
        target = f"{rule.action} {rule.prefix}"
        lines += (
            [f"{target} port {some.first}-{some.last}" for some in rule.ports]
            if rule.ports
            else [target]
        )
    return lines


def chain_names(ingress: str, ways: Sequence[Way]) -> dict[Way, str]:
    """Name the chains of an ingress, each by its own name, whatever dashes relays have in theirs.

    Through ``eu-west`` and through ``eu`` and ``west`` are two ways.
    """
    names = {way: chain_name(ingress, way) for way in ways}
    given = Counter(names.values())
    return {
        way: name if given[name] == 1 else with_digest(name, repr(way))
        for way, name in names.items()
    }


def with_digest(name: str, full: str) -> str:
    """Cut a chain's name and end it in a digest of all that it stands for."""
    digest = hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"{name[: CHAIN_LENGTH - 9]}-{digest}"


def chain_name(ingress: str, way: Way) -> str:
    """Name a chain after its relays; a name that iptables would not take ends in a digest."""
    # No relay's name has a +, so what is not a relay is told apart from one, by the digest.
    ending = (f"+{way.target}" if way.target else "") + "+proxy" * way.proxy
    ending += "+transparent" * way.transparent
    ending += "".join(f"+backup-{'-'.join(via)}" for via in way.backup)
    full = "-".join(("KTCP", ingress, *(way.via or ("direct",)))) + ending
    clean = re.sub(r"[^A-Za-z0-9._-]", "_", full)
    if clean == full and len(full) <= CHAIN_LENGTH:
        return full
    return with_digest(clean, full)


def chain(mesh: Mesh, name: str, mark: int, paths: Sequence[Path]) -> Chain:
    """Compute the chain of one way and all paths that take it."""
    found: dict[int, list[tuple[int, int, Rule]]] = {4: [], 6: []}
    for path in paths:
        for network in path.destinations:
            for slots in multiports(path.ports):
                rule: Rule = {"destination": str(network), "ports": slots}
                place = (int(network.network_address), network.prefixlen, rule)
                found[network.version].append(place)
    # The sort is stable: of one destination, the ports keep their order.
    rules = {
        version: [rule for _, _, rule in sorted(places, key=lambda p: p[:2])]
        for version, places in found.items()
    }
    return {
        "chain": name,
        "mark": f"{mark:#x}",
        "client_port": mesh.ports.client,
        "rules4": rules[4],
        "rules6": rules[6],
        "services4": service_ports(paths, 4),
        "services6": service_ports(paths, 6),
    }


def service_ports(paths: Sequence[Path], version: int) -> list[int]:
    """Give the ports of the ingress that lead here over one family.

    A transparent exit speaks to the target as the client, so only clients of the target's
    family are let in.
    """
    return sorted(
        path.service.port
        for path in paths
        if path.service and (not path.transparent or path.service.target.address.version == version)
    )


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
