# SPDX-License-Identifier: GPL-2.0-only
"""The log of a command: what it contains and leaves out, who may read it, how many are kept."""

import json
import os
from pathlib import Path

import pytest

from ktcp_ops import console
from ktcp_ops.cli import ansible, main
from ktcp_ops.mesh.journal.log import KEPT, Log
from ktcp_ops.run.engine import LocalEngine
from ktcp_ops.run.options import Options
from ktcp_ops.run.transcript import pass_on
from tests.unit.mesh.conftest import KEY, MESH, RELAYS
from tests.unit.mesh.test_engine import job
from tests.unit.mesh.test_events import Recorder


def test_a_log_is_made_with_its_first_line_and_has_no_key(state: Path) -> None:
    shown: list[str] = []
    log = Log("status", shown.append)
    log.learn([KEY])
    assert not (state / "logs").exists()
    log.say(f"TASK [Say]\nit is {KEY[:20]} or password=pudding", diff=False)
    log.say("ok: [rc]", diff=False)
    assert log.path
    assert log.path.parent == state / "logs"
    assert log.path.stat().st_mode & 0o077 == log.path.parent.stat().st_mode & 0o077 == 0
    assert log.path.read_text() == ("TASK [Say]\nit is [removed] or password=[removed]\nok: [rc]\n")
    assert shown == []


def test_what_is_wanted_is_shown_too_without_keys() -> None:
    verbose: list[str] = []
    diffs: list[str] = []
    for log in (Log("x", verbose.append, verbose=True), Log("x", diffs.append, diff=True)):
        log.learn([KEY])
        log.say("ok: [rc]", diff=False)
        log.say(f"+key {KEY}", diff=True)
    assert verbose == ["ok: [rc]", "+key [removed]"]
    assert diffs == ["+key [removed]"]


def test_old_logs_go() -> None:
    logs = [Log("x", print) for _ in range(KEPT + 3)]
    for log in logs:
        log.say("line", diff=False)
    kept = [bool(log.path and log.path.exists()) for log in logs]
    assert kept == [False] * 3 + [True] * KEPT


def test_without_a_place_for_it_the_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KTCP_STATE_DIR", str(tmp_path / "file"))
    shown: list[str] = []
    log = Log("x", shown.append)
    log.say("one", diff=False)
    log.say("two", diff=False)
    assert log.path is None
    assert len(shown) == 1
    assert "KTCP_STATE_DIR" in shown[0]


def test_a_run_tells_all_that_ansible_says(tmp_path: Path) -> None:
    inventory = tmp_path / "hosts.ini"
    inventory.write_text("[all:vars]\nansible_connection=local\n[all]\ngood\nbad\n")
    log = Log("x", print)
    options = Options(variables=("word='hello there'",), forks=1)
    LocalEngine(options, log).run(job(tmp_path, str(inventory)), Recorder())
    assert log.path
    text = log.path.read_text()
    assert "TASK [Refuse]" in text
    assert "as told" in text
    assert "hello there" in text
    assert "PLAY RECAP" in text


def test_events_without_words_are_not_passed_on() -> None:
    log = Log("x", print)
    pass_on({"event": "runner_on_start", "stdout": ""}, log)
    assert log.path is None


def test_options_are_those_of_ansible_playbook() -> None:
    assert Options().command_line(check=False) is None
    assert Options(verbosity=1).command_line(check=True) == "--check --diff"
    options = Options(verbosity=3, diff=True, forks=7, variables=("a=b c", "@file"))
    assert options.command_line(check=False) == (
        "--diff --forks=7 -vv '--extra-vars=a=b c' --extra-vars=@file"
    )


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    """One relay, which is this host."""
    here = {"ansible_connection": "local", "ansible_become": False}
    here["ansible_python_interpreter"] = "/usr/bin/python3"
    hosts = {name: {**variables, **here} for name, variables in RELAYS.items()}
    groups = {"relays": {"hosts": hosts}, "edges": {"hosts": {"client": {}}}}
    variables = {"ktcp_mesh": MESH, "ktcp_keys": {1: KEY}}
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": groups}}))
    (tmp_path / "group_vars/all.json").write_text(json.dumps(variables))
    (tmp_path / "mesh.ktcp.yml").write_text("plugin: ktcp_mesh\n")
    return str(tmp_path)


def test_a_command_names_its_log_at_its_end(
    inventory: str, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(["mesh", "status", "-i", inventory, "--limit", "rc", "-v"]) in (0, 1)
    (log,) = (state / "logs").iterdir()
    *_, before, last = capsys.readouterr().err.splitlines()
    assert last == f"log: {log}"
    assert "ok=1" in before  # the recap, since -v shows it live
    assert "TASK [Read /proc/net/ktcp now]" in log.read_text()


def test_passwords_are_in_files_while_the_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "ask_secret", lambda question: f"<{question}>")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", "/mine")
    monkeypatch.delenv("ANSIBLE_BECOME_PASSWORD_FILE", raising=False)
    with ansible.passwords(Options(ask_become=True, ask_vault=True)):
        paths = [Path(os.environ[f"ANSIBLE_{name}_PASSWORD_FILE"]) for name in ("VAULT", "BECOME")]
        assert [path.read_text() for path in paths] == [
            "<Vault password: >\n",
            "<BECOME password: >\n",
        ]
        assert all(path.stat().st_mode & 0o077 == 0 for path in paths)
    assert not any(path.exists() for path in paths)
    assert os.environ["ANSIBLE_VAULT_PASSWORD_FILE"] == "/mine"
    assert "ANSIBLE_BECOME_PASSWORD_FILE" not in os.environ


@pytest.mark.parametrize("option", ["-K", "-e@file"])
def test_what_does_not_reach_workers_is_refused(
    option: str, inventory: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(console, "ask_secret", lambda _question: "x")
    arguments = ["mesh", "--workers", "one", "status", "-i", inventory, option]
    assert main.run(arguments) == 2
    assert "does not reach workers" in capsys.readouterr().err
