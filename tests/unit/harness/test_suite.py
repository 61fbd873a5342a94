# SPDX-License-Identifier: GPL-2.0-only
"""A run of the kernel tests: the guest's job, and how its events are judged."""

import base64
import json
import zlib
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild import kernels
from ktcp_testbed.kbuild.buildroot import Buildroot
from ktcp_testbed.lab import image
from ktcp_testbed.lab.virtual import GuestFailedError
from tests.harness import suite, without
from tests.harness.debug_kernel import DebugKernel
from tests.harness.defences import DEFENCES
from tests.harness.suite import Outcome, Plan
from tests.unit.conftest import Speak, make_image

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """A checkout with a test and an image that is there."""
    checkout = tmp_path / "checkout"
    (checkout / "tests" / "kernel").mkdir(parents=True)
    (checkout / "tests" / "kernel" / "test_x.py").write_text("# nothing\n")
    built = make_image(tmp_path)
    monkeypatch.setattr(image, "ensure", lambda _: built)
    return Plan(checkout=checkout, release="trixie", only="test_x")


@pytest.fixture
def module(tmp_path: Path) -> Path:
    for name in ("ktcp.ko", "ktcp_selftest.ko"):
        (tmp_path / name).write_bytes(b"module")
    return tmp_path / "ktcp.ko"


def sent(name: str, text: str) -> dict[str, object]:
    content = base64.b64encode(zlib.compress(text.encode())).decode()
    return {"event": "file", "name": name, "content": content}


RAN = {"event": "ran", "name": "tests", "code": 0, "guest_s": 3.5}
DONE = {"event": "done", "guest_s": 9.5}


def test_the_guest_gets_the_tests_and_the_modules(plan: Plan, module: Path) -> None:
    part = suite.part_of(plan, module)
    files = {file.path: file for file in suite.job_files(plan, [part, part])}
    assert files["suite/init"].mode == 0o755
    assert {
        "suite/tests/kernel/test_x.py",
        "suite/tests/harness/guest.py",
        "suite/modules/0/ktcp.ko",
        "suite/modules/1/ktcp_selftest.ko",
    } <= set(files)
    job = json.loads(files["suite/job.json"].content)
    assert [each["module"] for each in job["parts"]] == ["modules/0/ktcp.ko", "modules/1/ktcp.ko"]
    assert job["parts"][0]["words"] == ["-k", "test_x", "tests/kernel/"]
    assert job["leaks"] is False


def test_a_debug_kernel_needs_no_ramdisk(plan: Plan, tmp_path: Path) -> None:
    debug = DebugKernel(directory=tmp_path / "kasan")
    assert suite.machine(plan, [], None).initrd == tmp_path / "initrd.img"
    assert suite.machine(plan, [], debug).kernel == tmp_path / "kasan" / "bzImage"
    assert suite.machine(plan, [], debug).initrd is None


def test_a_kernel_for_clouds_brings_its_modules(plan: Plan, module: Path, tmp_path: Path) -> None:
    for release in ("6.9.1-cloud-amd64", "6.12.1-cloud-amd64"):
        place = tmp_path / "lib/modules" / release
        (place / "build").mkdir(parents=True)
        (place / "kernel/net/sched").mkdir(parents=True)
        (place / "kernel/net/sched/sch_netem.ko.xz").write_bytes(b"netem")
        (place / "kernel/fs").mkdir()
        (place / "kernel/fs/nfs.ko.xz").touch()
        (place / "modules.dep").write_text("deps\n")
    (tmp_path / "usr").symlink_to(".")
    root = Buildroot(release="trixie", root=tmp_path)
    kernel = kernels.bootable(root, "cloud-backports")
    assert kernels.bootable(root, "cloud").release == "6.9.1-cloud-amd64"
    vm = suite.machine(plan, [suite.part_of(plan, module)], kernel)
    assert vm.kernel == tmp_path / "boot/vmlinuz-6.12.1-cloud-amd64"
    assert vm.initrd == tmp_path / "boot/initrd.img-6.12.1-cloud-amd64"
    modules = {file.path: file.content for file in vm.job if "lib/modules" in file.path}
    assert modules == {
        "suite/lib/modules/6.12.1-cloud-amd64/kernel/net/sched/sch_netem.ko.xz": b"netem",
        "suite/lib/modules/6.12.1-cloud-amd64/modules.dep": b"deps\n",
    }


def test_a_build_root_without_a_kernel_for_clouds_is_said(tmp_path: Path) -> None:
    root = Buildroot(release="trixie", root=tmp_path)
    with pytest.raises(KtcpError, match=r"kernels for clouds are \[\], not 2"):
        kernels.bootable(root, "cloud")


def test_what_the_guest_sends_is_kept(
    plan: Plan, module: Path, qemu: Speak, capsys: pytest.CaptureFixture[str]
) -> None:
    log = sent("dmesg.txt", "all is well\n")
    qemu(["collecting\rtest_x PASSED", RAN, sent("junit.xml", "<testsuites/>"), log, DONE])
    outcome = suite.boot(plan, [suite.part_of(plan, module)])
    assert suite.judge(outcome) == []
    assert outcome.guest_s == 9.5
    assert (plan.directory / "junit.xml").read_text() == "<testsuites/>"
    assert capsys.readouterr().out == "test_x PASSED\n"


def test_the_log_of_a_guest_that_fails_is_kept(plan: Plan, module: Path, qemu: Speak) -> None:
    qemu([sent("dmesg.txt", "BUG: bad\n"), {"event": "failed", "message": "rmmod"}])
    with pytest.raises(GuestFailedError, match="rmmod"):
        suite.boot(plan, [suite.part_of(plan, module)])
    assert (plan.directory / "dmesg.txt").read_text() == "BUG: bad\n"


@pytest.mark.parametrize(
    ("codes", "leaks", "log", "said"),
    [
        ({}, "", "", "pytest did not run"),
        ({"tests": 1}, "", "", "pytest ended with 1"),
        ({"tests": 0}, "unreferenced object", "", "kmemleak:\nunreferenced object"),
        ({"tests": 0}, "", "[1.0] BUG: KASAN: x", "the kernel complains, see dmesg.txt"),
    ],
)
def test_what_is_wrong_is_said(codes: dict[str, int], leaks: str, log: str, said: str) -> None:
    outcome = Outcome(codes=codes, leaks=leaks, files={"dmesg.txt": log.encode()})
    [failure] = suite.judge(outcome)
    assert failure.startswith(said)


@pytest.mark.parametrize(("code", "kept"), [(0, ""), (1, "unreferenced object")])
def test_leaks_are_kept_when_there_are_some(code: int, kept: str) -> None:
    outcome = Outcome()
    outcome.told({"event": "leaks", "code": code, "text": "unreferenced object"})
    assert outcome.leaks == kept


def test_a_defence_without_a_test_is_found() -> None:
    guarded, unguarded = DEFENCES[:2]
    codes = {without.WHOLE: 0, guarded.name: 1, unguarded.name: 0}
    assert without.judge(codes, [guarded, unguarded]) == [unguarded]


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        ({without.WHOLE: 1}, "mend that first"),
        ({without.WHOLE: 0}, "pytest ended with None"),
        ({without.WHOLE: 0, DEFENCES[0].name: 5}, "pytest ended with 5"),
    ],
)
def test_defences_are_judged_only_by_tests_that_ran(codes: dict[str, int], said: str) -> None:
    with pytest.raises(KtcpError, match=said):
        without.judge(codes, DEFENCES[:1])
