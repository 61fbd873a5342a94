# SPDX-License-Identifier: GPL-2.0-only
"""The running kernel's log, read piece by piece."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

RECORD_BYTES = 8192  # the longest record of /dev/kmsg


class KernelLog:
    """The kernel's messages since the last look."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._fd)

    def news(self) -> list[str]:
        """The messages since the last call."""
        lines: list[str] = []
        while True:
            try:
                record = os.read(self._fd, RECORD_BYTES)
            except BlockingIOError:
                return lines
            except BrokenPipeError:
                # The ring buffer has overrun; go on with the oldest message left.
                continue
            lines.append(record.decode(errors="replace").partition(";")[2].splitlines()[0])


def mark(text: str) -> None:
    """Write a line into the log, so that a report shows what ran before it."""
    Path("/dev/kmsg").write_text(f"{text}\n", encoding="utf-8")
