# SPDX-License-Identifier: GPL-2.0-only
"""WireGuard between relays, and from edges to them: who has which address, and which peers.

Keys are not here: each host makes its own, and the roles exchange the public ones.
"""

import hashlib
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import TypedDict

from ktcp_ops.mesh.model.mesh import Edge, Mesh, Relay
from ktcp_ops.mesh.model.values import Endpoint, Network

KEEPALIVE_S = 25
"""Seconds; less than any NAT remembers a flow, since an edge may be behind one."""

Address = IPv4Address | IPv6Address


class TunnelPeer(TypedDict):
    """The other end of a tunnel.

    An empty endpoint means that the other end connects to us; a keepalive of 0 means none.
    """

    name: str
    networks: list[str]
    endpoint: str
    keepalive: int


class Interface(TypedDict):
    """A host's WireGuard interface (variable ``ktcp_wireguard_interface``)."""

    address: str
    port: int
    mtu: int
    peers: list[TunnelPeer]


def over(mesh: Mesh) -> Mesh:
    """Give the mesh with the addresses that its legs use: if encrypted, those of the tunnel."""
    if mesh.encryption == "none":
        return mesh
    relays = {
        name: relay.model_copy(
            update={
                "ktcp_address": address if address.version == 4 else None,
                "ktcp_address6": address if address.version == 6 else None,
            }
        )
        for name, relay in mesh.relays.items()
        for address in [tunnel_address(mesh, name)]
    }
    return mesh.model_copy(update={"relays": relays})


def room(network: Network) -> int:
    """Count the addresses of a network that hosts may have: all but the first and the last."""
    return max(network.num_addresses - 2, 0)


def tunnel_address(mesh: Mesh, name: str) -> Address:
    """Give a host's address in the tunnel: the inventory's, or one computed from its name.

    Computed like this, it stays the same when other hosts come and go.
    """
    own = chosen(mesh, name)
    if own is not None:
        return own
    network = mesh.tunnel.network
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16])
    return network[number % room(network) + 1]


def chosen(mesh: Mesh, name: str) -> Address | None:
    """Give the tunnel address that the inventory says a host has, or None."""
    if name in mesh.edges:
        return mesh.edges[name].address
    return mesh.relays[name].ktcp_tunnel_address


def dialling(mesh: Mesh) -> dict[str, Edge]:
    """Give the edges that connect to their relay by a tunnel, by name."""
    return {name: edge for name, edge in sorted(mesh.edges.items()) if edge.by == "wireguard"}


def members(mesh: Mesh) -> list[str]:
    """Name the hosts that have a WireGuard interface, sorted."""
    edges = dialling(mesh)
    called = {edge.relay for edge in edges.values()}
    return sorted({*edges, *(mesh.relays if mesh.encryption == "wireguard" else called)})


def destinations(mesh: Mesh, relay: str) -> list[Network]:
    """Give what the paths of an ingress take by its destination, sorted."""
    found = {net for path in mesh.paths if path.ingress == relay for net in path.destinations}
    return sorted(found, key=lambda net: (net.version, int(net.network_address), net.prefixlen))


def reached(mesh: Mesh, edge: Edge) -> tuple[Address, ...]:
    """Give the addresses at which an edge reaches its relay, IPv4 first."""
    relay = mesh.relays[edge.relay]
    own = (relay.ktcp_address, relay.ktcp_address6)
    found = edge.via or tuple(address for address in own if address)
    return tuple(sorted(found, key=lambda address: address.version))


def interfaces(mesh: Mesh) -> dict[str, Interface]:
    """Compute the WireGuard interface of every host that has one. The mesh must be checked."""
    tunnel = mesh.tunnel
    ends = Ends(mesh)
    return {
        name: {
            "address": f"{ends.addresses[name]}/{tunnel.network.prefixlen}",
            "port": tunnel.port,
            "mtu": tunnel.mtu,
            "peers": ends.of_edge(name) if name in ends.edges else ends.of_relay(name),
        }
        for name in ends.addresses
    }


class Ends:
    """The peers of each interface. A relay's entry is made once, however many peers share it."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.edges: Mapping[str, Edge] = dialling(mesh)
        self.addresses = {name: tunnel_address(mesh, name) for name in members(mesh)}
        self.made: dict[tuple[str, int], TunnelPeer] = {}

    def of_relay(self, name: str) -> list[TunnelPeer]:
        """Give the relays that a relay is paired with, if legs are encrypted, and its edges."""
        mesh, own = self.mesh, self.mesh.relays[name]
        others = [
            self.relay(own, other)
            for other in (sorted(mesh.relays) if mesh.encryption == "wireguard" else ())
            if other != name and mesh.are_paired(name, other)
        ]
        edges = [
            self.peer(edge, (self.addresses[edge], *self.edges[edge].networks))
            for edge in self.edges
            if self.edges[edge].relay == name
        ]
        return others + edges

    def of_edge(self, name: str) -> list[TunnelPeer]:
        """Give an edge's relay, through which it reaches all that the relay's paths take."""
        edge = self.edges[name]
        networks = (self.addresses[edge.relay], *destinations(self.mesh, edge.relay))
        endpoint = reached(self.mesh, edge)[0]
        return [self.peer(edge.relay, networks, endpoint, keepalive=KEEPALIVE_S)]

    def relay(self, own: Relay, other: str) -> TunnelPeer:
        """Give a relay as another one's peer."""
        endpoint = own.leg_to(self.mesh.relays[other])
        key = other, endpoint.version if endpoint else 0
        if key not in self.made:
            self.made[key] = self.peer(other, (self.addresses[other],), endpoint)
        return self.made[key]

    def peer(
        self,
        name: str,
        networks: Iterable[Address | Network],
        endpoint: Address | None = None,
        *,
        keepalive: int = 0,
    ) -> TunnelPeer:
        """Make the entry of a peer."""
        return {
            "name": name,
            "networks": [spell(network) for network in networks],
            "endpoint": str(Endpoint(endpoint, self.mesh.tunnel.port)) if endpoint else "",
            "keepalive": keepalive,
        }


def spell(network: Address | Network) -> str:
    """Write a network; an address is written as the network of that one address."""
    if isinstance(network, IPv4Address | IPv6Address):
        return f"{network}/{network.max_prefixlen}"
    return str(network)
