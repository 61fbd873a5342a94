# SPDX-License-Identifier: GPL-2.0-only
"""Whether the parts of a mesh fit together.

Each check yields problems and never stops at the first. Parts that could not be read are in
``Unreadable``: no check repeats that, or reports what only follows from it.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from itertools import pairwise
from urllib.parse import urlsplit

from ktcp_ops.mesh.checks import acl, memory
from ktcp_ops.mesh.model.description import key_path
from ktcp_ops.mesh.model.mesh import MAX_BACKUPS, MAX_HOPS, RETURN_MARK, Mesh, Path, Relay, Way
from ktcp_ops.mesh.model.values import ALL_PORTS, Endpoint, Network, PortRange
from ktcp_ops.mesh.relay.steering import encloses, nest
from ktcp_ops.mesh.relay.steering import place as place_of
from ktcp_ops.mesh.relay.tunnel import Address

NEVER_A_TARGET = {
    ip_network(text): what
    for text, what in {
        "0.0.0.0/8": "reserved",
        "127.0.0.0/8": "loopback",
        "169.254.0.0/16": "link-local",
        "224.0.0.0/4": "multicast",
        "255.255.255.255/32": "broadcast",
        "::1/128": "loopback",
        "::/96": "IPv4 written as IPv6",
        "::ffff:0:0/96": "IPv4 written as IPv6",
        "fe80::/10": "link-local",
        "ff00::/8": "multicast",
    }.items()
}
"""What a relay never connects to, whatever its exit list says, and why."""


@dataclass(frozen=True)
class Problem:
    """Something wrong: the path of the key, then what it is and how to put it right."""

    key: str
    text: str


@dataclass
class Unreadable:
    """The parts that could not be read, and were left out of the mesh under check."""

    sections: set[str] = field(default_factory=set)
    path_fields: dict[int, set[str]] = field(default_factory=dict)
    relays: set[str] = field(default_factory=set)
    exits: set[str] = field(default_factory=set)
    edges: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Subject:
    """A mesh under check. ``paths`` are those that could be read, with their numbers."""

    mesh: Mesh
    hosts: frozenset[str]
    unreadable: Unreadable
    paths: tuple[tuple[int, Path], ...]

    def sound_paths(self) -> Iterator[tuple[int, Path]]:
        """Give the paths that have a way, and whose relays all exist."""
        for number, path in self.paths:
            named = {name for course in path.courses for name in course} | {*path.exits}
            if path.via is not None and all(relay in self.mesh.relays for relay in named):
                yield number, path

    def sound_exits(self) -> Iterator[tuple[int, Path, str]]:
        """Give each of these paths with each relay at which its flows may leave."""
        for number, path in self.sound_paths():
            for name in path.possible_exits:
                yield number, path, name


def course_at(number: int, course: int, *parts: int) -> str:
    """Spell the key of a way of a path: the first one is in ``via``, the others in ``backup``."""
    return at("paths", number, *(("backup", course - 1) if course else ("via",)), *parts)


def at(*parts: str | int) -> str:
    """Spell a key path below ``ktcp_mesh``."""
    return key_path("ktcp_mesh", *parts)


def not_a_relay(name: str, mesh: Mesh) -> str:
    """Say that a name is no relay's, with the nearest that is."""
    near = get_close_matches(name, mesh.relays, n=1) or list(mesh.relays)[:3]
    return (
        f"{name!r} is not a relay; write {' or '.join(near) or 'the name of a relay'}, "
        f"or add the host to group {mesh.relays_group}"
    )


def never_a_target(network: Network) -> str | None:
    """Say what kind of network it is if no relay connects to it; None if relays may."""
    return next((what for never, what in NEVER_A_TARGET.items() if encloses(never, network)), None)


def ports_differ(subject: Subject) -> Iterator[Problem]:
    """Two listeners cannot share a port."""
    ports = subject.mesh.ports
    if ports.client == ports.relay:
        yield Problem(at("ports"), f"client and relay are both {ports.client}; change one of them")


def group_has_relays(subject: Subject) -> Iterator[Problem]:
    """A mesh has relays."""
    if not subject.mesh.relays:
        group = subject.mesh.relays_group
        yield Problem(
            at("relays_group"),
            f"the inventory has no host in group {group}; add the relays to it, "
            "or name another group",
        )


