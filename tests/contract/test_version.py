# SPDX-License-Identifier: GPL-2.0-only
"""One version, written in one place, and every other mention equals it."""

import re
import tomllib

import pytest
import yaml

from ktcp_ops import __version__
from tests.contract.conftest import text

MENTIONS = {
    "kmod/control/version.h": r'#define KTCP_MODULE_VERSION "([^"]+)"',
    "kmod/dkms.conf": r'^PACKAGE_VERSION="([^"]+)"',
    "docs/procfs-abi.md": r"^module (\S+)$",
    "CHANGELOG.md": r"^## (\S+)",
}


@pytest.mark.parametrize("path", MENTIONS)
def test_a_mention_equals_the_version(path: str) -> None:
    found = re.findall(MENTIONS[path], text(path), re.MULTILINE)
    assert found[:1] == [__version__]


def test_the_collection_has_the_version() -> None:
    assert yaml.safe_load(text("galaxy.yml"))["version"] == __version__


def test_the_package_reads_the_version_from_its_one_place() -> None:
    project = tomllib.loads(text("pyproject.toml"))
    assert project["project"]["dynamic"] == ["version"]
    assert project["tool"]["hatch"]["version"]["path"] == "ktcp_ops/__init__.py"


def test_the_wire_version_is_the_documented_one() -> None:
    wire = re.search(r"#define KTCP_WIRE_VERSION (\d+)", text("kmod/control/version.h"))
    assert wire
    assert f"\nwire {wire[1]}\n" in text("docs/procfs-abi.md")
