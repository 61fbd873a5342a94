# SPDX-License-Identifier: GPL-2.0-only
"""The wheel: a `pip install` of it has all that a rollout needs."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ktcp_ops

CHECKOUT = Path(__file__).resolve().parents[3]
COLLECTION = "ansible_collections/pathway/ktcp"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The files in the wheel of this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )
    (wheel,) = directory.iterdir()
    assert wheel.name == f"ktcp_ops-{ktcp_ops.__version__}-py3-none-any.whl"
    return set(zipfile.ZipFile(wheel).namelist())


def committed(*paths: str) -> set[str]:
    listing = subprocess.check_output(["git", "ls-files", "-z", *paths], cwd=CHECKOUT, text=True)
    return {name for name in listing.split("\0") if name and (CHECKOUT / name).is_file()}


def test_the_collection_is_complete(names: set[str]) -> None:
    parts = ("galaxy.yml", "kmod", "meta", "playbooks", "plugins", "roles")
    wanted = {f"{COLLECTION}/{name}" for name in committed(*parts)}
    assert wanted - names == set()


def test_the_package_is_complete_but_for_the_demonstration(names: set[str]) -> None:
    wanted = {n for n in committed("ktcp_ops") if not n.startswith("ktcp_ops/demo/")}
    assert wanted - names == set()
    assert not any(name.startswith("ktcp_ops/demo/") for name in names)


def test_nothing_that_a_build_left_behind(names: set[str]) -> None:
    left = {".o", ".ko", ".cmd", ".mod", ".symvers", ".order", ".pyc"}
    assert [name for name in names if Path(name).suffix in left] == []
