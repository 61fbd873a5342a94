# SPDX-License-Identifier: GPL-2.0-only
"""Inventories as they were at a revision of git, in files that only we can read."""

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ktcp_ops.errors import UsageError


@contextmanager
def inventories_at(revision: str, inventories: Sequence[str]) -> Iterator[list[str]]:
    """Give the names of copies of inventories at a revision, which end with the context.

    Raises:
        UsageError: One is not in a repository, or was not there at that revision.
    """
    with tempfile.TemporaryDirectory(prefix="ktcp-rehearsal-") as directory:
        yield [
            str(extract(revision, Path(name), Path(directory) / str(number)))
            for number, name in enumerate(inventories)
        ]


def extract(revision: str, inventory: Path, to: Path) -> Path:
    """Copy an inventory at a revision; returns the copy.

    Raises:
        UsageError: It is not in a repository, or was not there at that revision.
    """
    place = inventory.resolve()
    home = place if place.is_dir() else place.parent
    if not home.is_dir():
        raise UsageError(f"{inventory}: there is no such inventory")
    top = Path(git(home, "rev-parse", "--show-toplevel").decode().strip())
    # A file of hosts has its variables beside it.
    archive = git(top, "archive", "--format=tar", f"{revision}^{{commit}}", "--", inside(home, top))
    to.mkdir()
    subprocess.run(["tar", "-x", "-C", str(to)], input=archive, check=True)
    return to / place.relative_to(top)


def inside(home: Path, top: Path) -> str:
    """Name a directory as git does."""
    return str(home.relative_to(top))


def git(directory: Path, *words: str) -> bytes:
    """Run git; return what it printed.

    Raises:
        UsageError: With git's words, if it failed or is missing.
    """
    try:
        done = subprocess.run(["git", *words], cwd=directory, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("--from: git is missing") from error
    if done.returncode:
        raise UsageError(f"--from: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
