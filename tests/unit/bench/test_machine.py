# SPDX-License-Identifier: GPL-2.0-only
"""The guest in virtual time: what it is started with, and how its end is told."""

import io
import tarfile
from pathlib import Path

import pytest

from ktcp_ops.bench import machine, programs
from ktcp_ops.bench.machine import Event, GuestFailedError, Vm
from ktcp_ops.bench.plan import Plan
from ktcp_ops.bench.results import FILE
from ktcp_ops.cli.main import run
from ktcp_ops.errors import KtcpError
from ktcp_ops.kbuild import buildroot, kmodule
from ktcp_ops.kbuild.buildroot import Buildroot
from ktcp_ops.lab import image
from ktcp_ops.lab.image import Image
from tests.unit.bench.conftest import Events, Speak


@pytest.fixture
def vm(tmp_path: Path, plan: Plan) -> Vm:
    module = tmp_path / "ktcp.ko"
    module.write_bytes(b"module")
    place = tmp_path / "image"
    built = Image(
        release="trixie",
        disk=place / "disk.raw",
        kernel=place / "vmlinuz",
        initrd=place / "initrd.img",
        kernel_release="6.12.1",
        rootfs=place / "rootfs.tar",
        identity=place / "identity",
    )
    return Vm(
        image=built,
        files=(module,),
        job=plan.job.dump(),
        directory=tmp_path / "work",
        memory_mib=1024,
    )


def test_time_is_virtual(vm: Vm) -> None:
    line = " ".join(machine.arguments(vm))
    assert "-accel tcg,thread=single -icount shift=0,sleep=off -smp 1 -cpu max,-erms,-fsrm" in line
    assert "-nodefaults" in line
    assert "-netdev" not in line
    assert "snapshot=on" in line


def test_the_shell_gets_its_script_as_one_word() -> None:
    script = machine.command_line("the.program").split(" -- -c ")[1]
    assert " " not in script
    assert script.replace("${IFS}", " ").endswith("exec /run/bench/init the.program")


def test_the_job_is_a_disk_of_whole_sectors(vm: Vm) -> None:
    content = machine.job_disk(vm)
    assert len(content) % 512 == 0
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        names = archive.getnames()
        start = archive.getmember("bench/init")
    assert start.mode == 0o755
    assert {"bench/ktcp.ko", "bench/job.json", "bench/ktcp_ops/__init__.py"} <= set(names)
    assert "bench/ktcp_ops/bench/guest/__main__.py" in names
    assert "bench/ktcp_ops/bench/session.py" not in names


def test_events_are_passed_on(vm: Vm, qemu: Speak, events: Events) -> None:
    qemu(events)
    told: list[Event] = []
    machine.run(vm, told.append)
    assert told == events
    assert not vm.disk.exists()


def test_what_was_told_is_kept(vm: Vm, qemu: Speak) -> None:
    qemu([{"event": "versions", "versions": {}}, {"event": "failed", "message": "no"}])
    with pytest.raises(GuestFailedError, match="no"):
        machine.run(vm, lambda _: None)
    assert len(vm.events.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "the guest has died"),
        ([{"event": "versions", "versions": {}}], "the guest has died"),
        ([{"event": "failed", "message": "rc: refused"}], "in the guest: rc: refused"),
        (["Segmentation fault"], "the guest said 'Segmentation fault'"),
        (
            [{"event": "done"}, {"event": "kernel", "lines": ["BUG: bad"]}],
            "the guest's kernel complained\nBUG: bad",
        ),
    ],
)
def test_what_goes_wrong_is_told(vm: Vm, qemu: Speak, lines: list[object], said: str) -> None:
    qemu(lines)
    with pytest.raises(GuestFailedError) as error:
        machine.run(vm, lambda _: None)
    assert error.value.message.startswith(said)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("kill -9 $$", "QEMU was killed by signal 9"),
        ("exit 3", "QEMU ended with 3"),
        ("exec >&-; exec sleep 600", "it has closed its line"),
    ],
)
def test_how_it_ended_is_told(
    vm: Vm, tmp_path: Path, qemu: Speak, monkeypatch: pytest.MonkeyPatch, end: str, said: str
) -> None:
    qemu([])
    (tmp_path / "bin" / "qemu-system-x86_64").write_text(f"#!/bin/sh\n{end}\n")
    monkeypatch.setattr(machine, "END_S", 0.5)
    with pytest.raises(GuestFailedError, match=f"the guest has died: {said}"):
        machine.run(vm, lambda _: None)


def test_a_silent_guest_is_given_up(
    vm: Vm, tmp_path: Path, qemu: Speak, monkeypatch: pytest.MonkeyPatch
) -> None:
    qemu([])
    (tmp_path / "bin" / "qemu-system-x86_64").write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(machine, "SILENCE_S", 0.0)
    with pytest.raises(GuestFailedError, match="has said nothing for"):
        machine.run(vm, lambda _: None)


def test_no_qemu_is_a_sentence(vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(KtcpError, match="install the package qemu-system-x86"):
        machine.run(vm, lambda _: None)


def test_a_full_disk_is_a_sentence(vm: Vm, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Path, __: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(KtcpError, match=r"could not be given its job: .*No space left"):
        machine.run(vm, lambda _: None)


@pytest.fixture
def ready(vm: Vm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image, build root and module are there."""
    monkeypatch.setattr(image, "follow", lambda _: vm.image)
    root = Buildroot(release="trixie", root=tmp_path)
    monkeypatch.setattr(buildroot, "ensure", lambda _: root)
    monkeypatch.setattr(Buildroot, "headers", lambda _self, built: built.kernel_release)
    monkeypatch.setattr(kmodule, "build", lambda *_: vm.files[0])
    monkeypatch.setattr(programs, "build", lambda *_: [])


WORDS = ("--size", "10k", "--runs", "2", "--cost", "ktcp", "--set-ups", "3")


@pytest.mark.usefixtures("ready")
def test_a_run_from_the_command_to_the_report(
    qemu: Speak, events: Events, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu(events)
    ways = [word for way in ("e2e", "nginx", "ktcp") for word in ("--way", way)]
    assert run(["bench", "paper", "--dir", str(tmp_path / "out"), *WORDS, *ways]) == 0
    said = capsys.readouterr()
    assert (tmp_path / "out" / "paper" / FILE).exists()
    assert "Time to first byte, seconds, median of 2" in said.out
    assert "[3/10] KTCP, 10 KB" in said.err


@pytest.mark.usefixtures("ready")
def test_half_a_run_leaves_no_report(
    qemu: Speak, events: Events, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu([events[0], events[2], events[-1]])
    assert run(["bench", "paper", "--dir", str(tmp_path / "out"), *WORDS, "--way", "e2e"]) == 1
    assert "the guest measured 0 of 1 cost parts" in capsys.readouterr().err
    assert not (tmp_path / "out" / "paper").exists()


def test_bad_options_end_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "paper", "--way", "pound", "--rtt=-1,2,3"]) == 2
    said = capsys.readouterr().err
    assert "there is no such way" in said
    assert "--rtt -1" in said
