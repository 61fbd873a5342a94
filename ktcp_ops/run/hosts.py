# SPDX-License-Identifier: GPL-2.0-only
"""Which hosts a job is about, as Ansible sees it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence

from ktcp_ops.errors import KtcpError
from ktcp_ops.run.engine import Job
from ktcp_ops.run.environment import ansible_environment


def hosts_of(job: Job) -> list[str]:
    """Ask Ansible which hosts a job is about, within its limit.

    Raises:
        KtcpError: with Ansible's words, when it finds none or cannot read the playbook.
    """
    sources = [part for name in job.inventories for part in ("-i", name)]
    limit = ["--limit", job.limit] if job.limit else []
    variables = ["--extra-vars", json.dumps(dict(job.variables))]
    command = [sys.executable, "-m", "ansible", "playbook", "--list-hosts", *sources]
    done = subprocess.run(
        [*command, *limit, *variables, str(job.playbook)],
        env={**os.environ, **ansible_environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise KtcpError(done.stderr.strip() or "Ansible ended without a reason")
    return listed(done.stdout.splitlines())


def listed(lines: Sequence[str]) -> list[str]:
    """Read the hosts that ``--list-hosts`` printed: a block of them below each play."""
    found: set[str] = set()
    inside = False
    for line in lines:
        if line.startswith("    hosts ("):
            inside = True
        elif inside and line.startswith("      "):
            found.add(line.strip())
        else:
            inside = False
    return sorted(found)
