# SPDX-License-Identifier: GPL-2.0-only
"""Allocations of the module that fail, by the fault injection of a debug kernel."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FAILSLAB = Path("/sys/kernel/debug/failslab")
# More than any test reaches; what is left tells how many allocations failed.
MOST = 10_000_000
# Frames between the injection and the module: what it allocates by itself, a thread or a
# hash is within, what TCP allocates to send is not. A stock kernel whose tcp_send_fin()
# has no memory never sends the FIN, and would hang with any program.
DEPTH = 7


def text_of(module: str) -> tuple[int, int]:
    """Where a module's functions lie in memory."""
    suffix = f"[{module}]"
    rows = (
        line.split() for line in Path("/proc/kallsyms").read_text(encoding="ascii").splitlines()
    )
    places = [int(row[0], 16) for row in rows if row[-1] == suffix and row[1] in "tT"]
    return min(places), max(places) + 0x1000


def knob(name: str, value: object) -> None:
    """Turn one."""
    (FAILSLAB / name).write_text(f"{value}\n", encoding="ascii")


def failed() -> int:
    """How many allocations failed since failing() began."""
    return MOST - int((FAILSLAB / "times").read_text(encoding="ascii"))


@contextmanager
def failing_once(number: int) -> Iterator[list[bool]]:
    """Let this thread's next allocation but so many fail, of those that the module makes.

    What is given holds whether it came to that, once the block is left.
    """
    came: list[bool] = []
    knob_of_thread = Path(f"/proc/self/task/{threading.get_native_id()}/fail-nth")
    with failing(0):
        knob_of_thread.write_text(str(number), encoding="ascii")
        try:
            yield came
        finally:
            came.append(int(knob_of_thread.read_text(encoding="ascii")) == 0)
            knob_of_thread.write_text("0", encoding="ascii")


@contextmanager
def failing(percent: int, depth: int = DEPTH) -> Iterator[None]:
    """Let so many of the allocations fail that the module makes, or has others make.

    Args:
        percent: How many.
        depth: How many frames there may be between the injection and the module.

    Source: Documentation/fault-injection/fault-injection.rst.
    """
    start, end = text_of("ktcp")
    knob("ignore-gfp-wait", "N")  # those that may sleep fail as well
    knob("task-filter", "N")
    knob("verbose", 0)
    knob("interval", 1)
    knob("stacktrace-depth", depth)
    knob("require-start", hex(start))
    knob("require-end", hex(end))
    knob("times", MOST)
    knob("probability", percent)
    try:
        yield
    finally:
        knob("probability", 0)
