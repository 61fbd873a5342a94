# SPDX-License-Identifier: GPL-2.0-only
"""Actions that are one run of one playbook: verify, drain, undrain, remove.

Actions that go through the mesh in waves are in ``campaign``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.inventory.selection import about, about_one
from ktcp_ops.mesh.journal.journal import Journal, Run
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation.status import variables
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.inventory import resolve
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import RunResult

PLAYBOOKS = {
    "rollout": "site.yml",
    "keys rotate": "site.yml",
    "upgrade": "upgrade.yml",
    "rollback": "rollback.yml",
    "gate": "gate.yml",
    "undo": "undo.yml",
    "verify": "verify.yml",
    "remove": "teardown.yml",
    "drain": "drain.yml",
    "undrain": "drain.yml",
}

WRITTEN_DOWN = ("remove", "drain", "undrain")
"""Actions that change relays: the journal has them."""


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
        UsageError: for an inventory that does not exist, or a limit that selects no host.
    """
    wanted = job(action, mesh, inventories, limit=limit, check=check, options=options)
    chosen = about(mesh, wanted)
    if check or action not in WRITTEN_DOWN:
        return engine.run(chosen, reporter)
    run = Run.begin(action, mesh=mesh, inventories=inventories, limit=limit, options=options)
    return Journal.of(inventories, mesh.name).recorded(run, lambda: engine.run(chosen, reporter))


def draining(*, on: bool, deadline_s: int = 0) -> dict[str, Any]:
    """Give the options of ``drain`` and ``undrain``: how long live splits may take to end."""
    return {"ktcp_drain": "on" if on else "off", "ktcp_drain_deadline": deadline_s}


def mesh_of(host: str, meshes: Sequence[Mesh]) -> Mesh:
    """Give the mesh that a host is in; if there is only one, the host need not be in it.

    Raises:
        UsageError: when it is in none of several.
    """
    having = [mesh for mesh in meshes if host in mesh.relays or host in mesh.edges]
    if not having and len(meshes) > 1:
        names = " or --mesh ".join(mesh.name for mesh in meshes)
        raise UsageError(f"--host {host}: is in no mesh; say which it has left: --mesh {names}")
    return (having or list(meshes))[0]


def remove_host(
    host: str,
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    check: bool = False,
) -> RunResult:
    """Remove KTCP from one host, which need not be in the inventories any more.

    A host that is not there is reached by its name or address, with the variables of group
    ``all``.

    Raises:
        UsageError: for an inventory that does not exist, or a name that is not one host's.
    """
    known = host in mesh.relays or host in mesh.edges
    places = inventories if known else [*inventories, f"{host},"]
    # The playbook is about a group; to Ansible, a host's name is a group of this host only.
    options = {} if known else {"ktcp_relays_group": host}
    wanted = job("remove", mesh, places, limit=host, check=check, options=options)
    wanted = about_one(wanted, host)
    if check:
        return engine.run(wanted, reporter)
    run = Run.begin("remove", mesh=mesh, inventories=inventories, limit=host)
    return Journal.of(inventories, mesh.name).recorded(run, lambda: engine.run(wanted, reporter))


def hosts_of(action: str, mesh: Mesh, inventories: Sequence[str], limit: str) -> list[str]:
    """Ask Ansible which relays an action is about, within a limit.

    Raises:
        UsageError: for an inventory that does not exist, or a limit that selects no relay.
        KtcpError: with Ansible's words, when it cannot tell.
    """
    found = about(mesh, job(action, mesh, inventories, limit=limit)).hosts
    relays = [name for name in found if name in mesh.relays]
    if not relays:
        raise UsageError(f"--limit {limit}: selects no relay; `mesh plan` lists them")
    return relays


def edges_of(mesh: Mesh, inventories: Sequence[str], limit: str | None) -> list[str]:
    """Ask Ansible to which edges a rollout comes, within a limit.

    Raises:
        UsageError: for an inventory that does not exist.
        KtcpError: with Ansible's words, when it cannot tell.
    """
    if limit is None or not mesh.edges:
        return sorted(mesh.edges)
    found = about(mesh, job("rollout", mesh, inventories, limit=limit)).hosts
    return sorted(name for name in found if name in mesh.edges)


def job(
    action: str,
    mesh: Mesh,
    inventories: Sequence[str],
    *,
    limit: str | None,
    hosts: Sequence[str] = (),
    check: bool = False,
    options: Mapping[str, Any] | None = None,
    title: str = "",
) -> Job:
    """Make the job of an action; the action is its title, unless one is given."""
    return Job(
        title=title or action,
        playbook=playbook(PLAYBOOKS[action]),
        inventories=resolve(inventories),
        limit=limit,
        hosts=tuple(hosts),
        check=check,
        variables={**variables(mesh), **(options or {})},
    )
