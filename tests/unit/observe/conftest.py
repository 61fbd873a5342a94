# SPDX-License-Identifier: GPL-2.0-only
"""A mesh in memory, and engines that answer for its relays."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from ktcp_ops.cli import workers
from ktcp_ops.mesh.diagnosis import bundle, doctor
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import status
from ktcp_ops.run import hosts
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostResult, HostState, RunResult
from tests.unit.mesh.conftest import make_description, one_mesh


class Answers:
    """An engine that gives one result after the other, and the last one for ever."""

    def __init__(self, *results: RunResult) -> None:
        self.results = list(results)
        self.jobs: list[Job] = []

    def run(self, job: Job, reporter: Reporter) -> RunResult:
        self.jobs.append(job)
        reporter.started(title=job.title, tasks=None)
        reporter.finished()
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]


def result(outputs: Mapping[str, Mapping[str, Mapping[str, Any]]], *more: HostResult) -> RunResult:
    """A run in which the hosts with outputs succeeded, and ``more`` had the outcomes given."""
    well = {host for hosts in outputs.values() for host in hosts} - {host.host for host in more}
    hosts = [HostResult(host=host, state=HostState.OK) for host in sorted(well)]
    ordered = tuple(sorted([*hosts, *more], key=lambda host: host.host))
    return RunResult(hosts=ordered, outputs=outputs, complete=True)


@pytest.fixture
def mesh() -> Mesh:
    return read(make_description())


@pytest.fixture(autouse=True)
def a_valid_mesh(monkeypatch: pytest.MonkeyPatch, mesh: Mesh) -> None:
    """Every inventory is the small mesh, and every one exists."""

    def load(_names: Sequence[str]) -> Mesh:
        return mesh

    monkeypatch.setattr(inventory, "load_all", one_mesh(load))
    for module in (status, doctor, bundle):
        monkeypatch.setattr(module, "resolve", tuple)
    monkeypatch.setattr(hosts, "hosts_of", lambda job: (job.limit or "").split(","))


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answers]:
    """Makes all commands use an engine that gives these results."""

    def choose(*results: RunResult) -> Answers:
        engine = Answers(*results)
        monkeypatch.setattr(workers, "make_engine", lambda: engine)
        return engine

    return choose
