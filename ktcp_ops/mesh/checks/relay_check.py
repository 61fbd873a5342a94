# SPDX-License-Identifier: GPL-2.0-only
"""Whether a relay will accept what the mesh gives it. Like ``check``, reports all problems.

What the module, iptables or sshd would refuse on the host is reported here, before any host
is touched.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence

from ktcp_ops.mesh.checks.check import Check, Problem, Subject, at, never_a_target, relay_addresses
from ktcp_ops.mesh.model.description import key_path
from ktcp_ops.mesh.model.mesh import ExitRule, Mesh
from ktcp_ops.mesh.relay.tunnel import Address

SSH = 22
NAMED = 3
"""The most relays that a message names."""


def listeners_spare_ssh(subject: Subject) -> Iterator[Problem]:
    """A listener on the port of ssh would shut everybody out, or fail to listen."""
    mesh = subject.mesh
    taken = {SSH: "where ssh listens"}
    for name, relay in sorted(mesh.relays.items()):
        if relay.ansible_port:
            taken.setdefault(relay.ansible_port, f"where Ansible reaches {name}")
    for field, port in mesh.ports:
        if port in taken:
            yield Problem(at("ports", field), f"{port} is {taken[port]}; choose another")


def exits_can_allow(subject: Subject) -> Iterator[Problem]:
    """No rule allows addresses to which a relay never connects."""
    for name, rules in sorted(subject.mesh.exits.items()):
        for number, rule in enumerate(rules):
            what = never_a_target(rule.prefix)
            if rule.action == "allow" and what:
                yield Problem(
                    at("exits", name, number),
                    f"{rule.prefix} is {what}, and relays never connect there; remove the rule",
                )


def exits_say_it_once(subject: Subject) -> Iterator[Problem]:
    """The module refuses a rule that the list has already."""
    for name, rules in sorted(subject.mesh.exits.items()):
        seen: dict[tuple[object, ...], int] = {}
        for number, rule in enumerate(rules):
            for some in rule.ports or (None,):
                first = seen.setdefault((rule.action, rule.prefix, some), number)
                if first != number:
                    ports = f" port {some}" if some else ""
                    yield Problem(
                        at("exits", name, number),
                        f"{rule.action} {rule.prefix}{ports} is in {at('exits', name, first)} "
                        "already; remove one of the two",
                    )


def exits_spare_relays(subject: Subject) -> Iterator[Problem]:
    """Clients of a path must not reach services of the relays through it, such as ssh."""
    if subject.unreadable.relays:
        return
    addresses = list(relay_addresses(subject.mesh))
    for name, rules in sorted(subject.mesh.exits.items()):
        others = sorted(
            ((address, owner) for owner, address in addresses if owner != name),
            key=lambda item: (item[0].version, int(item[0])),
        )
        for number, reached in opened(rules, others):
            yield Problem(at("exits", name, number), open_to(rules[number], reached))


def destinations_are_no_relays(subject: Subject) -> Iterator[Problem]:
    """Nothing that goes to a relay itself is steered, so a path to one would never be used."""
    if subject.unreadable.relays:
        return
    owners = {address: owner for owner, address in relay_addresses(subject.mesh)}
    for number, path in subject.paths:
        for place, network in enumerate(path.destinations):
            owner = owners.get(network.network_address)
            if owner and network.num_addresses == 1:
                yield Problem(
                    at("paths", number, "destinations", place),
                    f"{network.network_address} is {owner} itself, and connections to a relay are "
                    "never split; give the servers an address of their own, or remove this one",
                )


def opened(
    rules: Sequence[ExitRule], relays: Sequence[tuple[Address, str]]
) -> Iterator[tuple[int, list[tuple[Address, str]]]]:
    """Give the rules that allow a network, each with the relays in it that no earlier rule has.

    A rule that allows a relay by its own address does so on purpose, and is not given.
    ``relays`` are sorted.
    """
    decided: set[Address] = set()
    order = [(address.version, int(address)) for address, _ in relays]
    for number, rule in enumerate(rules):
        net = rule.prefix
        first = bisect_left(order, (net.version, int(net.network_address)))
        last = bisect_right(order, (net.version, int(net.broadcast_address)))
        inside = [item for item in relays[first:last] if item[0] not in decided]
        if rule.action == "allow" and net.num_addresses > 1 and inside:
            yield number, inside
        if rule.ports is None:
            decided.update(address for address, _ in inside)


def open_to(rule: ExitRule, reached: Sequence[tuple[Address, str]]) -> str:
    """Say which relays a rule opens, and how to close them."""
    named = [f"{address} of {name}" for address, name in reached[:NAMED]]
    more = f" and {len(reached) - NAMED} more" if len(reached) > NAMED else ""
    denies = ", ".join(f"{{deny: {address}}}" for address, _ in reached[:NAMED])
    return (
        f"allows {rule.prefix}, and so {', '.join(named)}{more}, where relays are managed; "
        f"put {denies}{', ...' if more else ''} before it"
    )


def sources_use_paths(subject: Subject) -> Iterator[Problem]:
    """Each destination of a path has the IP version of at least one of its sources."""
    for number, path in subject.paths:
        if not path.sources:
            continue
        speaks = {net.version for net in path.sources}
        for place, network in enumerate(path.destinations):
            if network.version not in speaks:
                yield Problem(
                    at("paths", number, "destinations", place),
                    f"{network} is IPv{network.version}, and no prefix of sources is, so nobody "
                    f"could use it; add IPv{network.version} prefixes to sources, or remove it",
                )


def keys_differ(subject: Subject) -> Iterator[Problem]:
    """Each number has another key; a rotation between equal keys would change nothing."""
    owners: dict[str, int] = {}
    for number, key in sorted(subject.mesh.keys.items()):
        first = owners.setdefault(key, number)
        if first != number:
            yield Problem(
                key_path("ktcp_keys", str(number)),
                f"is the same key as number {first}, so going from one to the other changes "
                "nothing; make a new one with `openssl rand -hex 32`",
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


CHECKS: tuple[Check, ...] = (
    listeners_spare_ssh,
    exits_can_allow,
    exits_say_it_once,
    exits_spare_relays,
    destinations_are_no_relays,
    sources_use_paths,
    keys_differ,
)
