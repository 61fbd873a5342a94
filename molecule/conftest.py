# SPDX-License-Identifier: GPL-2.0-only
"""Guests of the scenario's lab, reached as `./dev lab ssh` reaches them."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host


@pytest.fixture(scope="session")
def guest() -> Callable[[str], Host]:
    """Gives the guest of a name."""
    config = Path(os.environ["KTCP_LAB_DIR"]) / "ssh_config"

    @cache
    def connect(name: str) -> Host:
        return testinfra.get_host(f"ssh://root@{name}", ssh_config=str(config))

    return connect
