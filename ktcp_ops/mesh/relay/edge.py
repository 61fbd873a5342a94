# SPDX-License-Identifier: GPL-2.0-only
"""How traffic comes to a relay: routes of the edges, and the relays' routes back to them."""

from collections.abc import Iterator
from typing import Any, TypedDict

from ktcp_ops.mesh.model.mesh import Edge, Mesh
from ktcp_ops.mesh.relay.tunnel import destinations, dialling, interfaces, reached


class EdgeRoute(TypedDict):
    """A route of variable ``ktcp_edge_routes``.

    An empty ``via`` means through the tunnel. For packets of its own, the host uses a source
    address in one of ``sources``.
    """

    destination: str
    via: str
    sources: list[str]


def host_variables(mesh: Mesh) -> dict[str, dict[str, Any]]:
    """Compute the roles' variables about tunnels and edges, by host, for the hosts with some.

    The mesh must be a checked one.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, interface in interfaces(mesh).items():
        found.setdefault(name, {})["ktcp_wireguard_interface"] = interface
    for name, routes in all_routes(mesh):
        found.setdefault(name, {}).setdefault("ktcp_edge_routes", []).extend(routes)
    return found


def all_routes(mesh: Mesh) -> Iterator[tuple[str, list[EdgeRoute]]]:
    """Give the routes of each edge, and those back to what is behind it."""
    for name, edge in sorted(mesh.edges.items()):
        yield name, edge_routes(mesh, edge)
    for edge in dialling(mesh).values():
        yield (
            edge.relay,
            [{"destination": str(net), "via": "", "sources": []} for net in edge.networks],
        )


def edge_routes(mesh: Mesh, edge: Edge) -> list[EdgeRoute]:
    """Give an edge's routes to all that its relay's paths take."""
    hops = {address.version: str(address) for address in reached(mesh, edge)}
    return [
        {
            "destination": str(net),
            "via": hops[net.version] if edge.by == "route" else "",
            "sources": [str(own) for own in edge.networks if own.version == net.version],
        }
        for net in destinations(mesh, edge.relay)
    ]
