# SPDX-License-Identifier: GPL-2.0-only
"""What a signal does: it interrupts us like Ctrl-C, or for a while something else."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals by which users end a command."""

Handler = Callable[[int, FrameType | None], object] | signal.Handlers


def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal like Ctrl-C, so that both run the same clean-up."""
    raise KeyboardInterrupt


@contextmanager
def handled(numbers: Sequence[signal.Signals], handler: Handler) -> Iterator[None]:
    """Give signals a handler for the body.

    Only the main thread can, and only it is interrupted; in others this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
