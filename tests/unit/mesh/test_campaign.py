# SPDX-License-Identifier: GPL-2.0-only
"""A change on its way through a mesh: waves, gate, budget, undo, resume, and the journal of it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktcp_ops.errors import ExitCode, KtcpError, UsageError
from ktcp_ops.mesh.journal.journal import Journal, Outcome, Run, WaveState
from ktcp_ops.mesh.model.mesh import Edge, Mesh
from ktcp_ops.mesh.observation import status
from ktcp_ops.mesh.rollout import actions
from ktcp_ops.mesh.rollout.campaign import Campaign, Rules, resumable
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Silent
from ktcp_ops.run.result import HostState, RunResult
from tests.unit.mesh.fleet import Fleet

RELAYS = ("a", "b", "c", "d")
WAVES = (("a",), ("b",), ("c", "d"))
MESH = Mesh.model_validate(
    {
        "relays": {
            name: {"name": name, "ktcp_address": f"192.0.2.{n}"}
            for n, name in enumerate(RELAYS, start=1)
        },
        "paths": [
            {"name": f"{one}{other}", "ingress": one, "via": [other]} for one, other in ("ab", "cb")
        ],
    }
)

Start = Callable[..., Campaign]


@pytest.fixture(autouse=True)
def an_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every inventory exists."""
    for module in (actions, status):
        monkeypatch.setattr(module, "resolve", tuple)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


@pytest.fixture
def begin(journal: Journal) -> Start:
    """Makes a campaign over a fleet's relays; the only other argument is a run to resume."""

    def make(fleet: Fleet, run: Run | None = None, **rules: Any) -> Campaign:  # noqa: ANN401 - the fields of the rules
        run = run or Run.begin("rollout", mesh=MESH, inventories=["inv"], limit=None, waves=WAVES)
        return Campaign(
            engine=fleet,
            reporter=Silent(),
            say=said.append,
            mesh=MESH,
            inventories=["inv"],
            journal=journal,
            run=run,
            rules=replace(Rules(), **rules),
            variables={"ktcp_module_drain_deadline": 5},
        )

    said: list[str] = []
    return make


def written(journal: Journal) -> Run:
    """The only run of a journal."""
    (run,), problems = journal.runs()
    assert problems == []
    return run


def test_all_goes_well(begin: Start, journal: Journal) -> None:
    fleet = Fleet()
    run = begin(fleet).carry_out()
    assert fleet.played == [
        ("status", "a,b,c,d"),
        ("site", "a"),
        ("gate", "a"),
        ("site", "b"),
        ("gate", "a,b"),
        ("site", "c,d"),
        ("gate", "b,c,d"),
    ]
    assert (run.outcome, run.exit_code, run.reason) == (Outcome.DONE, ExitCode.OK, "")
    assert [wave.state for wave in run.waves] == [WaveState.DONE] * 3
    assert {name: host.state for name, host in run.hosts.items()} == dict.fromkeys(
        RELAYS, HostState.CHANGED
    )
    assert written(journal) == run


def test_the_playbooks_are_told_what_they_need(begin: Start) -> None:
    fleet = Fleet()
    run = begin(fleet).carry_out()
    site, gate = fleet.jobs[1:3]
    assert site.title == "rollout: wave 1 of 3"
    assert site.variables["ktcp_undo_run"] == run.id
    assert site.variables["ktcp_module_drain_deadline"] == 5
    assert site.variables["ktcp_relays_group"] == "relays"
    assert gate.title == "rollout: gate 1 of 3"
    assert gate.variables["ktcp_gate_absent"] == [f"192.0.2.{n}:5565" for n in (2, 3, 4)]
    assert fleet.jobs[-1].variables["ktcp_gate_absent"] == []


WITH_EDGE = MESH.model_copy(
    update={"edges": {"office": Edge.model_validate({"relay": "a"})}},
)


def begun_with_an_edge(begin: Start, fleet: Fleet) -> Campaign:
    """Begin the campaign of a mesh with an edge."""
    waves = (*WAVES, ("office",))
    run = Run.begin("rollout", mesh=WITH_EDGE, inventories=["inv"], limit=None, waves=waves)
    return replace(begin(fleet, run), mesh=WITH_EDGE)


def test_edges_come_last_and_neither_gate_nor_status_asks_them(
    begin: Start, journal: Journal
) -> None:
    fleet = Fleet()
    run = begun_with_an_edge(begin, fleet).carry_out()
    assert fleet.played[0] == ("status", "a,b,c,d")
    assert fleet.played[-2:] == [("gate", "b,c,d"), ("site", "office")]
    assert (run.outcome, run.hosts["office"].state) == (Outcome.DONE, HostState.CHANGED)
    assert written(journal) == run


