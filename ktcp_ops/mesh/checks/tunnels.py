# SPDX-License-Identifier: GPL-2.0-only
"""Whether the network of the tunnels has room, and is nobody else's."""

from collections.abc import Iterator
from ipaddress import ip_network

from ktcp_ops.mesh.checks.subject import Problem, Subject, at
from ktcp_ops.mesh.model.description import key_path
from ktcp_ops.mesh.model.mesh import Mesh, Path
from ktcp_ops.mesh.model.prefix import encloses
from ktcp_ops.mesh.model.values import Network
from ktcp_ops.mesh.relay.tunnel import Address, chosen, members, room, tunnel_address


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
