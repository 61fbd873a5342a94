# SPDX-License-Identifier: GPL-2.0-only
"""``mesh init``: what it writes is valid, commented, and has a key of its own."""

import json
from pathlib import Path

import pytest
import yaml

from ktcp_ops.cli import main


def test_what_it_writes_is_valid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = tmp_path / "mine"
    assert main.run(["mesh", "init", str(directory)]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == str(directory / "hosts.yml")
    assert "next: edit" in said.err
    assert main.run(["mesh", "validate", "-i", str(directory)]) == 0
    assert "the mesh is valid: 2 relays" in capsys.readouterr().out
    assert "#" in (directory / "group_vars/all/mesh.yml").read_text()


def test_each_has_a_key_of_its_own_that_only_its_owner_reads(tmp_path: Path) -> None:
    keys = []
    for name in ("one", "two"):
        assert main.run(["mesh", "init", str(tmp_path / name), "-o", "json"]) == 0
        path = tmp_path / name / "group_vars/all/keys.yml"
        assert path.stat().st_mode & 0o077 == 0
        keys.append(yaml.safe_load(path.read_text())["ktcp_keys"][1])
    assert [len(bytes.fromhex(key)) for key in keys] == [32, 32]
    assert keys[0] != keys[1]


def test_it_writes_over_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "hosts.yml").write_text("mine\n")
    assert main.run(["mesh", "init", str(tmp_path), "-o", "json"]) == 2
    assert "exists already" in json.loads(capsys.readouterr().out)["error"]
    assert [path.name for path in tmp_path.iterdir()] == ["hosts.yml"]
    (tmp_path / "file").touch()
    assert main.run(["mesh", "init", str(tmp_path / "file/below")]) == 2
