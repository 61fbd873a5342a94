# SPDX-License-Identifier: GPL-2.0-only
"""Whether it is clear which path a flow takes by its destination, and whether one can take it."""

from collections.abc import Iterator

from ktcp_ops.mesh.checks.relays import relay_addresses
from ktcp_ops.mesh.checks.subject import Problem, Subject, at
from ktcp_ops.mesh.checks.target import never_a_target
from ktcp_ops.mesh.model.mesh import Path
from ktcp_ops.mesh.model.values import ALL_PORTS, Network, PortRange


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


def destinations_are_no_relays(subject: Subject) -> Iterator[Problem]:
    """Nothing that goes to a relay itself is steered, so a path to one would never be used."""
    if subject.unreadable.relays:
        return
    owners = {address: owner for owner, address in relay_addresses(subject.mesh)}
    for number, path in subject.paths:
        for place, network in enumerate(path.destinations):
            owner = owners.get(network.network_address)
            if owner and network.num_addresses == 1:
                yield Problem(
                    at("paths", number, "destinations", place),
                    f"{network.network_address} is {owner} itself, and connections to a relay are "
                    "never split; give the servers an address of their own, or remove this one",
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


def sources_use_paths(subject: Subject) -> Iterator[Problem]:
    """Each destination of a path has the IP version of at least one of its sources."""
    for number, path in subject.paths:
        if not path.sources:
            continue
        speaks = {net.version for net in path.sources}
        for place, network in enumerate(path.destinations):
            if network.version not in speaks:
                yield Problem(
                    at("paths", number, "destinations", place),
                    f"{network} is IPv{network.version}, and no prefix of sources is, so nobody "
                    f"could use it; add IPv{network.version} prefixes to sources, or remove it",
                )
