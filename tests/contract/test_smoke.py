# SPDX-License-Identifier: GPL-2.0-only
"""The tests of the smoke run are tests of tests/kernel."""

import re
from pathlib import Path

import pytest

from tests.harness.smoke import SMOKE

KERNEL = Path(__file__).resolve().parents[2] / "tests" / "kernel"


@pytest.mark.parametrize("name", SMOKE)
def test_test_is_there(name: str) -> None:
    file, _, test = name.partition("::")
    text = (KERNEL / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {test.partition('[')[0]}\(", text, re.MULTILINE)
