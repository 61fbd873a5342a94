# SPDX-License-Identifier: GPL-2.0-only
"""Runs other programs. Ctrl-C reaches each once, and each has time to clean up after it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ktcp_ops.errors import ExitCode, KtcpError
from ktcp_ops.signals import INTERRUPTS, handled

# Taking four virtual machines down is the longest clean-up.
GRACE_S = 120.0


@contextmanager
def running(
    command: Sequence[str | Path], *, stdout: int | None = None, stdin: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a program in a session of its own; after the body wait for it, or stop it.

    A terminal sends Ctrl-C to the whole foreground group. The session keeps it away from
    the program, which gets a single SIGINT when the body fails.
    """
    process = subprocess.Popen(
        command,
        stdin=stdin if stdin is not None else subprocess.DEVNULL,
        stdout=stdout if stdout is not None else sys.stderr,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
        process.wait()
    finally:
        stop(process)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore a second Ctrl-C during the clean-up, also in the programs that it starts."""
    with handled(INTERRUPTS, signal.SIG_IGN):
        yield


def stop(process: subprocess.Popen[str]) -> None:
    """End a program that still runs, with force if it does not go within `GRACE_S`."""
    for signal_number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, signal_number)
        try:
            process.wait(timeout=GRACE_S)
        except subprocess.TimeoutExpired:
            continue


def run(command: Sequence[str | Path], *, failure: str) -> None:
    """Run a program whose output is progress for the user.

    Raises:
        KtcpError: It failed; the message starts with `failure`, and the exit code is the
            program's, if it is one of ours.
    """
    with running(command) as process:
        pass
    check(process.returncode, failure)


def check(code: int, failure: str) -> None:
    """Raise KtcpError for an exit code other than 0."""
    if code == 0:
        return
    known = ExitCode(code) if code in set(ExitCode) else ExitCode.FAILED
    raise KtcpError(f"{failure} (exit code {code}); the reason is above", known)
