# SPDX-License-Identifier: GPL-2.0-only
"""Relays in memory for the session: they hold what was rolled out to them, and tell it."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ktcp_ops import __version__
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation.probe import MEASURE_TASK
from ktcp_ops.mesh.observation.status import READ_TASK
from ktcp_ops.mesh.relay.plan import Node, plan
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostResult, HostState, RunResult
from tests.unit.mesh.test_verify import grep

COUNTERS = ("splits_active", "splits_opened_total", "splits_failed_total")
LEG_US = 215123
TARGET_US = 26034
READY = 16

Output = dict[str, str]


@dataclass
class Relays:
    """An engine. A relay's tasks are one for the module and one for each file of procfs.

    Attributes:
        mesh: what the inventory says.
        held: the configuration of each relay that has the module.
        drained: the relays that drain.
    """

    mesh: Mesh = field(default_factory=Mesh)
    held: dict[str, Node] = field(default_factory=dict)
    drained: set[str] = field(default_factory=set)

    def run(self, job: Job, reporter: Reporter) -> RunResult:
        """Run a job; on a terminal nothing is left of its progress."""
        reporter.finished()
        hosts = [self.host(job, name) for name in sorted(job.hosts)]
        told = dict(self.outputs(job))
        return RunResult(hosts=tuple(hosts), complete=True, outputs=told)

    def host(self, job: Job, name: str) -> HostResult:
        """Do on a host what a playbook does, and give the outcome."""
        changed = 0
        match job.playbook.stem:
            case "site":
                wanted = plan(self.mesh)[name]
                changed = differing(self.held.get(name), wanted)
                if not job.check:
                    self.held[name] = wanted
            case "teardown":
                changed = differing(self.held.pop(name, None), None)
            case "drain":
                on = job.variables["ktcp_drain"] == "on"
                changed = int(on is not (name in self.drained))
                self.drained = self.drained | {name} if on else self.drained - {name}
        state = HostState.CHANGED if changed else HostState.OK
        tasks = 1 if job.playbook.stem != "site" else 1 + len(plan(self.mesh)[name]["conf"])
        return HostResult(host=name, state=state, ok=max(tasks, changed), changed=changed)

    def outputs(self, job: Job) -> Iterator[tuple[str, dict[str, Output]]]:
        """Give the results that a job is to keep."""
        for task in job.keep:
            if task.startswith(READ_TASK):
                yield task, {name: self.procfs(name) for name in job.hosts}
            if task == MEASURE_TASK:
                asked: Mapping[str, list[str]] = job.variables["ktcp_round_trips"]
                yield task, {name: self.measured(name, asked) for name in job.hosts}

    def procfs(self, name: str) -> Output:
        """Print the files of a relay's module; nothing, without the module."""
        if name not in self.held:
            return {"stdout": ""}
        conf: dict[str, Any] = {**self.held[name]["conf"]}
        conf["peers"] = [*conf["peers"], *(f"# {self.peer(line)}" for line in conf["peers"])]
        texts = {
            "version": f"module {__version__}\n",
            **{file: "".join(f"{line}\n" for line in lines) for file, lines in conf.items()},
            "drain": "on\n" if name in self.drained else "off\n",
            "stats": "".join(f"{counter} 0\n" for counter in COUNTERS),
        }
        return grep(texts)

    def peer(self, line: str) -> str:
        """Say of a peer how its pool is: full, if the other relay is there."""
        endpoint = line.split()[1]
        there = any(
            f"{relay.ktcp_address}:{self.mesh.ports.relay}" == endpoint
            for name, relay in self.mesh.relays.items()
            if name in self.held
        )
        ready, state = (READY, "up") if there else (0, "down")
        return (
            f"{endpoint} ready {ready} connecting 0 hits 0 misses 0 failures 0 "
            f"bytes_up 0 bytes_down 0 rtt_us {LEG_US} state {state}"
        )

    def measured(self, name: str, asked: Mapping[str, list[str]]) -> Output:
        """Print round trips: to peers by their pools, which sent too little to tell losses."""
        peers = [line.split()[1] for line in self.held[name]["conf"]["peers"]]
        targets = [line.split()[1] for line in asked.get(name, [])]
        found = [(peer, LEG_US, "pool", 0, 0) for peer in peers]
        found += [(target, TARGET_US, "tcp", 0, 0) for target in targets]
        return {"stdout": json.dumps(found)}


def differing(one: Node | None, other: Node | None) -> int:
    """Count the tasks that lead from one configuration to another; None is no module."""
    files = {**(one or {"conf": {}})["conf"], **(other or {"conf": {}})["conf"]}
    if one is None or other is None:
        return 0 if one is other else 1 + len(files)
    return sum(one["conf"].get(file) != other["conf"].get(file) for file in files)
