# SPDX-License-Identifier: GPL-2.0-only
"""The project's cache directory, and locks so that two builders do not collide."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def directory() -> Path:
    """``${XDG_CACHE_HOME:-~/.cache}/ktcp``, made if it does not exist."""
    base = os.environ.get("XDG_CACHE_HOME")
    path = (Path(base) if base else Path.home() / ".cache") / "ktcp"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock file ``path``; yields whether another process held it first.

    The lock ends with its process, so that a killed builder blocks nobody.
    """
    with path.open("w") as file:
        waited = False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waited = True
            fcntl.flock(file, fcntl.LOCK_EX)
        yield waited
