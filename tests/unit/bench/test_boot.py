# SPDX-License-Identifier: GPL-2.0-only
"""The bench's guest: what it is made of, and a run from the command to the report."""

from pathlib import Path

import pytest

from ktcp_testbed.bench import boot, programs
from ktcp_testbed.bench.boot import Boot
from ktcp_testbed.bench.plan import Plan
from ktcp_testbed.bench.results import FILE
from ktcp_testbed.cli.main import run
from ktcp_testbed.kbuild import buildroot, kmodule
from ktcp_testbed.kbuild.buildroot import Buildroot
from ktcp_testbed.lab import image
from ktcp_testbed.lab.virtual import Event, GuestFailedError
from tests.unit.bench.conftest import Events
from tests.unit.conftest import Speak, make_image


@pytest.fixture
def guest_boot(tmp_path: Path, plan: Plan) -> Boot:
    module = tmp_path / "ktcp.ko"
    module.write_bytes(b"module")
    return Boot(
        image=make_image(tmp_path / "image"),
        files=(module,),
        job=plan.job.dump(),
        directory=tmp_path / "work",
        memory_mib=1024,
    )


def test_the_guest_is_the_same_for_each_job(guest_boot: Boot) -> None:
    guest = guest_boot.guest()
    assert guest.cpu == "max,-erms,-fsrm"
    assert guest.cpus == 1
    assert guest.init == "bench/init ktcp_testbed.bench.guest"


def test_the_job_has_what_the_guest_needs_and_no_more(guest_boot: Boot) -> None:
    files = {file.path: file for file in boot.job_files(guest_boot)}
    assert files["bench/init"].mode == 0o755
    assert {"bench/ktcp.ko", "bench/job.json", "bench/ktcp_testbed/__init__.py"} <= set(files)
    assert "bench/ktcp_testbed/bench/guest/__main__.py" in files
    assert "bench/ktcp_testbed/bench/session.py" not in files


def test_events_are_passed_on(guest_boot: Boot, qemu: Speak, events: Events) -> None:
    qemu(events)
    told: list[Event] = []
    boot.run(guest_boot, told.append)
    assert told == events


def test_a_kernel_that_complains_is_a_failure(guest_boot: Boot, qemu: Speak) -> None:
    qemu([{"event": "done"}, {"event": "kernel", "lines": ["BUG: bad"]}])
    with pytest.raises(GuestFailedError, match="the guest's kernel complained\nBUG: bad"):
        boot.run(guest_boot, lambda _: None)


@pytest.fixture
def ready(guest_boot: Boot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Image, build root and module are there."""
    monkeypatch.setattr(image, "follow", lambda _: guest_boot.image)
    root = Buildroot(release="trixie", root=tmp_path)
    monkeypatch.setattr(buildroot, "ensure", lambda _: root)
    monkeypatch.setattr(Buildroot, "headers", lambda _self, built: built.kernel_release)
    monkeypatch.setattr(kmodule, "build", lambda *_: guest_boot.files[0])
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
