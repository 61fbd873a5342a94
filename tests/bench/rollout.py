# SPDX-License-Identifier: GPL-2.0-only
"""Measures what ktcp-ops adds to a rollout: one playbook by its engines and ansible-playbook.

    ./dev run python -m tests.bench.rollout --hosts 50 --workers 2

All hosts are this one, reached without ssh; each has files of its own that a run changes. So the
time is Ansible's and ours, and not the hosts'. Prints JSON: for each way the seconds, the seconds
of CPU time, which other work on this host hardly changes, and the memory of the largest process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ktcp_ops import console
from ktcp_ops.run.engine import Engine, LocalEngine
from ktcp_ops.run.environment import ansible_environment
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Silent
from ktcp_ops.run.result import HostState
from ktcp_ops.run.workers import Worker, WorkersEngine

FILES = 4
WORKER = ("env", f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}")
WORKER_COMMAND = (*WORKER, sys.executable, "-m", "ansible_runner", "worker")

Run = Callable[[int], None]
"""Rolls a round out; its number makes it a change."""


class Cost(NamedTuple):
    """What a run took; processor time and memory are those of all its processes."""

    seconds: float
    cpu_seconds: float
    highest_mib: int


def write(directory: Path, hosts: int) -> tuple[Path, Path]:
    """Write an inventory and a playbook; give both."""
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
    names: dict[str, object] = {f"relay{number:03}": {} for number in range(hosts)}
    inventory, playbook = directory / "hosts.json", directory / "change.yml"
    inventory.write_text(json.dumps({"all": {"hosts": names, "vars": variables}}))
    tasks = [
        {
            "name": f"Change file {number}",
            # No module: its start would be the hosts' time, and they are all this one.
            "ansible.builtin.raw": (
                f"echo {{{{ round }}}} >{directory}/{{{{ inventory_hostname }}}}.{number}"
            ),
        }
        for number in range(FILES)
    ]
    play = {"name": "Change", "hosts": "all", "gather_facts": False, "tasks": tasks}
    playbook.write_text(json.dumps([play]))
    return inventory, playbook


def bare(inventory: Path, playbook: Path) -> Run:
    """By ansible-playbook."""
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), str(playbook)]

    def run(number: int) -> None:
        subprocess.run(
            [*command, "--extra-vars", json.dumps({"round": number})],
            env={**os.environ, **ansible_environment()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )

    return run


def by(engine: Engine, inventory: Path, playbook: Path, hosts: int) -> Run:
    """By one of our engines; each host has to change."""

    def run(number: int) -> None:
        variables = {"round": number}
        job = Job(
            title="rollout", playbook=playbook, inventories=(str(inventory),), variables=variables
        )
        result = engine.run(job, Silent())
        changed = sum(host.state is HostState.CHANGED for host in result.hosts)
        if changed != hosts:
            raise RuntimeError(f"{changed} of {hosts} hosts changed: {result}")

    return run


def measure(ways: Mapping[str, Run], rounds: int) -> dict[str, list[Cost]]:
    """Measure each way in turn, so that all have the same of whatever else this host does."""
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    number = 0
    for _ in range(rounds):
        for name, run in ways.items():
            number += 1
            costs[name].append(cost(run, number))
            console.print_note(f"{name}: {costs[name][-1]}")
    return costs


def cost(run: Run, number: int) -> Cost:
    """Measure a run in a process of its own, whose end tells what it and its children took.

    Raises:
        RuntimeError: when it failed.
    """
    begin = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            run(number)
            code = 0
        finally:
            if code:
                traceback.print_exc()
            os._exit(code)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"a run failed: {status}")
    seconds = time.monotonic() - begin
    cpu_seconds = usage.ru_utime + usage.ru_stime
    return Cost(round(seconds, 2), round(cpu_seconds, 2), usage.ru_maxrss >> 10)


def summary(costs: Mapping[str, list[Cost]], hosts: int) -> dict[str, Any]:
    """Give the figures as data; a ratio is a median's to that of ansible-playbook."""
    found: dict[str, Any] = {"hosts": hosts, "tasks": FILES}
    for figure in Cost._fields:
        values = {name: [getattr(one, figure) for one in each] for name, each in costs.items()}
        medians = {name: statistics.median(each) for name, each in values.items()}
        ratios = {name: round(each / medians["ansible"], 2) for name, each in medians.items()}
        found[figure] = {"values": values, "ratios": ratios}
    return found


def main() -> None:
    """Take the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=0, help="also by this many local workers")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ktcp-rollout-") as name:
        files = write(Path(name), options.hosts)
        ways = {"ansible": bare(*files), "local": by(LocalEngine(), *files, options.hosts)}
        if options.workers:
            workers = [
                Worker(name=f"worker{n}", command=WORKER_COMMAND) for n in range(options.workers)
            ]
            ways["workers"] = by(WorkersEngine(workers), *files, options.hosts)
        console.print_json(summary(measure(ways, options.rounds), options.hosts))


if __name__ == "__main__":
    main()