def test_an_edge_that_fails_is_not_rolled_back_and_goes_on_alone(
    begin: Start, journal: Journal
) -> None:
    fleet = Fleet({("site", "office"): "failed"})
    run = begun_with_an_edge(begin, fleet).carry_out()
    assert fleet.played[-1] == ("site", "office")
    assert [wave.state for wave in run.waves] == [*[WaveState.DONE] * 3, WaveState.FAILED]
    assert (run.outcome, run.exit_code) == (Outcome.STOPPED, ExitCode.GATE)
    well = Fleet()
    again = replace(begin(well, resumable(journal, "rollout", WITH_EDGE)), mesh=WITH_EDGE)
    assert again.carry_out().outcome is Outcome.DONE
    assert well.played == [("site", "office")]


@pytest.mark.parametrize("fate", ["failed", "unreachable"])
def test_a_canary_that_fails_is_rolled_back_and_nothing_else_is_touched(
    fate: str, begin: Start, journal: Journal
) -> None:
    fleet = Fleet({("site", "a"): fate})
    run = begin(fleet).carry_out()
    assert fleet.played == [("status", "a,b,c,d"), ("site", "a"), ("undo", "a")]
    assert (run.outcome, run.exit_code) == (Outcome.STOPPED, ExitCode.GATE)
    assert run.reason == "wave 1: bad relays: a; allowed: 0; rolled back"
    assert [wave.state for wave in run.waves] == [
        WaveState.UNDONE,
        WaveState.PENDING,
        WaveState.PENDING,
    ]
    assert run.hosts["a"].message == "site of a"
    assert written(journal) == run


def test_an_ill_relay_stops_at_the_gate(begin: Start) -> None:
    fleet = Fleet({("gate", "d"): "failed"})
    run = begin(fleet).carry_out()
    assert fleet.played[-2:] == [("gate", "b,c,d"), ("undo", "c,d")]
    assert (run.outcome, run.exit_code) == (Outcome.STOPPED, ExitCode.GATE)
    assert run.hosts["d"].state is HostState.FAILED
    assert run.hosts["d"].message == "the gate: gate of d"
    # This relay had been changed successfully, and was rolled back with the others.
    assert run.hosts["c"].message == "rolled back with its wave"
    assert (run.hosts["b"].state, run.hosts["b"].message) == (HostState.CHANGED, None)


def test_a_partner_that_falls_ill_stops_the_wave_that_did_it(begin: Start) -> None:
    fleet = Fleet()

    def spoil(job: Job) -> None:
        if (job.playbook.stem, job.limit) == ("site", "b"):
            fleet.fates["gate", "a"] = "failed"

    fleet.before = spoil
    run = begin(fleet).carry_out()
    assert fleet.played[-1] == ("undo", "b")
    assert run.hosts["a"].message == "the gate: gate of a"
    assert [wave.state for wave in run.waves][:2] == [WaveState.DONE, WaveState.UNDONE]


def test_failed_and_unreachable_share_one_budget(begin: Start) -> None:
    fates = {("site", "a"): "failed", ("site", "b"): "unreachable"}
    run = begin(Fleet(dict(fates)), budget=2).carry_out()
    assert (run.outcome, run.exit_code) == (Outcome.FAILED, ExitCode.UNREACHABLE)
    assert [wave.state for wave in run.waves] == [WaveState.DONE] * 3
    fleet = Fleet(dict(fates))
    run = begin(fleet, budget=1).carry_out()
    assert run.outcome is Outcome.STOPPED
    assert run.reason == "wave 2: bad relays: a, b; allowed: 1; rolled back"
    assert fleet.played[-1] == ("undo", "b")


def test_failures_within_the_budget_keep_their_exit_code(begin: Start) -> None:
    run = begin(Fleet({("site", "c"): "failed"}), budget=1).carry_out()
    assert (run.outcome, run.exit_code) == (Outcome.FAILED, ExitCode.FAILED)


def test_relays_that_cannot_be_asked_stop_a_run_before_it_changes_any(begin: Start) -> None:
    fleet = Fleet({("status", "c"): "unreachable", ("status", "d"): "unreachable"})
    run = begin(fleet, budget=1).carry_out()
    assert fleet.played == [("status", "a,b,c,d")]
    assert (run.outcome, run.exit_code) == (Outcome.STOPPED, ExitCode.GATE)
    assert run.reason == "c, d cannot be asked, and no relay was changed"


def test_a_wave_can_be_left_as_it_failed(begin: Start) -> None:
    fleet = Fleet({("site", "a"): "failed"})
    run = begin(fleet, undo=False).carry_out()
    assert fleet.played[-1] == ("site", "a")
    assert run.waves[0].state is WaveState.FAILED
    assert run.exit_code == ExitCode.GATE


def test_a_wave_that_cannot_be_rolled_back_is_told(begin: Start) -> None:
    fleet = Fleet({("site", "c"): "failed", ("undo", "c"): "unreachable"})
    run = begin(fleet).carry_out()
    assert run.waves[2].state is WaveState.FAILED
    assert run.reason == "wave 3: bad relays: c; allowed: 0; not rolled back: c: undo of c"


def test_ansible_that_ends_early_is_a_failure_of_all_its_relays(begin: Start) -> None:
    fleet = Fleet()
    broken = RunResult(hosts=(), complete=False, complaint="bad play")
    fleet.before = lambda job: broken if job.playbook.stem == "site" else None
    run = begin(fleet).carry_out()
    assert (run.hosts["a"].state, run.hosts["a"].message) == (HostState.FAILED, "bad play")
    assert run.outcome is Outcome.STOPPED


