# SPDX-License-Identifier: GPL-2.0-only
"""The roles' READMEs say what their specifications say."""

from pathlib import Path

import pytest

from tests.unit.roles import readme


@pytest.mark.parametrize("role", readme.roles(), ids=lambda path: path.name)
def test_the_readme_is_of_the_current_specification(role: Path) -> None:
    written = (role / "README.md").read_text()
    assert written == readme.readme(role), "python -m tests.unit.roles.readme writes it anew"
