# SPDX-License-Identifier: GPL-2.0-only
"""Makes allocations of the module fail, by the fault injection of a debug kernel."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FAILSLAB = Path("/sys/kernel/debug/failslab")
# More than any test uses; the remainder shows how many allocations failed.
MOST = 10_000_000
# Stack frames between the injection and the module. The module's own allocations, threads and
# hashes are within this depth; TCP's allocations for sending are not. If tcp_send_fin() of a stock
# kernel has no memory it never sends the FIN, and any program would hang.
DEPTH = 7


def text_of(module: str) -> tuple[int, int]:
    """The addresses of a module's functions in memory."""
    suffix = f"[{module}]"
    rows = (
        line.split() for line in Path("/proc/kallsyms").read_text(encoding="ascii").splitlines()
    )
    places = [int(row[0], 16) for row in rows if row[-1] == suffix and row[1] in "tT"]
    return min(places), max(places) + 0x1000


def knob(name: str, value: object) -> None:
    """Set one knob of the fault injection."""
    (FAILSLAB / name).write_text(f"{value}\n", encoding="ascii")


def failed() -> int:
    """How many allocations failed since failing() began."""
    return MOST - int((FAILSLAB / "times").read_text(encoding="ascii"))


@contextmanager
def failing_once(number: int) -> Iterator[list[bool]]:
    """Let one of this thread's allocations in the module fail, after skipping some.

    After the block, the yielded value says whether an allocation failed.
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
    """Let a part of the allocations fail that the module makes, or that are made for it.

    Args:
        percent: The part of the allocations that fails.
        depth: Number of stack frames allowed between the injection and the module.

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
