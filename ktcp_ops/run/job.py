# SPDX-License-Identifier: GPL-2.0-only
"""A job: one run of a playbook, as it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of a playbook.

    Attributes:
        title: what to call it while it runs.
        playbook: its file.
        inventories: absolute paths of the inventories, or lists of hosts.
        limit: Ansible's pattern for the hosts to take, or None for all.
        hosts: the hosts that it is about, if known: if the run is interrupted, those that it
            did not come to are named.
        check: only find out what would change.
        variables: extra variables; no secrets, Ansible may show them.
        keep: names of the tasks whose results are wanted in ``RunResult.outputs``.
        together: its plays wait for each other's hosts, so that it can't be split.
    """

    title: str
    playbook: Path
    inventories: tuple[str, ...]
    limit: str | None = None
    hosts: tuple[str, ...] = ()
    check: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)
    keep: frozenset[str] = frozenset()
    together: bool = False
