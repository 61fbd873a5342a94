# SPDX-License-Identifier: GPL-2.0-only
"""Whether exits let the flows of their paths out, and nobody into the relays."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network

from ktcp_ops.mesh.checks import acl
from ktcp_ops.mesh.checks.relays import relay_addresses
from ktcp_ops.mesh.checks.subject import Problem, Subject, at, not_a_relay
from ktcp_ops.mesh.checks.target import never_a_target
from ktcp_ops.mesh.model.description import key_path
from ktcp_ops.mesh.model.mesh import ExitRule, Path
from ktcp_ops.mesh.model.prefix import nest
from ktcp_ops.mesh.model.prefix import place as place_of
from ktcp_ops.mesh.model.values import ALL_PORTS, Network, PortRange
from ktcp_ops.mesh.relay.tunnel import Address

NAMED = 3
"""The most relays that a message names."""


def exits_are_relays(subject: Subject) -> Iterator[Problem]:
    """Exit lists belong to relays."""
    for name in sorted(set(subject.mesh.exits) | subject.unreadable.exits):
        if subject.mesh.relays and name not in subject.mesh.relays:
            yield Problem(at("exits", name), not_a_relay(name, subject.mesh))


def exits_allow_paths(subject: Subject) -> Iterator[Problem]:
    """A path's exits let its flows out; without a list a relay lets nothing out."""
    if "exits" in subject.unreadable.sections:
        return
    spared = [ip_network(address) for _, address in relay_addresses(subject.mesh)]
    lists = {name: acl.ExitList(rules, spared) for name, rules in subject.mesh.exits.items()}
    lost = lost_to_others(subject.paths)
    for number, path, name in subject.sound_exits():
        if name in subject.unreadable.exits or not path.targets:
            continue
        if subject.mesh.exits.get(name):
            yield from exit_allows_path(lists[name], number, path, name, lost)
        else:
            wanted = ", ".join(f"{{allow: {network}}}" for network in path.targets)
            yield Problem(
                at("exits", name),
                f"has no rule, and without one path {path.name!r} cannot leave here; "
                f"add [{wanted}]",
            )


Lost = dict[tuple[int, Network], list[Network]]
"""(Number of a path, one of its prefixes) -> networks inside that another path takes."""


def lost_to_others(paths: Iterable[tuple[int, Path]]) -> Lost:
    """Find what longer prefixes of other paths take from shorter ones, on all their ports."""
    lost: Lost = {}
    by_ingress: dict[str, list[tuple[Network, int, Path]]] = {}
    for number, path in paths:
        entries = by_ingress.setdefault(path.ingress, [])
        entries += [(network, number, path) for network in path.destinations]
    for entries in by_ingress.values():
        entries.sort(key=lambda entry: place_of(entry[0]))
        for (network, number, path), enclosing in nest(entries, lambda entry: entry[0]):
            for outer, other, owner in enclosing:
                if other != number and outer != network and takes_ports(path.ports, owner.ports):
                    lost.setdefault((other, outer), []).append(network)
    return lost


def takes_ports(ports: tuple[PortRange, ...] | None, wanted: tuple[PortRange, ...] | None) -> bool:
    """Tell whether all wanted ports are in sorted, merged ranges; None means all ports."""
    return ports is None or all(
        any(some.first <= each.first and each.last <= some.last for some in ports)
        for each in wanted or (ALL_PORTS,)
    )


def exit_allows_path(
    exit_list: acl.ExitList, number: int, path: Path, name: str, lost: Lost
) -> Iterator[Problem]:
    """The list of an exit allows all of each target of the path."""
    for place, network in enumerate(path.targets):
        found = exit_list.refusal(network, path.target_ports, lost.get((number, network), ()))
        if found is None:
            continue
        wanted = ("service", "target") if path.service else ("destinations", place)
        if found.rule is None:
            yield Problem(
                at("exits", name),
                f"does not allow all of {network}, {at('paths', number, *wanted)}; "
                f"add {{allow: {network}}}",
            )
        else:
            yield Problem(
                at("exits", name, found.rule),
                f"denies {network} of path {path.name!r}, which leaves here; "
                "put an allow before it, or remove the destination",
            )


def transparent_exits_keep_answers(subject: Subject) -> Iterator[Problem]:
    """A relay that connects from clients' addresses knows where the answers come in."""
    said: set[str] = set()
    for _, path, name in subject.sound_exits():
        if not path.transparent or name in said | subject.unreadable.relays:
            continue
        if subject.mesh.relays[name].ktcp_inside_interface is None:
            said.add(name)
            yield Problem(
                key_path("hostvars", name, "ktcp_inside_interface"),
                f"is missing, and path {path.name!r} is transparent and leaves here; set it to the "
                "interface on which the targets' packets come in, like eth1",
            )


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
