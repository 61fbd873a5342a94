# SPDX-License-Identifier: GPL-2.0-only
"""Small tar archives of files made in memory, the same bytes for the same files."""

import io
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class File:
    """One file to be unpacked, owned by root."""

    path: str
    content: bytes
    mode: int = 0o644


def pack(files: Iterable[File]) -> bytes:
    """Pack ``files`` into an uncompressed tar archive.

    Directories are left out on purpose: unpacking would give the root
    directory of a guest whatever mode was written here.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path)
            entry.size = len(file.content)
            entry.mode = file.mode
            archive.addfile(entry, io.BytesIO(file.content))
    return buffer.getvalue()
