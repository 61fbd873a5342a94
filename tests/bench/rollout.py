# SPDX-License-Identifier: GPL-2.0-only
"""Measures what ktcp-ops adds to a rollout: one playbook by its engines and ansible-playbook.

    ./dev run python -m tests.bench.rollout --hosts 50 --workers 2

All hosts are this one, reached without ssh; each has files of its own that a run changes. So the
time is Ansible's and ours, and not the hosts'. Prints JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

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


def measure(ways: Mapping[str, Run], rounds: int) -> dict[str, list[float]]:
    """Time each way in turn, so that all have the same of whatever else this host does."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    number = 0
    for _ in range(rounds):
        for name, run in ways.items():
            number += 1
            begin = time.monotonic()
            run(number)
            seconds[name].append(round(time.monotonic() - begin, 2))
            console.print_note(f"{name}: {seconds[name][-1]:.2f} s")
    return seconds


def summary(seconds: Mapping[str, list[float]], hosts: int) -> dict[str, Any]:
    """Give the figures as data; a ratio is a median's to that of ansible-playbook."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ratios = {name: round(median / medians["ansible"], 2) for name, median in medians.items()}
    return {"hosts": hosts, "tasks": FILES, "seconds": dict(seconds), "ratios": ratios}


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
