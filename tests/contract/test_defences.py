# SPDX-License-Identifier: GPL-2.0-only
"""Each defence that tests/harness removes exists, and so do its tests."""

import re
from pathlib import Path

import pytest

from tests.harness.defences import DEFENCES, Defence
from tests.harness.without import take_away

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """The names of all kernel tests."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tests/kernel").glob("test_*.py")]
    return set(re.findall(r"^def (test_\w+)", "\n".join(texts), re.MULTILINE))


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda d: d.name)
def test_defence_can_be_taken_away(defence: Defence, tests: set[str], tmp_path: Path) -> None:
    copy = tmp_path / defence.file
    before = (ROOT / "kmod" / defence.file).read_text(encoding="utf-8")
    copy.parent.mkdir()
    copy.write_text(before, encoding="utf-8")
    take_away(defence, tmp_path)
    assert copy.read_text(encoding="utf-8") != before
    assert set(defence.tests.split(" or ")) <= tests
