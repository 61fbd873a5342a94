# SPDX-License-Identifier: GPL-2.0-only
"""Which commit a test run judged; one that was green in whole is written down."""

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What a checkout holds."""

    commit: str
    """The id, or nothing outside of a repository."""
    clean: bool
    """Neither changes nor files that are not committed."""

    def __str__(self) -> str:
        """As a person is told of it."""
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
    """What git says; nothing where it fails."""
    done = subprocess.run(
        ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def judged(before: Tree, after: Tree) -> str:
    """What a run judged, by the trees that it began and ended with."""
    if before == after:
        return str(after)
    return f"no one tree: it was {before}, and is {after}"


def is_green(before: Tree, after: Tree, *, whole: bool, passed: bool) -> bool:
    """True for a run that says of a commit that it is good."""
    return whole and passed and before == after and after.clean


def write_green(path: Path, commit: str) -> None:
    """Write down the last commit that was green in whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{commit}\n", encoding="ascii")
