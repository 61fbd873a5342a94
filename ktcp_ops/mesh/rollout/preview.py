# SPDX-License-Identifier: GPL-2.0-only
"""What relays have to hold and paths gain, and what a rollout would change on the relays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktcp_ops.errors import ExitCode, UsageError
from ktcp_ops.mesh.journal.redact import without_keys
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import gains, shortcuts
from ktcp_ops.mesh.observation.gains import Gain
from ktcp_ops.mesh.observation.shortcuts import Shortcuts
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.mesh.rollout import actions, change
from ktcp_ops.mesh.rollout.change import Survey
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.reporter import Reporter


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Relays that were chosen, what they have to hold, and what paths and pairs of them gain.

    The paths are those that begin at these relays, the pairs those with one of them as an end.
    """

    nodes: Mapping[str, dict[str, Any]]
    gained: tuple[Gain, ...]
    shorter: Shortcuts

    def gains_data(self) -> dict[str, Any]:
        """Give what paths and pairs gain as JSON data."""
        return {
            "paths": gains.to_data(self.gained),
            "shortcuts": shortcuts.to_data(self.shorter),
        }

    def to_data(self) -> dict[str, Any]:
        """Give it as JSON data."""
        return {"relays": self.nodes, **self.gains_data()}


@dataclass(frozen=True, kw_only=True)
class LivePreview:
    """What a rollout would change on relays; with ``drift``, a change is a failure."""

    survey: Survey
    chosen: Preview
    drift: bool

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command that shows it."""
        code = self.survey.exit_code
        drifted = code is ExitCode.OK and change.any_drifted(self.survey.relays)
        return ExitCode.DRIFT if self.drift and drifted else code

    def to_data(self) -> dict[str, Any]:
        """Give it as JSON data."""
        relays = {relay.relay: change.to_data(relay) for relay in self.survey.relays}
        return {"relays": relays, **self.chosen.gains_data()}


def with_relays(meshes: Sequence[Mesh], relays: Sequence[str]) -> list[Mesh]:
    """Keep the meshes that have any of some relays; all, if none is named.

    Raises:
        UsageError: for a relay that is in none of them.
    """
    strangers = sorted(set(relays).difference(*(mesh.relays for mesh in meshes)))
    if strangers:
        raise UsageError(f"{', '.join(strangers)}: not in the mesh; `mesh plan` lists its relays")
    return [mesh for mesh in meshes if not relays or set(relays) & set(mesh.relays)]


def preview(
    mesh: Mesh, inventories: Sequence[str], relays: Sequence[str], limit: str | None
) -> Preview:
    """Compute what relays of a mesh have to hold: those of the named, or all, within a limit.

    Raises:
        UsageError: for a limit that selects none.
        KtcpError: when Ansible cannot tell what the limit selects.
    """
    nodes = plan(mesh)
    within = actions.hosts_of("rollout", mesh, inventories, limit) if limit else nodes
    wanted = [name for name in nodes if (not relays or name in relays) and name in within]
    return Preview(
        nodes={name: without_keys(nodes[name]) for name in wanted},
        gained=tuple(gain for gain in gains.predict(mesh) if gain.relays[0] in wanted),
        shorter=shortcuts.find(mesh, wanted),
    )


def ask(
    chosen: Preview,
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    drift: bool,
) -> LivePreview:
    """Ask the relays of a preview what a rollout would change on them."""
    survey = change.ask(
        engine=engine,
        reporter=reporter,
        mesh=mesh,
        inventories=inventories,
        relays=list(chosen.nodes),
    )
    return LivePreview(survey=survey, chosen=chosen, drift=drift)
