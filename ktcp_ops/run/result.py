# SPDX-License-Identifier: GPL-2.0-only
"""The outcome of a run of Ansible, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ktcp_ops.errors import ExitCode


class HostState(StrEnum):
    """How a run ended for a host."""

    OK = "ok"
    CHANGED = "changed"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    UNFINISHED = "unfinished"
    """The run ended while the host was at work; its counts are those until then."""
    NOT_REACHED = "not reached"
    """The run ended before it came to the host, which was not changed."""


@dataclass(frozen=True, kw_only=True)
class HostResult:
    """One host's outcome; counts are tasks. With ``check``, changed means would change."""

    host: str
    state: HostState
    ok: int = 0
    changed: int = 0
    changed_tasks: tuple[str, ...] = ()
    failed_task: str | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """The outcome of one run.

    Attributes:
        hosts: every host that took part, sorted by name.
        complete: whether Ansible ran to its end, whatever the hosts' outcomes.
        canceled: whether the user stopped it.
        complaint: what Ansible said when it ended early.
        outputs: task name -> host -> what the module returned, for the tasks asked for.
    """

    hosts: tuple[HostResult, ...]
    complete: bool
    canceled: bool = False
    complaint: str = ""
    outputs: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that did this run.

        Unreachable wins over failed: a host often fails because another one is unreachable.
        """
        states = {host.state for host in self.hosts}
        if self.canceled:
            return ExitCode.INTERRUPTED
        if self.complete and not self.hosts:
            return ExitCode.FAILED
        if HostState.UNREACHABLE in states:
            return ExitCode.UNREACHABLE
        if HostState.FAILED in states or not self.complete:
            return ExitCode.FAILED
        return ExitCode.OK

    @property
    def remarks(self) -> tuple[str, ...]:
        """Messages beside the table of hosts: long failures, and what went wrong with the run."""
        found = [
            f"{host.host}: {host.failed_task}: {host.message}"
            for host in self.hosts
            if host.failed_task and "\n" in (host.message or "")
        ]
        found += [self.complaint] if self.complaint else []
        if self.complete and not self.hosts:
            found.append("no host was selected; see --limit and the inventory")
        if self.canceled:
            found.append("interrupted; hosts keep what was done so far, run it again")
        return tuple(found)

    def to_data(self) -> dict[str, Any]:
        """Give the run as JSON data, without the outputs."""
        return {
            "exit_code": int(self.exit_code),
            "complete": self.complete,
            "canceled": self.canceled,
            "complaint": self.complaint or None,
            "hosts": {
                host.host: {
                    "state": str(host.state),
                    "ok": host.ok,
                    "changed": host.changed,
                    "changed_tasks": list(host.changed_tasks),
                    "failed_task": host.failed_task,
                    "message": host.message,
                }
                for host in self.hosts
            },
        }
