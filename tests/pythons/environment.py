# SPDX-License-Identifier: GPL-2.0-only
"""A Debian root file system with its Python, and in it the dependencies of the operator's wheel.

uv chooses and unpacks the packages on the host, for the Python inside. So nothing that runs inside
needs a network or a configuration of the host's.
"""

import re
import shutil
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktcp_testbed.kbuild import cached, progress
from ktcp_testbed.kbuild.buildroot import Buildroot, bootstrap
from ktcp_testbed.lab.recipe import LEFT_OUT, Release

DEBIAN_PACKAGES = ("openssh-client", "python3")
# Of the packages for development, those that the chosen tests import.
TOOLS = ("hypothesis", "jsonschema", "pytest", "pytest-xdist")
# Where Python is beside the packages' programs, as in a virtual environment: ktcp_ops looks there
# for its own Ansible. Debian's ssh is elsewhere, so that a test can put another before it.
PROGRAMS = "usr/local/bin"


@dataclass(frozen=True, kw_only=True)
class Python:
    """A Python, and which versions of the dependencies it gets."""

    name: str
    release: Release
    version: str
    """Which the release has as python3."""
    resolution: str
    """uv's word: ``lowest-direct`` for the lower bounds, or ``highest``."""
    options: tuple[str, ...] = ()
    """More options for pytest."""


PYTHONS = (
    Python(
        name="lowest",
        release="bookworm",
        version="3.11",
        resolution="lowest-direct",
        # What is deprecated in a dependency matters to those who take a later one.
        options=("-W", "ignore::DeprecationWarning"),
    ),
    # On later Pythons there are later versions of ansible-core than for Debian 12's.
    Python(name="newest", release="trixie", version="3.13", resolution="highest"),
)


def requirements(checkout: Path) -> list[str]:
    """What the wheel and the chosen tests require, as pyproject.toml says."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tools = [
        line
        for line in project["optional-dependencies"]["dev"]
        if re.split(r"[<>=\[]", line)[0] in TOOLS
    ]
    return sorted([*project["dependencies"], *tools])


def packages(python: Python, wanted: Sequence[str], target: Path) -> list[str]:
    """The command that unpacks packages for a Python into a directory."""
    return [
        *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-config"),
        # Its path is the same inside. It becomes the first line of programs.
        *("--python", "/usr/bin/python3", "--python-version", python.version),
        *("--python-platform", "x86_64-unknown-linux-gnu", "--only-binary", ":all:"),
        *("--resolution", python.resolution, "--target", str(target), *wanted),
    ]


def ensure(python: Python, checkout: Path) -> Buildroot:
    """The root file system of a Python, made if the cache has none for these requirements.

    Raises:
        KtcpError: A program or keyring is missing, or an archive cannot be reached.
    """
    wanted = requirements(checkout)
    recipe = (python.release, python.version, python.resolution)
    key = cached.key_of(*recipe, PROGRAMS, *DEBIAN_PACKAGES, *LEFT_OUT, *wanted)
    name = f"python-{python.version}-{python.resolution}-{key}"
    place = cached.directory(name, lambda partial: make(python, wanted, partial))
    return Buildroot(release=python.release, root=place / "root")


def make(python: Python, wanted: Sequence[str], place: Path) -> None:
    """Make the root file system in `place`."""
    bootstrap(python.release, place, DEBIAN_PACKAGES)
    # Where Debian's Python looks for packages that are not Debian's.
    target = place / f"root/usr/local/lib/python{python.version}/dist-packages"
    progress.logged(
        packages(python, wanted, target),
        log=place.parent / f"{place.stem}.packages.log",
        what=f"packages for Python {python.version}, {python.resolution}",
    )
    programs = place / "root" / PROGRAMS
    for program in (target / "bin").iterdir():
        shutil.move(program, programs)
    (programs / "python3").symlink_to("/usr/bin/python3")
