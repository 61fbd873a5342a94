# SPDX-License-Identifier: GPL-2.0-only
"""Prometheus's own checker of rules: the one on the PATH, else Debian's, unpacked in the cache.

Debian has it in the package of the server, which should not run for a test. So the package is
downloaded, and one file is taken out of it.
"""

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from ktcp_testbed.lab import cache

PACKAGE = "prometheus"


def ensure() -> Path:
    """Give the program; made once, by apt."""
    found = shutil.which("promtool")
    if found:
        return Path(found)
    place = cache.directory() / "promtool"
    with cache.locked(place.with_suffix(".lock")):
        if not place.is_file():
            with TemporaryDirectory(dir=place.parent, prefix="promtool-new-") as new:
                fetch(Path(new)).rename(place)
    return place


def fetch(directory: Path) -> Path:
    """Download the package and unpack it."""
    # apt's own user may not write here, and need not.
    apt = ["apt-get", "-q", "-oAPT::Sandbox::User=root"]
    if subprocess.run([*apt, "download", PACKAGE], cwd=directory, check=False).returncode:
        # A machine without a list of packages, or with an old one.
        subprocess.run([*apt, "update"], check=False)
        subprocess.run([*apt, "download", PACKAGE], cwd=directory, check=True)
    (package,) = directory.glob("*.deb")
    subprocess.run(["dpkg-deb", "--extract", package, directory / "unpacked"], check=True)
    return directory / "unpacked/usr/bin/promtool"
