# SPDX-License-Identifier: GPL-2.0-only
"""Whether the pairs of a mesh are of relays that can speak with each other, and cover its paths."""

from collections.abc import Iterator
from itertools import pairwise

from ktcp_ops.mesh.checks.subject import Problem, Subject, at, course_at, not_a_relay
from ktcp_ops.mesh.model.description import key_path
from ktcp_ops.mesh.model.mesh import Relay


def pairs_are_relays(subject: Subject) -> Iterator[Problem]:
    """Each pair names two different relays, and none is written twice."""
    seen: set[frozenset[str]] = set()
    for number, pair in enumerate(subject.mesh.pairs or ()):
        for place, name in enumerate(pair):
            if subject.mesh.relays and name not in subject.mesh.relays:
                yield Problem(at("pairs", number, place), not_a_relay(name, subject.mesh))
        if pair[0] == pair[1]:
            yield Problem(
                at("pairs", number), f"{pair[0]!r} is paired with itself; remove the pair"
            )
        elif frozenset(pair) in seen:
            yield Problem(at("pairs", number), "the pair is listed twice; remove one of the two")
        seen.add(frozenset(pair))


def legs_share_a_family(subject: Subject) -> Iterator[Problem]:
    """Two paired relays can speak IPv4 or IPv6 with each other."""
    mesh = subject.mesh
    known = {
        name: relay
        for name, relay in sorted(mesh.relays.items())
        if name not in subject.unreadable.relays and (relay.ktcp_address or relay.ktcp_address6)
    }
    if mesh.pairs is None:
        only4 = [relay for relay in known.values() if not relay.ktcp_address6]
        only6 = [relay for relay in known.values() if not relay.ktcp_address]
        strangers = [(only4[0], relay) for relay in only6] if only4 else []
    else:
        strangers = [
            (known[one], known[other])
            for one, other in mesh.pairs
            if one in known and other in known and not known[one].leg_to(known[other])
        ]
    for one, other in strangers:
        yield family_problem(one, other)


def family_problem(one: Relay, other: Relay) -> Problem:
    """Say that two relays have no family in common."""
    lacking = "ktcp_address" if one.ktcp_address else "ktcp_address6"
    family = "IPv4" if one.ktcp_address else "IPv6"
    return Problem(
        key_path("hostvars", other.name, lacking),
        f"is missing, and {one.name} has only {family} to reach this relay; set it",
    )


def pairs_cover_paths(subject: Subject) -> Iterator[Problem]:
    """Consecutive relays of a path keep connections to each other."""
    for number, path in subject.sound_paths():
        for course, relays in enumerate(path.courses):
            for place, (one, other) in enumerate(pairwise(relays)):
                if one != other and not subject.mesh.are_paired(one, other):
                    yield Problem(
                        course_at(number, course, place),
                        f"{one} and {other} are not paired; "
                        f"add [{one}, {other}] to ktcp_mesh.pairs",
                    )