def settings_fit(subject: Subject) -> Iterator[Problem]:
    """A far leg that starts at the SYN needs a ready thread."""
    settings = subject.mesh.settings
    if settings.early_syn and settings.thread_pool is False:
        yield Problem(
            at("settings", "early_syn"),
            "is on and needs thread_pool, which is off; switch thread_pool on, or early_syn off",
        )


def pairs_are_relays(subject: Subject) -> Iterator[Problem]:
    """Each pair names two different relays, and none is written twice."""
    seen: set[frozenset[str]] = set()
    for number, pair in enumerate(subject.mesh.pairs or ()):
        for place, name in enumerate(pair):
            if subject.mesh.relays and name not in subject.mesh.relays:
                yield Problem(at("pairs", number, place), not_a_relay(name, subject.mesh))
        if pair[0] == pair[1]:
            yield Problem(
                at("pairs", number), f"{pair[0]!r} is paired with itself; remove the pair"
            )
        elif frozenset(pair) in seen:
            yield Problem(at("pairs", number), "the pair is listed twice; remove one of the two")
        seen.add(frozenset(pair))


def relays_have_addresses(subject: Subject) -> Iterator[Problem]:
    """A relay that others connect to, or where flows enter, has an address of its own."""
    needed = {name for _, path in subject.paths for course in path.courses for name in course}
    needed |= {name for _, path in subject.paths for name in path.exits}
    needed |= {name for pair in subject.mesh.pairs or () for name in pair}
    if subject.mesh.pairs is None and len(subject.mesh.relays) > 1:
        needed |= set(subject.mesh.relays)
    owners: dict[object, str] = {}
    for name, relay in sorted(subject.mesh.relays.items()):
        own = [address for address in (relay.ktcp_address, relay.ktcp_address6) if address]
        if not own and name in needed and name not in subject.unreadable.relays:
            yield Problem(
                key_path("hostvars", name, "ktcp_address"),
                "is missing; set it to the address on which the other relays reach this one",
            )
        for address in own:
            variable = "ktcp_address" if address.version == 4 else "ktcp_address6"
            if address in owners:
                yield Problem(
                    key_path("hostvars", name, variable),
                    f"{address} is also the address of {owners[address]}; give each relay its own",
                )
            owners.setdefault(address, name)


def legs_share_a_family(subject: Subject) -> Iterator[Problem]:
    """Two paired relays can speak IPv4 or IPv6 with each other."""
    mesh = subject.mesh
    known = {
        name: relay
        for name, relay in sorted(mesh.relays.items())
        if name not in subject.unreadable.relays and (relay.ktcp_address or relay.ktcp_address6)
    }
    if mesh.pairs is None:
        only4 = [relay for relay in known.values() if not relay.ktcp_address6]
        only6 = [relay for relay in known.values() if not relay.ktcp_address]
        strangers = [(only4[0], relay) for relay in only6] if only4 else []
    else:
        strangers = [
            (known[one], known[other])
            for one, other in mesh.pairs
            if one in known and other in known and not known[one].leg_to(known[other])
        ]
    for one, other in strangers:
        yield family_problem(one, other)


def family_problem(one: Relay, other: Relay) -> Problem:
    """Say that two relays have no family in common."""
    lacking = "ktcp_address" if one.ktcp_address else "ktcp_address6"
    family = "IPv4" if one.ktcp_address else "IPv6"
    return Problem(
        key_path("hostvars", other.name, lacking),
        f"is missing, and {one.name} has only {family} to reach this relay; set it",
    )


def pools_fit_memory(subject: Subject) -> Iterator[Problem]:
    """The pools leave half of a relay's memory to splits and everything else."""
    mesh = subject.mesh
    if {"pool", "thread_pool", "pairs"} & subject.unreadable.sections:
        return
    for name, relay in sorted(mesh.relays.items()):
        if relay.ktcp_memory_mib is None:
            continue
        needed, peers = memory.pools_at_rest(mesh, name) >> 20, memory.neighbours(mesh, name)
        if needed * 2 > relay.ktcp_memory_mib:
            yield Problem(
                key_path("hostvars", name, "ktcp_memory_mib"),
                f"is {relay.ktcp_memory_mib}, and the pools of this relay (peers: {peers}) take "
                f"{needed} MiB, more than half of it; lower high of ktcp_mesh.pool or "
                "ktcp_mesh.thread_pool, list pairs, or give the relay more memory",
            )


