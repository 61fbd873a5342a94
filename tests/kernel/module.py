# SPDX-License-Identifier: GPL-2.0-only
"""Loading and unloading ktcp.ko, which the harness has put where modprobe looks."""

import subprocess
from pathlib import Path

from tests.kernel.wait import seconds


def is_loaded() -> bool:
    """True while the kernel has the module."""
    return Path("/sys/module/ktcp").exists()


def load() -> None:
    """Load the module if it is not there."""
    if not is_loaded():
        subprocess.run(["modprobe", "ktcp"], check=True, timeout=seconds(60))


def unload(bound: float = 60) -> None:
    """Unload the module if it is there.

    Raises:
        subprocess.TimeoutExpired: It is still there after `bound` seconds.
        AssertionError: The kernel refused.
    """
    if not is_loaded():
        return
    # Not run(), which would wait for ever for a process that no signal reaches.
    process = subprocess.Popen(["rmmod", "ktcp"])
    code = process.wait(seconds(bound))
    assert code == 0, f"rmmod ended with {code}"
