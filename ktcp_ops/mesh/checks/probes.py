# SPDX-License-Identifier: GPL-2.0-only
"""Whether the probe of a path tries that path."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from ktcp_ops.mesh.checks.destinations import ports_overlap
from ktcp_ops.mesh.checks.subject import Problem, Subject, at
from ktcp_ops.mesh.model.mesh import Path
from ktcp_ops.mesh.model.prefix import encloses
from ktcp_ops.mesh.model.values import PortRange


def probes_fit(subject: Subject) -> Iterator[Problem]:
    """A probe starts at a host of the inventory and its URL belongs to its path."""
    for number, path in subject.paths:
        if path.probe is None:
            continue
        if path.probe.host not in subject.hosts:
            yield Problem(
                at("paths", number, "probe", "from"),
                f"{path.probe.host!r} is not a host of the inventory; name one whose traffic "
                f"passes {path.ingress}",
            )
        if path.targets and not takes(path, path.probe.url):
            yield Problem(
                at("paths", number, "probe", "url"),
                f"{path.probe.url} is not on port {path.service.port} of the path's service; "
                f"fetch something from there, at an address of {path.ingress}"
                if path.service
                else f"{path.probe.url} is not within the path's destinations and ports; "
                "fetch something that is",
            )


def takes(path: Path, url: str) -> bool:
    """Tell whether a download belongs to the flows of a path."""
    parts = urlsplit(url)
    target = ip_network(str(ip_address(parts.hostname or "")))
    port = PortRange(parts.port or 80, parts.port or 80)
    if path.service:
        return port.first == path.service.port
    inside = any(encloses(network, target) for network in path.destinations)
    return inside and ports_overlap((port,), path.ports)