def names_are_unique(subject: Subject) -> Iterator[Problem]:
    """Each path has a name of its own, by which reports and chains call it."""
    seen: dict[str, int] = {}
    for number, path in subject.paths:
        if path.name in seen:
            yield Problem(
                at("paths", number, "name"),
                f"{path.name!r} is also the name of {at('paths', seen[path.name])}; rename one",
            )
        seen.setdefault(path.name, number)


def paths_are_relays(subject: Subject) -> Iterator[Problem]:
    """A path goes over relays."""
    if not subject.mesh.relays:
        return
    for number, path in subject.paths:
        if path.ingress not in subject.mesh.relays:
            yield Problem(at("paths", number, "ingress"), not_a_relay(path.ingress, subject.mesh))
        if path.exits:
            for place, name in enumerate(path.exits):
                if name not in subject.mesh.relays:
                    yield Problem(
                        at("paths", number, "exits", place), not_a_relay(name, subject.mesh)
                    )
            continue
        for course, (_, *via) in enumerate(path.courses):
            for place, name in enumerate(via):
                if name not in subject.mesh.relays:
                    yield Problem(course_at(number, course, place), not_a_relay(name, subject.mesh))


def auto_paths_have_ways(subject: Subject) -> Iterator[Problem]:
    """Pairs lead from the ingress of an auto path to one of its exits."""
    mesh = subject.mesh
    for number, path in subject.paths:
        if path.via is None and all(name in mesh.relays for name in (path.ingress, *path.exits)):
            yield Problem(
                at("paths", number, "via"),
                f"no exit of the path can be reached from {path.ingress} over pairs in "
                f"{mesh.auto.max_hops} hops; add [{path.ingress}, {path.exits[0]}] to "
                "ktcp_mesh.pairs, or raise ktcp_mesh.auto.max_hops",
            )


def paths_end(subject: Subject) -> Iterator[Problem]:
    """A path visits no relay twice and fits into the wire format."""
    for number, path in subject.paths:
        for course, relays in enumerate(path.courses):
            hops = len(relays) - 1
            if hops > MAX_HOPS:
                yield Problem(
                    course_at(number, course),
                    f"{hops} hops are more than the {MAX_HOPS} a path may have; shorten it",
                )
            for place, name in enumerate(relays[1:]):
                if name in relays[: place + 1]:
                    yield Problem(
                        course_at(number, course, place),
                        f"the path comes to {name!r} a second time; remove it here or before",
                    )


def backups_stand_in(subject: Subject) -> Iterator[Problem]:
    """Whether a way is used depends on its first relay, so each way begins with another one."""
    for number, path in subject.paths:
        if path.backup and not path.hops:
            yield Problem(
                at("paths", number, "backup"),
                "is set, but via is not, so there is no relay to stand in for; "
                "list the best way in via, or remove backup",
            )
            continue
        if len(path.backup) > MAX_BACKUPS:
            yield Problem(
                at("paths", number, "backup"),
                f"lists {len(path.backup)} ways, and a path may have {MAX_BACKUPS}; shorten it",
            )
        seen = set(path.hops[:1])
        for place, via in enumerate(path.backup):
            if not via:
                yield Problem(
                    at("paths", number, "backup", place),
                    "is empty; list its relays, or remove it: flows are routed anyway "
                    "when no way is up",
                )
            elif via[0] in seen:
                yield Problem(
                    at("paths", number, "backup", place, 0),
                    f"another way of this path begins with {via[0]!r}, too, so both are down when "
                    "it is; begin with another relay, or remove this way",
                )
            seen.update(via[:1])


def pairs_cover_paths(subject: Subject) -> Iterator[Problem]:
    """Consecutive relays of a path keep connections to each other."""
    for number, path in subject.sound_paths():
        for course, relays in enumerate(path.courses):
            for place, (one, other) in enumerate(pairwise(relays)):
                if one != other and not subject.mesh.are_paired(one, other):
                    yield Problem(
                        course_at(number, course, place),
                        f"{one} and {other} are not paired; "
                        f"add [{one}, {other}] to ktcp_mesh.pairs",
                    )


