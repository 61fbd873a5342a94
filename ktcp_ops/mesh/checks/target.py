# SPDX-License-Identifier: GPL-2.0-only
"""What a relay never connects to."""

from ipaddress import ip_network

from ktcp_ops.mesh.model.prefix import encloses
from ktcp_ops.mesh.model.values import Network

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


def never_a_target(network: Network) -> str | None:
    """Say what kind of network it is if no relay connects to it; None if relays may."""
    return next((what for never, what in NEVER_A_TARGET.items() if encloses(never, network)), None)
