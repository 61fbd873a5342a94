# SPDX-License-Identifier: GPL-2.0-only
"""Whether tunnels and edges fit into a mesh. Like ``check``, reports all problems."""

from collections.abc import Iterator
from ipaddress import ip_network
from itertools import combinations

from ktcp_ops.mesh.checks.check import Check, Problem, Subject, at, not_a_relay
from ktcp_ops.mesh.model.description import key_path
from ktcp_ops.mesh.model.mesh import Edge, Mesh, Path
from ktcp_ops.mesh.model.values import Network
from ktcp_ops.mesh.relay.steering import encloses
from ktcp_ops.mesh.relay.tunnel import (
    Address,
    chosen,
    destinations,
    dialling,
    members,
    reached,
    room,
    tunnel_address,
)


def sound_edges(subject: Subject) -> Iterator[tuple[str, Edge]]:
    """Give the edges whose relay exists."""
    for name, edge in sorted(subject.mesh.edges.items()):
        if edge.relay in subject.mesh.relays:
            yield name, edge


def hosts(subject: Subject) -> list[str]:
    """Name the hosts with a tunnel interface whose address can be computed."""
    mesh, unreadable = subject.mesh, subject.unreadable
    if {"tunnel", "encryption", "edges"} & unreadable.sections or not room(mesh.tunnel.network):
        return []
    known = mesh.relays.keys() | mesh.edges.keys()
    return [name for name in members(mesh) if name in known and name not in unreadable.relays]


def address_key(mesh: Mesh, name: str) -> str:
    """Spell where a host's own tunnel address is set."""
    if name in mesh.edges:
        return at("edges", name, "address")
    return key_path("hostvars", name, "ktcp_tunnel_address")


def tunnel_has_room(subject: Subject) -> Iterator[Problem]:
    """Each host with an interface gets an address."""
    mesh = subject.mesh
    needed, there = len(members(mesh)), room(mesh.tunnel.network)
    if needed > there:
        yield Problem(
            at("tunnel", "network"),
            f"{mesh.tunnel.network} has {there} addresses for {needed} hosts; "
            "write a larger network",
        )


def tunnel_addresses_differ(subject: Subject) -> Iterator[Problem]:
    """No two hosts have one address, whether it comes from their names or from the inventory."""
    mesh = subject.mesh
    owners: dict[Address, str] = {}
    taken = {tunnel_address(mesh, name) for name in hosts(subject)}
    for name in sorted(hosts(subject), key=lambda name: (chosen(mesh, name) is None, name)):
        address = tunnel_address(mesh, name)
        if address in owners:
            free = free_address(mesh.tunnel.network, taken)
            yield Problem(
                address_key(mesh, name),
                f"{address} is also the tunnel address of {owners[address]}; "
                f"set it to one that is free{f', like {free}' if free else ''}",
            )
        owners.setdefault(address, name)


def free_address(network: Network, taken: set[Address]) -> Address | None:
    """Find an address of the tunnel that no host has."""
    last = min(room(network), len(taken) + 1)
    near = (network[number] for number in range(1, last + 1))
    return next((address for address in near if address not in taken), None)


def tunnel_addresses_are_inside(subject: Subject) -> Iterator[Problem]:
    """An address that the inventory chooses is one of the tunnel's."""
    mesh = subject.mesh
    for name in hosts(subject):
        own, network = chosen(mesh, name), mesh.tunnel.network
        ends = {network[0], network[-1]}
        if own is not None and (own not in network or own in ends):
            yield Problem(
                address_key(mesh, name),
                f"{own} is not a host's address in ktcp_mesh.tunnel.network, {network}; "
                f"write one that is, like {network[1]}, or leave it out",
            )


def tunnel_is_apart(subject: Subject) -> Iterator[Problem]:
    """Nothing else is in the tunnel's network: packets for it would go into the tunnel."""
    mesh = subject.mesh
    if not hosts(subject):
        return
    for what, network in others(mesh, subject.paths):
        if encloses(mesh.tunnel.network, network):
            yield Problem(
                at("tunnel", "network"),
                f"{network}, {what}, lies in {mesh.tunnel.network}; "
                "write a network that nobody else uses",
            )


def others(mesh: Mesh, paths: tuple[tuple[int, Path], ...]) -> Iterator[tuple[str, Network]]:
    """Give the networks that a mesh names, and what each is."""
    for name, relay in sorted(mesh.relays.items()):
        for address in (relay.ktcp_address, relay.ktcp_address6):
            if address:
                yield f"the address of {name}", ip_network(address)
    for _, path in paths:
        yield from ((f"of path {path.name!r}", network) for network in path.targets)
    for name, edge in sorted(mesh.edges.items()):
        yield from ((f"a network of edge {name!r}", network) for network in edge.networks)


