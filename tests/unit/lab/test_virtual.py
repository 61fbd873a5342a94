# SPDX-License-Identifier: GPL-2.0-only
"""The guest in virtual time: its command line, and how its end is reported."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import virtual
from ktcp_testbed.lab.archive import File
from ktcp_testbed.lab.virtual import Event, GuestFailedError, Vm
from tests.unit.conftest import Speak


@pytest.fixture
def vm(tmp_path: Path) -> Vm:
    return Vm(
        name="guest",
        disk=tmp_path / "disk.raw",
        kernel=tmp_path / "vmlinuz",
        initrd=tmp_path / "initrd.img",
        cpu="qemu64",
        memory_mib=1024,
        job=(File(path="job/init", content=b"#!/bin/sh", mode=0o755),),
        init="job/init the.program",
        directory=tmp_path / "work",
    )


def test_time_is_virtual(vm: Vm) -> None:
    line = " ".join(virtual.arguments(vm))
    assert "-accel tcg,thread=single -icount shift=0,sleep=off" in line
    assert "-smp 1 -cpu qemu64 -seed 1" in line
    assert "-nodefaults" in line
    assert "-netdev" not in line
    assert "snapshot=on" in line


def test_a_kernel_may_do_without_a_ramdisk(vm: Vm) -> None:
    assert "-initrd" in virtual.arguments(vm)
    assert "-initrd" not in virtual.arguments(replace(vm, initrd=None))


def test_the_shell_gets_its_script_as_one_word(vm: Vm) -> None:
    line = virtual.command_line(replace(vm, command_line="oops=panic kmemleak=on"))
    words, script = line.split(" -- -c ")
    assert " oops=panic kmemleak=on " in words
    assert " " not in script
    assert script.replace("${IFS}", " ").endswith("exec /run/job/init the.program")


def test_the_job_is_a_disk_of_whole_sectors(vm: Vm) -> None:
    content = virtual.packed(vm.job)
    assert len(content) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert archive.getmember("job/init").mode == 0o755


def test_events_are_passed_on(vm: Vm, qemu: Speak) -> None:
    events: list[Event] = [{"event": "versions", "versions": {}}, {"event": "done"}]
    qemu(events)
    told: list[Event] = []
    virtual.run(vm, told.append)
    assert told == events
    assert not vm.job_disk.exists()


def test_other_lines_are_passed_on_apart(vm: Vm, qemu: Speak) -> None:
    qemu(["test_x PASSED", '{"event": bad', {"event": "done"}])
    heard: list[str] = []
    virtual.run(vm, lambda _: None, heard=heard.append)
    assert heard == ["test_x PASSED", '{"event": bad']


def test_what_was_told_is_kept(vm: Vm, qemu: Speak) -> None:
    qemu([{"event": "versions", "versions": {}}, {"event": "failed", "message": "no"}])
    with pytest.raises(GuestFailedError, match="no"):
        virtual.run(vm, lambda _: None)
    assert len(vm.said.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "the guest has died"),
        ([{"event": "versions", "versions": {}}], "the guest has died"),
        ([{"event": "failed", "message": "rc: refused"}], "in the guest: rc: refused"),
        (["Segmentation fault"], "the guest said 'Segmentation fault'"),
    ],
)
def test_what_goes_wrong_is_told(vm: Vm, qemu: Speak, lines: list[object], said: str) -> None:
    qemu(lines)
    with pytest.raises(GuestFailedError) as error:
        virtual.run(vm, lambda _: None)
    assert error.value.message.startswith(said)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("kill -9 $$", "QEMU was killed by signal 9"),
        ("exit 3", "QEMU ended with 3"),
        ("exec >&-; exec sleep 600", "it has closed its serial port"),
    ],
)
def test_how_it_ended_is_told(
    vm: Vm, tmp_path: Path, qemu: Speak, monkeypatch: pytest.MonkeyPatch, end: str, said: str
) -> None:
    qemu([])
    (tmp_path / "bin" / "qemu-system-x86_64").write_text(f"#!/bin/sh\n{end}\n")
    monkeypatch.setattr(virtual, "END_S", 0.5)
    with pytest.raises(GuestFailedError, match=f"the guest has died: {said}"):
        virtual.run(vm, lambda _: None)


def test_a_silent_guest_is_given_up(
    vm: Vm, tmp_path: Path, qemu: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu([])
    (tmp_path / "bin" / "qemu-system-x86_64").write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(virtual, "SILENCE_S", 0.0)
    with pytest.raises(GuestFailedError, match="has said nothing for"):
        virtual.run(vm, lambda _: None)


def test_no_qemu_is_a_sentence(vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KtcpError, match="install the package qemu-system-x86"):
        virtual.run(vm, lambda _: None)


def test_a_full_disk_is_a_sentence(vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, __: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(KtcpError, match=r"could not be given its job: .*No space left"):
        virtual.run(vm, lambda _: None)
