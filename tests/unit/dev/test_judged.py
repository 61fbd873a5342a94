# SPDX-License-Identifier: GPL-2.0-only
"""What a test run reports as judged, and when it calls a commit green."""

import subprocess
from pathlib import Path

import pytest

from tests import judged, phases, run
from tests.judged import Tree

CLEAN = Tree(commit="a" * 40, clean=True)
CHANGED = Tree(commit="a" * 40, clean=False)
LATER = Tree(commit="b" * 40, clean=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with a commit, whose default run is one phase that passes."""
    root = tmp_path / "checkout"
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    (root / ".gitignore").write_text("/build/\n")
    git(root, "add", ".")
    git(root, "-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "first")
    monkeypatch.setattr(run, "ROOT", root)
    monkeypatch.setattr(phases, "every", lambda _: [good(), extended()])
    return root


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-C", str(root), *words], check=True)


def good(command: str = "true") -> phases.Phase:
    return phases.phase("good", "fast", minutes=1, commands=[(command,)])


def extended() -> phases.Phase:
    return phases.phase("drill", phases.EXTENDED, minutes=1, commands=[("true",)])


def test_a_whole_green_run_writes_the_commit(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.main([]) == 0
    commit = judged.tree(checkout).commit
    assert len(commit) == 40
    assert (checkout / "build/tests/green").read_text() == f"{commit}\n"
    assert capsys.readouterr().out.splitlines()[-1] == f"Judged: commit {commit}"


def test_a_part_is_not_green(checkout: Path) -> None:
    assert run.main(["fast"]) == 0
    assert not (checkout / "build/tests/green").exists()


def test_a_changed_tree_is_not_green(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "new.py").touch()
    assert run.main([]) == 0
    assert not (checkout / "build/tests/green").exists()
    assert capsys.readouterr().out.endswith(" + uncommitted changes\n")


def test_a_red_run_is_not_green(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "every", lambda _: [good("false")])
    assert run.main([]) == 1
    assert not (checkout / "build/tests/green").exists()


def test_a_commit_that_came_meanwhile_is_not_green() -> None:
    assert judged.is_green(CLEAN, CLEAN, whole=True, passed=True)
    assert not judged.is_green(CLEAN, LATER, whole=True, passed=True)
    assert not judged.is_green(CHANGED, CHANGED, whole=True, passed=True)
    assert judged.judged(CLEAN, LATER).startswith("no one tree: it was commit aaa")


def test_without_a_repository_nothing_is_green(tmp_path: Path) -> None:
    bare = judged.tree(tmp_path)
    assert str(bare) == "a tree without a commit"
    assert not judged.is_green(bare, bare, whole=True, passed=True)
