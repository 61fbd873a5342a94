# SPDX-License-Identifier: GPL-2.0-only
"""Where the browser comes from, and the error if there is none."""

import os
from pathlib import Path

import pytest

from tests.browser import chromium
from tests.browser.chromium import BrowserError


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only directory in which programs are found."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, text: str = "") -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_one_that_is_there_is_taken(programs: Path) -> None:
    found = program(programs / "chromium")
    assert chromium.ensure() == str(found)


def test_root_gets_one_from_debian(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    wanted = programs / "chromium-headless-shell"
    program(
        programs / "apt-get", f'echo "$@" >>{programs}/log; : >{wanted}; /bin/chmod 755 {wanted}'
    )
    assert chromium.ensure() == str(wanted)
    update, install = (programs / "log").read_text().splitlines()
    assert update.endswith(" update")
    assert install.endswith("--no-install-recommends chromium-headless-shell fonts-dejavu-core")


@pytest.mark.parametrize("user", [0, 1000])
def test_none_is_a_sentence(programs: Path, monkeypatch: pytest.MonkeyPatch, user: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    program(programs / "apt-get", f"echo called >>{programs}/log; exit 100")
    with pytest.raises(BrowserError, match="as root, apt-get install chromium-headless-shell"):
        chromium.ensure()
    assert (programs / "log").exists() == (user == 0)


def test_a_browser_that_ends_is_noticed(tmp_path: Path) -> None:
    with (
        chromium.running("/bin/true", tmp_path / "profile") as browser,
        pytest.raises(BrowserError, match="the browser has ended"),
    ):
        browser.open(tmp_path)
