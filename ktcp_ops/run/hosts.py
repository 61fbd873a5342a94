# SPDX-License-Identifier: GPL-2.0-only
"""Which hosts and tasks a job is about, as Ansible sees it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ktcp_ops.errors import KtcpError, UsageError
from ktcp_ops.run.environment import ansible_environment
from ktcp_ops.run.job import Job


@dataclass(frozen=True)
class Survey:
    """What a playbook is about: hosts within its limit, and how many tasks it has."""

    hosts: tuple[str, ...]
    tasks: int


def hosts_of(job: Job) -> list[str]:
    """Ask Ansible which hosts a job is about, within its limit; there may be none.

    Raises:
        KtcpError: with Ansible's words, when it cannot read inventory or playbook.
    """
    sources = [part for name in job.inventories for part in ("-i", name)]
    limit = ["--limit", job.limit] if job.limit else []
    variables = ["--extra-vars", json.dumps(dict(job.variables))]
    return list(survey([*sources, *limit, *variables, str(job.playbook)]).hosts)


def selected(job: Job) -> Job:
    """Give a job with the hosts that its limit selects; without a limit, as it is.

    Raises:
        UsageError: when the limit selects none of the hosts that the job is about.
        KtcpError: with Ansible's words, when it cannot read inventory or playbook.
    """
    if job.limit is None or job.hosts:
        return job
    hosts = tuple(hosts_of(job))
    if not hosts:
        raise UsageError(
            f"--limit {job.limit}: selects no host of this mesh; `ansible-inventory --graph` "
            "lists hosts and groups"
        )
    return replace(job, hosts=hosts)


@cache
def tasks_of(playbook: Path) -> int | None:
    """Ask Ansible, once, how many tasks a playbook has; None if it cannot tell."""
    try:
        return survey(["-i", "localhost,", str(playbook)]).tasks or None
    except KtcpError:
        return None


def survey(arguments: Sequence[str]) -> Survey:
    """Ask Ansible what a playbook is about.

    Raises:
        KtcpError: with Ansible's words, when it cannot tell.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ktcp_ops.run.surveyor", *arguments],
        env={**os.environ, **ansible_environment()},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise KtcpError(done.stderr.strip() or "Ansible ended without a reason")
    found = json.loads(done.stdout)
    return Survey(tuple(found["hosts"]), found["tasks"])
