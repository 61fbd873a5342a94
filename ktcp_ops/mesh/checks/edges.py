# SPDX-License-Identifier: GPL-2.0-only
"""Whether edges reach their relays, and relays what is behind the edges."""

from collections.abc import Iterator
from itertools import combinations

from ktcp_ops.mesh.checks.subject import Problem, Subject, at, not_a_relay
from ktcp_ops.mesh.model.mesh import Edge
from ktcp_ops.mesh.model.prefix import encloses
from ktcp_ops.mesh.relay.tunnel import destinations, dialling, reached


def sound_edges(subject: Subject) -> Iterator[tuple[str, Edge]]:
    """Give the edges whose relay exists."""
    for name, edge in sorted(subject.mesh.edges.items()):
        if edge.relay in subject.mesh.relays:
            yield name, edge


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
