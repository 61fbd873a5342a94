# SPDX-License-Identifier: GPL-2.0-only
"""Finds the commit that a test run judged, and records the last one that was all green."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The state of a checkout."""

    commit: str
    """The id, or nothing outside of a repository."""
    clean: bool
    """Neither changes nor files that are not committed."""

    def __str__(self) -> str:
        """The state in words."""
        if not self.commit:
            return "a tree without a commit"
        return (
            f"commit {self.commit}" if self.clean else f"commit {self.commit} + uncommitted changes"
        )


def tree(root: Path) -> Tree:
    """Look at the checkout at `root`."""
    commit = git(root, "rev-parse", "--verify", "HEAD")
    return Tree(commit=commit, clean=bool(commit) and not git(root, "status", "--porcelain"))


def git(root: Path, *words: str) -> str:
    """The output of git; empty if it fails."""
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def judged(before: Tree, after: Tree) -> str:
    """What a run has judged, from the states at its beginning and its end."""
    if before == after:
        return str(after)
    return f"no one tree: it was {before}, and is {after}"


def is_green(before: Tree, after: Tree, *, whole: bool, passed: bool) -> bool:
    """True if the run proves that a commit is good."""
    return whole and passed and before == after and after.clean


def write_green(path: Path, commit: str) -> None:
    """Record the last commit that was all green."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{commit}\n", encoding="ascii")
