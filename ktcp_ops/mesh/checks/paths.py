# SPDX-License-Identifier: GPL-2.0-only
"""Whether each path has a name, a way over relays, and a mark that no other way has."""

from collections.abc import Iterator

from ktcp_ops.mesh.checks.subject import Problem, Subject, at, course_at, not_a_relay
from ktcp_ops.mesh.model.mesh import MAX_BACKUPS, MAX_HOPS, RETURN_MARK, Path, Way


def names_are_unique(subject: Subject) -> Iterator[Problem]:
    """Each path has a name of its own, by which reports and chains call it."""
    seen: dict[str, int] = {}
    for number, path in subject.paths:
        if path.name in seen:
            yield Problem(
                at("paths", number, "name"),
                f"{path.name!r} is also the name of {at('paths', seen[path.name])}; rename one",
            )
        seen.setdefault(path.name, number)


def paths_are_relays(subject: Subject) -> Iterator[Problem]:
    """A path goes over relays."""
    if not subject.mesh.relays:
        return
    for number, path in subject.paths:
        if path.ingress not in subject.mesh.relays:
            yield Problem(at("paths", number, "ingress"), not_a_relay(path.ingress, subject.mesh))
        if path.exits:
            for place, name in enumerate(path.exits):
                if name not in subject.mesh.relays:
                    yield Problem(
                        at("paths", number, "exits", place), not_a_relay(name, subject.mesh)
                    )
            continue
        for course, (_, *via) in enumerate(path.courses):
            for place, name in enumerate(via):
                if name not in subject.mesh.relays:
                    yield Problem(course_at(number, course, place), not_a_relay(name, subject.mesh))


def auto_paths_have_ways(subject: Subject) -> Iterator[Problem]:
    """Pairs lead from the ingress of an auto path to one of its exits."""
    mesh = subject.mesh
    for number, path in subject.paths:
        if path.via is None and all(name in mesh.relays for name in (path.ingress, *path.exits)):
            yield Problem(
                at("paths", number, "via"),
                f"no exit of the path can be reached from {path.ingress} over pairs in "
                f"{mesh.auto.max_hops} hops; add [{path.ingress}, {path.exits[0]}] to "
                "ktcp_mesh.pairs, or raise ktcp_mesh.auto.max_hops",
            )


def paths_end(subject: Subject) -> Iterator[Problem]:
    """A path visits no relay twice and fits into the wire format."""
    for number, path in subject.paths:
        for course, relays in enumerate(path.courses):
            hops = len(relays) - 1
            if hops > MAX_HOPS:
                yield Problem(
                    course_at(number, course),
                    f"{hops} hops are more than the {MAX_HOPS} a path may have; shorten it",
                )
            for place, name in enumerate(relays[1:]):
                if name in relays[: place + 1]:
                    yield Problem(
                        course_at(number, course, place),
                        f"the path comes to {name!r} a second time; remove it here or before",
                    )


def backups_stand_in(subject: Subject) -> Iterator[Problem]:
    """Whether a way is used depends on its first relay, so each way begins with another one."""
    for number, path in subject.paths:
        if path.backup and not path.hops:
            yield Problem(
                at("paths", number, "backup"),
                "is set, but via is not, so there is no relay to stand in for; "
                "list the best way in via, or remove backup",
            )
            continue
        if len(path.backup) > MAX_BACKUPS:
            yield Problem(
                at("paths", number, "backup"),
                f"lists {len(path.backup)} ways, and a path may have {MAX_BACKUPS}; shorten it",
            )
        seen = set(path.hops[:1])
        for place, via in enumerate(path.backup):
            if not via:
                yield Problem(
                    at("paths", number, "backup", place),
                    "is empty; list its relays, or remove it: flows are routed anyway "
                    "when no way is up",
                )
            elif via[0] in seen:
                yield Problem(
                    at("paths", number, "backup", place, 0),
                    f"another way of this path begins with {via[0]!r}, too, so both are down when "
                    "it is; begin with another relay, or remove this way",
                )
            seen.update(via[:1])


def marks_name_routes(subject: Subject) -> Iterator[Problem]:
    """At one ingress a mark stands for one way through the relays, and a way has one mark."""
    ways: dict[tuple[str, int], Path] = {}
    marks: dict[tuple[str, Way], Path] = {}
    for number, path in subject.paths:
        if path.mark is None:
            continue
        other = ways.setdefault((path.ingress, path.mark), path)
        if path.mark == RETURN_MARK:
            yield Problem(
                at("paths", number, "mark"),
                f"{path.mark:#x} is the mark that transparent exits give to answers; "
                "choose another",
            )
        if other.way != path.way:
            yield Problem(
                at("paths", number, "mark"),
                f"{path.mark:#x} is also the mark of path {other.name!r}, which takes another way; "
                "change one, or leave both out",
            )
        other = marks.setdefault((path.ingress, path.way), path)
        if other.mark != path.mark:
            yield Problem(
                at("paths", number, "mark"),
                f"path {other.name!r} takes the same way with mark {other.mark:#x}; "
                "give both the same, or leave both out",
            )
