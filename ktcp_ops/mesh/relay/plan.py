# SPDX-License-Identifier: GPL-2.0-only
"""What each relay has to hold: a pure function from the mesh to one node per relay.

A node is plain data, final and sorted; the roles only write it to files. In a full mesh all
relays' lists of peers have the same lines, each without the relay's own. So the lines are made
once and shared: a thousand relays take a thousand lines, not a million.
"""

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import pairwise
from typing import TypedDict

from ktcp_ops.mesh.model.mesh import RETURN_MARK, Mesh, Path, Relay, Settings, Way
from ktcp_ops.mesh.model.values import Endpoint, Network
from ktcp_ops.mesh.relay.address_set import AddressSet, Sets, address_set, collapsed
from ktcp_ops.mesh.relay.procfs import Route, listener_line
from ktcp_ops.mesh.relay.steering import Chain, chains
from ktcp_ops.mesh.relay.tunnel import over

FIRST_MARK = 0x101


class Node(TypedDict):
    """Everything a relay's configuration is made of (variable ``ktcp_node``).

    ``sets4`` and ``sets6`` are the sets that the chains' rules look up. ``relays4`` and ``relays6``
    name those of them with the relays' own addresses, from and to which nothing is steered;
    empty if no path begins here. ``inside4`` and ``inside6`` name the interface on which targets
    answer the clients of transparent paths that end here; empty if none does.
    """

    name: str
    conf: dict[str, list[str]]
    keys: dict[int, str]
    steering: list[Chain]
    sets4: list[AddressSet]
    sets6: list[AddressSet]
    relays4: str
    relays6: str
    relay_port: int
    peers_addresses: list[str]
    inside4: str
    inside6: str


def plan(mesh: Mesh) -> dict[str, Node]:
    """Compute the node of every relay, by name. The mesh must be a checked one."""
    own = relay_networks(mesh)
    mesh = over(mesh)
    own |= relay_networks(mesh)
    neighbours = Neighbours(mesh, own)
    paths: dict[str, list[Path]] = {name: [] for name in mesh.relays}
    for path in mesh.paths:
        paths[path.ingress].append(path)
    return {name: node(mesh, name, paths[name], neighbours) for name in sorted(mesh.relays)}


def node(mesh: Mesh, name: str, paths: Sequence[Path], neighbours: "Neighbours") -> Node:
    """Compute the node of one relay; ``paths`` are those that begin there."""
    marks = assign_marks(paths)
    sets = Sets()
    relays = {version: neighbours.relays(version, sets) if paths else "" for version in (4, 6)}
    steering = chains(name, mesh.ports.client, marks, paths, sets)
    peers, addresses = neighbours.of(name)
    listeners = [f"add relay {mesh.ports.relay}"] if peers else []
    if paths:
        way = mesh.relays[name].ktcp_interception
        listeners.insert(0, listener_line("client", mesh.ports.client, way))
    return {
        "name": name,
        "conf": {
            "settings": [*settings_lines(mesh.settings), *source_lines(mesh.relays[name])],
            "thread_pool": thread_pool_lines(mesh),
            "listeners": listeners,
            "peers": peers,
            "routes": [route_line(mesh, name, way, mark) for way, mark in marks.items()],
            "exits": exit_lines(mesh, name),
        },
        "keys": {number: mesh.keys[number] for number in sorted(mesh.keys)},
        "steering": steering,
        "sets4": sets.listed(4),
        "sets6": sets.listed(6),
        "relays4": relays[4],
        "relays6": relays[6],
        "relay_port": mesh.ports.relay,
        "peers_addresses": addresses,
        "inside4": neighbours.inside(name, 4),
        "inside6": neighbours.inside(name, 6),
    }


def assign_marks(paths: Sequence[Path]) -> dict[Way, int]:
    """Give each way of an ingress its mark, in the order of the marks.

    A way keeps its mark when paths are added after it. To keep marks in all cases, write them
    into the inventory.
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
    """The peers of each relay: their lines for the module, and their addresses.

    ``own`` are the addresses of all relays, with and without a tunnel.
    """

    def __init__(self, mesh: Mesh, own: Iterable[Network]) -> None:
        self.mesh = mesh
        self.own = {version: relay_set(own, version) for version in (4, 6)}
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

    def relays(self, version: int, sets: Sets) -> str:
        """Give the name of the set of all relays' own addresses, empty if they have none."""
        own = self.own[version]
        return sets.put(own, version) if own else ""

    def inside(self, name: str, version: int) -> str:
        """Give the interface on which a transparent exit gets answers; empty for other relays."""
        interface = self.mesh.relays[name].ktcp_inside_interface
        return interface or "" if (name, version) in self.transparent else ""


def relay_networks(mesh: Mesh) -> set[Network]:
    """Give the addresses at which other relays and Ansible reach the relays."""
    return {
        ip_network(address)
        for relay in mesh.relays.values()
        for address in (relay.ktcp_address, relay.ktcp_address6, relay.ansible_host)
        if address
    }


def relay_set(own: Iterable[Network], version: int) -> AddressSet | None:
    """Make the set of the relays' addresses of one family, if there are any."""
    entries = collapsed(net for net in own if net.version == version)
    return address_set("KTCP-relays", version, entries) if entries else None


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


def source_lines(relay: Relay) -> list[str]:
    """Write the addresses that a relay's legs come from: its peers know it by these."""
    addresses = {"source4": relay.ktcp_address, "source6": relay.ktcp_address6}
    return [f"{name} {address}" for name, address in addresses.items() if address]


def thread_pool_lines(mesh: Mesh) -> list[str]:
    """Write the thread pool's watermarks, if the mesh sets them."""
    pool = mesh.thread_pool
    return [f"low {pool.low}", f"high {pool.high}"] if pool else []


def legs(mesh: Mesh, way: Sequence[str]) -> Iterator[str]:
    """Write the endpoint at which each relay of a way is reached by the relay before it."""
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
    """Write a relay's exit list in its order; one line for each range, as procfs shows it."""
    lines = []
    for rule in mesh.exits.get(name, ()):
        target = f"{rule.action} {rule.prefix}"
        lines += (
            [f"{target} port {some.first}-{some.last}" for some in rule.ports]
            if rule.ports
            else [target]
        )
    return lines
