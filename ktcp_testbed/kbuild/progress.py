# SPDX-License-Identifier: GPL-2.0-only
"""Runs programs that take long, and tells the user how far they are."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import program

REPORT_EVERY_S = 15


def logged(argv: Sequence[str], *, log: Path, what: str) -> None:
    """Run a program without its output, and report now and then how far it is.

    Raises:
        KtcpError: It failed; the message holds the end of its output.
    """
    begun = said = time.monotonic()
    steps = 0

    def heard(line: str) -> None:
        nonlocal said, steps
        steps += 1
        if time.monotonic() - said > REPORT_EVERY_S:
            said = time.monotonic()
            console.print_note(f"{what}: {said - begun:.0f} s, {steps} steps: {line[:70]}")

    console.print_note(f"{what} (log: {log})")
    ended = program.run(argv, log=log, heard=heard)
    if ended.code:
        raise KtcpError(f"{what}: failed ({ended.code})\n" + "\n".join(ended.last))
    console.print_note(f"{what}: done in {time.monotonic() - begun:.0f} s")


def timed(what: str, work: Callable[[], None]) -> None:
    """Run `work` and say how long it took."""
    begun = time.monotonic()
    work()
    console.print_note(f"{what}: {time.monotonic() - begun:.0f} s")
