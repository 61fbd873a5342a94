# SPDX-License-Identifier: GPL-2.0-only
r"""The hosts of a rehearsal and the links between them: a pure function of the meshes.

::

    client of an ingress ---- ingress ======== exit ---- target behind the exit
                                 \_____ plain routing ____/

Each relay is a namespace with its own addresses, and has a link to each relay that it works with.
There is one client behind each ingress and one target behind each exit.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from itertools import combinations, pairwise

from ktcp_ops.mesh.model import distance
from ktcp_ops.mesh.model.mesh import Mesh, Path
from ktcp_ops.mesh.relay.tunnel import over
from ktcp_testbed.rehearsal.checks import Check, own_of
from ktcp_testbed.rehearsal.checks import checks as checks_of

ASSUMED_US = 20_000
"""The length of a leg that nobody has measured or stated."""

LINKS4 = IPv4Address("198.18.0.0")
LINKS6 = IPv6Address("fd6b:7463:7265::")


@dataclass(frozen=True, kw_only=True)
class Host:
    """A namespace, with the addresses that it has whatever its links."""

    name: str
    addresses: tuple[str, ...]
    forwards: bool = False


@dataclass(frozen=True, kw_only=True)
class End:
    """A host's interface on a link, and its IPv4 and IPv6 address there."""

    host: str
    device: str
    addresses: tuple[str, str]

    def gateway(self, version: int) -> str:
        """The address by which the other end reaches this one."""
        return self.addresses[version == 6].partition("/")[0]


@dataclass(frozen=True, kw_only=True)
class Link:
    """Two interfaces, and how long a round trip between them takes."""

    ends: tuple[End, End]
    rtt_us: int


@dataclass(frozen=True, kw_only=True)
class Route:
    """A route of a host."""

    host: str
    prefix: str
    via: str
    device: str


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A check as the guest needs it: the hosts in the place of relays."""

    name: str
    client: str
    source: str
    address: str
    port: int
    ingress: str
    target: tuple[str, str, int]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything that the guest has to make, and the relays' hosts by their names."""

    hosts: tuple[Host, ...]
    links: tuple[Link, ...]
    routes: tuple[Route, ...]
    relays: dict[str, str]
    checks: tuple[Flow, ...]


@dataclass(kw_only=True)
class Stage:
    """A scene in the making."""

    meshes: tuple[Mesh, ...]
    checks: list[Check]
    links: dict[frozenset[str], Link] = field(default_factory=dict)
    routes: dict[tuple[str, str], Route] = field(default_factory=dict)
    assumed: set[frozenset[str]] = field(default_factory=set)
    """The ends of legs whose length nobody knows."""

    def __post_init__(self) -> None:
        names = sorted({name for mesh in self.meshes for name in mesh.relays})
        self.relays = {name: f"r{number}" for number, name in enumerate(names, start=1)}
        self.paths: dict[str, Path] = {}
        for mesh in reversed(self.meshes):
            self.paths |= {path.name: path for path in mesh.paths}

    def client(self, check: Check) -> str:
        """The host of a check's client."""
        return f"c-{self.relays[check.ingress]}"

    def site(self, check: Check) -> str:
        """The host of a check's target: behind the exit that is preferred."""
        return f"t-{self.relays[check.exits[0]]}"

    def join(self, one: str, other: str, rtt_us: int | None, device: str = "") -> None:
        """Link two hosts, unless they are linked; ``device`` names the interface of the first."""
        both = frozenset((one, other))
        if both in self.links:
            return
        if rtt_us is None:
            self.assumed.add(both)
            rtt_us = ASSUMED_US
        number = len(self.links)
        names = (device or f"to-{other}", f"to-{one}")
        ends = [
            End(host=host, device=name, addresses=link_addresses(number, place))
            for place, (host, name) in enumerate(zip((one, other), names, strict=True), start=1)
        ]
        self.links[both] = Link(ends=(ends[0], ends[1]), rtt_us=rtt_us)

    def lead(self, host: str, to: IPv4Address | IPv6Address | int, over_host: str) -> None:
        """Route an address, or (for 4 and 6) everything else, over a neighbour."""
        link = self.links.get(frozenset((host, over_host)))
        if link is None:
            return
        own, other = link.ends if link.ends[0].host == host else reversed(link.ends)
        version = to if isinstance(to, int) else to.version
        prefix = "default" if isinstance(to, int) else f"{to}/{to.max_prefixlen}"
        route = Route(host=host, prefix=prefix, via=other.gateway(version), device=own.device)
        # The first one stays: it is the preferred one.
        self.routes.setdefault((host, f"{prefix} {version}"), route)


def link_addresses(number: int, place: int) -> tuple[str, str]:
    """The addresses of an end (1 or 2) of a link."""
    return f"{LINKS4 + 4 * number + place}/30", f"{LINKS6 + (number << 32) + place}/96"


def make(meshes: tuple[Mesh, ...]) -> tuple[Scene, list[Check], int]:
    """Make the scene of the meshes, the one after the change first.

    Returns:
        The scene, the checks whose flows it has, and how many legs have an assumed length.
    """
    checks = checks_of(meshes[0], meshes[1] if len(meshes) > 1 else None)
    stage = Stage(meshes=meshes, checks=checks)
    link_targets(stage)
    link_relays(stage)
    lead_relays(stage)
    for check in checks:
        lead_check(stage, check)
    scene = Scene(
        hosts=tuple(hosts(stage)),
        links=tuple(stage.links.values()),
        routes=tuple(stage.routes.values()),
        relays=stage.relays,
        checks=tuple(flow(stage, check) for check in checks),
    )
    return scene, checks, len(stage.assumed)


