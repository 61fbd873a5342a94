# SPDX-License-Identifier: GPL-2.0-only
"""Inventories as they were at a revision."""

import subprocess
from pathlib import Path

import pytest

from ktcp_ops.errors import UsageError
from ktcp_testbed.rehearsal.past import inventories_at

IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.org")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository whose inventory has changed since its one commit."""
    inventory = tmp_path / "repo" / "inventories" / "mine"
    inventory.mkdir(parents=True)
    (inventory / "hosts.yml").write_text("old\n")
    for words in (
        ["init", "-q"],
        ["add", "-A"],
        [*IDENTITY, "commit", "-qm", "first"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path / "repo", check=True)
    (inventory / "hosts.yml").write_text("new\n")
    return tmp_path / "repo"


@pytest.mark.parametrize("name", ["inventories/mine", "inventories/mine/hosts.yml"])
def test_an_inventory_is_copied_as_it_was(repository: Path, name: str) -> None:
    with inventories_at("HEAD", [str(repository / name)]) as [copy]:
        found = Path(copy) / "hosts.yml" if Path(copy).is_dir() else Path(copy)
        assert found.read_text() == "old\n"
        # 0/inventories/mine/hosts.yml in a directory that only we can enter.
        assert found.parents[3].stat().st_mode & 0o077 == 0
    assert not Path(copy).exists()


def test_an_unknown_revision_is_refused(repository: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"--from: .*not a valid object name"),
        inventories_at("nowhere", [str(repository / "inventories/mine")]),
    ):
        pass


def test_an_inventory_outside_of_git_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match=r"--from: .*not a git repository"),
        inventories_at("HEAD", [str(tmp_path)]),
    ):
        pass


def test_an_inventory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(UsageError, match="there is no such inventory"),
        inventories_at("HEAD", [str(tmp_path / "no" / "where")]),
    ):
        pass
