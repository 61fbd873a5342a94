# SPDX-License-Identifier: GPL-2.0-only
"""The module ktcp_files, run as Ansible runs it, with JSON arguments."""

import os
from pathlib import Path

import pytest

from tests.unit.roles.modules import Answer, executed

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to root")


def run(*files: dict[str, str], check: bool = False) -> Answer:
    """Run the module. Returns its answer."""
    return executed("ktcp_files", dry=check, files=files)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_files_are_written_once(tmp_path: Path) -> None:
    command, conf = tmp_path / "command", tmp_path / "a.conf"
    files = (
        {"path": str(command), "text": "#!/bin/sh\n", "mode": "0755"},
        {"path": str(conf), "text": "é\n"},
    )
    first = run(*files)
    assert first["changed"]
    assert first["written"] == [str(command), str(conf)]
    assert (command.read_text(), mode(command)) == ("#!/bin/sh\n", 0o755)
    assert (conf.read_text(encoding="utf-8"), mode(conf)) == ("é\n", 0o644)
    again = run(*files)
    assert (again["changed"], again["written"], again["diff"]) == (False, [], [])


def test_a_dry_run_tells_the_truth_and_writes_nothing(tmp_path: Path) -> None:
    old, new, same = (tmp_path / name for name in ("old", "new", "same"))
    old.write_text("before\n")
    same.write_text("same\n")
    files = [{"path": str(path), "text": f"{path.name}\n"} for path in (old, new, same)]
    files.append({"path": str(tmp_path / "not/there"), "text": ""})
    dry = run(*files, check=True)
    assert dry["written"] == [str(old), str(new), str(tmp_path / "not/there")]
    assert [(d["before"], d["after"]) for d in dry["diff"]] == [
        ("before\n", "old\n"),
        ("", "new\n"),
        ("", ""),
    ]
    assert old.read_text() == "before\n"
    assert not new.exists()


def test_permissions_are_mended(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    path.chmod(0o666)
    os.chown(path, 1, 1)
    assert run({"path": str(path), "text": "text"}, check=True)["changed"]
    assert mode(path) == 0o666
    assert run({"path": str(path), "text": "text"})["written"] == [str(path)]
    assert (mode(path), path.stat().st_uid, path.stat().st_gid) == (0o644, 0, 0)


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff\xfe")
    assert run({"path": str(path), "text": "text"})["changed"]
    assert path.read_bytes() == b"text"


def test_all_that_is_wrong_is_said_before_anything_is_written(tmp_path: Path) -> None:
    answer = run(
        {"path": str(tmp_path / "good"), "text": ""},
        {"path": "relative", "text": ""},
        {"path": str(tmp_path), "text": ""},
        {"path": str(tmp_path / "not/there"), "text": ""},
    )
    assert answer["failed"]
    assert answer["msg"].splitlines() == [
        "relative: no absolute path",
        f"{tmp_path}: is a directory",
        f"{tmp_path}/not/there: there is no directory {tmp_path}/not",
    ]
    assert not (tmp_path / "good").exists()
