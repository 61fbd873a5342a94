# SPDX-License-Identifier: GPL-2.0-only
"""Which relays the gate asks before the next wave, and about which of their peers.

A peer counts if this run has changed it, or if the relay had connections to it before the run.
Other peers may not exist yet, or somebody else may have broken them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation.status import RelayStatus
from ktcp_ops.mesh.relay.plan import endpoint
from ktcp_ops.mesh.relay.tunnel import over
from ktcp_ops.mesh.rollout.waves import partners_of

Links = Mapping[str, frozenset[str]]
"""Relay -> the endpoints of the peers to which it had a ready connection."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Which relays to ask, and which peers to leave out.

    Attributes:
        hosts: the relays of the wave, and their partners that were changed before.
        absent: endpoints that no relay has to be connected to.
        excused: more such endpoints, of single relays.
    """

    hosts: tuple[str, ...]
    absent: tuple[str, ...] = ()
    excused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def links(statuses: Collection[RelayStatus]) -> Links:
    """Find out from the relays' states who was connected to whom."""
    return {
        status.relay: frozenset(
            peer.endpoint for peer in (status.state.peers if status.state else ()) if peer.ready
        )
        for status in statuses
    }


def question(
    mesh: Mesh, wave: Collection[str], changed: Collection[str], before: Links
) -> Question:
    """Compute whom to ask after a wave; ``changed`` are all relays done so far, the wave's too."""
    # Relays know each other by the addresses of their legs, in a tunnel by the tunnel's.
    mesh = over(mesh)
    partners = partners_of(mesh)
    near = {name for host in wave for name in partners[host]} & set(changed)
    hosts = tuple(sorted({*wave, *near}))
    alive = {address for name in changed for address in endpoints(mesh, name)}
    known = frozenset[str]().union(*before.values()) | alive
    everyone = {address for name in mesh.relays for address in endpoints(mesh, name)}
    doubtful = known & everyone - alive
    excused = {host: tuple(sorted(doubtful - before.get(host, frozenset()))) for host in hosts}
    return Question(
        hosts=hosts,
        absent=tuple(sorted(everyone - known)),
        excused={host: lost for host, lost in excused.items() if lost},
    )


def endpoints(mesh: Mesh, name: str) -> list[str]:
    """Give the endpoints at which other relays reach a relay."""
    relay = mesh.relays[name]
    addresses = (relay.ktcp_address, relay.ktcp_address6)
    return [endpoint(address, mesh.ports.relay) for address in addresses if address]
