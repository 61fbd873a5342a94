# SPDX-License-Identifier: GPL-2.0-only
"""Rehearsals in a guest: a change that works, and two that a rollout would stop for."""

from collections.abc import Callable
from functools import cache
from typing import Any

from ktcp_ops.errors import ExitCode
from ktcp_ops.mesh.model.latency import Latency
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.run.environment import collection_root
from ktcp_testbed.rehearsal import session, text
from ktcp_testbed.rehearsal.observed import Flow
from ktcp_testbed.rehearsal.verdict import Report
from tests.unit.rehearsal.conftest import make_job, make_mesh

RTTS = {"rc": {"rs": 100_000, "rt": 60_000}, "10.77.3.2": {"rs": 20_000}}
DIRECTORY = collection_root() / "build" / "rehearsal"


def measured(mesh: Mesh) -> Mesh:
    return mesh.model_copy(update={"latency": Latency(rtts=RTTS)})


def allow(mesh: dict[str, Any]) -> None:
    """Let rt serve the path, too, as a backup."""
    mesh["exits"]["rt"] = mesh["exits"]["rs"]
    mesh["paths"][0]["backup"] = [["rt"]]


def move(mesh: dict[str, Any]) -> None:
    """Let the path end at rt, which has not allowed its target before, and rs no longer does."""
    mesh["paths"][0]["via"] = ["rt"]
    mesh["exits"]["rt"] = mesh["exits"].pop("rs")


@cache
def rehearsed(change: Callable[[dict[str, Any]], None] | None, key: str | None = None) -> Report:
    """The rehearsal of a change."""
    keys = {"1": key} if key else None
    before, after = measured(make_mesh()), measured(make_mesh(change, keys=keys))
    # Keys concern two relays, and each relay takes seconds.
    job = make_job(before, after, most=2 if key else 3)
    return session.rehearse(job, session.in_guest("trixie", DIRECTORY))


def test_a_change_that_works_is_found_to_work() -> None:
    report = rehearsed(allow)
    assert text.verdict(report) == []
    assert report.exit_code is ExitCode.OK
    # No wave has relays of both the path and its backup.
    assert [wave.relays for wave in report.waves] == [("rc",), ("rs",), ("rt",)]
    for path in report.paths:
        assert path.before.how == path.after.how == "split"
        assert path.download
        assert path.download.split
        assert path.download.error == ""
        assert path.download.bytes > 0
    changed = {relay.relay: relay.applied.lines for relay in report.relays}
    assert any("backup 10.77.4.2:5565" in line for line in changed["rc"])
    assert any(line == "exits: allow 10.77.3.0/24 port 1-65535" for line in changed["rt"])
    assert changed["rs"] == ()


def test_splitting_takes_the_time_of_the_distances() -> None:
    first: Flow = rehearsed(allow).paths[0].before
    # The client's handshake takes 20 ms, and its request 20 + 100 + 20. Without early SYN, the
    # request waits for the exit's handshake with the target, another 20 ms.
    assert first.first_byte_ms is not None
    assert 180 <= first.first_byte_ms <= 190


def test_an_exit_that_does_not_allow_the_target_yet_is_found() -> None:
    report = rehearsed(move)
    assert report.exit_code is ExitCode.GATE
    assert report.stopped
    assert report.stopped.number == 1
    assert report.stopped.relays == ("rc",)
    assert any("path web (IPv4): new flows fail" in each for each in report.stopped.problems)


def test_another_key_in_the_place_of_one_that_is_used_is_found() -> None:
    report = rehearsed(None, "fedcba9876543210" * 4)
    assert report.exit_code is ExitCode.GATE
    assert report.stopped
    assert report.stopped.number == 1
    # Connections of the pool, made before, stay, but rs no longer takes what rc sends over them.
    assert any("path web (IPv4): new flows fail" in each for each in report.stopped.problems)
