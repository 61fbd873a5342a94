# SPDX-License-Identifier: GPL-2.0-only
"""Checks of a relay's network: routes, MTU, peers, targets, and what its cloud allows.

Each check is a function from what is known of one relay to its findings.
"""

import re
from collections.abc import Iterator

from ktcp_ops.mesh.diagnosis.facts import Peer
from ktcp_ops.mesh.diagnosis.finding import ROLLOUT, Finding, Patient, Severity


def peers(patient: Patient) -> Iterator[Finding]:
    """There is a route to every peer, the peer accepts connections, and full packets arrive."""
    for address, peer in patient.facts.peers.items():
        if peer.route is None:
            yield Finding(
                check="route",
                severity=Severity.ERROR,
                seen=f"there is no route to the peer {address}",
                meaning="no leg to it can be opened; flows over it fail",
                fix="ip route get on the relay; correct the routes or the peer's ktcp_address",
            )
            continue
        if peer.refusal:
            yield Finding(
                check="peer",
                severity=Severity.ERROR,
                seen=f"the peer {address} accepts no connection: {peer.refusal}",
                meaning="no leg to it can be opened; flows over it fail",
                fix="check that KTCP runs there, that this relay is its peer, and that its relay"
                " port is open in every firewall and security group on the way",
            )
        yield from path_mtu(address, peer)


def path_mtu(address: str, peer: Peer) -> Iterator[Finding]:
    """Full packets arrive at a peer, or the kernel has learned which size does."""
    if peer.mtu is None or (peer.arrives is not None and peer.arrives >= peer.mtu):
        return
    if peer.arrives is None:
        yield Finding(
            check="mtu",
            severity=Severity.HINT,
            seen=f"the peer {address} answers no ping",
            meaning="the MTU of the path cannot be checked; path MTU discovery needs ICMP too",
            fix="let ICMP in between relays",
        )
    elif peer.learned is None or peer.learned > peer.mtu:
        yield Finding(
            check="mtu",
            severity=Severity.WARNING,
            seen=f"packets of {peer.mtu} bytes do not arrive at the peer {address}, packets of"
            f" {peer.arrives} bytes do, and no router says so",
            meaning="connections begin, and stall at the first full packet",
            fix="let ICMP 'fragmentation needed' and 'packet too big' in, or"
            f" ip route replace ... mtu {peer.arrives}",
        )


def ways_to_targets(patient: Patient) -> Iterator[Finding]:
    """There is a route to the targets: at the exit, and at an ingress that also routes flows."""
    for address, way in patient.facts.targets.items():
        if way is None:
            yield Finding(
                check="route",
                severity=Severity.ERROR,
                seen=f"there is no route to {address}, which a path leads to",
                meaning="connections to it fail here",
                fix="add a route, or correct the destinations of the path",
            )


SWITCHES = {
    "aws": "the source/destination check of its network interface",
    "gcp": "canIpForward of the instance",
    "azure": "IP forwarding of its NIC",
}


def cloud(patient: Patient) -> Iterator[Finding]:
    """The cloud lets a host forward packets, and does not give its credentials away."""
    facts = patient.facts
    speaks = any(path.transparent and path.exit == patient.name for path in patient.mesh.paths)
    if facts.cloud and (patient.begins or speaks) and patient.forwards is not True:
        wrong = patient.forwards is False
        yield Finding(
            check="cloud",
            severity=Severity.ERROR if wrong else Severity.HINT,
            seen=f"{SWITCHES[facts.cloud]} does not let it forward"
            if wrong
            else f"only the cloud knows {SWITCHES[facts.cloud]}",
            meaning="the cloud drops packets that are not from or for the host's own addresses",
            fix="let it forward; see docs/clouds.md",
        )
    if facts.metadata_status == 200:
        yield Finding(
            check="cloud",
            severity=Severity.WARNING,
            seen="the metadata service answers without a token",
            meaning="whoever can make the host fetch a URL can steal its credentials",
            fix="require IMDSv2 with a hop limit of 1",
        )


def router_advertisements(patient: Patient) -> Iterator[Finding]:
    """A host that forwards keeps the default route that it learns from its router."""
    facts = patient.facts
    for interface in re.findall(r"dev (\S+) proto ra", facts.default6):
        link = facts.interfaces.get(interface)
        if facts.sysctls.get("net.ipv6.conf.all.forwarding") and link and link.accept_ra != 2:
            yield Finding(
                check="ipv6",
                severity=Severity.WARNING,
                seen=f"accept_ra of {interface} is {link.accept_ra}, and the host forwards",
                meaning="its default route over IPv6 is lost when it expires",
                fix=f"set ktcp_tunables_accept_ra_interfaces: [{interface}], then {ROLLOUT}",
            )
