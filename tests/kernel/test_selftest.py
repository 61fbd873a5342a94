# SPDX-License-Identifier: GPL-2.0-only
"""Self-tests inside the kernel: magazines on all cores, windows of uses, records of streams."""

from tests.kernel import module
from tests.kernel.wait import SCALE


def test_all_cores_at_once() -> None:
    """No object is lost or had by two, no use of a ticket is taken twice, no byte gets astray.

    What magazines cost, beside a list under one lock, is in the kernel's log.
    """
    module.selftest(rounds=int(200_000 * SCALE))
