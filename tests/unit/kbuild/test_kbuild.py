# SPDX-License-Identifier: GPL-2.0-only
"""Everything around the compilers: caches, logs, copies. Tests in VMs run the compilers."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild import cached, kmodule, progress
from ktcp_testbed.kbuild.buildroot import Buildroot
from ktcp_testbed.lab import cache


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


@pytest.fixture
def one_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache whose directories are unused after a day."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(cached, "UNUSED_S", 24 * 3600.0)
    monkeypatch.setattr(cached, "as_root", list)
    return tmp_path / "ktcp"


def last_used(place: Path, *, hours_ago: float) -> None:
    then = time.time() - hours_ago * 3600
    os.utime(cached.lock_of(place), (then, then))


def full(place: Path) -> None:
    (place / "file").touch()


def test_a_new_directory_takes_the_place_of_those_not_in_use(one_day: Path) -> None:
    names = ("root-a-1", "root-a-2", "root-a-3", "root-b-1", "root-a-more-1")
    for place in [cached.directory(name, full) for name in names]:
        last_used(place, hours_ago=25)
    last_used(one_day / "root-a-2", hours_ago=23)
    cached.directory("root-a-3", full)
    (one_day / "root-a-1.partial").mkdir()
    full(one_day / "root-a-1.partial")
    cached.directory("root-a-4", full)
    left = {path.name for path in one_day.iterdir() if path.is_dir()}
    assert left == {"root-a-2", "root-a-3", "root-a-4", "root-b-1", "root-a-more-1"}


def test_a_locked_directory_is_not_removed(one_day: Path) -> None:
    place = cached.directory("root-a-1", full)
    with cache.locked(cached.lock_of(place)):
        last_used(place, hours_ago=25)
        cached.directory("root-a-2", full)
    assert place.exists()
    cached.directory("root-a-3", full)
    assert not place.exists()
    assert (one_day / "root-a-2").exists()


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
