# SPDX-License-Identifier: GPL-2.0-only
"""Everything around the compilers: caches, logs, copies. Tests in VMs run the compilers."""

import subprocess
import sys
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild import cached, kmodule, progress
from ktcp_testbed.kbuild.buildroot import Buildroot


def test_keys_tell_parts_from_their_sum() -> None:
    assert cached.key_of("ab", "c") != cached.key_of("a", "bc")
    assert cached.key_of("ab", b"c") == cached.key_of(b"ab", "c")


def test_a_directory_is_made_once_and_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Path] = []

    def fail(place: Path) -> None:
        (place / "half").touch()
        raise KtcpError("out of reach")

    with pytest.raises(KtcpError):
        cached.directory("thing", fail)
    assert not (tmp_path / "ktcp" / "thing").exists()
    place = cached.directory("thing", made.append)
    assert cached.directory("thing", made.append) == place
    assert len(made) == 1
    assert list(place.iterdir()) == []


def test_programs_that_fail_are_quoted(tmp_path: Path) -> None:
    log = tmp_path / "log"
    progress.logged([sys.executable, "-c", "print('fine')"], log=log, what="work")
    assert log.read_text() == "fine\n"
    with pytest.raises(KtcpError, match=r"work: failed \(3\)\nbad"):
        progress.logged(["sh", "-c", "echo bad; exit 3"], log=log, what="work")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A module's sources, and what a compiler left beside them."""
    root = tmp_path / "checkout"
    for name in (
        "main.c",
        "control/net.h",
        "Kbuild",
        "lib/compat/Kbuild.probe",
        "ktcp.mod.c",
        "main.o",
    ):
        path = root / "kmod" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_only_sources_are_copied(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "work" / "kmod").mkdir(parents=True)
    (tmp_path / "work" / "kmod" / "stale.c").touch()
    kmodule.copy_sources(checkout, tmp_path / "work")
    found = {p.name for p in (tmp_path / "work").rglob("*") if p.is_file()}
    assert found == {"main.c", "net.h", "Kbuild", "Kbuild.probe"}


def test_the_compilers_words_are_the_error(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    root = Buildroot(release="trixie", root=tmp_path)
    commands: list[list[str]] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        commands.append(argv)
        return subprocess.CompletedProcess(argv, 2, stdout="main.c:1: error: no\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(KtcpError, match=r"does not build with /tree\nmain\.c:1: error: no"):
        kmodule.build(checkout, root, work, "/tree")
    assert commands[0][-6:] == [
        "-C",
        "/tree",
        "M=/work/kmod",
        "W=1",
        "KCFLAGS=-Werror",
        "modules",
    ]


def test_kernels_of_a_build_root(tmp_path: Path) -> None:
    for release in ("6.12.2", "6.12.1"):
        (tmp_path / "lib/modules" / release / "build").mkdir(parents=True)
    root = Buildroot(release="trixie", root=tmp_path)
    assert root.kernel_releases() == ["6.12.1", "6.12.2"]


def test_kernels_whose_link_leads_somewhere_in_the_build_root_only(tmp_path: Path) -> None:
    (tmp_path / "lib/modules/6.1.0-57-amd64").mkdir(parents=True)
    (tmp_path / "lib/modules/6.1.0-57-amd64/build").symlink_to("/usr/src/headers-of-no-host")
    (tmp_path / "lib/modules/6.1.0-50-amd64").mkdir()
    root = Buildroot(release="bookworm", root=tmp_path)
    assert root.kernel_releases() == ["6.1.0-57-amd64"]
