# SPDX-License-Identifier: GPL-2.0-only
"""Which hosts of a mesh a job is about."""

from dataclasses import replace

from ktcp_ops.mesh.model import Mesh
from ktcp_ops.run import hosts
from ktcp_ops.run.job import Job


def about(mesh: Mesh, job: Job) -> Job:
    """Give a job with the hosts that it is about: those of its limit, else all relays.

    Raises:
        UsageError: when the limit selects none.
        KtcpError: with Ansible's words, when it cannot read inventory or playbook.
    """
    if job.limit is None:
        return replace(job, hosts=tuple(sorted(mesh.relays)))
    return hosts.selected(job)
