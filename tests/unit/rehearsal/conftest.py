# SPDX-License-Identifier: GPL-2.0-only
"""A mesh of three relays, a change of it, and a guest that tells what it is told to tell."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.rollout import waves
from ktcp_testbed.lab.virtual import Event
from ktcp_testbed.rehearsal import job
from ktcp_testbed.rehearsal.job import Job
from ktcp_testbed.rehearsal.selection import select
from tests.unit.mesh.conftest import Spoil, make_description

RELAYS: dict[str, dict[str, Any]] = {
    "rc": {"ktcp_address": "10.77.2.1", "ktcp_address6": "fd77:0:0:2::1"},
    "rs": {"ktcp_address": "10.77.2.2", "ktcp_address6": "fd77:0:0:2::2"},
    "rt": {"ktcp_address": "10.77.4.2", "ktcp_address6": "fd77:0:0:4::2"},
}


def make_mesh(spoil: Spoil | None = None, keys: Any = None) -> Mesh:  # noqa: ANN401
    """The small mesh with a third relay, after ``spoil`` has changed it."""
    return read(make_description(spoil, relays=copy.deepcopy(RELAYS), keys=keys))


def move(mesh: dict[str, Any]) -> None:
    """Let the path end at rt."""
    mesh["paths"][0]["via"] = ["rt"]
    mesh["exits"]["rt"] = mesh["exits"].pop("rs")


def make_job(before: Mesh | None, after: Mesh, most: int = 8) -> Job:
    """The job of a change in the usual waves."""
    steps = waves.parse_steps("1,10%,100%")
    return job.make(select(before, after, waves.build(after, list(after.relays), steps), most))


def peer(endpoint: str, ready: int = 1) -> str:
    """A peer's two lines."""
    return (
        f"add {endpoint} low 1 high 2 key 1\n"
        f"# {endpoint} ready {int(ready)} connecting 0 hits 0 misses 0 failures 0 state up\n"
    )


class Guest:
    """A guest in which all goes well, except for what ``spoil`` changes of what it tells."""

    def __init__(self, spoil: Callable[[list[Event]], None] | None = None) -> None:
        self.spoil = spoil

    def __call__(self, job: Job, told: Callable[[Event], None]) -> None:
        """Tell of a job."""
        events = self.events(job)
        if self.spoil:
            self.spoil(events)
        for event in events:
            told(event)

    def events(self, job: Job) -> list[Event]:
        """Everything that it tells."""
        changed: set[str] = set()
        found = self.stage(job, 0, sorted(job.before), changed)
        for number, wave in enumerate(job.selection.waves, start=1):
            changed |= set(wave)
            found += self.stage(job, number, wave, changed)
        return [*found, {"event": "done", "guest_s": 12.5}]

    def stage(self, job: Job, number: int, names: Sequence[str], changed: set[str]) -> list[Event]:
        """What it tells of a stage, when some relays have been changed."""
        found: list[Event] = []
        done = changed | set(job.before)

        def tell(event: str, **facts: object) -> None:
            found.append({"event": event, "stage": number, **facts})

        for name in names:
            tell("applied", relay=name, lines=["peers: add"], steering=["loaded"], problems=[])
        for name in sorted(done):
            others = {at for at, other in job.endpoints.items() if other != name and "[" not in at}
            text = "".join(peer(at, job.endpoints[at] in done) for at in sorted(others))
            tell("peers", relay=name, text=text)
        for check in job.checks:
            way = check.way if number else check.former
            ready = changed if number and check.way != check.former else done
            split = bool(way) and set(way) <= ready
            if number:
                tell("download", check=check.name, bytes=4096, split=True, error="")
            tell("flow", check=check.name, served=True, split=split, first_byte_ms=40.0)
        tell("stage")
        return found


@pytest.fixture
def mesh() -> Mesh:
    """The mesh before and after a change that changes nothing."""
    return make_mesh()


def change(events: Sequence[Event], changes: dict[str, Any], **which: object) -> None:
    """Change the events that have these values."""
    chosen = [each for each in events if all(each.get(k) == v for k, v in which.items())]
    assert chosen
    for event in chosen:
        event.update(changes)
