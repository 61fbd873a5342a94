# SPDX-License-Identifier: GPL-2.0-only
"""Waiting for a condition, with a bound.

Bounds are in the guest's own time, which a busy host does not make longer.
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

# The share of the bulk bytes that this run moves.
SCALE = float(os.environ.get("KTCP_TEST_SCALE", "1"))
# The factor for loops in which modules, namespaces and configuration come and go.
ROUNDS = int(os.environ.get("KTCP_TEST_ROUNDS", "1"))
# The number of inputs of each fuzz test, and the number with which it takes as long as others.
INPUTS = int(os.environ.get("KTCP_TEST_FUZZ", "400"))
FEW_INPUTS = 400

POLL_S = 0.05

T = TypeVar("T")


def times(count: int) -> int:
    """How many rounds a loop of `count` makes: a quarter in a debug kernel, times --rounds."""
    return max(round(count * min(1, 2.5 * SCALE)), 3) * ROUNDS


def until(condition: Callable[[], T], what: str, bound: float = 20) -> T:
    """Ask `condition` again and again. Returns its first true value.

    Raises:
        TimeoutError: It is not true within `bound` seconds; the message ends with its value.
    """
    deadline = time.monotonic() + bound
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {bound:g} s: {what} (last: {value!r})")
        time.sleep(POLL_S)
