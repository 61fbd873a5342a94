# SPDX-License-Identifier: GPL-2.0-only
"""Rules that hold for whole trees of sources."""

import re
from pathlib import Path

import pytest

from tests.contract.conftest import ROOT, kmod_sources

VERSION_WORDS = re.compile(r"\b(LINUX_VERSION_CODE|KERNEL_VERSION|RHEL_RELEASE_CODE)\b")
CODE = {".py", ".c", ".h", ".sh", ".yml", ".yaml", ".toml"}
NOT_OURS = {".git", "build", "dist", "node_modules", "__pycache__", ".ansible", ".cache"}


def sources() -> list[Path]:
    """List the project's source files, without what builds and tools leave behind."""
    found = []
    for path in sorted(ROOT.rglob("*")):
        inner = path.relative_to(ROOT).parts
        if any(part in NOT_OURS or part.endswith("_cache") for part in inner):
            continue
        if path.is_file() and not path.name.endswith(".mod.c") and is_code(path):
            found.append(path)
    return found


def is_code(path: Path) -> bool:
    """Tell sources by their suffix, and programs by their first line."""
    if path.suffix in CODE:
        return True
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def test_kernel_versions_are_compared_in_compat_only() -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in kmod_sources()
        if "compat" not in path.parts and VERSION_WORDS.search(path.read_text())
    ]
    assert found == []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_names_its_licence(path: Path) -> None:
    head = path.read_text(encoding="utf-8", errors="replace")[:400]
    if head.startswith("$ANSIBLE_VAULT"):
        return  # all of the file is cipher text
    assert "SPDX-License-Identifier: GPL-2.0-only" in head
