# SPDX-License-Identifier: GPL-2.0-only
"""`mesh rollout|upgrade|rollback|history` on a mesh in memory."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ktcp_ops.cli import main, workers
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.journal.journal import Journal
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import status
from ktcp_ops.mesh.rollout import actions
from ktcp_ops.run import hosts
from ktcp_ops.run.job import Job
from ktcp_ops.run.result import RunResult
from tests.unit.mesh.conftest import make_description, one_mesh
from tests.unit.mesh.fleet import Fleet

ACTIONS = {"rollout": "site", "upgrade": "upgrade", "rollback": "rollback"}


@pytest.fixture(autouse=True)
def a_valid_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every inventory is the small mesh, and every one exists."""

    def load(_names: Sequence[str]) -> Mesh:
        return read(make_description())

    monkeypatch.setattr(inventory, "load_all", one_mesh(load))
    for module in (actions, status):
        monkeypatch.setattr(module, "resolve", tuple)


@pytest.fixture(autouse=True)
def limits_are_lists_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits are taken without Ansible."""
    monkeypatch.setattr(hosts, "hosts_of", lambda job: (job.limit or "").split(","))


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The relays that the commands work on."""
    fleet = Fleet()
    monkeypatch.setattr(workers, "make_engine", lambda: fleet)
    return fleet


