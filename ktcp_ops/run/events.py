# SPDX-License-Identifier: GPL-2.0-only
"""Builds the result of a run from Ansible's events, one after the other.

It keeps one small record for each host and the outputs that were asked for, and nothing else,
so that the memory for a run over many hosts does not grow with its tasks.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostResult, HostState, RunResult

Event = Mapping[str, Any]

OUTCOMES = {
    "runner_on_ok": "ok",
    "runner_on_skipped": "skipped",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
}
COMPLAINT_LINES = 12
SHOWN_LINES = 25
"""Lines shown of the output of a program that failed; the log has all of it."""
EMPTY = ("non-zero return code", "non-zero return code.", "MODULE FAILURE")


@dataclass
class HostRecord:
    """What is known of a host so far."""

    ok: int = 0
    changed: int = 0
    changed_tasks: list[str] = field(default_factory=list)
    failed: bool = False
    unreachable: bool = False
    failed_task: str | None = None
    message: str | None = None
    item_message: str | None = None


class ResultBuilder:
    """Builds a run's result from its events, and tells a reporter how far the run is."""

    def __init__(
        self,
        reporter: Reporter,
        keep: frozenset[str] = frozenset(),
        expected: Collection[str] = (),
    ) -> None:
        self.reporter = reporter
        self.keep = keep
        self.expected = expected
        self.hosts: dict[str, HostRecord] = {}
        self.outputs: dict[str, dict[str, Mapping[str, Any]]] = {name: {} for name in sorted(keep)}
        self.tasks = 0
        self.complete = False
        self.said: list[str] = []

    def feed(self, event: Event) -> None:
        """Process one event; ignore kinds that say nothing about hosts or tasks."""
        kind = str(event.get("event", ""))
        data: Event = event.get("event_data") or {}
        if kind in ("playbook_on_task_start", "playbook_on_handler_task_start"):
            self.tasks += 1
            self.reporter.task(number=self.tasks, name=task_name(data))
        elif kind in OUTCOMES:
            self.outcome(OUTCOMES[kind], data)
        elif kind == "runner_item_on_failed":
            self.host(data).item_message = message_of(data.get("res") or {})
        elif kind == "playbook_on_stats":
            self.settle(data)
        elif kind in ("error", "warning", "verbose", "deprecated"):
            self.said += [
                line for line in str(event.get("stdout", "")).splitlines() if line.strip()
            ]
            del self.said[:-COMPLAINT_LINES]

    def host(self, data: Event) -> HostRecord:
        """Give the record of the host that the event is about."""
        return self.hosts.setdefault(str(data.get("host")), HostRecord())

    def outcome(self, outcome: str, data: Event) -> None:
        """Process a host's outcome of a task."""
        record = self.host(data)
        result: Mapping[str, Any] = data.get("res") or {}
        task = str(data.get("task"))
        message = ""
        if outcome in ("failed", "unreachable"):
            message = record.item_message or message_of(result)
            if outcome == "failed" and data.get("ignore_errors"):
                outcome = "ignored"
            else:
                record.failed = record.failed or outcome == "failed"
                record.unreachable = record.unreachable or outcome == "unreachable"
                record.failed_task, record.message = task_name(data), message
        record.item_message = None
        if outcome == "ok":
            record.ok += 1
            if result.get("changed"):
                record.changed += 1
                record.changed_tasks.append(task_name(data))
                outcome = "changed"
        if task in self.keep:
            self.outputs[task][str(data.get("host"))] = dict(result)
        self.reporter.host(host=str(data.get("host")), outcome=outcome, message=message)

    def settle(self, data: Event) -> None:
        """Process the final counts: only they show which failures were rescued."""
        self.complete = True
        for name in data.get("processed") or {}:
            self.hosts.setdefault(str(name), HostRecord())
        for name, record in self.hosts.items():
            record.failed = bool((data.get("failures") or {}).get(name))
            record.unreachable = bool((data.get("dark") or {}).get(name))
            record.ok = int((data.get("ok") or {}).get(name, record.ok))
            record.changed = int((data.get("changed") or {}).get(name, record.changed))

    def result(self, *, canceled: bool) -> RunResult:
        """Give the outcome of the run, as far as it got."""
        hosts = [self.sum_up(name, record) for name, record in self.hosts.items()]
        if not self.complete:
            message = "the run ended before it came here"
            hosts += [
                HostResult(host=name, state=HostState.NOT_REACHED, message=message)
                for name in self.expected
                if name not in self.hosts
            ]
        silent = self.complete or canceled
        return RunResult(
            hosts=tuple(sorted(hosts, key=lambda host: host.host)),
            complete=self.complete,
            canceled=canceled,
            complaint="" if silent else "\n".join(self.said) or "Ansible ended without a reason",
            outputs=self.outputs,
        )

    def sum_up(self, name: str, record: HostRecord) -> HostResult:
        """Make a host's result from its record."""
        message = record.message
        if record.unreachable:
            state = HostState.UNREACHABLE
        elif record.failed:
            state = HostState.FAILED
        elif not self.complete:
            state, message = HostState.UNFINISHED, "the run ended before this host was done"
        else:
            state, message = HostState.CHANGED if record.changed else HostState.OK, None
        bad = record.unreachable or record.failed
        return HostResult(
            host=name,
            state=state,
            ok=record.ok,
            changed=record.changed,
            changed_tasks=tuple(record.changed_tasks),
            failed_task=record.failed_task if bad else None,
            message=message,
        )


def task_name(data: Event) -> str:
    """Name a task with its role: several roles have a task of the same name."""
    role = data.get("role")
    return f"{role}: {data.get('task')}" if role else str(data.get("task"))


def message_of(result: Mapping[str, Any]) -> str:
    """Say why a task failed: its message, and below it the last lines that its program printed."""
    if "censored" in result:
        return str(result["censored"])
    message = result.get("msg", "")
    text = "; ".join(map(str, message)) if isinstance(message, list) else str(message)
    words = (result.get(key) for key in ("stderr", "module_stderr", "stdout", "module_stdout"))
    said = next((str(each).strip() for each in words if each and str(each).strip()), "")
    lines = said.splitlines()
    left = len(lines) - SHOWN_LINES
    shown = [f"... and {left} lines before, which are in the log", *lines[left:]]
    # If a program failed, Ansible's own message says only that.
    head = [] if lines and text.strip() in EMPTY else [text.strip()]
    parts = [*head, *(shown if left > 0 else lines)]
    return "\n".join(part for part in parts if part) or "no reason given"
