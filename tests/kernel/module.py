# SPDX-License-Identifier: GPL-2.0-only
"""Loading and unloading ktcp.ko."""

import os
import subprocess
from pathlib import Path

FILE = os.environ.get("KTCP_MODULE", "/run/suite/modules/0/ktcp.ko")
SELFTEST = Path(FILE).with_name("ktcp_selftest.ko")


def is_loaded() -> bool:
    """True while the kernel has the module."""
    return Path("/sys/module/ktcp").exists()


def load() -> None:
    """Load the module if it is not there."""
    if is_loaded():
        return
    # As modprobe would, but depmod takes minutes in an emulated guest.
    for name in needs():
        subprocess.run(["modprobe", name], check=True, timeout=60)
    subprocess.run(["insmod", FILE], check=True, timeout=60)


def needs() -> list[str]:
    """The modules that have to be loaded before it."""
    listing = subprocess.run(
        ["modinfo", "-F", "depends", FILE], check=True, capture_output=True, text=True
    )
    return [name for name in listing.stdout.strip().split(",") if name]


def unload(bound: float = 60) -> None:
    """Unload the module if it is there.

    Raises:
        subprocess.TimeoutExpired: It is still loaded after `bound` seconds.
        AssertionError: The kernel refused.
    """
    if not is_loaded():
        return
    # run() would wait for ever for a process that no signal reaches.
    process = subprocess.Popen(["rmmod", "ktcp"])
    code = process.wait(bound)
    assert code == 0, f"rmmod ended with {code}"


def selftest(**parameters: int) -> None:
    """Load the module that tests parts of KTCP inside the kernel, and unload it.

    Raises:
        subprocess.CalledProcessError: It found a fault; the kernel's log says which.
    """
    words = [f"{name}={value}" for name, value in parameters.items()]
    subprocess.run(["insmod", str(SELFTEST), *words], check=True, timeout=120)
    subprocess.run(["rmmod", SELFTEST.stem], check=True, timeout=60)
