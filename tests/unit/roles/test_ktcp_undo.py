# SPDX-License-Identifier: GPL-2.0-only
"""What ktcp_undo saves of a relay, and that it restores exactly that."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Answer, ansible_module, answered, executed

undo = ansible_module("ktcp_undo")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A relay's file system with a rollout in it."""
    root = tmp_path / "root"
    monkeypatch.setattr(undo, "ROOT", root)
    files = {
        "etc/ktcp/peers.conf": "add 10.0.0.1:5565 key 1\n",
        "etc/ktcp/keys.conf": "add 1 abab\n",
        "etc/systemd/system/ktcp.service": "[Unit]\n",
        "etc/passwd": "root\n",
        "usr/local/sbin/ktcp-apply": "#!/bin/sh\n",
        "usr/local/sbin/other": "#!/bin/sh\n",
        "sys/module/ktcp/srcversion": "ABC\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "etc/ktcp/keys.conf").chmod(0o600)
    (root / "usr/local/sbin/ktcp-apply").chmod(0o755)
    wanted = root / "etc/systemd/system/multi-user.target.wants"
    wanted.mkdir()
    (wanted / "ktcp.service").symlink_to("/etc/systemd/system/ktcp.service")
    return root


def call(root: Path, action: str, run: str, *, dry: bool = False) -> Answer:
    """Run the module as the role does."""
    return answered("ktcp_undo", dry=dry, action=action, run=run, memory=root.parent / "memory")


def look(root: Path, run: str) -> dict[str, object]:
    answer = call(root, "look", run)
    assert (answer.pop("failed"), answer.pop("changed")) == (False, False)
    return answer


def snapshot(root: Path) -> dict[str, object]:
    return {
        str(path): (
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else path.read_text(),
        )
        for path in sorted(root.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def test_what_a_run_did_to_files_is_undone(root: Path) -> None:
    before = snapshot(root)
    assert call(root, "save", "one", dry=True)["changed"] is False
    assert not (root.parent / "memory").exists()
    assert call(root, "save", "one") == {"failed": False, "changed": False}
    (root / "etc/ktcp/peers.conf").write_text("add 10.0.0.2:5565 key 1\n")
    (root / "etc/ktcp/keys.conf").chmod(0o644)
    (root / "etc/ktcp/new.conf").write_text("new\n")
    (root / "etc/systemd/system/ktcp-new.service").write_text("[Unit]\n")
    (root / "usr/local/sbin/ktcp-apply").unlink()
    (root / "etc/systemd/system/multi-user.target.wants/ktcp.service").unlink()
    (root / "etc/passwd").write_text("root\nada\n")
    spoiled = snapshot(root)
    foreseen = call(root, "restore", "one", dry=True)
    assert snapshot(root) == spoiled
    done = call(root, "restore", "one")
    assert done == foreseen
    assert done["changed"]
    assert done["diff"]["prepared"].splitlines() == done["steps"]
    assert sorted(done["steps"]) == [
        "/etc/ktcp/keys.conf: restored",
        "/etc/ktcp/new.conf: removed",
        "/etc/ktcp/peers.conf: restored",
        "/etc/systemd/system/ktcp-new.service: removed",
        "/etc/systemd/system/multi-user.target.wants/ktcp.service: restored",
        "/usr/local/sbin/ktcp-apply: restored",
    ]
    (root / "etc/passwd").write_text("root\n")
    assert snapshot(root) == before
    again = call(root, "restore", "one")
    assert (again["changed"], again["steps"]) == (False, [])


def test_a_run_remembers_what_was_before_it_and_not_its_own_half(root: Path) -> None:
    call(root, "save", "one")
    (root / "etc/ktcp/peers.conf").write_text("half\n")
    call(root, "save", "one")
    call(root, "restore", "one")
    assert (root / "etc/ktcp/peers.conf").read_text() == "add 10.0.0.1:5565 key 1\n"


def test_only_the_latest_run_is_remembered_and_only_for_root(root: Path) -> None:
    call(root, "save", "one")
    call(root, "save", "two")
    memory = root.parent / "memory"
    (file,) = memory.iterdir()
    assert file.name == "before-two.json"
    assert (file.stat().st_mode & 0o777, memory.stat().st_mode & 0o777) == (0o600, 0o700)
    assert look(root, "one") == {"known": False, "fresh": False, "module": ""}
    assert look(root, "two") == {"known": True, "fresh": False, "module": "ABC"}


@pytest.mark.parametrize("other", ["", "etc/systemd/system/ktcp-exporter.service"])
def test_a_fresh_host_is_known_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Even if another program has a file whose name begins like ours."""
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(undo, "ROOT", root)
    if other:
        (root / other).parent.mkdir(parents=True)
        (root / other).touch()
    call(root, "save", "one")
    assert look(root, "one") == {"known": True, "fresh": True, "module": ""}


@pytest.mark.parametrize("run", ["../one", "", ".one", "a/b"])
def test_a_name_that_is_a_path(root: Path, run: str) -> None:
    for action in ("save", "look", "restore"):
        answer = call(root, action, run)
        assert (answer["failed"], answer["msg"]) == (True, f"{run}: not the name of a run")


def test_what_is_not_remembered_cannot_be_restored(root: Path) -> None:
    answer = call(root, "restore", "one")
    assert answer["failed"]
    assert "before-one.json" in answer["msg"]
    (root.parent / "memory").mkdir()
    (root.parent / "memory/before-one.json").write_text("{")
    assert call(root, "restore", "one")["failed"]


def test_ansible_gets_an_answer(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"run": "one", "memory": str(tmp_path / "memory")}
    answer = executed("ktcp_undo", action="look", **arguments)
    assert (answer["known"], answer["fresh"], answer["module"]) == (False, False, "")
    assert answer["changed"] is False
    assert executed("ktcp_undo", action="restore", dry=True, **arguments)["failed"]


@pytest.mark.parametrize(
    ("command", "module"), [("/bin/modinfo", "DEF"), (None, "")], ids=["installed", "no kmod"]
)
def test_a_module_that_is_not_loaded(
    command: str | None, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(command: list[str], **_more: object) -> subprocess.CompletedProcess[str]:
        assert command[0] == "modinfo"
        return subprocess.CompletedProcess(command, 0, "DEF\n", "")

    monkeypatch.setattr(undo.subprocess, "run", run)
    monkeypatch.setattr(undo.shutil, "which", lambda _name: command)
    assert undo.Host(tmp_path, tmp_path).module() == module
