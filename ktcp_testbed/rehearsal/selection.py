# SPDX-License-Identifier: GPL-2.0-only
"""Which relays and paths of a mesh are rehearsed, in which waves, and what is left out.

A rehearsal is one machine, so a large mesh is rehearsed in part: first the paths that change.
"""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from ktcp_ops.mesh.model.mesh import ConnectionPool, Mesh, Path
from ktcp_ops.mesh.rollout.waves import Wave

# Enough to see that a pool is filled; a thousand connections would only take time.
POOL = ConnectionPool(low=1, high=2)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A change, cut down to what is rehearsed.

    Attributes:
        before: the mesh before the change; None: relays have no KTCP yet.
        after: the mesh after it.
        waves: relays in the order in which they are changed.
        relays: left out of the rehearsal.
        paths: left out, too, since they need those relays.
    """

    before: Mesh | None
    after: Mesh
    waves: tuple[Wave, ...]
    relays: tuple[str, ...]
    paths: tuple[str, ...]

    @property
    def meshes(self) -> tuple[Mesh, ...]:
        """The meshes that there are, the one after the change first."""
        return (self.after, self.before) if self.before else (self.after,)


def select(before: Mesh | None, after: Mesh, waves: Sequence[Wave], most: int) -> Selection:
    """Choose at most ``most`` relays, those of changed paths first, and cut the meshes down."""
    meshes = (after, before) if before else (after,)
    everyone = {name for mesh in meshes for name in mesh.relays}
    kept = choose(list(ordered(before, after)), sorted(everyone), most)
    lost = {path.name for mesh in meshes for path in mesh.paths if not members(path) <= kept}
    return Selection(
        before=cut(before, kept) if before else None,
        after=cut(after, kept),
        waves=tuple(
            left for wave in waves if (left := tuple(name for name in wave if name in kept))
        ),
        relays=tuple(sorted(everyone - kept)),
        paths=tuple(sorted(lost)),
    )


def ordered(before: Mesh | None, after: Mesh) -> Iterator[Path]:
    """Give the paths in the order of their importance: new and changed ones, removed ones, others.

    A path is changed, too, when one of its relays has another exit list or address.
    """
    if before is None:
        yield from after.paths
        return
    old = {path.name: path for path in before.paths}
    new = {path.name for path in after.paths}
    turned = {name for name in after.relays if is_changed(before, after, name)}
    touched = [path for path in after.paths if path != old.get(path.name) or members(path) & turned]
    yield from touched
    yield from (path for path in before.paths if path.name not in new)
    yield from (path for path in after.paths if path not in touched)


def is_changed(before: Mesh, after: Mesh, name: str) -> bool:
    """Tell whether what the mesh says of one relay has changed."""
    same = before.relays.get(name) == after.relays[name]
    return not same or before.exits.get(name) != after.exits.get(name)


def members(path: Path) -> set[str]:
    """Give every relay that a path may use."""
    return {name for course in path.courses for name in course}


def choose(paths: Sequence[Path], others: Sequence[str], most: int) -> set[str]:
    """Take the relays of path after path as long as there is room, then others."""
    kept: set[str] = set()
    for path in paths:
        if len(kept | members(path)) <= most:
            kept |= members(path)
    for name in others:
        if len(kept) < most:
            kept.add(name)
    return kept


def cut(mesh: Mesh, kept: Collection[str]) -> Mesh:
    """Give the part of a mesh that these relays are, without anything secret.

    Keys are replaced: equal ones by equal ones. The watermarks of pools do not matter for whether
    a change works, and all relays share the kernel's threads here.
    """
    pairs = mesh.pairs
    return mesh.model_copy(
        update={
            "relays": {name: relay for name, relay in mesh.relays.items() if name in kept},
            "paths": tuple(path for path in mesh.paths if members(path) <= set(kept)),
            "pairs": pairs and tuple(pair for pair in pairs if set(pair) <= set(kept)),
            "exits": {name: rules for name, rules in mesh.exits.items() if name in kept},
            "edges": {},
            "keys": {number: stand_in(key) for number, key in mesh.keys.items()},
            "pool": POOL if mesh.pool.high else mesh.pool,
            "thread_pool": None,
        }
    )


def stand_in(key: str) -> str:
    """Give another key for a key, always the same."""
    return hashlib.sha256(b"rehearsal" + bytes.fromhex(key)).hexdigest()