def flow(stage: Stage, check: Check) -> Flow:
    """Put a check into the guest's words."""
    return Flow(
        name=check.name,
        client=stage.client(check),
        source=str(check.source),
        address=str(check.address),
        port=check.port,
        ingress=stage.relays[check.ingress],
        target=(stage.site(check), str(check.target), check.target_port),
    )


def hosts(stage: Stage) -> Iterator[Host]:
    """Give all hosts: relays, clients, targets."""
    for name, host in stage.relays.items():
        own = (address for mesh in stage.meshes for address in addresses_of(mesh, name))
        yield Host(name=host, addresses=tuple(dict.fromkeys(map(whole, own))), forwards=True)
    held: dict[str, list[str]] = {}
    for check in stage.checks:
        held.setdefault(stage.client(check), []).append(whole(check.source))
        held.setdefault(stage.site(check), []).append(whole(check.target))
    for host, addresses in sorted(held.items()):
        yield Host(name=host, addresses=tuple(dict.fromkeys(addresses)))


def whole(address: IPv4Address | IPv6Address) -> str:
    """Write an address as a prefix of its own."""
    return f"{address}/{address.max_prefixlen}"


def addresses_of(mesh: Mesh, name: str) -> list[IPv4Address | IPv6Address]:
    """Give the addresses of a relay, with and without a tunnel: a tunnel is a plain link here."""
    return [
        address
        for some in (mesh, over(mesh))
        if name in some.relays
        for address in own_of(some.relays[name])
    ]


def link_targets(stage: Stage) -> None:
    """Link clients with their ingress, and targets with exits and, for plain routing, ingresses."""
    latencies = [mesh.latency for mesh in stage.meshes]
    for check in stage.checks:
        path, site = stage.paths[check.path], stage.site(check)
        client_us = first(distance.to_client(latency, path) for latency in latencies)
        stage.join(stage.relays[check.ingress], stage.client(check), client_us)
        inside = inside_interface(stage, check.exits[0])
        for name in check.exits:
            rtt = first(distance.to_target(latency, path, name) for latency in latencies)
            stage.join(stage.relays[name], site, rtt, inside if name == check.exits[0] else "")
        stage.join(stage.relays[check.ingress], site, plain(stage, check, client_us))


def inside_interface(stage: Stage, name: str) -> str:
    """Give the name that an exit has for its interface to the targets of transparent paths."""
    if not any(check.transparent and check.exits[0] == name for check in stage.checks):
        return ""
    relays = (mesh.relays[name] for mesh in stage.meshes if name in mesh.relays)
    return next((relay.ktcp_inside_interface or "" for relay in relays), "")


def plain(stage: Stage, check: Check, client_us: int | None) -> int:
    """Give the round trip from an ingress to the target by plain routing.

    If nobody measured it, it is as long as the way through the relays.
    """
    path = stage.paths[check.path]
    latencies = [mesh.latency for mesh in stage.meshes]
    around = first(distance.routed(latency, path) for latency in latencies)
    if around is not None and client_us is not None:
        return max(around - client_us, 0)
    target = first(distance.to_target(latency, path, check.exits[0]) for latency in latencies)
    legs = sum(between(stage, one, other) or ASSUMED_US for one, other in pairwise(path.relays))
    return legs + (ASSUMED_US if target is None else target)


def between(stage: Stage, one: str, other: str) -> int | None:
    """Give the round trip between two relays, if it is known."""
    return first(mesh.latency.rtt(one, other) for mesh in stage.meshes)


def first(found: Iterable[int | None]) -> int | None:
    """Give the first that is known."""
    return next((each for each in found if each is not None), None)


def link_relays(stage: Stage) -> None:
    """Link the relays that are peers, follow each other on a path, or begin and end one."""
    pairs: dict[frozenset[str], None] = {}
    for mesh in stage.meshes:
        listed = combinations(sorted(mesh.relays), 2) if mesh.pairs is None else mesh.pairs
        courses = [course for path in mesh.paths for course in path.courses]
        followed = [pair for course in courses for pair in pairwise(course)]
        ends = [(course[0], course[-1]) for course in courses]
        for one, other in (*listed, *followed, *ends):
            if one != other:
                pairs[frozenset((one, other))] = None
    for pair in pairs:
        one, other = sorted(pair)
        stage.join(stage.relays[one], stage.relays[other], between(stage, one, other))


def lead_relays(stage: Stage) -> None:
    """Route the relays' own addresses between them."""
    for one, other in combinations(stage.relays, 2):
        for mesh in stage.meshes:
            for here, there in ((one, other), (other, one)):
                for address in addresses_of(mesh, there):
                    stage.lead(stage.relays[here], address, stage.relays[there])


def lead_check(stage: Stage, check: Check) -> None:
    """Route what a check's flow needs, from its client to its target and back."""
    client, site = stage.client(check), stage.site(check)
    ingress = stage.relays[check.ingress]
    for version in (4, 6):
        stage.lead(client, version, ingress)
    stage.lead(ingress, check.source, client)
    for name in check.exits:
        stage.lead(stage.relays[name], check.target, site)
        stage.lead(stage.relays[name], check.source, ingress)
    stage.lead(ingress, check.target, site)
    # A transparent exit has to get the answers to the client for whom it speaks.
    back = stage.relays[check.exits[0]] if check.transparent else ingress
    stage.lead(site, check.source, back)
