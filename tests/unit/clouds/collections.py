# SPDX-License-Identifier: GPL-2.0-only
"""The clouds' inventory plugins, taken from the package ``ansible`` into the cache.

The package itself stays out of the environment: it is large, and its hundred collections would hide
that a role of ours needs one which users do not have.
"""

import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from ktcp_testbed.lab import cache

PACKAGE = "ansible==12.3.0"
NAMES = ("amazon/aws", "azure/azcollection", "google/cloud")
PARTS = (
    "plugins/inventory",
    "plugins/doc_fragments",
    "plugins/module_utils",
    "plugins/plugin_utils",
)


def ensure() -> Path:
    """Give the directory for ``ANSIBLE_COLLECTIONS_PATH``; made once, by pip."""
    place = cache.directory() / f"collections-{PACKAGE.replace('==', '-')}"
    with cache.locked(place.with_suffix(".lock")):
        if not place.is_dir():
            with TemporaryDirectory(dir=place.parent, prefix="collections-new-") as new:
                fetch(Path(new))
                (Path(new) / "unpacked").rename(place)
    return place


def fetch(directory: Path) -> None:
    """Download the package and unpack the plugins' collections below ``unpacked``."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--dest", directory, PACKAGE], check=True)
    (wheel,) = directory.glob("*.whl")
    wanted = tuple(
        f"ansible_collections/{name}/{part}"
        for name in NAMES
        for part in (*PARTS, "MANIFEST.json", "FILES.json", "meta/runtime.yml")
    )
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.startswith(wanted)]
        archive.extractall(directory / "unpacked", members)