def paths_have_destinations(subject: Subject) -> Iterator[Problem]:
    """A path takes flows by their destinations, or those to one service port."""
    for number, path in subject.paths:
        unreadable = subject.unreadable.path_fields.get(number, set())
        if {"destinations", "ports", "service"} & unreadable:
            continue
        if path.service:
            for name in ("destinations", "ports"):
                if getattr(path, name):
                    yield Problem(
                        at("paths", number, name),
                        "is set beside service, which already says what the path takes; "
                        "remove one of the two, or make it two paths",
                    )
        elif not path.destinations:
            yield Problem(
                at("paths", number, "destinations"),
                "is empty; list the prefixes whose traffic takes this path, or give it a service",
            )


def destinations_are_targets(subject: Subject) -> Iterator[Problem]:
    """No path leads to addresses that relays never connect to."""
    for number, path in subject.paths:
        for place, network in enumerate(path.destinations):
            what = never_a_target(network)
            if what:
                yield Problem(
                    at("paths", number, "destinations", place),
                    f"{network} is {what}, and relays never connect there; remove it",
                )


def services_have_targets(subject: Subject) -> Iterator[Problem]:
    """A service leads to an address that its exit connects to."""
    for number, path in subject.paths:
        if path.service is None:
            continue
        key, target = at("paths", number, "service", "target"), path.service.target.address
        what = never_a_target(ip_network(target))
        if what:
            yield Problem(
                key,
                f"{target} is {what}, and relays never connect there; "
                "write the target's own address",
            )
        for name in path.possible_exits:
            relay = subject.mesh.relays.get(name)
            if relay and target in (relay.ktcp_address, relay.ktcp_address6):
                yield Problem(
                    key,
                    f"{target} is an address of {name} itself, and a relay never connects to "
                    "itself; name another host",
                )


def services_do_not_circle(subject: Subject) -> Iterator[Problem]:
    """A service whose target is another service, and so on, does not lead back to itself."""
    targets: dict[Endpoint, Endpoint] = {}
    for _, path in subject.paths:
        if path.service:
            for service in service_endpoints(subject.mesh, path):
                targets[service] = path.service.target
    for number, path in subject.paths:
        for service in service_endpoints(subject.mesh, path):
            reached = {service}
            place = targets[service]
            while place in targets and place not in reached:
                reached.add(place)
                place = targets[place]
            if place == service:
                yield Problem(
                    at("paths", number, "service", "target"),
                    f"{targets[service]} leads back to this service over services of relays; "
                    "name a target that is not a service of a relay",
                )


def service_endpoints(mesh: Mesh, path: Path) -> Iterator[Endpoint]:
    """Give the endpoints at which clients reach the service of a path, if the mesh has them."""
    relay = mesh.relays.get(path.ingress)
    if path.service and relay:
        for address in (relay.ktcp_address, relay.ktcp_address6):
            if address:
                yield Endpoint(address, path.service.port)


def service_ports_are_free(subject: Subject) -> Iterator[Problem]:
    """The port of a service is used by nothing else at its ingress."""
    ports = subject.mesh.ports
    owners: dict[tuple[str, int], str] = {}
    for number, path in subject.paths:
        if path.service is None:
            continue
        relay = subject.mesh.relays.get(path.ingress)
        taken = {
            22: "where ssh listens",
            ports.client: "the client listener's",
            ports.relay: "the relay listener's",
        }
        if relay and relay.ansible_port:
            taken[relay.ansible_port] = f"where Ansible reaches {path.ingress}"
        port = path.service.port
        owner = owners.setdefault((path.ingress, port), path.name)
        reason = taken.get(port) or (
            f"also the service port of path {owner!r}" if owner != path.name else ""
        )
        if reason:
            yield Problem(
                at("paths", number, "service", "port"),
                f"{port} of {path.ingress} is {reason}; choose another",
            )


def transparent_exits_keep_answers(subject: Subject) -> Iterator[Problem]:
    """A relay that connects from clients' addresses knows where the answers come in."""
    said: set[str] = set()
    for _, path, name in subject.sound_exits():
        if not path.transparent or name in said | subject.unreadable.relays:
            continue
        if subject.mesh.relays[name].ktcp_inside_interface is None:
            said.add(name)
            yield Problem(
                key_path("hostvars", name, "ktcp_inside_interface"),
                f"is missing, and path {path.name!r} is transparent and leaves here; set it to the "
                "interface on which the targets' packets come in, like eth1",
            )


