# SPDX-License-Identifier: GPL-2.0-only
"""Directories of the cache whose name says what they were made from."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from ktcp_testbed.lab import cache


def key_of(*parts: str | bytes) -> str:
    """A short name for exactly these parts."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:12]


def directory(name: str, make: Callable[[Path], None]) -> Path:
    """The cache's directory `name`; `make` fills a new one, which appears when it is complete."""
    place = cache.directory() / name
    with cache.locked(cache.directory() / f"{name}.lock"):
        if not place.exists():
            partial = place.with_name(f"{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            make(partial)
            partial.rename(place)
    return place
