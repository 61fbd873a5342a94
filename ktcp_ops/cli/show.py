# SPDX-License-Identifier: GPL-2.0-only
"""How a run of Ansible is printed: a line for each host."""

from functools import partial

from ktcp_ops import console
from ktcp_ops.cli.answer import Answer
from ktcp_ops.run.result import RunResult


def run_answer(action: str, result: RunResult, *, check: bool) -> Answer:
    """Make the answer of an action from its run."""
    return Answer(
        code=result.exit_code,
        data={"command": action, "check": check, **result.to_data()},
        show=partial(print_run, result, check=check),
        remarks=result.remarks,
    )


def print_run(result: RunResult, *, check: bool = False) -> None:
    """Print a run's hosts, and after a dry run what it would change."""
    print_result(result)
    if check:
        print_changes(result)


def print_changes(result: RunResult) -> None:
    """Print what a run would change, a line for each host and task."""
    for host in result.hosts:
        for task in host.changed_tasks:
            console.print_line(f"{host.host} would change: {task}")


def print_result(result: RunResult) -> None:
    """Print a run's hosts, a line each."""
    if result.hosts:
        console.print_table(
            ("HOST", "STATE", "OK", "CHANGED", "FAILED TASK", "MESSAGE"),
            [
                (
                    host.host,
                    str(host.state),
                    str(host.ok),
                    str(host.changed),
                    host.failed_task or "-",
                    first_line(host.message or "-"),
                )
                for host in result.hosts
            ],
        )


def first_line(text: str) -> str:
    """Take a message's first line, so that each host has one line; the rest is printed below."""
    head, *rest = text.strip().splitlines() or [""]
    return f"{head} (and {len(rest)} lines, see below)" if rest else head