def destinations_differ(subject: Subject) -> Iterator[Problem]:
    """Each flow of an ingress belongs to one path, the one with the longest prefix."""
    seen: dict[tuple[str, Network], list[tuple[int, Path]]] = {}
    for number, path in subject.paths:
        for place, network in enumerate(path.destinations):
            owners = seen.setdefault((path.ingress, network), [])
            for other, owner in owners:
                if ports_overlap(path.ports, owner.ports):
                    who = "this path" if other == number else f"path {owner.name!r}"
                    yield Problem(
                        at("paths", number, "destinations", place),
                        f"{network} is also a destination of {who} of the same ingress; "
                        "keep it in one, or give them different ports",
                    )
                    break
            owners.append((number, path))


def ports_overlap(one: tuple[PortRange, ...] | None, other: tuple[PortRange, ...] | None) -> bool:
    """Tell whether two lists of ports have one in common; None means all ports."""
    return any(
        a.first <= b.last and b.first <= a.last
        for a in one or (ALL_PORTS,)
        for b in other or (ALL_PORTS,)
    )


def marks_name_routes(subject: Subject) -> Iterator[Problem]:
    """At one ingress a mark stands for one way through the relays, and a way has one mark."""
    ways: dict[tuple[str, int], Path] = {}
    marks: dict[tuple[str, Way], Path] = {}
    for number, path in subject.paths:
        if path.mark is None:
            continue
        other = ways.setdefault((path.ingress, path.mark), path)
        if path.mark == RETURN_MARK:
            yield Problem(
                at("paths", number, "mark"),
                f"{path.mark:#x} is the mark that transparent exits give to answers; "
                "choose another",
            )
        if other.way != path.way:
            yield Problem(
                at("paths", number, "mark"),
                f"{path.mark:#x} is also the mark of path {other.name!r}, which takes another way; "
                "change one, or leave both out",
            )
        other = marks.setdefault((path.ingress, path.way), path)
        if other.mark != path.mark:
            yield Problem(
                at("paths", number, "mark"),
                f"path {other.name!r} takes the same way with mark {other.mark:#x}; "
                "give both the same, or leave both out",
            )


def exits_are_relays(subject: Subject) -> Iterator[Problem]:
    """Exit lists belong to relays."""
    for name in sorted(set(subject.mesh.exits) | subject.unreadable.exits):
        if subject.mesh.relays and name not in subject.mesh.relays:
            yield Problem(at("exits", name), not_a_relay(name, subject.mesh))


def exits_allow_paths(subject: Subject) -> Iterator[Problem]:
    """A path's exits let its flows out; without a list a relay lets nothing out."""
    if "exits" in subject.unreadable.sections:
        return
    spared = [ip_network(address) for _, address in relay_addresses(subject.mesh)]
    lists = {name: acl.ExitList(rules, spared) for name, rules in subject.mesh.exits.items()}
    lost = lost_to_others(subject.paths)
    for number, path, name in subject.sound_exits():
        if name in subject.unreadable.exits or not path.targets:
            continue
        if subject.mesh.exits.get(name):
            yield from exit_allows_path(lists[name], number, path, name, lost)
        else:
            wanted = ", ".join(f"{{allow: {network}}}" for network in path.targets)
            yield Problem(
                at("exits", name),
                f"has no rule, and without one path {path.name!r} cannot leave here; "
                f"add [{wanted}]",
            )


def relay_addresses(mesh: Mesh) -> Iterator[tuple[str, Address]]:
    """Give the addresses of all relays, each with the relay's name."""
    for name, relay in sorted(mesh.relays.items()):
        for address in (relay.ktcp_address, relay.ktcp_address6):
            if address:
                yield name, address


Lost = dict[tuple[int, Network], list[Network]]
"""(Number of a path, one of its prefixes) -> networks inside that another path takes."""


def lost_to_others(paths: Iterable[tuple[int, Path]]) -> Lost:
    """Find what longer prefixes of other paths take from shorter ones, on all their ports."""
    lost: Lost = {}
    by_ingress: dict[str, list[tuple[Network, int, Path]]] = {}
    for number, path in paths:
        entries = by_ingress.setdefault(path.ingress, [])
        entries += [(network, number, path) for network in path.destinations]
    for entries in by_ingress.values():
        entries.sort(key=lambda entry: place_of(entry[0]))
        for (network, number, path), enclosing in nest(entries, lambda entry: entry[0]):
            for outer, other, owner in enclosing:
                if other != number and outer != network and takes_ports(path.ports, owner.ports):
                    lost.setdefault((other, outer), []).append(network)
    return lost


