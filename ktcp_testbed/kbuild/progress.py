# SPDX-License-Identifier: GPL-2.0-only
"""Runs long programs: their output goes to a log, and the user sees how far they are."""

import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError

REPORT_EVERY_S = 15
TAIL_LINES = 25


def logged(argv: Sequence[str], *, log: Path, what: str) -> None:
    """Run a program without its output, and report now and then how far it is.

    Raises:
        KtcpError: It failed; the message holds the end of its output.
    """
    begun = said = time.monotonic()
    lines = 0
    tail: deque[str] = deque(maxlen=TAIL_LINES)
    console.print_note(f"{what} (log: {log})")
    with (
        log.open("w", encoding="utf-8") as out,
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
        for line in process.stdout:
            out.write(line)
            tail.append(line.rstrip())
            lines += 1
            if time.monotonic() - said > REPORT_EVERY_S:
                said = time.monotonic()
                console.print_note(f"{what}: {said - begun:.0f} s, {lines} steps: {tail[-1][:70]}")
    if process.returncode:
        raise KtcpError(f"{what}: failed ({process.returncode})\n" + "\n".join(tail))
    console.print_note(f"{what}: done in {time.monotonic() - begun:.0f} s")


def timed(what: str, work: Callable[[], None]) -> None:
    """Run `work` and say how long it took."""
    begun = time.monotonic()
    work()
    console.print_note(f"{what}: {time.monotonic() - begun:.0f} s")
