# SPDX-License-Identifier: GPL-2.0-only
"""What all unit tests share: a home for state that is not the user's."""

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the journals of a test are."""
    directory = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("KTCP_STATE_DIR", str(directory))
    return directory
