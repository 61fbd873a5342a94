# SPDX-License-Identifier: GPL-2.0-only
"""Waiting for a condition, with a bound.

Bounds are of the guest's own time, which no busy host makes longer.
"""

import os
import time
from collections.abc import Callable
from typing import TypeVar

# The share of the bulk that is moved here.
SCALE = float(os.environ.get("KTCP_TEST_SCALE", "1"))
# How many times as often what comes and goes does so.
ROUNDS = int(os.environ.get("KTCP_TEST_ROUNDS", "1"))
# How many inputs each fuzz test has, and with how many it takes as long as other tests.
INPUTS = int(os.environ.get("KTCP_TEST_FUZZ", "400"))
FEW_INPUTS = 400

POLL_S = 0.05

T = TypeVar("T")


def times(count: int) -> int:
    """How often a loop of `count` rounds goes: a quarter in a debug kernel, as --rounds says."""
    return max(round(count * min(1, 2.5 * SCALE)), 3) * ROUNDS


def until(condition: Callable[[], T], what: str, bound: float = 20) -> T:
    """The first true value of `condition`, asked again and again.

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
