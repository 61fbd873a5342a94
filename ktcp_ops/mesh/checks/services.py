# SPDX-License-Identifier: GPL-2.0-only
"""Whether services lead somewhere, from ports that are theirs."""

from collections.abc import Iterator
from ipaddress import ip_network

from ktcp_ops.mesh.checks.subject import Problem, Subject, at
from ktcp_ops.mesh.checks.target import never_a_target
from ktcp_ops.mesh.model.mesh import Mesh, Path
from ktcp_ops.mesh.model.values import Endpoint


def services_have_targets(subject: Subject) -> Iterator[Problem]:
    """A service leads to an address that its exit connects to."""
    for number, path in subject.paths:
        if path.service is None:
            continue
        key, target = at("paths", number, "service", "target"), path.service.target.address
        what = never_a_target(ip_network(target))
        if what:
            yield Problem(
                key,
                f"{target} is {what}, and relays never connect there; "
                "write the target's own address",
            )
        for name in path.possible_exits:
            relay = subject.mesh.relays.get(name)
            if relay and target in (relay.ktcp_address, relay.ktcp_address6):
                yield Problem(
                    key,
                    f"{target} is an address of {name} itself, and a relay never connects to "
                    "itself; name another host",
                )


def services_do_not_circle(subject: Subject) -> Iterator[Problem]:
    """A service whose target is another service, and so on, does not lead back to itself."""
    targets: dict[Endpoint, Endpoint] = {}
    for _, path in subject.paths:
        if path.service:
            for service in service_endpoints(subject.mesh, path):
                targets[service] = path.service.target
    for number, path in subject.paths:
        for service in service_endpoints(subject.mesh, path):
            reached = {service}
            place = targets[service]
            while place in targets and place not in reached:
                reached.add(place)
                place = targets[place]
            if place == service:
                yield Problem(
                    at("paths", number, "service", "target"),
                    f"{targets[service]} leads back to this service over services of relays; "
                    "name a target that is not a service of a relay",
                )


def service_endpoints(mesh: Mesh, path: Path) -> Iterator[Endpoint]:
    """Give the endpoints at which clients reach the service of a path, if the mesh has them."""
    relay = mesh.relays.get(path.ingress)
    if path.service and relay:
        for address in (relay.ktcp_address, relay.ktcp_address6):
            if address:
                yield Endpoint(address, path.service.port)


def service_ports_are_free(subject: Subject) -> Iterator[Problem]:
    """The port of a service is used by nothing else at its ingress."""
    ports = subject.mesh.ports
    owners: dict[tuple[str, int], str] = {}
    for number, path in subject.paths:
        if path.service is None:
            continue
        relay = subject.mesh.relays.get(path.ingress)
        taken = {
            22: "where ssh listens",
            ports.client: "the client listener's",
            ports.relay: "the relay listener's",
        }
        if relay and relay.ansible_port:
            taken[relay.ansible_port] = f"where Ansible reaches {path.ingress}"
        port = path.service.port
        owner = owners.setdefault((path.ingress, port), path.name)
        reason = taken.get(port) or (
            f"also the service port of path {owner!r}" if owner != path.name else ""
        )
        if reason:
            yield Problem(
                at("paths", number, "service", "port"),
                f"{port} of {path.ingress} is {reason}; choose another",
            )


def open_services(mesh: Mesh) -> Iterator[str]:
    """Name the service ports that anybody may use: that is allowed, but worth a note."""
    for path in mesh.paths:
        if path.service and (not path.sources or any(net.prefixlen == 0 for net in path.sources)):
            yield (
                f"path {path.name}: port {path.service.port} of {path.ingress} is open to everyone "
                f"and leads to {path.service.target}; set sources of the path to limit who may "
                "use it"
            )
