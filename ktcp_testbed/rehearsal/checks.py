# SPDX-License-Identifier: GPL-2.0-only
"""The flows by which a rehearsal finds out whether paths work: who connects to what."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import islice

from ktcp_ops.mesh.checks.target import never_a_target
from ktcp_ops.mesh.model import distance
from ktcp_ops.mesh.model.mesh import Mesh, Path, Relay
from ktcp_ops.mesh.model.values import Network, PortRange

Address = IPv4Address | IPv6Address

# Addresses to choose from in a prefix; those at its beginning may be taken by longer prefixes.
TRIED = 64
# First in a prefix that is everything: nobody has these addresses.
EXAMPLES = (ip_address("203.0.113.80"), ip_address("2001:db8:77::80"))
PORT = 80
# Where the clients are that no path demands to be anywhere.
CLIENTS = {4: ip_network("198.19.0.0/16"), 6: ip_network("fd6b:7463:7266::/64")}


@dataclass(frozen=True, kw_only=True)
class Check:
    """A flow of a path, in one address family.

    Attributes:
        name: the path's, with the family where it has both.
        source: the client's address.
        address: what the client connects to: the target, or the ingress of a service.
        target: what the path's exit connects to.
        way: the relays of the path after the change; empty: the path is gone then.
        former: its relays before the change; empty: the path was not there.
        service: whether the ingress itself is connected to, which nobody else can serve.
        transparent: whether the target sees the client's address.
        exits: the relays that may connect to the target, the preferred one first.
    """

    name: str
    path: str
    source: Address
    address: Address
    port: int
    target: Address
    target_port: int
    way: tuple[str, ...]
    former: tuple[str, ...]
    service: bool
    transparent: bool
    exits: tuple[str, ...]

    @property
    def ingress(self) -> str:
        """The relay that the client's flows come to."""
        return (self.way or self.former)[0]


class Clients:
    """Gives each check a client's address of its own, among those whose flows the path takes."""

    def __init__(self, taken: Iterable[Address]) -> None:
        self.taken = set(taken)

    def take(self, path: Path, version: int) -> Address | None:
        """Give an address; None if the path takes no flow of this family."""
        ranges = [net for net in path.sources if net.version == version]
        if path.sources and not ranges:
            return None
        for network in ranges or [CLIENTS[version]]:
            for address in addresses(network):
                if address not in self.taken:
                    self.taken.add(address)
                    return address
        return None


def checks(after: Mesh, before: Mesh | None) -> list[Check]:
    """Make the checks of every path, also of those that the change removes.

    A path of which no address can be used has none.
    """
    old = {path.name: path for path in before.paths} if before else {}
    new = {path.name: path for path in after.paths}
    meshes = [mesh for mesh in (after, before) if mesh]
    spared = {own for mesh in meshes for relay in mesh.relays.values() for own in own_of(relay)}
    clients = Clients(spared)
    found: list[Check] = []
    for name in dict.fromkeys([*new, *old]):
        path, mesh = (new[name], after) if name in new else (old[name], before or after)
        made = [
            check
            for version in (4, 6)
            if (check := make(mesh, path, version, clients, spared, old.get(name), name in new))
        ]
        found += made if len(made) < 2 else [numbered(check) for check in made]
    return found


def numbered(check: Check) -> Check:
    """Put the family into the name of a check."""
    return Check(**{**vars(check), "name": f"{check.name} (IPv{check.target.version})"})


def make(
    mesh: Mesh,
    path: Path,
    version: int,
    clients: Clients,
    spared: Iterable[Address],
    old: Path | None,
    stays: bool,
) -> Check | None:
    """Make the check of a path in one family, if it has a target in it."""
    found = place(mesh, path, version, spared)
    if found is None:
        return None
    target, target_port = found
    address, port = target, target_port
    if path.service:
        own = entry(mesh.relays[path.ingress], version, exact=path.transparent)
        if own is None:
            return None
        address, port = own, path.service.port
    source = clients.take(path, address.version)
    if source is None:
        return None
    exits = [*path.possible_exits, *(old.possible_exits if old else ())]
    return Check(
        name=path.name,
        path=path.name,
        source=source,
        address=address,
        port=port,
        target=target,
        target_port=target_port,
        way=path.relays if stays else (),
        former=old.relays if old else (),
        service=path.service is not None,
        transparent=path.transparent,
        exits=tuple(dict.fromkeys(exits)),
    )


def own_of(relay: Relay) -> list[Address]:
    """Give a relay's own addresses."""
    return [own for own in (relay.ktcp_address, relay.ktcp_address6) if own]


def entry(relay: Relay, version: int, *, exact: bool) -> Address | None:
    """Give the address at which clients reach a service, of the target's family if they can."""
    own = own_of(relay)
    fitting = [address for address in own if address.version == version]
    return next(iter(fitting if exact else fitting or own), None)


def place(
    mesh: Mesh, path: Path, version: int, spared: Iterable[Address]
) -> tuple[Address, int] | None:
    """Choose a target of a path: one that can be measured, else the first that is its own."""
    if path.service:
        target = path.service.target
        return (target.address, target.port) if target.address.version == version else None
    rivals = [other for other in mesh.paths if other.ingress == path.ingress and other != path]
    port = path.ports[0].first if path.ports else PORT
    named = distance.target_of(path)
    networks = [net for net in path.destinations if net.version == version]
    wanted = [(named.address, named.port)] if named and path.probe else []
    wanted += [(address, port) for net in networks for address in addresses(net)]
    for address, number in wanted:
        fits = any(address in net for net in networks) and is_in(number, path.ports)
        if fits and address not in spared and not is_taken(address, number, networks, rivals):
            return address, number
    return None


def addresses(network: Network) -> Iterator[Address]:
    """Give the addresses of a prefix to try, those that are nobody's first."""
    yield from (address for address in EXAMPLES if address in network)
    hosts = (network[number] for number in range(min(network.num_addresses, TRIED)))
    ends = {network.network_address, network.broadcast_address} if len_of(network) > 2 else set()
    yield from islice((a for a in hosts if a not in ends and usable(a)), TRIED)


def len_of(network: Network) -> int:
    """Count the addresses of a prefix."""
    return int(network.num_addresses)


def usable(address: Address) -> bool:
    """Tell whether relays connect to an address."""
    return never_a_target(ip_network(address)) is None


def is_in(port: int, ports: Sequence[PortRange] | None) -> bool:
    """Tell whether a port is in some ranges; None is all ports."""
    return ports is None or any(some.first <= port <= some.last for some in ports)


def is_taken(
    address: Address, port: int, networks: Sequence[Network], rivals: Sequence[Path]
) -> bool:
    """Tell whether another path takes an address, by a longer prefix or by being narrower."""
    own = max((net.prefixlen for net in networks if address in net), default=0)
    return any(
        address in net and net.prefixlen >= own and is_in(port, rival.ports)
        for rival in rivals
        for net in rival.destinations
    )
