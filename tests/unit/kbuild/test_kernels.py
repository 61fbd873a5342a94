# SPDX-License-Identifier: GPL-2.0-only
"""The other kernels that the module is built for: where they come from, and how make is called."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from ktcp_testbed.kbuild import buildroot, kernels, kmodule, progress
from ktcp_testbed.kbuild.buildroot import Buildroot
from tests.harness import builds


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The words that mmdebstrap and tar would have been called with."""
    made: list[list[str]] = []

    def logged(argv: Sequence[str], **_: object) -> None:
        made.append(list(argv))
        Path(argv[argv.index("trixie") + 1]).touch()

    def unpack(argv: Sequence[str], **_: object) -> None:
        made.append(list(argv))

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("KTCP_MIRROR", "http://mirror")
    monkeypatch.setattr(progress, "logged", logged)
    monkeypatch.setattr(subprocess, "run", unpack)
    monkeypatch.setattr(buildroot, "apt_configuration", lambda: "")
    monkeypatch.setattr(buildroot, "keyring", lambda _: Path("/keys"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/bin/{name}")
    return made


def test_kernels_of_both_architectures_and_of_backports(calls: list[list[str]]) -> None:
    root = kernels.ensure("trixie")
    words = calls[0]
    assert root.root.name == "root"
    assert "--architectures=amd64,arm64" in words
    assert words[-1] == "deb [signed-by=/keys] http://mirror trixie-backports main"
    hook = next(word for word in words if "apt-get download" in word)
    for package in ("linux-image-cloud-amd64/trixie-backports", "linux-headers-arm64:arm64"):
        assert package in hook


def test_a_build_root_does_not_ask_for_backports(calls: list[list[str]]) -> None:
    with pytest.raises(StopIteration):
        buildroot.ensure("trixie")
    assert not any("backports" in word for word in calls[0])


def test_the_compiler_is_that_of_the_kernels_architecture() -> None:
    assert kernels.target("6.12.9+deb13-cloud-amd64") == ()
    assert kernels.target("6.12.9+deb13-arm64") == (
        "ARCH=arm64",
        "CROSS_COMPILE=aarch64-linux-gnu-",
    )


def headers(root: Path, *releases: str) -> None:
    """Make what headers of these kernels leave in a build root."""
    for release in releases:
        (root / "lib/modules" / release / "build").mkdir(parents=True)


def supporting(expression: str, checkout: Path) -> Path:
    """Make a checkout whose module is for these kernels."""
    (checkout / "kmod").mkdir(parents=True)
    line = f'BUILD_EXCLUSIVE_KERNEL="{expression}"\n'
    (checkout / "kmod" / "dkms.conf").write_text(line, encoding="ascii")
    return checkout


def test_what_a_compiler_says_is_a_finding(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    headers(tmp_path, "6.12.9-arm64", "6.12.9-cloud-amd64", "7.3.4-cloud-amd64")
    made: list[Sequence[str]] = []

    def make(*words: object, options: Sequence[str]) -> subprocess.CompletedProcess[str]:
        made.append([*map(str, words), *options])
        output = "/work/kmod/main.c:1:1: error: no such thing [-Werror]\n  CC [M] x.o"
        return subprocess.CompletedProcess([], 2, stdout=output)

    monkeypatch.setattr(kernels, "ensure", lambda _: Buildroot(release="trixie", root=tmp_path))
    monkeypatch.setattr(kmodule, "make", make)
    checkout = supporting("^6", tmp_path / "checkout")
    assert builds.findings(checkout, "trixie") == [
        "trixie 7.3.4-cloud-amd64: dkms.conf's BUILD_EXCLUSIVE_KERNEL does not allow it"
    ] + [
        f"trixie {kernel}: /work/kmod/main.c:1:1: error: no such thing [-Werror]"
        for kernel in ("6.12.9-arm64", "6.12.9-cloud-amd64")
    ]
    assert {"/lib/modules/6.12.9-arm64/build", "W=1", "KCFLAGS=-Werror", "ARCH=arm64"} <= set(
        made[0]
    )
    assert builds.plan(tmp_path).kernel == "cloud-backports"


def test_a_kernel_without_headers_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    headers(tmp_path, "6.12.9-arm64")
    monkeypatch.setattr(kernels, "ensure", lambda _: Buildroot(release="trixie", root=tmp_path))
    assert builds.findings(tmp_path, "trixie") == [
        "trixie: headers of ['6.12.9-arm64'], not of 3 kernels"
    ]