def takes_ports(ports: tuple[PortRange, ...] | None, wanted: tuple[PortRange, ...] | None) -> bool:
    """Tell whether all wanted ports are in sorted, merged ranges; None means all ports."""
    return ports is None or all(
        any(some.first <= each.first and each.last <= some.last for some in ports)
        for each in wanted or (ALL_PORTS,)
    )


def exit_allows_path(
    exit_list: acl.ExitList, number: int, path: Path, name: str, lost: Lost
) -> Iterator[Problem]:
    """The list of an exit allows all of each target of the path."""
    for place, network in enumerate(path.targets):
        found = exit_list.refusal(network, path.target_ports, lost.get((number, network), ()))
        if found is None:
            continue
        wanted = ("service", "target") if path.service else ("destinations", place)
        if found.rule is None:
            yield Problem(
                at("exits", name),
                f"does not allow all of {network}, {at('paths', number, *wanted)}; "
                f"add {{allow: {network}}}",
            )
        else:
            yield Problem(
                at("exits", name, found.rule),
                f"denies {network} of path {path.name!r}, which leaves here; "
                "put an allow before it, or remove the destination",
            )


def key_exists(subject: Subject) -> Iterator[Problem]:
    """Relays authenticate with a key that all of them have."""
    key = subject.mesh.key
    unreadable = subject.unreadable.keys
    if {"key", "keys"} & subject.unreadable.sections or str(key) in unreadable:
        return
    if any(not number.isdigit() for number in unreadable):  # the mesh's key may be among them
        return
    if len(subject.mesh.relays) > 1 and key not in subject.mesh.keys:
        known = ", ".join(map(str, sorted(subject.mesh.keys)))
        have = f"only {known}" if known else "nothing"
        yield Problem(
            key_path("ktcp_keys", str(key)),
            f"is missing: ktcp_mesh.key names it and ktcp_keys has {have}; "
            "add it, made with `openssl rand -hex 32`",
        )


def probes_fit(subject: Subject) -> Iterator[Problem]:
    """A probe starts at a host of the inventory and its URL belongs to its path."""
    for number, path in subject.paths:
        if path.probe is None:
            continue
        if path.probe.host not in subject.hosts:
            yield Problem(
                at("paths", number, "probe", "from"),
                f"{path.probe.host!r} is not a host of the inventory; name one whose traffic "
                f"passes {path.ingress}",
            )
        if path.targets and not takes(path, path.probe.url):
            yield Problem(
                at("paths", number, "probe", "url"),
                f"{path.probe.url} is not on port {path.service.port} of the path's service; "
                f"fetch something from there, at an address of {path.ingress}"
                if path.service
                else f"{path.probe.url} is not within the path's destinations and ports; "
                "fetch something that is",
            )


def takes(path: Path, url: str) -> bool:
    """Tell whether a download belongs to the flows of a path."""
    parts = urlsplit(url)
    target = ip_network(str(ip_address(parts.hostname or "")))
    port = PortRange(parts.port or 80, parts.port or 80)
    if path.service:
        return port.first == path.service.port
    inside = any(encloses(network, target) for network in path.destinations)
    return inside and ports_overlap((port,), path.ports)


Check = Callable[[Subject], Iterator[Problem]]

CHECKS: tuple[Check, ...] = (
    ports_differ,
    group_has_relays,
    settings_fit,
    pairs_are_relays,
    relays_have_addresses,
    legs_share_a_family,
    pools_fit_memory,
    names_are_unique,
    paths_are_relays,
    auto_paths_have_ways,
    paths_end,
    backups_stand_in,
    pairs_cover_paths,
    paths_have_destinations,
    destinations_are_targets,
    services_have_targets,
    services_do_not_circle,
    service_ports_are_free,
    transparent_exits_keep_answers,
    destinations_differ,
    marks_name_routes,
    exits_are_relays,
    exits_allow_paths,
    key_exists,
    probes_fit,
)


def problems(subject: Subject, checks: Iterable[Check]) -> Iterator[Problem]:
    """Run checks; ``CHECKS`` are those about relays and paths."""
    for check in checks:
        yield from check(subject)
