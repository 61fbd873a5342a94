# SPDX-License-Identifier: GPL-2.0-only
"""From one pre-shared key to the next without a gap: in phases, each a rollout of its own.

A relay accepts every key that it holds, and proves one of them. So the new key is added
everywhere, then proved everywhere, and only then the old one is removed. However far a rollout
has come, any two relays both hold the key that each of them proves.

The inventory shows how far a rotation is: a key above the one in use is the next one, keys
below it are old. The journal shows what relays hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.journal.journal import Outcome, Run, fingerprint
from ktcp_ops.mesh.model.mesh import Mesh

ACTION = "keys rotate"
LAST = 65535


class Phase(StrEnum):
    """What a rollout of a rotation does."""

    ADD = "add"
    USE = "use"
    REMOVE = "remove"


@dataclass(frozen=True)
class Rotation:
    """The number of the key that is to be the only one, and the phases that are left."""

    key: int
    phases: tuple[Phase, ...]


def standing(mesh: Mesh, runs: Sequence[Run]) -> Rotation:
    """Tell how far the rotation of a mesh is; ``runs`` are the journal's, the latest first.

    Raises:
        UsageError: when there is no key, or when going on might leave relays without a common key.
    """
    used = mesh.key
    if used not in mesh.keys:
        raise UsageError("the mesh has no key in use, so there is nothing to rotate")
    newer = [number for number in sorted(mesh.keys) if number > used]
    if len(newer) > 1:
        raise UsageError(
            f"ktcp_keys has several keys above {used}, which is in use: "
            f"{', '.join(map(str, newer))}; remove all but the next one"
        )
    if newer:
        return Rotation(newer[0], tuple(Phase))
    if len(mesh.keys) > 1:
        return in_use(mesh, runs)
    if is_removal_left(used, runs):
        return Rotation(used, (Phase.REMOVE,))
    if used == LAST:
        raise UsageError(f"{LAST} is the last number of a key; change to a low one by hand")
    return Rotation(used + 1, tuple(Phase))


def in_use(mesh: Mesh, runs: Sequence[Run]) -> Rotation:
    """Continue a rotation whose inventory uses the newest key already and has older ones.

    Raises:
        UsageError: when no run in the journal has brought that key to all relays.
    """
    used = mesh.key
    if not any(is_phase(run, Phase.ADD, used) and run.outcome is Outcome.DONE for run in runs):
        older = max(number for number in mesh.keys if number < used)
        raise UsageError(
            f"the mesh uses key {used} already, but no run in the journal has added it to all "
            f"relays: a relay without it would be cut off. Write `key: {older}` into ktcp_mesh "
            "and run this again, or, if all relays use the new one, remove the old one yourself "
            "and roll that out"
        )
    return Rotation(used, (Phase.USE, Phase.REMOVE))


def is_removal_left(used: int, runs: Sequence[Run]) -> bool:
    """Tell whether the old key, which the inventory has no more, may still be on relays."""
    latest = next((run for run in runs if run.action == ACTION), None)
    if latest is None:
        return False
    removing = is_phase(latest, Phase.REMOVE, used)
    return is_phase(latest, Phase.USE, used) or (removing and latest.outcome is not Outcome.DONE)


def is_phase(run: Run, phase: Phase, key: int) -> bool:
    """Tell whether a run is that phase of the rotation to a key."""
    return run.action == ACTION and (run.options.get("phase"), run.options.get("key")) == (
        phase,
        key,
    )


def begun(runs: Sequence[Run], phase: Phase, mesh: Mesh, key: int) -> Run | None:
    """Give the run of a phase to resume: the latest of the mesh, if it is not done."""
    if not runs or not is_phase(runs[0], phase, key) or runs[0].outcome is Outcome.DONE:
        return None
    return runs[0].again() if runs[0].fingerprint == fingerprint(mesh) else None


def after(mesh: Mesh, phase: Phase, key: int, secret: str) -> Mesh:
    """Give the mesh of a phase; ``secret`` becomes the new key if the mesh has none yet."""
    keys = {**mesh.keys, key: mesh.keys.get(key, secret)}
    wanted: dict[Phase, dict[str, Any]] = {
        Phase.ADD: {"keys": keys},
        Phase.USE: {"keys": keys, "key": key},
        Phase.REMOVE: {"keys": {key: keys[key]}, "key": key},
    }
    return mesh.model_copy(update=wanted[phase])


def is_same(one: Mesh, other: Mesh) -> bool:
    """Compare two meshes, keys included."""
    return fingerprint(one) == fingerprint(other) and one.keys == other.keys


def meaning(phase: Phase, key: int) -> str:
    """Say what a phase brings."""
    return {
        Phase.ADD: f"key {key} beside the one in use",
        Phase.USE: f"key {key} in use",
        Phase.REMOVE: f"no key but {key}",
    }[phase]