def data(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The printed JSON."""
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize(("action", "playbook"), ACTIONS.items())
def test_two_relays_are_changed_one_after_the_other(
    action: str, playbook: str, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["mesh", action, "-i", "inv", "--deadline", "7"]) == 0
    assert fleet.played == [
        ("status", "rc,rs"),
        (playbook, "rc"),
        ("gate", "rc"),
        (playbook, "rs"),
        ("gate", "rc,rs"),
    ]
    assert fleet.jobs[1].variables["ktcp_module_drain_deadline"] == 7
    captured = capsys.readouterr()
    assert [line.split()[:2] for line in captured.out.splitlines()[1:]] == [
        ["rc", "changed"],
        ["rs", "changed"],
    ]
    assert f"{action}: wave 2 of 2: rs" in captured.err


def test_a_stop_is_told_as_data_too(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.fates["site", "rc"] = "failed"
    assert main.run(["mesh", "rollout", "-i", "inv", "-o", "json"]) == 5
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert (told["exit_code"], told["outcome"], told["command"]) == (5, "stopped", "rollout")
    assert [wave["state"] for wave in told["waves"]] == ["rolled back", "pending"]
    assert told["hosts"]["rc"]["failed_task"] == "Build"
    assert "error: wave 1: bad relays: rc; allowed: 0; rolled back" in captured.err


def test_options_become_rules(fleet: Fleet) -> None:
    fleet.fates["site", "rs"] = "unreachable"
    options = ["--canary", "rs", "--max-failures", "1", "--no-undo"]
    assert main.run(["mesh", "rollout", "-i", "inv", *options]) == 4
    assert fleet.played[1:] == [("site", "rs"), ("site", "rc"), ("gate", "rc")]


def test_all_at_once(fleet: Fleet) -> None:
    fleet.fates["site", "rs"] = "failed"
    assert main.run(["mesh", "rollout", "-i", "inv", "--waves", "off"]) == 1
    assert fleet.played == [("site", "rc,rs")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--waves", "some"], "--waves: 'some'"),
        (["--canary", "rx"], "--canary: rx"),
        (["--resume"], "no rollout to go on with"),
        (["--resume", "--limit", "rc"], "leave out options"),
        (["--resume", "--canary", "rc"], "leave out options"),
        (["--resume", "--waves", "1"], "leave out options"),
        (["--max-failures", "-1"], ""),
    ],
)
def test_wrong_usage_touches_no_relay(
    options: list[str], said: str, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["mesh", "rollout", "-i", "inv", *options]) == 2
    assert said in capsys.readouterr().err
    assert fleet.jobs == []


@pytest.mark.parametrize("found", [["rs", "client"], ["client"]])
def test_a_limit_is_ansibles_business(
    found: list[str],
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[Job] = []

    def hosts_of(job: Job) -> list[str]:
        asked.append(job)
        return found

    monkeypatch.setattr(hosts, "hosts_of", hosts_of)
    selected = "rs" in found
    assert main.run(["mesh", "rollout", "-i", "inv", "--limit", "r*"]) == (0 if selected else 2)
    assert (asked[0].playbook.name, asked[0].limit) == ("site.yml", "r*")
    assert {hosts for _, hosts in fleet.played} == ({"rs"} if selected else set())
    assert ("--limit r*: selects no relay" in capsys.readouterr().err) is not selected


@pytest.mark.parametrize(("action", "playbook"), ACTIONS.items())
def test_a_dry_run_is_one_run_and_no_history(
    action: str, playbook: str, fleet: Fleet, state: Path
) -> None:
    fleet.before = lambda job: RunResult(hosts=(fleet.host("", "rc"),), complete=job.check)
    assert main.run(["mesh", action, "-i", "inv", "--check", "--limit", "rc"]) == 0
    assert fleet.played == [(playbook, "rc")]
    assert list(state.iterdir()) == []


def test_an_interrupted_rollout_goes_on(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    gone = RunResult(hosts=(), complete=False, canceled=True)
    fleet.before = lambda job: gone if job.limit == "rs" else None
    assert main.run(["mesh", "rollout", "-i", "inv", "-o", "json"]) == 130
    first = data(capsys)
    fleet.before = lambda _job: None
    fleet.jobs.clear()
    assert main.run(["mesh", "rollout", "-i", "inv", "--resume", "-o", "json"]) == 0
    assert fleet.played == [("status", "rs"), ("site", "rs"), ("gate", "rc,rs")]
    assert data(capsys)["id"] == first["id"]


def test_without_gates_also_when_gone_on_with(fleet: Fleet) -> None:
    gone = RunResult(hosts=(), complete=False, canceled=True)
    fleet.before = lambda _job: gone
    assert main.run(["mesh", "upgrade", "-i", "inv", "--waves", "off"]) == 130
    fleet.before = lambda _job: None
    fleet.jobs.clear()
    assert main.run(["mesh", "upgrade", "-i", "inv", "--resume"]) == 0
    assert fleet.played == [("upgrade", "rc,rs")]


def test_history_has_all_that_changed_a_relay(
    fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["mesh", "history", "-i", "inv"]) == 0
    assert capsys.readouterr().out == ""
    fleet.fates["teardown", "rs"] = "failed"
    assert main.run(["mesh", "drain", "-i", "inv", "--limit", "rs"]) == 0
    assert main.run(["mesh", "rollout", "-i", "inv"]) == 0
    assert main.run(["mesh", "remove", "-i", "inv", "--yes", "--limit", "rs"]) == 1
    capsys.readouterr()
    assert main.run(["mesh", "history", "-i", "inv"]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    done = [line.split()[4] for line in lines]
    assert done == ["remove", "rollout", "drain"]
    assert ["failed" in line for line in lines] == [True, False, False]


def test_history_of_one_run(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.fates["site", "rc"] = "failed"
    main.run(["mesh", "rollout", "-i", "inv"])
    (run,), _ = Journal.of(["inv"]).runs()
    capsys.readouterr()
    assert main.run(["mesh", "history", "-i", "inv", "--run", run.id]) == 0
    text = capsys.readouterr().out
    assert "wave 1       rc: rolled back: wave 1: bad relays: rc" in text
    rc, rs = text.splitlines()[-2:]
    assert rc.split()[:2] == ["rc", "failed"]
    assert "its wave was not begun" in rs
    assert main.run(["mesh", "history", "-i", "inv", "--run", "x"]) == 2
    assert "x: not in the journal" in capsys.readouterr().err


@pytest.mark.usefixtures("fleet")
def test_history_goes_on_past_a_file_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    main.run(["mesh", "rollout", "-i", "inv"])
    (Journal.of(["inv"]).directory / "x.json").write_text("{")
    capsys.readouterr()
    assert main.run(["mesh", "history", "-i", "inv", "-o", "json"]) == 1
    captured = capsys.readouterr()
    told = json.loads(captured.out)
    assert [run["outcome"] for run in told["runs"]] == ["done"]
    assert told["problems"][0] in captured.err


@pytest.mark.parametrize("command", [*ACTIONS, "history"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--inventory" in text
    assert len(text.split("Options:")[0].split()) > 40