def edges_are_hosts(subject: Subject) -> Iterator[Problem]:
    """An edge is a host of the inventory, and no relay."""
    for name in sorted(subject.mesh.edges.keys() | subject.unreadable.edges):
        if name in subject.mesh.relays:
            yield Problem(
                at("edges", name),
                "is a relay, which takes its own traffic already; remove it, or name a host "
                "that is to send its traffic to a relay",
            )
        elif name not in subject.hosts:
            yield Problem(
                at("edges", name),
                f"{name!r} is not a host of the inventory; add it, outside of group "
                f"{subject.mesh.relays_group}, or name another host",
            )


def edges_have_relays(subject: Subject) -> Iterator[Problem]:
    """An edge's relay is one at which paths with destinations begin."""
    mesh = subject.mesh
    for name, edge in sorted(mesh.edges.items()):
        key = at("edges", name, "relay")
        if edge.relay not in mesh.relays:
            yield Problem(key, not_a_relay(edge.relay, mesh))
        elif not destinations(mesh, edge.relay) and not subject.unreadable.path_fields:
            yield Problem(
                key,
                f"no path with destinations begins at {edge.relay}, so this edge would send "
                "nothing there; name the ingress of a path",
            )


def edges_keep_their_default_route(subject: Subject) -> Iterator[Problem]:
    """No path gives an edge another default route than its own."""
    for name, edge in sound_edges(subject):
        for network in destinations(subject.mesh, edge.relay):
            if network.prefixlen == 0:
                yield Problem(
                    at("edges", name, "relay"),
                    f"a path of {edge.relay} takes {network}, which would become the default "
                    f"route of {name}, and no edge's default route is changed; list narrower "
                    f"destinations, or route {name} by hand",
                )


def edges_reach_their_relays(subject: Subject) -> Iterator[Problem]:
    """A route has a next hop of its family; a tunnel has one address to connect to."""
    for name, edge in sound_edges(subject):
        if edge.relay in subject.unreadable.relays:
            continue
        versions = [address.version for address in reached(subject.mesh, edge)]
        for version in sorted({v for v in versions if versions.count(v) > 1}):
            yield Problem(
                at("edges", name, "via"),
                f"has {versions.count(version)} IPv{version} addresses; write one of each family",
            )
        wanted = {net.version for net in destinations(subject.mesh, edge.relay)}
        if edge.by == "route":
            for version in sorted(wanted - set(versions)):
                yield Problem(
                    at("edges", name, "via"),
                    f"has no IPv{version} address, and paths of {edge.relay} take IPv{version} "
                    f"destinations; add the one at which {name} reaches {edge.relay}",
                )


def tunnels_lead_back(subject: Subject) -> Iterator[Problem]:
    """An edge by tunnel says which networks are behind it; an edge by route need not."""
    for name, edge in sorted(subject.mesh.edges.items()):
        key = at("edges", name, "networks")
        if edge.by == "wireguard" and not edge.networks:
            yield Problem(
                key,
                f"is empty, so {edge.relay} would not know what to send into the tunnel; "
                "list the prefixes behind this edge",
            )
        if edge.by == "route" and edge.networks:
            yield Problem(
                key, "is set, and only a tunnel needs it; remove it, or write by: wireguard"
            )
        for place, network in enumerate(edge.networks):
            if network.prefixlen == 0:
                yield Problem(
                    at("edges", name, "networks", place),
                    f"{network} is all addresses, which cannot all be behind one edge; "
                    "list the edge's own prefixes",
                )


def tunnels_are_told_apart(subject: Subject) -> Iterator[Problem]:
    """On one interface, WireGuard sends a network's packets to one peer only."""
    for (one, edge), (name, other) in combinations(dialling(subject.mesh).items(), 2):
        if edge.relay != other.relay:
            continue
        for place, network in enumerate(other.networks):
            for mine in edge.networks:
                if encloses(mine, network) or encloses(network, mine):
                    yield Problem(
                        at("edges", name, "networks", place),
                        f"{network} overlaps {mine} of edge {one!r} of the same relay; "
                        "keep it in one of the two",
                    )


CHECKS: tuple[Check, ...] = (
    tunnel_has_room,
    tunnel_addresses_differ,
    tunnel_addresses_are_inside,
    tunnel_is_apart,
    edges_are_hosts,
    edges_have_relays,
    edges_keep_their_default_route,
    edges_reach_their_relays,
    tunnels_lead_back,
    tunnels_are_told_apart,
)
