# SPDX-License-Identifier: GPL-2.0-only
"""A process that is certainly ours: its id and its start time.

The system uses ids again. A process with the same id and another start time is not
ours, and is never signalled.
"""

import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktcp_ops.signals import INTERRUPTS, handled


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process of this host."""

    pid: int
    start_time: int
    """Field 22 of /proc/PID/stat: clock ticks since the host booted."""

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The process that has the id ``pid`` now.

        Raises:
            ProcessLookupError: there is none.
        """
        _, start_time = read_stat(pid)
        return cls(pid=pid, start_time=start_time)

    def alive(self) -> bool:
        """Whether it still runs. A zombie does not."""
        try:
            state, start_time = read_stat(self.pid)
        except ProcessLookupError:
            return False
        return start_time == self.start_time and state not in "ZX"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process still runs."""
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def read_stat(pid: int) -> tuple[str, int]:
    """State and start time of the process ``pid``."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError) as error:
        raise ProcessLookupError(pid) from error
    # The name in parentheses may hold anything, also spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


def wait_gone(processes: Iterable[Process], timeout: float) -> list[Process]:
    """Wait at most ``timeout`` seconds for all to end; return those that have not."""
    deadline = time.monotonic() + timeout
    left = [each for each in processes if each.alive()]
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [each for each in left if each.alive()]
    return left


def stop(processes: Iterable[Process], *, patience: float = 5) -> None:
    """End all: SIGTERM, ``patience`` seconds later SIGKILL."""
    left = [each for each in processes if each.alive()]
    for number in (signal.SIGTERM, signal.SIGKILL):
        for each in left:
            each.signal(number)
        left = wait_gone(left, patience)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold interrupts back until the body is done.

    An interrupt between the start of a process and the moment when it is recorded
    would leave a process that nobody ends.
    """
    held: list[int] = []
    with handled(INTERRUPTS, lambda number, _frame: held.append(number)):
        yield
    if held:
        signal.raise_signal(held[0])
