# SPDX-License-Identifier: GPL-2.0-only
"""Magazines, inside the kernel: no object is lost, and none is had by two cores."""

from tests.kernel import module
from tests.kernel.wait import SCALE


def test_all_cores_at_once() -> None:
    """What it costs, beside a list under one lock, is in the kernel's log."""
    module.selftest(rounds=int(200_000 * SCALE))
