# SPDX-License-Identifier: GPL-2.0-only
"""The commands of ``./dev lab``: what they print, and how they end."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ktcp_ops.errors import ExitCode
from ktcp_testbed.cli import lab as cli
from ktcp_testbed.cli.main import run
from ktcp_testbed.lab.image import Image
from ktcp_testbed.lab.lab import Lab
from ktcp_testbed.lab.status import LabStatus

NewLab = Callable[..., Lab]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab's directory, known from the environment."""
    monkeypatch.setenv("KTCP_LAB_DIR", str(tmp_path / "lab"))
    return tmp_path / "lab"


def test_without_a_lab(directory: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "status"]) == ExitCode.FAILED
    assert run(["lab", "down"]) == ExitCode.OK
    assert run(["lab", "ssh", "rc"]) == ExitCode.USAGE
    assert run(["lab", "calibrate"]) == ExitCode.USAGE
    said = capfd.readouterr()
    assert f"lab: none is up in {directory}" in said.out
    assert "./dev lab up" in said.err


def test_status_as_data(
    directory: Path, new_lab: NewLab, capfd: pytest.CaptureFixture[str]
) -> None:
    new_lab().up()
    capfd.readouterr()
    assert run(["lab", "status", "-o", "json"]) == ExitCode.OK
    data = json.loads(capfd.readouterr().out)
    assert data["state"] == "up"
    assert data["ssh_config"] == str(directory / "ssh_config")
    assert [guest["name"] for guest in data["guests"]] == ["left", "right"]
    assert data["guests"][0]["addresses"] == ["192.0.2.1", "2001:db8::1"]
    assert data["links"] == [{"name": "left-right", "wanted_ms": 40, "rtt4_ms": 40, "rtt6_ms": 40}]


def test_status_for_people(
    directory: Path, new_lab: NewLab, capfd: pytest.CaptureFixture[str]
) -> None:
    new_lab().up()
    capfd.readouterr()
    assert run(["lab", "status"]) == ExitCode.OK
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == f"lab pair (Debian trixie) in {directory}: up"
    assert any(line.split()[:2] == ["left", "up"] for line in lines)
    assert any(line.split() == ["left-right", "40", "40.00", "40.00"] for line in lines)


def test_calibrate_shows_what_came_of_it(
    directory: Path, new_lab: NewLab, fakes: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new_lab().up()
    (fakes / "rtt").write_text("40.1\n")
    capfd.readouterr()
    assert run(["lab", "calibrate"]) == ExitCode.OK
    said = capfd.readouterr()
    assert said.out.startswith(f"lab pair (Debian trixie) in {directory}: up\n")
    assert "left-right      40  40.10  40.10" in said.out
    assert "link left-right: measuring" in said.err


def test_a_broken_lab_ends_status_with_1(
    directory: Path, new_lab: NewLab, fakes: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new_lab().up()
    (fakes / "left.silent").touch()
    assert run(["lab", "status"]) == ExitCode.FAILED
    assert f"{directory}: broken" in capfd.readouterr().out


def test_up_of_a_file_and_down(
    directory: Path,
    fakes: Path,
    empty_image: Image,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert fakes.is_dir()
    assert empty_image.release == "trixie"
    labs: list[Lab] = []

    class Kept(Lab):
        """Keeps the guests' parent process alive, which in a real command would have ended."""

        def up(self) -> LabStatus:
            labs.append(self)
            return super().up()

    monkeypatch.setattr(cli, "Lab", Kept)
    (tmp_path / "one.yml").write_text("{name: one, guests: [{name: alone}]}\n")
    assert run(["lab", "up", "--topology", str(tmp_path / "one.yml"), "-o", "json"]) == ExitCode.OK
    said = capfd.readouterr()
    assert json.loads(said.out)["topology"] == "one"
    assert "guest alone: up after" in said.err

    assert run(["lab", "down", "--now", "-o", "json"]) == ExitCode.OK
    assert json.loads(capfd.readouterr().out)["state"] == "down"
    assert not directory.exists()
    assert not labs[0].started[0].alive()
    labs[0].collect()


def test_a_wrong_topology_is_a_usage_error(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["lab", "up", "--topology", "papper"]) == ExitCode.USAGE
    assert "give paper, single, clouds or a YAML file" in capfd.readouterr().err
    assert not directory.exists()


def test_ssh_runs_what_was_typed(
    directory: Path, new_lab: NewLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_lab().up()
    ran: list[list[str]] = []
    monkeypatch.setattr("os.execvp", lambda _file, command: ran.append(command))
    run(["lab", "ssh", "left", "ip", "-6", "route"])
    config = str(directory / "ssh_config")
    assert ran == [["ssh", "-F", config, "left", "--", "ip", "-6", "route"]]


def test_ssh_to_a_dead_or_unknown_guest(
    directory: Path, new_lab: NewLab, capfd: pytest.CaptureFixture[str]
) -> None:
    pair = new_lab()
    pair.up()
    pair.guest("left").stop()
    assert directory.exists()
    assert run(["lab", "ssh", "left"]) == ExitCode.UNREACHABLE
    assert run(["lab", "ssh", "middle"]) == ExitCode.USAGE
    assert "guest left has stopped" in capfd.readouterr().err
