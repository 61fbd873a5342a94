# SPDX-License-Identifier: GPL-2.0-only
"""The command from its options to its exit code, and the guest's machine."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ktcp_ops.cli import main as operator
from ktcp_ops.errors import ExitCode
from ktcp_ops.run.environment import collection_root
from ktcp_testbed.cli import main
from ktcp_testbed.lab.virtual import Event
from ktcp_testbed.rehearsal import session
from tests.unit.conftest import make_image
from tests.unit.rehearsal.conftest import Guest, change, make_job, make_mesh

WORDS = ["mesh", "rehearse", "-i", str(collection_root() / "inventories/lab")]


def fail(events: list[Event]) -> None:
    change(events, {"split": False}, event="flow")


@pytest.mark.parametrize(("spoil", "code"), [(None, ExitCode.OK), (fail, ExitCode.GATE)])
def test_the_exit_code_tells(
    spoil: Callable[[list[Event]], None] | None,
    code: ExitCode,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(session, "in_guest", lambda *_: Guest(spoil))
    assert main.run([*WORDS, "-o", "json"]) == code
    said = capsys.readouterr()
    data = json.loads(said.out)
    assert data["exit_code"] == code
    assert bool(data["stopped_in"]) == (code is ExitCode.GATE)
    assert ("the rollout would stop in wave" in said.err) == (code is ExitCode.GATE)


def test_the_change_is_from_the_committed_inventory_to_the_present_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "in_guest", lambda *_: Guest())
    assert main.run([*WORDS, "--from", "HEAD", "--waves", "off"]) == ExitCode.OK
    assert "split" in capsys.readouterr().out


def test_an_operator_without_a_checkout_is_told_how_to_get_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert operator.run(WORDS) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "run ./dev ops mesh rehearse there" in said
    assert len(said.strip().splitlines()) == 1


def test_the_guest_has_programs_module_and_job(tmp_path: Path) -> None:
    module = tmp_path / "ktcp.ko"
    module.write_bytes(b"module")
    job = make_job(None, make_mesh())
    (tmp_path / "image").mkdir()
    vm = session.machine(job, make_image(tmp_path / "image"), module, tmp_path)
    files = {file.path: file for file in vm.job}
    assert files["rehearsal/ktcp.ko"].content == b"module"
    assert files["rehearsal/ktcp-apply"].mode == files["rehearsal/init"].mode == 0o755
    assert "rehearsal/ktcp_testbed/rehearsal/guest/__main__.py" in files
    sent = json.loads(files["rehearsal/job.json"].content)
    assert sent["waves"] == [["rc"], ["rs", "rt"]]
    assert sent["before"] == {}
    assert set(sent["after"]["rc"]) >= {
        "peers.conf",
        "keys.conf",
        "steering.v4",
        "steering.v6.sets",
    }
