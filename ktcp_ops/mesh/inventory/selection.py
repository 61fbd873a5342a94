# SPDX-License-Identifier: GPL-2.0-only
"""Which hosts of a mesh a job is about, and which meshes have hosts within a limit."""

from collections.abc import Sequence
from dataclasses import replace

from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.run import hosts
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.inventory import resolve
from ktcp_ops.run.job import Job


def within(
    meshes: Sequence[Mesh], inventories: Sequence[str], limit: str | None
) -> tuple[Mesh, ...]:
    """Keep those of several meshes that have a relay or an edge within a limit.

    Raises:
        UsageError: when the limit selects none of their hosts.
        KtcpError: with Ansible's words, when it cannot read the inventory.
    """
    if limit is None or len(meshes) == 1:
        return tuple(meshes)
    # Any playbook over a group that is a variable: here, all hosts of the inventory.
    job = Job(
        title="limit",
        playbook=playbook("status.yml"),
        inventories=resolve(inventories),
        limit=limit,
        variables={"ktcp_relays_group": "all"},
    )
    found = set(hosts.selected(job).hosts)
    kept = tuple(mesh for mesh in meshes if found & {*mesh.relays, *mesh.edges})
    if not kept:
        raise UsageError(f"--limit {limit}: selects no host of a mesh; `mesh plan` lists relays")
    return kept


def about(mesh: Mesh, job: Job) -> Job:
    """Give a job with the hosts that it is about: those of its limit, else all relays.

    Raises:
        UsageError: when the limit selects none.
        KtcpError: with Ansible's words, when it cannot read inventory or playbook.
    """
    if job.limit is None:
        return replace(job, hosts=tuple(sorted(mesh.relays)))
    return hosts.selected(job)


def about_one(job: Job, host: str) -> Job:
    """Give a job that is about one host, which its limit names.

    Raises:
        UsageError: when Ansible takes the name for something else, such as a group.
        KtcpError: with Ansible's words, when it cannot read inventory or playbook.
    """
    found = hosts.hosts_of(job)
    if found != [host]:
        said = ", ".join(found) or "no host"
        raise UsageError(f"{host}: Ansible takes it for {said}; give the host's own name")
    return replace(job, hosts=(host,))