def test_without_a_gate_one_wave_is_one_run(begin: Start) -> None:
    fleet = Fleet({("site", "b"): "failed"})
    whole = Run.begin("rollout", mesh=MESH, inventories=["inv"], limit=None, waves=[RELAYS])
    run = begin(fleet, whole, gated=False, undo=False, budget=4).carry_out()
    assert fleet.played == [("site", "a,b,c,d")]
    assert (run.outcome, run.exit_code) == (Outcome.FAILED, ExitCode.FAILED)


def test_the_gate_can_wait(begin: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    begin(Fleet(), pause=30).carry_out()
    assert waits == [30, 30, 30]


def canceled_at(playbook: str, limit: str) -> Callable[[Job], RunResult | None]:
    """Ctrl-C in the middle of one job."""

    def answer(job: Job) -> RunResult | None:
        if (job.playbook.stem, job.limit) != (playbook, limit):
            return None
        return RunResult(hosts=(), complete=False, canceled=True)

    return answer


@pytest.mark.parametrize(
    ("playbook", "limit", "left"),
    [
        ("status", "a,b,c,d", ["a", "b", "c,d"]),
        ("site", "b", ["b", "c,d"]),
        ("gate", "a,b", ["b", "c,d"]),
        ("site", "c,d", ["c,d"]),
    ],
)
def test_an_interrupted_run_is_gone_on_with(
    playbook: str, limit: str, left: list[str], begin: Start, journal: Journal
) -> None:
    fleet = Fleet(before=canceled_at(playbook, limit))
    run = begin(fleet).carry_out()
    assert (run.outcome, run.exit_code) == (Outcome.INTERRUPTED, ExitCode.INTERRUPTED)
    assert ("undo", limit) not in fleet.played
    fleet = Fleet()
    again = begin(fleet, resumable(journal, "rollout", MESH)).carry_out()
    assert [hosts for name, hosts in fleet.played if name == "site"] == left
    assert (again.id, again.outcome, again.exit_code) == (run.id, Outcome.DONE, ExitCode.OK)
    assert set(again.hosts) == set(RELAYS)


def test_ctrl_c_between_two_jobs(begin: Start, journal: Journal) -> None:
    def interrupt(job: Job) -> None:
        if job.limit == "b":
            raise KeyboardInterrupt

    run = begin(Fleet(before=interrupt)).carry_out()
    assert run.outcome is Outcome.INTERRUPTED
    assert [wave.state for wave in run.waves][:2] == [WaveState.DONE, WaveState.RUNNING]
    assert resumable(journal, "rollout", MESH).left(1) == ("b",)


def test_a_crash_is_gone_on_with(begin: Start, journal: Journal) -> None:
    def crash(job: Job) -> None:
        if job.limit == "b":
            raise KtcpError("out of memory")

    with pytest.raises(KtcpError, match="out of memory"):
        begin(Fleet(before=crash)).carry_out()
    assert written(journal).outcome is Outcome.CRASHED
    fleet = Fleet()
    run = begin(fleet, resumable(journal, "rollout", MESH)).carry_out()
    assert [hosts for name, hosts in fleet.played if name == "site"] == ["b", "c,d"]
    assert run.outcome is Outcome.DONE


def test_a_stopped_run_is_gone_on_with_and_its_failures_are_forgotten(
    begin: Start, journal: Journal
) -> None:
    fates = {("site", "a"): "failed", ("site", "c"): "failed"}
    assert begin(Fleet(fates), budget=1).carry_out().outcome is Outcome.STOPPED
    fleet = Fleet()
    run = begin(fleet, resumable(journal, "rollout", MESH)).carry_out()
    assert [hosts for name, hosts in fleet.played if name == "site"] == ["a", "c,d"]
    assert (run.outcome, run.exit_code) == (Outcome.DONE, ExitCode.OK)


def test_what_cannot_be_gone_on_with(begin: Start, journal: Journal) -> None:
    with pytest.raises(UsageError, match="no rollout to go on with; the journal is empty"):
        resumable(journal, "rollout", MESH)
    begin(Fleet({("site", "a"): "failed"})).carry_out()
    with pytest.raises(UsageError, match="no upgrade to go on with; the last run is rollout"):
        resumable(journal, "upgrade", MESH)
    other = MESH.model_copy(update={"key": 2})
    with pytest.raises(UsageError, match="the mesh has changed since"):
        resumable(journal, "rollout", other)
    begin(Fleet()).carry_out()
    with pytest.raises(UsageError, match=", done"):
        resumable(journal, "rollout", MESH)
    (journal.directory / "x.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read, move it away"):
        resumable(journal, "rollout", MESH)


def test_two_commands_do_not_change_one_mesh(begin: Start, journal: Journal) -> None:
    fleet = Fleet()
    with journal.alone(), pytest.raises(KtcpError, match="another command"):
        begin(fleet).carry_out()
    assert fleet.jobs == []
