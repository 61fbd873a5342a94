# SPDX-License-Identifier: GPL-2.0-only
"""Round-trip times of a path's legs in microseconds, as far as they are known.

What the inventory says of a leg wins over what was measured.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from itertools import pairwise
from urllib.parse import urlsplit

from ktcp_ops.mesh.model.latency import Latency
from ktcp_ops.mesh.model.mesh import Path
from ktcp_ops.mesh.model.values import Endpoint

HTTPS = 443


def target_of(path: Path) -> Endpoint | None:
    """Give a target of the path that can be measured, if the path names one."""
    if path.service:
        return path.service.target
    if path.probe:
        parts = urlsplit(path.probe.url)
        return Endpoint(ip_address(parts.hostname or ""), parts.port or 80)
    port = path.ports[0].first if path.ports else HTTPS
    for network in path.destinations:
        if network.num_addresses == 1:
            return Endpoint(network.network_address, port)
    return None


def to_client(latency: Latency, path: Path) -> int | None:
    """Give the time from the clients to the ingress."""
    if path.client_rtt_ms is not None:
        return round(path.client_rtt_ms * 1000)
    return latency.rtt(path.probe.host, path.ingress) if path.probe else None


def over(latency: Latency, relays: Sequence[str]) -> int | None:
    """Give the time over relays, from the first to the last."""
    legs = [latency.rtt(one, other) for one, other in pairwise(relays)]
    known = [leg for leg in legs if leg is not None]
    return sum(known) if len(known) == len(legs) else None


def to_target(latency: Latency, path: Path, name: str) -> int | None:
    """Give the time from an exit of the path to its targets."""
    if name in path.target_rtt_ms:
        return round(path.target_rtt_ms[name] * 1000)
    target = target_of(path)
    return latency.rtt(name, str(target.address)) if target else None


def routed(latency: Latency, path: Path) -> int | None:
    """Give the time from the clients to the targets without the mesh."""
    target = target_of(path)
    if path.probe is None or target is None:
        return None
    return latency.rtt(path.probe.host, str(target.address))
