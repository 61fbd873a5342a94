# SPDX-License-Identifier: GPL-2.0-only
"""Bringing a mesh to its hosts, resting it and taking it away: one run of one playbook each."""

from collections.abc import Mapping, Sequence
from typing import Any

from ktcp_ops.mesh.model import Mesh
from ktcp_ops.mesh.status import variables
from ktcp_ops.run.engine import Engine, Job
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.inventory import resolve
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import RunResult

PLAYBOOKS = {
    "rollout": "site.yml",
    "verify": "verify.yml",
    "remove": "teardown.yml",
    "drain": "drain.yml",
    "undrain": "drain.yml",
}


def run(
    action: str,
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    limit: str | None = None,
    check: bool = False,
    options: Mapping[str, Any] | None = None,
) -> RunResult:
    """Run the playbook of an action (a key of ``PLAYBOOKS``) over the mesh's hosts.

    ``options`` are variables that only this action's playbook takes.

    Raises:
        UsageError: for an inventory that does not exist.
    """
    job = Job(
        title=action,
        playbook=playbook(PLAYBOOKS[action]),
        inventories=resolve(inventories),
        limit=limit,
        check=check,
        variables={**variables(mesh), **(options or {})},
    )
    return engine.run(job, reporter)
