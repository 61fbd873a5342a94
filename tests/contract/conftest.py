# SPDX-License-Identifier: GPL-2.0-only
"""Finds and reads the sides of the contracts."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def text(path: str) -> str:
    """Read a file of the project."""
    return (ROOT / path).read_text(encoding="utf-8")


def kmod_sources() -> list[Path]:
    """List the module's own C files; what a build leaves beside them is not among them."""
    kmod = ROOT / "kmod"
    return sorted(
        path
        for pattern in ("*.c", "*.h")
        for path in kmod.rglob(pattern)
        if not path.name.endswith(".mod.c")
    )


def sections(markdown: str) -> dict[str, str]:
    """Split a document at its second-level headings."""
    parts = re.split(r"^## (.+)$", markdown, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
