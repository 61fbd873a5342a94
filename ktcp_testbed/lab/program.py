# SPDX-License-Identifier: GPL-2.0-only
"""Runs a program that takes long: its output goes to a log, and is heard line by line."""

import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

KEPT_LINES = 25


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended."""

    code: int
    last: tuple[str, ...]
    """The last lines of its output."""


def run(argv: Sequence[str], *, log: Path, heard: Callable[[str], None]) -> Ended:
    """Run a program to its end; ``heard`` gets each line of its output, without its end.

    It is asked to end when ``heard`` raises, or the user interrupts us.
    """
    last: deque[str] = deque(maxlen=KEPT_LINES)
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                file.write(line)
                last.append(line.rstrip())
                heard(last[-1])
        except BaseException:
            process.terminate()
            raise
    return Ended(code=process.returncode, last=tuple(last))
