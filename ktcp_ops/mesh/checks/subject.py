# SPDX-License-Identifier: GPL-2.0-only
"""A mesh under check, and the words for what is wrong with it.

Each check is a function from a subject to problems, and never stops at the first. Parts that could
not be read are in ``Unreadable``: no check repeats that, or reports what only follows from it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

from ktcp_ops.mesh.model.description import key_path
from ktcp_ops.mesh.model.mesh import Mesh, Path


@dataclass(frozen=True)
class Problem:
    """Something wrong: the path of the key, then what it is and how to put it right."""

    key: str
    text: str


@dataclass
class Unreadable:
    """The parts that could not be read, and were left out of the mesh under check."""

    sections: set[str] = field(default_factory=set)
    path_fields: dict[int, set[str]] = field(default_factory=dict)
    relays: set[str] = field(default_factory=set)
    exits: set[str] = field(default_factory=set)
    edges: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Subject:
    """A mesh under check. ``paths`` are those that could be read, with their numbers."""

    mesh: Mesh
    hosts: frozenset[str]
    unreadable: Unreadable
    paths: tuple[tuple[int, Path], ...]

    def sound_paths(self) -> Iterator[tuple[int, Path]]:
        """Give the paths that have a way, and whose relays all exist."""
        for number, path in self.paths:
            named = {name for course in path.courses for name in course} | {*path.exits}
            if path.via is not None and all(relay in self.mesh.relays for relay in named):
                yield number, path

    def sound_exits(self) -> Iterator[tuple[int, Path, str]]:
        """Give each of these paths with each relay at which its flows may leave."""
        for number, path in self.sound_paths():
            for name in path.possible_exits:
                yield number, path, name


Check = Callable[[Subject], Iterator[Problem]]


def at(*parts: str | int) -> str:
    """Spell a key path below ``ktcp_mesh``."""
    return key_path("ktcp_mesh", *parts)


def course_at(number: int, course: int, *parts: int) -> str:
    """Spell the key of a way of a path: the first one is in ``via``, the others in ``backup``."""
    return at("paths", number, *(("backup", course - 1) if course else ("via",)), *parts)


def not_a_relay(name: str, mesh: Mesh) -> str:
    """Say that a name is no relay's, with the nearest that is."""
    near = get_close_matches(name, mesh.relays, n=1) or list(mesh.relays)[:3]
    return (
        f"{name!r} is not a relay; write {' or '.join(near) or 'the name of a relay'}, "
        f"or add the host to group {mesh.relays_group}"
    )
