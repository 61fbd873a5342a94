# SPDX-License-Identifier: GPL-2.0-only
"""The journal: what is written, what is read back, and what is not."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.journal import history
from ktcp_ops.mesh.journal.journal import Journal, Outcome, Run, WaveState, age, fingerprint, who
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.run.result import HostResult, HostState
from tests.unit.mesh.conftest import KEY, make_description

OK = HostResult(host="rc", state=HostState.CHANGED, ok=3, changed=1, changed_tasks=("Build",))
FAILED = HostResult(host="rs", state=HostState.FAILED, failed_task="Build", message="no headers")


@pytest.fixture
def run(mesh: Mesh) -> Run:
    return Run.begin(
        "rollout", mesh=mesh, inventories=["inv"], limit=None, waves=[("rc",), ("rs",)]
    )


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def test_a_run_is_read_back_as_it_was(run: Run, journal: Journal) -> None:
    run = run.with_hosts({"rc": OK, "rs": FAILED}).with_wave(0, WaveState.DONE)
    run = run.with_wave(1, WaveState.FAILED, "bad").finished(Outcome.STOPPED, "bad")
    with journal.alone():
        journal.write(run)
    assert journal.runs() == ([run], [])
    (file,) = journal.directory.iterdir()
    assert file.name == f"{run.id}.json"
    assert KEY not in file.read_text()
    assert (file.stat().st_mode & 0o077, journal.directory.stat().st_mode & 0o077) == (0, 0)


def test_a_run_that_nobody_runs_any_more_has_crashed(run: Run, journal: Journal) -> None:
    with journal.alone():
        journal.write(run)
        assert [found.outcome for found in journal.runs()[0]] == [Outcome.RUNNING]
    assert [found.outcome for found in journal.runs()[0]] == [Outcome.CRASHED]


def test_a_killed_command_leaves_its_run_behind(run: Run, journal: Journal) -> None:
    """It leaves no lock, and no half-written file that would be read."""
    journal.directory.mkdir()
    text = (
        "import os, pathlib, sys\n"
        "from ktcp_ops.mesh.journal.journal import Journal, Run\n"
        "journal = Journal(pathlib.Path(sys.argv[1]))\n"
        "with journal.alone():\n"
        "    journal.write(Run.model_validate_json(sys.argv[2]))\n"
        "    (journal.directory / 'x.partial').write_text('{')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", text, str(journal.directory), run.model_dump_json()]
    assert subprocess.run(command, check=False).returncode == -9
    runs, problems = journal.runs()
    assert [found.outcome for found in runs] == [Outcome.CRASHED]
    assert problems == []


def test_only_one_command_changes_a_mesh(journal: Journal) -> None:
    other = Journal(journal.directory)
    with journal.alone():
        assert other.is_busy()
        with pytest.raises(KtcpError, match="another command is changing this mesh"), other.alone():
            pass
    assert not other.is_busy()


def test_who_changes_a_mesh_is_named_with_the_age(run: Run, journal: Journal) -> None:
    began = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
    run = run.model_copy(update={"who": "ada", "controller": "ops1", "started": began})
    with journal.alone():
        journal.write(run)
        assert journal.holder(began + timedelta(minutes=95)) == (
            "ada@ops1 has been changing this mesh by `mesh rollout` since 2026-05-04 10:00:00 UTC "
            f"(1 h); wait for it, or see `ktcp-ops mesh history --run {run.id}`"
        )
        other = Journal(journal.directory)
        with pytest.raises(KtcpError, match="ada@ops1 has been changing"), other.alone():
            pass
    # Its file still says "running", but nobody holds the lock: the next command may start.
    with other.alone():
        assert [found.outcome for found in journal.read()[0]] == [Outcome.RUNNING]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (59, "59 s"), (60, "1 min"), (7199, "1 h"), (90000, "1 d")],
)
def test_an_age_has_one_unit(seconds: int, text: str) -> None:
    assert age(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Invalid JSON"),
        ('{"schema_version": 1', "Invalid JSON"),
        ("[]", "should be an object"),
        ('{"schema_version": 2}', "schema_version"),
        ("\udcff", "utf-8"),
    ],
)
def test_a_file_that_is_no_run_is_named_and_the_others_are_read(
    text: str, reason: str, run: Run, journal: Journal
) -> None:
    with journal.alone():
        journal.write(run.finished(Outcome.DONE))
    spoilt = journal.directory / "20200101T000000Z-0000.json"
    spoilt.write_bytes(text.encode(errors="surrogateescape"))
    runs, (problem,) = journal.runs()
    assert [found.id for found in runs] == [run.id]
    assert problem.startswith(f"{spoilt}: cannot be read, move it away: ")
    assert reason in problem


def test_each_mesh_has_its_own_place(state: Path) -> None:
    places = {Journal.of(names).directory for names in (["a"], ["b"], ["a", "b"], ["./a"], ["h,"])}
    assert len(places) == 4
    assert all(place.parent == state for place in places)
    assert Journal.of(["some/mesh 1"]).directory.name.startswith("mesh_1-")


def test_without_a_place_of_its_own_it_follows_the_xdg(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KTCP_STATE_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert Journal.of(["a"]).directory.parent == tmp_path / "ktcp"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Journal.of(["a"]).directory.parent == tmp_path / ".local/state/ktcp"


def test_a_place_that_cannot_be_used(tmp_path: Path, run: Run) -> None:
    (tmp_path / "file").touch()
    journal = Journal(tmp_path / "file" / "journal")
    with pytest.raises(KtcpError, match="KTCP_STATE_DIR"), journal.alone():
        pass
    with pytest.raises(KtcpError, match="KTCP_STATE_DIR"):
        journal.write(run)


def test_who_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGNAME", "root")
    monkeypatch.delenv("SUDO_USER", raising=False)
    assert who() == "root"
    monkeypatch.setenv("SUDO_USER", "ada")
    assert who() == "ada as root"


def test_the_fingerprint_is_the_meshs_alone(mesh: Mesh) -> None:
    assert fingerprint(mesh) == fingerprint(read(make_description()))
    other_key = read(make_description(keys={"1": "9f" * 31 + "00"}))
    assert fingerprint(mesh) == fingerprint(other_key)
    other_port = read(make_description(lambda raw: raw["ports"].update(relay=5566)))
    assert fingerprint(mesh) != fingerprint(other_port)


def test_what_is_left_of_a_run(run: Run) -> None:
    assert (run.left(0), run.left(1)) == (("rc",), ("rs",))
    run = run.with_hosts({"rc": OK, "rs": FAILED}).with_wave(0, WaveState.DONE)
    run = run.with_wave(1, WaveState.DONE)
    assert (run.left(0), run.left(1)) == ((), ("rs",))
    again = run.finished(Outcome.FAILED).again()
    assert (again.outcome, again.ended, set(again.hosts)) == (Outcome.RUNNING, None, {"rc"})
    undone = run.with_wave(0, WaveState.UNDONE).again()
    assert undone.left(0) == ("rc",)
    assert undone.hosts == {}


def test_history_is_a_line_a_run_or_all_of_one(run: Run) -> None:
    run = run.with_hosts({"rc": OK, "rs": FAILED}).with_wave(0, WaveState.DONE)
    run = run.with_wave(1, WaveState.FAILED, "rs is bad").finished(Outcome.STOPPED, "rs is\nbad")
    row = dict(zip(history.COLUMNS, history.row(run), strict=True))
    assert (row["ACTION"], row["OUTCOME"]) == ("rollout", "stopped")
    assert (row["HOSTS"], row["REASON"]) == ("changed:1,failed:1", "rs is bad")
    lines = list(history.text(run))
    assert lines[0] == f"run          {run.id}"
    assert lines[-2:] == ["wave 1       rc: done", "wave 2       rs: failed: rs is bad"]
    assert json.loads(json.dumps(history.to_data(run)))["hosts"]["rs"]["message"] == "no headers"
