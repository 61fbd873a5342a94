# SPDX-License-Identifier: GPL-2.0-only
"""What the guest is asked to do: the scene, the files of each relay, and the waves."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.mesh.relay.tunnel import over
from ktcp_ops.mesh.rollout import gate
from ktcp_testbed.rehearsal import scene
from ktcp_testbed.rehearsal.checks import Check
from ktcp_testbed.rehearsal.files import files
from ktcp_testbed.rehearsal.scene import Scene
from ktcp_testbed.rehearsal.selection import Selection

Files = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One rehearsal.

    Attributes:
        before: the files of each relay that has KTCP before the change.
        after: those of each relay that is changed.
        endpoints: endpoint -> the relay that listens there, before or after.
        checks: what the flows of the scene are about.
        assumed: how many legs have an assumed length.
    """

    selection: Selection
    scene: Scene
    before: Mapping[str, Files]
    after: Mapping[str, Files]
    endpoints: Mapping[str, str]
    checks: tuple[Check, ...]
    assumed: int

    def dump(self) -> str:
        """Write what the guest needs of it."""
        pools = [mesh.pool.high for mesh in self.selection.meshes]
        return json.dumps(
            {
                "scene": asdict(self.scene),
                "before": self.before,
                "after": self.after,
                "waves": self.selection.waves,
                "endpoints": self.endpoints,
                "pooled": all(pools),
            }
        )


def make(selection: Selection) -> Job:
    """Make the job of a change."""
    made, checks, assumed = scene.make(selection.meshes)
    changed = {name for wave in selection.waves for name in wave}
    after = files_of(selection.after)
    return Job(
        selection=selection,
        scene=made,
        before=files_of(selection.before) if selection.before else {},
        after={name: after[name] for name in after if name in changed},
        endpoints={
            at: name
            for mesh in map(over, selection.meshes)
            for name in mesh.relays
            for at in gate.endpoints(mesh, name)
        },
        checks=tuple(checks),
        assumed=assumed,
    )


def files_of(mesh: Mesh) -> dict[str, Files]:
    """Compute the files of every relay, by name."""
    return {name: files(node) for name, node in plan(mesh).items()}
