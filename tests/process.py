# SPDX-License-Identifier: GPL-2.0-only
"""Ending a program that was started as the leader of its own process group."""

import os
import signal
import subprocess

# An interrupted program may take this long to stop its virtual machines.
GRACE_S = 90.0


def stop(process: subprocess.Popen[bytes], *, levels: int = 1) -> None:
    """End a program that still runs: with a signal, and by force if it does not end.

    It gets `GRACE_S` for each of the `levels` of programs that stop one another.
    """
    for signal_number in (signal.SIGINT, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, signal_number)
        try:
            process.wait(timeout=GRACE_S * levels)
        except subprocess.TimeoutExpired:
            continue
