# SPDX-License-Identifier: GPL-2.0-only
"""One guest: booted and gone again, its commands and its files."""

import os
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import guest, launch, ssh
from ktcp_testbed.lab.guest import GuestDiedError
from ktcp_testbed.lab.image import Image


@pytest.fixture
def place(tmp_path: Path, fakes: Path, empty_image: Image) -> Path:
    assert fakes.is_dir()
    assert empty_image.release == "trixie"
    return tmp_path / "one"


def test_a_guest_is_there_and_then_gone(place: Path, tmp_path: Path) -> None:
    with guest.running(release="trixie", directory=place, name="solo") as vm:
        assert vm.alive()
        assert guest.greets(vm.port)
    assert not vm.alive()
    assert not guest.greets(vm.port)
    assert [path.name for path in place.iterdir()] == ["qemu.log"]
    assert not list(tmp_path.glob("ktcp-guest-*"))


def test_a_failure_inside_also_ends_the_guest(place: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        guest.running(release="trixie", directory=place, name="solo") as vm,
    ):
        assert 1 / 0
    assert not vm.alive()


def test_commands_are_judged_only_when_asked(place: Path) -> None:
    with guest.running(release="trixie", directory=place, name="solo") as vm:
        assert vm.run("exit 3").returncode == 3
        with pytest.raises(KtcpError, match="guest solo: exit 3: ended with 3"):
            vm.run("exit 3", check=True)
        assert vm.run("cat", stdin="some text").stdout == "some text"


def test_a_lost_guest_is_told_from_a_failed_command(place: Path, fakes: Path) -> None:
    with guest.running(release="trixie", directory=place, name="solo") as vm:
        with pytest.raises(GuestDiedError, match="guest solo is out of reach"):
            vm.run("exit 255")
        (fakes / "solo.off").touch()
        assert vm.child is not None
        vm.child.wait(10)
        with pytest.raises(GuestDiedError, match="its QEMU process has ended"):
            vm.run("exit 255")


def test_a_slow_command_is_given_up(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with guest.running(release="trixie", directory=place, name="solo") as vm:
        monkeypatch.setattr(ssh, "command", lambda *_: ["sleep", "60"])
        with pytest.raises(KtcpError, match="took more than 0 s"):
            vm.run("anything", timeout=0.1)
        monkeypatch.undo()


def test_a_failed_copy_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with guest.running(release="trixie", directory=place, name="solo") as vm:
        monkeypatch.setattr(ssh, "command", lambda *_: ["false"])
        with pytest.raises(KtcpError, match="copying to solo failed"):
            vm.put(Path(__file__), "/x")
        monkeypatch.undo()


def test_copies_arrive_whole(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "odd & name").write_bytes(bytes(range(256)))
    (tree / "program").write_text("#!/bin/sh\n")
    (tree / "program").chmod(0o755)
    with guest.running(release="trixie", directory=place, name="solo") as vm:
        monkeypatch.setattr(ssh, "command", here)
        vm.put(tree, tmp_path / "there")
        vm.put(tree / "program", tmp_path / "new dir" / "it's")
        vm.get(tmp_path / "there", tmp_path / "back")
        vm.get(tmp_path / "there" / "sub" / "odd & name", tmp_path / "file" / "x")
        monkeypatch.undo()
    assert (tmp_path / "there" / "sub" / "odd & name").read_bytes() == bytes(range(256))
    assert (tmp_path / "back" / "sub" / "odd & name").read_bytes() == bytes(range(256))
    assert (tmp_path / "file" / "x").read_bytes() == bytes(range(256))
    assert (tmp_path / "new dir" / "it's").stat().st_mode & 0o777 == 0o755


def here(_config: Path, _host: str, remote: list[str] | str) -> list[str]:
    """Run on this host what was meant for the guest."""
    return ["sh", "-c", remote] if isinstance(remote, str) else list(remote)


def test_a_port_is_only_ours_if_our_process_listens(place: Path) -> None:
    with guest.running(release="trixie", directory=place, name="solo") as vm:
        assert launch.listens(vm.port, vm.process.pid)
        assert not launch.listens(vm.port, os.getpid())
        assert not launch.listens(launch.free_port(), vm.process.pid)
