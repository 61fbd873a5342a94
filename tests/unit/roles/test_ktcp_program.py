# SPDX-License-Identifier: GPL-2.0-only
"""The module ktcp_program, by itself and in the tasks that run our programs."""

from pathlib import Path

import pytest
import yaml

from tests.unit.roles.modules import Answer, answered, executed
from tests.unit.roles.playbook import played
from tests.unit.roles.programs import ROOT

TASKS = {
    "ktcp_peers": "apply.yml",
    "ktcp_steering": "load.yml",
    "ktcp_edge": "load.yml",
    "ktcp_wireguard": "load.yml",
}


def program(place: Path, apply: str, check: str = "") -> dict[str, list[str]]:
    """Commands of a program with these scripts."""
    for name, script in {"apply": apply, "check": check}.items():
        (place / name).write_text(f"#!/bin/sh\n{script}\n")
        (place / name).chmod(0o755)
    return {name: [str(place / name), "word"] for name in ("apply", "check")}


def ran(place: Path, apply: str, check: str = "", *, dry: bool = False) -> Answer:
    return answered("ktcp_program", dry=dry, **program(place, apply, check))


def test_what_is_printed_has_changed_and_is_the_difference(tmp_path: Path) -> None:
    assert ran(tmp_path, 'echo "add $1"') == {
        "failed": False,
        "changed": True,
        "lines": ["add word"],
        "diff": {"prepared": "add word\n"},
    }
    assert ran(tmp_path, "exit 0")["changed"] is False


def test_a_dry_run_only_looks(tmp_path: Path) -> None:
    dry = ran(tmp_path, f"touch {tmp_path}/done", "echo differs; exit 6", dry=True)
    assert (dry["failed"], dry["changed"], dry["lines"]) == (False, True, ["differs"])
    assert not (tmp_path / "done").exists()
    assert ran(tmp_path, f"touch {tmp_path}/done", dry=True)["changed"] is False


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo one >&2; echo two >&2; exit 1", "one\ntwo"),
        ("echo one; exit 1", "one"),
        ("exit 2", "no reason given"),
    ],
)
def test_a_failure_says_all_that_the_program_said(
    tmp_path: Path, script: str, message: str
) -> None:
    answer = ran(tmp_path, script)
    assert (answer["failed"], answer["msg"]) == (True, message)


def test_a_failure_half_way_has_changed_something(tmp_path: Path) -> None:
    answer = ran(tmp_path, "echo one; echo refused >&2; exit 1")
    assert (answer["failed"], answer["changed"], answer["lines"]) == (True, True, ["one"])
    assert answer["msg"] == "refused"


def test_a_program_that_is_not_there_is_named() -> None:
    answer = executed("ktcp_program", apply=["/nowhere/it"], check=["/nowhere/it"])
    assert (answer["failed"], answer["msg"]) == (
        True,
        "/nowhere/it: No such file or directory",
    )


@pytest.mark.parametrize("role", TASKS)
@pytest.mark.parametrize("dry", [False, True])
def test_ansible_shows_what_our_programs_change(tmp_path: Path, role: str, dry: bool) -> None:
    """With --diff, and with --check, too."""
    name = {"ktcp_peers": "ktcp-apply"}.get(role, role.replace("_", "-"))
    text = (ROOT / "roles" / role / "tasks" / TASKS[role]).read_text()
    (tmp_path / name).write_text('#!/bin/sh\necho "called with $1"\nexit 6\n')
    (tmp_path / name).chmod(0o755)
    (tmp_path / "tasks.yml").write_text(text.replace("/usr/local/sbin/", f"{tmp_path}/"))
    (tmp_path / "library").symlink_to(ROOT / "roles/ktcp_files/library")
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "diff": True,
        "check_mode": dry,
        "vars": {
            f"{role}_files": {"written": []},
            f"{role}_before": {"stat": {"exists": True}},
        },
        "tasks": [{"ansible.builtin.import_tasks": "tasks.yml"}],
    }
    check, apply = {"ktcp_peers": ("--check", "--restore")}.get(role, ("check", "up"))
    said = played(tmp_path, play)
    assert f"called with {check if dry else apply}\n" in said
    assert "changed=1" in said
    (task,) = yaml.safe_load(text)
    assert "check_mode" not in task
