# SPDX-License-Identifier: GPL-2.0-only
"""Bringing a mesh to its hosts, and taking it away: one run of one playbook each."""

from collections.abc import Sequence

from ktcp_ops.mesh.model import Mesh
from ktcp_ops.mesh.status import variables
from ktcp_ops.run.engine import Engine, Job
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.inventory import resolve
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import RunResult

PLAYBOOKS = {"rollout": "site.yml", "verify": "verify.yml", "remove": "teardown.yml"}


def run(
    action: str,
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    limit: str | None = None,
    check: bool = False,
) -> RunResult:
    """Run the playbook of an action (a key of ``PLAYBOOKS``) over the mesh's hosts.

    Raises:
        UsageError: for an inventory that does not exist.
    """
    job = Job(
        title=action,
        playbook=playbook(PLAYBOOKS[action]),
        inventories=resolve(inventories),
        limit=limit,
        check=check,
        variables=variables(mesh),
    )
    return engine.run(job, reporter)
