# SPDX-License-Identifier: GPL-2.0-only
"""Directories of the cache whose name says what they were made from."""

import fcntl
import hashlib
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ktcp_testbed.kbuild.privilege import as_root
from ktcp_testbed.lab import cache

UNUSED_S = 30 * 24 * 3600.0
"""Time after which a directory that nobody has asked for makes room for a newer one."""


# What is removed in part must not look complete.
REMOVE = 'rm -rf "$2" && mv "$1" "$2" && rm -rf "$2"'


def key_of(*parts: str | bytes) -> str:
    """A short name for exactly these parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:12]


def directory(name: str, make: Callable[[Path], None]) -> Path:
    """The cache's directory `name`; `make` fills a new one, which appears when it is complete.

    A new one takes the place of those that differ from it only by the key, the last part of the
    name, and that are no longer in use.
    """
    place = cache.directory() / name
    with cache.locked(lock_of(place)):
        if not place.exists():
            partial = place.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(place)
            remove_unused(place)
    return place


def lock_of(place: Path) -> Path:
    """The lock of a directory. Its time of modification is that of the directory's last use."""
    return place.with_name(f"{place.name}.lock")


def remove_unused(newest: Path) -> None:
    """Remove the directories of the same family as `newest` that are no longer in use."""
    family = newest.name.rpartition("-")[0]
    for lock in newest.parent.glob(f"{family}-*.lock"):
        place = lock.with_suffix("")
        same = place.name.rpartition("-")[0] == family
        if same and place != newest and place.is_dir():
            remove_if_unused(place)


def remove_if_unused(place: Path) -> None:
    """Remove a directory that nobody uses or has used lately."""
    # Opened for appending, the lock keeps its time. Who asks for the directory from now on sets
    # the time first and then waits for us, or finds the directory gone and makes it again.
    with lock_of(place).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if time.time() - lock_of(place).stat().st_mtime < UNUSED_S:
            return
        partial = place.with_name(f"{place.name}.partial")
        command = [*as_root(), "sh", "-c", REMOVE, "sh", str(place), str(partial)]
        subprocess.run(command, check=False)
